//! `ReceiveMessage`: waits, reads the bodies, and gives back what could not be sent.
//!
//! The core hands out places in the journal; bodies are read, shaped and written to JSON in one go off the
//! async threads. From the moment the core has handed them out until the answer has left, a guard owns the
//! messages: dropped early, it gives them back. Source: sqs-api.md 2.6, 4.

use super::errors::Refused;
use super::wire::Members;
use super::{Call, Output, attributes, consume, handles, md5};
use crate::bus::Bus;
use crate::http::body::Guard;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bus_core::core::{Answer, Given, Input, Receive, message_id};
use bus_core::record::{DeadLetter, Event, Record};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

/// Messages of one answer.
const MOST: i32 = 10;
/// Seconds that a receive may wait.
const WAIT_SECONDS_MAX: i32 = 20;
/// System attributes that can be asked for.
const SYSTEM: [&str; 10] = [
    "All",
    "SenderId",
    "SentTimestamp",
    "ApproximateReceiveCount",
    "ApproximateFirstReceiveTimestamp",
    "SequenceNumber",
    "MessageDeduplicationId",
    "MessageGroupId",
    "AWSTraceHeader",
    "DeadLetterQueueSourceArn",
];
/// Who sends what the bus delivers.
const BUS: &str = "busbar";

/// Which attributes an answer shows.
#[derive(Debug, Default)]
struct Wanted {
    system: Vec<String>,
    /// Names, or beginnings of names with `.*`.
    message: Vec<String>,
}

impl Wanted {
    fn system(&self, name: &str) -> bool {
        self.system.iter().any(|own| own == "All" || own == name)
    }

    fn message(&self, name: &str) -> bool {
        self.message.iter().any(|own| match own.as_str() {
            "All" | ".*" | "*" => true,
            own => match own.strip_suffix(".*") {
                Some(beginning) => name.starts_with(beginning),
                None => own == name,
            },
        })
    }
}

/// `ReceiveMessage`.
///
/// # Errors
/// [`Refused`].
pub async fn receive(call: &Call<'_>, members: &Members<'_>) -> Result<Output, Refused> {
    let url = members.text("QueueUrl")?;
    let most = members.integer("MaxNumberOfMessages")?;
    let wait = members.integer("WaitTimeSeconds")?;
    let visibility = members.integer("VisibilityTimeout")?;
    let newer = members.texts("MessageSystemAttributeNames")?;
    let older = members.texts("AttributeNames")?;
    let message = members.texts("MessageAttributeNames")?;
    let attempt = members.text("ReceiveRequestAttemptId")?;

    let here = call.queue(url).await?;
    let most = bounded(
        most.unwrap_or(1),
        1..=MOST,
        "MaxNumberOfMessages",
        "Must be between 1 and 10, if provided.",
    )?;
    let wait = match wait {
        None => here.document.wait_seconds(),
        Some(wait) => bounded(
            wait,
            0..=WAIT_SECONDS_MAX,
            "WaitTimeSeconds",
            "Must be >= 0 and <= 20, if provided.",
        )?,
    };
    let receive = Receive {
        queue: here.number,
        most: usize::try_from(most).expect("at most ten"),
        wait_ms: wait * 1000,
        visibility_seconds: visibility.map(consume::seconds).transpose()?,
        try_key: attempt
            .or(call.invocation())
            .map(|attempt| try_key(here.number, call.access_key(), attempt)),
    };
    let wanted = Wanted {
        system: system_names(&newer, &older)?,
        message: message.into_iter().map(str::to_owned).collect(),
    };

    let queue = here.number;
    let asked = call
        .doors
        .bus
        .ask_waiting(Duration::from_secs(wait), move |request| Input::Receive {
            request,
            receive,
        });
    let given = match asked.await? {
        Answer::Messages(given) => given,
        Answer::Refused(refusal) => return Err(refusal.into()),
        _ => return Err(Refused::unavailable()),
    };
    if given.is_empty() {
        return Ok(Output::Whole(serde_json::json!({})));
    }
    // From here on the messages are ours to give back, whatever becomes of this call.
    let bus = call.doors.bus.clone();
    let all = given.iter().map(|given| given.handle).collect();
    let guard = Guard::new(move || bus.give_back(queue, all));
    let bus = call.doors.bus.clone();
    let written = tokio::task::spawn_blocking(move || write(&bus, &given, &wanted));
    let body = written.await.map_err(|_| Refused::unavailable())?;
    Ok(Output::Guarded(body, guard))
}

fn bounded(
    given: i32,
    range: std::ops::RangeInclusive<i32>,
    name: &str,
    reason: &str,
) -> Result<u64, Refused> {
    let fits = u64::try_from(given).ok().filter(|_| range.contains(&given));
    fits.ok_or_else(|| Refused::value(given, name, reason))
}

