//! Is an accepted event ever lost? The core and the file engine on a simulated disk, under crashes, power
//! cuts, failing targets and changing rules, with a simulated clock; one seed a run.
//!
//! The model knows what was acknowledged, what targets took and what consumers deleted, and nothing of how
//! the bus works. After each run the faults stop, and everything that was acknowledged has to arrive:
//! invariants I1, I2, I3 and I10 of reliability-security.md. `BUSBAR_SEEDS=FROM..TO` runs other seeds; one that
//! fails prints itself and belongs into `seeds.txt`.

#![allow(
    clippy::unwrap_used,
    reason = "a test that meets what it does not expect ends"
)]

mod world;

use world::World;

/// Seeds of every run of the suite, besides those of `seeds.txt`.
const SEEDS: u64 = 600;
/// Steps of one seed.
const STEPS: usize = 400;

fn check(seed: u64) {
    let run = std::panic::AssertUnwindSafe(|| World::new(seed).run(STEPS));
    if let Err(panic) = std::panic::catch_unwind(run) {
        eprintln!("seed {seed} failed; add it to tests/simulation/seeds.txt");
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn every_acknowledged_event_arrives_whatever_fails() {
    let (from, to) = match std::env::var("BUSBAR_SEEDS") {
        Ok(range) => {
            let (from, to) = range.split_once("..").expect("FROM..TO");
            (
                from.parse().expect("a number"),
                to.parse().expect("a number"),
            )
        }
        Err(_) => (0, SEEDS),
    };
    (from..to).for_each(check);
}

#[test]
fn seeds_that_failed_once_hold() {
    for line in include_str!("seeds.txt")
        .lines()
        .filter(|l| !l.starts_with('#') && !l.is_empty())
    {
        check(line.parse().expect("a number on each line"));
    }
}

#[test]
fn an_old_survivor_pins_only_its_own_segment() {
    World::new(1).one_delivery_waits_while_thousands_pass();
}
