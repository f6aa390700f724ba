//! Do the seeds of `fuzz` hold? The functions are those that the fuzzer runs.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::fs;

#[path = "../../../fuzz/src/lib.rs"]
mod fuzz;

#[track_caller]
fn run(target: &str, check: fn(&[u8])) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds");
    let seeds: Vec<_> = fs::read_dir(format!("{folder}/{target}"))
        .unwrap()
        .map(|seed| seed.unwrap().path())
        .collect();
    assert!(20 <= seeds.len(), "{target}: {}", seeds.len());
    for seed in seeds {
        println!("{}", seed.display());
        let bytes = fs::read(seed).unwrap();
        check(&bytes);
        // Cut short, as a fuzzer would.
        for end in 0..bytes.len() {
            check(&bytes[..end]);
        }
    }
}

#[test]
fn patterns() {
    run("pattern", fuzz::pattern);
}

#[test]
fn events() {
    run("event", fuzz::event);
}

#[test]
fn rules() {
    run("rules", fuzz::rules);
}

#[test]
fn what_few_seeds_have() {
    let deep = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    fuzz::event(deep(999).as_bytes());
    fuzz::event(deep(1_000).as_bytes());
    fuzz::event(deep(100_000).as_bytes());
    fuzz::event(format!("{{{}}}", vec!["\"a\":0"; 10_001].join(",")).as_bytes());
    fuzz::event(b"{\"a\":\"\\ud800\"}");
    fuzz::event(b"{\"a\":\"\xff\"}");
    fuzz::event(b"\xff");
    fuzz::pattern(deep(100).as_bytes());
    fuzz::rules(b"\n{}");
    fuzz::rules(b"");
}