/// The newer list counts when it says anything. In the older one queue attributes may stand, for nothing.
fn system_names(newer: &[&str], older: &[&str]) -> Result<Vec<String>, Refused> {
    let unknown = newer.iter().find(|name| !SYSTEM.contains(name));
    let unknown = unknown.or_else(|| {
        older
            .iter()
            .find(|name| !SYSTEM.contains(name) && !attributes::is_known(name))
    });
    if let Some(unknown) = unknown {
        return Err(attributes::unknown(unknown));
    }
    let names = if newer.is_empty() { older } else { newer };
    Ok(names.iter().map(|name| (*name).to_owned()).collect())
}

fn try_key(queue: u32, access_key: Option<&str>, attempt: &str) -> u128 {
    let hash = Sha256::new()
        .chain_update(b"receive\0")
        .chain_update(queue.to_be_bytes())
        .chain_update(access_key.unwrap_or(""))
        .chain_update([0])
        .chain_update(attempt)
        .finalize();
    u128::from_le_bytes(hash[..16].try_into().expect("a SHA-256 has 32 bytes"))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Answered<'a> {
    messages: Vec<Shown<'a>>,
}

/// A message as it is answered.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown<'a> {
    message_id: String,
    receipt_handle: String,
    #[serde(rename = "MD5OfBody")]
    digest: String,
    body: Cow<'a, str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<&'static str, String>,
    #[serde(
        rename = "MD5OfMessageAttributes",
        skip_serializing_if = "Option::is_none"
    )]
    attributes_digest: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    message_attributes: BTreeMap<String, ShownAttribute>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownAttribute {
    #[serde(skip_serializing_if = "Option::is_none")]
    string_value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    binary_value: Option<String>,
    data_type: String,
}

/// Reads what was given and writes the answer. Blocking.
fn write(bus: &Bus, given: &[Given], wanted: &Wanted) -> Vec<u8> {
    let records: Vec<Option<Vec<u8>>> = given.iter().map(|given| read(bus, given)).collect();
    let shown = given.iter().zip(&records).filter_map(|(given, record)| {
        let shown = show(bus, given, record.as_deref()?, wanted);
        if shown.is_none() {
            unreadable(given, "it cannot be decoded");
        }
        shown
    });
    let messages: Vec<Shown<'_>> = shown.collect();
    if messages.is_empty() {
        return b"{}".to_vec();
    }
    serde_json::to_vec(&Answered { messages }).expect("texts can be written")
}

fn read(bus: &Bus, given: &Given) -> Option<Vec<u8>> {
    bus.read_blocking(given.place)
        .inspect_err(|error| unreadable(given, &error.to_string()))
        .ok()
}

/// A message is never returned damaged: it stays hidden and comes again.
fn unreadable(given: &Given, why: &str) {
    tracing::error!(
        queue = given.handle.queue,
        sequence = given.handle.message.sequence,
        segment = given.place.segment,
        offset = given.place.offset,
        why,
        "a message could not be read; it is not answered"
    );
}

/// A record, seen as a message.
struct Content<'a> {
    body: Cow<'a, str>,
    sender: &'a str,
    sent_ms: i64,
    trace: &'a str,
    group: &'a str,
    attributes: Vec<(&'a str, &'a str, Cow<'a, [u8]>)>,
}

fn show<'a>(bus: &Bus, given: &Given, record: &'a [u8], wanted: &Wanted) -> Option<Shown<'a>> {
    let identity = bus.identity();
    let content = content(bus, given, record)?;
    let mut system = BTreeMap::new();
    let mut tell = |name: &'static str, value: Option<String>| {
        if let Some(value) = value.filter(|_| wanted.system(name)) {
            system.insert(name, value);
        }
    };
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    tell("SenderId", some(content.sender));
    tell("SentTimestamp", Some(content.sent_ms.to_string()));
    tell("ApproximateReceiveCount", Some(given.receives.to_string()));
    tell(
        "ApproximateFirstReceiveTimestamp",
        Some(given.first_ms.to_string()),
    );
    tell("MessageGroupId", some(content.group));
    tell("AWSTraceHeader", some(content.trace));
    tell(
        "DeadLetterQueueSourceArn",
        given.source.as_deref().map(|q| identity.home.queue_arn(q)),
    );
    let found: Vec<(&str, &str, &[u8])> = content
        .attributes
        .iter()
        .filter(|(name, _, _)| wanted.message(name))
        .map(|(name, kind, value)| (*name, *kind, value.as_ref()))
        .collect();
    let message_attributes = found
        .iter()
        .map(|(name, kind, value)| ((*name).to_owned(), show_attribute(kind, value)))
        .collect();
    Some(Shown {
        message_id: message_id(&identity.secret, given.handle.message).to_string(),
        receipt_handle: handles::write(&identity.secret, &given.handle),
        digest: md5::of_body(content.body.as_bytes()),
        attributes: system,
        // Over what is answered, not over what is stored.
        attributes_digest: md5::of_attributes(&found),
        message_attributes,
        body: content.body,
    })
}

fn show_attribute(kind: &str, value: &[u8]) -> ShownAttribute {
    let binary = kind.starts_with("Binary");
    ShownAttribute {
        string_value: (!binary).then(|| String::from_utf8_lossy(value).into_owned()),
        binary_value: binary.then(|| STANDARD.encode(value)),
        data_type: kind.to_owned(),
    }
}

