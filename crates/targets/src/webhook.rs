//! A webhook: one signed request, and its answer read as an outcome.
//!
//! | answer | outcome |
//! | --- | --- |
//! | 2xx, a complete head | delivered, whatever the body does |
//! | 3xx | refused, never followed |
//! | 401, 407, 409, 429, 5xx | deferred, not before its `Retry-After` |
//! | 101, other 4xx | refused |
//! | a status that HTTP does not know (600 and up) | deferred: the target is not itself |
//! | none in time | deferred `TIMEOUT` |
//! | connection, name, TLS, malformed or oversized head | deferred `CONNECTION_FAILURE` |
//! | the guard said no | deferred `DESTINATION_NOT_ALLOWED`, nothing was sent |
//!
//! Source: reliability-security.md F14–F22, F24–F26 and 8; eventbridge-api.md 8.
//! Start at [`attempt`].

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bus_core::outcome::{Code, Failure, Outcome};
use bus_core::position::Position;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use sha2::{Digest, Sha256};
use url::Url;

use crate::client::{Answer, Client, Request, SendError};
use crate::limits;
use crate::sign::{self, Secret};

/// `User-Agent` of a webhook.
const AGENT: &str = concat!("Busbar/", env!("CARGO_PKG_VERSION"));
const TRACE: HeaderName = HeaderName::from_static("x-amzn-trace-id");

/// Headers that no user sets: framing, hops, and what we say of ourselves. With the prefixes of
/// [`HEADER_PREFIXES_DENIED`]. Source: reliability-security.md 8; `Trailer` and `Keep-Alive` join
/// their kind.
const HEADERS_DENIED: [&str; 11] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "via",
    "forwarded",
];
const HEADER_PREFIXES_DENIED: [&str; 4] = ["proxy-", "webhook-", "x-amz-", "x-forwarded-"];

/// How a webhook is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verb {
    /// The usual.
    #[default]
    Post,
    /// A mapped ARN may ask for it.
    Put,
}

/// A target that is a URL. Neither `Debug` nor comparable: it holds secrets.
#[derive(Clone)]
pub struct Webhook {
    /// Where to; made by `Egress::check_url`, checked again at each attempt.
    pub url: Url,
    /// How.
    pub verb: Verb,
    /// What the user adds, each made by [`check_header`]. They win over our `Content-Type` and
    /// `User-Agent`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Secrets to sign with: none, one, or two during rotation.
    pub secrets: Vec<Secret>,
}

/// What one attempt brings. No `Debug`: events are not logged.
#[derive(Clone)]
pub struct Delivery<'a> {
    /// Made by [`webhook_id`], the same at every attempt.
    pub webhook_id: &'a str,
    /// Time of this attempt.
    pub now_unix_ms: u64,
    /// The shaped input, sent byte for byte.
    pub body: Bytes,
    /// `X-Amzn-Trace-Id`, if the event has one.
    pub trace_header: Option<&'a str>,
    /// `Idempotency-Key`, if who made the input gave it one.
    pub idempotency_key: Option<&'a str>,
}

/// Why a header was turned down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Not a token, or too long.
    #[error("not a header name")]
    Name,
    /// A control character, a blank at an end, or too long.
    #[error("not a header value")]
    Value,
    /// A name that users may not set.
    #[error("this header cannot be set")]
    Denied,
}

/// Makes one attempt.
pub async fn attempt(client: &Client, webhook: &Webhook, delivery: &Delivery<'_>) -> Outcome {
    match headers(webhook, delivery) {
        Err(failure) => Outcome::Refused(failure),
        Ok(headers) => {
            let request = Request {
                url: webhook.url.clone(),
                method: match webhook.verb {
                    Verb::Post => Method::POST,
                    Verb::Put => Method::PUT,
                },
                headers,
                body: delivery.body.clone(),
                body_bytes_kept: 0,
            };
            outcome(client.send(request).await, delivery.now_unix_ms)
        }
    }
}

/// `msg_` and base64url of 16 bytes of SHA-256 over position, bus, rule and target id, each after
/// its length (four bytes, big-endian): the same at every attempt, another for another rule.
#[must_use]
pub fn webhook_id(position: Position, bus: &str, rule: &str, target_id: &str) -> String {
    let mut digest = Sha256::new();
    let position = position.to_bytes();
    for part in [
        &position[..],
        bus.as_bytes(),
        rule.as_bytes(),
        target_id.as_bytes(),
    ] {
        let length = u32::try_from(part.len()).expect("names are bounded far below 4 GiB");
        digest.update(length.to_be_bytes());
        digest.update(part);
    }
    let digest = digest.finalize();
    format!("msg_{}", URL_SAFE_NO_PAD.encode(&digest[..16]))
}

