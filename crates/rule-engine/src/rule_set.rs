//! Many patterns against one event: what the bus asks.
//!
//! Each alternative of a rule waits at one of its conditions, the one that the fewest events will
//! meet (`keys`). An event is read once, looking only at paths that some rule names (`reader`);
//! each of its values is looked up, and the alternatives that wait there are verified: the other
//! conditions, and where arrays of objects are involved, that one element meets them together
//! (`agree`). So the cost follows the event and what nearly matches it, and rules that have
//! nothing to do with it cost nothing, in whatever number. No rule is part of a structure that
//! another could make grow: each has its own words (`records`).
//!
//! The set is built in place and then shared: hold it in an `Arc`; to change it for readers,
//! clone, change, and put the clone in its place. A clone shares all its pages with the set that
//! it came from, and a change copies the few that it writes to (`pages`).
//!
//! Start at [`RuleSet::matches`].

mod agree;
mod keys;
mod pages;
mod reader;
mod records;
mod wanted;

use std::cell::RefCell;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::fields::ROOT;
use crate::matcher::{Matcher, TextMatcher};
use crate::pattern::{Alternative, Leaf, Pattern};
use crate::seats::Condition;
use agree::Agree;
use keys::{Keys, Spec};
use pages::Table;
use reader::{Field, For, Reader};
use records::{Ask, Compiled, NO_RECORD, Record, Records};
use wanted::Wanted;

/// Rules by id, asked together.
#[derive(Debug, Clone)]
pub struct RuleSet<Id> {
    wanted: Wanted,
    keys: Keys,
    records: Records<Id>,
    /// The first alternative of each rule, by its id.
    ids: Table,
    alternatives: u32,
    /// Alternatives that are tried for every event: absence will do for each of their leaves.
    always: Arc<Vec<u32>>,
    stop_early: bool,
}

/// What matching needs beside the set, one for each thread: it grows to what the largest event
/// needed, and stays.
#[derive(Debug, Default)]
struct Scratch {
    reader: Reader,
    candidates: Vec<u32>,
    conditions: Vec<Condition>,
    agree: Agree,
}

/// So many may as well be looked at twice.
const FEW: usize = 8;

/// So many are sorted in runs without memory from the heap.
const RUNS: usize = 256;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl<Id: Copy + Ord + Hash> Default for RuleSet<Id> {
    fn default() -> Self {
        RuleSet::new()
    }
}

impl<Id: Copy + Ord + Hash> RuleSet<Id> {
    /// A set without rules.
    pub fn new() -> Self {
        RuleSet {
            wanted: Wanted::new(),
            keys: Keys::new(),
            records: Records::new(),
            ids: Table::new(),
            alternatives: 0,
            always: Arc::default(),
            stop_early: true,
        }
    }

    /// Whether an event is read no further once every path that a rule names was seen, which is
    /// how a set begins. A member that is repeated behind that place then goes unseen, as
    /// event-patterns.md 2.2 allows; without, every repeat counts.
    pub fn stop_early(&mut self, yes: bool) {
        self.stop_early = yes;
    }

