//! What matching costs, on files that anyone can make again (`benches/data/SPEC.md`).
//!
//! ```sh
//! cargo bench -p rule-engine --bench matching -- uniq-100 lots/exact hard
//! ```
//!
//! Arguments select rows: `uniq-100/one`, a set (`uniq-100`), a family (`uniq`, `lots`, `hard`;
//! `hard2` is `hard` with events twice as large); none selects all. Before a row is timed its
//! matches are counted and compared. Then ours, ours without the early stop (`busbar-whole`), the check
//! at the door (`validate`) and serde_json's skip (`skip`) are read in turn, and the
//! median of five readings of processor time is printed:
//! `ENGINE WORKLOAD RULES EVENTS EVENTS/S NS/EVENT MATCHES`.
//!
//! | option | does |
//! | --- | --- |
//! | `--quick` | shorter stretches and ours alone, for use while the engine is being changed |
//! | `--changes` | for the rows `uniq-N/one`: one more rule, rules replaced meanwhile |
//! | `--threads` | for each row: two threads on one set, two processes |
//! | `--list` | prints the rows: `NAME RULES-FILE CATEGORY EVENTS-FILE MATCHES` |
//! | `--add ROW` | adds the rules and no more |
//! | `--turns ENGINE ROW THREADS` | takes one reading for each line of input, for who times engines in turn |

mod changes;
mod clock;
mod engine;
mod rows;
mod worker;

use std::env;
use std::io::{self, BufRead};
use std::process::ExitCode;
use std::time::Duration;

use clock::ROUNDS;
use engine::{Engine, Events, Reading, Rules};
use rows::Row;
use worker::Worker;

/// Processor time of one reading, about.
const STRETCH: Duration = Duration::from_millis(300);
const STRETCH_QUICK: Duration = Duration::from_millis(60);
const ROUNDS_QUICK: usize = 3;

