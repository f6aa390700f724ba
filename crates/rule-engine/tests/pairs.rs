//! Does the language behave as the reference says? Every pair of `fixtures/patterns/pairs.jsonl`
//! on both matchers, and enough of each kind in the file to mean something.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use rule_engine::json::{self, Limits};
use rule_engine::{Pattern, RuleSet, oracle};
use serde_json::Value;

struct Case {
    pattern: String,
    event: Option<String>,
    verdict: String,
}

fn cases() -> Vec<Case> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fixtures/patterns/pairs.jsonl"
    );
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().map(|line| {
        let case: Value = serde_json::from_str(line).unwrap();
        Case {
            pattern: case["p"].as_str().unwrap().to_owned(),
            event: case["e"].as_str().map(str::to_owned),
            verdict: case["r"].as_str().unwrap().to_owned(),
        }
    });
    lines.collect()
}

#[track_caller]
fn check(case: &Case) {
    let Case {
        pattern,
        event,
        verdict,
    } = case;
    let parsed = match (Pattern::parse(pattern), verdict.strip_prefix("INVALID ")) {
        (Ok(parsed), None) => parsed,
        (Err(error), Some(reason)) => {
            let message = error.to_string();
            // The words for what is not JSON are each parser's own.
            if !reason.starts_with("not JSON") {
                assert_eq!(message, reason, "{pattern}");
            }
            assert!(pattern.get(error.span()).is_some(), "{pattern}: span");
            return;
        }
        (parsed, _) => panic!("{pattern}: {parsed:?}, but the reference says {verdict}"),
    };
    let Some(event) = event else {
        assert_eq!(verdict, "VALID", "{pattern}");
        return;
    };
    let bytes = event.as_bytes();
    let valid = json::validate(bytes, &Limits::default());
    let found = oracle::matches(&parsed, bytes);
    if verdict == "EVENT-INVALID" {
        assert!(valid.is_err(), "{event}");
        assert!(found.is_err(), "{event}");
        return;
    }
    assert_eq!(valid, Ok(()), "{event}");
    let expected = verdict == "MATCH";
    assert_eq!(found, Ok(expected), "oracle: {pattern} {event}");
    let mut set = RuleSet::new();
    // The reference counts every repeat of a name.
    set.stop_early(false);
    set.add((), &parsed);
    let mut out = Vec::new();
    set.matches(bytes, &mut out);
    assert_eq!(!out.is_empty(), expected, "rule set: {pattern} {event}");
}

#[test]
fn every_pair_has_the_verdict_of_the_reference() {
    for case in cases() {
        check(&case);
    }
}

#[test]
fn rules_held_together_answer_as_each_alone() {
    let cases = cases();
    let good: Vec<(Pattern, &Case)> = cases
        .iter()
        .filter(|case| ["MATCH", "no"].contains(&case.verdict.as_str()))
        .map(|case| (Pattern::parse(&case.pattern).unwrap(), case))
        .collect();
    let mut out = Vec::new();
    for together in good.chunks(20) {
        let mut set = RuleSet::new();
        set.stop_early(false);
        for (id, (pattern, _)) in together.iter().enumerate() {
            set.add(id, pattern);
        }
        for (_, case) in together {
            let event = case.event.as_deref().unwrap().as_bytes();
            set.matches(event, &mut out);
            let expected: Vec<usize> = (0..together.len())
                .filter(|id| oracle::matches(&together[*id].0, event).unwrap())
                .collect();
            assert_eq!(out, expected, "{:?}", case.event);
        }
    }
}

#[test]
fn the_pairs_cover_each_operator_both_ways_and_each_refusal() {
    let cases = cases();
    assert!(20_000 <= cases.len(), "{}", cases.len());
    let mut counts: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    let mut verdicts = [0, 0];
    let mut refusals = BTreeSet::new();
    for case in &cases {
        if let Some(reason) = case.verdict.strip_prefix("INVALID ") {
            refusals.insert(reason.to_owned());
        }
        let which = match case.verdict.as_str() {
            "no" => 0,
            "MATCH" => 1,
            _ => continue,
        };
        verdicts[which] += 1;
        let pattern: Value = serde_json::from_str(&case.pattern).unwrap();
        let mut kinds = BTreeSet::new();
        kinds_of(&pattern, &mut kinds);
        let event: Value = serde_json::from_str(case.event.as_deref().unwrap()).unwrap();
        if has_array_of_containers(&event) {
            kinds.insert("array of containers in the event".to_owned());
        }
        for kind in kinds {
            counts.entry(kind).or_default()[which] += 1;
        }
    }
    println!("no, match: {verdicts:?}; {counts:?}");
    assert!(verdicts[0] <= verdicts[1], "{verdicts:?}");
    for kind in [
        "string",
        "number",
        "literal",
        "$or",
        "dotted name",
        "exactly",
        "prefix",
        "suffix",
        "equals-ignore-case",
        "wildcard",
        "numeric",
        "exists true",
        "exists false",
        "cidr",
        "anything-but",
        "prefix equals-ignore-case",
        "suffix equals-ignore-case",
        "anything-but prefix",
        "anything-but suffix",
        "anything-but equals-ignore-case",
        "anything-but wildcard",
        "array of containers in the event",
    ] {
        let found = counts.get(kind).copied().unwrap_or_default();
        assert!(200 <= found[0] && 200 <= found[1], "{kind}: {found:?}");
    }
    for reason in REFUSALS {
        let found = refusals.iter().any(|refusal| refusal.contains(reason));
        assert!(found, "no pair is refused with: {reason}");
    }
}

