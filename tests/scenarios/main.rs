//! The acceptance scenarios of certificate-lifecycle.md, against the whole server over its public API, with a
//! clock that the runner sets.
//!
//! `fixtures/certificate-lifecycle/README.md` says what the steps and expectations mean. `BUSBAR_SCENARIOS=FILE`
//! runs the scenarios of another file, `BUSBAR_SCENARIO=ID` one of them, `BUSBAR_INVALID=DIR` refuses the
//! documents of another folder.
//!
//! | file | holds |
//! | --- | --- |
//! | `bus` | the server of a scenario, and calls of it |
//! | `steps` | what each step does, and what `Then` says |
//! | `told` | the scenarios that are told in words |

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test; and it waits in real time"
)]

#[allow(dead_code, reason = "each test uses its part of the support")]
#[path = "../support/mod.rs"]
mod support;

mod bus;
mod steps;
mod told;

use bus::{Bus, fixtures, read, text};
use std::collections::BTreeSet;
use std::path::PathBuf;

#[test]
fn every_scenario_passes() {
    let file = std::env::var_os("BUSBAR_SCENARIOS").map(PathBuf::from);
    let scenarios = read(&file.unwrap_or_else(|| fixtures().join("scenarios.json")));
    let mut scenarios = scenarios.as_array().unwrap().clone();
    if let Ok(only) = std::env::var("BUSBAR_SCENARIO") {
        scenarios.retain(|scenario| scenario["Id"] == *only);
    }
    assert!(!scenarios.is_empty());
    let mut failed = Vec::new();
    for scenario in &scenarios {
        let id = text(&scenario["Id"]);
        let mut bus = Bus::start(&scenario["Given"]);
        for (n, step) in scenario["Steps"].as_array().unwrap().iter().enumerate() {
            let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let seen = bus.step(step);
                bus.differs(step, &seen)
            }));
            let faults = played.unwrap_or_else(|_| vec!["panicked".into()]);
            failed.extend(faults.iter().map(|it| format!("{id} step {}: {it}", n + 1)));
        }
        bus.halt();
    }
    let ids: BTreeSet<&str> = failed
        .iter()
        .filter_map(|it| it.split(' ').next())
        .collect();
    let passed = scenarios.len() - ids.len();
    assert!(
        failed.is_empty(),
        "{passed} of {} pass\n{}",
        scenarios.len(),
        failed.join("\n")
    );
}
