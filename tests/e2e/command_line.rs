//! The command line and the rule files, as a user meets them: the shipped binary against itself.
#![allow(
    clippy::disallowed_methods,
    reason = "a test of a real process waits in real time"
)]

#[allow(dead_code, reason = "each test uses its part of the support")]
#[path = "../support/mod.rs"]
mod support;

use serde_json::Value;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;
use support::{Options, Receiver, Server, repository, wait_until};

const BOUND: Duration = Duration::from_secs(20);

struct Ran {
    code: i32,
    out: String,
    err: String,
}

/// Runs a command against a server.
fn run(server: &Server, args: &[&str]) -> Ran {
    run_with(server, args, "")
}

fn run_with(server: &Server, args: &[&str], input: &str) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_busbar"))
        .args(args)
        .env("BUSBAR_ENDPOINT", format!("http://{}", server.api))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary was built");
    let mut stdin = child.stdin.take().expect("piped");
    // A command that reads no input may have ended by now.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("our own child");
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn put(server: &Server) -> String {
    let ran = run(
        server,
        &[
            "put",
            "--source",
            "shop",
            "--detail-type",
            "t",
            "--detail",
            "{}",
        ],
    );
    assert_eq!(ran.code, 0, "{}", ran.err);
    ran.out.trim().to_owned()
}

fn status(server: &Server) -> Value {
    let ran = run(server, &["status", "--json"]);
    serde_json::from_str(&ran.out).expect("JSON")
}

fn with_rules(text: &str) -> Server {
    Server::start(&Options {
        rules: vec![("a.json".into(), text.into())],
        ..Options::default()
    })
}

/// A rule for everything from `shop`.
fn rule(targets: &str) -> String {
    format!(r#"{{"Name":"shop","EventPattern":{{"source":["shop"]}},"Targets":[{targets}]}}"#)
}

const QUEUE: &str = r#"{"Id":"q","Queue":{"Name":"orders"}}"#;

#[test]
fn the_fixtures_go_where_they_are_expected_and_a_changed_rule_is_noticed() {
    let top = repository("rules");
    let folders = ["", "catalogue", "monitors", "notification-profiles"];
    let rules = folders.iter().flat_map(|folder| {
        let entries = fs::read_dir(top.join(folder)).unwrap();
        let files = entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file());
        files
            .map(|path| {
                let name = path.strip_prefix(&top).unwrap().display().to_string();
                (name, fs::read_to_string(path).unwrap())
            })
            .collect::<Vec<_>>()
    });
    let server = Server::start(&Options {
        rules: rules.collect(),
        ..Options::default()
    });
    let events = repository("fixtures/certificate-lifecycle/events");
    let expected = repository("fixtures/expected.json");
    let replay = [
        "replay",
        events.to_str().unwrap(),
        "--expect",
        expected.to_str().unwrap(),
    ];
    let ran = run(&server, &replay);
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
    // Once more: the ids are the same, and those of this replay are told apart.
    assert_eq!(run(&server, &replay).code, 0);

    let file = server.rules.join("private-ca.json");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace(r#"["failure"]"#, r#"["success"]"#)).unwrap();
    wait_until(BOUND, "the changed rule is noticed", || {
        let ran = run(&server, &replay);
        ran.code == 1
            && ran.out.contains(
                "differs: aws-pca-creation.jsonl:2: did not go to private-ca-failures/alerts",
            )
    });
}

#[test]
fn a_broken_file_leaves_the_last_good_set_in_force() {
    let mut server = with_rules(&rule(QUEUE));
    let file = server.rules.join("a.json");
    fs::write(
        &file,
        "{\"Name\": \"shop\",\n \"EventPattern\": {\"source\": [{\"prefx\": \"s\"}]}}",
    )
    .unwrap();
    let fault = |server: &Server| status(server)["rules"]["fault"].clone();
    wait_until(BOUND, "the fault is told", || !fault(&server).is_null());
    let told = fault(&server).to_string();
    assert!(told.contains("a.json:2:31"), "{told}");
    assert!(told.contains("did you mean `prefix`?"), "{told}");
    assert!(
        server.stderr().contains("a.json:2:31"),
        "{}",
        server.stderr()
    );
    put(&server);
    server.restart().unwrap();
    put(&server);
    fs::write(&file, rule(r#"{"Id":"q","Queue":{"Name":"mended"}}"#)).unwrap();
    wait_until(BOUND, "the mended file is in force", || {
        fault(&server).is_null()
    });
    put(&server);
    let count = |queue: &str| {
        run(&server, &["queue", "receive", queue])
            .out
            .lines()
            .count()
    };
    assert_eq!((count("orders"), count("mended")), (2, 1));
}

#[test]
fn a_first_start_with_bad_files_ends_and_says_where() {
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("rules");
    fs::create_dir(&rules).unwrap();
    fs::write(rules.join("a.json"), "{\"Name\": 5}").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_busbar"))
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--operator-listen",
            "127.0.0.1:0",
        ])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(output.stdout.is_empty(), "it never was ready");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("a.json:1:10"), "{told}");
    assert!(told.contains("busbar rules check"), "{told}");
}

