//! Matching allocates nothing once it is warm: what it needs of memory it keeps.

#![allow(clippy::unwrap_used, reason = "a test may")]

use allocation_counter::measure;
use rule_engine::explain::explain;
use rule_engine::{Pattern, RuleSet};

#[allow(dead_code, reason = "the kinds of a pair are counted elsewhere")]
mod generator;

use generator::{Generator, Theme};

const RULES: u32 = 1_000;

/// Each way an event can be long, deep or written oddly, by name.
const EVENTS: [(&str, &str); 7] = [
    (
        "envelope",
        r#"{"version":"0","id":"1","detail-type":"Order Placed","source":"acme.orders","account":"1","time":"2026-01-02T03:04:05Z","region":"eu","resources":["arn:a","arn:b"],"detail":{"a":{"b":1},"c":[1,2,3],"d":"x"}}"#,
    ),
    (
        "no rule",
        r#"{"x":{"y":[1,2,{"z":null}]},"w":"nobody asks"}"#,
    ),
    (
        "escapes",
        r#"{"\u0061":"\u0061cme.\/orders \ud83d\ude00","source":"ac\u006de.orders","detail":{"\u0064":"\n\\\""}}"#,
    ),
    (
        "rows",
        r#"{"a":[{"b":1,"c":2},{"b":2,"c":[{"b":1},{"e":3}]},{"e":1}],"d":[{"b":1},{"c":3,"e":2}]}"#,
    ),
    (
        "numbers",
        r#"{"a":3.0e2,"b":-0,"c":1e400,"d":9007199254740993,"e":[0.1,1E-1]}"#,
    ),
    (
        "addresses",
        r#"{"source":"10.0.0.1","a":"2001:db8::1","b":["010.0.0.255","::ffff:a00:1"]}"#,
    ),
    (
        "other letters",
        r#"{"a":"ẞΣσς İ","b":"ÉÉÉ","c":["ŉ","DŽ"]}"#,
    ),
];

#[test]
fn no_event_allocates_once_the_set_is_warm() {
    for (seed, theme) in (0..).zip(Theme::ALL) {
        let mut generator = Generator::new(seed, theme);
        let mut set = RuleSet::new();
        let mut events: Vec<(String, String)> = EVENTS
            .iter()
            .map(|(name, event)| ((*name).to_owned(), (*event).to_owned()))
            .collect();
        for id in 0..RULES {
            let pair = generator.pair();
            // The service's limit on wildcards turns a few down.
            if let Ok(pattern) = Pattern::parse(&pair.pattern)
                && !asks_for_absence(&pattern)
            {
                set.add(id, &pattern);
            }
            // A repeated name may lead one path through two arrays, which takes a search as well.
            if id < 200 && !pair.kinds.has(generator::Kind::Repeat) {
                events.push((format!("generated {id}"), pair.event));
            }
        }
        let mut out = Vec::new();
        for _ in 0..2 {
            for (_, event) in &events {
                set.matches(event.as_bytes(), &mut out);
            }
        }
        let mut found = Vec::new();
        for (name, event) in &events {
            let counted = measure(|| set.matches(event.as_bytes(), &mut out));
            if counted.count_total != 0 {
                found.push(format!("{} by {name}: {event}", counted.count_total));
            }
        }
        let of = events.len();
        let count = found.len();
        assert_eq!(count, 0, "of {of}, {theme:?}:\n{}", found.join("\n"));
    }
}

/// Absence beside much else may take a search of the arrays, which allocates; the plain cases have
/// a test of their own.
fn asks_for_absence(pattern: &Pattern) -> bool {
    let explanation = explain(pattern, b"{}").unwrap();
    let mut alternatives = explanation.alternatives.iter();
    alternatives.any(|alternative| {
        let mut conditions = alternative.conditions.iter();
        conditions.any(|condition| condition.wanted.contains(r#"{"exists":false}"#))
    })
}

#[test]
fn absence_inside_of_arrays_allocates_nothing() {
    let mut set = RuleSet::new();
    for (id, pattern) in [
        r#"{"a":{"b":[1],"c":[{"exists":false}]}}"#,
        r#"{"a":{"b":[{"exists":false}],"c":[1]}}"#,
        r#"{"a":{"b":[1],"c":{"d":[2],"e":[{"exists":false}]}}}"#,
    ]
    .iter()
    .enumerate()
    {
        set.add(id, &Pattern::parse(pattern).unwrap());
    }
    let event = br#"{"a":[{"b":1,"c":[{"d":2,"e":3},{"d":2}]},{"b":1},{"c":1}]}"#;
    let mut out = Vec::new();
    for _ in 0..2 {
        set.matches(event, &mut out);
    }
    let counted = measure(|| set.matches(event, &mut out));
    assert_eq!((counted.count_total, &*out), (0, &[0, 2][..]));
}

#[test]
fn allocations_are_counted() {
    let counted = measure(|| drop(std::hint::black_box(vec![1_u8])));
    assert_eq!(counted.count_total, 1);
}
