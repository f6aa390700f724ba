//! The history of firings on the shipped binary: what it is fed, and what `busbar history` makes of it.
#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "../support/firings.rs"]
mod firings;
#[allow(dead_code, reason = "each test uses its part of the support")]
#[path = "../support/mod.rs"]
mod support;

use journal::Journal as _;
use journal::memory::MemoryJournal;
use lifecycle::history::FiringRow;
use serde_json::{Value, json};
use server::history::{History, Keep, Row, Source};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use support::{Options, Server, call, wait_until};

/// A debug build on a shared machine.
const BOUND: Duration = Duration::from_secs(120);

const FOR_EVER: Keep = Keep {
    age_ms: None,
    firings: None,
    now: || 0,
};

fn fill(data: &Path) -> Vec<FiringRow> {
    let all = firings::firings();
    std::fs::create_dir_all(data).unwrap();
    let nothing = Source {
        reader: MemoryJournal::new().reader(),
        rows: |_| None,
    };
    let history = History::open(&data.join("history.sqlite"), FOR_EVER, nothing).unwrap();
    history.settle(BOUND);
    for (position, firing) in (1..).zip(&all) {
        history.record(
            position,
            vec![Row::Firing(firing.clone())],
            history.coming(),
        );
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

/// An event type of lamps, a trigger that notes the failure of one, and another that never matches.
fn lamps() -> Vec<(String, String)> {
    let failed = json!({
        "Name": "lamp-failed",
        "Match": [{"Source": "street", "DetailType": "Lamp failed"}],
        "Resource": {"Type": "lamp", "Id": ["$.detail.lamp"]},
    });
    let note = json!({
        "Name": "note",
        "Trigger": {"Event": "lamp-failed", "Scopes": ["platform"]},
        "Actions": [{"Type": "set-field", "Field": "attributes.failed", "Value": true}],
    });
    let never = json!({
        "Name": "never",
        "EventPattern": {"detail": {"colour": ["blue"]}},
        "Trigger": {"Event": "lamp-failed", "Scopes": ["platform"]},
        "Actions": [{"Type": "set-field", "Field": "attributes.blue", "Value": true}],
    });
    [
        ("catalogue/lamp-failed.json", failed),
        ("rules/note.json", note),
        ("rules/never.json", never),
    ]
    .map(|(name, document)| (name.to_owned(), document.to_string()))
    .into()
}

/// Lamps `from..to` fail; the ids of their events.
fn fail(server: &Server, from: usize, to: usize) -> Vec<String> {
    let entry = |n: usize| {
        json!({
            "Source": "street",
            "DetailType": "Lamp failed",
            "Detail": json!({"lamp": n.to_string(), "colour": "red"}).to_string(),
        })
    };
    let entries: Vec<Value> = (from..to).map(entry).collect();
    let answers = entries.chunks(10).map(|some| {
        let answer = server.events("PutEvents", json!({ "Entries": some })).ok();
        assert_eq!(answer["FailedEntryCount"], 0);
        answer["Entries"].clone()
    });
    let entries = answers.flat_map(|it| it.as_array().unwrap().clone());
    entries
        .map(|it| it["EventId"].as_str().unwrap().to_owned())
        .collect()
}

fn get(server: &Server, path: &str) -> Value {
    let answer = call(server.api, "GET", path, &[], b"").unwrap();
    assert_eq!(answer.status, 200, "{path}");
    answer.json()
}

fn settle(server: &Server) {
    wait_until(BOUND, "all firings have ended", || {
        let status = get(server, "/v1/status");
        let mut targets = status["targets"].as_array().unwrap().iter();
        targets.all(|it| it["pending"] == 0) && status["firings"]["under_way"] == 0
    });
}

/// All that is there: firings as lines, none of them twice, in order of their ids; and the ids of their events.
fn whole(server: &Server) -> (Vec<String>, BTreeSet<String>) {
    let text = told(server, &["--json", "--limit", "100000"]);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    let events = lines.iter().map(|line| {
        let firing: Value = serde_json::from_str(line).unwrap();
        assert_eq!(firing["status"], "finished", "{line}");
        firing["eventId"].as_str().unwrap().to_owned()
    });
    let events: BTreeSet<String> = events.collect();
    assert_eq!(events.len(), lines.len(), "each fired once");
    (lines, events)
}

#[test]
fn what_was_decided_outlives_its_trigger_a_kill_and_the_file() {
    let mut server = Server::start(&Options {
        rules: lamps(),
        ..Options::default()
    });
    let mut put: BTreeSet<String> = fail(&server, 0, 20).into_iter().collect();
    settle(&server);
    let (lines, events) = whole(&server);
    assert_eq!(events, put);
    let firing: Value = serde_json::from_str(&lines[0]).unwrap();
    let object = firing["objects"][0]["object"].as_str().unwrap();
    let id = firing["firing"].as_str().unwrap();
    let by_object = told(&server, &["--json", "--object", object]);
    assert_eq!(by_object.trim_end(), lines[0]);
    for by in ["--event=lamp-failed", "--trigger=note", "--trigger=never"] {
        let found = told(&server, &["--json", by]);
        assert_eq!(found.lines().count(), 20, "{by}");
    }
    let story = told(&server, &["--firing", id]);
    for line in [
        "✓ trigger note: matched",
        "✗ trigger never: no match at $.detail.colour",
    ] {
        assert!(story.contains(line), "{story}");
    }

    // Without its trigger.
    std::fs::remove_file(server.rules.join("rules/never.json")).unwrap();
    wait_until(BOUND, "the trigger is gone", || {
        get(&server, "/v1/status")["rules"]["files"] == 2
    });
    let found = told(&server, &["--json", "--trigger", "never"]);
    assert_eq!(found.lines().count(), 20);

    // Killed while it writes.
    for round in 0..3 {
        let from = 20 + 200 * round;
        put.extend(fail(&server, from, from + 200));
        std::thread::sleep(Duration::from_millis(60 * round as u64));
        server.kill9();
        server.restart().unwrap();
    }
    settle(&server);
    let (lines, events) = whole(&server);
    assert_eq!(events, put);

    // Without its file: the journal still has all of it.
    server.kill9();
    for name in ["history.sqlite", "history.sqlite-wal", "history.sqlite-shm"] {
        let _ = std::fs::remove_file(server.data.join(name));
    }
    server.restart().unwrap();
    wait_until(BOUND, "the history is read again", || {
        told(&server, &["--json", "--limit", "100000"])
            .lines()
            .count()
            == lines.len()
    });
    assert_eq!(whole(&server).0, lines);
}
