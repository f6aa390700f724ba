//! Operator documents and what a person does with them: the shipped binary on files, and against itself.

#[allow(dead_code, reason = "each test uses its part of the support")]
#[path = "../support/mod.rs"]
mod support;

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use support::{Options, Receiver, Server, repository};

const BOUND: Duration = Duration::from_secs(20);
const FIXTURES: &str = "fixtures/certificate-lifecycle";

fn busbar(args: &[&str], server: Option<&Server>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_busbar"));
    if let Some(server) = server {
        command.env("BUSBAR_ENDPOINT", format!("http://{}", server.api));
    }
    command.args(args).output().expect("the binary was built")
}

/// Runs a command against a server: its exit code and what it prints.
fn run(server: &Server, args: &[&str]) -> (i32, String) {
    let output = busbar(args, Some(server));
    let told = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (output.status.code().unwrap_or(-1), told)
}

/// Every file below a folder, by its path below it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of ours") {
        let path = entry.expect("readable").path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

/// The faults that `rules check` finds in the good documents and one more.
fn faults_beside_good_ones(name: &str, text: &str) -> Vec<Value> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let operator = repository(FIXTURES).join("operator");
    for file in files(&operator) {
        let below = file.strip_prefix(&operator).expect("found below it");
        let copy = folder.path().join(below);
        fs::create_dir_all(copy.parent().expect("a folder")).expect("writable");
        fs::copy(file, copy).expect("writable");
    }
    fs::write(folder.path().join(name), text).expect("writable");
    let dir = folder.path().display().to_string();
    let args = [
        "--json",
        "rules",
        "check",
        &dir,
        "--account",
        "111122223333",
    ];
    let output = busbar(&args, None);
    assert_eq!(output.status.code(), Some(1), "{name} is taken");
    let told: Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
    let all = told["diagnostics"].as_array().expect("a list");
    for fault in all {
        let file = fault["file"].as_str().expect("a text");
        assert!(file.ends_with(name), "{fault:#}");
    }
    all.clone()
}

#[test]
fn a_mistake_is_told_with_its_code_its_line_and_a_hint() {
    let index = fs::read_to_string(repository(FIXTURES).join("operator-mistakes.json"));
    let index: Value = serde_json::from_str(&index.expect("it is there")).expect("it is JSON");
    let index = index.as_object().expect("an object");
    assert!(40 <= index.len());
    let folder = repository(FIXTURES).join("operator-mistakes");
    assert_eq!(files(&folder).len(), index.len());
    for (name, expected) in index {
        let text = fs::read_to_string(folder.join(name)).expect("it is there");
        let (kind, file) = name.split_once('/').expect("a folder and a file");
        let faults = faults_beside_good_ones(&format!("{kind}/zz-{file}"), &text);
        let told = faults
            .iter()
            .map(|it| json!({"code": it["code"], "line": it["line"], "help": it["help"]}));
        assert_eq!(&told.collect::<Value>(), expected, "{name}");
    }
}

#[test]
fn the_invalid_documents_are_told_with_their_code_and_a_hint() {
    for file in files(&repository(FIXTURES).join("operator-invalid")) {
        let text = fs::read_to_string(&file).expect("it is there");
        let case: Value = serde_json::from_str(&text).expect("it is JSON");
        let folder = match case["Kind"].as_str().expect("a text") {
            "catalogue" => "catalogue".to_owned(),
            kind => format!("{kind}s"),
        };
        let document = format!("{:#}", case["Document"]);
        let faults = faults_beside_good_ones(&format!("{folder}/zz.json"), &document);
        let codes: Vec<&Value> = faults.iter().map(|it| &it["code"]).collect();
        assert_eq!(codes, [&case["Error"]], "{}", file.display());
        assert!(faults[0]["help"].is_string(), "{faults:#?}");
    }
}

