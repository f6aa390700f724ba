//! The plain matcher: one pattern, one event, nothing prepared.
//!
//! It reads the event anew for each call and tries every alternative in turn. It is the
//! statement that faster matchers are compared to, so it stays when they come.

use crate::fields::{Fields, Paths};
use crate::json::{self, JsonError, Limits};
use crate::pattern::{Ask, Pattern};
use crate::seats;

/// True when `event` matches `pattern`.
///
/// Bounds: events up to 1000 levels deep; linear in the event times the conditions, but for
/// events that name one path in several ways, where a search is cut off (see the module `seats`).
/// Source: event-patterns.md 2 to 4.
///
/// # Errors
/// An event that is not one JSON object, or too deep.
pub fn matches(pattern: &Pattern, event: &[u8]) -> Result<bool, JsonError> {
    Ok(verdicts(pattern, event, &|_, _| false)?.contains(&true))
}

/// As [`matches`], for a pattern with filters of the caller's own: `ask` answers for them.
///
/// # Errors
/// As [`matches`].
pub fn matches_asking(pattern: &Pattern, event: &[u8], ask: &Ask<'_>) -> Result<bool, JsonError> {
    Ok(verdicts(pattern, event, ask)?.contains(&true))
}

/// Which of the alternatives of `pattern` match, in their order.
pub(crate) fn verdicts(
    pattern: &Pattern,
    event: &[u8],
    ask: &Ask<'_>,
) -> Result<Vec<bool>, JsonError> {
    let limits = Limits {
        names_max: usize::MAX,
        ..Limits::default()
    };
    json::validate(event, &limits)?;
    let mut paths = Paths::default();
    let numbers: Vec<Vec<u32>> = pattern
        .alternatives()
        .iter()
        .map(|alternative| {
            let leaves = alternative.leaves.iter();
            leaves.map(|leaf| paths.take(&leaf.path)).collect()
        })
        .collect();
    let fields = Fields::of(event, &paths)?;
    Ok(pattern
        .alternatives()
        .iter()
        .zip(&numbers)
        .map(|(alternative, numbers)| {
            seats::matches(alternative, numbers, &fields, &|leaf, value| {
                leaf.holds_asking(value, ask)
            })
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule_set::RuleSet;

    #[track_caller]
    fn check(pattern: &str, event: &str, expected: bool) {
        let parsed = Pattern::parse(pattern).unwrap();
        let found = matches(&parsed, event.as_bytes()).unwrap();
        assert_eq!(found, expected, "oracle: {pattern} {event}");
        let mut set = RuleSet::new();
        set.add((), &parsed);
        let mut out = Vec::new();
        set.matches(event.as_bytes(), &mut out);
        assert_eq!(!out.is_empty(), expected, "rule set: {pattern} {event}");
    }

    #[test]
    fn a_later_leaf_replaces_an_earlier_one() {
        let pattern = r#"{"a":[1],"$or":[{"a":[2]},{"b":[3]}]}"#;
        check(pattern, r#"{"a":2}"#, true);
        check(pattern, r#"{"a":1}"#, false);
        check(pattern, r#"{"a":1,"b":3}"#, true);
        let pattern = r#"{"$or":[{"a":[2]},{"b":[3]}],"a":[1]}"#;
        check(pattern, r#"{"a":1}"#, true);
        check(pattern, r#"{"a":2}"#, false);
        check(r#"{"a":{"b":[1]},"a.b":[2]}"#, r#"{"a":{"b":2}}"#, true);
        check(r#"{"a":{"b":[1]},"a.b":[2]}"#, r#"{"a":{"b":1}}"#, false);
        check(r#"{"a":[1],"a":[2]}"#, r#"{"a":1}"#, false);
    }

    #[test]
    fn fields_agree_about_array_elements() {
        let anna = r#"{"e":[{"f":"Anna","l":"Smith"},{"f":"Bob","l":"Jones"}]}"#;
        check(r#"{"e":{"f":["Anna"],"l":["Jones"]}}"#, anna, false);
        check(r#"{"e":{"f":["Anna"],"l":["Smith"]}}"#, anna, true);
        check(
            r#"{"a":{"b":{"x":[1],"y":[2]}}}"#,
            r#"{"a":[{"b":[{"x":1},{"y":2}]}]}"#,
            false,
        );
        check(
            r#"{"a":{"b":{"x":[1]},"c":{"y":[2]}}}"#,
            r#"{"a":[{"b":[{"x":1}],"c":[{"y":2}]}]}"#,
            true,
        );
        check(r#"{"a":[1],"b":[2]}"#, r#"{"a":[1,2],"b":[3,2]}"#, true);
        check(r#"{"a":{"b":[1]}}"#, r#"{"a":[5,{"b":1}]}"#, true);
        check(r#"{"a":[5],"a.b":[1]}"#, r#"{"a":[5,{"b":1}]}"#, true);
        check(r#"{"a":[5],"a.b":[1]}"#, r#"{"a":[[5],{"b":1}]}"#, false);
    }

    #[test]
    fn absence_is_judged_by_what_was_chosen_before_it() {
        let event = r#"{"a":[{"b":1},{"c":1}]}"#;
        check(r#"{"a":{"b":[1],"c":[{"exists":false}]}}"#, event, true);
        check(r#"{"a":{"b":[{"exists":false}],"c":[1]}}"#, event, false);
    }

    #[test]
    fn paths_are_taken_in_the_order_of_utf_16() {
        // By bytes U+E000 would come before U+1F600.
        let event = "{\"a\":[{\"\u{1f600}\":1},{\"\u{e000}\":1}]}";
        let there = r#"[1]"#;
        let absent = r#"[{"exists":false}]"#;
        let pattern = |first: &str, second: &str| {
            format!("{{\"a\":{{\"\u{1f600}\":{first},\"\u{e000}\":{second}}}}}")
        };
        check(&pattern(there, absent), event, true);
        check(&pattern(absent, there), event, false);
    }

    #[test]
    fn exists_asks_for_leaves() {
        check(r#"{"a":[{"exists":true}]}"#, r#"{"a":null}"#, true);
        check(r#"{"a":[{"exists":true}]}"#, r#"{"a":{"b":1}}"#, false);
        check(r#"{"a":[{"exists":false}]}"#, r#"{"a":{"b":1}}"#, true);
        check(r#"{"a":{"b":[{"exists":false}]}}"#, "{}", true);
        check(r#"{"a":[{"exists":true}]}"#, r#"{"a":[]}"#, false);
        check(r#"{"a":[{"exists":true}]}"#, r#"{"a":[{},[[]]]}"#, false);
        check(r#"{"a":[null]}"#, r#"{"a":[]}"#, false);
        check(r#"{"a":[{"exists":false},1]}"#, r#"{"a":1}"#, true);
        check(r#"{"a":[{"exists":false},1]}"#, "{}", true);
        check(r#"{"a":[{"exists":false},1]}"#, r#"{"a":2}"#, false);
    }

    #[test]
    fn names_are_compared_as_joined_unescaped_text() {
        check(r#"{"a":{"b":[1]}}"#, r#"{"a.b":1}"#, true);
        check(r#"{"a.b":[1]}"#, r#"{"a":{"b":1}}"#, true);
        check(r#"{"\u0061":[1]}"#, r#"{"a":1}"#, true);
        check(r#"{"a":[1]}"#, r#"{"\u0061":1}"#, true);
        check(r#"{"a":[1]}"#, r#"{"A":1}"#, false);
        check(r#"{"a":{"":[1]}}"#, r#"{"a":{"":1}}"#, true);
        check(r#"{"":[1]}"#, r#"{"":1}"#, true);
        check(r#"{"a":[1],"a":[2]}"#, r#"{"a":2,"a":3}"#, true);
    }

    #[test]
    fn literals_and_numbers() {
        check(r#"{"a":[300]}"#, r#"{"a":3.0e2}"#, true);
        check(r#"{"a":[0]}"#, r#"{"a":-0}"#, true);
        check(
            r#"{"a":[9007199254740993]}"#,
            r#"{"a":9007199254740993}"#,
            true,
        );
        check(
            r#"{"a":[9007199254740992]}"#,
            r#"{"a":9007199254740993}"#,
            false,
        );
        check(r#"{"a":[5]}"#, r#"{"a":"5"}"#, false);
        check(r#"{"a":[true]}"#, r#"{"a":"true"}"#, false);
        check(r#"{"a":[null]}"#, r#"{"a":null}"#, true);
        check(r#"{"a":[""]}"#, r#"{"a":null}"#, false);
        check(r#"{"a":[{"numeric":[">",0,"<=",5]}]}"#, r#"{"a":5}"#, true);
        check(r#"{"a":[{"numeric":[">",0,"<=",5]}]}"#, r#"{"a":0}"#, false);
        check(r#"{"a":[{"numeric":["<",5]}]}"#, r#"{"a":"4"}"#, false);
        check(r#"{"a":[{"numeric":[">",5]}]}"#, r#"{"a":1e400}"#, false);
        check(r#"{"a":["::1"]}"#, r#"{"a":"0:0:0:0:0:0:0:1"}"#, true);
        check(
            r#"{"a":[{"exactly":"::1"}]}"#,
            r#"{"a":"0:0:0:0:0:0:0:1"}"#,
            false,
        );
        check(
            r#"{"a":[{"anything-but":"::1"}]}"#,
            r#"{"a":"0:0:0:0:0:0:0:1"}"#,
            true,
        );
        check(
            r#"{"a":[{"cidr":"10.0.0.0/24"}]}"#,
            r#"{"a":"010.0.0.7"}"#,
            true,
        );
    }

    #[test]
    fn anything_but_wants_some_value_that_is_none_of_them() {
        for value in ["1", "true", "null", "\"y\""] {
            check(
                r#"{"a":[{"anything-but":"x"}]}"#,
                &format!("{{\"a\":{value}}}"),
                true,
            );
        }
        check(r#"{"a":[{"anything-but":"x"}]}"#, r#"{"a":"x"}"#, false);
        check(r#"{"a":[{"anything-but":"x"}]}"#, "{}", false);
        check(r#"{"a":[{"anything-but":"x"}]}"#, r#"{"a":[]}"#, false);
        check(r#"{"a":[{"anything-but":[1]}]}"#, r#"{"a":[1,2]}"#, true);
        check(r#"{"a":[{"anything-but":[1]}]}"#, r#"{"a":"1"}"#, true);
        check(r#"{"a":[{"anything-but":[1]}]}"#, r#"{"a":1.0}"#, false);
        check(
            r#"{"a":[{"anything-but":{"prefix":"x"}}]}"#,
            r#"{"a":1}"#,
            true,
        );
        check(
            r#"{"a":[{"anything-but":{"prefix":["x","y"]}}]}"#,
            r#"{"a":"yz"}"#,
            false,
        );
        check(
            r#"{"a":[{"anything-but":{"wildcard":"x*"}}]}"#,
            r#"{"a":"xyz"}"#,
            false,
        );
    }

    #[test]
    fn text_operators_ask_for_strings() {
        check(r#"{"a":[{"prefix":""}]}"#, r#"{"a":""}"#, true);
        check(r#"{"a":[{"prefix":""}]}"#, r#"{"a":1}"#, false);
        check(r#"{"a":[{"suffix":".png"}]}"#, r#"{"a":"x.png"}"#, true);
        check(
            r#"{"a":[{"prefix":{"equals-ignore-case":"ab"}}]}"#,
            r#"{"a":"ABc"}"#,
            true,
        );
        check(
            r#"{"a":[{"suffix":{"equals-ignore-case":"ab"}}]}"#,
            r#"{"a":"cAb"}"#,
            true,
        );
        check(r#"{"a":[{"prefix":"a\""}]}"#, r#"{"a":"a"}"#, false);
        check(r#"{"a":[{"wildcard":"*"}]}"#, r#"{"a":1}"#, false);
        check(r#"{"a":["\ud83d\ude00"]}"#, r#"{"a":"😀"}"#, true);
        check(r#"{"a":[{"equals-ignore-case":""}]}"#, r#"{"a":""}"#, true);
    }

    #[test]
    fn an_event_at_the_depth_bound_is_matched() {
        for (open, close) in [("[", "]"), ("[{\"b\":", "}]")] {
            let levels = (Limits::default().depth_max - 1)
                / open.bytes().filter(|b| b"[{".contains(b)).count();
            let event = format!("{{\"a\":{}7{}}}", open.repeat(levels), close.repeat(levels));
            let path = format!("a{}", ".b".repeat(if open == "[" { 0 } else { levels }));
            check(&format!("{{\"{path}\":[7]}}"), &event, true);
            check(&format!("{{\"{path}\":[8]}}"), &event, false);
            check(
                &format!("{{\"{path}\":[7],\"c\":[{{\"exists\":false}}]}}"),
                &event,
                true,
            );
        }
        let pattern = Pattern::parse(r#"{"a":[1]}"#).unwrap();
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(1_000), "]".repeat(1_000));
        assert!(matches(&pattern, deep.as_bytes()).is_err());
    }

    #[test]
    fn what_is_no_object_is_an_error() {
        let pattern = Pattern::parse(r#"{"a":[{"exists":false}]}"#).unwrap();
        for event in ["", "[]", "1", "{} x", "{\"a\":\"\\ud800\"}"] {
            assert!(matches(&pattern, event.as_bytes()).is_err(), "{event}");
        }
    }
}
