//! `busbar dlq`: dead letters looked at without receiving them, and brought back to the target of their rule.

use super::client::{Client, Endpoint, encode};
use super::table::{self, plain};
use super::{Failure, NO, Outcome};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

#[derive(Subcommand)]
pub enum Command {
    /// List dead letters.
    List(List),
    /// Put dead letters back to the target of their rule.
    Redrive(Redrive),
}

#[derive(Args)]
pub struct List {
    /// The queue [default: the server's default dead-letter queue].
    #[arg(long)]
    queue: Option<String>,
    #[command(flatten)]
    endpoint: Endpoint,
}

#[derive(Args)]
pub struct Redrive {
    /// The queue [default: the server's default dead-letter queue].
    #[arg(long)]
    queue: Option<String>,
    /// Only those of this rule.
    #[arg(long)]
    rule: Option<String>,
    /// Only this message; may be repeated.
    #[arg(long, value_name = "ID")]
    message: Vec<String>,
    #[command(flatten)]
    endpoint: Endpoint,
}

impl Command {
    pub fn run(self, json: bool) -> Outcome {
        match self {
            Self::List(list) => list.run(json),
            Self::Redrive(redrive) => redrive.run(json),
        }
    }
}

impl List {
    fn run(self, json: bool) -> Outcome {
        let client = self.endpoint.client()?;
        let mut rows = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let page = page(&client, self.queue.as_deref(), cursor.as_deref())?;
            for letter in page["dead_letters"].as_array().into_iter().flatten() {
                if json {
                    say!("{letter}");
                    continue;
                }
                let text = |name: &str| match &letter[name] {
                    Value::Null => String::new(),
                    Value::String(text) => plain(text),
                    other => other.to_string(),
                };
                rows.push(vec![
                    text("at"),
                    format!("{}/{}/{}", text("bus"), text("rule"), text("target")),
                    text("event_id"),
                    text("attempts"),
                    format!("{} {}", text("code"), text("text")),
                    text("message_id"),
                ]);
            }
            cursor = page["cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        if !json {
            if rows.is_empty() {
                say!("no dead letters");
            } else {
                table::print(
                    &["AT", "TARGET", "EVENT", "ATTEMPTS", "WHY", "MESSAGE"],
                    &rows,
                );
            }
        }
        Ok(0)
    }
}

fn page(client: &Client, queue: Option<&str>, cursor: Option<&str>) -> Result<Value, Failure> {
    let parts: Vec<String> = [("queue", queue), ("cursor", cursor)]
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", encode(value?))))
        .collect();
    let query = if parts.is_empty() { "" } else { "?" };
    client.get(&format!("/v1/dead-letters{query}{}", parts.join("&")))
}

impl Redrive {
    fn run(self, json: bool) -> Outcome {
        let client = self.endpoint.client()?;
        let mut call = json!({});
        if let Some(queue) = &self.queue {
            call["Queue"] = json!(queue);
        }
        if let Some(rule) = &self.rule {
            call["Rule"] = json!(rule);
        }
        if !self.message.is_empty() {
            call["MessageIds"] = json!(self.message);
        }
        let answer = client.post("/v1/dead-letters/redrive", &call.to_string())?;
        let stayed = answer["without_target"].as_u64().unwrap_or(0);
        if json {
            say!("{answer}");
        } else {
            say!(
                "{} dead letters went back to their targets",
                answer["redriven"]
            );
            if stayed > 0 {
                say!("{stayed} stay: their target is gone");
            }
        }
        Ok(if stayed > 0 { NO } else { 0 })
    }
}