    /// Adds a rule. `false`, and nothing changed, when the id is taken.
    ///
    /// Bounds: what it costs is of the size of the pattern, and of the pages that it shares with
    /// other sets; how many rules there are matters by cache misses alone.
    pub fn add(&mut self, id: Id, pattern: &Pattern) -> bool {
        if self.first(id).is_some() {
            return false;
        }
        let mut next = NO_RECORD;
        for alternative in pattern.alternatives() {
            next = self.add_alternative(id, next, alternative);
        }
        let hash_of = |number| hash(self.records.get(number).id);
        self.ids.insert(hash(id), next, hash_of);
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
        let Some(first) = self.first(id) else {
            return false;
        };
        self.ids.remove(hash(id), first);
        let mut number = first;
        while number != NO_RECORD {
            number = self.remove_alternative(number);
        }
        true
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The ids of all rules that match `event`, sorted, each once; what was in `out` is cleared.
    ///
    /// `event` is one that [`json::validate`](crate::json::validate) has passed. What any other
    /// text matches is not said; it takes no longer.
    /// Bounds: one pass over the event, up to where nothing more is wanted; then each rule that
    /// nearly matches costs its conditions times the fields at their paths, but for what the
    /// module `seats` says of events that name one path in several ways. No memory is taken once
    /// a thread has seen events of their size, but where inside of arrays absence or a value will
    /// do.
    pub fn matches(&self, event: &[u8], out: &mut Vec<Id>) {
        out.clear();
        if self.alternatives == 0 {
            return;
        }
        SCRATCH.with_borrow_mut(|scratch| self.matches_with(event, out, scratch));
    }

    fn matches_with(&self, event: &[u8], out: &mut Vec<Id>, scratch: &mut Scratch) {
        let rules = For {
            wanted: &self.wanted,
            keys: &self.keys,
            alternatives: self.alternatives,
            all_wait: self.always.is_empty(),
            stop_early: self.stop_early,
        };
        let reader = &mut scratch.reader;
        if !reader.read(event, rules) {
            return;
        }
        let candidates = &mut scratch.candidates;
        candidates.clear();
        candidates.extend_from_slice(&self.always);
        for found in [&mut reader.waits, &mut reader.hits, &mut reader.ranges] {
            if FEW < found.len() {
                found.sort_unstable();
                found.dedup();
            }
        }
        candidates.extend_from_slice(&reader.ranges);
        for key in &reader.waits {
            let waiting = &self.keys.get(*key).waiting;
            waiting.collect(&reader.hits, candidates);
        }
        let mut met = &[][..];
        for number in &scratch.candidates {
            let record = self.records.get(*number);
            let reader = &scratch.reader;
            let matches = record
                .decide(
                    &mut met,
                    |path, key| reader.is_only(path, key),
                    |path| reader.only(path),
                    |path, leaf| any_holds(path, leaf, event, reader),
                )
                .unwrap_or_else(|| {
                    verify(
                        &self.records.get(*number),
                        event,
                        &scratch.reader,
                        &mut scratch.conditions,
                        &mut scratch.agree,
                    )
                });
            if matches {
                out.push(record.id);
            }
        }
        if 1 < out.len() {
            // They come in a few runs, mostly, of which only the first kind knows to make use.
            match out.len() {
                ..=RUNS => out.sort(),
                _ => out.sort_unstable(),
            }
            out.dedup();
        }
    }

    fn first(&self, id: Id) -> Option<u32> {
        self.ids
            .find(hash(id), |number| self.records.get(number).id == id)
    }

    /// Compiles an alternative and lets it wait. Gives its number.
    fn add_alternative(&mut self, id: Id, next: u32, alternative: &Alternative) -> u32 {
        let mut leaves: Vec<Compiled<Arc<Leaf>, Vec<u32>>> = alternative
            .leaves
            .iter()
            .map(|leaf| self.compile(leaf))
            .collect();
        let access = self.access(&leaves, alternative);
        if let Some(leaf) = access.map(|place| &mut leaves[place])
            && let Ask::Leaf(it) = &leaf.ask
        {
            leaf.is_told = it.matchers.iter().all(keys::tell);
        }
        let path = access.map_or(wanted::ROOT, |place| leaves[place].path);
        let leaf = access.map(|place| (&leaves[place].ask, &alternative.leaves[place]));
        let mut specs = Vec::new();
        let waits = match leaf {
            None => Vec::new(),
            Some((Ask::Any(keys), _)) => {
                keys.iter().for_each(|key| self.keys.retain(*key));
                keys.clone()
            }
            Some((_, leaf)) => {
                specs = specs_of(leaf);
                let mut take = |spec: &Spec<'_>| {
                    self.keys
                        .take(&mut self.wanted, path, spec.kind, &spec.text)
                };
                specs.iter().map(&mut take).collect()
            }
        };
        if !waits.is_empty() {
            self.wanted.wait(path, true);
        }
        let number = self.records.add(id, next, &waits, &leaves);
        self.alternatives += 1;
        if access.is_none() {
            Arc::make_mut(&mut self.always).push(number);
        }
        for (place, key) in waits.iter().enumerate() {
            let span = specs.get(place).and_then(|spec| spec.span);
            // A leaf may say the same thing twice.
            if span.is_some() || !waits[..place].contains(key) {
                let seconds =
                    |keys: &Keys, number| seconds(&self.records, &self.wanted, keys, number);
                self.keys.wait(*key, span, number, seconds);
            }
        }
        number
    }

