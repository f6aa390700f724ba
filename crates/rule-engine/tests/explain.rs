//! Does explain say what the oracle says, and does mending what it names mend it? Every pair of
//! `fixtures/patterns/pairs.jsonl`, and what a person reads of a few by hand.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::fs;

use rule_engine::Pattern;
use rule_engine::explain::{Condition, Explanation, Mend, explain, nearest};
use rule_engine::json::{self, Node, NodeKind};
use rule_engine::oracle;
use serde_json::Value;

/// The pairs with a good pattern and a good event.
fn pairs() -> Vec<(Pattern, String)> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fixtures/patterns/pairs.jsonl"
    );
    let text = fs::read_to_string(path).unwrap();
    let pairs = text.lines().filter_map(|line| {
        let pair: Value = serde_json::from_str(line).unwrap();
        let good = ["MATCH", "no"].contains(&pair["r"].as_str().unwrap());
        let event = pair["e"].as_str().filter(|_| good)?;
        let pattern = Pattern::parse(pair["p"].as_str().unwrap()).unwrap();
        Some((pattern, event.to_owned()))
    });
    pairs.collect()
}

#[test]
fn the_verdict_is_that_of_the_oracle() {
    let pairs = pairs();
    assert!(18_000 <= pairs.len(), "{}", pairs.len());
    for (pattern, event) in pairs {
        let explanation = explain(&pattern, event.as_bytes()).unwrap();
        let matches = oracle::matches(&pattern, event.as_bytes()).unwrap();
        assert_eq!(explanation.matched, matches, "{event}");
        assert_eq!(explanation.first.is_none(), matches, "{event}");
        assert_eq!(explanation.failed() == 0, matches, "{event}");
        for alternative in &explanation.alternatives {
            assert_eq!(alternative.failed() == 0, alternative.matched, "{event}");
            alternative.conditions.iter().for_each(check_condition);
        }
        assert!(!explanation.to_string().is_empty());
    }
}

fn check_condition(condition: &Condition) {
    assert_eq!(condition.met, condition.why.is_none(), "{condition}");
    assert!(condition.found.len() <= condition.found_count);
    serde_json::from_str::<Value>(&condition.wanted).unwrap();
    for found in &condition.found {
        serde_json::from_str::<Value>(&found.value).unwrap();
        let names: Vec<&str> = found.at.split(['[', ']']).step_by(2).collect();
        assert_eq!(names.concat(), condition.path, "{}", found.at);
    }
    if let Some(by) = &condition.by {
        // A repeated name gives several values one place.
        let mut there = condition.found.iter().filter(|it| it.at == *by).peekable();
        let shown = there.peek().is_some();
        assert!(!shown || there.any(|it| it.satisfies), "{condition}");
    }
}

#[test]
fn mending_what_is_named_first_meets_it_and_mending_goes_on_to_a_match() {
    let (mut named, mut mended, mut ended) = (0, 0, 0);
    for (pattern, event) in pairs() {
        let mut event = event;
        let mut explanation = explain(&pattern, event.as_bytes()).unwrap();
        named += usize::from(!explanation.matched);
        for step in 0..20 {
            let Some(next) = mend(&event, &explanation) else {
                break;
            };
            let first = explanation.first.unwrap();
            explanation = explain(&pattern, next.as_bytes()).unwrap();
            let condition =
                &explanation.alternatives[first.alternative].conditions[first.condition];
            assert!(condition.met, "{event} mended to {next}: {explanation}");
            mended += usize::from(step == 0);
            ended += usize::from(explanation.matched);
            event = next;
        }
    }
    println!("{named} do not match: {mended} mended, {ended} to a match");
    assert!(8_000 < named, "{named}");
    assert!(named * 99 < mended * 100, "{mended} of {named}");
    assert!(named * 99 < ended * 100, "{ended} of {named}");
}

