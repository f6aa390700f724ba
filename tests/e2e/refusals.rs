//! Every row of the refusal tables, as data in `tests/cases`, against the real binary.
//!
//! One server takes all cases, each under names of its own; all that differ are told at the end,
//! and then the server must still take an event. What a case is: `tests/support/cases.rs`.
//! `BUSBAR_CASE` runs only the cases whose name contains its text.

#[allow(dead_code, reason = "each test uses its part of the support")]
#[path = "../support/mod.rs"]
mod support;

#[path = "../support/cases.rs"]
mod cases;

use std::fs;

use serde_json::Value;
use support::{Options, Server, repository};

/// The case files that run under AWS's own quotas and quirks.
const AWS_EXACT: &str = "aws-exact.json";
/// Not cases: the errors that no case can show.
const UNREACHABLE: &str = "unreachable.json";

#[test]
fn each_refusal_is_answered_as_documented() {
    let mut files = Vec::new();
    for entry in fs::read_dir(repository("tests/cases")).expect("tests/cases is there") {
        let name = entry
            .expect("tests/cases can be read")
            .file_name()
            .into_string()
            .expect("names are ASCII");
        if name.ends_with(".json") && name != AWS_EXACT && name != UNREACHABLE {
            files.push(name);
        }
    }
    files.sort();
    let managed =
        fs::read_to_string(repository("tests/cases/rules/managed.json")).expect("the managed rule");
    let options = Options {
        rules: vec![(String::from("managed.json"), managed)],
        ..Options::default()
    };
    run_all(&options, &files);
}

#[test]
fn quotas_and_quirks_of_aws_can_be_had() {
    let config =
        "[aws_exact]\nquotas = true\nqueue_deleted_recently = true\nunknown_bus = \"accept\"\n";
    let options = Options {
        config: Some(config.to_string()),
        ..Options::default()
    };
    run_all(&options, &[AWS_EXACT.to_string()]);
}

#[track_caller]
fn run_all(options: &Options, files: &[String]) {
    let wanted = std::env::var("BUSBAR_CASE").unwrap_or_default();
    let server = Server::start(options);
    let mut count = 0;
    let mut faults = Vec::new();
    for file in files {
        let text = fs::read_to_string(repository("tests/cases").join(file))
            .expect("the case file can be read");
        let cases: Vec<Value> =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
        for case in cases {
            let name = case["name"].as_str().expect("a case has a name");
            if !name.contains(&wanted) {
                continue;
            }
            count += 1;
            if let Err(fault) = cases::run(&server, &case) {
                faults.push(format!("{file}: {name}\n    {fault}"));
            }
        }
    }
    // Told before the server is asked again: should it be gone, this says at which case.
    for fault in &faults {
        println!("{fault}");
    }
    server.assert_serves();
    assert!(0 < count, "some case is named like `{wanted}`");
    assert!(
        faults.is_empty(),
        "{} of {count} cases differ",
        faults.len()
    );
    println!("{count} cases answered as documented");
}
