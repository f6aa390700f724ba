//! Rules never influence each other (event-patterns.md 6).
//!
//! event-ruler 2.0.1 keeps one automaton for each path, and some matchers that are put into it
//! take others out: `anything-but` of `equals-ignore-case` is lost behind a wildcard that begins
//! with `*`, a number that is not comparable is lost beside a block of addresses. So here every
//! two matchers stand on one path, in both orders, and one of them is taken away again.

#![allow(clippy::unwrap_used, reason = "a test may")]

use rule_engine::{Pattern, RuleSet, oracle};

/// Items of a leaf: each operator in a few forms that meet in the values below.
const ITEMS: [&str; 58] = [
    r#""""#,
    r#""E""#,
    r#""e""#,
    r#""zz""#,
    r#""10.0.0.1""#,
    r#""::1""#,
    r#""300""#,
    "300",
    "0",
    "0.10000000000000000001",
    "9007199254740993",
    "9007199254740992",
    "true",
    "false",
    "null",
    r#"{"exactly":"10.0.0.1"}"#,
    r#"{"exactly":"E"}"#,
    r#"{"exists":true}"#,
    r#"{"exists":false}"#,
    r#"{"prefix":""}"#,
    r#"{"prefix":"z"}"#,
    r#"{"prefix":"zz"}"#,
    r#"{"prefix":"10.0.0."}"#,
    r#"{"suffix":""}"#,
    r#"{"suffix":"z"}"#,
    r#"{"suffix":".1"}"#,
    r#"{"prefix":{"equals-ignore-case":"e"}}"#,
    r#"{"prefix":{"equals-ignore-case":"Z"}}"#,
    r#"{"suffix":{"equals-ignore-case":"e"}}"#,
    r#"{"suffix":{"equals-ignore-case":"Z"}}"#,
    r#"{"equals-ignore-case":""}"#,
    r#"{"equals-ignore-case":"E"}"#,
    r#"{"equals-ignore-case":"ZZ"}"#,
    r#"{"equals-ignore-case":"ß"}"#,
    r#"{"wildcard":"*"}"#,
    r#"{"wildcard":"*x"}"#,
    r#"{"wildcard":"*z"}"#,
    r#"{"wildcard":"z*"}"#,
    r#"{"wildcard":"*0.0*1"}"#,
    r#"{"wildcard":"e\\*e"}"#,
    r#"{"numeric":["=",300]}"#,
    r#"{"numeric":[">",0]}"#,
    r#"{"numeric":["<=",300]}"#,
    r#"{"numeric":[">=",0,"<",300]}"#,
    r#"{"cidr":"10.0.0.1/31"}"#,
    r#"{"cidr":"10.0.0.0/8"}"#,
    r#"{"cidr":"::/0"}"#,
    r#"{"cidr":"0.0.0.0/0"}"#,
    r#"{"anything-but":"E"}"#,
    r#"{"anything-but":["zz","e"]}"#,
    r#"{"anything-but":300}"#,
    r#"{"anything-but":[0,9007199254740992]}"#,
    r#"{"anything-but":{"prefix":"z"}}"#,
    r#"{"anything-but":{"suffix":["z","1"]}}"#,
    r#"{"anything-but":{"equals-ignore-case":"E"}}"#,
    r#"{"anything-but":{"equals-ignore-case":["ZZ","ss"]}}"#,
    r#"{"anything-but":{"wildcard":"*x"}}"#,
    r#"{"anything-but":{"wildcard":["z*","*1"]}}"#,
];

