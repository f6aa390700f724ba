//! What is wrong below the API: framing, sizes, silence. Over raw sockets, and after each the server
//! takes an event from somebody else (reliability-security.md 3, 4.2, 4.4).
//!
//! Where a connection must be closed, a second request is sent behind the bad one: if it is ever
//! answered, bytes of one caller can be made to look like another's request.
#![allow(
    clippy::disallowed_methods,
    reason = "a test of a real process waits in real time"
)]

#[allow(dead_code, reason = "each test uses its part of the support")]
#[path = "../support/mod.rs"]
mod support;

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Connection, Options, Response, Server, call};

/// The largest body that is taken.
const BODY_BYTES_MAX: usize = 4 << 20;
/// A request of the events door without its framing headers.
const HEAD: &str = "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-amz-json-1.1\r\nX-Amz-Target: AWSEvents.ListEventBuses\r\n";
/// What must never be answered behind a broken request.
const SMUGGLED: &str = "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-amz-json-1.1\r\nX-Amz-Target: AWSEvents.ListRules\r\nContent-Length: 2\r\n\r\n{}";

fn server() -> Server {
    let env = [
        ("BUSBAR_HTTP_HEADER_SECONDS", "1"),
        ("BUSBAR_HTTP_BODY_SECONDS", "1"),
    ];
    let env = env
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .to_vec();
    Server::start(&Options {
        env,
        ..Options::default()
    })
}

/// Sends `bytes` and a second request; wants one of `statuses`, no second answer and a closed
/// connection. What differs is told, so that a table is gone through to its end.
fn refused(server: &Server, what: &str, bytes: &[u8], statuses: &[u16]) -> Option<String> {
    let mut connection = Connection::open(server.api).expect("the server accepts");
    connection
        .read_timeout(Duration::from_secs(5))
        .expect("a timeout can be set");
    let mut all = bytes.to_vec();
    all.extend_from_slice(SMUGGLED.as_bytes());
    // The server may close before it has read everything.
    let _ = connection.send(&all);
    // 0 stands for a connection that was closed, or left open, without an answer.
    let status = connection.response().map_or(0, |response| response.status);
    let second = connection.response();
    let closed = connection.closed();
    server.assert_serves();
    if !statuses.contains(&status) {
        return Some(format!(
            "{what}: got {status}, expected one of {statuses:?}"
        ));
    }
    if let Ok(second) = second {
        let status = second.status;
        return Some(format!(
            "{what}: the request behind it was answered {status}"
        ));
    }
    (!closed).then(|| format!("{what}: the connection stays open"))
}

fn put(body: &[u8], server: &Server) -> Response {
    let headers = [
        ("Content-Type", "application/x-amz-json-1.1"),
        ("X-Amz-Target", "AWSEvents.PutEvents"),
    ];
    call(server.api, "POST", "/", &headers, body).expect("the server answers")
}

#[track_caller]
fn error_is(response: &Response, status: u16, code: &str) {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.json()["__type"], code);
    assert_eq!(response.header("x-amzn-ErrorType"), Some(code));
}

#[test]
fn paths_and_methods_that_are_nobody_s_are_refused() {
    let server = server();
    let target = [
        ("Content-Type", "application/x-amz-json-1.1"),
        ("X-Amz-Target", "AWSEvents.PutEvents"),
    ];
    for (method, path, status) in [
        ("GET", "/", 405),
        ("PUT", "/", 405),
        ("DELETE", "/", 405),
        ("PATCH", "/", 405),
        ("OPTIONS", "/", 405),
        ("BREW", "/", 405),
        ("POST", "/nope", 404),
        ("POST", "//", 404),
        ("POST", "/../etc/passwd", 404),
    ] {
        let response = call(server.api, method, path, &target, b"{}").expect("the server answers");
        assert_eq!(
            response.status,
            status,
            "{method} {path}: {}",
            response.text()
        );
        server.assert_serves();
    }
}

