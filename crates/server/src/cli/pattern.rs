//! `busbar test-pattern`: a pattern against an event, with the reference matcher, without a server.

use super::config::Settings;
use super::{Failure, NO, Outcome, USAGE, colours};
use crate::diagnostic::{Diagnostic, Severity};
use clap::Args;
use rule_engine::json::{Limits, validate};
use rule_engine::oracle;
use rule_engine::pattern::{COMPLEXITY_MAX, Options, Pattern};

#[derive(Args)]
pub struct TestPattern {
    /// The pattern, or @FILE.
    #[arg(long, value_name = "JSON|@FILE")]
    pattern: String,
    /// The event as an envelope, or @FILE.
    #[arg(long, value_name = "JSON|@FILE")]
    event: String,
}

impl TestPattern {
    pub fn run(self, json: bool) -> Outcome {
        let config = Settings::default().load_or_fail(USAGE, json)?.config;
        let (pattern_name, pattern) = given("--pattern", &self.pattern)?;
        let (event_name, event) = given("--event", &self.event)?;
        let options = Options {
            complexity_limit: config.aws_complexity.then_some(COMPLEXITY_MAX),
        };
        let read = Pattern::parse_with(&pattern, &options).map_err(|error| Diagnostic {
            code: error.code(),
            severity: Severity::Error,
            file: pattern_name,
            text: pattern.clone().into(),
            span: error.span(),
            message: format!("Event pattern is not valid. Reason: {error}"),
            help: error.help(),
        });
        let valid = validate(event.as_bytes(), &Limits::default()).map_err(|error| Diagnostic {
            code: "event::json",
            severity: Severity::Error,
            file: event_name,
            text: event.clone().into(),
            span: error.offset..error.offset + 1,
            message: format!("the event is not a JSON object: {}", error.kind),
            help: None,
        });
        let (Ok(read), Ok(())) = (&read, &valid) else {
            let faults: Vec<&Diagnostic> = [read.as_ref().err(), valid.as_ref().err()]
                .into_iter()
                .flatten()
                .collect();
            if json {
                let faults: Vec<_> = faults.iter().map(|fault| fault.to_json()).collect();
                say!("{}", serde_json::json!({"diagnostics": faults}));
            } else {
                for fault in faults {
                    eprint!("{}", fault.report(colours(&std::io::stderr())));
                }
            }
            return Ok(USAGE);
        };
        let matches = oracle::matches(read, event.as_bytes())
            .map_err(|error| Failure::usage(format!("{}: {error}", self.event)))?;
        match (json, matches) {
            (true, _) => say!("{}", serde_json::json!({"matches": matches})),
            (false, true) => say!("match"),
            (false, false) => say!("no match"),
        }
        Ok(if matches { 0 } else { NO })
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
