//! `busbar explain`: why an event matches a rule or does not, and which rules come nearest.
//!
//! The rules are those of the running server, or of files; the matching is done here, with the reference
//! matcher, so that a question costs the server a list of its rules and no more.

use super::client::{Client, Endpoint, encode};
use super::config::Settings;
use super::put::read_input;
use super::rules;
use super::table::plain;
use super::{Failure, NO, Outcome, USAGE, colours};
use crate::diagnostic::{Diagnostic, Severity};
use clap::{ArgGroup, Args};
use rule_engine::explain::{self, Explanation, Mend};
use rule_engine::json::{Limits, validate};
use rule_engine::pattern::{Options, Pattern};
use rule_engine::words;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

#[derive(Args)]
#[command(group(ArgGroup::new("question").required(true).args(["rule", "nearest"])))]
pub struct Explain {
    /// The event: an envelope as JSON, a file that holds one, `-` for standard input, or the id of an event
    /// that the server still knows.
    event: String,
    /// Tell why this rule matches the event or does not.
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// Tell which rules match the event, and of those that do not the N that fail by the fewest conditions.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    nearest: Option<u16>,
    /// Take the rules from files instead of the server.
    #[arg(long, value_name = "DIR|FILE")]
    rules: Option<PathBuf>,
    /// The bus of the rules.
    #[arg(long, default_value = "default")]
    bus: String,
    #[command(flatten)]
    endpoint: Endpoint,
}

/// A rule that events are matched against.
struct Rule {
    name: String,
    enabled: bool,
    pattern: Pattern,
}

impl Explain {
    pub fn run(self, json: bool) -> Outcome {
        let client = self.endpoint.client()?;
        let event = self.read_event(&client)?;
        let inline = self.event.trim_start().starts_with('{');
        let name = if inline { "EVENT" } else { &self.event };
        if let Some(fault) = event_fault(name.to_owned(), &event) {
            return Ok(show_faults(&[fault], json));
        }
        let rules = match &self.rules {
            None => self.rules_of_server(&client)?,
            Some(path) => match self.rules_of_files(path, json)? {
                Ok(rules) => rules,
                Err(faults) => return Ok(show_faults(&faults, json)),
            },
        };
        match &self.rule {
            Some(name) => self.one(name, &rules, &event, json),
            None => self.all(&rules, &event, json),
        }
    }

    fn one(&self, name: &str, rules: &[Rule], event: &str, json: bool) -> Outcome {
        let Some(rule) = rules.iter().find(|rule| rule.name == name) else {
            let names: Vec<&str> = rules.iter().map(|rule| &*rule.name).collect();
            let help = match words::nearest(name, &names) {
                Some(meant) => format!("; did you mean `{meant}`?"),
                None if names.is_empty() => "; there is no rule with a pattern at all".into(),
                None => "; --nearest 5 shows those that come nearest".into(),
            };
            let bus = &self.bus;
            return Err(Failure::usage(format!(
                "bus {bus} has no rule `{name}`{help}"
            )));
        };
        let explanation = explain::explain(&rule.pattern, event.as_bytes())
            .map_err(|e| Failure::new(USAGE, e))?;
        if json {
            say!("{}", with_rule(rule, &explanation));
        } else {
            show(rule, &explanation);
        }
        Ok(if explanation.matched { 0 } else { NO })
    }

    fn all(&self, rules: &[Rule], event: &str, json: bool) -> Outcome {
        let count = usize::from(self.nearest.unwrap_or(1));
        let patterns = rules.iter().map(|rule| (&*rule.name, &rule.pattern));
        let found = explain::nearest(patterns, event.as_bytes(), count)
            .map_err(|e| Failure::new(USAGE, e))?;
        let failed = found.failed.iter().filter_map(|(name, explanation)| {
            let rule = rules.iter().find(|rule| rule.name == *name)?;
            Some((rule, explanation))
        });
        if json {
            let nearest: Vec<Value> = failed.map(|(rule, it)| with_rule(rule, it)).collect();
            say!("{}", json!({"matched": found.matched, "nearest": nearest}));
        } else {
            match found.matched.as_slice() {
                [] => say!("no rule of {} matches", rules.len()),
                names => say!("matched by {}", plain(&names.join(", "))),
            }
            for (rule, explanation) in failed {
                say!("");
                show(rule, explanation);
            }
        }
        Ok(if found.matched.is_empty() { NO } else { 0 })
    }

    fn read_event(&self, client: &Client) -> Result<String, Failure> {
        let given = &self.event;
        if given.trim_start().starts_with('{') {
            return Ok(given.clone());
        }
        // No id has these.
        if given == "-" || given.contains(['/', '.']) || Path::new(given).exists() {
            return read_input(given);
        }
        let trail = client.get(&format!("/v1/events/{}", encode(given)));
        let trail = trail.map_err(|failure| {
            let why = format!("`{given}` is no file, and was asked for as an event's id");
            Failure::new(failure.code, failure.error.context(why))
        })?;
        let occurrences = trail["occurrences"].as_array();
        match occurrences
            .and_then(|all| all.last())
            .map(|it| &it["envelope"])
        {
            Some(envelope @ Value::Object(_)) => Ok(envelope.to_string()),
            _ => Err(Failure::usage(format!(
                "the server knows event {given} no more; give the event itself"
            ))),
        }
    }

