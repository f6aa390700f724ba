//! `PutEvents`: read in one pass without trees, since this is the call that must be fast.
//!
//! `Detail` is unescaped once and stays the producer's text. What is wrong with the request as a whole is
//! told before anything is stored; what is wrong with an entry fails that entry.
//! Source: eventbridge-api.md 2.

use super::Fault;
use super::members::{Object, Text};
use crate::http::aws::constraints::{Constraints, PUT_BUS_NAME_OR_ARN, Text as Bounds, letters};
use crate::http::{Doors, Request};
use crate::intake::{self, Call, Entry, Failed, Intake, Refused, Repeat, Stamp};
use bus_core::envelope::write_string;
use bus_core::limits::PUT_ENTRIES_MAX;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt::{self, Write};

/// Characters of one resource. Source: the API's model.
const RESOURCE_CHARS_MAX: usize = 2048;
const TRACE_HEADER: Bounds = Bounds::of(1, 500);
const ENDPOINT_ID: Bounds = Bounds::like(1, 50, r"^[A-Za-z0-9\-]+[\.][A-Za-z0-9\-]+$", |value| {
    let parts = value.split_once('.');
    parts.is_some_and(|(name, rest)| letters(name, b"-") && letters(rest, b"-"))
});

/// Answers a call.
pub(super) async fn put(doors: &Doors, request: &Request) -> Result<Vec<u8>, Fault> {
    let PutEvents { entries, endpoint } = read(&request.body)?;
    let mut constraints = Constraints::default();
    check(&mut constraints, entries.as_deref(), endpoint.as_deref());
    constraints.finish().map_err(Fault::validation)?;
    if endpoint.is_some() {
        return Err(Fault::validation(
            "Parameter EndpointId is not valid. Reason: Global endpoints are not available here.",
        ));
    }
    let entries = entries.unwrap_or_default();
    let size: usize = entries.iter().map(|PutEntry(entry)| entry.size()).sum();
    if doors.config.put_bytes_max <= size {
        return Err(Fault::validation(
            "Total size of the entries in the request is over the limit.",
        ));
    }
    let stamp = Stamp {
        seed: intake::draw_seed(),
        accepted_ms: doors.bus.now().wall_ms,
        home: &doors.bus.identity().home,
        trace: request.header("x-amzn-trace-id").unwrap_or_default(),
    };
    let stamped = entries.iter().enumerate();
    let call = Call {
        seed: stamp.seed,
        accepted_ms: stamp.accepted_ms,
        events: stamped
            .map(|(n, PutEntry(entry))| stamp.entry(n, entry))
            .collect(),
        repeat: request
            .header("amz-sdk-invocation-id")
            .map(|id| Repeat::of_invocation(access_key(request), id, &request.body)),
    };
    match intake::take(intake(doors), call).await {
        Ok(told) => Ok(answer(&told)),
        Err(Refused::Unavailable | Refused::Differs) => Err(Fault::unavailable()),
    }
}

/// Where this server's doors take events in.
pub(in crate::http) fn intake(doors: &Doors) -> Intake<'_> {
    Intake {
        bus: &doors.bus,
        metrics: &doors.metrics,
        unknown_bus_accepted: doors.config.aws_unknown_bus,
    }
}

/// The access key id that a request is signed with, or nothing.
pub(in crate::http) fn access_key(request: &Request) -> &str {
    let authorization = request.header("authorization").unwrap_or_default();
    let scope = authorization
        .split_once("Credential=")
        .map(|(_, rest)| rest);
    scope
        .and_then(|rest| rest.split('/').next())
        .unwrap_or_default()
}

/// Code and text of an entry that failed.
pub(in crate::http) fn words(failed: &Failed) -> (&'static str, Cow<'static, str>) {
    use intake::Fault as F;
    let (code, text) = match failed.fault {
        F::SourceMissing => (
            "InvalidArgument",
            "Parameter Source is not valid. Reason: Source is a required argument.",
        ),
        F::DetailTypeMissing => (
            "InvalidArgument",
            "Parameter DetailType is not valid. Reason: DetailType is a required argument.",
        ),
        F::DetailMissing => (
            "InvalidArgument",
            "Parameter Detail is not valid. Reason: Detail is a required argument.",
        ),
        F::DetailTypeLong => (
            "InvalidArgument",
            "Parameter DetailType is not valid. Reason: DetailType must be 128 characters or less.",
        ),
        F::TimeOutOfRange => ("InvalidArgument", "Parameter Time is not valid."),
        F::SourceReserved => (
            "NotAuthorizedForSourceException",
            "Not authorized for the source.",
        ),
        F::DetailMalformed => ("MalformedDetail", "Detail is malformed."),
        F::TooManyDeliveries => ("LimitExceededException", super::LIMIT_EXCEEDED),
        F::TooLarge => (
            "InvalidArgument",
            "Total size of the entry is over the limit.",
        ),
        F::NoBus => {
            let text = format!("Event bus {} does not exist.", failed.about);
            return ("ResourceNotFoundException", text.into());
        }
        F::Malformed => return ("ValidationException", failed.about.clone().into()),
    };
    (code, text.into())
}

