//! Targets that misbehave in every way we know, on real sockets: F14 to F22, F24 and F26.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bus_core::outcome::{Code, Failure, Outcome};
use bus_core::position::Position;
use bytes::Bytes;
use targets::client::{Client, Request, Timeouts};
use targets::egress::{Egress, EgressSettings};
use targets::sign::{self, Secret};
use targets::webhook::{self, Delivery, Verb, Webhook};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::rustls;

const NOW_MS: u64 = 1_767_225_600_000;

/// A listener that plays a script to each connection, and counts them.
struct Target {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Target {
    async fn new<F, Played>(script: F) -> Self
    where
        F: Fn(TcpStream) -> Played + Send + 'static,
        Played: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(script(stream));
            }
        });
        Self {
            address,
            connections,
        }
    }

    /// Answers every request on a connection with the same bytes and keeps it open.
    async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = Arc::new(answer.into());
        Self::new(move |mut stream| {
            let answer = Arc::clone(&answer);
            async move {
                while !read_request(&mut stream).await?.is_empty() {
                    stream.write_all(&answer).await?;
                }
                Ok(())
            }
        })
        .await
    }

    /// Answers one request and closes.
    async fn closing_after(answer: impl Into<Vec<u8>>) -> Self {
        let answer = Arc::new(answer.into());
        Self::new(move |mut stream| {
            let answer = Arc::clone(&answer);
            async move {
                read_request(&mut stream).await?;
                stream.write_all(&answer).await
            }
        })
        .await
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn webhook(&self) -> Webhook {
        webhook(&format!("http://{}/hook?a=b", self.address))
    }
}

/// One request, head and body; empty at the end of the connection.
async fn read_request(stream: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    loop {
        if let Some(at) = request.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&request[..at]).to_lowercase();
            let length: usize = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            if at + 4 + length <= request.len() {
                return Ok(request);
            }
        }
        let read = stream.read(&mut piece).await?;
        if read == 0 {
            return Ok(Vec::new());
        }
        request.extend_from_slice(&piece[..read]);
    }
}

fn webhook(url: &str) -> Webhook {
    Webhook {
        url: url::Url::parse(url).unwrap(),
        verb: Verb::Post,
        headers: Vec::new(),
        secrets: Vec::new(),
    }
}

fn egress() -> Egress {
    let settings = EgressSettings {
        loopback_allowed: true,
        ..EgressSettings::default()
    };
    Egress::new(&settings).unwrap()
}

/// Long, so that a busy machine fails no test that waits for none of them.
fn client() -> Client {
    Client::new(egress(), Timeouts::default(), &[]).unwrap()
}

/// Short, for the targets that make us wait.
fn hasty() -> Timeouts {
    Timeouts {
        tls: Duration::from_millis(300),
        head: Duration::from_millis(300),
        drain: Duration::from_millis(100),
        ..Timeouts::default()
    }
}

fn hasty_client() -> Client {
    Client::new(egress(), hasty(), &[]).unwrap()
}

async fn attempt(client: &Client, webhook: &Webhook) -> Outcome {
    let delivery = Delivery {
        webhook_id: "msg_1",
        now_unix_ms: NOW_MS,
        body: Bytes::from_static(b"{\"a\":1}"),
        trace_header: None,
        idempotency_key: None,
    };
    webhook::attempt(client, webhook, &delivery).await
}

#[track_caller]
fn deferred(outcome: Outcome) -> Failure {
    match outcome {
        Outcome::Deferred { failure, .. } => failure,
        other => panic!("not deferred: {other:?}"),
    }
}

