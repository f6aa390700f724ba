//! Our own API, the same on both ports: what a person or a tool asks of the bus that AWS has no call for.
//!
//! JSON both ways, one shape of error: `{"error":{"code","message","request_id","at?","hint?"}}`, where `at`
//! is a byte offset in what was sent. Nothing unknown is ignored: a member or a parameter that we do not know
//! is an error. Putting events is next door in [`native_put`](super::native_put).
//!
//! Start at [`answer`].

use super::body::Body;
use super::connection::{Unread, response, unread_status};
use super::{Doors, Request, Response, documents, inventory, native_put};
use crate::bus::Unavailable;
use crate::dead_letters::{self, DeadLettersError, Selection};
use crate::status;
use crate::tail::{self, Tail};
use crate::trail::{self, TrailError};
use ::http::{HeaderValue, Method, StatusCode, header};
use bus_core::envelope::format_millis;
use bus_core::record::Key;
use rule_engine::pattern::{COMPLEXITY_MAX, Options, Pattern, PatternError};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::HashMap;
use tokio::sync::mpsc;

const JSON: &str = "application/json";
/// Dead letters of one page when the caller does not say, and at most.
const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;

/// Answers a request of this API.
pub async fn answer(doors: &Doors, request: Request) -> Response {
    let id = request.id;
    let Some(path) = request.path.strip_prefix("/v1/") else {
        return NativeError::unknown_path(&request.path).answer(id);
    };
    if request.method != Method::GET && is_foreign(&request) {
        let message = "a page of another origin may not change anything here";
        let error = NativeError::new(StatusCode::FORBIDDEN, "AccessDeniedException", message);
        return error.answer(id);
    }
    let path = path.to_owned();
    let segments: Vec<&str> = path.split('/').collect();
    let get = matches!(request.method, Method::GET | Method::HEAD);
    let post = request.method == Method::POST;
    let answered = match segments.as_slice() {
        ["status"] if get => status_of(doors, &request).await,
        // An id may hold anything, also what stands between the parts of a path.
        ["events", ..] if get => trail_of(doors, &request, &path["events".len()..]).await,
        ["dead-letters"] if get => dead_letters_of(doors, &request).await,
        ["dead-letters", "redrive"] if post => redrive(doors, &request).await,
        ["buses", bus, "tail"] if get => tail_of(doors, &request, bus).await,
        ["buses", bus, "events"] if post => match decode(bus) {
            Some(bus) => return native_put::events(doors, request, bus).await,
            None => Err(NativeError::unknown_path(&request.path)),
        },
        ["buses", bus, "envelopes"] if post => match decode(bus) {
            Some(bus) => return native_put::envelopes(doors, request, bus).await,
            None => Err(NativeError::unknown_path(&request.path)),
        },
        ["status" | "dead-letters"] | ["events", _, ..] | ["buses", _, "tail"] => {
            return not_allowed(&request, "GET");
        }
        ["dead-letters", "redrive"] | ["buses", _, "events" | "envelopes"] => {
            return not_allowed(&request, "POST");
        }
        _ => match inventory::answer(doors, &request, &segments).await {
            Some(response) => return response,
            None => match documents::answer(doors, &request, &segments).await {
                Some(response) => return response,
                None => Err(NativeError::unknown_path(&request.path)),
            },
        },
    };
    answered.unwrap_or_else(|error| error.answer(id))
}

/// The answer to a request that could not be read.
pub fn unread(request: &Request, why: Unread) -> Response {
    let status = unread_status(why);
    match why {
        Unread::TooLarge => NativeError::new(
            status,
            "RequestTooLarge",
            "the body is larger than the server takes",
        )
        .hint("put fewer events in one call"),
        Unread::TooSlow => {
            NativeError::new(status, "RequestTimeout", "the body did not come in time")
        }
        Unread::Broken => NativeError::new(
            status,
            "InvalidRequest",
            "the body is not as its headers say",
        ),
        Unread::UriTooLong => NativeError::new(
            status,
            "UriTooLong",
            "the path and query are longer than 8 KiB",
        ),
        Unread::HeadTooLarge => NativeError::new(
            status,
            "HeadersTooLarge",
            "the request line and headers are larger than 32 KiB",
        ),
        Unread::Framing => NativeError::new(
            status,
            "InvalidRequest",
            "the request's framing can be read in two ways",
        ),
        Unread::Busy => NativeError::new(status, "ServiceUnavailable", "the server is busy"),
        Unread::Host => NativeError::new(
            status,
            "MisdirectedRequest",
            "the Host header names a host that is not served here",
        )
        .hint("use an address or localhost, or add the name to `hosts` in busbar.toml"),
    }
    .answer(request.id)
}