fn answer(told: &[Result<String, Failed>]) -> Vec<u8> {
    let failed = told.iter().filter(|one| one.is_err()).count();
    let mut out = Vec::with_capacity(40 + 60 * told.len());
    out.extend_from_slice(format!("{{\"FailedEntryCount\":{failed},\"Entries\":[").as_bytes());
    for (n, one) in told.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        match one {
            Ok(id) => {
                out.extend_from_slice(b"{\"EventId\":");
                write_string(&mut out, id);
            }
            Err(failed) => {
                let (code, text) = words(failed);
                out.extend_from_slice(b"{\"ErrorCode\":");
                write_string(&mut out, code);
                out.extend_from_slice(b",\"ErrorMessage\":");
                write_string(&mut out, &text);
            }
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    out
}

fn check(constraints: &mut Constraints, entries: Option<&[PutEntry<'_>]>, endpoint: Option<&str>) {
    constraints.required("entries", entries);
    let count = entries.map(<[_]>::len);
    constraints.list("entries", count, (1, PUT_ENTRIES_MAX), || {
        shown(entries.unwrap_or_default())
    });
    for (n, PutEntry(entry)) in (1..).zip(entries.unwrap_or_default()) {
        if entry.resources.iter().any(|text| too_long(text)) {
            let longest = format_args!(
                "Member must satisfy constraint: [Member must have length less than or equal to {RESOURCE_CHARS_MAX}]"
            );
            let value = format!("[{}]", entry.resources.join(", "));
            let path = format_args!("entries.{n}.member.resources");
            constraints.fail(Some(&value), path, longest);
        }
        constraints.text(
            format_args!("entries.{n}.member.eventBusName"),
            entry.bus.as_deref(),
            &PUT_BUS_NAME_OR_ARN,
        );
        constraints.text(
            format_args!("entries.{n}.member.traceHeader"),
            entry.trace.as_deref(),
            &TRACE_HEADER,
        );
    }
    constraints.text("endpointId", endpoint, &ENDPOINT_ID);
}

fn too_long(text: &str) -> bool {
    RESOURCE_CHARS_MAX < text.len() && RESOURCE_CHARS_MAX < text.chars().count()
}

/// Entries in the form of AWS's text, without their details.
fn shown(entries: &[PutEntry<'_>]) -> String {
    let mut out = String::from("[");
    for (n, PutEntry(entry)) in entries.iter().enumerate() {
        let comma = if n > 0 { ", " } else { "" };
        let source = entry.source.as_deref().unwrap_or("null");
        let detail_type = entry.detail_type.as_deref().unwrap_or("null");
        // Writing to a string cannot fail.
        let _ = write!(
            out,
            "{comma}PutEventsRequestEntry(source={source}, detailType={detail_type})"
        );
    }
    out.push(']');
    out
}

/// The request's body.
#[derive(Default)]
struct PutEvents<'b> {
    entries: Option<Vec<PutEntry<'b>>>,
    endpoint: Option<Cow<'b, str>>,
}

struct PutEntry<'b>(Entry<'b>);

fn read(body: &[u8]) -> Result<PutEvents<'_>, Fault> {
    if body.is_empty() {
        return Ok(PutEvents::default());
    }
    let text = std::str::from_utf8(body).map_err(|e| Fault::serialization(e.to_string()))?;
    serde_json::from_str(text).map_err(|e| Fault::serialization(e.to_string()))
}

/// What has been seen of an object: every name once, those that nobody knows too.
#[derive(Default)]
struct Seen<'b> {
    known: u32,
    unknown: Vec<Cow<'b, str>>,
}

impl<'b> Seen<'b> {
    fn known<E: Error>(&mut self, bit: u32, name: &'static str) -> Result<(), E> {
        if self.known & (1 << bit) != 0 {
            return Err(E::duplicate_field(name));
        }
        self.known |= 1 << bit;
        Ok(())
    }

    /// Reads past a member that nobody knows. It is held to the bounds of JSON all the same.
    fn unknown<A: MapAccess<'b>>(
        &mut self,
        name: Cow<'b, str>,
        map: &mut A,
    ) -> Result<(), A::Error> {
        let value: &'b RawValue = map.next_value()?;
        let wrapped = format!("{{\"\":{}}}", value.get());
        Object::of_body(wrapped.as_bytes()).map_err(|fault| A::Error::custom(fault.message))?;
        self.unknown.push(name);
        Ok(())
    }

    fn end<E: Error>(mut self) -> Result<(), E> {
        self.unknown.sort_unstable();
        match self.unknown.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(E::custom(format_args!("duplicate field `{}`", pair[0]))),
            None => Ok(()),
        }
    }
}

