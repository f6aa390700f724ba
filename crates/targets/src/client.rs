//! The one client for everything that leaves: deliveries, token calls, tests, notifications.
//!
//! Own code around hyper's connection, because what we promise sits between the steps: every
//! address is checked before a connection is made, and only a checked one is connected to; each
//! step has its own deadline inside that of the attempt; what a target may send is counted at the
//! socket, so that a storm of 1xx is bounded like any other head. No redirect is followed and no
//! proxy is read from the environment.
//!
//! No task is spawned. A connection and the future that drives it are one value: whoever holds it
//! drives it, whoever drops it closes it, and a connection at rest is looked at when it is taken
//! from the pool. If it closed meanwhile another one is taken; if it closes after that, the
//! request has been sent and the attempt has failed. There is no hidden second try.
//!
//! Start at [`Client::send`].

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderMap, HeaderValue, Method};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::{Host, Position, Url};

use crate::egress::{Egress, Refusal};
use crate::limits;

/// How long each step of an attempt may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Name lookup.
    pub dns: Duration,
    /// TCP connect, over all addresses that are tried.
    pub connect: Duration,
    /// TLS handshake.
    pub tls: Duration,
    /// From the first byte of the request to the last of the response head; at most 30 s.
    pub head: Duration,
    /// Reading a body that nobody wants, to keep the connection.
    pub drain: Duration,
    /// The whole attempt.
    pub attempt: Duration,
    /// Life of an idle connection; at most 60 s.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            dns: limits::DNS,
            connect: limits::CONNECT,
            tls: limits::TLS,
            head: limits::HEAD,
            drain: limits::DRAIN,
            attempt: limits::ATTEMPT,
            idle: limits::IDLE,
        }
    }
}

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// A time is 0 or above its bound.
    #[error("timeout `{name}` is not within 1 ms to {max:?}")]
    Timeout {
        /// Field of [`Timeouts`].
        name: &'static str,
        /// Its bound.
        max: Duration,
    },
    /// TLS could not be set up, or an extra root certificate is none.
    #[error("could not set up TLS")]
    Tls(#[source] rustls::Error),
}

/// One request. `Host` and `Content-Length` are set by the client. No `Debug`:
/// headers and body may hold secrets.
#[derive(Clone)]
pub struct Request {
    /// Where to; checked again before anything is sent.
    pub url: Url,
    /// How.
    pub method: Method,
    /// Checked headers, see `webhook::check_header`.
    pub headers: HeaderMap,
    /// What is sent.
    pub body: Bytes,
    /// Bytes of the answer's body to keep, at most `BODY_BYTES_MAX`. With 0 the body is read only
    /// for the connection's sake, and not for long.
    pub body_bytes_kept: usize,
}

/// The answer: a complete head, whatever became of the body.
pub struct Answer {
    /// Status; never 1xx but 101.
    pub status: u16,
    /// At most `HEAD_FIELDS_MAX` fields.
    pub headers: HeaderMap,
    /// What was kept of the body.
    pub body: Vec<u8>,
    /// True if `body` is all of it.
    pub body_complete: bool,
}

/// Shows the status alone: the rest may hold a token.
impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The guard said no; no connection was made.
    #[error("{}", .0.help())]
    NotAllowed(Refusal),
    /// The name led nowhere: unknown, no answer, an empty answer.
    #[error("name lookup of `{host}` failed: {why}")]
    Dns {
        /// The host.
        host: String,
        /// What the resolver said.
        why: String,
    },
    /// No address took the connection.
    #[error("connection failed: {0}")]
    Connect(#[source] io::Error),
    /// The handshake failed or took too long.
    #[error("TLS_ERROR: {0}")]
    Tls(String),
    /// Reset, closed early, or not HTTP.
    #[error("{0}")]
    Broken(String),
    /// A deadline passed.
    #[error("no {step} within {after:?}")]
    Timeout {
        /// What was waited for.
        step: &'static str,
        /// For how long.
        after: Duration,
    },
}