fn kinds_of(pattern: &Value, kinds: &mut BTreeSet<String>) {
    for (name, value) in pattern.as_object().unwrap() {
        if name.contains('.') {
            kinds.insert("dotted name".to_owned());
        }
        match value {
            Value::Array(members) if name == "$or" => {
                kinds.insert(name.clone());
                members.iter().for_each(|member| kinds_of(member, kinds));
            }
            Value::Array(items) => kinds.extend(items.iter().map(kind_of)),
            _ => kinds_of(value, kinds),
        }
    }
}

fn kind_of(item: &Value) -> String {
    match item {
        Value::String(_) => "string".to_owned(),
        Value::Number(_) => "number".to_owned(),
        Value::Object(operator) => {
            let (name, operand) = operator.iter().next().unwrap();
            match operand {
                Value::Object(inner) => format!("{name} {}", inner.keys().next().unwrap()),
                Value::Bool(there) => format!("{name} {there}"),
                _ => name.clone(),
            }
        }
        _ => "literal".to_owned(),
    }
}

fn has_array_of_containers(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.values().any(has_array_of_containers),
        Value::Array(items) => items.iter().any(|it| it.is_object() || it.is_array()),
        _ => false,
    }
}

/// The fixed part of each refusal of event-patterns.md 5.2.
const REFUSALS: [&str; 53] = [
    "Filter is not an object",
    "not JSON",
    "Empty objects are not allowed",
    "Empty arrays are not allowed",
    "\" must be an object or an array",
    "Match value must be String, number, true, false, or null",
    "Match expression name not found",
    "Unrecognized match type ",
    "Only one key allowed in match expression",
    "exact match pattern must be a string",
    "prefix match pattern must be a string",
    "suffix match pattern must be a string",
    "Prefix expression name not found",
    "Suffix expression name not found",
    "Unsupported prefix pattern: ",
    "Unsupported suffix pattern: ",
    "equals-ignore-case match pattern must be a string",
    "exists match pattern must be either true or false.",
    "wildcard match pattern must be a string",
    "Consecutive wildcard characters at pos ",
    "Invalid escape character at pos ",
    "Value of numeric must be an array.",
    "Invalid member in numeric match: ",
    "Unrecognized numeric range operator: ",
    "Value of equals must be numeric",
    "Value of < must be numeric",
    "Too many elements in numeric expression",
    "Bad value in numeric range: ",
    "Bad numeric range operator: ",
    "Too many terms in numeric range expression",
    "Bottom must be less than top",
    "Cannot compare number : ",
    "Value of anything-but must be an array or single string/number value.",
    "Anything-But expression name not found",
    "Unsupported anything-but pattern: ",
    "Inside anything but list, start|null|boolean is not supported.",
    "Inside anything but list, either all values are number or string, mixed type is not supported",
    "prefix/suffix match pattern must be a string",
    "Null prefix/suffix not allowed",
    "Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported.",
    "Malformed CIDR, one '/' required",
    "Malformed CIDR, mask bits must be an integer",
    "Malformed CIDR, mask bits must not be negative",
    "Nonstandard IP address: ",
    "Invalid IP address: ",
    "IPv4 mask bits must be < 32",
    "IPv6 mask bits must be < 128",
    "It must be an Array followed with $or.",
    "Only JSON object is allowed in array of $or relationship.",
    "There must have at least 2 Objects in $or relationship.",
    "more than 1000 rule combinations",
    " is Ruler reserved fieldName which cannot be used inside $or.",
    "Rule is too complex - try using fewer wildcard characters or fewer repeating character sequences",
];
