//! Our own doors for events: entries and whole envelopes, no SDK needed.
//!
//! `POST /v1/buses/{bus}/events` takes what a producer writes; `POST /v1/buses/{bus}/envelopes` takes whole
//! envelopes from a forwarder, and keeps all that they hold. A body is one object, an array of them, or
//! objects one after another (NDJSON). What is wrong with the body as a whole refuses the call; what is wrong
//! with one element fails that element, and the answer is an array in the order of the body.
//! Source: design.md 8; certificate-lifecycle.md ENV-2.

use super::aws::events::members::Object;
use super::aws::events::put_events::{access_key, intake, words};
use super::connection::response;
use super::native::{NativeError, offset};
use super::{Doors, Request, Response};
use crate::intake::{
    self, Call, Entry, FORWARDED_NAMES, Failed, Fault, Forwarded, Intake, Refused, Repeat, Stamp,
    Stamped,
};
use ::http::StatusCode;
use ::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use bus_core::limits::NATIVE_ENTRIES_MAX;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::borrow::Cow;

/// Media types of a body, parameters taken off. Each may hold any of the three forms.
const MEDIA_TYPES: [&str; 4] = [
    "application/json",
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
];
/// Length of an `Idempotency-Key`, in bytes.
const KEY_BYTES_MAX: usize = 256;
/// Characters of one resource, as in `PutEvents`.
const RESOURCE_CHARS_MAX: usize = 2048;
/// Characters of a `TraceHeader`, as in `PutEvents`.
const TRACE_CHARS_MAX: usize = 500;
/// Members of an entry.
const ENTRY_NAMES: [&str; 6] = [
    "Source",
    "DetailType",
    "Detail",
    "Resources",
    "Time",
    "TraceHeader",
];

/// Takes entries.
pub async fn events(doors: &Doors, request: Request, bus: String) -> Response {
    answer(doors, &request, &bus, Kind::Events).await
}

/// Takes whole envelopes.
pub async fn envelopes(doors: &Doors, request: Request, bus: String) -> Response {
    answer(doors, &request, &bus, Kind::Envelopes).await
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Events,
    Envelopes,
}

async fn answer(doors: &Doors, request: &Request, bus: &str, kind: Kind) -> Response {
    match take(doors, request, bus, kind).await {
        Ok(told) => {
            let told: Vec<Value> = told.iter().map(show).collect();
            let body = Value::from(told).to_string();
            response(StatusCode::OK, "application/json", body)
        }
        Err(error) => error.answer(request.id),
    }
}

async fn take(
    doors: &Doors,
    request: &Request,
    bus: &str,
    kind: Kind,
) -> Result<Vec<Result<String, Failed>>, NativeError> {
    check_head(request)?;
    let key = idempotency_key(request)?;
    let (_, routing) = doors.bus.routing();
    if !routing.has_bus(bus) {
        let message = format!("Event bus {bus} does not exist.");
        return Err(NativeError::not_found(&message));
    }
    let body = std::str::from_utf8(&request.body).map_err(|error| {
        let message = "the body is not UTF-8";
        serialization(message).at(error.valid_up_to())
    })?;
    let elements = elements(body)?;
    let stamp = Stamp {
        seed: intake::draw_seed(),
        accepted_ms: doors.bus.now().wall_ms,
        home: &doors.bus.identity().home,
        trace: request.header("x-amzn-trace-id").unwrap_or_default(),
    };
    let bytes_max = doors.config.put_bytes_max;
    let read = |(n, element): (usize, &&str)| match kind {
        Kind::Events => entry(&stamp, n, bus, body, element, bytes_max),
        Kind::Envelopes => envelope(&stamp, bus, body, element, bytes_max),
    };
    let call = Call {
        seed: stamp.seed,
        accepted_ms: stamp.accepted_ms,
        events: elements.iter().enumerate().map(read).collect(),
        repeat: key.map(|key| {
            let place = format!("{kind:?}/{bus}");
            Repeat::of_key(access_key(request), &place, key, &request.body)
        }),
    };
    let intake = Intake {
        unknown_bus_accepted: false,
        ..intake(doors)
    };
    intake::take(intake, call)
        .await
        .map_err(|refused| match refused {
            Refused::Unavailable => crate::bus::Unavailable.into(),
            Refused::Differs => NativeError::new(
                StatusCode::CONFLICT,
                "IdempotentParameterMismatchException",
                "this Idempotency-Key came before with another body",
            )
            .hint("use a new key for each call, and the same key only to repeat it"),
        })
}

fn serialization(message: &str) -> NativeError {
    NativeError::new(StatusCode::BAD_REQUEST, "SerializationException", message)
}

