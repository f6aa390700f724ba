//! `busbar trigger test`: what an event would do, without doing it.

use super::client::Endpoint;
use super::put::{read_input, split};
use super::table::plain;
use super::{NO, Outcome};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

#[derive(Subcommand)]
pub enum Command {
    /// Tell which triggers an event would fire and what they would do; changes and sends nothing.
    Test(Test),
}

#[derive(Args)]
pub struct Test {
    /// One whole envelope: a file, `-`, or the JSON itself.
    event: String,
    /// The bus it would be put on.
    #[arg(long, default_value = "default")]
    bus: String,
    #[command(flatten)]
    endpoint: Endpoint,
}

impl Command {
    pub fn run(self, json: bool) -> Outcome {
        let Self::Test(test) = self;
        let text = match test.event.trim_start().starts_with('{') {
            true => test.event.clone(),
            false => read_input(&test.event)?,
        };
        let [event] = split(&test.event, &text)?
            .try_into()
            .map_err(|all: Vec<_>| {
                super::Failure::usage(format!("one envelope is wanted, {} were given", all.len()))
            })?;
        let event: Value = serde_json::from_str(event.get()).expect("it was split");
        let body = json!({ "Event": event, "Bus": test.bus });
        let row = test
            .endpoint
            .client()?
            .post("/v1/triggers/dry-run", &body.to_string())?;
        if json {
            say!("{row}");
        } else {
            show(&row);
        }
        let objects = list(&row["objects"]);
        let acts = objects.iter().any(|it| it["matched"] == json!(true));
        Ok(if acts { 0 } else { NO })
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    plain(value.as_str().unwrap_or_default())
}

/// Prints a row of a dry run.
pub fn show(row: &Value) {
    say!("event type {}", text(&row["event"]));
    if row["detailValid"] == json!(false) {
        say!("the detail is not as the catalogue wants it");
    }
    if let Some(message) = row["message"].as_str() {
        say!("{}", plain(message));
    }
    for object in list(&row["objects"]) {
        show_object(object);
    }
}

fn show_object(object: &Value) {
    say!("\n{}", text(&object["object"]));
    let is_in = |name: &str, scope: &Value| list(&object[name]).contains(scope);
    for scope in list(&object["scopes"]) {
        let why = if is_in("applied", scope) {
            "applies"
        } else if is_in("skipped", scope) {
            "skipped: a more specific scope has triggers"
        } else {
            "has no triggers"
        };
        say!("  scope {}: {why}", text(scope));
        let evaluations = list(&object["evaluations"]);
        for evaluation in evaluations.iter().filter(|it| it["scope"] == *scope) {
            show_evaluation(evaluation);
        }
    }
    let outcome = match (&object["ignored"], &object["matched"]) {
        (Value::Bool(true), Value::Bool(false)) => "ignored",
        (_, Value::Bool(true)) => "some trigger acts",
        _ => "no trigger acts",
    };
    say!("  {outcome}");
    if let Some(admitted) = object["admitted"].as_bool() {
        let kept = if admitted { "goes" } else { "does not go" };
        say!("  {kept} into the inventory");
    }
}

fn show_evaluation(evaluation: &Value) {
    let matched = evaluation["conditionsMatched"] == json!(true);
    let verdict = match (matched, evaluation["ignore"] == json!(true)) {
        (true, true) => "matches, and silences",
        (true, false) => "matches",
        (false, _) => "no match",
    };
    let mark = if matched { '✓' } else { '✗' };
    say!("    {mark} {}: {verdict}", text(&evaluation["trigger"]));
    for told in list(&evaluation["told"]) {
        let channels: Vec<String> = list(&told["channels"]).iter().map(text).collect();
        let channels = match channels.is_empty() {
            true => "nobody".to_owned(),
            false => channels.join(", "),
        };
        say!(
            "        would tell by {} version {}: {channels}",
            text(&told["profile"]),
            told["version"]
        );
    }
    for record in list(&evaluation["records"]) {
        let what = match text(&record["kind"]).as_str() {
            "condition" => "the first condition that fails is at",
            "action" => "this action fails:",
            "suppressed" => "the throttle keeps back",
            "older" => "something newer is there already:",
            "channel" => "this channel would not send:",
            _ => "this target would not take it:",
        };
        let why = record["message"].as_str();
        let why = why.map_or(String::new(), |why| format!(" ({})", plain(why)));
        say!("        {what} {}{why}", text(&record["at"]));
    }
}