    /// Takes an alternative out. Gives the number of the rule's next.
    fn remove_alternative(&mut self, number: u32) -> u32 {
        let record = self.records.get(number);
        let next = record.next();
        let waits = record.waits().to_vec();
        let mut plain = Vec::new();
        let mut paths = Vec::new();
        let mut given_back = Vec::new();
        for leaf in record.leaves() {
            paths.push(leaf.path);
            match leaf.ask {
                Ask::Any(keys) => {
                    plain.extend_from_slice(keys);
                    given_back.extend_from_slice(keys);
                    if !leaf.absent {
                        self.wanted.asked_mut(leaf.path).demanded -= 1;
                    }
                }
                Ask::None(keys) => given_back.extend_from_slice(keys),
                Ask::Present | Ask::Leaf(_) => {}
            }
        }
        if let Some(key) = waits.first() {
            self.wanted.wait(self.keys.get(*key).path, false);
        } else if let Some(at) = self.always.iter().position(|it| *it == number) {
            Arc::make_mut(&mut self.always).swap_remove(at);
        }
        for (place, key) in waits.iter().enumerate() {
            if !waits[..place].contains(key) {
                self.keys.waiting_mut(*key).remove(number, &plain);
            }
        }
        for key in waits.iter().chain(&given_back) {
            self.keys.give_back(&mut self.wanted, *key);
        }
        for path in paths {
            self.wanted.give_back(path);
        }
        self.records.remove(number);
        self.alternatives -= 1;
        next
    }

    fn compile(&mut self, leaf: &Arc<Leaf>) -> Compiled<Arc<Leaf>, Vec<u32>> {
        let path = self.wanted.take(&leaf.path);
        let present = || {
            leaf.matchers
                .iter()
                .filter(|it| !matches!(it, Matcher::Absent))
        };
        let mut take = |matcher: &Matcher| self.take_plain(path, matcher);
        let ask = if present().any(|it| matches!(it, Matcher::Exists)) {
            Ask::Present
        } else if present().all(is_plain) {
            Ask::Any(present().map(&mut take).collect())
        } else if let [Matcher::AnythingButNumbers(numbers)] = &leaf.matchers[..] {
            let numbers = numbers.iter();
            Ask::None(
                numbers
                    .map(|it| take(&Matcher::Number("".into(), Some(*it))))
                    .collect(),
            )
        } else if let [Matcher::AnythingBut(texts)] = &leaf.matchers[..]
            && texts.iter().all(|it| matches!(it, TextMatcher::Exactly(_)))
        {
            let texts = texts.iter();
            Ask::None(texts.map(|it| take(&Matcher::Text(it.clone()))).collect())
        } else {
            Ask::Leaf(leaf.clone())
        };
        if matches!(ask, Ask::Any(_)) && !leaf.absent {
            self.wanted.asked_mut(path).demanded += 1;
        }
        Compiled {
            path,
            absent: leaf.absent,
            is_told: false,
            ask,
        }
    }

    fn take_plain(&mut self, path: u32, matcher: &Matcher) -> u32 {
        let mut specs = Vec::new();
        keys::specs(matcher, &mut specs);
        let [spec] = &specs[..] else {
            unreachable!("a plain value is one key");
        };
        self.keys
            .take(&mut self.wanted, path, spec.kind, &spec.text)
    }