impl<'de> Deserialize<'de> for PutEvents<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = PutEvents<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut call = PutEvents::default();
                let mut seen = Seen::default();
                while let Some(Text(name)) = map.next_key()? {
                    match &*name {
                        "Entries" => {
                            seen.known(0, "Entries")?;
                            call.entries = map.next_value()?;
                        }
                        "EndpointId" => {
                            seen.known(1, "EndpointId")?;
                            call.endpoint = text(&mut map)?;
                        }
                        _ => seen.unknown(name, &mut map)?,
                    }
                }
                seen.end()?;
                Ok(call)
            }
        }
        deserializer.deserialize_map(Read)
    }
}

impl<'de> Deserialize<'de> for PutEntry<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = PutEntry<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an entry")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entry = Entry::default();
                let mut seen = Seen::default();
                while let Some(Text(name)) = map.next_key()? {
                    match &*name {
                        "Time" => {
                            seen.known(0, "Time")?;
                            let raw: Option<&'de RawValue> = map.next_value()?;
                            let read = |raw: &RawValue| {
                                let seconds = intake::timestamp(raw.get());
                                seconds.ok_or_else(|| A::Error::custom("Time is no timestamp"))
                            };
                            entry.time = raw.map(read).transpose()?;
                        }
                        "Source" => {
                            seen.known(1, "Source")?;
                            entry.source = text(&mut map)?;
                        }
                        "Resources" => {
                            seen.known(2, "Resources")?;
                            let texts: Option<Vec<Text<'de>>> = map.next_value()?;
                            let texts = texts.unwrap_or_default().into_iter();
                            entry.resources = texts.map(|Text(text)| text).collect();
                        }
                        "DetailType" => {
                            seen.known(3, "DetailType")?;
                            entry.detail_type = text(&mut map)?;
                        }
                        "Detail" => {
                            seen.known(4, "Detail")?;
                            entry.detail = text(&mut map)?;
                        }
                        "EventBusName" => {
                            seen.known(5, "EventBusName")?;
                            entry.bus = text(&mut map)?;
                        }
                        "TraceHeader" => {
                            seen.known(6, "TraceHeader")?;
                            entry.trace = text(&mut map)?;
                        }
                        _ => seen.unknown(name, &mut map)?,
                    }
                }
                seen.end()?;
                Ok(PutEntry(entry))
            }
        }
        deserializer.deserialize_map(Read)
    }
}

fn text<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Cow<'de, str>>, A::Error> {
    Ok(map
        .next_value::<Option<Text<'de>>>()?
        .map(|Text(text)| text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(body: &str, expected: &str) {
        let message = match read(body.as_bytes()) {
            Err(fault) => fault.message,
            Ok(call) => {
                let mut constraints = Constraints::default();
                check(
                    &mut constraints,
                    call.entries.as_deref(),
                    call.endpoint.as_deref(),
                );
                constraints.finish().unwrap_err()
            }
        };
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn members_are_read_once_and_by_type() {
        refused(
            r#"{"Entries":[],"Entries":[]}"#,
            "duplicate field `Entries`",
        );
        refused(r#"{"x":1,"x":2}"#, "duplicate field `x`");
        refused(
            r#"{"Entries":[{"Source":"a","Source":"b"}]}"#,
            "duplicate field `Source`",
        );
        refused(
            r#"{"Entries":[{"Source":1}]}"#,
            "expected a string at line 1 column 23",
        );
        refused(r#"{"Entries":["x"]}"#, "expected an entry");
        refused(
            r#"{"Entries":[{"Time":"yesterday"}]}"#,
            "Time is no timestamp",
        );
        refused(r#"{"Entries":[{"Source":"\ud800"}]}"#, "hex escape");
        let deep = format!("{{\"x\":{}{}}}", "[".repeat(1001), "]".repeat(1001));
        refused(&deep, "nested deeper than 1000 levels");
    }

    #[test]
    fn the_model_is_kept_to() {
        refused(
            "{}",
            "Value null at 'entries' failed to satisfy constraint: Member must not be null",
        );
        refused(r#"{"Entries":[]}"#, "Value '[]' at 'entries' failed");
        let eleven = format!("{{\"Entries\":[{}{{}}]}}", "{},".repeat(10));
        refused(&eleven, "Member must have length less than or equal to 10");
        refused(
            r#"{"Entries":[{"EventBusName":"a b"},{"TraceHeader":""}]}"#,
            "2 validation errors detected: Value 'a b' at 'entries.1.member.eventBusName'",
        );
        refused(
            r#"{"Entries":[{}],"EndpointId":"abcde"}"#,
            "Value 'abcde' at 'endpointId'",
        );
        let long = format!(
            "{{\"Entries\":[{{\"Resources\":[\"{}\"]}}]}}",
            "r".repeat(2049)
        );
        refused(
            &long,
            "[Member must have length less than or equal to 2048]",
        );
    }

    #[test]
    fn escaped_names_and_nulls_are_read() {
        let body = r#"{"\u0045ntries":[{"Source":null,"Detail":"{\"a\":1}","Later":{"x":1}}]}"#;
        let call = read(body.as_bytes()).unwrap();
        let PutEntry(entry) = &call.entries.unwrap()[0];
        assert_eq!(entry.source, None);
        assert_eq!(entry.detail.as_deref(), Some("{\"a\":1}"));
    }
}
