//! Does the rule set answer as the oracle does? Generated pairs, each alone and among a thousand
//! other rules.
//!
//! | variable | meaning | default |
//! | --- | --- | --- |
//! | `BUSBAR_PAIRS` | how many pairs | 100,000 |
//! | `BUSBAR_SEED` | which pairs; other seeds have none in common | 1 |
//! | `BUSBAR_CHUNK` | only this thousand of them, to repeat a difference | all |

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::env;
use std::fmt::Write as _;

use rule_engine::pattern::Options;
use rule_engine::{Pattern, RuleSet, oracle};

mod generator;

use generator::{Generator, Kind, Pair, Theme};

/// Pairs that share one crowd of other rules.
const CHUNK: u64 = 1_000;
const CROWD: u32 = 1_000;
/// Among so many pairs, one is asked of every rule of the crowd as well.
const WHOLE_CROWD_EVERY: u64 = 100;

#[test]
fn the_rule_set_answers_as_the_oracle() {
    let seed = number("BUSBAR_SEED").unwrap_or(1);
    let chunks = match number("BUSBAR_CHUNK") {
        Some(chunk) => chunk..chunk + 1,
        None => 0..number("BUSBAR_PAIRS").unwrap_or(100_000).div_ceil(CHUNK),
    };
    let whole_run = 100 <= chunks.end - chunks.start;
    let mut tally = Tally {
        pairs: 0,
        matching: 0,
        kinds: [[0; 2]; Kind::ALL.len()],
    };
    for chunk in chunks {
        compare(seed, chunk, &mut tally);
    }
    println!("BUSBAR_SEED={seed}\n{tally}");
    if whole_run {
        tally.check();
    }
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.replace('_', "").parse().unwrap())
}

fn compare(seed: u64, chunk: u64, tally: &mut Tally) {
    let theme = Theme::ALL[usize::try_from(chunk).unwrap() % Theme::ALL.len()];
    let mut generator = Generator::new((seed << 32) + chunk, theme);
    let crowd: Vec<String> = (0..CROWD).map(|_| generator.pair().pattern).collect();
    let parsed: Vec<Pattern> = crowd.iter().map(|text| parse(text)).collect();
    let mut set = RuleSet::new();
    for (id, pattern) in (0..).zip(&parsed) {
        assert!(set.add(2 * id, pattern));
    }
    let mut out = Vec::new();
    for n in 0..CHUNK {
        let pair = generator.pair();
        let event = pair.event.as_bytes();
        let pattern = parse(&pair.pattern);
        let expected = oracle::matches(&pattern, event).unwrap();
        tally.count(&pair, expected);
        let whole = pair.kinds.has(Kind::Repeat);
        let id = 2 * u32::try_from(n).unwrap() + 1;
        let fail = |among: &str, crowd: &[String]| -> ! {
            let found = Difference {
                pattern: pair.pattern.clone(),
                event: pair.event.clone(),
                crowd: crowd.to_vec(),
                whole,
                oracle: expected,
            };
            panic!("{among}: BUSBAR_SEED={seed} BUSBAR_CHUNK={chunk}, pair {n}\n{found}");
        };

        let mut alone = RuleSet::new();
        alone.add(id, &pattern);
        read_whole(&mut alone, whole);
        alone.matches(event, &mut out);
        if out != if expected { vec![id] } else { vec![] } {
            fail("alone", &[]);
        }

        assert!(set.add(id, &pattern));
        read_whole(&mut set, whole);
        set.matches(event, &mut out);
        assert!(out.is_sorted_by(|a, b| a < b), "{out:?}");
        if out.contains(&id) != expected {
            fail("among others", &crowd);
        }
        if n % WHOLE_CROWD_EVERY == 0 {
            for (other, pattern) in (0..).zip(&parsed) {
                let expected = oracle::matches(pattern, event).unwrap();
                let text = &crowd[other as usize];
                let found = out.contains(&(2 * other));
                assert_eq!(
                    found, expected,
                    "among others: BUSBAR_SEED={seed} BUSBAR_CHUNK={chunk}, pair {n}, rule {other}\n\
                     pattern: {text}\nevent: {}",
                    pair.event
                );
            }
        }
        assert!(set.remove(id));
        assert_eq!(set.len(), CROWD as usize);
    }
}

