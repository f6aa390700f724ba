//! kill -9 in the middle of a load, again and again: every acknowledged event reaches its queue, its
//! log and its webhook, none is invented, and repetitions stay within the bound of invariant I4.
//!
//! `BUSBAR_CRASH_CYCLES` sets how often (default 5), `BUSBAR_SEED` the moments of the kills,
//! `BUSBAR_CRASH_SLACK_MS` what this machine needs on top of the 5 ms of lazily synced outcomes.
//! A killed process leaves the page cache whole: what this test cannot see, `power_cut.rs` does.

#[allow(dead_code, reason = "each test uses its part of the support")]
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use support::Options;
use support::load::{Plan, Run};

/// A number from the environment, or what stands for it.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9() {
    let cycles = setting("BUSBAR_CRASH_CYCLES", 5);
    let seed = setting("BUSBAR_SEED", fastrand::u64(..1_000_000));
    println!("BUSBAR_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let plan = Plan {
        rate: 2_000,
        producers: 4,
        consume: true,
        window: Duration::from_millis(5 + setting("BUSBAR_CRASH_SLACK_MS", 1_000)),
        drain: Duration::from_secs(180),
        idle: Duration::from_secs(30),
    };
    let mut run = Run::start(&Options::default(), plan);
    for cycle in 1..=cycles {
        let before = run.acked();
        let time = Duration::from_millis(rng.u64(500..2_000));
        run.crash(time, |server| server.kill9())
            .unwrap_or_else(|fault| panic!("cycle {cycle}: {fault}"));
        assert!(
            before < run.acked(),
            "cycle {cycle}: nothing was acknowledged within {time:?}"
        );
    }
    let report = run.finish();
    println!("{}", report.line());
    assert!(report.faults.is_empty(), "{}", report.told());
}
