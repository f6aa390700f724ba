//! From what producers hand over to records: entries and envelopes, checked, stamped and routed.
//!
//! An entry is checked in the order that EventBridge has, gets its id and time and becomes an envelope;
//! a whole envelope of a forwarder keeps all that it came with. Either is then routed against the rules of
//! this moment and handed to the core as one block. What is refused here is refused for one entry; the
//! others are stored. Texts and codes of a refusal are the doors'.
//!
//! Start at [`take`].

use crate::bus::{Bus, Unavailable};
use crate::metrics::Metrics;
use crate::router::TooManyDeliveries;
use bus_core::core::{Answer, Idempotency, Input, event_id};
use bus_core::envelope::{Envelope, format_seconds, write_string};
use bus_core::limits::{DEPTH_MAX, DETAIL_TYPE_CHARS_MAX, EVENT_ID_BYTES_MAX, NAMES_MAX};
use bus_core::name::{Arn, BusName, Home};
use bus_core::record::{Event, Record, event_key};
use rule_engine::json::{JsonError, Limits, validate};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};

/// Bytes of an entry's `Time` in its size. Source: eventbridge-api.md 2.4.
const TIME_BYTES: usize = 14;
/// How often a call is matched again before it is given up. Twice would need two minutes in one request.
const MATCHES_MAX: usize = 3;
/// How deep and wide a `Detail` may be.
const DETAIL_LIMITS: Limits = Limits {
    depth_max: DEPTH_MAX,
    names_max: NAMES_MAX,
};

/// An entry as it was handed over. What is absent or `null` is `None`.
#[derive(Debug, Clone, Default)]
pub struct Entry<'b> {
    /// Epoch seconds.
    pub time: Option<i64>,
    /// Who says it.
    pub source: Option<Cow<'b, str>>,
    /// What kind of fact it is.
    pub detail_type: Option<Cow<'b, str>>,
    /// A JSON text.
    pub detail: Option<Cow<'b, str>>,
    /// Which things it is about.
    pub resources: Vec<Cow<'b, str>>,
    /// Name or ARN of the bus; none = `default`.
    pub bus: Option<Cow<'b, str>>,
    /// `X-Amzn-Trace-Id` of the entry.
    pub trace: Option<Cow<'b, str>>,
}

impl Entry<'_> {
    /// Its size as EventBridge counts it. Source: eventbridge-api.md 2.4.
    #[must_use]
    pub fn size(&self) -> usize {
        let texts = [&self.source, &self.detail_type, &self.detail];
        let texts = texts.into_iter().flatten().chain(&self.resources);
        let time = self.time.map_or(0, |_| TIME_BYTES);
        time + texts.map(|text| text.len()).sum::<usize>()
    }
}

/// A whole envelope as a forwarder handed it over: each member is its JSON text.
#[derive(Debug, Clone, Copy)]
pub struct Forwarded<'b> {
    /// `id`, `detail-type`, `source`, `account`, `time`, `region`: JSON strings.
    pub texts: [&'b str; 6],
    /// JSON strings.
    pub resources: &'b [&'b str],
    /// A JSON object.
    pub detail: &'b str,
}

/// Why one entry was not taken. The numbers are kept in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// No `Source`.
    SourceMissing = 1,
    /// No `DetailType`.
    DetailTypeMissing = 2,
    /// No `Detail`.
    DetailMissing = 3,
    /// `DetailType` is longer than [`DETAIL_TYPE_CHARS_MAX`].
    DetailTypeLong = 4,
    /// A source that begins with `aws.`.
    SourceReserved = 5,
    /// `Detail` is no JSON object within the limits.
    DetailMalformed = 6,
    /// `Time` is outside the years 1970 to 9999.
    TimeOutOfRange = 7,
    /// The bus does not exist.
    NoBus = 8,
    /// It matches more targets than one event may.
    TooManyDeliveries = 9,
    /// It alone is larger than a call may be.
    TooLarge = 10,
    /// It is no entry or envelope at all.
    Malformed = 11,
}