/// The client. One for the process; `send` may be called from many tasks.
pub struct Client {
    egress: Egress,
    timeouts: Timeouts,
    tls: TlsConnector,
    pool: Mutex<Pool>,
    resolved: Mutex<HashMap<String, Resolved>>,
    lookups: Arc<Semaphore>,
    lookups_by_host: Mutex<HashMap<String, Arc<Semaphore>>>,
}

struct Resolved {
    addresses: Vec<IpAddr>,
    at: Instant,
}

impl Client {
    /// Makes the client. `extra_roots` are trusted besides Mozilla's: private authorities.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn new(
        egress: Egress,
        timeouts: Timeouts,
        extra_roots: &[CertificateDer<'static>],
    ) -> Result<Self, ClientError> {
        let hour = Duration::from_secs(3600);
        for (name, value, max) in [
            ("dns", timeouts.dns, hour),
            ("connect", timeouts.connect, hour),
            ("tls", timeouts.tls, hour),
            ("head", timeouts.head, limits::HEAD_MAX),
            ("drain", timeouts.drain, hour),
            ("attempt", timeouts.attempt, hour),
            ("idle", timeouts.idle, limits::IDLE),
        ] {
            if value < Duration::from_millis(1) || max < value {
                return Err(ClientError::Timeout { name, max });
            }
        }
        let mut roots = rustls::RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        };
        for root in extra_roots {
            roots.add(root.clone()).map_err(ClientError::Tls)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(ClientError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            egress,
            timeouts,
            tls: TlsConnector::from(Arc::new(config)),
            pool: Mutex::new(Pool::default()),
            resolved: Mutex::new(HashMap::new()),
            lookups: Arc::new(Semaphore::new(limits::LOOKUPS_MAX)),
            lookups_by_host: Mutex::new(HashMap::new()),
        })
    }

    /// The guard, for checks at configuration time.
    #[must_use]
    pub fn egress(&self) -> &Egress {
        &self.egress
    }

    /// Sends one request once and reads the answer's head, and its body as far as wanted.
    ///
    /// Dropping the future closes the connection. Memory: `ATTEMPT_BYTES_MAX` besides the body
    /// that is sent and the one that is kept.
    ///
    /// # Errors
    /// [`SendError`]: there is no complete head. A body that breaks off is no error.
    pub async fn send(&self, request: Request) -> Result<Answer, SendError> {
        let whole = Instant::now() + self.timeouts.attempt;
        let url = &request.url;
        self.egress
            .check_parsed(url)
            .map_err(SendError::NotAllowed)?;
        let addresses = self.addresses(url, whole).await?;
        let (key, mut connection) = match self.take_idle(url, &addresses).await {
            Some(found) => found,
            None => self.connect(url, &addresses, whole).await?,
        };

        connection
            .allowance
            .store(limits::HEAD_BYTES_MAX, Ordering::Relaxed);
        let step = "response";
        let (deadline, after) = self.deadline(self.timeouts.head, whole);
        let kept = request.body_bytes_kept.min(limits::BODY_BYTES_MAX);
        let answer = connection.sender.send_request(to_hyper(request)?);
        let response = timeout_at(deadline, drive(&mut connection.driver, answer))
            .await
            .map_err(|_| SendError::Timeout { step, after })?
            .map_err(|error| SendError::Broken(broken(&error)))?;

        // A reader of the body needs room for it, for the framing of chunks, and for one read.
        let room = 2 * limits::BODY_BYTES_MAX;
        connection.allowance.store(room, Ordering::Relaxed);
        let (head, mut incoming) = response.into_parts();
        let until = if 0 < kept {
            whole
        } else {
            whole.min(Instant::now() + self.timeouts.drain)
        };
        let mut body = Vec::new();
        let reading = read_body(&mut connection.driver, &mut incoming, &mut body, kept);
        let read = timeout_at(until, reading).await.ok().flatten();
        drop(incoming);
        if read.is_some() && head.status != http::StatusCode::SWITCHING_PROTOCOLS {
            self.put_idle(key, connection).await;
        }
        Ok(Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body_complete: read == Some(body.len()),
            body,
        })
    }

    /// Closes connections that have idled too long. Taking from the pool does so for its key;
    /// call this now and then for the hosts that nobody calls any more.
    pub fn close_idle(&self) {
        let oldest = Instant::now().checked_sub(self.timeouts.idle);
        let mut pool = lock(&self.pool);
        pool.idle.retain(|_, idle| {
            idle.retain(|one| oldest.is_none_or(|oldest| oldest < one.since));
            !idle.is_empty()
        });
        pool.count = pool.idle.values().map(VecDeque::len).sum();
    }

    /// Connections at rest.
    #[must_use]
    pub fn idle_count(&self) -> usize {
        lock(&self.pool).count
    }

    fn deadline(&self, step: Duration, whole: Instant) -> (Instant, Duration) {
        let own = Instant::now() + step;
        if own < whole {
            (own, step)
        } else {
            (whole, self.timeouts.attempt)
        }
    }

    /// The addresses of the URL's host, every one checked.
    async fn addresses(&self, url: &Url, whole: Instant) -> Result<Vec<IpAddr>, SendError> {
        let host = match url.host() {
            Some(Host::Ipv4(ip)) => return Ok(vec![IpAddr::V4(ip)]),
            Some(Host::Ipv6(ip)) => return Ok(vec![IpAddr::V6(ip)]),
            Some(Host::Domain(host)) => host,
            None => "",
        };
        let fresh = lock(&self.resolved)
            .get(host)
            .filter(|found| found.at.elapsed() < limits::RESOLVED)
            .map(|found| found.addresses.clone());
        let addresses = match fresh {
            Some(addresses) => addresses,
            None => {
                let addresses = self.look_up(host, whole).await?;
                let mut resolved = lock(&self.resolved);
                if limits::RESOLVED_HOSTS_MAX <= resolved.len() {
                    resolved.clear();
                }
                let found = Resolved {
                    addresses: addresses.clone(),
                    at: Instant::now(),
                };
                resolved.insert(host.to_owned(), found);
                addresses
            }
        };
        // Also what is remembered: the same name may come with another port or scheme.
        for ip in &addresses {
            self.egress
                .check_address(*ip, url)
                .map_err(SendError::NotAllowed)?;
        }
        Ok(addresses)
    }

    async fn look_up(&self, host: &str, whole: Instant) -> Result<Vec<IpAddr>, SendError> {
        let fail = |why: String| SendError::Dns {
            host: host.to_owned(),
            why,
        };
        let (deadline, after) = self.deadline(self.timeouts.dns, whole);
        let of_host = {
            let mut by_host = lock(&self.lookups_by_host);
            if limits::RESOLVED_HOSTS_MAX <= by_host.len() {
                by_host.retain(|_, gate| 1 < Arc::strong_count(gate));
            }
            let gate = by_host
                .entry(host.to_owned())
                .or_insert_with(|| Arc::new(Semaphore::new(limits::LOOKUPS_PER_HOST_MAX)));
            Arc::clone(gate)
        };
        let looking = async {
            let host_permit = of_host.acquire_owned().await;
            let permit = Arc::clone(&self.lookups).acquire_owned().await;
            let name = host.to_owned();
            // The thread works on after our deadline; the permits stay with it until it is done.
            tokio::task::spawn_blocking(move || {
                let _permits = (host_permit, permit);
                let found = (name.as_str(), 0).to_socket_addrs()?;
                Ok::<_, io::Error>(found.map(|address| address.ip()).collect::<Vec<_>>())
            })
            .await
        };
        let mut addresses = match timeout_at(deadline, looking).await {
            Err(_) => return Err(fail(format!("no answer within {after:?}"))),
            Ok(Err(error)) => return Err(fail(error.to_string())),
            Ok(Ok(Err(error))) => return Err(fail(error.to_string())),
            Ok(Ok(Ok(addresses))) => addresses,
        };
        let mut seen = std::collections::HashSet::new();
        addresses.retain(|ip| seen.insert(*ip));
        if addresses.is_empty() {
            return Err(fail("the answer is empty".to_owned()));
        }
        Ok(addresses)
    }

    async fn connect(
        &self,
        url: &Url,
        addresses: &[IpAddr],
        whole: Instant,
    ) -> Result<(Key, Connection), SendError> {
        let stream = self.connect_tcp(url, addresses, whole).await;
        if stream.is_err() {
            // What was remembered may be out of date: the next attempt asks anew.
            if let Some(Host::Domain(host)) = url.host() {
                lock(&self.resolved).remove(host);
            }
        }
        let (stream, address) = stream?;
        let _ = stream.set_nodelay(true);
        let key = Key::of(url, address);
        let stream = if key.tls {
            Stream::Tls(Box::new(self.shake_hands(url, stream, whole).await?))
        } else {
            Stream::Plain(stream)
        };
        let allowance = Arc::new(AtomicUsize::new(limits::HEAD_BYTES_MAX));
        let socket = Socket {
            stream,
            allowance: Arc::clone(&allowance),
        };
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(limits::HEAD_BYTES_MAX)
            .max_headers(limits::HEAD_FIELDS_MAX)
            .handshake(TokioIo::new(socket))
            .await
            .map_err(|error| SendError::Broken(broken(&error)))?;
        let connection = Connection {
            sender,
            driver: Some(Box::pin(driver)),
            allowance,
        };
        Ok((key, connection))
    }

    /// Tries the checked addresses in turn. Nothing has been sent, so this is one attempt still.
    async fn connect_tcp(
        &self,
        url: &Url,
        addresses: &[IpAddr],
        whole: Instant,
    ) -> Result<(TcpStream, IpAddr), SendError> {
        let step = "connection";
        let (deadline, after) = self.deadline(self.timeouts.connect, whole);
        let port = url.port_or_known_default().unwrap_or(0);
        let tried = &addresses[..addresses.len().min(limits::ADDRESSES_TRIED_MAX)];
        let mut last = SendError::Timeout { step, after };
        for (at, &address) in tried.iter().enumerate() {
            let now = Instant::now();
            let left = deadline.saturating_duration_since(now);
            let share = now + left / (tried.len() - at) as u32;
            let connecting = TcpStream::connect(SocketAddr::new(address, port));
            match timeout_at(share, connecting).await {
                Err(_) => last = SendError::Timeout { step, after },
                Ok(Err(error)) => last = SendError::Connect(error),
                Ok(Ok(stream)) => {
                    let peer = stream.peer_addr().map_err(SendError::Connect)?;
                    let local = stream.local_addr().map_err(SendError::Connect)?;
                    if peer.ip() != address {
                        let error = io::Error::other("connected to another address");
                        return Err(SendError::Connect(error));
                    }
                    self.egress
                        .check_peer(peer, local, url)
                        .map_err(SendError::NotAllowed)?;
                    return Ok((stream, address));
                }
            }
        }
        Err(last)
    }

    async fn shake_hands(
        &self,
        url: &Url,
        stream: TcpStream,
        whole: Instant,
    ) -> Result<TlsStream<TcpStream>, SendError> {
        let name = match url.host() {
            Some(Host::Ipv4(ip)) => Ok(ServerName::from(IpAddr::V4(ip))),
            Some(Host::Ipv6(ip)) => Ok(ServerName::from(IpAddr::V6(ip))),
            Some(Host::Domain(host)) => {
                ServerName::try_from(host.strip_suffix('.').unwrap_or(host).to_owned())
            }
            None => ServerName::try_from(String::new()),
        };
        let name = name.map_err(|error| SendError::Tls(error.to_string()))?;
        let (deadline, after) = self.deadline(self.timeouts.tls, whole);
        let bound = |tls: &mut rustls::ClientConnection| {
            tls.set_buffer_limit(Some(limits::TLS_BUFFER_BYTES));
        };
        match timeout_at(deadline, self.tls.connect_with(name, stream, bound)).await {
            Err(_) => Err(SendError::Tls(format!("no handshake within {after:?}"))),
            Ok(Err(error)) => Err(SendError::Tls(error.to_string())),
            Ok(Ok(stream)) => Ok(stream),
        }
    }

    /// A connection at rest to one of the checked addresses that is still good.
    async fn take_idle(&self, url: &Url, addresses: &[IpAddr]) -> Option<(Key, Connection)> {
        for &address in addresses {
            let key = Key::of(url, address);
            // The newest first; bounded by what the pool holds for the key.
            while let Some(idle) = {
                let mut pool = lock(&self.pool);
                pool.take(&key)
            } {
                let mut connection = idle.connection;
                if idle.since.elapsed() < self.timeouts.idle && connection.is_ready().await {
                    return Some((key, connection));
                }
            }
        }
        None
    }

    async fn put_idle(&self, key: Key, mut connection: Connection) {
        // At rest a connection may say nothing; the allowance stays what it was for the body.
        if connection.is_ready().await {
            lock(&self.pool).put(key, connection);
        }
    }
}

