//! What the lint claims of a pattern is true of every event: on the pairs of
//! `fixtures/patterns/pairs.jsonl`, and on patterns built from generated envelopes.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::collections::BTreeMap;
use std::fs;

use fastrand::Rng;
use rule_engine::lint::{
    EMPTY_RANGE, EXCLUDES_NOTHING, IMPOSSIBLE_PATTERN, IMPOSSIBLE_VALUE, MATCHES_EVERYTHING, lint,
};
use rule_engine::pattern::{Options, Pattern};
use rule_engine::{Diagnostic, oracle};
use serde_json::{Value, json};

fn matches(pattern: &str, event: &str) -> bool {
    let options = Options {
        complexity_limit: None,
    };
    let pattern = Pattern::parse_with(pattern, &options).unwrap();
    oracle::matches(&pattern, event.as_bytes()).unwrap()
}

/// Holds each claim about `pattern` against one event; counts the claims by code.
fn check(pattern: &str, event: &str, claims: &mut BTreeMap<&'static str, usize>) {
    for warning in lint(pattern).unwrap() {
        let Diagnostic {
            code,
            span,
            path,
            message,
            ..
        } = warning;
        let under = &pattern[span];
        let path = Value::from(path);
        let matches_one = |list: &str| matches(&format!("{{{path}:{list}}}"), event);
        match code {
            IMPOSSIBLE_PATTERN => {
                assert!(!matches(pattern, event), "impossible: {pattern} {event}");
            }
            MATCHES_EVERYTHING => assert!(matches(pattern, event), "all: {pattern} {event}"),
            // Under a name where no event has a value, whatever was asked.
            IMPOSSIBLE_VALUE if message.starts_with("no event has a value") => {
                let there = matches_one(r#"[{"exists":true}]"#);
                assert!(!there, "{path}: {pattern} {event}");
            }
            IMPOSSIBLE_VALUE | EMPTY_RANGE => {
                let found = matches_one(&format!("[{under}]"));
                assert!(!found, "{under}: {pattern} {event}");
            }
            EXCLUDES_NOTHING => {
                let all = if message.contains("every number") {
                    r#"[{"numeric":["<",0]},{"numeric":[">=",0]}]"#
                } else {
                    r#"[{"exists":true}]"#
                };
                let found = matches_one(under) || !matches_one(all);
                assert!(found, "{under}: {pattern} {event}");
            }
            _ => continue,
        }
        *claims.entry(code).or_default() += 1;
    }
}

/// The fixtures' events are no envelopes, but anything may lie below `detail`.
#[test]
fn no_claim_is_false_of_a_pair() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fixtures/patterns/pairs.jsonl"
    );
    let mut claims = BTreeMap::new();
    let mut matched = 0;
    for line in fs::read_to_string(path).unwrap().lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let verdict = case["r"].as_str().unwrap();
        if !["MATCH", "no"].contains(&verdict) {
            continue;
        }
        let below = |text: &str| format!("{{\"detail\":{text}}}");
        let pattern = below(case["p"].as_str().unwrap());
        let event = below(case["e"].as_str().unwrap());
        assert_eq!(
            matches(&pattern, &event),
            verdict == "MATCH",
            "{pattern} {event}"
        );
        check(&pattern, &event, &mut claims);
        matched += usize::from(verdict == "MATCH");
    }
    assert!(5_000 < matched, "{matched}");
    println!("{claims:?}");
}

#[test]
fn no_claim_is_false_of_a_generated_envelope() {
    let mut random = Rng::with_seed(4);
    let mut claims = BTreeMap::new();
    let mut matched = 0;
    for _ in 0..60_000 {
        let event = envelope(&mut random);
        let pattern = pattern(&mut random, &event).to_string();
        let event = event.to_string();
        check(&pattern, &event, &mut claims);
        matched += usize::from(matches(&pattern, &event));
    }
    println!("{matched} matched; {claims:?}");
    assert!(20_000 < matched, "{matched}");
    for code in [
        IMPOSSIBLE_PATTERN,
        IMPOSSIBLE_VALUE,
        EMPTY_RANGE,
        MATCHES_EVERYTHING,
        EXCLUDES_NOTHING,
    ] {
        assert!(200 < claims[code], "{code}: {claims:?}");
    }
}

const TEXTS: [&str; 12] = [
    "", "a", "ab", "abc", "ba", "AB", "é", "0", "1", "*", "10.0.0.1", "::1",
];
const NUMBERS: [&str; 10] = [
    "0",
    "-1",
    "1",
    "1.0",
    "1.0000000000000002",
    "2.5",
    "4.9e-324",
    "1.7976931348623157e308",
    "1e400",
    "9007199254740993",
];
const NAMES: [&str; 5] = ["a", "b", "a.b", "", "source"];
const STRINGS: [&str; 6] = ["id", "detail-type", "source", "account", "time", "region"];

fn pick<'a>(random: &mut Rng, words: &[&'a str]) -> &'a str {
    words[random.usize(..words.len())]
}

fn text(random: &mut Rng) -> Value {
    pick(random, &TEXTS).into()
}

fn number(random: &mut Rng) -> Value {
    serde_json::from_str(pick(random, &NUMBERS)).unwrap()
}

fn scalar(random: &mut Rng) -> Value {
    match random.u8(..8) {
        0 => Value::Null,
        1 => random.bool().into(),
        2..=4 => number(random),
        _ => text(random),
    }
}