impl Fault {
    const ALL: [Self; 11] = [
        Self::SourceMissing,
        Self::DetailTypeMissing,
        Self::DetailMissing,
        Self::DetailTypeLong,
        Self::SourceReserved,
        Self::DetailMalformed,
        Self::TimeOutOfRange,
        Self::NoBus,
        Self::TooManyDeliveries,
        Self::TooLarge,
        Self::Malformed,
    ];

    fn of_number(number: u8) -> Self {
        let found = Self::ALL.into_iter().find(|fault| *fault as u8 == number);
        // Only a later version of this program writes another.
        found.unwrap_or(Self::Malformed)
    }
}

/// One entry that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// What is wrong.
    pub fault: Fault,
    /// The name of the bus that is missing, or for people what is wrong and where; may be empty.
    pub about: String,
}

impl Failed {
    /// A fault with what there is to say about it.
    #[must_use]
    pub fn new(fault: Fault, about: impl Into<String>) -> Self {
        let about = about.into();
        Self { fault, about }
    }

    fn bare(fault: Fault) -> Self {
        Self::new(fault, "")
    }

    fn detail(error: JsonError) -> Self {
        Self::new(Fault::DetailMalformed, error.to_string())
    }
}

/// An event that passed, before it is routed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamped {
    id: String,
    /// Whether the forwarder gave the id.
    id_is_own: bool,
    bus: String,
    trace: String,
    envelope: Vec<u8>,
}

/// What all events of a call share.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// What the ids are made from.
    pub seed: u128,
    /// This moment, epoch milliseconds.
    pub accepted_ms: i64,
    /// Account and region.
    pub home: &'a Home,
    /// The call's `X-Amzn-Trace-Id`, empty if none.
    pub trace: &'a str,
}

