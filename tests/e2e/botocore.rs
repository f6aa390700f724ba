//! The binary under a real AWS client, and the tables held against AWS's own service model.
//!
//! The scripts are `tests/boto3/*.py`; the interpreter is `BUSBAR_PYTHON`, else `python3`.

#[allow(dead_code, reason = "each test uses its part of the support")]
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::process::Command;

use support::{Options, Server, repository, require};

#[track_caller]
fn run(python: &str, script: &str, arguments: &[&Path]) {
    let mut command = Command::new(python);
    // Settings of whoever runs the test must not reach the client.
    for name in [
        "AWS_ENDPOINT_URL",
        "AWS_PROFILE",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
    ] {
        command.env_remove(name);
    }
    command
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command
        .arg(repository(script))
        .args(arguments)
        .output()
        .expect("the interpreter can be run");
    let (said, complained) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    println!("{said}");
    assert!(
        output.status.success(),
        "{script}: {}\n{said}\n{complained}",
        output.status
    );
}

#[test]
fn the_first_five_minutes_with_boto3() {
    let Some(python) = require("the_first_five_minutes_with_boto3", "boto3") else {
        return;
    };
    let server = Server::start(&Options::default());
    let api = format!("http://{}", server.api);
    let events = repository("fixtures/certificate-lifecycle/events");
    run(
        &python,
        "tests/boto3/first_five_minutes.py",
        &[Path::new(&api), &events],
    );
    server.assert_serves();
}

#[test]
fn each_error_of_the_model_is_shown_or_excused() {
    let Some(python) = require(
        "each_error_of_the_model_is_shown_or_excused",
        "botocore-model",
    ) else {
        return;
    };
    run(
        &python,
        "tests/boto3/uncovered.py",
        &[&repository("tests/cases")],
    );
}