/// What comes after the host; `None` where it cannot stand in a request line.
pub(crate) fn path_and_query(url: &Url) -> Option<http::uri::PathAndQuery> {
    url[Position::BeforePath..Position::AfterQuery].parse().ok()
}

fn to_hyper(request: Request) -> Result<hyper::Request<Full<Bytes>>, SendError> {
    let malformed = |what| SendError::NotAllowed(Refusal::Malformed(what));
    let url = &request.url;
    let path = path_and_query(url).ok_or_else(|| malformed("the path cannot be sent"))?;
    let host = &url[Position::BeforeHost..Position::AfterPort];
    let host = HeaderValue::from_str(host).map_err(|_| malformed("the host cannot be sent"))?;
    let length = HeaderValue::from(request.body.len());
    let mut sent = hyper::Request::new(Full::new(request.body));
    *sent.method_mut() = request.method;
    *sent.uri_mut() = http::Uri::from(path);
    *sent.headers_mut() = request.headers;
    sent.headers_mut().insert(HOST, host);
    sent.headers_mut().insert(CONTENT_LENGTH, length);
    Ok(sent)
}

/// Reads to the end, keeping up to `kept` bytes. The body's length, if the end came.
async fn read_body(
    driver: &mut Option<Driver>,
    incoming: &mut hyper::body::Incoming,
    body: &mut Vec<u8>,
    kept: usize,
) -> Option<usize> {
    let mut read = 0_usize;
    loop {
        let data = match drive(driver, incoming.frame()).await {
            None => return Some(read),
            Some(Err(_)) => return None,
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        };
        read += data.len();
        let room = kept - body.len();
        body.extend_from_slice(&data[..data.len().min(room)]);
        if limits::BODY_BYTES_MAX < read {
            return None;
        }
    }
}

