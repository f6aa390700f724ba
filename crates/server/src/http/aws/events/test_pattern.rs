//! `TestEventPattern`: an envelope and a pattern, matched as a rule would.
//! Source: eventbridge-api.md 5.4.

use super::Fault;
use super::members::Object;
use super::rules::{PATTERN, parse_pattern};
use crate::http::Doors;
use crate::http::aws::constraints::Constraints;
use rule_engine::RuleSet;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::HashMap;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Members that an envelope must have for the test.
const NEEDED: [&str; 6] = ["id", "account", "source", "time", "region", "detail-type"];

/// Answers a call.
pub(super) fn test(doors: &Doors, call: &Object<'_>) -> Result<Value, Fault> {
    let pattern = call.text("EventPattern")?;
    let event = call.text("Event")?;
    let mut constraints = Constraints::default();
    constraints.required_text("eventPattern", pattern.as_deref(), &PATTERN);
    constraints.required("event", event.as_deref());
    constraints.finish().map_err(Fault::validation)?;
    let event = event.unwrap_or_default();
    check_event(&event)?;
    let pattern = parse_pattern(doors, &pattern.unwrap_or_default())?;
    let mut set = RuleSet::new();
    set.add(0_u32, &pattern);
    let mut matched = Vec::new();
    set.matches(event.as_bytes(), &mut matched);
    Ok(json!({ "Result": !matched.is_empty() }))
}

fn check_event(event: &str) -> Result<(), Fault> {
    let invalid = || Fault::validation("Parameter Event is not valid.");
    if event.is_empty() {
        return Err(invalid());
    }
    rule_engine::json::validate(event.as_bytes(), &Default::default()).map_err(|_| invalid())?;
    // Members may stand twice in an event, so this is not read as a call is.
    let event: HashMap<String, &RawValue> = serde_json::from_str(event).map_err(|_| invalid())?;
    if NEEDED.iter().any(|name| !event.contains_key(*name)) {
        return Err(invalid());
    }
    let time: String = serde_json::from_str(event["time"].get()).unwrap_or_default();
    match OffsetDateTime::parse(&time, &Rfc3339) {
        Ok(_) => Ok(()),
        Err(_) => Err(Fault::validation(
            "Parameter Event is not valid. Reason: Invalid time.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(event: &str, expected: &str) {
        assert_eq!(check_event(event).unwrap_err().message, expected);
    }

    #[test]
    fn an_event_needs_six_members_and_a_time() {
        check("nope", "Parameter Event is not valid.");
        check("[1]", "Parameter Event is not valid.");
        check("{}", "Parameter Event is not valid.");
        let event = |time: &str| {
            format!(
                r#"{{"id":"1","account":"0","source":"s","time":"{time}","region":"r","detail-type":"t"}}"#
            )
        };
        check(
            &event("noon"),
            "Parameter Event is not valid. Reason: Invalid time.",
        );
        assert!(check_event(&event("2026-11-23T12:00:00Z")).is_ok());
    }
}
