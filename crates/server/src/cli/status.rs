//! `busbar status`: targets and queues, and what waits for them.

use super::Outcome;
use super::client::Endpoint;
use super::table::{self, plain};
use clap::Args;
use serde_json::Value;

#[derive(Args)]
pub struct Status {
    #[command(flatten)]
    endpoint: Endpoint,
}

impl Status {
    pub fn run(self, json: bool) -> Outcome {
        let status = self.endpoint.client()?.get("/v1/status")?;
        if json {
            say!("{status}");
            return Ok(0);
        }
        let text = |value: &Value| match value {
            Value::Null => String::new(),
            Value::String(text) => plain(text),
            other => other.to_string(),
        };
        let list = |name: &str| status[name].as_array().cloned().unwrap_or_default();
        let targets: Vec<Vec<String>> = list("targets")
            .iter()
            .map(|target| {
                let error = &target["last_error"];
                let error = match error["code"].as_str() {
                    Some(code) => format!(
                        "{} {code} {} {}",
                        text(&error["at"]),
                        text(&error["status"]),
                        text(&error["text"])
                    )
                    .replace("  ", " "),
                    None => String::new(),
                };
                let name = format!(
                    "{}/{}/{}",
                    text(&target["bus"]),
                    text(&target["rule"]),
                    text(&target["target"])
                );
                let retired = target["retired"].as_bool() == Some(true);
                vec![
                    name,
                    format!(
                        "{}{}",
                        text(&target["kind"]),
                        if retired { " (retired)" } else { "" }
                    ),
                    text(&target["pending"]),
                    text(&target["in_flight"]),
                    text(&target["delivered"]),
                    text(&target["dead_letters"]),
                    text(&target["expired"]),
                    text(&target["next_try"]),
                    error,
                ]
            })
            .collect();
        let heads = [
            "TARGET",
            "KIND",
            "PENDING",
            "IN FLIGHT",
            "DELIVERED",
            "DEAD",
            "EXPIRED",
            "NEXT TRY",
            "LAST ERROR",
        ];
        table::print(&heads, &targets);
        say!("");
        let queues: Vec<Vec<String>> = list("queues")
            .iter()
            .map(|queue| {
                [
                    "name",
                    "visible",
                    "in_flight",
                    "delayed",
                    "deleted",
                    "expired",
                ]
                .iter()
                .map(|name| text(&queue[*name]))
                .collect()
            })
            .collect();
        table::print(
            &[
                "QUEUE",
                "VISIBLE",
                "IN FLIGHT",
                "DELAYED",
                "DELETED",
                "EXPIRED",
            ],
            &queues,
        );
        let rules = &status["rules"];
        say!("");
        say!(
            "{} rules from {} files",
            text(&rules["from_files"]),
            text(&rules["files"])
        );
        if let Some(fault) = rules["fault"].as_str() {
            say!(
                "the rule files as they are now are not in force: {}",
                plain(fault)
            );
        }
        Ok(0)
    }
}