impl Stamp<'_> {
    /// Checks entry `n` of the call and makes its envelope. Source: eventbridge-api.md 2.3, 2.5, 2.6.
    ///
    /// # Errors
    /// The first fault in EventBridge's order. Whether the bus exists is asked later.
    pub fn entry(&self, n: usize, entry: &Entry<'_>) -> Result<Stamped, Failed> {
        let given = |text: &'_ Option<Cow<'_, str>>, fault| {
            let missing = text.as_deref().is_none_or(str::is_empty);
            if missing {
                Err(Failed::bare(fault))
            } else {
                Ok(())
            }
        };
        given(&entry.source, Fault::SourceMissing)?;
        given(&entry.detail_type, Fault::DetailTypeMissing)?;
        given(&entry.detail, Fault::DetailMissing)?;
        let text = |text: &'_ Option<Cow<'_, str>>| text.as_deref().unwrap_or_default().to_owned();
        let source = entry.source.as_deref().unwrap_or_default();
        let detail_type = entry.detail_type.as_deref().unwrap_or_default();
        let detail = entry.detail.as_deref().unwrap_or_default();
        if too_long(detail_type) {
            return Err(Failed::bare(Fault::DetailTypeLong));
        }
        let seconds = entry.time.unwrap_or(self.accepted_ms.div_euclid(1000));
        let time = format_seconds(seconds).ok_or_else(|| Failed::bare(Fault::TimeOutOfRange))?;
        if source.starts_with("aws.") {
            return Err(Failed::bare(Fault::SourceReserved));
        }
        validate(detail.as_bytes(), &DETAIL_LIMITS).map_err(Failed::detail)?;
        let bus = match entry.bus.as_deref() {
            None => BusName::default_bus().as_str().to_owned(),
            Some(given) => bus_name(given, self.home)
                .map_err(|name| Failed::new(Fault::NoBus, name))?
                .to_owned(),
        };
        let trace = match &entry.trace {
            Some(_) => text(&entry.trace),
            None => self.trace.to_owned(),
        };
        let trace = if is_trace_header(&trace) {
            trace
        } else {
            String::new()
        };
        let id = event_id(self.seed, n).to_string();
        let resources: Vec<&str> = entry.resources.iter().map(AsRef::as_ref).collect();
        let envelope = Envelope {
            id: &id,
            detail_type,
            source,
            account: &self.home.account,
            time: &time,
            region: &self.home.region,
            resources: &resources,
            // Blanks around the object are no part of it.
            detail: detail.trim_matches([' ', '\t', '\r', '\n']),
        }
        .to_json();
        Ok(Stamped {
            id,
            id_is_own: false,
            bus,
            trace,
            envelope,
        })
    }

    /// Checks a whole envelope. All that it holds is kept byte for byte; only blanks between its members
    /// go. Source: certificate-lifecycle.md 2.3, ENV-2 and ENV-3.
    ///
    /// # Errors
    /// The first fault from the left.
    pub fn envelope(&self, bus: &str, given: &Forwarded<'_>) -> Result<Stamped, Failed> {
        let mut texts: [Cow<'_, str>; 6] = Default::default();
        for ((text, raw), name) in texts.iter_mut().zip(given.texts).zip(FORWARDED_NAMES) {
            *text = serde_json::from_str::<String>(raw)
                .map_err(|_| Failed::new(Fault::Malformed, format!("`{name}` is to be a string")))?
                .into();
            let bounded = matches!(name, "id" | "account" | "region");
            if text.is_empty() || (bounded && EVENT_ID_BYTES_MAX < text.len()) {
                let about = match bounded {
                    true => format!("`{name}` is to have 1 to {EVENT_ID_BYTES_MAX} bytes"),
                    false => format!("`{name}` is empty"),
                };
                return Err(Failed::new(Fault::Malformed, about));
            }
        }
        let [id, detail_type, _, _, time, _] = &texts;
        if too_long(detail_type) {
            return Err(Failed::bare(Fault::DetailTypeLong));
        }
        if OffsetDateTime::parse(time, &Rfc3339).is_err() {
            let about = "`time` is to be as in 2026-11-23T12:00:00Z (RFC 3339)";
            return Err(Failed::new(Fault::Malformed, about));
        }
        validate(given.detail.as_bytes(), &DETAIL_LIMITS).map_err(Failed::detail)?;
        let size: usize = given.resources.iter().map(|r| r.len()).sum();
        let mut envelope = Vec::with_capacity(given.detail.len() + size + 320);
        envelope.extend_from_slice(b"{\"version\":\"0\"");
        for (raw, name) in given.texts.into_iter().zip(FORWARDED_NAMES) {
            envelope.push(b',');
            write_string(&mut envelope, name);
            envelope.push(b':');
            envelope.extend_from_slice(raw.as_bytes());
        }
        envelope.extend_from_slice(b",\"resources\":[");
        envelope.extend_from_slice(given.resources.join(",").as_bytes());
        envelope.extend_from_slice(b"],\"detail\":");
        envelope.extend_from_slice(given.detail.as_bytes());
        envelope.push(b'}');
        let trace = if is_trace_header(self.trace) {
            self.trace
        } else {
            ""
        };
        Ok(Stamped {
            id: id.clone().into_owned(),
            id_is_own: true,
            bus: bus.to_owned(),
            trace: trace.to_owned(),
            envelope,
        })
    }
}

/// Names of [`Forwarded::texts`], in the envelope's order.
pub const FORWARDED_NAMES: [&str; 6] = ["id", "detail-type", "source", "account", "time", "region"];

fn too_long(detail_type: &str) -> bool {
    DETAIL_TYPE_CHARS_MAX < detail_type.len() && DETAIL_TYPE_CHARS_MAX < detail_type.chars().count()
}

/// The name of a bus that is given as name or ARN.
///
/// # Errors
/// The name in an ARN of another account or region: that bus is not here.
pub fn bus_name<'a>(given: &'a str, home: &Home) -> Result<&'a str, &'a str> {
    let Some(arn) = Arn::parse(given) else {
        return Ok(given);
    };
    let name = arn.resource.strip_prefix("event-bus/").unwrap_or(given);
    match arn.service == "events" && home.owns(&arn) {
        true => Ok(name),
        false => Err(name),
    }
}

