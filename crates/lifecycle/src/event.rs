//! An event as decisions look at it.

use crate::moment;
use serde_json::Value;

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
    /// Reads an envelope; `None` when it is none of the bus's: no object, or no RFC 3339 `time`.
    #[must_use]
    pub fn read(bus: &str, json: &str) -> Option<Event> {
        let value: Value = serde_json::from_str(json).ok()?;
        let time = moment::parse(value.get("time")?.as_str()?)?;
        value.is_object().then(|| Event {
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
