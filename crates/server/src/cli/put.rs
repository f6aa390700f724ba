//! `busbar put`: events from a file, standard input or the command line.

use super::client::{Client, Endpoint, encode};
use super::{Failure, NO, Outcome};
use bus_core::limits::NATIVE_ENTRIES_MAX;
use clap::Args;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::io::Read as _;

/// Bytes of one call: below what a server takes by default.
pub const CALL_BYTES_MAX: usize = 2 << 20;

#[derive(Args)]
pub struct Put {
    #[command(flatten)]
    endpoint: Endpoint,
    /// A file with events as JSON: one, a list, or one a line; `-` is standard input.
    #[arg(value_name = "FILE", required_unless_present = "source")]
    file: Option<String>,
    /// The bus.
    #[arg(long, default_value = "default")]
    bus: String,
    /// The events are whole envelopes (with `detail-type`), all members of which are kept. Seen by itself
    /// where the first event has `detail-type`.
    #[arg(long)]
    envelope: bool,
    /// Source of one event.
    #[arg(long, requires_all = ["detail_type", "detail"], conflicts_with_all = ["file", "envelope"])]
    source: Option<String>,
    /// Detail type of one event.
    #[arg(long, requires = "source")]
    detail_type: Option<String>,
    /// Detail of one event, a JSON object.
    #[arg(long, value_name = "JSON", requires = "source")]
    detail: Option<String>,
    /// A resource of one event; may be repeated.
    #[arg(long, value_name = "ARN", requires = "source")]
    resource: Vec<String>,
}

impl Put {
    pub fn run(self, json: bool) -> Outcome {
        let client = self.endpoint.client()?;
        let (events, envelopes) = match (&self.source, &self.file) {
            (Some(source), _) => (vec![self.entry(source)?], false),
            (None, file) => {
                let file = file.as_deref().unwrap_or("-");
                let text = read_input(file)?;
                let events = split(file, &text)?;
                let envelopes = self.envelope || events.first().is_some_and(|e| is_envelope(e));
                (events, envelopes)
            }
        };
        let mut failed = 0;
        for group in groups(&events) {
            let results = put(&client, &self.bus, group, envelopes)?;
            for result in &results {
                let error = error_of(result);
                failed += usize::from(error.is_some());
                match (json, error) {
                    (true, _) => say!("{result}"),
                    (false, Some(error)) => eprintln!("not put: {error}"),
                    (false, None) => say!("{}", id_of(result).unwrap_or_default()),
                }
            }
        }
        if failed > 0 && !json {
            eprintln!("{failed} of {} events were not put", events.len());
        }
        Ok(if failed > 0 { NO } else { 0 })
    }

    fn entry(&self, source: &str) -> Result<Box<RawValue>, Failure> {
        let detail = self.detail.as_deref().unwrap_or_default();
        let detail: &RawValue = serde_json::from_str(detail)
            .map_err(|e| Failure::usage(format!("--detail is no JSON: {e}")))?;
        let mut entry = json!({
            "Source": source,
            "DetailType": self.detail_type,
            "Detail": detail.get(),
        });
        if !self.resource.is_empty() {
            entry["Resources"] = json!(self.resource);
        }
        Ok(serde_json::value::to_raw_value(&entry).expect("plain values"))
    }
}

/// The text of a file; `-` is standard input.
pub fn read_input(file: &str) -> Result<String, Failure> {
    let unreadable = |e| Failure::usage(format!("cannot read {file}: {e}"));
    if file == "-" {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(unreadable)?;
        return Ok(text);
    }
    std::fs::read_to_string(file).map_err(unreadable)
}