/// The attempt is deferred with this code, and its text says why.
#[track_caller]
fn check_deferred(outcome: Outcome, code: Code, text: &str) {
    let failure = deferred(outcome);
    assert_eq!(failure.code, code, "{failure:?}");
    assert!(failure.text.contains(text), "{failure:?}");
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn a_request_carries_what_standard_webhooks_asks_for() {
    let (seen, mut requests) = tokio::sync::mpsc::channel(1);
    let target = Target::new(move |mut stream| {
        let seen = seen.clone();
        async move {
            let request = read_request(&mut stream).await?;
            seen.send(request).await.unwrap();
            stream.write_all(OK.as_bytes()).await
        }
    })
    .await;
    let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let hook = Webhook {
        verb: Verb::Put,
        headers: vec![webhook::check_header("X-Team", "a").unwrap()],
        secrets: vec![Secret::parse("newer").unwrap(), secret.clone()],
        ..target.webhook()
    };
    let id = webhook::webhook_id(Position::local(1), "default", "r", "t");
    let delivery = Delivery {
        webhook_id: &id,
        now_unix_ms: NOW_MS + 999,
        body: Bytes::from_static(b"{\"a\": \"\xc3\xa9\"}"),
        trace_header: Some("Root=1-2-3"),
        idempotency_key: None,
    };
    let outcome = webhook::attempt(&client(), &hook, &delivery).await;
    assert_eq!(outcome, Outcome::Delivered);

    let request = String::from_utf8(requests.recv().await.unwrap()).unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let field = |name: &str| {
        let mut values = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .filter(|(field, _)| field.eq_ignore_ascii_case(name));
        let value = values
            .next()
            .unwrap_or_else(|| panic!("no {name}: {head}"))
            .1;
        assert!(values.next().is_none(), "{name} twice");
        value
    };
    assert!(head.starts_with("PUT /hook?a=b HTTP/1.1\r\n"), "{head}");
    assert_eq!(field("host"), target.address.to_string());
    assert_eq!(field("content-type"), "application/json");
    assert_eq!(field("content-length"), delivery.body.len().to_string());
    assert_eq!(
        field("user-agent"),
        concat!("Busbar/", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(field("x-team"), "a");
    assert_eq!(field("x-amzn-trace-id"), "Root=1-2-3");
    assert_eq!(field("webhook-id"), id);
    assert_eq!(field("webhook-timestamp"), (NOW_MS / 1000).to_string());
    let verified = sign::verify(
        &[secret],
        field("webhook-id"),
        field("webhook-timestamp"),
        field("webhook-signature"),
        body.as_bytes(),
        NOW_MS / 1000 + 10,
    );
    assert_eq!(verified, Ok(()));
}

#[tokio::test]
async fn a_trace_header_with_controls_is_the_events_fault() {
    let target = Target::answering(OK).await;
    let delivery = Delivery {
        webhook_id: "msg_1",
        now_unix_ms: NOW_MS,
        body: Bytes::new(),
        trace_header: Some("a\r\nHost: evil"),
        idempotency_key: None,
    };
    let outcome = webhook::attempt(&client(), &target.webhook(), &delivery).await;
    let Outcome::Refused(failure) = outcome else {
        panic!("not refused: {outcome:?}")
    };
    assert_eq!(failure.code, Code::InvalidParameter);
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn connections_are_used_again() {
    let target = Target::answering(OK).await;
    let client = client();
    for _ in 0..5 {
        assert_eq!(
            attempt(&client, &target.webhook()).await,
            Outcome::Delivered
        );
    }
    assert_eq!(target.connections(), 1);
    assert_eq!(client.idle_count(), 1);
}

#[tokio::test]
async fn chunked_and_empty_answers_keep_the_connection() {
    for answer in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n\
         HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
    ] {
        let target = Target::answering(answer).await;
        let client = client();
        for _ in 0..2 {
            assert_eq!(
                attempt(&client, &target.webhook()).await,
                Outcome::Delivered
            );
        }
        assert_eq!(target.connections(), 1, "{answer}");
    }
}

#[tokio::test]
async fn a_connection_that_closes_or_speaks_at_rest_is_not_used() {
    for last_words in ["", "HTTP/1.1 408 Request Timeout\r\n\r\n", "\r\n"] {
        let target = Target::new(move |mut stream| async move {
            read_request(&mut stream).await?;
            stream.write_all(OK.as_bytes()).await?;
            // Long enough for the connection to be at rest.
            tokio::time::sleep(Duration::from_millis(50)).await;
            stream.write_all(last_words.as_bytes()).await
        })
        .await;
        let client = client();
        for connections in 1..=2 {
            let outcome = attempt(&client, &target.webhook()).await;
            assert_eq!(outcome, Outcome::Delivered);
            assert_eq!(target.connections(), connections);
            assert_eq!(client.idle_count(), 1);
            // Long enough for the end of it to arrive.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test]
async fn a_connection_that_is_over_is_not_kept() {
    for answer in [
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 500 Smuggled\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    ] {
        let target = Target::answering(answer).await;
        let client = client();
        let outcome = attempt(&client, &target.webhook()).await;
        assert_eq!(outcome, Outcome::Delivered);
        assert_eq!(client.idle_count(), 0, "{answer}");
    }
}

#[tokio::test]
async fn a_stale_connection_is_a_failure_and_no_second_try() {
    // Takes the second request and closes without a word, as a keep-alive race does.
    let requests = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&requests);
    let target = Target::new(move |mut stream| {
        let seen = Arc::clone(&seen);
        async move {
            read_request(&mut stream).await?;
            seen.fetch_add(1, Ordering::SeqCst);
            stream.write_all(OK.as_bytes()).await?;
            read_request(&mut stream).await?;
            seen.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    })
    .await;
    let client = client();
    assert_eq!(
        attempt(&client, &target.webhook()).await,
        Outcome::Delivered
    );
    check_deferred(
        attempt(&client, &target.webhook()).await,
        Code::ConnectionFailure,
        "closed before",
    );
    assert_eq!(requests.load(Ordering::SeqCst), 2);
    assert_eq!(target.connections(), 1);
}

#[tokio::test]
async fn the_pool_is_bounded_and_can_be_emptied() {
    let target = Target::new(|mut stream| async move {
        loop {
            if read_request(&mut stream).await?.is_empty() {
                return Ok(());
            }
            // All twenty are under way before the first is answered.
            tokio::time::sleep(Duration::from_millis(100)).await;
            stream.write_all(OK.as_bytes()).await?;
        }
    })
    .await;
    let idle = Duration::from_millis(200);
    let client = Client::new(
        egress(),
        Timeouts {
            idle,
            ..Timeouts::default()
        },
        &[],
    )
    .unwrap();
    let client = Arc::new(client);
    let hook = target.webhook();
    let attempts: Vec<_> = (0..20)
        .map(|_| {
            let (client, hook) = (Arc::clone(&client), hook.clone());
            tokio::spawn(async move { attempt(&client, &hook).await })
        })
        .collect();
    for one in attempts {
        assert_eq!(one.await.unwrap(), Outcome::Delivered);
    }
    assert_eq!(target.connections(), 20);
    assert_eq!(client.idle_count(), 16);
    tokio::time::sleep(idle).await;
    client.close_idle();
    assert_eq!(client.idle_count(), 0);
}

#[tokio::test]
async fn who_refuses_the_connection_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    check_deferred(
        attempt(&client(), &webhook(&url)).await,
        Code::ConnectionFailure,
        "refused",
    );
}

#[tokio::test]
async fn who_never_answers_costs_one_deadline() {
    let target = Target::new(|mut stream| async move {
        let mut sink = Vec::new();
        stream.read_to_end(&mut sink).await.map(|_| ())
    })
    .await;
    let start = Instant::now();
    check_deferred(
        attempt(&hasty_client(), &target.webhook()).await,
        Code::Timeout,
        "no response within 300ms",
    );
    assert!(start.elapsed() < Duration::from_millis(800));
}

#[tokio::test]
async fn who_trickles_a_head_costs_one_deadline() {
    let target = Target::new(|mut stream| async move {
        for byte in OK.bytes() {
            stream.write_all(&[byte]).await?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    })
    .await;
    check_deferred(
        attempt(&hasty_client(), &target.webhook()).await,
        Code::Timeout,
        "response",
    );
}

#[tokio::test]
async fn the_whole_attempt_has_a_deadline_of_its_own() {
    let target = Target::new(|stream| async move {
        tokio::time::sleep(Duration::from_secs(5)).await;
        drop(stream);
        Ok(())
    })
    .await;
    let timeouts = Timeouts {
        head: Duration::from_secs(5),
        attempt: Duration::from_millis(200),
        ..Timeouts::default()
    };
    let client = Client::new(egress(), timeouts, &[]).unwrap();
    check_deferred(
        attempt(&client, &target.webhook()).await,
        Code::Timeout,
        "200ms",
    );
}

#[tokio::test]
async fn endless_heads_are_cut_off() {
    let one_long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(65));
    let storm = "HTTP/1.1 100 Continue\r\n\r\n".repeat(2000);
    let storm_of_long = format!("HTTP/1.1 103 x\r\nX: {}\r\n\r\n", "x".repeat(8000)).repeat(5);
    for answer in [one_long, many, storm + OK, storm_of_long + OK] {
        let target = Target::answering(answer).await;
        let client = client();
        let failure = deferred(attempt(&client, &target.webhook()).await);
        assert_eq!(failure.code, Code::ConnectionFailure, "{failure:?}");
        assert_eq!(client.idle_count(), 0);
    }
}

#[tokio::test]
async fn streams_without_end_are_cut_off_while_they_last() {
    for (first, piece, delivered) in [
        (
            "HTTP/1.1 200 OK\r\n",
            "X-Filler: yyyyyyyyyyyyyyyyyyyyyyyy\r\n",
            false,
        ),
        ("", "HTTP/1.1 102 Processing\r\n\r\n", false),
        ("", "\r\n\r\n\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\n\r\n", "body body body body", true),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "1\r\nx\r\n",
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
            "body body",
            true,
        ),
    ] {
        let target = Target::new(move |mut stream| async move {
            read_request(&mut stream).await?;
            stream.write_all(first.as_bytes()).await?;
            let pieces = piece.repeat(500);
            loop {
                stream.write_all(pieces.as_bytes()).await?;
            }
        })
        .await;
        let client = client();
        let outcome = attempt(&client, &target.webhook()).await;
        assert_eq!(
            outcome == Outcome::Delivered,
            delivered,
            "{first}{piece}: {outcome:?}"
        );
        assert_eq!(client.idle_count(), 0, "{first}{piece}");
    }
}

#[tokio::test]
async fn a_complete_2xx_head_is_success_whatever_the_body_does() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        "HTTP/1.1 200 OK\r\n\r\nuntil the end",
        "HTTP/1.0 200 OK\r\n\r\n",
        "HTTP/1.1 299 Odd\r\nContent-Length: 1\r\n\r\n",
    ] {
        let target = Target::closing_after(answer).await;
        let client = client();
        for _ in 0..2 {
            let outcome = attempt(&client, &target.webhook()).await;
            assert_eq!(outcome, Outcome::Delivered, "{answer}");
        }
        assert_eq!(target.connections(), 2, "{answer}");
    }
}

#[tokio::test]
async fn a_body_that_hangs_costs_the_connection_but_not_the_slot() {
    let target = Target::answering("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab").await;
    let client = hasty_client();
    let start = Instant::now();
    assert_eq!(
        attempt(&client, &target.webhook()).await,
        Outcome::Delivered
    );
    assert!(start.elapsed() < Duration::from_millis(800));
    assert_eq!(client.idle_count(), 0);
}

#[tokio::test]
async fn truncated_and_malformed_answers_are_failures() {
    for answer in [
        "",
        "HTTP/1.1",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: \0\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/9.9 200 OK\r\n\r\n",
        "HTTP/1.1 20\r\n\r\n",
        "<html>200</html>\r\n\r\n",
        "SSH-2.0-OpenSSH_9.9\r\n",
        "\x16\x03\x01\x02\x00\x01\x00",
        "HTTP/1.1 100 Continue\r\n\r\n",
    ] {
        let target = Target::closing_after(answer).await;
        let client = client();
        let failure = deferred(attempt(&client, &target.webhook()).await);
        assert_eq!(
            failure.code,
            Code::ConnectionFailure,
            "{answer}: {failure:?}"
        );
        assert_eq!(client.idle_count(), 0);
        assert_eq!(target.connections(), 1);
    }
}

#[tokio::test]
async fn resets_before_during_and_after() {
    async fn reset(stream: TcpStream) -> std::io::Result<()> {
        stream.set_zero_linger()
    }
    let before = Target::new(reset).await;
    let during = Target::new(|mut stream| async move {
        read_request(&mut stream).await?;
        stream.write_all(b"HTTP/1.1 200 OK\r\nX: ").await?;
        stream.flush().await?;
        tokio::time::sleep(Duration::from_millis(20)).await;
        reset(stream).await
    })
    .await;
    let after = Target::new(|mut stream| async move {
        read_request(&mut stream).await?;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
            .await?;
        tokio::time::sleep(Duration::from_millis(20)).await;
        reset(stream).await
    })
    .await;
    let client = client();
    for target in [before, during] {
        let failure = deferred(attempt(&client, &target.webhook()).await);
        assert_eq!(failure.code, Code::ConnectionFailure, "{failure:?}");
    }
    assert_eq!(attempt(&client, &after.webhook()).await, Outcome::Delivered);
    assert_eq!(client.idle_count(), 0);
}

#[tokio::test]
async fn each_class_of_status_over_the_wire() {
    for (status, code, again) in [
        (101, Code::ErrorFromTarget, false),
        (300, Code::RedirectNotFollowed, false),
        (304, Code::RedirectNotFollowed, false),
        (400, Code::ErrorFromTarget, false),
        (401, Code::ErrorFromTarget, true),
        (404, Code::ErrorFromTarget, false),
        (407, Code::ErrorFromTarget, true),
        (409, Code::ErrorFromTarget, true),
        (410, Code::ErrorFromTarget, false),
        (429, Code::Throttling, true),
        (500, Code::ErrorFromTarget, true),
        (503, Code::ErrorFromTarget, true),
    ] {
        let client = client();
        let head = format!("HTTP/1.1 {status} x\r\nRetry-After: 7\r\n");
        let target = Target::answering(format!("{head}Content-Length: 0\r\n\r\n")).await;
        let failure = match attempt(&client, &target.webhook()).await {
            Outcome::Delivered => panic!("{status} is no success"),
            Outcome::Refused(failure) => {
                assert!(!again, "{status}");
                failure
            }
            Outcome::Deferred {
                failure,
                not_before,
            } => {
                assert!(again, "{status}");
                assert_eq!(not_before, Some(Duration::from_secs(7)));
                failure
            }
        };
        assert_eq!(failure.code, code);
        assert_eq!(failure.status, Some(status));
        assert_eq!(failure.text, format!("The target answered {status}."));
        assert_eq!(client.idle_count(), usize::from(status != 101), "{status}");
    }
}

#[tokio::test]
async fn a_broken_body_does_not_hide_a_status() {
    let target =
        Target::closing_after("HTTP/1.1 503 x\r\nRetry-After: 3\r\nContent-Length: 9\r\n\r\nx");
    match attempt(&client(), &target.await.webhook()).await {
        Outcome::Deferred {
            failure,
            not_before,
        } => {
            assert_eq!(failure.status, Some(503));
            assert_eq!(not_before, Some(Duration::from_secs(3)));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_early_answer_to_a_long_body_is_read() {
    let target = Target::new(|mut stream| async move {
        let mut piece = [0; 1024];
        stream.read_exact(&mut piece).await?;
        stream
            .write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
            .await?;
        // Stays open, so that no reset overtakes the answer.
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(())
    })
    .await;
    let client = client();
    let delivery = Delivery {
        webhook_id: "msg_1",
        now_unix_ms: NOW_MS,
        body: Bytes::from(vec![b' '; 16 * 1024 * 1024]),
        trace_header: None,
        idempotency_key: None,
    };
    let outcome = webhook::attempt(&client, &target.webhook(), &delivery).await;
    assert!(
        matches!(&outcome, Outcome::Refused(failure) if failure.status == Some(413)),
        "{outcome:?}"
    );
    assert_eq!(
        client.idle_count(),
        0,
        "half a request is on that connection"
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let second = Target::answering(OK).await;
    for status in [301, 302, 303, 307, 308] {
        let head = format!(
            "HTTP/1.1 {status} x\r\nLocation: http://{}/\r\n",
            second.address
        );
        let first = Target::answering(format!("{head}Content-Length: 0\r\n\r\n")).await;
        let outcome = attempt(&client(), &first.webhook()).await;
        let Outcome::Refused(failure) = outcome else {
            panic!("not refused: {outcome:?}")
        };
        assert_eq!(failure.code, Code::RedirectNotFollowed);
    }
    assert_eq!(second.connections(), 0);
}

#[tokio::test]
async fn a_name_that_leads_nowhere_is_tried_again() {
    check_deferred(
        attempt(&client(), &webhook("https://nonexistent.invalid/")).await,
        Code::ConnectionFailure,
        "name lookup of `nonexistent.invalid` failed",
    );
}

#[tokio::test]
async fn a_name_is_resolved_and_connected_to() {
    let target = Target::answering(OK).await;
    let hook = webhook(&format!("http://localhost:{}/", target.address.port()));
    let client = client();
    for _ in 0..2 {
        assert_eq!(attempt(&client, &hook).await, Outcome::Delivered);
    }
    assert_eq!(target.connections(), 1);
}

#[tokio::test]
async fn what_the_guard_forbids_sees_no_connection() {
    let target = Target::answering(OK).await;
    for settings in [
        EgressSettings::default(),
        EgressSettings {
            loopback_allowed: true,
            own: vec![target.address],
            ..EgressSettings::default()
        },
        EgressSettings {
            allow: vec!["127.0.0.0/8".to_owned()],
            own: vec![SocketAddr::new(
                "0.0.0.0".parse().unwrap(),
                target.address.port(),
            )],
            ..EgressSettings::default()
        },
    ] {
        let egress = Egress::new(&settings).unwrap();
        let client = Client::new(egress, Timeouts::default(), &[]).unwrap();
        check_deferred(
            attempt(&client, &target.webhook()).await,
            Code::DestinationNotAllowed,
            "destination address is not allowed: 127.0.0.1",
        );
    }
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn a_body_is_kept_as_far_as_wanted() {
    let target = Target::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await;
    let client = client();
    for (kept, body, complete) in [(100, "hello", true), (5, "hello", true), (2, "he", false)] {
        let request = Request {
            url: target.webhook().url,
            method: http::Method::GET,
            headers: http::HeaderMap::new(),
            body: Bytes::new(),
            body_bytes_kept: kept,
        };
        let answer = client.send(request).await.unwrap();
        assert_eq!(
            (answer.body.as_slice(), answer.body_complete),
            (body.as_bytes(), complete)
        );
    }
    assert_eq!(target.connections(), 1);
}

/// A TLS target with a certificate for `name`, and that certificate.
async fn tls_target(
    name: &str,
    expired: bool,
) -> (Target, rustls::pki_types::CertificateDer<'static>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    if expired {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    }
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let private = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], private.into())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let target = Target::new(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await?;
            while !read_request(&mut stream).await?.is_empty() {
                stream.write_all(OK.as_bytes()).await?;
            }
            Ok(())
        }
    })
    .await;
    (target, certificate)
}

#[tokio::test]
async fn tls_is_verified_and_its_connections_are_used_again() {
    let (target, certificate) = tls_target("localhost", false).await;
    let client = Client::new(egress(), Timeouts::default(), &[certificate]).unwrap();
    let hook = webhook(&format!("https://localhost:{}/", target.address.port()));
    for _ in 0..2 {
        assert_eq!(attempt(&client, &hook).await, Outcome::Delivered);
    }
    assert_eq!(target.connections(), 1);
}

#[tokio::test]
async fn a_certificate_that_is_not_good_is_a_tls_error() {
    for (name, expired, trusted, text) in [
        (
            "localhost",
            false,
            false,
            "TLS_ERROR: invalid peer certificate: UnknownIssuer",
        ),
        (
            "localhost",
            true,
            true,
            "TLS_ERROR: invalid peer certificate: certificate expired",
        ),
        (
            "other.example",
            false,
            true,
            "TLS_ERROR: invalid peer certificate: certificate not valid for name",
        ),
    ] {
        let (target, certificate) = tls_target(name, expired).await;
        let roots = if trusted {
            vec![certificate]
        } else {
            Vec::new()
        };
        let client = Client::new(egress(), Timeouts::default(), &roots).unwrap();
        let hook = webhook(&format!("https://localhost:{}/", target.address.port()));
        check_deferred(attempt(&client, &hook).await, Code::ConnectionFailure, text);
    }
}

#[tokio::test]
async fn a_handshake_that_hangs_or_is_none_is_a_tls_error() {
    let hanging = Target::new(|stream| async move {
        tokio::time::sleep(Duration::from_secs(5)).await;
        drop(stream);
        Ok(())
    })
    .await;
    let plain =
        Target::new(|mut stream| async move { stream.write_all(OK.as_bytes()).await }).await;
    let closing = Target::new(|_| async { Ok(()) }).await;
    for target in [hanging, plain, closing] {
        let hook = webhook(&format!("https://{}/", target.address));
        check_deferred(
            attempt(&hasty_client(), &hook).await,
            Code::ConnectionFailure,
            "TLS_ERROR",
        );
    }
}