#[test]
fn media_types_and_encodings_are_checked_before_the_body() {
    let server = server();
    for (name, value) in [
        ("Content-Type", "text/plain"),
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Content-Type", "application/json5"),
        ("Content-Type", ""),
        ("Content-Encoding", "gzip"),
        ("Content-Encoding", "br"),
        ("Content-Encoding", "deflate, gzip"),
    ] {
        let mut headers = vec![("X-Amz-Target", "AWSEvents.PutEvents"), (name, value)];
        if name == "Content-Encoding" {
            headers.push(("Content-Type", "application/x-amz-json-1.1"));
        }
        // Bytes that no parser must come to see.
        let response = call(server.api, "POST", "/", &headers, &[0x1f, 0x8b, 0xff])
            .expect("the server answers");
        assert_eq!(response.status, 415, "{name}: {value}: {}", response.text());
        assert_eq!(
            response.json()["__type"],
            "UnsupportedMediaTypeException",
            "{name}: {value}"
        );
        server.assert_serves();
    }
}

#[test]
fn a_body_over_4_mib_is_refused_by_its_length_before_it_is_read() {
    let server = server();
    for length in [BODY_BYTES_MAX + 1, 5_000_000, 1 << 40, 1 << 60] {
        let mut connection = Connection::open(server.api).expect("the server accepts");
        connection
            .read_timeout(Duration::from_secs(15))
            .expect("a timeout can be set");
        // Not one byte of the body is sent: an answer proves that none was waited for.
        connection
            .send(format!("{HEAD}Content-Length: {length}\r\n\r\n").as_bytes())
            .expect("the head is read");
        let response = connection.response().expect("an answer without the body");
        error_is(&response, 413, "RequestEntityTooLargeException");
        server.assert_serves();
    }
}

#[test]
fn a_body_of_5_mb_is_refused_and_one_of_4_mib_is_taken() {
    let server = server();
    let response = put(&vec![b' '; 5_000_000], &server);
    error_is(&response, 413, "RequestEntityTooLargeException");
    server.assert_serves();

    let entry = json!({"Source": "demo.size", "DetailType": "Size", "Detail": "{}"});
    let bare = json!({"Entries": [entry], "x": ""}).to_string();
    let padded = |length: usize| {
        bare.replace(
            "\"x\":\"\"",
            &format!("\"x\":\"{}\"", "x".repeat(length - bare.len())),
        )
    };
    let most = padded(BODY_BYTES_MAX);
    assert_eq!(most.len(), BODY_BYTES_MAX);
    assert_eq!(
        put(most.as_bytes(), &server).ok()["FailedEntryCount"],
        json!(0)
    );
    error_is(
        &put(padded(BODY_BYTES_MAX + 1).as_bytes(), &server),
        413,
        "RequestEntityTooLargeException",
    );
    server.assert_serves();
}

#[test]
fn a_chunked_body_is_counted_as_it_comes() {
    let server = server();
    let mut connection = Connection::open(server.api).expect("the server accepts");
    connection
        .read_timeout(Duration::from_secs(15))
        .expect("a timeout can be set");
    connection
        .send(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n").as_bytes())
        .expect("the head is read");
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x1_0000], b"\r\n"].concat();
    for _ in 0..80 {
        // 5 MiB in all, and no last chunk: the server must not wait for it.
        if connection.send(&chunk).is_err() {
            break;
        }
    }
    // Reset under our write, the answer may be lost; then the closed connection must do.
    if let Ok(response) = connection.response() {
        error_is(&response, 413, "RequestEntityTooLargeException");
    }
    assert!(
        connection.closed(),
        "the connection stays open behind an endless body"
    );
    server.assert_serves();

    let mut connection = Connection::open(server.api).expect("the server accepts");
    let body =
        format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n1;note=x\r\n{{\r\n1\r\n}}\r\n0\r\n\r\n");
    connection.send(body.as_bytes()).expect("the server reads");
    assert_eq!(
        connection.response().expect("an answer").status,
        200,
        "a small chunked body is taken"
    );
}