fn check_head(request: &Request) -> Result<(), NativeError> {
    if !request.query.is_empty() {
        let error = NativeError::validation("unknown parameters in the address");
        return Err(error.hint("no parameter is taken here"));
    }
    let media = request
        .header(CONTENT_TYPE.as_str())
        .unwrap_or(MEDIA_TYPES[0]);
    let essence = media.split(';').next().unwrap_or_default().trim();
    let taken = MEDIA_TYPES
        .iter()
        .any(|taken| taken.eq_ignore_ascii_case(essence));
    if !taken || request.headers.contains_key(CONTENT_ENCODING) {
        let error = NativeError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaTypeException",
            "the body is to be JSON or NDJSON, not encoded",
        );
        let hint = format!("Content-Type is one of {}", MEDIA_TYPES.join(", "));
        return Err(error.hint(&hint));
    }
    Ok(())
}

fn idempotency_key(request: &Request) -> Result<Option<&str>, NativeError> {
    if !request.headers.contains_key("idempotency-key") {
        return Ok(None);
    }
    let key = request.header("idempotency-key").unwrap_or_default();
    if key.is_empty() || KEY_BYTES_MAX < key.len() {
        let message = format!("Idempotency-Key is to have 1 to {KEY_BYTES_MAX} ASCII characters");
        return Err(NativeError::validation(&message));
    }
    Ok(Some(key))
}

/// The elements of a body: of its array, or one after another.
fn elements(body: &str) -> Result<Vec<&str>, NativeError> {
    let not_json = |error: serde_json::Error| {
        serialization(&format!("the body is not JSON: {error}")).at(offset(
            body.as_bytes(),
            error.line(),
            error.column(),
        ))
    };
    let elements: Vec<&RawValue> = if body.trim_start().starts_with('[') {
        serde_json::from_str(body).map_err(not_json)?
    } else {
        let values = serde_json::Deserializer::from_str(body).into_iter();
        // One more than the bound is enough to see that it is passed.
        let values = values.take(NATIVE_ENTRIES_MAX + 1);
        values.collect::<Result<_, _>>().map_err(not_json)?
    };
    match elements.len() {
        0 => Err(NativeError::validation("the body holds no event")),
        1..=NATIVE_ENTRIES_MAX => Ok(elements.into_iter().map(RawValue::get).collect()),
        _ => Err(NativeError::validation(&format!(
            "more than {NATIVE_ENTRIES_MAX} events in one call"
        ))),
    }
}

fn malformed(about: impl Into<String>) -> Failed {
    Failed::new(Fault::Malformed, about)
}

fn of_members(fault: super::aws::events::Fault) -> Failed {
    malformed(fault.message)
}

fn entry(
    stamp: &Stamp<'_>,
    n: usize,
    bus: &str,
    body: &str,
    element: &str,
    bytes_max: usize,
) -> Result<Stamped, Failed> {
    let given = Object::of_part(body, element).map_err(of_members)?;
    check_names(&given, &ENTRY_NAMES)?;
    let text = |name| given.text(name).map_err(of_members);
    let detail = match given.raw("Detail") {
        Some(raw) if raw.starts_with('{') => Some(Cow::Borrowed(raw)),
        _ => text("Detail")?,
    };
    let time = given.raw("Time").map(|raw| {
        let seconds = intake::timestamp(raw);
        seconds.ok_or_else(|| {
            malformed("`Time` is to be epoch seconds, or as in 2026-11-23T12:00:00Z")
        })
    });
    let entry = Entry {
        time: time.transpose()?,
        source: text("Source")?,
        detail_type: text("DetailType")?,
        detail,
        resources: given
            .texts("Resources")
            .map_err(of_members)?
            .unwrap_or_default(),
        bus: Some(bus.into()),
        trace: text("TraceHeader")?,
    };
    if entry
        .resources
        .iter()
        .any(|one| RESOURCE_CHARS_MAX < one.chars().count())
    {
        let about = format!("a resource has at most {RESOURCE_CHARS_MAX} characters");
        return Err(malformed(about));
    }
    let trace = entry
        .trace
        .as_deref()
        .map_or(1, |trace| trace.chars().count());
    if !(1..=TRACE_CHARS_MAX).contains(&trace) {
        let about = format!("`TraceHeader` is to have 1 to {TRACE_CHARS_MAX} characters");
        return Err(malformed(about));
    }
    if bytes_max <= entry.size() {
        return Err(Failed::new(Fault::TooLarge, ""));
    }
    stamp.entry(n, &entry)
}