    fn rules_of_server(&self, client: &Client) -> Result<Vec<Rule>, Failure> {
        let mut rules = Vec::new();
        let mut call = json!({"EventBusName": self.bus, "Limit": 100});
        loop {
            let mut page = client.events("ListRules", &call)?;
            for rule in page["Rules"].as_array().into_iter().flatten() {
                let Some(pattern) = rule["EventPattern"].as_str() else {
                    continue;
                };
                let name = rule["Name"].as_str().unwrap_or_default();
                rules.push(Rule::new(name, rule["State"] != "DISABLED", pattern)?);
            }
            match page["NextToken"].take() {
                Value::Null => return Ok(rules),
                token => call["NextToken"] = token,
            }
        }
    }

    fn rules_of_files(
        &self,
        path: &Path,
        json: bool,
    ) -> Result<Result<Vec<Rule>, Vec<Diagnostic>>, Failure> {
        let config = Settings::default().load_or_fail(USAGE, json)?.config;
        let context = rules::context(&config)?;
        let loaded = match rules::load(&[path.to_owned()], &context) {
            Ok(loaded) => loaded,
            Err(faults) => return Ok(Err(faults)),
        };
        let own = loaded.rules.iter().filter(|it| it.bus.as_str() == self.bus);
        let own = own.filter_map(|rule| {
            let pattern = rule.pattern.as_deref()?;
            Some(Rule::new(rule.name.as_str(), rule.is_on(), pattern))
        });
        Ok(Ok(own.collect::<Result<_, Failure>>()?))
    }
}

impl Rule {
    fn new(name: &str, enabled: bool, pattern: &str) -> Result<Self, Failure> {
        // Whoever holds the rule has taken it; its limit on wildcards need not be ours.
        let options = Options {
            complexity_limit: None,
        };
        let pattern = Pattern::parse_with(pattern, &options)
            .map_err(|e| Failure::usage(format!("rule {name}: {e}")))?;
        Ok(Rule {
            name: name.to_owned(),
            enabled,
            pattern,
        })
    }
}

fn show(rule: &Rule, explanation: &Explanation) {
    let state = if rule.enabled { "" } else { " (disabled)" };
    say!("rule {}{state}", plain(&rule.name));
    for line in explanation.to_string().lines() {
        say!("{}", plain(line));
    }
}

fn with_rule(rule: &Rule, explanation: &Explanation) -> Value {
    let mut shown = Map::new();
    shown.insert("rule".into(), rule.name.clone().into());
    shown.insert("enabled".into(), rule.enabled.into());
    if let Value::Object(members) = to_json(explanation) {
        shown.extend(members);
    }
    shown.into()
}

/// An explanation for programs: what was wanted and found is JSON in it, not text.
pub fn to_json(explanation: &Explanation) -> Value {
    let value = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
    let condition = |it: &explain::Condition| {
        let found: Vec<Value> = it
            .found
            .iter()
            .map(|it| json!({"at": it.at, "value": value(&it.value), "satisfies": it.satisfies}))
            .collect();
        json!({
            "path": it.path, "wanted": value(&it.wanted), "met": it.met, "by": it.by, "found": found,
            "found_count": it.found_count, "why": it.why,
        })
    };
    let alternative = |it: &explain::Alternative| {
        let conditions: Vec<Value> = it.conditions.iter().map(condition).collect();
        json!({
            "matched": it.matched, "failed": it.failed(), "elements": it.elements, "conditions": conditions,
        })
    };
    let alternatives: Vec<Value> = explanation.alternatives.iter().map(alternative).collect();
    let first = explanation.first.as_ref().map(|first| {
        let path = &explanation.alternatives[first.alternative].conditions[first.condition].path;
        let mut shown = json!({
            "alternative": first.alternative, "condition": first.condition, "path": path,
        });
        match &first.mend {
            Mend::Write { at } => shown["write"] = at.clone().into(),
            Mend::Remove { at, count } => {
                shown["remove"] = at.clone().into();
                shown["remove_count"] = (*count).into();
            }
        }
        shown
    });
    json!({
        "matched": explanation.matched, "failed": explanation.failed(), "first": first,
        "alternatives": alternatives,
    })
}

/// What is wrong with an event; `None`: nothing.
pub fn event_fault(file: String, event: &str) -> Option<Diagnostic> {
    let error = validate(event.as_bytes(), &Limits::default()).err()?;
    // A file of events one a line, most of the time.
    let several = error.kind == rule_engine::json::JsonErrorKind::Trailing;
    Some(Diagnostic {
        code: "event::json",
        severity: Severity::Error,
        file,
        text: event.into(),
        span: error.offset..error.offset + 1,
        message: format!("the event is not a JSON object: {}", error.kind),
        help: several.then(|| "give one event alone".into()),
    })
}

/// Shows faults of what was given.
pub fn show_faults(faults: &[Diagnostic], json: bool) -> u8 {
    if json {
        let faults: Vec<Value> = faults.iter().map(Diagnostic::to_json).collect();
        say!("{}", json!({"diagnostics": faults}));
    } else {
        for fault in faults {
            eprint!("{}", fault.report(colours(&std::io::stderr())));
        }
    }
    USAGE
}