/// The events of a text: one value, a list, or one after another, each kept byte for byte.
pub fn split(file: &str, text: &str) -> Result<Vec<Box<RawValue>>, Failure> {
    let mut events = Vec::new();
    let values = serde_json::Deserializer::from_str(text).into_iter::<Box<RawValue>>();
    for value in values {
        let value = value.map_err(|e| Failure::usage(format!("{file} is no JSON: {e}")))?;
        if value.get().starts_with('[') {
            let list: Vec<Box<RawValue>> = serde_json::from_str(value.get())
                .map_err(|e| Failure::usage(format!("{file}: {e}")))?;
            events.extend(list);
        } else {
            events.push(value);
        }
    }
    if let Some(other) = events.iter().position(|e| !e.get().starts_with('{')) {
        return Err(Failure::usage(format!(
            "{file}: event {} is no JSON object",
            other + 1
        )));
    }
    if events.is_empty() {
        return Err(Failure::usage(format!("{file} holds no event")));
    }
    Ok(events)
}

fn is_envelope(event: &RawValue) -> bool {
    serde_json::from_str::<serde_json::Map<String, Value>>(event.get())
        .is_ok_and(|members| members.contains_key("detail-type"))
}

/// Divides events into calls of bounded count and size; one event always fits.
pub fn groups<T: AsRef<RawValue>>(events: &[T]) -> Vec<&[T]> {
    let mut groups = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, event) in events.iter().enumerate() {
        let size = event.as_ref().get().len() + 1;
        let full = NATIVE_ENTRIES_MAX <= at - start || CALL_BYTES_MAX < bytes + size;
        if full && start < at {
            groups.push(&events[start..at]);
            (start, bytes) = (at, 0);
        }
        bytes += size;
    }
    if start < events.len() {
        groups.push(&events[start..]);
    }
    groups
}

/// Puts a group in one call; one result for each event, in order.
pub fn put<T: AsRef<RawValue>>(
    client: &Client,
    bus: &str,
    events: &[T],
    envelopes: bool,
) -> Result<Vec<Value>, Failure> {
    let door = if envelopes { "envelopes" } else { "events" };
    let bodies: Vec<&str> = events.iter().map(|e| e.as_ref().get()).collect();
    let body = format!("[{}]", bodies.join(","));
    let answer = client.post(&format!("/v1/buses/{}/{door}", encode(bus)), &body)?;
    match answer {
        Value::Array(results) if results.len() == events.len() => Ok(results),
        other => Err(Failure::new(
            NO,
            anyhow::anyhow!(
                "the server's answer is not a list of {} results: {other}",
                events.len()
            ),
        )),
    }
}

/// The id that a result gives.
pub fn id_of(result: &Value) -> Option<&str> {
    result["id"].as_str()
}

/// Why an event was not put.
pub fn error_of(result: &Value) -> Option<String> {
    let error = result.get("error").filter(|e| !e.is_null())?;
    let text = |name: &str| error[name].as_str();
    Some(match (text("code"), text("message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        _ => error.as_str().map_or_else(|| error.to_string(), Into::into),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_in_every_form() {
        let check = |text: &str, count: usize| {
            let events = split("f", text).map_err(|e| e.error.to_string()).unwrap();
            assert_eq!(events.len(), count, "{text}");
        };
        check("{\"a\":1.50}", 1);
        check("[{\"a\":1},{\"a\":2}]", 2);
        check("{\"a\":1}\n{\"a\":2}\n\n{\"a\":3}\n", 3);
        check("{\n \"a\": 1\n}\n{}", 2);
        assert_eq!(
            split("f", "{\"a\":1.50}").ok().unwrap()[0].get(),
            "{\"a\":1.50}"
        );
        for text in ["", "[]", "1", "[1]", "{", "{\"a\":1} x"] {
            assert!(split("f", text).is_err(), "{text}");
        }
    }

    #[test]
    fn calls_are_bounded_and_keep_the_order() {
        let event = |n: usize| serde_json::value::to_raw_value(&json!({"n": n})).unwrap();
        let events: Vec<_> = (0..2_500).map(event).collect();
        let sizes: Vec<usize> = groups(&events).iter().map(|g| g.len()).collect();
        assert_eq!(sizes, [1_000, 1_000, 500]);
        let large = serde_json::value::to_raw_value(&"x".repeat(CALL_BYTES_MAX)).unwrap();
        let events = vec![event(1), large, event(2)];
        let sizes: Vec<usize> = groups(&events).iter().map(|g| g.len()).collect();
        assert_eq!(sizes, [1, 1, 1]);
    }
}
