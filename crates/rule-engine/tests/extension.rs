//! Filters that a caller adds: read by it, asked of it, unknown to everybody else.
#![allow(clippy::unwrap_used, reason = "a test")]

use rule_engine::json::{Node, NodeKind};
use rule_engine::pattern::{Extension, Found, Options};
use rule_engine::{Pattern, RuleSet, oracle};

/// `{"long": n}`: a text or an array of more than `n`, behind `anything-but` too.
#[derive(Default)]
struct Long(Vec<u64>);

impl Extension for Long {
    fn read(&mut self, name: &str, operand: &Node<'_>, _: bool) -> Option<Result<u32, String>> {
        let NodeKind::Number(text) = operand.kind else {
            return (name == "long").then(|| Err("long wants a number".to_owned()));
        };
        (name == "long").then(|| {
            self.0
                .push(text.parse().map_err(|_| "long wants a number".to_owned())?);
            Ok(u32::try_from(self.0.len() - 1).unwrap())
        })
    }
}

#[track_caller]
fn check(pattern: &str, event: &str, expected: bool) {
    let mut long = Long::default();
    let read = Pattern::parse_extended(pattern, &Options::default(), &mut long).unwrap();
    let ask = |filter: u32, found: Found<'_>| match found {
        Found::Text(text) => long.0[filter as usize] < text.len() as u64,
        Found::Length(length) => long.0[filter as usize] < length,
        Found::Other => false,
    };
    let found = oracle::matches_asking(&read, event.as_bytes(), &ask).unwrap();
    assert_eq!(found, expected, "{pattern} {event}");
}

#[test]
fn an_added_filter_is_asked_about_texts_and_lengths() {
    let long = r#"{"a":[{"long":2}]}"#;
    check(long, r#"{"a":"xyz"}"#, true);
    check(long, r#"{"a":"xy"}"#, false);
    check(long, r#"{"a":12345}"#, false);
    check(long, r#"{"a":[1,2,3]}"#, true);
    check(long, r#"{"a":[]}"#, false);
    check(long, "{}", false);
    let short = r#"{"a":[{"anything-but":{"long":2}}]}"#;
    check(short, r#"{"a":"xy"}"#, true);
    check(short, r#"{"a":7}"#, true);
    check(short, r#"{"a":"xyz"}"#, false);
    check(short, r#"{"a":[]}"#, false);
    check(short, "{}", false);
}

#[test]
fn each_filter_of_a_pattern_has_its_own_number() {
    let both = r#"{"a":[{"long":1},"x"],"$or":[{"b":[{"long":3}]},{"c":[{"exists":false}]}]}"#;
    check(both, r#"{"a":"x"}"#, true);
    check(both, r#"{"a":"yy","c":1}"#, false);
    check(both, r#"{"a":"yy","b":"four","c":1}"#, true);
    check(both, r#"{"a":"yy","b":"tri","c":1}"#, false);
}

#[test]
fn a_length_is_no_value_to_the_other_filters() {
    check(r#"{"a":[{"exists":true}]}"#, r#"{"a":[]}"#, false);
    check(r#"{"a":[{"exists":false}]}"#, r#"{"a":[]}"#, true);
    check(
        r#"{"a":[{"long":9},{"exists":false}]}"#,
        r#"{"a":[]}"#,
        true,
    );
    check(r#"{"a":[{"anything-but":1}]}"#, r#"{"a":[[]]}"#, false);
}

#[test]
fn ordinary_patterns_know_no_added_filter() {
    let text = r#"{"a":[{"long":2}]}"#;
    let error = Pattern::parse(text).unwrap_err();
    assert_eq!(error.to_string(), "Unrecognized match type long");
    let mut long = Long::default();
    let bad = r#"{"a":[{"long":"x"}]}"#;
    let error = Pattern::parse_extended(bad, &Options::default(), &mut long).unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), error.span()),
        ("long wants a number", 14..17)
    );
    for text in [r#"{"a":[{"long":2,"b":1}]}"#, r#"{"a":[{"short":2}]}"#] {
        assert!(Pattern::parse_extended(text, &Options::default(), &mut long).is_err());
    }
    // Where nobody can be asked it is never met.
    let read = Pattern::parse_extended(text, &Options::default(), &mut long).unwrap();
    assert!(!oracle::matches(&read, br#"{"a":"xyz"}"#).unwrap());
    let mut set = RuleSet::new();
    set.add(1, &read);
    let mut out = Vec::new();
    set.matches(br#"{"a":"xyz"}"#, &mut out);
    assert!(out.is_empty());
}
