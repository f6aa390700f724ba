//! `busbar event ID`: the story of an event.

use super::Outcome;
use super::client::{Endpoint, encode};
use super::table::plain;
use clap::Args;
use serde_json::Value;

#[derive(Args)]
pub struct Event {
    /// The event's id, as put told it.
    id: String,
    #[command(flatten)]
    endpoint: Endpoint,
}

impl Event {
    pub fn run(self, json: bool) -> Outcome {
        let client = self.endpoint.client()?;
        let trail = client.get(&format!("/v1/events/{}", encode(&self.id)))?;
        if json {
            say!("{trail}");
            return Ok(0);
        }
        let occurrences = list(&trail["occurrences"]);
        if occurrences.len() > 1 {
            say!("{} was put {} times", plain(&self.id), occurrences.len());
        }
        for occurrence in occurrences {
            tell(occurrence);
        }
        Ok(0)
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => plain(text),
        other => other.to_string(),
    }
}

fn tell(occurrence: &Value) {
    let envelope = &occurrence["envelope"];
    say!(
        "event {}  {}  {}",
        text(&envelope["id"]),
        text(&envelope["source"]),
        text(&envelope["detail-type"])
    );
    say!(
        "  put on bus {} at {}, position {}",
        text(&occurrence["bus"]),
        text(&occurrence["accepted"]),
        text(&occurrence["position"])
    );
    let rules: Vec<String> = list(&occurrence["rules"]).iter().map(text).collect();
    match rules.len() {
        0 => say!("  matched no rule"),
        1 => say!("  matched rule {}", rules[0]),
        n => say!("  matched {n} rules: {}", rules.join(", ")),
    }
    for delivery in list(&occurrence["deliveries"]) {
        let queue = delivery["queue"].as_str();
        say!(
            "  → {}/{} ({} {}): {}{}",
            text(&delivery["rule"]),
            text(&delivery["target"]),
            text(&delivery["kind"]),
            text(&delivery["arn"]),
            text(&delivery["state"]),
            queue.map_or_else(String::new, |q| format!(" {}", plain(q)))
        );
        for attempt in list(&delivery["attempts"]) {
            let mut line = match &attempt["number"] {
                Value::Null => format!(
                    "      {} {}",
                    text(&attempt["at"]),
                    text(&attempt["outcome"])
                ),
                number => format!(
                    "      {} attempt {number}: {}",
                    text(&attempt["at"]),
                    text(&attempt["outcome"])
                ),
            };
            for name in ["code", "status", "text"] {
                if !attempt[name].is_null() {
                    line.push_str(&format!(" {}", text(&attempt[name])));
                }
            }
            if !attempt["next_try"].is_null() {
                line.push_str(&format!(", next try {}", text(&attempt["next_try"])));
            }
            say!("{line}");
        }
        let letter = &delivery["dead_letter"];
        if !letter.is_null() {
            say!(
                "      {} dead letter in {}: {} {} (message {})",
                text(&letter["at"]),
                text(&letter["queue"]),
                text(&letter["code"]),
                text(&letter["text"]),
                text(&letter["message_id"])
            );
        }
    }
}