#[test]
fn heads_are_bounded() {
    let server = server();
    let mut faults = Vec::new();
    let long_value = format!(
        "{HEAD}X-Long: {}\r\nContent-Length: 2\r\n\r\n{{}}",
        "x".repeat(33 << 10)
    );
    faults.extend(refused(
        &server,
        "33 KiB in one field",
        long_value.as_bytes(),
        &[431],
    ));
    let field = format!("X-Many: {}\r\n", "y".repeat(1000));
    let many_bytes = format!("{HEAD}{}Content-Length: 2\r\n\r\n{{}}", field.repeat(40));
    faults.extend(refused(
        &server,
        "40 KiB in 40 fields",
        many_bytes.as_bytes(),
        &[431],
    ));
    // Host, Content-Type, X-Amz-Target and Content-Length are four.
    let fields = |count: usize| {
        let more: String = (4..count)
            .map(|number| format!("X-{number}: y\r\n"))
            .collect();
        format!("{HEAD}{more}Content-Length: 2\r\n\r\n{{}}")
    };
    faults.extend(refused(&server, "65 fields", fields(65).as_bytes(), &[431]));
    let mut connection = Connection::open(server.api).expect("the server accepts");
    connection
        .send(fields(64).as_bytes())
        .expect("the server reads");
    assert_eq!(
        connection.response().expect("an answer").status,
        200,
        "64 fields are taken"
    );

    let uri = format!(
        "POST /{} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\n{{}}",
        "u".repeat(9 << 10)
    );
    faults.extend(refused(&server, "a URI of 9 KiB", uri.as_bytes(), &[414]));
    let endless = format!("POST /{}", "u".repeat(64 << 10));
    faults.extend(refused(
        &server,
        "a request line without end",
        endless.as_bytes(),
        &[414, 431],
    ));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn framing_that_two_parsers_could_read_two_ways_is_refused_and_closed() {
    let server = server();
    let mut faults = Vec::new();
    let with = |headers: &str, body: &str| format!("{HEAD}{headers}\r\n{body}");
    for (what, request) in [
        (
            "length and chunked",
            with(
                "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
                "0\r\n\r\n",
            ),
        ),
        (
            "chunked and length",
            with(
                "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                "0\r\n\r\n",
            ),
        ),
        (
            "two lengths that differ",
            with("Content-Length: 2\r\nContent-Length: 3\r\n", "{}"),
        ),
        ("a list of lengths", with("Content-Length: 2, 3\r\n", "{}")),
        ("a length with a sign", with("Content-Length: +2\r\n", "{}")),
        ("a negative length", with("Content-Length: -2\r\n", "{}")),
        ("a length in hex", with("Content-Length: 0x2\r\n", "{}")),
        (
            "a length beyond 64 bits",
            with("Content-Length: 99999999999999999999999\r\n", "{}"),
        ),
        (
            "chunked that is not last",
            with("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
        ),
        (
            "chunked twice",
            with("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"),
        ),
        (
            "an unknown coding",
            with("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
        ),
        (
            "a chunk size that is no number",
            with("Transfer-Encoding: chunked\r\n", "zz\r\n{}\r\n0\r\n\r\n"),
        ),
        (
            "a chunk size with a sign",
            with("Transfer-Encoding: chunked\r\n", "-2\r\n{}\r\n0\r\n\r\n"),
        ),
        (
            "a chunk size beyond 64 bits",
            with(
                "Transfer-Encoding: chunked\r\n",
                "fffffffffffffffff\r\n{}\r\n0\r\n\r\n",
            ),
        ),
        (
            "a chunk longer than its size",
            with("Transfer-Encoding: chunked\r\n", "1\r\n{}\r\n0\r\n\r\n"),
        ),
        (
            "bare LF",
            HEAD.replace("\r\n", "\n") + "Content-Length: 2\n\n{}",
        ),
        ("one bare LF", with("X-A: b\nContent-Length: 2\r\n", "{}")),
        (
            "NUL in a header",
            with("X-A: b\0c\r\nContent-Length: 2\r\n", "{}"),
        ),
        (
            "CR in a header",
            with("X-A: b\rc\r\nContent-Length: 2\r\n", "{}"),
        ),
        (
            "a blank before the colon",
            with("Content-Length : 2\r\n", "{}"),
        ),
        (
            "a folded header",
            with("X-A: b\r\n c\r\nContent-Length: 2\r\n", "{}"),
        ),
        (
            "a header without a name",
            with(": b\r\nContent-Length: 2\r\n", "{}"),
        ),
        (
            "a header without a colon",
            with("Nonsense\r\nContent-Length: 2\r\n", "{}"),
        ),
        (
            "another version",
            with("Content-Length: 2\r\n", "{}").replacen("HTTP/1.1", "HTTP/9.9", 1),
        ),
        (
            "no version",
            with("Content-Length: 2\r\n", "{}").replacen(" HTTP/1.1", "", 1),
        ),
        (
            "no request at all",
            String::from("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n"),
        ),
    ] {
        // 501 is what the RFC has for an unknown transfer coding, 505 for a version.
        faults.extend(refused(&server, what, request.as_bytes(), &[400, 501, 505]));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_host_that_is_not_ours_is_refused() {
    let server = server();
    let with =
        |host: &str| HEAD.replace("Host: 127.0.0.1\r\n", host) + "Content-Length: 2\r\n\r\n{}";
    for (what, host) in [
        ("no Host", ""),
        ("two Hosts", "Host: 127.0.0.1\r\nHost: localhost\r\n"),
        ("a Host that is none", "Host: a b/c\r\n"),
        (
            "a name that somebody's DNS points to us",
            "Host: evil.example.com\r\n",
        ),
        ("the same with our port", "Host: evil.example.com:4100\r\n"),
    ] {
        let mut connection = Connection::open(server.api).expect("the server accepts");
        connection
            .send(with(host).as_bytes())
            .expect("the server reads");
        let status = connection.response().map_or(0, |response| response.status);
        assert!((400..500).contains(&status), "{what}: got {status}");
        server.assert_serves();
    }
    for host in [
        "Host: localhost:1234\r\n",
        "Host: 127.0.0.1\r\n",
        "Host: [::1]:4100\r\n",
    ] {
        let mut connection = Connection::open(server.api).expect("the server accepts");
        connection
            .send(with(host).as_bytes())
            .expect("the server reads");
        assert_eq!(
            connection.response().expect("an answer").status,
            200,
            "{host}"
        );
    }
}

#[test]
fn depth_bombs_and_broken_text_end_in_an_answer() {
    let server = server();
    let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
    let request = format!("{{\"x\":{deep}}}");
    error_is(
        &put(request.as_bytes(), &server),
        400,
        "SerializationException",
    );
    server.assert_serves();
    let objects = "{\"a\":".repeat(500_000) + "1" + &"}".repeat(500_000);
    error_is(
        &put(objects.as_bytes(), &server),
        400,
        "SerializationException",
    );
    server.assert_serves();
    // Open to the end: the parser must notice the depth, not the end.
    error_is(
        &put("[".repeat(4_000_000).as_bytes(), &server),
        400,
        "SerializationException",
    );
    server.assert_serves();

    for detail in [
        format!("{{\"a\":{}{}}}", "[".repeat(400_000), "]".repeat(400_000)),
        "{\"a\":".repeat(100_000) + "1" + &"}".repeat(100_000),
        "{\"a\":".repeat(150_000),
    ] {
        let entry = json!({"Source": "demo.deep", "DetailType": "Deep", "Detail": detail});
        let answer = put(json!({"Entries": [entry]}).to_string().as_bytes(), &server).ok();
        assert_eq!(answer["Entries"][0]["ErrorCode"], "MalformedDetail");
        server.assert_serves();
    }

    for broken in [
        &b"\xff"[..],
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe2\x82",
    ] {
        let body = [
            b"{\"Entries\":[{\"Source\":\"".as_slice(),
            broken,
            b"\",\"DetailType\":\"t\",\"Detail\":\"{}\"}]}",
        ]
        .concat();
        error_is(&put(&body, &server), 400, "SerializationException");
        server.assert_serves();
    }
}

/// Runs `talk` on a connection, then wants it answered 408 or closed within `bound`.
#[track_caller]
fn cut_off(
    server: &Server,
    what: &str,
    bound: Duration,
    talk: impl FnOnce(&mut Connection),
) -> Option<Response> {
    let begin = Instant::now();
    let mut connection = Connection::open(server.api).expect("the server accepts");
    connection
        .read_timeout(bound)
        .expect("a timeout can be set");
    talk(&mut connection);
    let response = connection.response().ok();
    if let Some(response) = &response {
        assert_eq!(response.status, 408, "{what}: {}", response.text());
    }
    assert!(
        connection.closed(),
        "{what}: still open after {:?}",
        begin.elapsed()
    );
    assert!(
        begin.elapsed() < bound,
        "{what}: open for {:?}",
        begin.elapsed()
    );
    server.assert_serves();
    response
}

/// The server's own bounds are 10 s and 30 s, here set to 1 s; the slack is for a slow machine.
const HEADER_BOUND: Duration = Duration::from_secs(12);
const BODY_BOUND: Duration = Duration::from_secs(35);

#[test]
fn half_a_header_then_silence_is_cut_off() {
    let server = server();
    cut_off(&server, "half a header", HEADER_BOUND, |connection| {
        connection
            .send(&HEAD.as_bytes()[..40])
            .expect("the server reads");
    });
    cut_off(&server, "one byte", HEADER_BOUND, |connection| {
        connection.send(b"P").expect("the server reads")
    });
    cut_off(
        &server,
        "a header without its end",
        HEADER_BOUND,
        |connection| {
            connection.send(HEAD.as_bytes()).expect("the server reads");
        },
    );
    // One byte now and then resets no clock: the bound is from the first byte.
    cut_off(
        &server,
        "a header byte by byte",
        HEADER_BOUND,
        |connection| {
            for byte in HEAD.as_bytes().iter().cycle().take(200) {
                if connection.send(&[*byte]).is_err() {
                    break;
                }
                thread::sleep(Duration::from_millis(50));
            }
        },
    );
}

#[test]
fn half_a_body_then_silence_is_cut_off() {
    let server = server();
    let lengths = [
        ("a length", "Content-Length: 100\r\n\r\n{\"Ent"),
        (
            "chunks",
            "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"Ent\r\n",
        ),
    ];
    for (what, rest) in lengths {
        let response = cut_off(&server, what, BODY_BOUND, |connection| {
            connection
                .send(format!("{HEAD}{rest}").as_bytes())
                .expect("the server reads");
        });
        if let Some(response) = response {
            error_is(&response, 408, "RequestTimeoutException");
        }
    }
    cut_off(&server, "a body byte by byte", BODY_BOUND, |connection| {
        connection
            .send(format!("{HEAD}Content-Length: 100000\r\n\r\n").as_bytes())
            .expect("the server reads");
        for _ in 0..200 {
            if connection.send(b" ").is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
    });
}

#[test]
fn a_client_that_goes_away_is_no_matter() {
    let server = server();
    let talks = [
        String::new(),
        HEAD[..30].to_string(),
        format!("{HEAD}Content-Length: 100\r\n\r\n{{"),
        SMUGGLED.to_string(),
    ];
    for talk in &talks {
        for _ in 0..50 {
            let mut connection = Connection::open(server.api).expect("the server accepts");
            let _ = connection.send(talk.as_bytes());
        }
        server.assert_serves();
    }
    // Two hundred that say nothing hold up nobody.
    let silent: Vec<Connection> = (0..200)
        .map(|_| Connection::open(server.api).expect("the server accepts"))
        .collect();
    server.assert_serves();
    drop(silent);
}

#[test]
fn a_connection_is_used_again_and_continue_is_answered() {
    let server = server();
    let mut connection = Connection::open(server.api).expect("the server accepts");
    let second = SMUGGLED;
    connection
        .send(format!("{HEAD}Content-Length: 2\r\n\r\n{{}}{second}").as_bytes())
        .expect("the server reads");
    let first: Value = connection.response().expect("the first answer").ok();
    assert_eq!(first["EventBuses"][0]["Name"], "default");
    assert!(connection.response().expect("the second answer").ok()["Rules"].is_array());
    // A refusal of the API is no reason to close.
    let refusal = HEAD.replace("ListEventBuses", "Nope") + "Content-Length: 2\r\n\r\n{}";
    connection
        .send(refusal.as_bytes())
        .expect("the server reads");
    error_is(
        &connection.response().expect("an answer"),
        400,
        "UnknownOperationException",
    );
    let waiting = format!("{HEAD}Content-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    connection
        .send(waiting.as_bytes())
        .expect("the connection is still there");
    thread::sleep(Duration::from_millis(50));
    connection.send(b"{}").expect("the server reads");
    assert_eq!(
        connection.response().expect("an answer after 100").status,
        200
    );
}