/// The event with the first condition mended; `None` where there is nothing to mend.
fn mend(event: &str, explanation: &Explanation) -> Option<String> {
    let first = explanation.first.as_ref()?;
    let condition = &explanation.alternatives[first.alternative].conditions[first.condition];
    let tree = json::parse(event, 1_000).unwrap();
    let mut edits = Vec::new();
    match &first.mend {
        Mend::Remove { at, count } => {
            assert_eq!(at.len(), *count, "more than are told");
            // An empty array is no value (event-patterns.md 2.2).
            let nodes = at.iter().flat_map(|at| nodes_at(&tree, at));
            let nodes = nodes.filter(|node| !is_container(node));
            edits.extend(nodes.map(|node| (node.start..node.end, "[]".to_owned())));
        }
        Mend::Write { at } => {
            let wanted = json::parse(&condition.wanted, 100).unwrap();
            let NodeKind::Array(items) = &wanted.kind else {
                panic!("{}", condition.wanted);
            };
            let texts = items.iter().map(|it| &condition.wanted[it.start..it.end]);
            let value = texts.filter_map(satisfying).next()?;
            let known = nodes_at(&tree, at);
            let scalars = known.iter().filter(|it| !is_container(it));
            edits.extend(scalars.map(|node| (node.start..node.end, value.clone())));
            // A name may look like an element: then nothing is there.
            let ends = at.rmatch_indices("].").map(|(end, _)| end);
            let (objects, rest) = ends
                .map(|end| (nodes_at(&tree, &at[..=end]), &at[end + 2..]))
                .find(|(nodes, _)| !nodes.is_empty())
                .unwrap_or((vec![&tree], at));
            // Where a repeated name gives two elements one place, either may be meant.
            if edits.is_empty() || 1 < objects.len() {
                for object in objects {
                    let NodeKind::Object(members) = &object.kind else {
                        continue;
                    };
                    let comma = if members.is_empty() { "" } else { "," };
                    let member = format!("{}:{value}{comma}", Value::from(rest));
                    edits.push((object.start + 1..object.start + 1, member));
                }
            }
        }
    }
    assert!(!edits.is_empty(), "{event}: no such place: {explanation}");
    let mut mended = event.to_owned();
    edits.sort_by_key(|(span, _)| span.start);
    // A repeated name is told as one place twice.
    edits.dedup();
    for (span, text) in edits.into_iter().rev() {
        mended.replace_range(span, &text);
    }
    Some(mended)
}

/// What is at a place such as `a[3].b`: several values where a name is repeated.
fn nodes_at<'n, 't>(tree: &'n Node<'t>, at: &str) -> Vec<&'n Node<'t>> {
    let mut found = Vec::new();
    let mut open = vec![(tree, None::<String>)];
    while let Some((node, here)) = open.pop() {
        let text = here.as_deref().unwrap_or_default();
        match &node.kind {
            NodeKind::Object(members) => open.extend(members.iter().map(|member| {
                let dot = if here.is_some() { "." } else { "" };
                (&member.value, Some(format!("{text}{dot}{}", member.name)))
            })),
            NodeKind::Array(items) => {
                let items = items.iter().enumerate();
                open.extend(items.map(|(at, item)| (item, Some(format!("{text}[{at}]")))));
            }
            _ => {}
        }
        if here.as_deref() == Some(at) {
            found.push(node);
        }
    }
    found
}

fn is_container(node: &Node<'_>) -> bool {
    matches!(node.kind, NodeKind::Object(_) | NodeKind::Array(_))
}