/// A server with the operator documents, whose destinations lead to `url`.
fn server(url: &str) -> Server {
    let folder = repository(FIXTURES).join("operator");
    let rules = files(&folder).into_iter().map(|file| {
        let text = fs::read_to_string(&file).expect("a file of ours");
        let text = text.replace("111122223333", support::ACCOUNT);
        let below = file.strip_prefix(&folder).expect("found below it");
        let text = match below.starts_with("destinations") {
            true => {
                let mut document: Value = serde_json::from_str(&text).expect("it is JSON");
                document["Url"] = url.into();
                document.to_string()
            }
            false => text,
        };
        (below.display().to_string(), text)
    });
    Server::start(&Options {
        rules: rules.collect(),
        ..Options::default()
    })
}

#[test]
fn a_person_loads_the_inventory_runs_a_monitor_and_tests_a_trigger() {
    let receiver = Receiver::statuses(&[200]);
    let server = server(&receiver.url());
    let objects = repository(FIXTURES).join("inventory/objects.jsonl");
    let objects = objects.display().to_string();
    assert_eq!(
        run(&server, &["inventory", "load", &objects]),
        (0, "28 objects written, 0 refused\n".into())
    );
    let certificate = "certificate/25857126-da7a-4e2a-a655-85ec5df15000";
    let (code, shown) = run(&server, &["--json", "inventory", "get", certificate]);
    let before: Value = serde_json::from_str(&shown).expect("it prints JSON");
    assert_eq!(
        (code, &before["attributes"]["state"]),
        (0, &json!("issued"))
    );
    let (code, listed) = run(&server, &["inventory", "list", "ra-profile"]);
    assert_eq!((code, listed.lines().count()), (0, 3), "{listed}");

    let (code, told) = run(&server, &["inventory", "get", "certificate/none"]);
    assert!(
        code == 2 && told.contains("is not in the inventory"),
        "{told}"
    );
    let (code, told) = run(&server, &["inventory", "get", "certificate"]);
    assert!(code == 2 && told.contains("TYPE/ID"), "{told}");
    let bad = server.data.with_extension("jsonl");
    fs::write(&bad, "{\"type\":\"t\",\"id\":\"1\"}\n\n{\"id\":\"2\"}\nx\n").expect("writable");
    let (code, told) = run(&server, &["inventory", "load", &bad.display().to_string()]);
    assert!(
        code == 1 && told.contains("1 objects written, 2 refused"),
        "{told}"
    );
    assert!(
        told.contains("jsonl:3: ") && told.contains("jsonl:4: "),
        "{told}"
    );

    // Lines 3 and 5: certificate a, of a group and an RA profile; the group's triggers override.
    let events = repository(FIXTURES).join("events/clm-certificate-status-changed.jsonl");
    let events = fs::read_to_string(events).expect("a file of ours");
    let events: Vec<&str> = events.lines().collect();
    let plan = |event: &str, code: i32, lines: &[&str]| {
        let (ended, plan) = run(&server, &["trigger", "test", event]);
        assert_eq!(ended, code, "{plan}");
        for line in lines {
            assert!(plan.lines().any(|it| it == *line), "{line} in\n{plan}");
        }
    };
    plan(
        events[2],
        0,
        &[
            "event type certificate-status-changed",
            "  scope group/6b915bfa-a8f7-476b-8911-16d1ffdad0e6: applies",
            "    ✓ status-payments: matches",
            "        would tell by siem version 1: hook",
            "  scope platform: skipped: a more specific scope has triggers",
        ],
    );
    plan(
        events[4],
        0,
        &[
            "    ✗ status-payments-flagged: no match",
            "        the first condition that fails is at $.detail.newStatus",
        ],
    );
    let finished = repository(FIXTURES).join("events/clm-discovery-finished.jsonl");
    let finished = fs::read_to_string(finished).expect("a file of ours");
    let finished = finished.lines().next().expect("a line");
    plan(finished, 1, &["  no trigger acts"]);
    let (_, after) = run(&server, &["--json", "inventory", "get", certificate]);
    assert_eq!(shown, after, "a test changes nothing");
    assert_eq!(receiver.received().len(), 0, "and sends nothing");
    let uncovered = events[0].replace("Certificate status changed", "Something else");
    let (code, told) = run(&server, &["trigger", "test", &uncovered]);
    assert!(code == 2 && told.contains("catalogue"), "{told}");

    let args = [
        "monitor",
        "run",
        "certificate-expiring",
        "--at",
        "2025-07-01T10:00:00Z",
    ];
    assert_eq!(
        run(&server, &args),
        (
            0,
            "certificate-expiring at 2025-07-01T10:00:00Z: 7 selected, 7 emitted, 0 left out\n"
                .into()
        )
    );
    let mails = receiver.wait_for(1, BOUND);
    assert!(mails[0].json()["notification"]["recipients"].is_array());
    let (code, told) = run(&server, &["monitor", "run", "none"]);
    assert!(
        code == 2 && told.contains("there is no monitor `none`"),
        "{told}"
    );
    // It would hold the schedule back until then.
    let late = [&args[..4], &["2126-07-01T10:00:00Z"]].concat();
    let (code, told) = run(&server, &late);
    assert!(
        code == 2 && told.contains("no later than now"),
        "{code} {told}"
    );
}