fn main() -> ExitCode {
    let mut arguments: Vec<String> = env::args().skip(1).collect();
    let mut has = |option: &str| {
        let before = arguments.len();
        arguments.retain(|argument| argument != option);
        arguments.len() < before
    };
    // Cargo says `--bench` when it means it; without, this is `cargo test --benches`.
    if !has("--bench") {
        return ExitCode::SUCCESS;
    }
    let (quick, with_changes, with_threads) = (has("--quick"), has("--changes"), has("--threads"));
    if has("--list") {
        list();
        return ExitCode::SUCCESS;
    }
    let done = if has("--add") {
        add(&arguments)
    } else if has("--turns") {
        turns(&arguments)
    } else {
        let mut rows = rows::all();
        rows.retain(|row| {
            arguments.is_empty()
                || arguments
                    .iter()
                    .any(|selector| row.is_selected_by(selector))
        });
        let options = Options {
            quick,
            with_changes,
            with_threads,
        };
        run(&rows, &options)
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

struct Options {
    quick: bool,
    with_changes: bool,
    with_threads: bool,
}

fn list() {
    for row in rows::all().iter().filter(|row| row.times == 1) {
        let category = row.category.unwrap_or("-");
        println!(
            "{} {} {category} {} {}",
            row.name, row.rules, row.events, row.matches
        );
    }
}

/// Runs every row; the first that cannot be run ends it.
fn run(rows: &[Row], options: &Options) -> Result<(), String> {
    if rows.is_empty() {
        return Err("no row of this name; `--list` names them".to_owned());
    }
    for same_rules in rows.chunk_by(Row::shares_rules_with) {
        // Memory is told in a process of its own: what earlier sets gave back would hide it.
        worker::add(&same_rules[0])?;
        let rules = Rules::of(&same_rules[0])?;
        for row in same_rules {
            let events = Events::of(row, &rules)?;
            in_turn(row, &rules, &events, options.quick);
            if options.with_changes && row.name.starts_with("uniq") && row.name.ends_with("/one") {
                changes::one_more(row, &rules, &events)?;
                changes::replacing(row, &rules, &events, STRETCH)?;
            }
            if options.with_threads {
                threads_and_processes(row, rules.set.len())?;
            }
        }
    }
    Ok(())
}

/// Reads the engines one after the other, several rounds, and prints the medians.
fn in_turn(row: &Row, rules: &Rules, events: &Events, quick: bool) {
    let (engines, stretch, rounds) = match quick {
        true => (&Engine::ALL[..1], STRETCH_QUICK, ROUNDS_QUICK),
        false => (&Engine::ALL[..], STRETCH, ROUNDS),
    };
    let passes: Vec<u32> = engines
        .iter()
        .map(|engine| events.passes_in(stretch, *engine, rules))
        .collect();
    let mut readings = vec![Vec::new(); engines.len()];
    for _ in 0..rounds {
        for (index, engine) in engines.iter().enumerate() {
            let reading = events.read(*engine, rules, passes[index], 1);
            readings[index].push((reading.ns_per_event, reading.events));
        }
    }
    for (engine, readings) in engines.iter().zip(&mut readings) {
        let (ns_per_event, count) = clock::median(readings);
        let reading = Reading {
            events: count,
            ns_per_event,
        };
        events.print(engine.name(), row, rules, reading);
    }
}

/// Adds the rules of one row and prints what that cost.
fn add(arguments: &[String]) -> Result<(), String> {
    let row = row_named(arguments.first().map_or("", |name| name))?;
    Rules::of(&row)?.print(&row);
    Ok(())
}

fn row_named(name: &str) -> Result<Row, String> {
    let row = rows::all().into_iter().find(|row| row.name == name);
    row.ok_or_else(|| format!("no row `{name}`; `--list` names them"))
}

/// Serves readings of one engine on one row: a line in, a line out, until the input ends.
fn turns(arguments: &[String]) -> Result<(), String> {
    let usage = || "--turns ENGINE ROW THREADS".to_owned();
    let [engine, name, threads] = arguments else {
        return Err(usage());
    };
    let engine = Engine::ALL
        .into_iter()
        .find(|known| known.name() == engine)
        .ok_or_else(usage)?;
    let threads = threads.parse().map_err(|_| usage())?;
    let row = row_named(name)?;
    let rules = Rules::of(&row)?;
    let events = Events::of(&row, &rules)?;
    let passes = events.passes_in(STRETCH, engine, &rules);
    rules.print(&row);
    for line in io::stdin().lock().lines() {
        line.map_err(|error| error.to_string())?;
        let reading = events.read(engine, &rules, passes, threads);
        events.print(engine.name(), &row, &rules, reading);
    }
    Ok(())
}

/// Two threads on one set against two processes of one thread each, in turn. Events a second are
/// of wall time here, nanoseconds still of processor time.
fn threads_and_processes(row: &Row, rules: usize) -> Result<(), String> {
    let mut teams = [
        ("threads-2", vec![Worker::start(row, 2)?]),
        (
            "processes-2",
            vec![Worker::start(row, 1)?, Worker::start(row, 1)?],
        ),
    ];
    let mut readings = [const { Vec::new() }; 2];
    for _ in 0..ROUNDS {
        for (index, (_, team)) in teams.iter_mut().enumerate() {
            let start = clock::wall();
            for worker in team.iter_mut() {
                worker.ask()?;
            }
            let mut count = 0;
            let mut cpu_ns = 0.0;
            for worker in team.iter_mut() {
                let reading = worker.answer()?;
                count += reading.events;
                cpu_ns += reading.ns_per_event * reading.events as f64;
            }
            let wall_ns = (clock::wall() - start).as_nanos() as f64;
            readings[index].push((wall_ns / count as f64, cpu_ns / count as f64, count));
        }
    }
    for ((name, _), readings) in teams.iter().zip(&mut readings) {
        let (wall_ns, cpu_ns, count) = clock::median(readings);
        let (workload, a_second) = (&row.name, 1e9 / wall_ns);
        println!(
            "{name} {workload} {rules} {count} {a_second:.0} {cpu_ns:.1} {}",
            row.matches
        );
    }
    Ok(())
}
