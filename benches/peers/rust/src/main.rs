//! The crate `quamina` on one row: `peer WORKLOAD RULES CATEGORY EVENTS SECONDS`.
//!
//! Prints `added WORKLOAD RULES RULES/S BYTES/RULE` when it is ready, or `refused WORKLOAD WHY`;
//! then, for each line of input, one reading of processor time:
//! `ENGINE WORKLOAD RULES EVENTS EVENTS/S NS/EVENT MATCHES`.

use std::time::Duration;
use std::{env, fs, io};

use quamina::{Quamina, QuaminaBuilder};
use rustix::time::{ClockId, clock_gettime};

/// Bytes that one automaton may take; the default of 10 MiB refuses uniq and mixq between 100
/// and 10,000 rules.
const BUDGET: usize = 8 << 30;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [workload, rules, category, events, seconds] = &arguments[..] else {
        return Err(io::Error::other("WORKLOAD RULES CATEGORY EVENTS SECONDS"));
    };
    let seconds: f64 = seconds.parse().map_err(io::Error::other)?;
    let rules = fs::read_to_string(rules)?;
    let head = format!("{{\"category\":\"{category}\",");
    let patterns: Vec<&str> = rules
        .lines()
        .filter(|line| category == "-" || line.starts_with(&head))
        .filter_map(|line| line.split_once("\"pattern\":")?.1.strip_suffix('}'))
        .collect();

    let builder = QuaminaBuilder::<u32>::new().with_arena_byte_budget(BUDGET);
    let mut quamina = builder.build().map_err(io::Error::other)?;
    let (before, start) = (resident_bytes(), cpu());
    for (id, pattern) in (0..).zip(&patterns) {
        if let Err(error) = quamina.add_pattern(id, pattern) {
            println!("refused {workload} {error}");
            return Ok(());
        }
    }
    let adding = cpu() - start;
    let bytes = resident_bytes().saturating_sub(before) / patterns.len() as u64;
    let count = patterns.len();

    let events = fs::read(events)?;
    let events: Vec<&[u8]> = events.split(|byte| *byte == b'\n').filter(|e| !e.is_empty()).collect();
    // The first match freezes the automaton; the second pass is warm.
    pass(&quamina, &events)?;
    println!("added {workload} {count} {:.0} {bytes}", count as f64 / adding.as_secs_f64());

    for line in io::stdin().lines() {
        line?;
        let (start, mut passes) = (cpu(), 0);
        let (matches, spent) = loop {
            let matches = pass(&quamina, &events)?;
            passes += 1;
            let spent = cpu() - start;
            if seconds <= spent.as_secs_f64() {
                break (matches, spent);
            }
        };
        let read = passes * events.len();
        let ns = spent.as_nanos() as f64 / read as f64;
        println!("quamina-rs {workload} {count} {read} {:.0} {ns:.1} {matches}", 1e9 / ns);
    }
    Ok(())
}

fn pass(quamina: &Quamina<u32>, events: &[&[u8]]) -> io::Result<usize> {
    let mut matches = 0;
    for event in events {
        matches += quamina.matches_for_event(event).map_err(io::Error::other)?.len();
    }
    Ok(matches)
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}