/// The answer to a request that panicked.
pub fn internal_error(id: uuid::Uuid) -> Response {
    NativeError::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "InternalError",
        "an internal error occurred",
    )
    .answer(id)
}

pub(super) fn not_allowed(request: &Request, allowed: &'static str) -> Response {
    let message = format!("{} is not allowed here", request.method);
    let mut response =
        NativeError::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", &message)
            .hint(&format!("use {allowed}"))
            .answer(request.id);
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

/// An error in the shape of this API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NativeError {
    status: StatusCode,
    code: &'static str,
    message: String,
    at: Option<usize>,
    hint: Option<String>,
}

impl NativeError {
    /// An error of no place and with no advice.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, message: &str) -> Self {
        Self {
            status,
            code,
            message: message.to_owned(),
            at: None,
            hint: None,
        }
    }

    /// A parameter or member that cannot be so.
    #[must_use]
    pub fn validation(message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ValidationException", message)
    }

    /// Something that is named and does not exist.
    #[must_use]
    pub fn not_found(message: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "ResourceNotFoundException", message)
    }

    /// A path that this API does not have.
    #[must_use]
    pub fn unknown_path(path: &str) -> Self {
        let message = format!("there is nothing at {path}");
        Self::new(StatusCode::NOT_FOUND, "UnknownOperationException", &message)
            .hint("GET / on the operators' port lists the paths")
    }

    /// At this byte of what was sent.
    #[must_use]
    pub fn at(mut self, offset: usize) -> Self {
        self.at = Some(offset);
        self
    }

    /// What to try.
    #[must_use]
    pub fn hint(mut self, text: &str) -> Self {
        self.hint = Some(text.to_owned());
        self
    }

    /// The answer that says so.
    #[must_use]
    pub fn answer(self, request: uuid::Uuid) -> Response {
        #[derive(Serialize)]
        struct Shape<'a> {
            code: &'a str,
            message: &'a str,
            request_id: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            at: Option<usize>,
            #[serde(skip_serializing_if = "Option::is_none")]
            hint: Option<&'a str>,
        }
        let shape = Shape {
            code: self.code,
            message: &self.message,
            request_id: request.to_string(),
            at: self.at,
            hint: self.hint.as_deref(),
        };
        json_response(self.status, &json!({ "error": shape }))
    }
}

impl From<Unavailable> for NativeError {
    fn from(_: Unavailable) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            "the server is stopping or its storage takes nothing",
        )
        .hint("GET /readyz on the operators' port says why")
    }
}

impl From<DeadLettersError> for NativeError {
    fn from(error: DeadLettersError) -> Self {
        match error {
            DeadLettersError::Unavailable(unavailable) => unavailable.into(),
            DeadLettersError::NoQueue(_) => {
                Self::not_found(&error.to_string()).hint("GET /v1/status lists the queues")
            }
        }
    }
}

impl From<&PatternError> for NativeError {
    fn from(error: &PatternError) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "InvalidEventPatternException",
            &format!("Event pattern is not valid. Reason: {error}"),
        )
        .at(error.span().start)
        .hint(&error.help())
    }
}

/// Whether a browser sends this for a page that is not ours: no key protects a server on loopback from the
/// pages that its own user looks at.
fn is_foreign(request: &Request) -> bool {
    let Some(origin) = request.header("origin") else {
        return false;
    };
    let host = origin.split_once("://").map(|(_, host)| host);
    host.is_none() || host != request.header("host")
}

/// Refuses a body that says it is something else than JSON.
pub(super) fn check_json(request: &Request) -> Result<(), NativeError> {
    let Some(media) = request.header("content-type") else {
        return Ok(());
    };
    let media = media.split(';').next().unwrap_or("").trim();
    let known = [
        JSON,
        "application/x-amz-json-1.0",
        "application/x-amz-json-1.1",
    ];
    if known.iter().any(|k| media.eq_ignore_ascii_case(k)) {
        return Ok(());
    }
    let message = format!("the body is said to be `{media}`");
    Err(NativeError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "UnsupportedMediaTypeException",
        &message,
    )
    .hint("send `Content-Type: application/json`"))
}

