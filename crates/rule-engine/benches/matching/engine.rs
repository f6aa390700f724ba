//! One rule set and one file of events, ready to be timed.

use std::hint::black_box;
use std::thread;
use std::time::Duration;

use rule_engine::json::{Limits, validate};
use rule_engine::pattern::Options;
use rule_engine::{Pattern, RuleSet};
use serde::de::IgnoredAny;

use crate::clock;
use crate::rows::{self, Row};

/// What is done with each event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Ask the rule set.
    Busbar,
    /// The same, and each event is read to its end although all that is wanted was seen.
    Whole,
    /// Check the event as the door does.
    Validate,
    /// Let serde_json read it and keep nothing: the floor.
    Skip,
}

impl Engine {
    /// All of them, ours first.
    pub const ALL: [Engine; 4] = [
        Engine::Busbar,
        Engine::Whole,
        Engine::Validate,
        Engine::Skip,
    ];

    /// As it is printed and asked for.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Busbar => "busbar",
            Engine::Whole => "busbar-whole",
            Engine::Validate => "validate",
            Engine::Skip => "skip",
        }
    }
}

/// A rule set, and what it cost to build.
pub struct Rules {
    /// The ids are the places in the file.
    pub set: RuleSet<u32>,
    /// The same rules, for [`Engine::Whole`].
    whole: RuleSet<u32>,
    /// Processor time of reading the patterns and adding them.
    adding: Duration,
    /// Resident memory after minus before.
    bytes: u64,
}

impl Rules {
    /// Reads and adds the rules of a row.
    ///
    /// # Errors
    /// The file is missing.
    pub fn of(row: &Row) -> Result<Rules, String> {
        let text = rows::read(&row.rules)?;
        let text = std::str::from_utf8(&text).expect("gen.py writes UTF-8");
        let before = clock::resident_bytes();
        let start = clock::cpu();
        let mut set = RuleSet::new();
        for (id, pattern) in (0..).zip(rows::patterns(text, row.category)) {
            set.add(id, &parse(pattern));
        }
        let adding = clock::cpu() - start;
        let bytes = clock::resident_bytes().saturating_sub(before);
        let mut whole = set.clone();
        whole.stop_early(false);
        Ok(Rules {
            set,
            whole,
            adding,
            bytes,
        })
    }

    /// `added SET RULES RULES/S BYTES/RULE`.
    pub fn print(&self, row: &Row) {
        let rules = self.set.len();
        // `uniq-100/one` is one of the rows of the set `uniq-100`; `hard/stars` is its own.
        let name = match row.name.split_once('/') {
            Some((set, _)) if set.contains('-') => set,
            _ => &row.name,
        };
        let a_second = rules as f64 / self.adding.as_secs_f64();
        let bytes = self.bytes / rules as u64;
        println!("added {name} {rules} {a_second:.0} {bytes}");
    }
}

/// Reads a pattern with no limit on wildcards: `hard` holds what AWS refuses.
pub fn parse(pattern: &str) -> Pattern {
    let options = Options {
        complexity_limit: None,
    };
    Pattern::parse_with(pattern, &options).expect("the files hold good patterns")
}

/// The events of a row, and what was found out about them before anything is timed.
pub struct Events {
    /// Each event of the file.
    pub events: Vec<Vec<u8>>,
    /// Matches over one pass, as counted.
    matches: u64,
}

/// What one timed stretch gave.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// Events that were read, repeats counted.
    pub events: u64,
    /// Processor time for each.
    pub ns_per_event: f64,
}

impl Events {
    /// Reads the events, and makes one pass that warms up and is checked.
    ///
    /// # Errors
    /// The file is missing, an event is none, or the matches are not those that must be.
    pub fn of(row: &Row, rules: &Rules) -> Result<Events, String> {
        let events = rows::events(&rows::read(&row.events)?, row.times);
        for event in &events {
            validate(event, &Limits::default()).map_err(|e| format!("{}: {e}", row.events))?;
        }
        let mut events = Events { events, matches: 0 };
        events.matches = events.pass(&rules.set);
        match events.matches == row.matches {
            true => Ok(events),
            false => Err(format!(
                "{}: {} matches, there must be {}",
                row.name, events.matches, row.matches
            )),
        }
    }

    /// Matches every event once and counts the matches.
    pub fn pass(&self, set: &RuleSet<u32>) -> u64 {
        let mut out = Vec::new();
        let mut matches = 0;
        for event in &self.events {
            set.matches(event, &mut out);
            matches += out.len() as u64;
        }
        matches
    }

    fn pass_of(&self, engine: Engine, rules: &Rules) {
        match engine {
            Engine::Busbar => assert_eq!(self.pass(&rules.set), self.matches),
            Engine::Whole => assert_eq!(self.pass(&rules.whole), self.matches),
            Engine::Validate => {
                for event in &self.events {
                    black_box(validate(event, &Limits::default())).expect("it was good before");
                }
            }
            Engine::Skip => {
                for event in &self.events {
                    black_box(serde_json::from_slice::<IgnoredAny>(event)).expect("it is JSON");
                }
            }
        }
    }

    /// Passes that take about `stretch` of processor time.
    pub fn passes_in(&self, stretch: Duration, engine: Engine, rules: &Rules) -> u32 {
        let start = clock::cpu();
        self.pass_of(engine, rules);
        let one = clock::cpu() - start;
        let passes = stretch.as_nanos() / one.as_nanos().max(1);
        u32::try_from(passes).unwrap_or(u32::MAX).max(1)
    }

    /// Makes `passes` passes on each of `threads` threads, all on the one rule set.
    pub fn read(&self, engine: Engine, rules: &Rules, passes: u32, threads: u32) -> Reading {
        let work = || (0..passes).for_each(|_| self.pass_of(engine, rules));
        let start = clock::cpu();
        if threads == 1 {
            work();
        } else {
            thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(work);
                }
            });
        }
        let spent = clock::cpu() - start;
        let events = self.events.len() as u64 * u64::from(passes * threads);
        Reading {
            events,
            ns_per_event: spent.as_nanos() as f64 / events as f64,
        }
    }

    /// The line that every engine prints:
    /// `ENGINE WORKLOAD RULES EVENTS EVENTS/S NS/EVENT MATCHES`.
    pub fn print(&self, engine: &str, row: &Row, rules: &Rules, reading: Reading) {
        let Reading {
            events,
            ns_per_event,
        } = reading;
        let (workload, rules) = (&row.name, rules.set.len());
        let (a_second, matches) = (1e9 / ns_per_event, self.matches);
        println!("{engine} {workload} {rules} {events} {a_second:.0} {ns_per_event:.1} {matches}");
    }
}
