//! `busbar monitor`: a scan by hand.

use super::Outcome;
use super::client::{Endpoint, encode};
use super::table::{self, plain};
use clap::{Args, Subcommand};
use serde_json::json;

#[derive(Subcommand)]
pub enum Command {
    /// Scan once, now or as for another time, and tell what was found.
    Run(Run),
}

#[derive(Args)]
pub struct Run {
    /// Name of the monitor.
    name: String,
    /// The time that the scan is for, such as 2026-11-23T12:00:00Z [default: now].
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    #[command(flatten)]
    endpoint: Endpoint,
}

impl Command {
    pub fn run(self, json: bool) -> Outcome {
        let Self::Run(run) = self;
        let client = run.endpoint.client()?;
        let body = match &run.at {
            Some(at) => json!({ "At": at }),
            None => json!({}),
        };
        let path = format!("/v1/monitors/{}/ticks", encode(&run.name));
        let done = client.scan(&path, &body.to_string())?;
        if json {
            say!("{done}");
            return Ok(0);
        }
        let number = |name: &str| done[name].as_u64().unwrap_or_default();
        say!(
            "{} at {}: {} selected, {} emitted, {} left out",
            run.name,
            done["tick"].as_str().unwrap_or_default(),
            number("selected"),
            number("emitted"),
            number("leftOut"),
        );
        if 0 < number("passedOver") {
            say!(
                "{} parameters were no durations and were passed over",
                number("passedOver")
            );
        }
        let closed = done["closedStreams"].as_array();
        let rows: Vec<Vec<String>> = closed
            .into_iter()
            .flatten()
            .map(|stream| {
                let text = |name: &str| plain(stream[name].as_str().unwrap_or_default());
                vec![text("object"), text("profile"), text("event")]
            })
            .collect();
        if !rows.is_empty() {
            say!("their cause has ended, so the next notification starts anew:");
            table::print(&["OBJECT", "PROFILE", "EVENT TYPE"], &rows);
        }
        Ok(0)
    }
}