fn content<'a>(bus: &Bus, given: &Given, record: &'a [u8]) -> Option<Content<'a>> {
    match Record::decode(record).ok()? {
        Record::Send { message, .. } => Some(Content {
            body: Cow::Borrowed(str::from_utf8(message.body).ok()?),
            sender: message.sender,
            sent_ms: message.sent_ms,
            trace: message.trace,
            group: message.group,
            attributes: message
                .attributes
                .into_iter()
                .map(|(name, kind, value)| (name, kind, Cow::Borrowed(value)))
                .collect(),
        }),
        Record::Event { event, .. } | Record::Made { event, .. } => delivery(bus, given, event),
        // Back from its dead-letter queue it is a delivery again.
        Record::DeadLetter(letter) if given.version.is_some() => delivery(bus, given, letter.event),
        Record::DeadLetter(letter) => dead_letter(letter),
        _ => None,
    }
}

/// An event as its target is sent it: shaped at each read, to the same bytes each time.
fn delivery<'a>(bus: &Bus, given: &Given, event: Event<'a>) -> Option<Content<'a>> {
    let shaped = match &given.version {
        None => None,
        Some(version) => bus
            .shapers()
            .shape(version, event.envelope, event.accepted_ms)
            .inspect_err(|not| unreadable(given, &not.failure.text))
            .ok()?,
    };
    let body = match shaped {
        None => Cow::Borrowed(str::from_utf8(event.envelope).ok()?),
        Some(shaped) => Cow::Owned(String::from_utf8(shaped).ok()?),
    };
    Some(Content {
        body: answerable(body),
        sender: BUS,
        sent_ms: event.accepted_ms,
        trace: event.trace,
        group: "",
        attributes: Vec::new(),
    })
}

fn dead_letter(letter: DeadLetter<'_>) -> Option<Content<'_>> {
    let body = match letter.body {
        [] => letter.event.envelope,
        body => body,
    };
    let mut attributes: Vec<(&str, &str, Cow<'_, [u8]>)> = Vec::with_capacity(6);
    let mut tell = |name, value: Cow<'_, str>| {
        attributes.push((name, "String", value.into_owned().into_bytes().into()));
    };
    tell("RULE_ARN", letter.rule_arn.into());
    tell("TARGET_ARN", letter.target_arn.into());
    tell("ERROR_CODE", letter.failure.code.as_str().into());
    tell("ERROR_MESSAGE", letter.failure.text.into());
    if let Some(exhausted) = letter.exhausted {
        let retries = letter.attempts.saturating_sub(1);
        tell("EXHAUSTED_RETRY_CONDITION", exhausted.as_str().into());
        tell("RETRY_ATTEMPTS", retries.to_string().into());
    }
    Some(Content {
        body: answerable(Cow::Borrowed(str::from_utf8(body).ok()?)),
        sender: BUS,
        sent_ms: letter.at_ms,
        trace: letter.event.trace,
        group: "",
        attributes,
    })
}

/// JSON may hold two characters raw that no answer in XML can; escaped they mean the same.
/// Source: sqs-api.md 6.2.
fn answerable(body: Cow<'_, str>) -> Cow<'_, str> {
    if !body.contains(['\u{fffe}', '\u{ffff}']) {
        return body;
    }
    let escaped = body.replace('\u{fffe}', "\\ufffe");
    Cow::Owned(escaped.replace('\u{ffff}', "\\uffff"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_wanted(names: &[&str], attribute: &str, expected: bool) {
        let wanted = Wanted {
            message: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Wanted::default()
        };
        assert_eq!(wanted.message(attribute), expected, "{names:?} {attribute}");
    }

    #[test]
    fn attribute_names_are_exact_or_a_beginning() {
        check_wanted(&[], "Hello", false);
        for all in ["All", ".*", "*"] {
            check_wanted(&[all], "Hello", true);
        }
        check_wanted(&["Hel.*"], "Hello", true);
        check_wanted(&["Hel.*"], "Help.Me", true);
        check_wanted(&["Hel.*"], "General", false);
        check_wanted(&["hello"], "Hello", false);
        check_wanted(&["AWS.", "..foo"], "Hello", false);
    }

    #[test]
    fn the_newer_list_of_names_counts() {
        assert_eq!(system_names(&["SenderId"], &["All"]).unwrap(), ["SenderId"]);
        assert_eq!(system_names(&[], &["All"]).unwrap(), ["All"]);
        assert!(system_names(&[], &["VisibilityTimeout"]).is_ok());
        assert!(system_names(&["VisibilityTimeout"], &[]).is_err());
        assert!(system_names(&[], &["Colour"]).is_err());
    }

    #[test]
    fn characters_that_xml_cannot_hold_are_escaped() {
        assert_eq!(
            answerable("{\"a\":\"\u{fffe}\u{ffff}\"}".into()),
            r#"{"a":"\ufffe\uffff"}"#
        );
        assert_eq!(answerable("{}".into()), "{}");
    }
}