/// Polls the connection along with what waits for it.
async fn drive<T>(driver: &mut Option<Driver>, waiting: impl Future<Output = T>) -> T {
    let mut waiting = pin!(waiting);
    std::future::poll_fn(|cx| {
        if let Some(connection) = driver
            && connection.as_mut().poll(cx).is_ready()
        {
            // Dropping it tells whoever waits that nothing more comes.
            *driver = None;
        }
        waiting.as_mut().poll(cx)
    })
    .await
}

/// What broke, without what the target wrote.
fn broken(error: &hyper::Error) -> String {
    if error.is_parse_too_large() {
        return format!(
            "response head is over {} bytes or {} fields",
            limits::HEAD_BYTES_MAX,
            limits::HEAD_FIELDS_MAX
        );
    }
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return format!("connection failed: {io}");
        }
        cause = inner.source();
    }
    if error.is_parse() {
        "response is malformed".to_owned()
    } else if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        "connection was closed before the response was complete".to_owned()
    } else {
        format!("connection failed: {error}")
    }
}

type Driver = Pin<Box<http1::Connection<TokioIo<Socket>, Full<Bytes>>>>;

struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// `None` once the connection is over.
    driver: Option<Driver>,
    allowance: Arc<AtomicUsize>,
}

impl Connection {
    /// Looks once: is it open, at rest, and ready for a request?
    async fn is_ready(&mut self) -> bool {
        drive(&mut self.driver, std::future::ready(())).await;
        self.driver.is_some() && !self.sender.is_closed() && self.sender.is_ready()
    }
}

