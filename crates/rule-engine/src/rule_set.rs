//! Many patterns against one event: what the bus asks.
//!
//! An event's fields are read once and every rule that could match is then tried. Which could
//! match is known from one index: most rules name their `source` or `detail-type` outright, and
//! wait under those values; the others are tried always. A faster matcher may come; this face
//! stays.
//!
//! The set is built in place and then shared: hold it in an `Arc`; to change it for readers,
//! clone, change, and put the clone in its place. A clone shares the patterns themselves.
//!
//! Start at [`RuleSet::matches`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::fields::{Fields, Paths};
use crate::matcher::{Matcher, TextMatcher, Value};
use crate::pattern::{Alternative, Pattern};
use crate::seats;

/// Top-level names whose plain values rules wait under, the most telling first.
const ANCHORS: [&str; 2] = ["detail-type", "source"];

/// Rules by id, asked together.
#[derive(Debug, Clone)]
pub struct RuleSet<Id> {
    rules: BTreeMap<Id, Rule>,
    paths: Paths,
    /// For each of [`ANCHORS`] its number in `paths`.
    anchors: [u32; ANCHORS.len()],
    /// For each of [`ANCHORS`] the alternatives that wait for a value of it.
    waiting: [HashMap<Box<str>, BTreeSet<Candidate<Id>>>; ANCHORS.len()],
    /// Alternatives that are tried for every event.
    always: BTreeSet<Candidate<Id>>,
}

/// One alternative of a rule, by its index in the pattern.
type Candidate<Id> = (Id, usize);

#[derive(Debug, Clone)]
struct Rule {
    pattern: Pattern,
    /// For each alternative the path numbers of its leaves.
    paths: Vec<Box<[u32]>>,
}

impl<Id: Copy + Ord> Default for RuleSet<Id> {
    fn default() -> Self {
        RuleSet::new()
    }
}

impl<Id: Copy + Ord> RuleSet<Id> {
    /// A set without rules.
    pub fn new() -> Self {
        let mut paths = Paths::default();
        RuleSet {
            rules: BTreeMap::new(),
            anchors: ANCHORS.map(|name| paths.take(name)),
            paths,
            waiting: ANCHORS.map(|_| HashMap::new()),
            always: BTreeSet::new(),
        }
    }

    /// Adds a rule. `false`, and nothing changed, when the id is taken.
    pub fn add(&mut self, id: Id, pattern: &Pattern) -> bool {
        if self.rules.contains_key(&id) {
            return false;
        }
        let mut numbers = Vec::new();
        for (index, alternative) in pattern.alternatives().iter().enumerate() {
            let leaves = alternative.leaves.iter();
            numbers.push(leaves.map(|leaf| self.paths.take(&leaf.path)).collect());
            match anchor(alternative) {
                None => {
                    self.always.insert((id, index));
                }
                Some((which, values)) => {
                    for value in values {
                        let waiting = self.waiting[which].entry(value.into()).or_default();
                        waiting.insert((id, index));
                    }
                }
            }
        }
        let rule = Rule {
            pattern: pattern.clone(),
            paths: numbers,
        };
        self.rules.insert(id, rule);
        true
    }

    /// Gives a rule another pattern, or adds it. `true` when the id was there before.
    pub fn replace(&mut self, id: Id, pattern: &Pattern) -> bool {
        let was_there = self.remove(id);
        self.add(id, pattern);
        was_there
    }