/// An event as a bus stores it.
fn envelope(random: &mut Rng) -> Value {
    let mut event = json!({ "version": "0" });
    for name in STRINGS {
        event[name] = text(random);
    }
    event["resources"] = (0..random.usize(..3)).map(|_| text(random)).collect();
    event["detail"] = object(random, 3);
    event
}

fn object(random: &mut Rng, depth: usize) -> Value {
    let mut object = json!({});
    for _ in 0..random.usize(..4) {
        object[pick(random, &NAMES)] = value(random, depth);
    }
    object
}

fn value(random: &mut Rng, depth: usize) -> Value {
    match random.u8(..10) {
        0..2 if 0 < depth => object(random, depth - 1),
        2..5 if 0 < depth => (0..random.usize(..4))
            .map(|_| value(random, depth - 1))
            .collect(),
        _ => scalar(random),
    }
}

/// The path and the value of every field.
fn fields(value: &Value, path: &str, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let below = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                fields(value, &below, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| fields(item, path, found)),
        scalar => found.push((path.to_owned(), scalar.clone())),
    }
}

/// One that often matches the event it is built from.
fn pattern(random: &mut Rng, event: &Value) -> Value {
    let mut found = Vec::new();
    fields(event, "", &mut found);
    let mut pattern = json!({});
    for _ in 0..random.usize(1..4) {
        let (path, list) = condition(random, &found);
        pattern[path] = list;
    }
    if random.u8(..6) == 0 {
        let objects: Vec<Value> = (0..2)
            .map(|_| {
                let (path, list) = condition(random, &found);
                json!({ path: list })
            })
            .collect();
        pattern["$or"] = objects.into();
        if random.bool() {
            let (path, list) = condition(random, &found);
            pattern[path] = list;
        }
    }
    pattern
}

fn condition(random: &mut Rng, found: &[(String, Value)]) -> (String, Value) {
    let (mut path, value) = found[random.usize(..found.len())].clone();
    if random.u8(..20) == 0 {
        let odd = [
            "detail",
            "sources",
            "source.a",
            "resources.a",
            "detail.c",
            "replay-name",
            "",
        ];
        path = pick(random, &odd).to_owned();
    }
    let count = [1, 1, 1, 2, 2, 3][random.usize(..6)];
    let list = (0..count).map(|_| item(random, &value)).collect();
    (path, list)
}

fn item(random: &mut Rng, value: &Value) -> Value {
    let texts = |random: &mut Rng| match (random.bool(), value) {
        (true, Value::String(text)) => text.clone(),
        _ => pick(random, &TEXTS).to_owned(),
    };
    let escaped = |text: &str| text.replace('*', "\\*");
    let word = texts(random);
    let cut = {
        let cuts: Vec<usize> = (0..=word.len())
            .filter(|at| word.is_char_boundary(*at))
            .collect();
        cuts[random.usize(..cuts.len())]
    };
    match random.u8(..20) {
        0..4 => value.clone(),
        4 => scalar(random),
        5 => json!({ "exists": random.u8(..3) != 0 }),
        6 => json!({ "prefix": word[..cut] }),
        7 => json!({ "suffix": word[cut..] }),
        8 => json!({ "prefix": { "equals-ignore-case": word[..cut] } }),
        9 => json!({ "suffix": { "equals-ignore-case": word[cut..] } }),
        10 => json!({ "equals-ignore-case": word.to_lowercase() }),
        11 => match random.u8(..3) {
            0 => json!({ "wildcard": "*" }),
            1 => json!({ "wildcard": format!("*{}", escaped(&word[cut..])) }),
            _ => json!({ "wildcard": escaped(&word[..cut]) + "*" }),
        },
        12 => json!({ "exactly": word }),
        13 => json!({ "cidr": pick(random, &["10.0.0.0/8", "0.0.0.0/0", "::/0"]) }),
        14 | 15 => numeric(random, value),
        16 => match random.bool() {
            true => json!({ "anything-but": [word, text(random)] }),
            false => json!({ "anything-but": word }),
        },
        17 => json!({ "anything-but": [comparable(random), comparable(random)] }),
        18 => json!({ "anything-but": { "wildcard": match random.bool() {
            true => "*".to_owned(),
            false => escaped(&word[..cut]) + "*",
        }}}),
        _ => {
            let inner = pick(random, &["prefix", "suffix", "equals-ignore-case"]);
            let word = if word.is_empty() {
                "a".to_owned()
            } else {
                word
            };
            json!({ "anything-but": { inner: [word, "b"] } })
        }
    }
}

/// One of the first numbers of the list, which may stand in an operator.
fn comparable(random: &mut Rng) -> Value {
    serde_json::from_str(pick(random, &NUMBERS[..8])).unwrap()
}

fn numeric(random: &mut Rng, value: &Value) -> Value {
    let limit = match value {
        Value::Number(number) if NUMBERS[..8].contains(&number.as_str()) && random.bool() => {
            value.clone()
        }
        _ => comparable(random),
    };
    match random.u8(..8) {
        0 => json!({ "numeric": ["=", limit] }),
        1 => {
            json!({ "numeric": [">", 1, "<", serde_json::from_str::<Value>("1.0000000000000002").unwrap()] })
        }
        2 => {
            json!({ "numeric": [">=", 1, "<", serde_json::from_str::<Value>("1.0000000000000002").unwrap()] })
        }
        3 => json!({ "numeric": [">=", -1, "<=", 2] }),
        _ => json!({ "numeric": [pick(random, &["<", "<=", ">", ">="]), limit] }),
    }
}