/// Checks a header that a user sets, or that is made of an event.
///
/// # Errors
/// [`HeaderError`]. A value from an event that fails is the event's fault (F36).
pub fn check_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), HeaderError> {
    if limits::HEADER_NAME_BYTES_MAX < name.len() {
        return Err(HeaderError::Name);
    }
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| HeaderError::Name)?;
    let denied = HEADERS_DENIED.contains(&name.as_str())
        || HEADER_PREFIXES_DENIED
            .iter()
            .any(|prefix| name.as_str().starts_with(prefix));
    if denied {
        return Err(HeaderError::Denied);
    }
    Ok((name, check_value(value)?))
}

/// No controls; blanks only within. Text beyond ASCII goes as UTF-8.
fn check_value(value: &str) -> Result<HeaderValue, HeaderError> {
    let blank = [' ', '\t'];
    if limits::HEADER_VALUE_BYTES_MAX < value.len()
        || value.starts_with(blank)
        || value.ends_with(blank)
        || value.chars().any(|c| c.is_control() && c != '\t')
    {
        return Err(HeaderError::Value);
    }
    HeaderValue::from_bytes(value.as_bytes()).map_err(|_| HeaderError::Value)
}

fn headers(webhook: &Webhook, delivery: &Delivery<'_>) -> Result<HeaderMap, Failure> {
    let ours = |text: &str| HeaderValue::from_str(text).map_err(|_| invalid("webhook-id"));
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    for (name, value) in &webhook.headers {
        headers.insert(name.clone(), value.clone());
    }
    let seconds = delivery.now_unix_ms / 1000;
    headers.insert("webhook-id", ours(delivery.webhook_id)?);
    if let Some(key) = delivery.idempotency_key {
        headers.insert("idempotency-key", ours(key)?);
    }
    headers.insert("webhook-timestamp", HeaderValue::from(seconds));
    if !webhook.secrets.is_empty() {
        let signatures = sign::signatures(
            &webhook.secrets,
            delivery.webhook_id,
            seconds,
            &delivery.body,
        );
        headers.insert("webhook-signature", ours(&signatures)?);
    }
    if let Some(trace) = delivery.trace_header {
        let trace = check_value(trace).map_err(|_| invalid("X-Amzn-Trace-Id"))?;
        headers.insert(TRACE, trace);
    }
    Ok(headers)
}

fn invalid(name: &str) -> Failure {
    let text = format!("The header {name} cannot be sent: not a header value.");
    Failure::new(Code::InvalidParameter, &text)
}

/// Reads what came of a request as the outcome of an attempt. Also for API destinations.
#[must_use]
pub fn outcome(result: Result<Answer, SendError>, now_unix_ms: u64) -> Outcome {
    match result {
        Ok(answer) => answered(&answer, now_unix_ms),
        Err(error) => Outcome::Deferred {
            failure: Failure::new(code(&error), &error.to_string()),
            not_before: None,
        },
    }
}

fn answered(answer: &Answer, now_unix_ms: u64) -> Outcome {
    let status = answer.status;
    let failure = |code| {
        let text = format!("The target answered {status}.");
        Failure::new(code, &text).with_status(status)
    };
    let deferred = |code| Outcome::Deferred {
        failure: failure(code),
        not_before: retry_after(&answer.headers, now_unix_ms),
    };
    match status {
        200..=299 => Outcome::Delivered,
        300..=399 => Outcome::Refused(failure(Code::RedirectNotFollowed)),
        429 => deferred(Code::Throttling),
        401 | 407 | 409 | 500.. => deferred(Code::ErrorFromTarget),
        _ => Outcome::Refused(failure(Code::ErrorFromTarget)),
    }
}

fn code(error: &SendError) -> Code {
    match error {
        SendError::NotAllowed(_) => Code::DestinationNotAllowed,
        SendError::Timeout { .. } => Code::Timeout,
        SendError::Dns { .. }
        | SendError::Connect(_)
        | SendError::Tls(_)
        | SendError::Broken(_) => Code::ConnectionFailure,
    }
}