    /// Removes a rule. `false` when there is none of this id.
    pub fn remove(&mut self, id: Id) -> bool {
        let Some(rule) = self.rules.remove(&id) else {
            return false;
        };
        for (index, alternative) in rule.pattern.alternatives().iter().enumerate() {
            for leaf in &alternative.leaves {
                self.paths.give_back(&leaf.path);
            }
            let Some((which, values)) = anchor(alternative) else {
                self.always.remove(&(id, index));
                continue;
            };
            for value in values {
                if let Some(waiting) = self.waiting[which].get_mut(value) {
                    waiting.remove(&(id, index));
                    if waiting.is_empty() {
                        self.waiting[which].remove(value);
                    }
                }
            }
        }
        true
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The ids of all rules that match `event`, sorted, each once; what was in `out` is cleared.
    ///
    /// `event` is one that [`json::validate`](crate::json::validate) has passed. Any other text
    /// matches no rule.
    /// Bounds: one pass over the event; then each rule that could match costs its conditions
    /// times the fields at their paths, but for what the module `seats` says of events that name
    /// one path in several ways.
    pub fn matches(&self, event: &[u8], out: &mut Vec<Id>) {
        out.clear();
        let Ok(fields) = Fields::of(event, &self.paths) else {
            return;
        };
        let mut try_all = |candidates: &BTreeSet<Candidate<Id>>| {
            for (id, index) in candidates {
                let rule = self.rules.get(id).expect("a candidate is of a rule");
                let alternative = &rule.pattern.alternatives()[*index];
                if out.last() != Some(id)
                    && seats::matches(alternative, &rule.paths[*index], &fields)
                {
                    out.push(*id);
                }
            }
        };
        try_all(&self.always);
        for (which, path) in self.anchors.iter().enumerate() {
            for field in fields.at(*path) {
                if let Value::String(text) = &field.value
                    && let Some(waiting) = self.waiting[which].get(&**text)
                {
                    try_all(waiting);
                }
            }
        }
        out.sort_unstable();
        out.dedup();
    }
}

/// The anchor that an alternative can wait under, and the values it waits for: it cannot match
/// an event that has none of them there.
fn anchor(alternative: &Alternative) -> Option<(usize, Vec<&str>)> {
    ANCHORS.iter().enumerate().find_map(|(which, name)| {
        let leaf = alternative.leaves.iter().find(|leaf| leaf.path == *name)?;
        let values = leaf.matchers.iter().map(|matcher| match matcher {
            Matcher::Text(TextMatcher::Exactly(text)) => Some(&**text),
            _ => None,
        });
        Some((which, values.collect::<Option<Vec<&str>>>()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    fn set(patterns: &[&str]) -> RuleSet<usize> {
        let mut set = RuleSet::new();
        for (id, text) in patterns.iter().enumerate() {
            assert!(set.add(id, &pattern(text)));
        }
        set
    }

    #[track_caller]
    fn check(set: &RuleSet<usize>, event: &str, expected: &[usize]) {
        let mut out = vec![999];
        set.matches(event.as_bytes(), &mut out);
        assert_eq!(out, expected);
    }

    #[test]
    fn ids_are_sorted_and_each_once() {
        let set = set(&[
            r#"{"a":[1]}"#,
            r#"{"source":["s","t"]}"#,
            r#"{"$or":[{"source":["s"]},{"detail-type":["d"]},{"a":[1]}]}"#,
            r#"{"detail-type":["d"],"source":["s"]}"#,
            r#"{"source":[{"prefix":"s"}]}"#,
            r#"{"source":["s",{"exists":false}]}"#,
        ]);
        check(
            &set,
            r#"{"source":"s","detail-type":"d","a":1}"#,
            &[0, 1, 2, 3, 4, 5],
        );
        check(&set, r#"{"source":["t","s"]}"#, &[1, 2, 4, 5]);
        check(&set, r#"{"a":1.0}"#, &[0, 2, 5]);
        check(&set, r#"{"detail-type":"d"}"#, &[2, 5]);
        check(&set, r#"{"source":"x"}"#, &[]);
    }

    #[test]
    fn rules_come_go_and_change_alone() {
        let mut set = set(&[r#"{"source":["s"]}"#, r#"{"source":["s"],"a":[1]}"#]);
        assert!(!set.add(0, &pattern(r#"{"b":[1]}"#)));
        assert_eq!(set.len(), 2);
        let before = set.clone();
        assert!(set.replace(0, &pattern(r#"{"b":[1]}"#)));
        assert!(!set.replace(7, &pattern(r#"{"c":[1]}"#)));
        check(&set, r#"{"source":"s","a":1,"b":1,"c":1}"#, &[0, 1, 7]);
        check(&set, r#"{"source":"s","a":1}"#, &[1]);
        check(&before, r#"{"source":"s","a":1}"#, &[0, 1]);
        assert!(set.remove(1));
        assert!(!set.remove(1));
        check(&set, r#"{"source":"s","a":1}"#, &[]);
        assert!(set.remove(0));
        assert!(set.remove(7));
        assert!(set.is_empty());
        check(&set, r#"{"source":"s","a":1}"#, &[]);
    }

    #[test]
    fn any_order_of_changes_answers_as_a_new_set() {
        let patterns: Vec<Pattern> = (0..40)
            .map(|n| {
                let (a, b) = (n % 5, n % 3);
                pattern(&format!(r#"{{"source":["s{b}"],"x":{{"p{a}":[{b}]}}}}"#))
            })
            .collect();
        let mut random = fastrand::Rng::with_seed(3);
        let mut set = RuleSet::new();
        let mut model: BTreeMap<u8, usize> = BTreeMap::new();
        for _ in 0..2_000 {
            let (id, which) = (random.u8(..12), random.usize(..patterns.len()));
            if random.bool() {
                assert_eq!(
                    set.replace(id, &patterns[which]),
                    model.insert(id, which).is_some()
                );
            } else {
                assert_eq!(set.remove(id), model.remove(&id).is_some());
            }
            let (a, b) = (random.u8(..5), random.u8(..3));
            let event = format!(r#"{{"source":"s{b}","x":{{"p{a}":{b}}}}}"#);
            let mut out = Vec::new();
            set.matches(event.as_bytes(), &mut out);
            let expected: Vec<u8> = model
                .iter()
                .filter(|(_, which)| {
                    crate::oracle::matches(&patterns[**which], event.as_bytes()).unwrap()
                })
                .map(|(id, _)| *id)
                .collect();
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn what_is_no_event_matches_nothing() {
        let set = set(&[r#"{"a":[{"exists":false}]}"#]);
        check(&set, "{", &[]);
        check(&set, "{}", &[0]);
    }

    #[test]
    fn a_set_can_be_shared_between_threads() {
        fn shared<T: Send + Sync>(_: &T) {}
        shared(&set(&[]));
    }
}