    /// The leaf by which an alternative is found: that whose keys the fewest events will have,
    /// and where the fewest others wait. `None` when it may match without any value.
    fn access(
        &self,
        leaves: &[Compiled<Arc<Leaf>, Vec<u32>>],
        alternative: &Alternative,
    ) -> Option<usize> {
        let mut best = None;
        let (mut best_cost, mut best_length) = (f64::INFINITY, 0);
        for (place, compiled) in leaves.iter().enumerate() {
            if compiled.absent {
                continue;
            }
            let asked = &self.wanted.node(compiled.path).asked;
            let costs: Vec<(f64, usize)> = match &compiled.ask {
                Ask::Any(keys) => keys.iter().map(|key| self.keys.cost(asked, *key)).collect(),
                _ => specs_of(&alternative.leaves[place])
                    .iter()
                    .map(|spec| self.keys.cost_of(compiled.path, asked, spec))
                    .collect(),
            };
            let cost: f64 = costs.iter().map(|cost| cost.0).sum();
            let length: usize = costs.iter().map(|cost| cost.1).sum();
            let length = length / costs.len().max(1);
            // Of equals, the longer text is met more rarely.
            if cost < best_cost || (cost == best_cost && best_length < length) {
                (best, best_cost, best_length) = (Some(place), cost, length);
            }
        }
        best
    }
}

fn hash(id: impl Hash) -> u64 {
    FixedState::default().hash_one(id)
}

fn specs_of(leaf: &Leaf) -> Vec<Spec<'_>> {
    let mut specs = Vec::with_capacity(leaf.matchers.len());
    for matcher in &leaf.matchers {
        keys::specs(matcher, &mut specs);
    }
    specs
}

fn is_plain(matcher: &Matcher) -> bool {
    if let Matcher::Numeric(range) = matcher {
        return range.only().is_some();
    }
    matches!(
        matcher,
        Matcher::Text(TextMatcher::Exactly(_))
            | Matcher::Number(..)
            | Matcher::True
            | Matcher::False
            | Matcher::Null
    )
}

/// The second keys of an alternative: the values of one other leaf, that which the fewest events
/// will meet. Empty when it has none of plain values alone.
fn seconds<'r, Id: Copy + Hash>(
    records: &'r Records<Id>,
    wanted: &Wanted,
    keys: &Keys,
    number: u32,
) -> &'r [u32] {
    let record = records.get(number);
    let waits = record.waits();
    let mut best: &[u32] = &[];
    let (mut best_chance, mut best_length) = (f64::INFINITY, 0);
    for leaf in record.leaves() {
        let Ask::Any(values) = leaf.ask else {
            continue;
        };
        if leaf.absent || values.iter().any(|key| waits.contains(key)) {
            continue;
        }
        let asked = &wanted.node(leaf.path).asked;
        let chances = values.iter().map(|key| keys.chance(asked, *key));
        let (chance, length) = chances.fold((0.0, usize::MAX), |all, one| {
            (all.0 + one.0, all.1.min(one.1))
        });
        if chance < best_chance || (chance == best_chance && best_length < length) {
            (best, best_chance, best_length) = (values, chance, length);
        }
    }
    best
}

/// True when a field satisfies a leaf.
fn holds(ask: &Ask<&Leaf, &[u32]>, event: &[u8], reader: &Reader, field: &Field) -> bool {
    match ask {
        Ask::Any(keys) => keys.contains(&field.key),
        Ask::None(keys) => !keys.contains(&field.key),
        Ask::Present => true,
        Ask::Leaf(leaf) => leaf_holds(leaf, event, reader, field),
    }
}

fn leaf_holds(leaf: &Leaf, event: &[u8], reader: &Reader, field: &Field) -> bool {
    reader.is_in_range(leaf, field).unwrap_or_else(|| {
        let value = || reader.value(event, field);
        reader.may_be_in_range(leaf, field) && value().is_some_and(|value| leaf.holds(&value))
    })
}

/// True when a field of a path satisfies a leaf.
#[inline(never)]
fn any_holds(path: u32, leaf: &Leaf, event: &[u8], reader: &Reader) -> bool {
    let mut fields = reader.at(path);
    fields.any(|field| leaf_holds(leaf, event, reader, field))
}