/// Whether a trace header has a `Root=1-8hex-24hex`. Source: eventbridge-api.md 2.6.
#[must_use]
pub fn is_trace_header(text: &str) -> bool {
    let hex = |text: &str, length| {
        text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let root = text
        .split(';')
        .find_map(|part| part.trim().strip_prefix("Root=1-"));
    root.and_then(|root| root.split_once('-'))
        .is_some_and(|(time, rest)| hex(time, 8) && hex(rest, 24))
}

/// Epoch seconds of a timestamp: a JSON number, or a string in the form of RFC 3339 or RFC 7231. A number
/// too large for an `i64` becomes its bound, which is no time that an envelope can hold.
#[must_use]
pub fn timestamp(json: &str) -> Option<i64> {
    if let Ok(text) = serde_json::from_str::<String>(json) {
        let parsed = OffsetDateTime::parse(&text, &Rfc3339)
            .or_else(|_| OffsetDateTime::parse(&text, &Rfc2822));
        return parsed.ok().map(OffsetDateTime::unix_timestamp);
    }
    let first = json.bytes().next()?;
    if first != b'-' && !first.is_ascii_digit() {
        return None;
    }
    match json.parse::<i64>() {
        Ok(seconds) => Some(seconds),
        #[allow(clippy::cast_possible_truncation, reason = "saturates, as documented")]
        Err(_) => json
            .parse::<f64>()
            .ok()
            .map(|seconds| seconds.floor() as i64),
    }
}

/// A random seed for the ids of one call.
#[must_use]
pub fn draw_seed() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    u128::from_le_bytes(bytes)
}

/// What makes two calls the same call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeat {
    key: u128,
    body: u64,
}

impl Repeat {
    /// By what a caller's SDK sends with each try of a call. The same id with another body is another
    /// call: the body is part of the key.
    #[must_use]
    pub fn of_invocation(caller: &str, invocation: &str, body: &[u8]) -> Self {
        let (key, body) = digest(&[
            b"invocation",
            caller.as_bytes(),
            invocation.as_bytes(),
            body,
        ]);
        Self { key, body }
    }

    /// By what a caller calls it; the body must then be the same. `place` is where it is put.
    #[must_use]
    pub fn of_key(caller: &str, place: &str, name: &str, body: &[u8]) -> Self {
        let (key, _) = digest(&[b"key", caller.as_bytes(), name.as_bytes()]);
        let (_, body) = digest(&[place.as_bytes(), body]);
        Self { key, body }
    }
}

fn digest(parts: &[&[u8]]) -> (u128, u64) {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let hash = hash.finalize();
    let key = u128::from_le_bytes(hash[..16].try_into().expect("a SHA-256 has 32 bytes"));
    let body = u64::from_le_bytes(hash[16..24].try_into().expect("a SHA-256 has 32 bytes"));
    (key, body)
}

/// Where events are taken in.
#[derive(Clone, Copy)]
pub struct Intake<'a> {
    /// The running bus.
    pub bus: &'a Bus,
    /// What is counted.
    pub metrics: &'a Metrics,
    /// Answer an id for an unknown bus and drop the event, counted (`aws_exact.unknown_bus`).
    pub unknown_bus_accepted: bool,
}

/// One call's events.
pub struct Call {
    /// What their ids were made from.
    pub seed: u128,
    /// When they were accepted.
    pub accepted_ms: i64,
    /// In the order of the call.
    pub events: Vec<Result<Stamped, Failed>>,
    /// Under what a repetition would come.
    pub repeat: Option<Repeat>,
}

/// Why a whole call was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Storage did not confirm.
    #[error("storage did not confirm")]
    Unavailable,
    /// The same key came with another body.
    #[error("the same key came with another body")]
    Differs,
}

impl From<Unavailable> for Refused {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable
    }
}