/// A value that satisfies one item of a leaf; `None` where none does.
fn satisfying(item: &str) -> Option<String> {
    let Value::Object(operator) = serde_json::from_str(item).unwrap() else {
        return Some(item.to_owned());
    };
    let (name, operand) = operator.iter().next().unwrap();
    let text = || match operand {
        Value::Object(inner) => lower(inner["equals-ignore-case"].as_str().unwrap()),
        _ => operand.as_str().unwrap().to_owned(),
    };
    let value: Value = match name.as_str() {
        "exists" if operand == false => return None,
        "exists" => 1.into(),
        // Excludes strings or numbers alone.
        "anything-but" => true.into(),
        "equals-ignore-case" => lower(&text()).into(),
        "wildcard" => {
            let pieces = text().replace(r"\\", "\u{1}").replace(r"\*", "\u{2}");
            let pieces = pieces.replace('*', "");
            pieces.replace('\u{1}', r"\").replace('\u{2}', "*").into()
        }
        "cidr" => text().split('/').next().unwrap().into(),
        "numeric" => within(operand.as_array().unwrap())?,
        _ => text().into(),
    };
    Some(value.to_string())
}

/// Of each character the lower-case form, as far as there is case for us.
fn lower(text: &str) -> String {
    let letters = text.chars().map(|character| match u32::from(character) {
        0x1_0000.. => character.to_string(),
        _ => character.to_lowercase().to_string(),
    });
    letters.collect()
}

/// A number within a range; `None` above the largest.
fn within(range: &[Value]) -> Option<Value> {
    let number = |at: usize| range[at].to_string().parse::<f64>().unwrap();
    let inside = match (range[0].as_str().unwrap(), range.len()) {
        (_, 4) => number(1) / 2.0 + number(3) / 2.0,
        (">", _) => number(1) + number(1).abs().max(1.0),
        ("<", _) => number(1) - number(1).abs().max(1.0),
        _ => return Some(range[1].clone()),
    };
    inside.is_finite().then(|| serde_json::json!(inside))
}

#[track_caller]
fn check(pattern: &str, event: &str, expected: &str) {
    let pattern = Pattern::parse(pattern).unwrap();
    let explanation = explain(&pattern, event.as_bytes()).unwrap();
    assert_eq!(explanation.to_string(), expected);
}

#[test]
fn a_person_reads_what_was_wanted_and_what_was_found() {
    check(
        r#"{"source":["shop"],"detail":{"total":[{"numeric":[">=",100]}],"note":[{"exists":false}]}}"#,
        r#"{"source":"shop","detail":{"total":99}}"#,
        "\
no match: 1 of 3 conditions fails
  ✓ detail.note  wants [{\"exists\":false}]
      has nothing
  ✗ detail.total  wants [{\"numeric\":[\">=\",100]}]
      has 99
      is out of range
  ✓ source  wants [\"shop\"]
      has \"shop\"
to mend first: `detail.total`, which is 99; wanted: [{\"numeric\":[\">=\",100]}]",
    );
}

#[test]
fn a_person_reads_which_array_element_comes_nearest() {
    check(
        r#"{"e":{"f":["Anna"],"l":["Jones"]}}"#,
        r#"{"e":[{"f":"Anna","l":"Smith"},{"f":"Bob","l":"Jones"}]}"#,
        "\
no match: 1 of 2 conditions fails
  ✓ e.f  wants [\"Anna\"]
      has \"Anna\" at e[0].f, \"Bob\" at e[1].f
      met by e[0].f
  ✗ e.l  wants [\"Jones\"]
      has \"Smith\" at e[0].l, \"Jones\" at e[1].l
      met at `e[1].l`, but no one array element meets all conditions; `e[0]` comes nearest
to mend first: `e[0].l`, which is \"Smith\"; wanted: [\"Jones\"]",
    );
}

#[test]
fn the_element_that_meets_most_comes_nearest() {
    let pattern =
        Pattern::parse(r#"{"e":{"a":[1],"b":[1],"c":[1],"d":[{"exists":false}]}}"#).unwrap();
    let event = br#"{"e":[{"a":1,"d":1},{"b":1},{"a":2,"b":1,"c":1},{"c":1,"d":1}]}"#;
    let explanation = explain(&pattern, event).unwrap();
    assert_eq!(explanation.failed(), 1);
    assert_eq!(explanation.alternatives[0].elements, ["e[2]"]);
    let first = explanation.first.unwrap();
    assert_eq!(first.condition, 0);
    assert_eq!(
        first.mend,
        Mend::Write {
            at: "e[2].a".into()
        }
    );
}

#[test]
fn alternatives_are_told_nearest_first() {
    check(
        r#"{"a":[1],"$or":[{"b":[{"prefix":"x"}],"c":[1]},{"d":["Failed"]}]}"#,
        r#"{"a":1,"d":"failed","C":1}"#,
        "\
no match: 1 of 2 conditions fails
alternative 2 of 2: 1 of 2 conditions fails
  ✓ a  wants [1]
      has 1
  ✗ d  wants [\"Failed\"]
      has \"failed\"
      case counts; `equals-ignore-case` would take it
alternative 1 of 2: 2 of 3 conditions fail
  ✓ a  wants [1]
      has 1
  ✗ b  wants [{\"prefix\":\"x\"}]
      has nothing
      the event has nothing here
  ✗ c  wants [1]
      has nothing
      the event has nothing here, but it has `C`: case counts
to mend first: `d`, which is \"failed\"; wanted: [\"Failed\"]",
    );
}

#[test]
fn absence_in_the_chosen_element_is_told() {
    check(
        r#"{"a":{"b":[1],"c":[{"exists":false}]}}"#,
        r#"{"a":[{"b":1},{"c":1}]}"#,
        "\
match
  ✓ a.b  wants [1]
      has 1 at a[0].b
      met by a[0].b
  ✓ a.c  wants [{\"exists\":false}]
      has 1 at a[1].c
      met: none is beside what the conditions above chose",
    );
    check(
        r#"{"a":{"b":[{"exists":false}],"c":[1]}}"#,
        r#"{"a":[{"b":1},{"c":1}]}"#,
        "\
no match: 1 of 2 conditions fails
  ✗ a.b  wants [{\"exists\":false}]
      has 1 at a[0].b
      it must not be there
  ✓ a.c  wants [1]
      has 1 at a[1].c
      met by a[1].c
to mend first: `a[0].b` must not be there",
    );
}

#[test]
fn what_is_told_is_bounded() {
    let event = serde_json::json!({"a": vec!["x".repeat(10_000); 5_000]}).to_string();
    let pattern = Pattern::parse(r#"{"a":["y"]}"#).unwrap();
    let explanation = explain(&pattern, event.as_bytes()).unwrap();
    let condition = &explanation.alternatives[0].conditions[0];
    assert_eq!((condition.found.len(), condition.found_count), (10, 5_000));
    assert!(explanation.to_string().len() < 4_000);
    // No element has all: each choice is tried, and that ends soon.
    let elements: Vec<Value> = (0..20_000)
        .map(|n| serde_json::json!({"a": n % 2, "b": n % 2}))
        .collect();
    let event = serde_json::json!({"e": elements.clone(), "f": elements}).to_string();
    let pattern = r#"{"e":{"a":[0],"b":[1]},"f":{"a":[0],"b":[1]}}"#;
    let explanation = explain(&Pattern::parse(pattern).unwrap(), event.as_bytes()).unwrap();
    assert_eq!(explanation.failed(), 2);
}

#[test]
fn the_nearest_patterns_fail_by_the_fewest() {
    let pattern = |text: &str| Pattern::parse(text).unwrap();
    let patterns = [
        ("three", pattern(r#"{"x":[1],"y":[1],"z":[1]}"#)),
        ("two", pattern(r#"{"a":[1],"y":[1],"z":[1]}"#)),
        ("one b", pattern(r#"{"a":[2]}"#)),
        ("one a", pattern(r#"{"$or":[{"a":[2]},{"x":[1],"y":[1]}]}"#)),
        ("match", pattern(r#"{"a":[1]}"#)),
    ];
    let patterns = patterns.iter().map(|(id, pattern)| (*id, pattern));
    let found = nearest(patterns, br#"{"a":1}"#, 3).unwrap();
    let failed: Vec<&str> = found.failed.iter().map(|(id, _)| *id).collect();
    assert_eq!(
        (found.matched, failed),
        (vec!["match"], vec!["one a", "one b", "two"])
    );
}
