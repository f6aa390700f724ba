//! Connections within their bounds: how many, how long, how large.
//!
//! hyper parses; what it leaves open is closed here: a head that trickles, a body that stops half way, more
//! than the host can hold. No bound cuts a receive that waits: the idle time begins when an answer is out.
//! Source: reliability-security.md 3.

use super::body::Body;
use super::head::{HEAD_BYTES_MAX, Head, HeadFault};
use super::{Doors, Request, Response};
use ::http::StatusCode;
use bytes::{Bytes, BytesMut};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, watch};
use tokio::time::{Instant, Sleep};

/// Header fields.
const FIELDS_MAX: usize = 64;
/// Request target, in bytes.
const URI_BYTES_MAX: usize = 8 * 1024;
/// Connections of one client address that is not loopback.
const CONNECTIONS_PER_ADDRESS_MAX: usize = 512;
/// A body may be as slow as it likes for this long, and then has to bring 1 KiB a second.
const BODY_GRACE: Duration = Duration::from_secs(5);
/// The rate below which a body is given up, in bytes a second.
const BODY_BYTES_PER_SECOND_MIN: u64 = 1024;
/// Pause after an accept that failed for want of descriptors: at most ten tries a second (F31).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Which set of doors a listener opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// Producers and consumers.
    Api,
    /// Operators.
    Operator,
}

/// Why a request never reached a door. The door says it in its own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// The body is larger than the bound.
    TooLarge,
    /// The body did not come in time.
    TooSlow,
    /// The body's framing is broken or it ended early.
    Broken,
    /// The request target is longer than the bound.
    UriTooLong,
    /// The `Host` header names a host that is not served, or is not there once.
    Host,
    /// The request line and headers are larger than the bound.
    HeadTooLarge,
    /// The head can be read in two ways.
    Framing,
    /// The bodies being read fill their bound.
    Busy,
}

/// Bodies held at once, all connections, in KiB. Source: reliability-security.md 5, commit queue.
pub const BODIES_KIB_MAX: usize = 64 * 1024;
/// How long a request waits for room for its body.
const BODIES_WAIT: Duration = Duration::from_secs(2);

/// Serves a listener until `stop` turns true, then lets connections end.
pub async fn serve(
    listener: TcpListener,
    port: Port,
    doors: Doors,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(doors.config.connections_max));
    let by_address: Arc<Mutex<HashMap<IpAddr, usize>>> = Arc::default();
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place.expect("never closed"),
            _ = stop.changed() => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(counted) = Counted::new(&by_address, peer.ip()) else {
                    continue;
                };
                let (doors, stop) = (doors.clone(), stop.clone());
                connections.spawn(connection(
                    stream,
                    peer,
                    port,
                    doors,
                    stop,
                    (place, counted),
                ));
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

struct Counted {
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
}