/// Routes and stores a call's events: an id or a fault for each, in order. Ids are told only after the
/// events are durable. A repetition gets the first answer again.
///
/// # Errors
/// [`Refused`]; then nothing is promised.
pub async fn take(intake: Intake<'_>, call: Call) -> Result<Vec<Result<String, Failed>>, Refused> {
    let Call {
        seed,
        accepted_ms,
        events,
        repeat,
    } = call;
    for _ in 0..MATCHES_MAX {
        let (matched_running, routing) = intake.bus.routing();
        let mut told = Vec::with_capacity(events.len());
        let mut records = Vec::with_capacity(events.len());
        let (mut unmatched, mut dropped) = (0, 0);
        for event in &events {
            let stamped = match event {
                Ok(stamped) => stamped,
                Err(failed) => {
                    told.push(Err(failed.clone()));
                    continue;
                }
            };
            if !routing.has_bus(&stamped.bus) {
                if intake.unknown_bus_accepted {
                    dropped += 1;
                    told.push(Ok(stamped.id.clone()));
                } else {
                    told.push(Err(Failed::new(Fault::NoBus, &*stamped.bus)));
                }
                continue;
            }
            let routed = routing.route(
                &stamped.bus,
                &stamped.envelope,
                intake.bus.shapers(),
                accepted_ms,
            );
            match routed {
                Err(TooManyDeliveries) => told.push(Err(Failed::bare(Fault::TooManyDeliveries))),
                Ok(routed) => {
                    unmatched += u64::from(routed.rules == 0);
                    let record = Record::Event {
                        deliveries: routed.deliveries,
                        event: Event {
                            accepted_ms,
                            id: &stamped.id,
                            bus: &stamped.bus,
                            trace: &stamped.trace,
                            envelope: &stamped.envelope,
                        },
                    };
                    records.push((event_key(&stamped.id), record.encode()));
                    told.push(Ok(stamped.id.clone()));
                }
            }
        }
        let stored = records.len() as u64;
        let answer = if records.is_empty() {
            // Nothing to store, and an answer that stored nothing is not remembered. Yet an earlier try
            // may have stored something, before its bus was taken away.
            match repeat {
                Some(repeat) => kept(intake.bus, repeat).await?,
                None => None,
            }
            .unwrap_or(Answer::Stored(0))
        } else {
            let idempotency = repeat.map(|Repeat { key, body }| Idempotency {
                key,
                body,
                seed,
                rest: write_failed(&told),
            });
            let put = move |request| Input::Put {
                request,
                events: records,
                idempotency,
                matched_running,
                ticks: Vec::new(),
            };
            intake.bus.ask(put).await?
        };
        match answer {
            Answer::Stored(_) => {
                let failed = told.iter().filter(|one| one.is_err()).count() as u64;
                intake.metrics.events_put.add(stored);
                intake.metrics.events_unmatched.add(unmatched);
                intake.metrics.events_dropped_unknown_bus.add(dropped);
                intake.metrics.entries_failed.add(failed);
                return Ok(told);
            }
            Answer::Kept { seed, rest } => return Ok(told_before(&events, told, seed, &rest)),
            Answer::KeptDiffers => return Err(Refused::Differs),
            Answer::MatchAgain => {}
            _ => return Err(Refused::Unavailable),
        }
    }
    Err(Refused::Unavailable)
}

/// What is remembered of a call, without asking for anything to be stored.
async fn kept(bus: &Bus, repeat: Repeat) -> Result<Option<Answer>, Unavailable> {
    bus.look(move |core, _| {
        core.state().kept(repeat.key).map(|kept| {
            if kept.body == repeat.body {
                let (seed, rest) = (kept.seed, kept.rest.clone());
                Answer::Kept { seed, rest }
            } else {
                Answer::KeptDiffers
            }
        })
    })
    .await
}