/// What is kept must be read again, inside of what it is kept in.
#[test]
fn what_nests_too_deep_is_refused_or_a_dead_letter_and_stops_nobody() {
    let receiver = Receiver::statuses(&[200]);
    let server = server(&receiver.url());
    let nested = format!("{}1{}", "[".repeat(124), "]".repeat(124));
    let object = format!(r#"{{"type":"thing","id":"1","attributes":{{"deep":{nested}}}}}"#);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("object.json");
    fs::write(&file, object).expect("a file of ours");
    let (code, told) = run(&server, &["inventory", "put", &file.display().to_string()]);
    assert!(code == 2 && told.contains("64"), "{code} {told}");
    let entry = json!({
        "Source": "com.czertainly.core",
        "DetailType": "Certificate status changed",
        "Detail": format!(r#"{{"certificateUuid":{nested}}}"#),
    });
    let put = server
        .events("PutEvents", json!({ "Entries": [entry] }))
        .ok();
    assert_eq!(put["FailedEntryCount"], 0);
    support::wait_until(BOUND, "the dead letter", || {
        let (code, told) = run(&server, &["dlq", "list"]);
        code == 0 && told.contains("cannot be read by triggers")
    });
}

#[test]
fn a_firing_larger_than_the_journal_takes_is_a_dead_letter_and_stops_nobody() {
    let entry = json!({
        "Name": "changed",
        "Match": [{"Source": "shop", "DetailType": "Changed"}],
        "Resource": {"Type": "thing", "Id": ["$.detail.thing"]},
    });
    // 125 copies of 200 KB are more than a segment of 16 MiB.
    let triggers = (0..25).map(|trigger| {
        let targets = (0..5).map(|id| json!({"Id": format!("q{id}"), "Queue": {"Name": "fired"}}));
        json!({
            "Name": format!("t{trigger}"),
            "Trigger": {"Event": "changed", "Scopes": ["platform"]},
            "Targets": targets.collect::<Vec<_>>(),
        })
    });
    let triggers = Value::from_iter(triggers);
    let server = Server::start(&Options {
        rules: vec![
            ("catalogue/changed.json".into(), entry.to_string()),
            ("rules/triggers.json".into(), triggers.to_string()),
        ],
        config: Some("disk.reserve_bytes = 16777216".into()),
        ..Options::default()
    });
    let put = |bytes: usize| {
        let detail = json!({"thing": "one", "text": "x".repeat(bytes)}).to_string();
        let entry = json!({"Source": "shop", "DetailType": "Changed", "Detail": detail});
        let put = server.events("PutEvents", json!({ "Entries": [entry] }));
        assert_eq!(put.ok()["FailedEntryCount"], 0);
    };
    put(200_000);
    put(10);
    support::wait_until(BOUND, "the dead letter", || {
        let (code, told) = run(&server, &["dlq", "list"]);
        code == 0 && told.contains("larger than can be stored at once")
    });
    support::wait_until(BOUND, "the firing behind it", || {
        let (code, told) = run(&server, &["status"]);
        code == 0 && told.contains("125")
    });
}

#[test]
fn a_page_of_a_scan_larger_than_the_journal_takes_is_halved() {
    let entry = json!({
        "Name": "seen",
        "Match": [{"Source": "shelf", "DetailType": "Seen"}],
        "Resource": {"Type": "book", "Id": ["resources:book"]},
        "Monitoring": true,
    });
    let monitor = json!({
        "Name": "books",
        "ScheduleExpression": "cron(0 0 1 1 ? 2199)",
        "Resource": "book",
        "Event": "seen",
        "Emit": {"Detail": {"text": "$.object.attributes.text"}},
    });
    let server = Server::start(&Options {
        rules: vec![
            ("catalogue/seen.json".into(), entry.to_string()),
            ("monitors/books.json".into(), monitor.to_string()),
        ],
        config: Some("disk.reserve_bytes = 16777216".into()),
        ..Options::default()
    });
    // What one page emits is 20 MB, more than a segment of 16 MiB.
    let book = |id: u32| {
        let attributes = json!({"text": "x".repeat(100_000)});
        json!({"type": "book", "id": id.to_string(), "attributes": attributes}).to_string() + "\n"
    };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("books.jsonl");
    fs::write(&file, (0..200).map(book).collect::<String>()).expect("a file of ours");
    let (code, told) = run(&server, &["inventory", "load", &file.display().to_string()]);
    assert!(code == 0, "{told}");
    let (code, told) = run(&server, &["monitor", "run", "books"]);
    assert!(code == 0 && told.contains("200 selected"), "{code} {told}");
}

#[test]
fn a_person_tests_what_a_monitor_makes_of_an_object() {
    let receiver = Receiver::statuses(&[200]);
    let server = server(&receiver.url());
    let objects = repository(FIXTURES).join("inventory/objects.jsonl");
    run(
        &server,
        &["inventory", "load", &objects.display().to_string()],
    );
    // Certificates a and b of the specification's scenarios: b has a valid replacement.
    let a = "certificate/4575f63a-7977-4c40-8711-00b5005df42b";
    let b = "certificate/feaf44fc-465a-45f4-8624-89ffb8c2db4d";
    let test = |object: &str, more: &[&str]| {
        let at = "2025-07-01T10:00:00Z";
        let monitor = ["monitor", "test", "certificate-expiring", "--at", at];
        let args = [&monitor[..], &["--object", object], more].concat();
        run(&server, &args)
    };
    let get = |path: &str| {
        let answer = support::call(server.api, "GET", path, &[], b"");
        answer.expect("an answer").ok()
    };

    let (code, told) = test(a, &[]);
    assert_eq!(code, 0, "{told}");
    for line in [
        "certificate-expiring at 2025-07-01T10:00:00Z",
        "window is P30D",
        "  ✓ selected, and would emit",
        "event type certificate-expiring",
        "  some trigger acts",
    ] {
        assert!(told.lines().any(|it| it == line), "{line} in\n{told}");
    }
    let (code, told) = test(b, &[]);
    let replacement = "certificate/cc1e50ec-33ff-49ea-93f1-f015da15b106";
    let why = format!("  ✗ not selected: {replacement} is as `Unless`[0] wants it");
    assert!(code == 1 && told.lines().any(|it| it == why), "{told}");

    // As it stands in the inventory, but for its end.
    let (_, shown) = run(&server, &["--json", "inventory", "get", a]);
    let mut supposed: Value = serde_json::from_str(&shown).expect("it prints JSON");
    supposed["attributes"]["expiresAt"] = "2026-07-01T00:00:00Z".into();
    let (code, told) = test(&supposed.to_string(), &["--json"]);
    let tried: Value = serde_json::from_str(&told).expect("it prints JSON");
    assert_eq!(
        (code, &tried["keptBack"], &tried["firing"]),
        (
            1,
            &json!({"kind": "condition", "at": "$.attributes.expiresAt"}),
            &Value::Null
        )
    );
    // One that the inventory does not have, in a file.
    supposed["id"] = "new".into();
    supposed["attributes"]["expiresAt"] = "2025-07-05T00:00:00Z".into();
    let file = server.data.with_extension("object.json");
    fs::write(&file, supposed.to_string()).expect("writable");
    let (code, told) = test(&file.display().to_string(), &["--json"]);
    let tried: Value = serde_json::from_str(&told).expect("it prints JSON");
    assert_eq!(code, 0, "{tried:#}");
    assert_eq!(tried["event"]["resources"][0], "certificate/new");
    assert_eq!(tried["firing"]["objects"][0]["object"], "certificate/new");
    assert!(
        tried["firing"]["objects"][0]["matched"] == json!(true),
        "{tried:#}"
    );

    for (object, why) in [
        ("certificate/new", "is not in the inventory"),
        ("user/ada", "looks at objects of type `certificate`"),
        ("nothing", "`Object` is `TYPE/ID`"),
        ("{\"type\":\"certificate\"}", "with its type and id"),
        ("{\"type\":\"certificate\",\"id\":\"1\",\"x\":1}", "`/x`"),
    ] {
        let (code, told) = test(object, &[]);
        assert!(code == 2 && told.contains(why), "{object}: {told}");
    }
    assert_eq!(receiver.received().len(), 0, "nothing is sent");
    let (_, after) = run(&server, &["--json", "inventory", "get", a]);
    assert_eq!(after, shown, "nothing is changed");
    assert_eq!(get("/v1/streams"), json!({"streams": []}));
    assert_eq!(get("/v1/history/firings")["firings"], json!([]));
}

#[test]
fn a_notification_that_is_brought_back_keeps_its_idempotency_key() {
    // 400 is not tried again.
    let receiver = Receiver::statuses(&[400, 400, 200]);
    let server = server(&receiver.url());
    let objects = repository(FIXTURES).join("inventory/objects.jsonl");
    run(
        &server,
        &["inventory", "load", &objects.display().to_string()],
    );
    let events = repository(FIXTURES).join("events/clm-certificate-status-changed.jsonl");
    let events = fs::read_to_string(events).expect("a file of ours");
    let file = server.data.with_extension("event.json");
    fs::write(&file, events.lines().nth(2).expect("a line")).expect("writable");
    let (code, told) = run(&server, &["put", &file.display().to_string()]);
    assert_eq!(code, 0, "{told}");
    for sent in 1..=2 {
        receiver.wait_for(sent, BOUND);
        support::wait_until(BOUND, "it is given up", || {
            let (_, told) = run(&server, &["--json", "dlq", "redrive"]);
            told.contains("\"redriven\":1")
        });
    }
    let sent = receiver.wait_for(3, BOUND);
    let keys: Vec<_> = sent.iter().map(|it| it.header("idempotency-key")).collect();
    let id = sent[0].json()["notification"]["id"].clone();
    assert_eq!(keys, [id.as_str(); 3]);
}

#[test]
fn a_rule_of_the_api_may_name_a_destination() {
    let receiver = Receiver::statuses(&[200]);
    let server = server(&receiver.url());
    let rule = json!({"Name": "r", "EventPattern": "{\"source\":[\"shop\"]}"});
    assert_eq!(server.events("PutRule", rule).status, 200);
    let put = |name: &str| {
        let arn = format!(
            "arn:aws:events:us-east-1:{}:api-destination/{name}",
            support::ACCOUNT
        );
        let targets = json!({"Rule": "r", "Targets": [{"Id": "t", "Arn": arn}]});
        server.events("PutTargets", targets).ok()
    };
    assert_eq!(
        put("none")["FailedEntries"][0],
        json!({
            "TargetId": "t", "ErrorCode": "ResourceNotFoundException",
            "ErrorMessage": "API destination none does not exist."
        })
    );
    let id = "mail-relay/01234567-89ab-4cde-8f01-23456789abcd";
    assert_eq!(put(id)["FailedEntryCount"], 0);
    let listed = server
        .events("ListTargetsByRule", json!({"Rule": "r"}))
        .ok();
    assert!(
        listed["Targets"][0]["Arn"]
            .as_str()
            .expect("a text")
            .ends_with(id)
    );
    let entry = json!({"Source": "shop", "DetailType": "t", "Detail": "{}"});
    server
        .events("PutEvents", json!({ "Entries": [entry] }))
        .ok();
    assert_eq!(receiver.wait_for(1, BOUND)[0].json()["source"], "shop");
}