pub(super) fn json_response(status: StatusCode, value: &impl Serialize) -> Response {
    let text = serde_json::to_vec(value).expect("plain values");
    response(status, JSON, text)
}

/// The parts of a query, each known and given once.
pub(super) fn query(
    request: &Request,
    known: &[&str],
) -> Result<HashMap<String, String>, NativeError> {
    let mut given = HashMap::new();
    for (name, value) in url::form_urlencoded::parse(request.query.as_bytes()) {
        if !known.contains(&&*name) {
            let hint = match known {
                [] => "no parameter is taken here".to_owned(),
                known => format!("the parameters are {}", known.join(", ")),
            };
            let message = format!("unknown parameter `{name}`");
            return Err(NativeError::validation(&message).hint(&hint));
        }
        if given.insert(name.to_string(), value.into_owned()).is_some() {
            let message = format!("parameter `{name}` is given twice");
            return Err(NativeError::validation(&message));
        }
    }
    Ok(given)
}

/// A part of a path, its percent-encoding undone; `None` if that gives no text.
pub(super) fn decode(part: &str) -> Option<String> {
    let mut out = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'%' {
            out.push(*first);
            continue;
        }
        let (digits, behind) = behind.split_at_checked(2)?;
        let digit = |d: u8| char::from(d).to_digit(16);
        let value = digit(digits[0])? * 16 + digit(digits[1])?;
        out.push(u8::try_from(value).ok()?);
        rest = behind;
    }
    String::from_utf8(out).ok()
}

// ---- status --------------------------------------------------------------------------------------------

async fn status_of(doors: &Doors, request: &Request) -> Result<Response, NativeError> {
    query(request, &[])?;
    let status = status::read(&doors.bus).await?;
    let files = doors.files.load();
    let mut rules = json!({ "files": files.files, "from_files": files.rules });
    if let Some(fault) = &files.fault {
        rules["fault"] = json!(fault);
    }
    if files.loaded_ms > 0 {
        rules["loaded"] = json!(format_millis(files.loaded_ms));
    }
    let home = &doors.bus.identity().home;
    let server = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "account": home.account,
        "region": home.region,
        "starts": status.starts,
    });
    #[derive(Serialize)]
    struct Shape {
        #[serde(flatten)]
        status: status::Status,
        rules: serde_json::Value,
        server: serde_json::Value,
    }
    let shape = Shape {
        status,
        rules,
        server,
    };
    Ok(json_response(StatusCode::OK, &shape))
}

// ---- trail ---------------------------------------------------------------------------------------------

async fn trail_of(doors: &Doors, request: &Request, rest: &str) -> Result<Response, NativeError> {
    query(request, &[])?;
    let id = rest.strip_prefix('/').filter(|id| !id.is_empty());
    let Some(id) = id.and_then(decode) else {
        return Err(NativeError::unknown_path(&request.path));
    };
    match trail::trail(&doors.bus, &id).await {
        Ok(Some(trail)) => Ok(json_response(StatusCode::OK, &trail)),
        Ok(None) => {
            let hours = doors.config.trail.as_secs() / 3600;
            let mebibytes = doors.config.trail_bytes >> 20;
            let message = format!("no event with the id `{id}` is known");
            Err(NativeError::not_found(&message).hint(&format!(
                "a finished event's trail is kept for {hours} h or {mebibytes} MiB of finished events, whichever is \
                 less (`trail.hours`, `trail.bytes`)"
            )))
        }
        Err(TrailError::Unavailable(unavailable)) => Err(unavailable.into()),
        Err(TrailError::Read(error)) => {
            tracing::error!(%error, "a trail could not be read");
            Err(NativeError::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalError",
                "the journal could not be read",
            ))
        }
    }
}

// ---- dead letters --------------------------------------------------------------------------------------

/// The queue that a call names, or the default one, and whether it was named.
fn queue_of(doors: &Doors, named: Option<String>) -> Result<(String, bool), NativeError> {
    match named {
        Some(name) => Ok((name, true)),
        None if doors.config.default_dlq.is_empty() => Err(NativeError::validation("which queue?")
            .hint("there is no default dead-letter queue (`delivery.default_dlq`), so name one")),
        None => Ok((doors.config.default_dlq.clone(), false)),
    }
}

