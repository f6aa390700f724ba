//! `busbar monitor`: a scan by hand, and what a monitor would make of one object.

use super::client::{Endpoint, encode};
use super::put::read_input;
use super::table::{self, plain};
use super::{Failure, NO, Outcome, trigger};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::Path;

#[derive(Subcommand)]
pub enum Command {
    /// Scan once, now or as for another time, and tell what was found.
    Run(Run),
    /// Tell what it would make of one object and what its event would do; changes and sends nothing.
    Test(Test),
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

#[derive(Args)]
pub struct Test {
    /// Name of the monitor.
    name: String,
    /// The object: `TYPE/ID` of the inventory; or one that is supposed, with its type and id: a file, `-`, or the
    /// JSON itself.
    #[arg(long, value_name = "OBJECT")]
    object: String,
    /// The time of the scan, past or to come, such as 2026-11-23T12:00:00Z [default: now].
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    #[command(flatten)]
    endpoint: Endpoint,
}

impl Command {
    pub fn run(self, json: bool) -> Outcome {
        match self {
            Self::Run(command) => command.run(json),
            Self::Test(command) => command.run(json),
        }
    }
}

impl Run {
    fn run(self, json: bool) -> Outcome {
        let client = self.endpoint.client()?;
        let body = match &self.at {
            Some(at) => json!({ "At": at }),
            None => json!({}),
        };
        let path = format!("/v1/monitors/{}/ticks", encode(&self.name));
        let done = client.scan(&path, &body.to_string())?;
        if json {
            say!("{done}");
            return Ok(0);
        }
        let number = |name: &str| done[name].as_u64().unwrap_or_default();
        say!(
            "{} at {}: {} selected, {} emitted, {} left out",
            self.name,
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

impl Test {
    fn run(self, json: bool) -> Outcome {
        let body = json!({ "Object": self.object()?, "At": self.at });
        let path = format!("/v1/monitors/{}/dry-run", encode(&self.name));
        let client = self.endpoint.client()?;
        let tried = client.scan(&path, &body.to_string())?;
        match json {
            true => say!("{tried}"),
            false => show(&tried),
        }
        Ok(if tried["event"].is_null() { NO } else { 0 })
    }

    /// An object as the API takes it.
    fn object(&self) -> Result<Value, Failure> {
        let given = &self.object;
        let text = match given.trim_start().starts_with('{') {
            true => given.clone(),
            false if given == "-" || Path::new(given).is_file() => read_input(given)?,
            false => return Ok(json!(given)),
        };
        serde_json::from_str(&text)
            .map_err(|e| Failure::usage(format!("`--object {given}` is no JSON: {e}")))
    }
}

fn show(tried: &Value) {
    let text = |value: &Value| plain(value.as_str().unwrap_or_default());
    say!("{} at {}", text(&tried["monitor"]), text(&tried["tick"]));
    if tried["enabled"] == json!(false) {
        say!("it is disabled: no schedule runs it");
    }
    for (name, span) in tried["parameters"].as_object().into_iter().flatten() {
        say!("{} is {}", plain(name), text(span));
    }
    if tried["passedOver"] != json!(0) {
        say!(
            "{} values of parameters are no durations",
            tried["passedOver"]
        );
    }
    say!("\n{}", text(&tried["object"]));
    let kept_back = &tried["keptBack"];
    match kept_back["kind"].as_str() {
        None => {}
        Some("condition") => say!(
            "  ✗ not selected: the first condition that fails is at {}",
            text(&kept_back["at"])
        ),
        Some("unless") => say!(
            "  ✗ not selected: {} is as `Unless`[{}] wants it",
            text(&kept_back["by"]),
            kept_back["clause"]
        ),
        Some(_) => say!(
            "  ✗ selected, but left out: its last event was at {}, and `Every` lasts until {}",
            text(&kept_back["last"]),
            text(&kept_back["until"])
        ),
    }
    if !tried["event"].is_null() {
        say!("  ✓ selected, and would emit\n    {}\n", tried["event"]);
        trigger::show(&tried["firing"]);
    }
}