fn parse(pattern: &str) -> Pattern {
    try_parse(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"))
}

fn try_parse(pattern: &str) -> Result<Pattern, rule_engine::PatternError> {
    let options = Options {
        complexity_limit: None,
    };
    Pattern::parse_with(pattern, &options)
}

/// Says whether the set must read an event to its end. One that repeats a name has to be: else
/// a set may stop when it has seen every path that it wants.
fn read_whole(set: &mut RuleSet<u32>, whole: bool) {
    set.stop_early(!whole);
}

struct Tally {
    pairs: u64,
    matching: u64,
    /// Of each kind the pairs that do not match, and those that do.
    kinds: [[u64; 2]; Kind::ALL.len()],
}

impl Tally {
    fn count(&mut self, pair: &Pair, matches: bool) {
        self.pairs += 1;
        self.matching += u64::from(matches);
        for (counts, kind) in self.kinds.iter_mut().zip(Kind::ALL) {
            counts[usize::from(matches)] += u64::from(pair.kinds.has(kind));
        }
    }

    fn of(&self, kind: Kind) -> [u64; 2] {
        let at = Kind::ALL.iter().position(|it| *it == kind).unwrap();
        self.kinds[at]
    }

    fn check(&self) {
        assert!(self.pairs <= 2 * self.matching, "at least half match");
        let rows: u64 = self.of(Kind::ArrayOfObjects).iter().sum();
        assert!(
            self.pairs * 6 <= rows * 10,
            "arrays of objects are in most events"
        );
        for kind in Kind::ALL {
            let [no, yes] = self.of(kind);
            let least = self.pairs / 250;
            assert!(least <= no && least <= yes, "{kind:?}: {no} {yes}");
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let share = |part: u64| part as f64 * 100.0 / self.pairs as f64;
        let rows: u64 = self.of(Kind::ArrayOfObjects).iter().sum();
        writeln!(
            out,
            "{} pairs, {:.1} % match, {:.1} % with arrays of objects",
            self.pairs,
            share(self.matching),
            share(rows)
        )?;
        for (kind, [no, yes]) in Kind::ALL.iter().zip(self.kinds) {
            writeln!(
                out,
                "{:>22} no {no:>8}  match {yes:>8}",
                format!("{kind:?}")
            )?;
        }
        Ok(())
    }
}

/// A pair on which the two do not agree. Shown, it is cut down first.
#[derive(Clone)]
struct Difference {
    pattern: String,
    event: String,
    crowd: Vec<String>,
    whole: bool,
    oracle: bool,
}

impl Difference {
    /// What a new set says, and the oracle; `None` when the texts are not a pair.
    fn answers(&self) -> Option<(bool, bool)> {
        let pattern = try_parse(&self.pattern).ok()?;
        let oracle = oracle::matches(&pattern, self.event.as_bytes()).ok()?;
        let mut set = RuleSet::new();
        set.add(u32::MAX, &pattern);
        for (id, text) in (0..).zip(&self.crowd) {
            set.add(id, &parse(text));
        }
        read_whole(&mut set, self.whole);
        let mut out = Vec::new();
        set.matches(self.event.as_bytes(), &mut out);
        Some((out.contains(&u32::MAX), oracle))
    }

    fn is_there(&self) -> bool {
        self.answers().is_some_and(|(set, oracle)| set != oracle)
    }

    /// Takes away rules, then text of the pattern and of the event, as long as they differ.
    fn shrink(&mut self) {
        let mut crowd = std::mem::take(&mut self.crowd);
        cut(&mut crowd, |crowd| {
            self.crowd = crowd.to_vec();
            self.is_there()
        });
        self.crowd = crowd;
        let mut whole = self.clone();
        whole.whole = true;
        // A text cut short may repeat a name, which is only a difference when it is read whole.
        if whole.is_there() {
            self.whole = true;
            let mut event: Vec<char> = self.event.chars().collect();
            cut(&mut event, |event| {
                whole.event = event.iter().collect();
                whole.is_there()
            });
            self.event = event.into_iter().collect();
        }
        let mut pattern: Vec<char> = self.pattern.chars().collect();
        cut(&mut pattern, |pattern| {
            self.pattern = pattern.iter().collect();
            self.is_there()
        });
        self.pattern = pattern.into_iter().collect();
    }
}

/// Drops runs of items, long ones first, wherever `still` holds without them.
fn cut<T: Clone>(items: &mut Vec<T>, mut still: impl FnMut(&[T]) -> bool) {
    let mut length = items.len();
    while 0 < length {
        let mut at = 0;
        while at < items.len() {
            let mut fewer = items.clone();
            fewer.drain(at..items.len().min(at + length));
            if still(&fewer) {
                *items = fewer;
            } else {
                at += length;
            }
        }
        length /= 2;
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        writeln!(text, "the oracle says {}", self.oracle)?;
        writeln!(text, "pattern: {}\nevent: {}", self.pattern, self.event)?;
        let mut small = self.clone();
        if small.is_there() {
            small.shrink();
            let (set, oracle) = small.answers().unwrap();
            writeln!(
                text,
                "smaller, where the set says {set}, the oracle {oracle}:"
            )?;
            writeln!(text, "pattern: {}\nevent: {}", small.pattern, small.event)?;
            for rule in &small.crowd {
                writeln!(text, "with the rule: {rule}")?;
            }
        } else {
            writeln!(
                text,
                "a new set agrees: earlier adds and removes are part of it"
            )?;
        }
        out.write_str(&text)
    }
}
