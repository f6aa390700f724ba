//! An event as decisions look at it.

use crate::moment;
use serde_json::Value;

/// Containers within each other, in an event that fires and in an attribute. What is kept is written
/// and read again inside of further ones, and a reader takes 128 in all.
pub const DEPTH_MAX: usize = 64;

/// True when a value has more than `depth` containers within each other.
#[must_use]
pub fn nests_deeper(value: &Value, depth: usize) -> bool {
    // It recurses `depth` times at most.
    let Some(depth) = depth.checked_sub(1) else {
        return value.is_array() || value.is_object();
    };
    match value {
        Value::Array(items) => items.iter().any(|it| nests_deeper(it, depth)),
        Value::Object(members) => members.values().any(|it| nests_deeper(it, depth)),
        _ => false,
    }
}

/// An event on a bus.
#[derive(Debug, Clone)]
pub struct Event {
    /// The bus it was put on.
    pub bus: String,
    /// Its envelope: one compact JSON object, as it is stored.
    pub json: String,
    /// The same as a value. Events of catalogued types are few and small.
    pub value: Value,
    /// Its `time`, epoch milliseconds: *now* for all that it decides.
    pub time: i64,
}

impl Event {
    /// Reads an envelope; `None` when it is none of the bus's: no object, or no RFC 3339 `time`;
    /// and when it nests deeper than [`DEPTH_MAX`].
    #[must_use]
    pub fn read(bus: &str, json: &str) -> Option<Event> {
        let value: Value = serde_json::from_str(json).ok()?;
        let time = moment::parse(value.get("time")?.as_str()?)?;
        let is_event = value.is_object() && !nests_deeper(&value, DEPTH_MAX);
        is_event.then(|| Event {
            bus: bus.to_owned(),
            json: json.trim().to_owned(),
            value,
            time,
        })
    }

    /// A member of the envelope that is a text.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.value
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

/// Who raised an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Raised {
    /// Whoever put it.
    Outside,
    /// The monitor of this name.
    Monitor(String),
    /// A replay of an archive: it fires again whatever fired before.
    Replay,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nests_too_deep_is_no_event() {
        let nested = |depth: usize| {
            let (open, close) = ("[".repeat(depth), "]".repeat(depth));
            format!(r#"{{"time":"2026-11-23T00:00:00Z","detail":{open}{close}}}"#)
        };
        assert!(Event::read("default", &nested(DEPTH_MAX - 1)).is_some());
        assert!(Event::read("default", &nested(DEPTH_MAX)).is_none());
        assert!(Event::read("default", &nested(200)).is_none());
    }
}
