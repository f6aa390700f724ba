//! A webhook receiver in the test process: it records what comes and answers by a script.
//!
//! It stays on its port while the server under test dies and comes back. One thread for each
//! connection; the server opens at most a handful to one target.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::http::find;

/// Longest a connection may stay silent between two requests.
const IDLE_SECONDS_MAX: u64 = 60;

/// One request that came.
#[derive(Clone, Debug)]
pub struct Received {
    /// When its last byte was read.
    pub at: Instant,
    /// Method and path, as in the request line.
    pub line: String,
    /// Header fields in order, names as sent.
    pub headers: Vec<(String, String)>,
    /// Body as sent.
    pub body: Vec<u8>,
}

impl Received {
    /// First value of a header, by name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as JSON; panics when it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the server sends JSON to a webhook")
    }
}

/// What the receiver says to one request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Further header fields.
    pub headers: Vec<(String, String)>,
    /// How long it thinks before it answers.
    pub delay: Duration,
}

impl Answer {
    /// A bare status, at once.
    pub fn status(status: u16) -> Answer {
        Answer {
            status,
            headers: Vec::new(),
            delay: Duration::ZERO,
        }
    }
}

type Script = dyn Fn(usize, &Received) -> Answer + Send + Sync;

/// A listener on a port of its own. Dropped: it takes no more connections.
pub struct Receiver {
    /// Where it listens.
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    ended: Arc<AtomicBool>,
}

impl Receiver {
    /// Listens, and answers each request by `script(number, request)`; the first number is 1.
    pub fn start(script: impl Fn(usize, &Received) -> Answer + Send + Sync + 'static) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let address = listener.local_addr().expect("the listener is bound");
        let received = Arc::new(Mutex::new(Vec::new()));
        let ended = Arc::new(AtomicBool::new(false));
        let script: Arc<Script> = Arc::new(script);
        let (log, stop) = (Arc::clone(&received), Arc::clone(&ended));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (log, script) = (Arc::clone(&log), Arc::clone(&script));
                // An error ends this connection alone: the server under test is killed now and then.
                thread::spawn(move || drop(serve(stream, &log, script.as_ref())));
            }
        });
        Receiver {
            address,
            received,
            ended,
        }
    }

    /// Answers these statuses in turn, and the last one for ever.
    pub fn statuses(statuses: &[u16]) -> Receiver {
        let statuses = statuses.to_vec();
        let last = *statuses.last().expect("at least one status");
        Receiver::start(move |number, _| {
            Answer::status(statuses.get(number - 1).copied().unwrap_or(last))
        })
    }

    /// The URL to give to a webhook target.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// All that came so far.
    pub fn received(&self) -> Vec<Received> {
        self.since(0)
    }

    /// What came after the first `place` requests.
    pub fn since(&self, place: usize) -> Vec<Received> {
        let received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        received.get(place..).unwrap_or_default().to_vec()
    }

    /// Waits until `count` requests have come; panics past the bound.
    #[track_caller]
    pub fn wait_for(&self, count: usize, bound: Duration) -> Vec<Received> {
        super::wait_until(bound, &format!("{count} requests at the webhook"), || {
            count <= self.received().len()
        });
        self.received()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // The accept loop sees the mark with the next connection: this one.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: TcpStream, log: &Mutex<Vec<Received>>, script: &Script) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(IDLE_SECONDS_MAX)))?;
    let mut rest = Vec::new();
    loop {
        let head_end = loop {
            match find(&rest, b"\r\n\r\n") {
                Some(place) => break place,
                None => fill(&mut stream, &mut rest)?,
            }
        };
        let head = String::from_utf8_lossy(&rest[..head_end]).into_owned();
        rest.drain(..head_end + 4);
        let mut lines = head.split("\r\n");
        let line = lines.next().unwrap_or_default().to_string();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_string(), value.trim().to_string()))
            .collect();
        let length = headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, value)| value.parse::<usize>().ok())
            .unwrap_or(0);
        while rest.len() < length {
            fill(&mut stream, &mut rest)?;
        }
        let body = rest.drain(..length).collect();
        let request = Received {
            at: Instant::now(),
            line,
            headers,
            body,
        };
        let number = {
            let mut received = log.lock().unwrap_or_else(PoisonError::into_inner);
            received.push(request.clone());
            received.len()
        };
        let answer = script(number, &request);
        thread::sleep(answer.delay);
        let mut text = format!(
            "HTTP/1.1 {} Scripted\r\nContent-Length: 0\r\n",
            answer.status
        );
        for (name, value) in &answer.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        stream.write_all(text.as_bytes())?;
    }
}

fn fill(stream: &mut TcpStream, rest: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    let length = stream.read(&mut buffer)?;
    if length == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    rest.extend_from_slice(&buffer[..length]);
    Ok(())
}