/// What must be remembered besides the seed: which entries failed, and why. Three bytes each.
fn write_failed(told: &[Result<String, Failed>]) -> Vec<u8> {
    let mut rest = Vec::new();
    for (n, one) in told.iter().enumerate() {
        if let Err(failed) = one {
            let n = u16::try_from(n).expect("a call has at most NATIVE_ENTRIES_MAX entries");
            rest.extend_from_slice(&n.to_be_bytes());
            rest.push(failed.fault as u8);
        }
    }
    rest
}

/// The first answer again, for a body that is the same as the first.
fn told_before(
    events: &[Result<Stamped, Failed>],
    now: Vec<Result<String, Failed>>,
    seed: u128,
    rest: &[u8],
) -> Vec<Result<String, Failed>> {
    let fault_of = |n: usize| {
        let mut failed = rest.chunks_exact(3);
        let found = failed.find(|one| usize::from(u16::from_be_bytes([one[0], one[1]])) == n)?;
        Some(Fault::of_number(found[2]))
    };
    let again = |(n, now): (usize, Result<String, Failed>)| match (fault_of(n), &events[n]) {
        (Some(fault), stamped) => Err(match now {
            Err(failed) if failed.fault == fault => failed,
            _ => Failed::new(fault, stamped.as_ref().map_or("", |s| s.bus.as_str())),
        }),
        (None, Ok(stamped)) if stamped.id_is_own => Ok(stamped.id.clone()),
        (None, _) => Ok(event_id(seed, n).to_string()),
    };
    now.into_iter().enumerate().map(again).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(home: &Home) -> Stamp<'_> {
        Stamp {
            seed: 1,
            accepted_ms: 1_700_000_000_900,
            home,
            trace: "",
        }
    }

    fn entry<'b>(source: &'b str, detail_type: &'b str, detail: &'b str) -> Entry<'b> {
        Entry {
            source: Some(source.into()),
            detail_type: Some(detail_type.into()),
            detail: Some(detail.into()),
            ..Entry::default()
        }
    }

    #[track_caller]
    fn check(entry: &Entry<'_>, expected: Fault) {
        let home = Home::default();
        assert_eq!(stamp(&home).entry(0, entry).unwrap_err().fault, expected);
    }

    #[test]
    fn faults_are_found_in_the_order_of_the_service() {
        check(&Entry::default(), Fault::SourceMissing);
        check(&entry("", "", ""), Fault::SourceMissing);
        check(&entry("aws.x", "", ""), Fault::DetailTypeMissing);
        check(&entry("aws.x", "t", ""), Fault::DetailMissing);
        let long = "é".repeat(129);
        check(&entry("aws.x", &long, "["), Fault::DetailTypeLong);
        check(&entry("aws.x", "t", "["), Fault::SourceReserved);
        for detail in ["[1]", "\"{}\"", "17", "null", " ", "{} x", "{'a':1}"] {
            check(&entry("s", "t", detail), Fault::DetailMalformed);
        }
        let late = Entry {
            time: Some(253_402_300_800),
            ..entry("s", "t", "{}")
        };
        check(&late, Fault::TimeOutOfRange);
    }

    #[test]
    fn an_entry_becomes_an_envelope_with_the_producers_bytes() {
        let home = Home::default();
        let given = Entry {
            time: Some(1_700_000_000),
            resources: vec!["r".into()],
            ..entry(
                "shop.orders",
                "OrderPlaced",
                " {\"total\":12.50, \"a\":1,\"a\":2} ",
            )
        };
        let stamped = stamp(&home).entry(0, &given).unwrap();
        assert_eq!(
            String::from_utf8(stamped.envelope).unwrap(),
            format!(
                r#"{{"version":"0","id":"{}","detail-type":"OrderPlaced","source":"shop.orders","account":"000000000000","time":"2023-11-14T22:13:20Z","region":"us-east-1","resources":["r"],"detail":{{"total":12.50, "a":1,"a":2}}}}"#,
                event_id(1, 0)
            )
        );
    }

    #[test]
    fn a_size_counts_unescaped_bytes_and_fourteen_for_the_time() {
        let mut given = entry("shop.orders", "OrderPlaced", "{\"a\":\"é\"}");
        assert_eq!(given.size(), 11 + 11 + 10);
        given.time = Some(0);
        given.resources = vec!["abc".into(), "d".into()];
        given.bus = Some("default".into());
        assert_eq!(given.size(), 11 + 11 + 10 + 14 + 4);
    }

    #[test]
    fn a_forwarded_envelope_is_kept() {
        let home = Home::default();
        let given = Forwarded {
            texts: [
                "\"an id\"",
                "\"T\"",
                "\"aws.acm-pca\"",
                "\"account\"",
                "\"2026-11-23T12:00:00.5+01:00\"",
                "\"region\"",
            ],
            resources: &["\"caf\\u00e9\"", "\"b\""],
            detail: "{ \"a\" : 1.0 }",
        };
        let stamped = stamp(&home).envelope("default", &given).unwrap();
        assert_eq!(
            String::from_utf8(stamped.envelope).unwrap(),
            r#"{"version":"0","id":"an id","detail-type":"T","source":"aws.acm-pca","account":"account","time":"2026-11-23T12:00:00.5+01:00","region":"region","resources":["caf\u00e9","b"],"detail":{ "a" : 1.0 }}"#
        );
        assert_eq!(stamped.id, "an id");
        let mut texts = given.texts;
        texts[4] = "\"noon\"";
        let late = Forwarded { texts, ..given };
        let failed = stamp(&home).envelope("default", &late).unwrap_err();
        assert_eq!(failed.fault, Fault::Malformed);
    }

    #[test]
    fn a_timestamp_is_a_number_or_one_of_two_forms() {
        assert_eq!(timestamp("1700000000"), Some(1_700_000_000));
        assert_eq!(timestamp("1.7e9"), Some(1_700_000_000));
        assert_eq!(timestamp("1700000000.999"), Some(1_700_000_000));
        assert_eq!(timestamp("\"2023-11-14T22:13:20Z\""), Some(1_700_000_000));
        assert_eq!(
            timestamp("\"Tue, 14 Nov 2023 22:13:20 GMT\""),
            Some(1_700_000_000)
        );
        assert_eq!(timestamp("1e400"), Some(i64::MAX));
        for bad in ["\"yesterday\"", "true", "[]", "{}"] {
            assert_eq!(timestamp(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_trace_header_needs_its_root() {
        let root = "Root=1-5759e988-bd862e3fe1be46a994272793";
        assert!(is_trace_header(root));
        assert!(is_trace_header(&format!("Parent=x; {root};Sampled=1")));
        assert!(!is_trace_header("Root=1-5759e988"));
        assert!(!is_trace_header("Sampled=1"));
    }

    #[test]
    fn a_repetition_gets_the_first_answer() {
        let home = Home::default();
        let good = stamp(&home).entry(0, &entry("s", "t", "{}"));
        let bad = stamp(&home).entry(1, &entry("s", "t", "1"));
        let first = vec![
            Err(Failed::new(Fault::NoBus, "default")),
            Err(bad.clone().unwrap_err()),
            Ok("the third".to_owned()),
        ];
        let rest = write_failed(&first);
        assert_eq!(rest.len(), 6);
        let events = [good.clone(), bad, good];
        let now = vec![Ok(String::new()), first[1].clone(), Ok(String::new())];
        let again = told_before(&events, now, 7, &rest);
        assert_eq!(again[..2], first[..2]);
        assert_eq!(again[2], Ok(event_id(7, 2).to_string()));
    }

    #[test]
    fn the_body_is_part_of_an_invocation_but_not_of_a_key() {
        let invocation = |body| Repeat::of_invocation("", "i", body);
        assert_ne!(invocation(b"a").key, invocation(b"b").key);
        let key = |body| Repeat::of_key("", "default", "k", body);
        assert_eq!(key(b"a").key, key(b"b").key);
        assert_ne!(key(b"a").body, key(b"b").body);
    }
}