/// Seconds or an HTTP date. What is negative, unreadable or more than 24 h off is not believed.
fn retry_after(headers: &HeaderMap, now_unix_ms: u64) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let after = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        Duration::from_secs(text.parse().ok()?)
    } else {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(now_unix_ms);
        httpdate::parse_http_date(text)
            .ok()?
            .duration_since(now)
            .ok()?
    };
    (after <= limits::RETRY_AFTER_MAX).then_some(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_id_follows_from_place_and_target_alone() {
        let id = webhook_id(Position::local(7), "default", "r", "t");
        // Worked out with Python's hashlib.
        assert_eq!(id, "msg_HdWfvK4o4lBwWpU85nsRRQ");
        assert_ne!(id, webhook_id(Position::local(8), "default", "r", "t"));
        assert_ne!(
            webhook_id(Position::local(7), "default", "rt", ""),
            webhook_id(Position::local(7), "default", "r", "t")
        );
    }

    #[test]
    fn headers_that_frame_route_or_sign_cannot_be_set() {
        for name in [
            "Host",
            "CONTENT-LENGTH",
            "transfer-encoding",
            "Connection",
            "Keep-Alive",
            "TE",
            "Trailer",
            "Upgrade",
            "Proxy-Authorization",
            "Expect",
            "webhook-id",
            "Webhook-Signature",
            "x-amz-date",
            "Via",
            "Forwarded",
            "X-Forwarded-For",
        ] {
            assert_eq!(check_header(name, "x"), Err(HeaderError::Denied), "{name}");
        }
        for name in ["", "a b", "a:", "é", "a\r\nb", "(x)", &"x".repeat(300)] {
            assert_eq!(check_header(name, "x"), Err(HeaderError::Name), "{name}");
        }
        for value in [
            "a\r\nb",
            "a\nb",
            "\0",
            "\u{7f}",
            " x",
            "x ",
            "\u{85}",
            &"x".repeat(9000),
        ] {
            assert_eq!(
                check_header("x-a", value),
                Err(HeaderError::Value),
                "{value:?}"
            );
        }
        for (name, value) in [
            ("Authorization", "Bearer x"),
            ("X-A", ""),
            ("x-team", "Zoë\tx"),
            ("Content-Type", "application/cloudevents+json"),
            ("x-amazon", "y"),
        ] {
            assert!(check_header(name, value).is_ok(), "{name}");
        }
    }

    #[test]
    fn retry_after_is_believed_within_a_day() {
        // 2026-01-01T00:00:00Z, a Thursday.
        let now = 1_767_225_600_000;
        let check = |value: &str, expected: Option<u64>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(value).unwrap());
            assert_eq!(
                retry_after(&headers, now),
                expected.map(Duration::from_secs),
                "{value}"
            );
        };
        check("120", Some(120));
        check(" 0 ", Some(0));
        check("86400", Some(86_400));
        check("Thu, 01 Jan 2026 00:02:00 GMT", Some(120));
        check("Thursday, 01-Jan-26 00:02:00 GMT", Some(120));
        check("86401", None);
        check("99999999999999999999999", None);
        check("-1", None);
        check("+5", None);
        check("1.5", None);
        check("soon", None);
        check("", None);
        check("Thu, 01 Jan 2026 00:00:00 GMT", Some(0));
        check("Wed, 31 Dec 2025 23:59:00 GMT", None);
        check("Sat, 03 Jan 2026 00:00:00 GMT", None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn each_status_has_its_outcome() {
        for status in 100..700_u16 {
            let answer = Answer {
                status,
                headers: HeaderMap::new(),
                body: Vec::new(),
                body_complete: true,
            };
            let expected = match status {
                200..=299 => None,
                300..=399 => Some((Code::RedirectNotFollowed, false)),
                429 => Some((Code::Throttling, true)),
                401 | 407 | 409 => Some((Code::ErrorFromTarget, true)),
                500.. => Some((Code::ErrorFromTarget, true)),
                _ => Some((Code::ErrorFromTarget, false)),
            };
            let found = match outcome(Ok(answer), 0) {
                Outcome::Delivered => None,
                Outcome::Deferred { failure, .. } => Some((failure, true)),
                Outcome::Refused(failure) => Some((failure, false)),
            };
            if let Some((failure, _)) = &found {
                assert_eq!(failure.status, Some(status));
                assert_eq!(failure.text, format!("The target answered {status}."));
            }
            assert_eq!(
                found.map(|(failure, again)| (failure.code, again)),
                expected
            );
        }
    }
}