fn envelope(
    stamp: &Stamp<'_>,
    bus: &str,
    body: &str,
    element: &str,
    bytes_max: usize,
) -> Result<Stamped, Failed> {
    if bytes_max <= element.len() {
        return Err(Failed::new(Fault::TooLarge, ""));
    }
    let given = Object::of_part(body, element).map_err(of_members)?;
    // EventBridge marks what it replays; on this bus it is an event like any other.
    let known: Vec<&str> = ["version", "resources", "detail", "replay-name"]
        .into_iter()
        .chain(FORWARDED_NAMES)
        .collect();
    check_names(&given, &known)?;
    let needed = |name: &str| {
        let raw = given.raw(name);
        raw.ok_or_else(|| malformed(format!("`{name}` is missing")))
    };
    needed("version")?;
    if given.text("version").map_err(of_members)?.as_deref() != Some("0") {
        return Err(malformed("`version` is to be \"0\""));
    }
    let mut texts = [""; 6];
    for (text, name) in texts.iter_mut().zip(FORWARDED_NAMES) {
        *text = needed(name)?;
    }
    needed("resources")?;
    let resources = given.raw_texts("resources").map_err(of_members)?;
    let forwarded = Forwarded {
        texts,
        resources: &resources.unwrap_or_default(),
        detail: needed("detail")?,
    };
    stamp.envelope(bus, &forwarded)
}

/// Nothing unknown is ignored on our own doors.
fn check_names(given: &Object<'_>, known: &[&str]) -> Result<(), Failed> {
    match given.all().find(|(name, _)| !known.contains(name)) {
        Some((name, _)) => Err(malformed(format!(
            "unknown member `{name}`; the members are {}",
            known.join(", ")
        ))),
        None => Ok(()),
    }
}

fn show(told: &Result<String, Failed>) -> Value {
    match told {
        Ok(id) => json!({ "id": id }),
        Err(failed) => {
            let (code, message) = words(failed);
            let mut error = json!({ "code": code, "message": message });
            if failed.fault == Fault::DetailMalformed && !failed.about.is_empty() {
                error["hint"] = failed.about.as_str().into();
            }
            json!({ "error": error })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus_core::name::Home;

    #[track_caller]
    fn check(body: &str, expected: &[&str]) {
        assert_eq!(elements(body).unwrap(), expected);
    }

    #[test]
    fn a_body_has_three_forms() {
        check(" {\n\"a\":1} ", &["{\n\"a\":1}"]);
        check("[{\"a\":1}, {}]", &["{\"a\":1}", "{}"]);
        check("{\"a\":1}\r\n\n{}\n", &["{\"a\":1}", "{}"]);
        for bad in ["", "[]", "[{}", "{} x", "{}]"] {
            assert!(elements(bad).is_err(), "{bad}");
        }
        assert!(elements(&"{}\n".repeat(1000)).is_ok());
        assert!(elements(&"{}\n".repeat(1001)).is_err());
    }

    #[test]
    fn a_fault_of_the_body_is_told_with_its_byte() {
        let error = elements("{}\n{]").unwrap_err();
        let expected =
            serialization("the body is not JSON: key must be a string at line 2 column 2");
        assert_eq!(error, expected.at(4));
    }

    #[track_caller]
    fn refused(kind: Kind, element: &str, expected: &str) {
        let home = Home::default();
        let stamp = Stamp {
            seed: 1,
            accepted_ms: 0,
            home: &home,
            trace: "",
        };
        let failed = match kind {
            Kind::Events => entry(&stamp, 0, "default", element, element, 1 << 20),
            Kind::Envelopes => envelope(&stamp, "default", element, element, 1 << 20),
        };
        let text = words(&failed.unwrap_err()).1.into_owned();
        assert!(text.starts_with(expected), "{text}");
    }

    #[test]
    fn an_entry_is_held_to_its_members() {
        let events = Kind::Events;
        refused(events, "[]", "not an object at line 1 column 1");
        refused(
            events,
            r#"{"EventBusName":"b"}"#,
            "unknown member `EventBusName`",
        );
        refused(
            events,
            r#"{"Source":1}"#,
            "Source is to be a string: line 1 column 11",
        );
        refused(events, r#"{"Time":"noon"}"#, "`Time` is to be");
        refused(events, r#"{"Detail":{}}"#, "Parameter Source is not valid.");
        refused(
            events,
            r#"{"Source":"s","DetailType":"t","Detail":"[]"}"#,
            "Detail is malformed.",
        );
    }

    #[test]
    fn an_envelope_needs_all_its_members() {
        let envelopes = Kind::Envelopes;
        refused(envelopes, "{}", "`version` is missing");
        refused(envelopes, r#"{"version":"1"}"#, "`version` is to be \"0\"");
        refused(envelopes, r#"{"version":"0"}"#, "`id` is missing");
        refused(envelopes, r#"{"version":"0","x":1}"#, "unknown member `x`");
    }
}