/// What makes two requests share a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    tls: bool,
    host: String,
    port: u16,
    address: IpAddr,
}

impl Key {
    fn of(url: &Url, address: IpAddr) -> Self {
        Self {
            tls: url.scheme() == "https",
            host: url.host_str().unwrap_or_default().to_owned(),
            port: url.port_or_known_default().unwrap_or(0),
            address,
        }
    }
}

/// Connections at rest, the newest at the back.
#[derive(Default)]
struct Pool {
    idle: HashMap<Key, VecDeque<Idle>>,
    count: usize,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Pool {
    fn take(&mut self, key: &Key) -> Option<Idle> {
        let idle = self.idle.get_mut(key)?;
        let taken = idle.pop_back();
        if idle.is_empty() {
            self.idle.remove(key);
        }
        self.count -= usize::from(taken.is_some());
        taken
    }

    fn put(&mut self, key: Key, connection: Connection) {
        if self.idle.get(&key).map_or(0, VecDeque::len) >= limits::IDLE_PER_KEY_MAX {
            return;
        }
        if limits::IDLE_MAX <= self.count {
            self.close_oldest();
        }
        let since = Instant::now();
        let idle = Idle { connection, since };
        self.idle.entry(key).or_default().push_back(idle);
        self.count += 1;
        assert!(self.count <= limits::IDLE_MAX);
    }

    fn close_oldest(&mut self) {
        let oldest = self
            .idle
            .iter()
            .min_by_key(|(_, idle)| idle.front().map(|one| one.since))
            .map(|(key, _)| key.clone());
        let Some(key) = oldest else { return };
        if let Some(idle) = self.idle.get_mut(&key) {
            self.count -= usize::from(idle.pop_front().is_some());
            if idle.is_empty() {
                self.idle.remove(&key);
            }
        }
    }
}

/// No lock of this file is held over anything that panics half-way, so a poisoned one is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A socket that reads no more than it was allowed: hyper itself reads 1xx answers without end.
struct Socket {
    stream: Stream,
    allowance: Arc<AtomicUsize>,
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let socket = self.get_mut();
        let allowed = socket.allowance.load(Ordering::Relaxed);
        if allowed == 0 {
            let error = io::Error::other("the answer is longer than what is read of it");
            return Poll::Ready(Err(error));
        }
        let before = buf.filled().len();
        let result = if buf.remaining() <= allowed {
            socket.stream.poll_read(cx, buf)
        } else {
            let mut part = ReadBuf::new(buf.initialize_unfilled_to(allowed));
            let result = socket.stream.poll_read(cx, &mut part);
            let read = part.filled().len();
            buf.advance(read);
            result
        };
        let read = buf.filled().len() - before;
        socket.allowance.fetch_sub(read, Ordering::Relaxed);
        result
    }
}