#[test]
fn a_file_that_is_deleted_and_made_again_ends_no_delivery() {
    let receiver = Receiver::statuses(&[503, 503, 200]);
    let text = rule(&format!(
        r#"{{"Id":"w","Webhook":{{"Url":"{}"}}}}"#,
        receiver.url()
    ));
    let server = with_rules(&text);
    let id = put(&server);
    let file = server.rules.join("a.json");
    fs::remove_file(&file).unwrap();
    wait_until(BOUND, "the rule is gone", || {
        status(&server)["rules"]["from_files"] == 0
    });
    fs::write(&file, &text).unwrap();
    receiver.wait_for(3, BOUND);
    wait_until(BOUND, "the story has its end", || {
        run(&server, &["event", &id])
            .out
            .contains("attempt 3: delivered")
    });
}

#[test]
fn a_refused_delivery_comes_home_by_a_redrive() {
    let receiver = Receiver::statuses(&[400, 200]);
    let target = format!(r#"{{"Id":"w","Webhook":{{"Url":"{}"}}}}"#, receiver.url());
    let server = with_rules(&rule(&target));
    let id = put(&server);
    wait_until(BOUND, "the dead letter is listed", || {
        run(&server, &["dlq", "list"]).out.contains(&id)
    });
    let story = run(&server, &["event", &id]).out;
    assert!(
        story.contains("dead-lettered") && story.contains("400"),
        "{story}"
    );
    let ran = run(&server, &["dlq", "redrive", "--rule", "shop"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    receiver.wait_for(2, BOUND);
    wait_until(BOUND, "no dead letter is left", || {
        run(&server, &["dlq", "list"])
            .out
            .contains("no dead letters")
    });
}

#[test]
fn a_checkout_between_two_rule_sets_under_load_loses_nothing() {
    let server = with_rules(&rule(QUEUE));
    let file = server.rules.join("a.json");
    let other = rule(&format!(r#"{QUEUE},{{"Id":"l","Log":{{"Name":"l"}}}}"#));
    let entry = r#"{"Source":"shop","DetailType":"t","Detail":{}}"#;
    let batch = format!("{entry}\n").repeat(20);
    let mut count = 0;
    for round in 0..30 {
        // As a checkout does it: the old file goes, the new one comes, in two steps.
        if round % 5 == 2 {
            let text = if round % 10 == 2 {
                other.clone()
            } else {
                rule(QUEUE)
            };
            let new = server.rules.join(".a.json.new");
            fs::write(&new, text).unwrap();
            fs::rename(&new, &file).unwrap();
        }
        let ran = run_with(&server, &["put", "-"], &batch);
        assert_eq!(ran.code, 0, "{}", ran.err);
        count += 20;
    }
    let visible = status(&server)["queues"]
        .as_array()
        .unwrap()
        .iter()
        .find(|queue| queue["name"] == "orders")
        .map(|queue| queue["visible"].clone());
    assert_eq!(visible, Some(Value::from(count)));
}

#[test]
fn exit_codes_are_as_documented() {
    let server = with_rules(&rule(QUEUE));
    let code = |args: &[&str]| run(&server, args).code;
    let event = r#"{"source":"shop"}"#;
    assert_eq!(
        code(&[
            "test-pattern",
            "--pattern",
            r#"{"source":["shop"]}"#,
            "--event",
            event
        ]),
        0
    );
    assert_eq!(
        code(&[
            "test-pattern",
            "--pattern",
            r#"{"source":["x"]}"#,
            "--event",
            event
        ]),
        1
    );
    assert_eq!(
        code(&[
            "test-pattern",
            "--pattern",
            r#"{"source":"x"}"#,
            "--event",
            event
        ]),
        2
    );
    assert_eq!(code(&["frobnicate"]), 2);
    assert_eq!(code(&["event", "nobody"]), 2);
    assert_eq!(code(&["status", "--endpoint", "http://127.0.0.1:1"]), 3);
    assert_eq!(
        code(&["rules", "check", repository("rules").to_str().unwrap()]),
        0
    );
    let bad = repository("fixtures/rule-files-invalid");
    assert_eq!(code(&["rules", "check", bad.to_str().unwrap()]), 1);
    assert_eq!(
        code(&["rules", "lint", repository("rules").to_str().unwrap()]),
        0
    );
    assert_eq!(code(&["rules", "lint", bad.to_str().unwrap()]), 2);
    let ran = run_with(
        &server,
        &["put", "-"],
        r#"{"Source":"shop","DetailType":"","Detail":{}}"#,
    );
    assert_eq!(ran.code, 1, "{}", ran.err);
    let data = server.data.to_str().unwrap();
    assert_eq!(
        code(&[
            "serve",
            "--data",
            data,
            "--listen",
            "127.0.0.1:0",
            "--operator-listen",
            "127.0.0.1:0"
        ]),
        75
    );
    assert_eq!(code(&["data", "check", "--data", data]), 2);
}

#[test]
fn explain_tells_why_a_rule_matches_or_does_not() {
    let server = with_rules(&rule(QUEUE));
    let rules = server.rules.to_str().unwrap();
    let id = put(&server);
    let other = r#"{"source":"Shop"}"#;
    let check = |args: &[&str], input: &str, code: i32, told: &str| {
        let ran = run_with(&server, &[&["explain"], args].concat(), input);
        assert_eq!(ran.code, code, "{args:?}: {}{}", ran.out, ran.err);
        let all = ran.out + &ran.err;
        assert!(all.contains(told), "{args:?}: {all}");
    };
    check(&[&id, "--rule", "shop"], "", 0, "\nmatch\n");
    check(&[&id, "--nearest", "1"], "", 0, "matched by shop");
    check(&["-", "--rule", "shop"], other, 1, "equals-ignore-case");
    check(&[other, "--nearest", "5"], "", 1, "no rule of 1 matches");
    check(&[other, "--rule", "shpo"], "", 2, "did you mean `shop`?");
    check(
        &[other, "--rule", "shop", "--bus", "x"],
        "",
        2,
        "Event bus x",
    );
    check(&["{", "--rule", "shop"], "", 2, "EVENT:1:1");
    check(&["nobody", "--rule", "shop"], "", 2, "no event with the id");
    check(&["nowhere.json", "--rule", "shop"], "", 2, "cannot read");
    let nobody = ["--endpoint", "http://127.0.0.1:1"];
    let files = [&[other, "--rule", "shop", "--rules", rules], &nobody[..]].concat();
    check(&files, "", 1, "to mend first: `source`");
    let ran = run(&server, &["explain", other, "--rule", "shop", "--json"]);
    let shown: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(shown["first"]["write"], "source");
    let condition = &shown["alternatives"][0]["conditions"][0];
    assert_eq!(condition["wanted"][0], "shop");
    assert_eq!(condition["found"][0]["value"], "Shop");
}

#[test]
fn a_clean_stop_leaves_a_good_data_directory() {
    let mut server = with_rules(&rule(QUEUE));
    put(&server);
    assert_eq!(server.terminate().code(), Some(0));
    let data = server.data.to_str().unwrap().to_owned();
    let ran = run(&server, &["data", "check", "--data", &data]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
}
