//! `busbar history` on the shipped binary, over a history that real decisions made.
#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "../support/firings.rs"]
mod firings;
#[allow(dead_code, reason = "each test uses its part of the support")]
#[path = "../support/mod.rs"]
mod support;

use lifecycle::history::FiringRow;
use serde_json::Value;
use server::history::{History, Keep, Row};
use std::path::Path;
use std::process::Command;
use support::{Options, Server};

const FOR_EVER: Keep = Keep {
    age_ms: None,
    firings: None,
    now: || 0,
};

fn fill(data: &Path) -> Vec<FiringRow> {
    let all = firings::firings();
    std::fs::create_dir_all(data).unwrap();
    let history = History::open(&data.join("history.sqlite"), FOR_EVER).unwrap();
    for (position, firing) in (1..).zip(&all) {
        history.record(position, vec![Row::Firing(firing.clone())]);
    }
    history.close();
    all
}

fn options(data: &Path) -> Options {
    Options {
        data: Some(data.to_path_buf()),
        // The fixtures are of one day.
        config: Some("[history]\ndays = 0\n".into()),
        ..Options::default()
    }
}

/// Runs `busbar history`; its exit code and what it printed.
fn run(server: &Server, args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_busbar"))
        .arg("history")
        .args(args)
        .env("BUSBAR_ENDPOINT", format!("http://{}", server.api))
        .output()
        .unwrap();
    let told = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(told).unwrap())
}

#[track_caller]
fn told(server: &Server, args: &[&str]) -> String {
    let (code, text) = run(server, args);
    assert_eq!(code, Some(0), "{text}");
    text
}

#[test]
fn a_person_finds_a_firing_and_reads_its_story() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let all = fill(&data);
    let mut server = Server::start(&options(&data));

    let lines = told(&server, &["--json"]);
    let ids: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["firing"].clone())
        .collect();
    assert_eq!(ids.len(), all.len());
    assert_eq!(
        told(&server, &["--json", "--limit", "2"]).lines().count(),
        2
    );
    assert!(told(&server, &["--limit", "2"]).contains("there are older ones"));

    // CLM-03: the group overrides the RA profile and the platform.
    let payments = |firing: &&FiringRow| {
        let mut looked = firing.objects.iter().flat_map(|it| &it.evaluations);
        looked.any(|it| it.trigger == "status-payments-flagged" && it.conditions_matched)
    };
    let wanted = all.iter().find(payments).unwrap();
    let object = &wanted.objects[0].object;
    for by in [
        ["--trigger", "status-payments"],
        ["--event", "certificate-status-changed"],
        ["--object", object],
        ["--since", "2025-07-01T00:00:00Z"],
        ["--status", "finished"],
    ] {
        let table = told(&server, &by);
        let mut lines = table.lines();
        let head = lines.next().unwrap();
        for name in [
            "AT",
            "FIRING",
            "OBJECT",
            "TRIGGER",
            "VERDICT",
            "FAILED FIRST",
        ] {
            assert!(head.contains(name), "{head}");
        }
        let line = lines.find(|it| it.contains(&wanted.firing) && it.contains("status-payments "));
        let line = line.unwrap_or_else(|| panic!("{by:?}\n{table}"));
        assert!(
            line.contains(object) && line.contains("matched, notified"),
            "{line}"
        );
    }
    assert_eq!(told(&server, &["--since", "1h"]), "no firings\n");

    let story = told(&server, &["--firing", &wanted.firing]);
    let at = |line: &str| {
        story
            .find(line)
            .unwrap_or_else(|| panic!("{line} in\n{story}"))
    };
    let places = [
        at(&format!(
            "firing {}  certificate-status-changed  finished",
            wanted.firing
        )),
        at("objects: 1 evaluated, 1 matched, 0 ignored"),
        at("scope group/6b915bfa-a8f7-476b-8911-16d1ffdad0e6: applied"),
        at("✓ trigger status-payments: matched, notified"),
        at("notification siem (version 1): sent through hook"),
        at("✓ trigger status-payments-flagged: matched, notified"),
        at(
            "scope ra-profile/04184a44-6860-47fc-a439-a74c2baa7725: skipped: a more specific scope applies",
        ),
        at("scope platform: skipped: a more specific scope applies"),
    ];
    assert!(places.is_sorted(), "{story}");

    // One that failed by a condition names it, in the table and in the story.
    let mut failed = all.iter().flat_map(|firing| {
        let looked = firing.objects.iter().flat_map(|it| &it.evaluations);
        looked.map(move |it| (firing, it))
    });
    let (firing, evaluation) = failed.find(|(_, it)| !it.conditions_matched).unwrap();
    let condition = &evaluation.records[0].at;
    let table = told(&server, &["--trigger", &evaluation.trigger]);
    let line = table
        .lines()
        .find(|it| it.contains(&firing.firing))
        .unwrap();
    assert!(
        line.ends_with(condition.as_str()) && line.contains("no match"),
        "{line}"
    );
    let story = told(&server, &["--firing", &firing.firing]);
    assert!(
        story.contains(&format!("{}: no match at {condition}", evaluation.trigger)),
        "{story}"
    );

    let (code, text) = run(&server, &["--firing", "none"]);
    assert_eq!(code, Some(2));
    assert!(
        text.contains("no firing with the id `none` is known"),
        "{text}"
    );

    server.kill9();
    server.restart().unwrap();
    assert_eq!(told(&server, &["--json"]), lines);
}

#[test]
fn a_server_does_not_start_on_a_damaged_history() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    fill(&data);
    std::fs::write(data.join("history.sqlite"), [0x5a; 8_192]).unwrap();
    let fault = Server::try_start(&options(&data)).err().unwrap();
    assert!(fault.contains("is damaged"), "{fault}");
    assert!(fault.contains("move both away"), "{fault}");
    assert!(fault.contains("74"), "{fault}");
}
