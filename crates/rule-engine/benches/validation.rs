//! How fast events are validated, against serde_json's reading over the same bytes.
//!
//! `BUSBAR_BENCH_DATA=folder cargo bench -p rule-engine --bench validation` prints for each file
//! nanoseconds of CPU time per event, and how many times as fast as serde_json's `IgnoredAny`
//! `validate` is. The two take turns, so that a change of the machine's mood meets both. Files
//! that are missing are left out; the folder is the one that the workload generator fills.

use rule_engine::json::{Limits, validate};
use rustix::time::{ClockId, clock_gettime};
use serde::de::IgnoredAny;
use std::hint::black_box;
use std::path::Path;

const FILES: [&str; 3] = [
    "bus-events-one-1.jsonl",
    "lots-objects.jsonl",
    "lots-arrays.jsonl",
];
/// Events of a file: few enough to stay in the cache, as one does that has just come in.
const EVENTS_MAX: usize = 1_000;
/// Turns that each of the two takes. Odd, so that there is a median.
const ROUNDS: usize = 101;

fn main() {
    let Some(folder) = std::env::var_os("BUSBAR_BENCH_DATA") else {
        println!("validation: nothing to read, BUSBAR_BENCH_DATA is not set");
        return;
    };
    println!("file                     bytes   skip ns   validate ns   ratio");
    for file in FILES {
        let Ok(text) = std::fs::read(Path::new(&folder).join(file)) else {
            println!("{file:<24} is missing");
            continue;
        };
        let events = text.split(|byte| *byte == b'\n');
        let events: Vec<&[u8]> = events
            .filter(|event| !event.is_empty())
            .take(EVENTS_MAX)
            .collect();
        assert!(!events.is_empty(), "{file} is empty");
        report(file, &events);
    }
}

fn report(file: &str, events: &[&[u8]]) {
    let limits = Limits::default();
    let skips = |event: &[u8]| serde_json::from_slice::<IgnoredAny>(event).is_ok();
    let validates = |event: &[u8]| validate(event, &limits).is_ok();
    let mut skip_ns = [0.0; ROUNDS];
    let mut validate_ns = [0.0; ROUNDS];
    for round in 0..ROUNDS {
        skip_ns[round] = nanoseconds(events, skips);
        validate_ns[round] = nanoseconds(events, validates);
    }
    let bytes = events.iter().map(|event| event.len()).sum::<usize>() / events.len();
    let (skip, validate) = (median(skip_ns), median(validate_ns));
    let ratio = skip / validate;
    println!("{file:<24} {bytes:>5} {skip:>9.1} {validate:>13.1} {ratio:>7.2}");
}

/// CPU time per event.
fn nanoseconds(events: &[&[u8]], takes: impl Fn(&[u8]) -> bool) -> f64 {
    let start = cpu_nanoseconds();
    for event in events {
        assert!(takes(black_box(event)));
    }
    (cpu_nanoseconds() - start) as f64 / events.len() as f64
}

fn cpu_nanoseconds() -> i64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

fn median(mut rounds: [f64; ROUNDS]) -> f64 {
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}