/// What the fields of a path, which are several or lie in arrays of containers, say to a leaf:
/// `None` when it cannot be met, else whether they lie in such arrays, where those of other leaves
/// have to agree with them; and whether one of them is as it asks.
#[inline(never)]
fn scattered(
    leaf: &Compiled<&Leaf, &[u32]>,
    event: &[u8],
    reader: &Reader,
) -> Option<(bool, bool)> {
    let (mut there, mut good, mut elsewhere) = (false, false, false);
    for field in reader.at(leaf.path) {
        there = true;
        elsewhere |= field.place != ROOT;
        good = good || holds(&leaf.ask, event, reader, field);
        if good && elsewhere {
            break;
        }
    }
    if !good && (!leaf.absent || (there && !elsewhere)) {
        return None;
    }
    Some((elsewhere, good))
}

/// True when an alternative matches what was read of an event.
#[inline(never)]
fn verify<Id: Copy>(
    record: &Record<'_, Id>,
    event: &[u8],
    reader: &Reader,
    conditions: &mut Vec<Condition>,
    agree: &mut Agree,
) -> bool {
    // Leaves whose fields lie in arrays of containers: those must agree.
    let (mut seated, mut is_good) = (0, true);
    for leaf in record.leaves() {
        let Some(key) = reader.only(leaf.path) else {
            match scattered(&leaf, event, reader) {
                None => return false,
                Some((true, good)) => (seated, is_good) = (seated + 1, good),
                Some((false, _)) => {}
            }
            continue;
        };
        let met = match leaf.ask {
            Ask::Any([only]) => *only == key,
            Ask::Any(keys) => keys.contains(&key),
            Ask::None(keys) => !keys.contains(&key),
            Ask::Present => true,
            Ask::Leaf(it) => any_holds(leaf.path, it, event, reader),
        };
        if !met {
            return false;
        }
    }
    // One has nobody to agree with.
    match seated {
        0 | 1 => is_good,
        _ => agrees(record, event, reader, conditions, agree),
    }
}

/// True when fields can be chosen that satisfy all leaves of an alternative together.
fn agrees<Id: Copy>(
    record: &Record<'_, Id>,
    event: &[u8],
    reader: &Reader,
    conditions: &mut Vec<Condition>,
    agree: &mut Agree,
) -> bool {
    let mut count = 0;
    for leaf in record.leaves() {
        if conditions.len() == count {
            conditions.push(Condition::default());
        }
        let condition = &mut conditions[count];
        condition.absent = leaf.absent;
        condition.all.clear();
        condition.good.clear();
        for field in reader.at(leaf.path) {
            condition.all.push(field.place);
            let is_new = condition.good.last() != Some(&field.place);
            if is_new && holds(&leaf.ask, event, reader, field) {
                condition.good.push(field.place);
            }
        }
        // Outside of all arrays nothing can disagree.
        if condition.all.iter().any(|place| *place != ROOT) {
            for places in [&mut condition.all, &mut condition.good] {
                places.sort_unstable();
                places.dedup();
            }
            count += 1;
        }
    }
    agree.holds(&conditions[..count], &reader.tree)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

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
    fn absence_alone_matches_an_empty_event() {
        check(&set(&[r#"{"a":[{"exists":false}]}"#]), "{}", &[0]);
    }

    #[test]
    fn a_repeat_behind_all_that_is_wanted_is_seen_only_on_demand() {
        let mut set = set(&[r#"{"a":[2]}"#]);
        let event = r#"{"a":1,"b":3,"a":2}"#;
        check(&set, event, &[]);
        set.stop_early(false);
        check(&set, event, &[0]);
    }

    #[test]
    fn a_dotted_name_behind_all_that_is_wanted_is_seen() {
        let set = set(&[r#"{"a":{"b":{"c":[1]}}}"#]);
        for event in [
            r#"{"a":{"b":{"c":2}},"a.b.c":1}"#,
            r#"{"a":{"b":{"c":2},"b.c":1}}"#,
            r#"{"a":{"b":{"c":2}},"\u0061.b.c":1}"#,
        ] {
            check(&set, event, &[0]);
        }
    }

    #[test]
    fn a_set_can_be_shared_between_threads() {
        fn shared<T: Send + Sync>(_: &T) {}
        shared(&set(&[]));
    }
}