impl Stream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    // Vectored writes let hyper pass a body on instead of copying it.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::EgressSettings;

    #[tokio::test]
    async fn a_name_that_now_leads_to_a_forbidden_address_is_not_connected_to() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let egress = Egress::new(&EgressSettings {
            http_allowed: true,
            ..EgressSettings::default()
        });
        let client = Client::new(egress.unwrap(), Timeouts::default(), &[]).unwrap();
        let url = format!("http://rebound.example:{port}/");
        let request = Request {
            url: client.egress().check_url(&url).unwrap(),
            method: Method::POST,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            body_bytes_kept: 0,
        };
        // One good address beside it does not help: no picking.
        for addresses in [vec!["127.0.0.1"], vec!["93.184.216.34", "127.0.0.1"]] {
            let found = Resolved {
                addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
                at: Instant::now(),
            };
            lock(&client.resolved).insert("rebound.example".to_owned(), found);
            let error = client.send(request.clone()).await.unwrap_err();
            assert!(matches!(error, SendError::NotAllowed(_)), "{error}");
            assert!(
                error
                    .to_string()
                    .contains("[egress] allow = [\"127.0.0.1\"]")
            );
        }
        let accepting = tokio::time::timeout(Duration::from_millis(50), listener.accept());
        assert!(accepting.await.is_err(), "a connection was made");
    }

    #[test]
    fn times_are_within_their_bounds() {
        let egress = || Egress::new(&EgressSettings::default()).unwrap();
        for timeouts in [
            Timeouts {
                head: Duration::from_secs(31),
                ..Timeouts::default()
            },
            Timeouts {
                dns: Duration::ZERO,
                ..Timeouts::default()
            },
        ] {
            assert!(Client::new(egress(), timeouts, &[]).is_err());
        }
    }
}