const EVENTS: [&str; 31] = [
    "{}",
    r#"{"s":[]}"#,
    r#"{"s":""}"#,
    r#"{"s":"E"}"#,
    r#"{"s":"e"}"#,
    r#"{"s":"ex"}"#,
    r#"{"s":"e*e"}"#,
    r#"{"s":"zz"}"#,
    r#"{"s":"ZZ"}"#,
    r#"{"s":"z"}"#,
    r#"{"s":"zx"}"#,
    r#"{"s":"SS"}"#,
    r#"{"s":"ß"}"#,
    r#"{"s":"300"}"#,
    r#"{"s":"10.0.0.1"}"#,
    r#"{"s":"010.0.0.1"}"#,
    r#"{"s":"10.0.0.2"}"#,
    r#"{"s":"10.1.0.1"}"#,
    r#"{"s":"::1"}"#,
    r#"{"s":"0:0:0:0:0:0:0:1"}"#,
    r#"{"s":300}"#,
    r#"{"s":3e2}"#,
    r#"{"s":299.5}"#,
    r#"{"s":-0}"#,
    r#"{"s":0.10000000000000000001}"#,
    r#"{"s":9007199254740993}"#,
    r#"{"s":9007199254740992}"#,
    r#"{"s":true}"#,
    r#"{"s":null}"#,
    r#"{"s":["zz",300]}"#,
    r#"{"s":[{"t":1},"E",false]}"#,
];

/// What each item alone says to each event.
fn alone(patterns: &[Pattern]) -> Vec<Vec<bool>> {
    let answers = |pattern| {
        let answer = |event: &&str| oracle::matches(pattern, event.as_bytes()).unwrap();
        EVENTS.iter().map(answer).collect()
    };
    patterns.iter().map(answers).collect()
}

#[track_caller]
fn check(set: &RuleSet<usize>, rules: &[usize], alone: &[Vec<bool>]) {
    let mut out = Vec::new();
    for (number, event) in EVENTS.iter().enumerate() {
        set.matches(event.as_bytes(), &mut out);
        let mut expected = rules.to_vec();
        expected.retain(|rule| alone[*rule][number]);
        expected.sort_unstable();
        let items: Vec<&str> = rules.iter().map(|rule| ITEMS[*rule]).collect();
        assert_eq!(out, expected, "{event}, rules in order: {items:?}");
    }
}

#[test]
fn any_two_rules_on_one_path_answer_as_each_alone() {
    let patterns: Vec<Pattern> = ITEMS
        .iter()
        .map(|item| Pattern::parse(&format!(r#"{{"s":[{item}]}}"#)).unwrap())
        .collect();
    let alone = alone(&patterns);
    for first in 0..ITEMS.len() {
        for second in (0..ITEMS.len()).filter(|second| *second != first) {
            let mut set = RuleSet::new();
            set.add(first, &patterns[first]);
            set.add(second, &patterns[second]);
            check(&set, &[first, second], &alone);
            set.remove(first);
            check(&set, &[second], &alone);
        }
    }
    let mut set = RuleSet::new();
    let all: Vec<usize> = (0..ITEMS.len()).collect();
    for rule in &all {
        set.add(*rule, &patterns[*rule]);
    }
    check(&set, &all, &alone);
}

#[test]
fn any_two_items_of_one_leaf_answer_as_either_alone() {
    let of = |items: &str| Pattern::parse(&format!(r#"{{"s":[{items}]}}"#)).unwrap();
    let patterns: Vec<Pattern> = ITEMS.iter().map(|item| of(item)).collect();
    let alone = alone(&patterns);
    let mut out = Vec::new();
    for first in 0..ITEMS.len() {
        for second in 0..ITEMS.len() {
            let mut set = RuleSet::new();
            set.add((), &of(&format!("{},{}", ITEMS[first], ITEMS[second])));
            for (number, event) in EVENTS.iter().enumerate() {
                set.matches(event.as_bytes(), &mut out);
                let either = alone[first][number] || alone[second][number];
                let items = [ITEMS[first], ITEMS[second]];
                assert_eq!(!out.is_empty(), either, "{event} {items:?}");
            }
        }
    }
}

#[test]
fn what_event_ruler_loses_is_there() {
    let star = Pattern::parse(r#"{"s":[{"wildcard":"*x"}]}"#).unwrap();
    let but = r#"{"s":[{"anything-but":{"equals-ignore-case":"E"}}]}"#;
    let but = Pattern::parse(but).unwrap();
    let mut set = RuleSet::new();
    set.add(1, &star);
    set.add(2, &but);
    let mut out = Vec::new();
    set.matches(br#"{"s":"zz"}"#, &mut out);
    assert_eq!(out, [2]);
    set.matches(br#"{"s":"zx"}"#, &mut out);
    assert_eq!(out, [1, 2]);
}