impl Counted {
    fn new(counts: &Arc<Mutex<HashMap<IpAddr, usize>>>, address: IpAddr) -> Option<Self> {
        let mut map = counts.lock().expect("no holder panics");
        let count = map.entry(address).or_default();
        if !address.is_loopback() && CONNECTIONS_PER_ADDRESS_MAX <= *count {
            return None;
        }
        *count += 1;
        Some(Self {
            counts: Arc::clone(counts),
            address,
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut map = self.counts.lock().expect("no holder panics");
        if let Some(count) = map.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                map.remove(&self.address);
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    port: Port,
    doors: Doors,
    mut stop: watch::Receiver<bool>,
    _held: (OwnedSemaphorePermit, Counted),
) {
    let _ = stream.set_nodelay(true);
    let seen = Arc::new(Seen::default());
    let io = TimedHead::new(stream, Arc::clone(&seen), doors.config.header_timeout);
    let idle_timeout = doors.config.idle_timeout;
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (doors, seen) = (doors.clone(), Arc::clone(&seen));
        async move {
            let fault = *seen.fault.lock().expect("no holder panics");
            let _busy = Busy::new(seen);
            Ok::<Response, std::convert::Infallible>(
                handle(&doors, port, peer, fault, request).await,
            )
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // hyper counts this from the end of the last answer: it is the idle time. The head's own time is kept
        // by `TimedHead`.
        .header_read_timeout(idle_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(FIELDS_MAX)
        .serve_connection(TokioIo::new(io), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stop.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

/// What the reader of a connection and the handler of its requests tell each other.
#[derive(Default)]
struct Seen {
    /// A request is being handled: no head is due.
    busy: AtomicBool,
    /// Requests handled so far.
    handled: AtomicU32,
    /// What is wrong with the newest head.
    fault: Mutex<Option<HeadFault>>,
}

/// While a request is handled its connection is not idle and no head is due.
struct Busy(Arc<Seen>);

impl Busy {
    fn new(seen: Arc<Seen>) -> Self {
        seen.busy.store(true, Ordering::Relaxed);
        Self(seen)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.handled.fetch_add(1, Ordering::Relaxed);
        self.0.busy.store(false, Ordering::Relaxed);
    }
}

async fn handle(
    doors: &Doors,
    port: Port,
    peer: SocketAddr,
    fault: Option<HeadFault>,
    request: hyper::Request<Incoming>,
) -> Response {
    let (parts, incoming) = request.into_parts();
    let id = uuid::Uuid::new_v4();
    let path = parts.uri.path().to_owned();
    let query = parts.uri.query().unwrap_or("").to_owned();
    let mut unread = match fault {
        Some(HeadFault::TooLarge) => Some(Unread::HeadTooLarge),
        Some(HeadFault::Framing) => Some(Unread::Framing),
        Some(HeadFault::Host) => Some(Unread::Host),
        None if !coding_allowed(&parts.headers) => Some(Unread::Framing),
        None if URI_BYTES_MAX < path.len() + query.len() => Some(Unread::UriTooLong),
        None if !host_allowed(doors, &parts.headers) => Some(Unread::Host),
        None => None,
    };
    let mut body = Bytes::new();
    let mut _room = None;
    if unread.is_none() {
        match read_bounded(doors, incoming).await {
            Ok((read, room)) => {
                body = read;
                _room = Some(room);
            }
            Err(why) => unread = Some(why),
        }
    }
    let request = Request {
        method: parts.method,
        path,
        query,
        headers: parts.headers,
        body,
        peer,
        id,
    };
    if let Some(why) = unread {
        return refuse(port, &request, why);
    }
    // A panic in a request is that request's alone (F35).
    let (doors, metrics) = (doors.clone(), Arc::clone(&doors.metrics));
    let head = RequestHead::of(&request);
    let answering = CatchUnwind(Box::pin(async move {
        match port {
            Port::Api => super::answer(&doors, request).await,
            Port::Operator => super::operator::answer(&doors, request).await,
        }
    }));
    match answering.await {
        Ok(response) => response,
        Err(()) => {
            metrics.panics.inc();
            tracing::error!(request = %head.id, "a request panicked");
            head.internal_error()
        }
    }
}

/// What an answer to a panicked request needs.
struct RequestHead {
    id: uuid::Uuid,
    door: super::Door,
}

impl RequestHead {
    fn of(request: &Request) -> Self {
        Self {
            id: request.id,
            door: super::door_of(
                &request.method,
                &request.path,
                &request.query,
                &request.headers,
            ),
        }
    }

    fn internal_error(&self) -> Response {
        match self.door {
            super::Door::SqsJson | super::Door::SqsQuery => {
                super::aws::sqs::internal_error(self.id)
            }
            super::Door::Native => super::native::internal_error(self.id),
            super::Door::Events | super::Door::Unknown => {
                super::aws::events::internal_error(self.id)
            }
        }
    }
}

fn refuse(port: Port, request: &Request, why: Unread) -> Response {
    let mut response = match (
        port,
        super::door_of(
            &request.method,
            &request.path,
            &request.query,
            &request.headers,
        ),
    ) {
        (Port::Api, super::Door::SqsJson | super::Door::SqsQuery) => {
            super::aws::sqs::unread(request, why)
        }
        (Port::Operator, _) | (Port::Api, super::Door::Native) => {
            super::native::unread(request, why)
        }
        (Port::Api, super::Door::Events | super::Door::Unknown) => {
            super::aws::events::unread(request, why)
        }
    };
    // What is left of the request must not be taken for the next one.
    response.headers_mut().insert(
        ::http::header::CONNECTION,
        ::http::HeaderValue::from_static("close"),
    );
    response
}

/// Status of a request that was not read, the same on all doors.
#[must_use]
pub fn unread_status(why: Unread) -> StatusCode {
    match why {
        Unread::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Unread::TooSlow => StatusCode::REQUEST_TIMEOUT,
        Unread::Broken => StatusCode::BAD_REQUEST,
        Unread::UriTooLong => StatusCode::URI_TOO_LONG,
        Unread::Host => StatusCode::MISDIRECTED_REQUEST,
        Unread::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Unread::Framing => StatusCode::BAD_REQUEST,
        Unread::Busy => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Chunks are the one coding that is taken, and once.
fn coding_allowed(headers: &::http::HeaderMap) -> bool {
    let coding = headers.get(::http::header::TRANSFER_ENCODING);
    coding.is_none_or(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked"))
}

/// Without keys the `Host` must be an address, `localhost` or listed, against DNS rebinding.
fn host_allowed(doors: &Doors, headers: &::http::HeaderMap) -> bool {
    let Some(host) = headers.get(::http::header::HOST) else {
        return true;
    };
    let Ok(host) = host.to_str() else {
        return false;
    };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || doors
            .config
            .hosts
            .iter()
            .any(|listed| listed.eq_ignore_ascii_case(name))
}

/// Reads a body when there is room for it among all that are held. The room is kept until the answer is made.
async fn read_bounded<'d>(
    doors: &'d Doors,
    incoming: Incoming,
) -> Result<(Bytes, SemaphorePermit<'d>), Unread> {
    let bytes_max = doors.config.body_bytes_max;
    let declared = incoming.size_hint().exact().unwrap_or(bytes_max as u64);
    if (bytes_max as u64) < declared {
        return Err(Unread::TooLarge);
    }
    let kib = u32::try_from(declared.div_ceil(1024)).map_err(|_| Unread::TooLarge)?;
    let room = tokio::time::timeout(BODIES_WAIT, doors.bodies.acquire_many(kib));
    let mut room = room.await.map_err(|_| Unread::Busy)?.expect("never closed");
    let body = read_body(incoming, bytes_max, doors.config.body_timeout).await?;
    // A body in chunks took the most there can be: what it does not need goes back at once.
    let unused = (kib as usize).saturating_sub(body.len().div_ceil(1024));
    drop(room.split(unused));
    Ok((body, room))
}

async fn read_body(
    mut incoming: Incoming,
    bytes_max: usize,
    timeout: Duration,
) -> Result<Bytes, Unread> {
    let started = Instant::now();
    let mut body = BytesMut::new();
    let mut only: Option<Bytes> = None;
    loop {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut incoming).poll_frame(cx));
        let left = timeout
            .checked_sub(started.elapsed())
            .ok_or(Unread::TooSlow)?;
        let wait = left.min(BODY_GRACE);
        let frame = match tokio::time::timeout(wait, frame).await {
            Err(_) => {
                let got = (body.len() + only.as_ref().map_or(0, Bytes::len)) as u64;
                let elapsed = started.elapsed();
                let wanted =
                    elapsed.saturating_sub(BODY_GRACE).as_secs() * BODY_BYTES_PER_SECOND_MIN;
                if timeout <= elapsed || got <= wanted {
                    return Err(Unread::TooSlow);
                }
                continue;
            }
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(Unread::Broken),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if bytes_max < body.len() + only.as_ref().map_or(0, Bytes::len) + data.len() {
            return Err(Unread::TooLarge);
        }
        // Most bodies come in one piece, and are then not copied.
        match only.take() {
            None if body.is_empty() => only = Some(data),
            first => {
                body.extend_from_slice(first.as_deref().unwrap_or_default());
                body.extend_from_slice(&data);
            }
        }
    }
    Ok(only.unwrap_or_else(|| body.freeze()))
}

/// A stream whose reader has a bounded time from the first byte of a head to its end, and whose heads are
/// looked at.
struct TimedHead {
    stream: TcpStream,
    seen: Arc<Seen>,
    timeout: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
    head: Head,
    /// Requests that had been handled when this head began.
    handled: u32,
}

impl TimedHead {
    fn new(stream: TcpStream, seen: Arc<Seen>, timeout: Duration) -> Self {
        Self {
            stream,
            seen,
            timeout,
            deadline: None,
            head: Head::default(),
            handled: 0,
        }
    }

    /// Looks at bytes that have come while no request was being handled.
    fn look(&mut self, bytes: &[u8], cx: &mut Context<'_>) {
        let handled = self.seen.handled.load(Ordering::Relaxed);
        if handled != self.handled {
            self.handled = handled;
            self.head = Head::default();
        }
        if self.head.is_done() {
            return;
        }
        self.head.take(bytes);
        if self.head.is_done() {
            *self.seen.fault.lock().expect("no holder panics") = self.head.fault();
            self.deadline = None;
        } else if self.head.has_begun() && self.deadline.is_none() {
            let mut deadline = Box::pin(tokio::time::sleep(self.timeout));
            // Polled once so that it wakes this task.
            let _ = deadline.as_mut().poll(cx);
            self.deadline = Some(deadline);
        }
    }
}

impl AsyncRead for TimedHead {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let busy = self.seen.busy.load(Ordering::Relaxed);
        if busy {
            self.deadline = None;
        }
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if polled.is_ready() && !busy {
            self.look(&buf.filled()[before..], cx);
        }
        polled
    }
}

impl AsyncWrite for TimedHead {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}

/// Turns a panic of a future into an error.
struct CatchUnwind<F>(F);

impl<F: Future + Unpin> Future for CatchUnwind<F> {
    type Output = Result<F::Output, ()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let inner = &mut self.0;
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| Pin::new(inner).poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(_) => Poll::Ready(Err(())),
        }
    }
}

/// An answer with a whole body.
#[must_use]
pub fn response(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response {
    let mut response = Response::new(Body::whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        ::http::header::CONTENT_TYPE,
        ::http::HeaderValue::from_static(content_type),
    );
    response
}
