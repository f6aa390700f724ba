//! What must hold for any bytes. `fuzz_targets` feeds these functions without end; the test
//! `fuzz_seeds` of `rule-engine` feeds them the seeds, so that the ordinary suite holds them.

use rule_engine::json::{self, JsonErrorKind, Limits};
use rule_engine::pattern::Options;
use rule_engine::{Pattern, RuleSet, oracle};
use serde_json::value::RawValue;

/// Events that a pattern out of nowhere may meet.
const EVENTS: [&str; 4] = [
    "{}",
    r#"{"a":[{"b":1,"c":"x"},{"b":"10.0.0.1","c":null}],"a.b":[[]],"":""}"#,
    r#"{"source":"acme.orders","detail-type":"Order","detail":{"a":[1,-0,1e400]}}"#,
    r#"{"a":"ẞé😀*\\","b":["::1","SS",3.0e2,true]}"#,
];

/// Patterns that an event out of nowhere may meet.
const PATTERNS: [&str; 10] = [
    r#"{"a":[{"exists":false}]}"#,
    r#"{"a":{"b":[1,{"prefix":"a"}],"c":[{"exists":false}]}}"#,
    r#"{"a":{"b":[{"numeric":[">",0,"<=",300]}],"c":[{"anything-but":"x"}]}}"#,
    r#"{"a.b.c":[null,true],"b":[{"suffix":{"equals-ignore-case":"É"}}]}"#,
    r#"{"source":["acme.orders"],"detail":{"a":[{"wildcard":"*a*b\\**"}]}}"#,
    r#"{"source":["acme.orders","x"],"detail-type":["Order"]}"#,
    r#"{"$or":[{"a":[{"cidr":"10.0.0.0/8"}]},{"b":{"c":["::1"]}},{"":[""]}]}"#,
    r#"{"b":[{"anything-but":{"wildcard":"*x*"}}]}"#,
    r#"{"\ud83d\ude00":[{"prefix":{"equals-ignore-case":"ß"}}],"\ue000":[{"exists":false}]}"#,
    r#"{"a":[9007199254740993,{"anything-but":[9007199254740992]}]}"#,
];

/// Any bytes as a pattern: read or refused with a place inside the text, and what is read can be
/// asked.
pub fn pattern(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let free = Options {
        complexity_limit: None,
    };
    match (Pattern::parse(text), Pattern::parse_with(text, &free)) {
        (Ok(_), free) => {
            let pattern = free.expect("what the service takes is taken without its limit");
            for event in EVENTS {
                agree(&[(text, pattern.clone())], event.as_bytes());
            }
        }
        (Err(error), free) => {
            assert!(text.get(error.span()).is_some(), "{:?}", error.span());
            let too_complex = error.to_string().contains("too complex");
            assert!(free.is_err() || too_complex, "{error}");
        }
    }
}

/// Any bytes as an event: taken or refused as `serde_json` does, but for what we refuse besides;
/// matching never panics, and what was taken is matched as the oracle does.
pub fn event(bytes: &[u8]) {
    let limits = Limits::default();
    let verdict = json::validate(bytes, &limits);
    let text = std::str::from_utf8(bytes);
    let begins = bytes.trim_ascii_start().first().copied();
    match verdict.map_err(|error| error.kind) {
        Ok(()) => {
            assert_eq!(begins, Some(b'{'));
            let text = text.expect("JSON is UTF-8");
            assert!(serde_json::from_str::<&RawValue>(text).is_ok());
        }
        Err(JsonErrorKind::Utf8) => assert!(text.is_err()),
        Err(JsonErrorKind::NotAnObject) => assert_ne!(begins, Some(b'{')),
        Err(JsonErrorKind::Depth(most)) => {
            let opening = bytes.iter().filter(|byte| b"[{".contains(byte)).count();
            assert!(most < opening);
        }
        Err(JsonErrorKind::Names(most)) => {
            let colons = bytes.iter().filter(|byte| **byte == b':').count();
            assert!(most < colons);
        }
        // `RawValue` lets lone surrogates pass; a reader of strings does not.
        Err(JsonErrorKind::Surrogate) => {
            assert!(serde_json::from_slice::<serde_json::Value>(bytes).is_err());
        }
        Err(kind) => {
            let other = text.map(serde_json::from_str::<&RawValue>);
            assert!(!matches!(other, Ok(Ok(_))), "{kind}");
        }
    }
    let rules = PATTERNS.map(|text| (text, Pattern::parse(text).expect("a good pattern")));
    if verdict.is_ok() {
        agree(&rules, bytes);
    } else {
        let mut set = RuleSet::new();
        for (id, (_, pattern)) in rules.iter().enumerate() {
            set.add(id, pattern);
        }
        set.matches(bytes, &mut Vec::new());
    }
}

/// Lines of patterns, the last line an event: a set of all of them answers as each alone, and so
/// does the set of those left when every other one has gone.
pub fn rules(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Some((patterns, event)) = text.rsplit_once('\n') else {
        return;
    };
    let free = Options {
        complexity_limit: None,
    };
    let rules: Vec<(&str, Pattern)> = patterns
        .lines()
        .filter_map(|line| Some((line, Pattern::parse_with(line, &free).ok()?)))
        .collect();
    if !rules.is_empty() {
        agree(&rules, event.as_bytes());
    }
}

/// Asks a set of one rule or more, then again with every other rule gone.
fn agree(rules: &[(&str, Pattern)], event: &[u8]) {
    let mut set = RuleSet::new();
    for (id, (_, pattern)) in rules.iter().enumerate() {
        assert!(set.add(id, pattern));
    }
    read_whole(&mut set);
    let holds = |id: &usize| oracle::matches(&rules[*id].1, event);
    // What is no event, the oracle says; that a set does not fall over it is all we ask.
    if holds(&0).is_err() {
        set.matches(event, &mut Vec::new());
        return;
    }
    let mut out = Vec::new();
    let mut left: Vec<usize> = (0..rules.len()).collect();
    for step in [1, 2] {
        set.matches(event, &mut out);
        let expected: Vec<usize> = left
            .iter()
            .copied()
            .filter(|id| holds(id).expect("an event for one is an event for all"))
            .collect();
        assert_eq!(out, expected, "{rules:?} {}", event.escape_ascii());
        if step == 1 {
            for id in (0..rules.len()).step_by(2) {
                assert!(set.remove(id));
            }
            left.retain(|id| id % 2 == 1);
        }
    }
}

/// An event may spell a path twice, so the set has to read it to its end.
fn read_whole(set: &mut RuleSet<usize>) {
    set.stop_early(false);
}
