//! Does a rule set that changed many times answer as a new one of the same rules? Thousands of
//! rules, added, replaced and removed at random, with copies kept that must not change.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::collections::BTreeMap;

use fastrand::Rng;
use rule_engine::pattern::Options;
use rule_engine::{Pattern, RuleSet, oracle};

#[allow(dead_code, reason = "the kinds of a pair are counted elsewhere")]
mod generator;

use generator::{Generator, Kind, Theme};

const PATTERNS: usize = 4_000;
const EVENTS: usize = 60;
const IDS_MAX: u32 = 3_000;
const CHANGES: usize = 12_000;
/// Changes between two comparisons.
const COMPARE_EVERY: usize = 1_500;
/// Of the rules, those asked alone at a comparison.
const ALONE: usize = 100;

#[test]
fn a_set_that_changed_answers_as_a_new_one() {
    for (seed, theme) in (0..).zip(Theme::ALL) {
        Run::new(seed, theme).go();
    }
}

struct Run {
    random: Rng,
    patterns: Vec<Pattern>,
    events: Vec<String>,
    set: RuleSet<u32>,
    /// What the set should hold: for each id the number of its pattern.
    model: BTreeMap<u32, usize>,
}

/// A copy of the set, and what it answered to each event when it was made.
struct Kept {
    set: RuleSet<u32>,
    answers: Vec<Vec<u32>>,
}

impl Run {
    fn new(seed: u64, theme: Theme) -> Self {
        let mut generator = Generator::new(seed, theme);
        let options = Options {
            complexity_limit: None,
        };
        let mut patterns = Vec::new();
        let mut events = Vec::new();
        while patterns.len() < PATTERNS {
            let pair = generator.pair();
            patterns.push(Pattern::parse_with(&pair.pattern, &options).unwrap());
            if events.len() < EVENTS && !pair.kinds.has(Kind::Repeat) {
                events.push(pair.event);
            }
        }
        Run {
            random: Rng::with_seed(seed),
            patterns,
            events,
            set: RuleSet::new(),
            model: BTreeMap::new(),
        }
    }

    fn go(&mut self) {
        let mut kept: Option<Kept> = None;
        for step in 0..CHANGES {
            // It grows, is full for a while, and shrinks; then it grows again.
            let growing = step % (CHANGES / 2) < CHANGES / 3;
            self.change(growing);
            if step % COMPARE_EVERY == 0 {
                self.compare();
                if let Some(kept) = kept.take() {
                    assert_eq!(self.answers(&kept.set), kept.answers, "a copy changed");
                }
                kept = Some(Kept {
                    set: self.set.clone(),
                    answers: self.answers(&self.set),
                });
            }
        }
        self.compare();
        self.empty();
    }

    fn change(&mut self, growing: bool) {
        let id = self.random.u32(..IDS_MAX);
        let which = self.random.usize(..PATTERNS);
        let pattern = &self.patterns[which];
        let there = self.model.contains_key(&id);
        match self.random.u32(..10) {
            0..2 => {
                assert_eq!(self.set.replace(id, pattern), there);
                self.model.insert(id, which);
            }
            2..8 if growing => {
                assert_eq!(self.set.add(id, pattern), !there);
                self.model.entry(id).or_insert(which);
            }
            _ => {
                assert_eq!(self.set.remove(id), there);
                self.model.remove(&id);
            }
        }
        assert_eq!(self.set.len(), self.model.len());
    }

    /// With a new set built in another order, and for some rules with the oracle.
    fn compare(&mut self) {
        let mut rules: Vec<(u32, usize)> = self.model.clone().into_iter().collect();
        self.random.shuffle(&mut rules);
        let mut new = RuleSet::new();
        for (id, which) in &rules {
            new.add(*id, &self.patterns[*which]);
        }
        let answers = self.answers(&self.set);
        assert_eq!(answers, self.answers(&new), "a new set");
        for (event, answer) in self.events.iter().zip(&answers) {
            self.random.shuffle(&mut rules);
            for (id, which) in rules.iter().take(ALONE) {
                let alone = oracle::matches(&self.patterns[*which], event.as_bytes()).unwrap();
                let found = answer.binary_search(id).is_ok();
                assert_eq!(found, alone, "{:?} {event}", self.patterns[*which]);
            }
        }
    }

    fn answers(&self, set: &RuleSet<u32>) -> Vec<Vec<u32>> {
        let answer = |event: &String| {
            let mut out = Vec::new();
            set.matches(event.as_bytes(), &mut out);
            out
        };
        self.events.iter().map(answer).collect()
    }

    /// Nothing of the rules that were there is left when the last is gone.
    fn empty(&mut self) {
        for id in self.model.keys() {
            assert!(self.set.remove(*id));
        }
        assert!(self.set.is_empty());
        assert!(self.answers(&self.set).iter().all(Vec::is_empty));
        let pattern = &self.patterns[0];
        for id in 0..IDS_MAX {
            self.set.add(id, pattern);
        }
        for (event, answer) in self.events.iter().zip(self.answers(&self.set)) {
            let alone = oracle::matches(pattern, event.as_bytes()).unwrap();
            assert_eq!(answer.len(), if alone { IDS_MAX as usize } else { 0 });
        }
    }
}