async fn dead_letters_of(doors: &Doors, request: &Request) -> Result<Response, NativeError> {
    let mut given = query(request, &["queue", "limit", "cursor"])?;
    let limit = match given.remove("limit") {
        None => LIMIT_DEFAULT,
        Some(text) => text
            .parse()
            .ok()
            .filter(|n| (1..=LIMIT_MAX).contains(n))
            .ok_or_else(|| {
                NativeError::validation(&format!("`limit` must be a number from 1 to {LIMIT_MAX}"))
            })?,
    };
    let after = match given.remove("cursor") {
        None => Key::default(),
        Some(text) => dead_letters::parse_cursor(&text)
            .ok_or_else(|| NativeError::validation("`cursor` is none that a list has given"))?,
    };
    let (queue, named) = queue_of(doors, given.remove("queue"))?;
    match dead_letters::list(&doors.bus, &queue, after, limit).await {
        // The default queue is made with its first dead letter.
        Err(DeadLettersError::NoQueue(_)) if !named => Ok(json_response(
            StatusCode::OK,
            &dead_letters::List::default(),
        )),
        listed => Ok(json_response(StatusCode::OK, &listed?)),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct RedriveCall {
    queue: Option<String>,
    rule: Option<String>,
    bus: Option<String>,
    message_ids: Option<Vec<String>>,
    max: Option<usize>,
}

async fn redrive(doors: &Doors, request: &Request) -> Result<Response, NativeError> {
    query(request, &[])?;
    check_json(request)?;
    let call: RedriveCall = match &request.body[..] {
        [] => RedriveCall::default(),
        body => serde_json::from_slice(body).map_err(|error| {
            NativeError::validation(&error.to_string())
                .at(offset(body, error.line(), error.column()))
                .hint("the members are Queue, Rule, Bus, MessageIds, Max; all may be left out")
        })?,
    };
    if call.max == Some(0) {
        return Err(NativeError::validation("`Max` must be at least 1"));
    }
    let (queue, named) = queue_of(doors, call.queue)?;
    let selection = Selection {
        rule: call.rule,
        bus: call.bus,
        message_ids: call.message_ids.map(|ids| ids.into_iter().collect()),
        max: call.max,
    };
    match dead_letters::redrive(&doors.bus, &queue, selection).await {
        Err(DeadLettersError::NoQueue(_)) if !named => Ok(json_response(
            StatusCode::OK,
            &dead_letters::Redriven::default(),
        )),
        Ok(redriven) => {
            tracing::info!(
                queue,
                redriven = redriven.redriven,
                without_target = redriven.without_target,
                "redrove dead letters"
            );
            Ok(json_response(StatusCode::OK, &redriven))
        }
        Err(error) => Err(error.into()),
    }
}

/// Byte offset of a line and column as `serde_json` counts them, from 1.
pub(super) fn offset(body: &[u8], line: usize, column: usize) -> usize {
    let before = body
        .split_inclusive(|b| *b == b'\n')
        .take(line.saturating_sub(1));
    let start: usize = before.map(<[u8]>::len).sum();
    (start + column.saturating_sub(1)).min(body.len())
}

// ---- tail ----------------------------------------------------------------------------------------------

async fn tail_of(doors: &Doors, request: &Request, bus: &str) -> Result<Response, NativeError> {
    let mut given = query(request, &["pattern"])?;
    let Some(bus) = decode(bus) else {
        return Err(NativeError::unknown_path(&request.path));
    };
    let options = Options {
        complexity_limit: doors.config.aws_complexity.then_some(COMPLEXITY_MAX),
    };
    let pattern = given
        .remove("pattern")
        .map(|text| Pattern::parse_with(&text, &options))
        .transpose()
        .map_err(|error| NativeError::from(&error))?;
    if !doors.bus.routing().1.has_bus(&bus) {
        return Err(NativeError::not_found(&format!(
            "bus `{bus}` does not exist"
        )));
    }
    let Some(inside) = doors.metrics.tails.enter(tail::TAILS_MAX) else {
        let message = format!("there are {} tails already", tail::TAILS_MAX);
        return Err(
            NativeError::new(StatusCode::TOO_MANY_REQUESTS, "TooManyTails", &message)
                .hint("end one of them"),
        );
    };
    let tail = Tail::new(&doors.bus, &bus, pattern.as_ref()).await?;
    let (parts, body) = mpsc::channel(tail::PARTS_MAX);
    // Ends by itself when the connection does: the receiver is dropped with the answer's body.
    tokio::spawn(async move {
        tail::follow(tail, parts).await;
        drop(inside);
    });
    let mut response = Response::new(Body::stream(body));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

#[cfg(test)]
mod tests;
