//! What changes of rules cost while events are matched: the set is cloned, changed, and put in
//! the place of the old one, as the server does it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use memchr::memmem;
use rule_engine::RuleSet;

use crate::clock::{self, ROUNDS};
use crate::engine::{self, Events, Reading, Rules};
use crate::rows::{self, Row};

/// Replacements that are asked for in a second.
const REPLACED_PER_SECOND: u32 = 1_000;
/// Rules that take turns at being replaced.
const SPARE_RULES: usize = 1_000;
/// Most tries at adding one more rule, and the processor time they may take together.
const TRIES: usize = 100;
const TRYING: Duration = Duration::from_secs(2);

/// Patterns like those of the set, with ids in `detail` that no event has: they stand among the
/// others in every index, and change no total.
fn spare(text: &str, letter: char) -> Vec<String> {
    let lookalike = format!("\"{letter}-");
    rows::patterns(text, None)
        .take(SPARE_RULES)
        .map(|pattern| pattern.replace("\"i-", &lookalike))
        .collect()
}

/// Prints `one-more SET RULES MICROSECONDS`: from the text of a rule until the set that readers
/// load has answered one event with it; median.
///
/// # Errors
/// A file is missing.
pub fn one_more(row: &Row, rules: &Rules, events: &Events) -> Result<(), String> {
    let text = rows::read(&row.rules)?;
    let text = std::str::from_utf8(&text).expect("gen.py writes UTF-8");
    let shared = ArcSwap::from_pointee(rules.set.clone());
    let mut readings = Vec::new();
    let began = clock::cpu();
    let mut out = Vec::new();
    for (id, event) in (u32::MAX / 2..).zip(events.events.iter().take(TRIES)) {
        let pattern = pattern_of(event, text);
        let start = clock::cpu();
        change(&shared, |set| assert!(set.add(id, &engine::parse(pattern))));
        shared.load().matches(event, &mut out);
        readings.push(clock::cpu() - start);
        assert_eq!(out.last(), Some(&id), "the rule is not in effect");
        if TRYING < clock::cpu() - began {
            break;
        }
    }
    let set = row.name.split('/').next().unwrap_or_default();
    let microseconds = clock::median(&mut readings).as_nanos() as f64 / 1e3;
    println!("one-more {set} {} {microseconds:.1}", rules.set.len());
    Ok(())
}

/// The pattern of `uniq` that asks for the id of an event.
fn pattern_of<'t>(event: &[u8], rules: &'t str) -> &'t str {
    const HEAD: &str = "\"id\":\"i-";
    let start = memmem::find(event, HEAD.as_bytes()).expect("an event of `uniq`") + HEAD.len() - 2;
    let id = &event[start..start + 18];
    let place = memmem::find(rules.as_bytes(), id).expect("each event matches one rule");
    let line_start = rules[..place].rfind('\n').map_or(0, |end| end + 1);
    let line = rules[line_start..].lines().next();
    let pattern = line.and_then(|line| rows::patterns(line, None).next());
    pattern.expect("a line that holds a pattern")
}

/// Matches on this thread while another replaces rules, and prints the median reading as engine
/// `replacing`; then `replaced SET RULES REPLACED/S`, which says whether the writer kept up.
///
/// # Errors
/// A file is missing.
pub fn replacing(
    row: &Row,
    rules: &Rules,
    events: &Events,
    stretch: Duration,
) -> Result<(), String> {
    let text = rows::read(&row.rules)?;
    let text = std::str::from_utf8(&text).expect("gen.py writes UTF-8");
    let patterns = [spare(text, 'j'), spare(text, 'k')].map(|texts| {
        texts
            .iter()
            .map(|text| engine::parse(text))
            .collect::<Vec<_>>()
    });
    let shared = ArcSwap::from_pointee(rules.set.clone());
    let id_of = |index: usize| u32::MAX / 2 + index as u32;
    change(&shared, |set| {
        for (index, pattern) in patterns[0].iter().enumerate() {
            assert!(set.add(id_of(index), pattern));
        }
    });

    let stop = AtomicBool::new(false);
    let began = clock::wall();
    let (mut readings, replaced) = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut replaced = 0u32;
            while !stop.load(Ordering::Relaxed) {
                let due = began + Duration::from_secs(1) / REPLACED_PER_SECOND * replaced;
                thread::sleep(due.saturating_sub(clock::wall()));
                let index = replaced as usize % patterns[0].len();
                let turn = 1 + replaced as usize / patterns[0].len();
                let pattern = &patterns[turn % 2][index];
                change(&shared, |set| assert!(set.replace(id_of(index), pattern)));
                replaced += 1;
            }
            replaced
        });
        let readings: Vec<f64> = (0..ROUNDS)
            .map(|_| reading(&shared, events, row.matches, stretch))
            .collect();
        stop.store(true, Ordering::Relaxed);
        (readings, writer.join().expect("the writer does not panic"))
    });
    let seconds = (clock::wall() - began).as_secs_f64();
    let reading = Reading {
        events: events.events.len() as u64,
        ns_per_event: clock::median(&mut readings),
    };
    events.print("replacing", row, rules, reading);
    let set = row.name.split('/').next().unwrap_or_default();
    let a_second = f64::from(replaced) / seconds;
    println!("replaced {set} {} {a_second:.0}", rules.set.len());
    Ok(())
}

/// Processor time for each event, the writer's included; the set is loaded anew for each.
fn reading(
    shared: &ArcSwap<RuleSet<u32>>,
    events: &Events,
    matches: u64,
    stretch: Duration,
) -> f64 {
    let mut out = Vec::new();
    let mut passes = 0;
    let start = clock::cpu();
    loop {
        let mut found = 0;
        for event in &events.events {
            shared.load().matches(event, &mut out);
            found += out.len() as u64;
        }
        assert_eq!(found, matches);
        passes += events.events.len();
        let spent = clock::cpu() - start;
        if stretch <= spent {
            return spent.as_nanos() as f64 / passes as f64;
        }
    }
}

/// One change, seen whole or not at all.
fn change(shared: &ArcSwap<RuleSet<u32>>, edit: impl FnOnce(&mut RuleSet<u32>)) {
    let mut next = RuleSet::clone(&shared.load());
    edit(&mut next);
    shared.store(Arc::new(next));
}
