//! `busbar test-pattern`: a pattern against an event, with the reference matcher, without a server.

use super::config::Settings;
use super::explain::{event_fault, show_faults, to_json};
use super::table::plain;
use super::{Failure, NO, Outcome, USAGE};
use crate::diagnostic::{Diagnostic, Severity};
use clap::Args;
use rule_engine::explain::explain;
use rule_engine::pattern::{COMPLEXITY_MAX, Options, Pattern};
use serde_json::json;

#[derive(Args)]
pub struct TestPattern {
    /// The pattern, or @FILE.
    #[arg(long, value_name = "JSON|@FILE")]
    pattern: String,
    /// The event as an envelope, or @FILE.
    #[arg(long, value_name = "JSON|@FILE")]
    event: String,
    /// Explain a match too.
    #[arg(long)]
    explain: bool,
}

impl TestPattern {
    pub fn run(self, json: bool) -> Outcome {
        let config = Settings::default().load_or_fail(USAGE, json)?.config;
        let (pattern_name, pattern) = given("--pattern", &self.pattern)?;
        let (event_name, event) = given("--event", &self.event)?;
        let options = Options {
            complexity_limit: config.aws_complexity.then_some(COMPLEXITY_MAX),
        };
        let read = Pattern::parse_with(&pattern, &options).map_err(|error| {
            let fault = rule_engine::Diagnostic::from(&error);
            Diagnostic {
                code: fault.code,
                severity: Severity::Error,
                file: pattern_name,
                text: pattern.clone().into(),
                span: fault.span,
                message: format!("Event pattern is not valid. Reason: {}", fault.message),
                help: fault.help,
            }
        });
        let faults = [
            read.as_ref().err().cloned(),
            event_fault(event_name, &event),
        ];
        let faults: Vec<Diagnostic> = faults.into_iter().flatten().collect();
        let (Ok(read), true) = (&read, faults.is_empty()) else {
            return Ok(show_faults(&faults, json));
        };
        let explanation = explain(read, event.as_bytes()).map_err(|e| Failure::new(USAGE, e))?;
        let matched = explanation.matched;
        let shown = !matched || self.explain;
        match (json, shown) {
            (true, true) => {
                say!(
                    "{}",
                    json!({"matches": matched, "explanation": to_json(&explanation)})
                );
            }
            (true, false) => say!("{}", json!({"matches": matched})),
            (false, true) => explanation
                .to_string()
                .lines()
                .for_each(|line| say!("{}", plain(line))),
            (false, false) => say!("match"),
        }
        Ok(if matched { 0 } else { NO })
    }
}

fn given(flag: &str, text: &str) -> Result<(String, String), Failure> {
    match text.strip_prefix('@') {
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .map_err(|e| Failure::usage(format!("cannot read {file}: {e}")))?;
            Ok((file.to_owned(), text))
        }
        None => Ok((flag.to_owned(), text.to_owned())),
    }
}
