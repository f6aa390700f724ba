//! What every end-to-end test stands on: the real binary as a child process, a small HTTP client,
//! a webhook receiver, and the rule of what may be skipped.
//!
//! All of it is black box. The client speaks HTTP/1.1 over a bare `TcpStream`, because half of the
//! tests send what no well-behaved client library would send. Nothing here knows a crate of ours.
//!
//! Start at [`Server::start`]; then [`Server::events`] and [`Server::sqs`] for calls, [`Connection`]
//! for raw bytes, [`Receiver`] for webhooks, [`require`] for what a machine may lack.
//!
//! No test sleeps for a fixed time to let something happen: it waits for it, within a bound
//! ([`wait_until`]). A child is ended by its own handle or id, never by name.

#![allow(
    clippy::disallowed_methods,
    reason = "a test of a real process waits in real time"
)]

pub mod http;
pub mod load;
pub mod receiver;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub use http::{Connection, Response, call};
pub use receiver::{Answer, Receiver};

/// Account that every test server runs under.
pub const ACCOUNT: &str = "000000000000";
/// Region that every test server runs under (the binary's default).
pub const REGION: &str = "us-east-1";
/// Longest wait for the ready line. A recovery after a crash is part of it.
const READY_SECONDS_MAX: u64 = 30;
/// Longest wait for a clean stop: the server's own 30 s for attempts in flight, and some.
const STOP_SECONDS_MAX: u64 = 40;

/// How a test wants its server.
#[derive(Clone, Default)]
pub struct Options {
    /// Further arguments after those that every server gets.
    pub args: Vec<String>,
    /// Environment of the child, on top of the test's own.
    pub env: Vec<(String, String)>,
    /// Rule files as (file name, text), a folder in the name if need be; they are written before the first start.
    pub rules: Vec<(String, String)>,
    /// Text of a `busbar.toml`, given by `--config`.
    pub config: Option<String>,
    /// Data directory; a fresh one in the server's temporary home when absent.
    pub data: Option<PathBuf>,
    /// Another binary than the one that Cargo built: a mutant.
    pub binary: Option<PathBuf>,
}

/// The running binary, its folders and its addresses. Dropped: killed, and its folders removed.
pub struct Server {
    child: Child,
    /// Address of the API port.
    pub api: SocketAddr,
    /// Address of the operators' port.
    pub operator: SocketAddr,
    /// Data directory.
    pub data: PathBuf,
    /// Folder of the rule files.
    pub rules: PathBuf,
    options: Options,
    home: tempfile::TempDir,
}

impl Server {
    /// Starts the binary and waits for its ready line. Panics with what it wrote to stderr.
    #[track_caller]
    pub fn start(options: &Options) -> Server {
        Server::try_start(options).unwrap_or_else(|fault| panic!("{fault}"))
    }

    /// As [`Server::start`]; a server that ends, or isn't ready in time, is told as text.
    pub fn try_start(options: &Options) -> Result<Server, String> {
        let home = tempfile::tempdir().expect("a temporary folder");
        let data = options
            .data
            .clone()
            .unwrap_or_else(|| home.path().join("data"));
        let rules = home.path().join("rules");
        fs::create_dir_all(&rules).expect("the temporary folder is writable");
        for (name, text) in &options.rules {
            let file = rules.join(name);
            let folder = file.parent().expect("it is in the folder of rules");
            fs::create_dir_all(folder).expect("the temporary folder is writable");
            fs::write(file, text).expect("the temporary folder is writable");
        }
        if let Some(config) = &options.config {
            fs::write(home.path().join("busbar.toml"), config)
                .expect("the temporary folder is writable");
        }
        let (child, api, operator) = spawn(home.path(), &data, &rules, options)?;
        Ok(Server {
            child,
            api,
            operator,
            data,
            rules,
            options: options.clone(),
            home,
        })
    }

    /// Memory that the process holds, in KiB.
    #[track_caller]
    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the server runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.expect("Linux tells the resident size")
    }

    /// Ends the process at once, as a crash does, and waits until it is gone.
    pub fn kill9(&mut self) {
        // An error means that it has ended already, which is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts again on the same folders. The ports are new ones.
    pub fn restart(&mut self) -> Result<(), String> {
        self.kill9();
        let (child, api, operator) =
            spawn(self.home.path(), &self.data, &self.rules, &self.options)?;
        self.child = child;
        self.api = api;
        self.operator = operator;
        Ok(())
    }

    /// Asks for a clean stop (SIGTERM) and gives the exit status. Panics past 40 s.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        let id = self.child.id().to_string();
        let sent = Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .expect("`kill` can be run");
        assert!(sent.success(), "SIGTERM to our own child {id}");
        let mut ended = None;
        wait_until(
            Duration::from_secs(STOP_SECONDS_MAX),
            "the server stops after SIGTERM",
            || {
                ended = self.child.try_wait().expect("our own child can be asked");
                ended.is_some()
            },
        );
        ended.expect("set by the wait above")
    }

    /// Has the process ended by itself?
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// One call of the events door.
    #[track_caller]
    pub fn events(&self, operation: &str, body: Value) -> Response {
        events(self.api, operation, &body.to_string()).expect("the server answers")
    }

    /// One call of the queue door, JSON protocol.
    #[track_caller]
    pub fn sqs(&self, operation: &str, body: Value) -> Response {
        sqs(self.api, operation, &body.to_string()).expect("the server answers")
    }

    /// The server still takes an event. Run after every piece of bad input.
    #[track_caller]
    pub fn assert_serves(&self) {
        let entry = json!({"Source": "demo.alive", "DetailType": "Alive", "Detail": "{}"});
        let answer = self.events("PutEvents", json!({"Entries": [entry]}));
        assert_eq!(answer.status, 200, "the server goes on: {}", answer.text());
        assert_eq!(
            answer.json()["FailedEntryCount"],
            json!(0),
            "the server goes on"
        );
    }

    /// What the server wrote to stderr, over all its lives.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.home.path().join("stderr.log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// The binary under test: an option, else what Cargo built. `BUSBAR_BINARY` lets the same tests
/// run against an installed binary.
fn binary(options: &Options) -> PathBuf {
    if let Some(path) = &options.binary {
        return path.clone();
    }
    match std::env::var_os("BUSBAR_BINARY") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(env!("CARGO_BIN_EXE_busbar")),
    }
}

fn spawn(
    home: &Path,
    data: &Path,
    rules: &Path,
    options: &Options,
) -> Result<(Child, SocketAddr, SocketAddr), String> {
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(home.join("stderr.log"))
        .expect("the temporary folder is writable");
    let mut command = Command::new(binary(options));
    command
        .current_dir(home)
        .arg("serve")
        .arg("--data")
        .arg(data)
        .arg("--rules")
        .arg(rules);
    command.args([
        "--listen",
        "127.0.0.1:0",
        "--operator-listen",
        "127.0.0.1:0",
    ]);
    command.args(["--account", ACCOUNT, "--json"]);
    if options.config.is_some() {
        command.arg("--config").arg(home.join("busbar.toml"));
    }
    command.args(&options.args);
    command.envs(options.env.iter().map(|(name, value)| (name, value)));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log);
    let mut child = command
        .spawn()
        .map_err(|error| format!("could not start the binary: {error}"))?;

    // One line is awaited; the thread then goes on reading, so that a full pipe never stops the server.
    let stdout = child.stdout.take().expect("stdout is piped");
    let (sender, receiver) = sync_channel::<Value>(1);
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let Ok(value) = serde_json::from_str::<Value>(&line) else {
                continue;
            };
            if value["event"] == "ready" {
                let _ = sender.try_send(value);
            }
        }
    });
    let Ok(ready) = receiver.recv_timeout(Duration::from_secs(READY_SECONDS_MAX)) else {
        let _ = child.kill();
        let status = child
            .wait()
            .map_or_else(|error| error.to_string(), |status| status.to_string());
        let said = fs::read_to_string(home.join("stderr.log")).unwrap_or_default();
        return Err(format!(
            "no ready line within {READY_SECONDS_MAX} s ({status}); stderr:\n{said}"
        ));
    };
    Ok((child, address(&ready["api"])?, address(&ready["operator"])?))
}

fn address(url: &Value) -> Result<SocketAddr, String> {
    let text = url
        .as_str()
        .ok_or_else(|| format!("the ready line lacks an address: {url}"))?;
    let host = text.trim_start_matches("http://").trim_end_matches('/');
    host.parse()
        .map_err(|error| format!("the ready line's address `{text}`: {error}"))
}

/// One call of the events door at `api`; the body is sent as it stands.
pub fn events(api: SocketAddr, operation: &str, body: &str) -> std::io::Result<Response> {
    let target = format!("AWSEvents.{operation}");
    let headers = [
        ("Content-Type", "application/x-amz-json-1.1"),
        ("X-Amz-Target", target.as_str()),
    ];
    call(api, "POST", "/", &headers, body.as_bytes())
}

/// One call of the queue door at `api`; the body is sent as it stands.
pub fn sqs(api: SocketAddr, operation: &str, body: &str) -> std::io::Result<Response> {
    let target = format!("AmazonSQS.{operation}");
    let headers = [
        ("Content-Type", "application/x-amz-json-1.0"),
        ("X-Amz-Target", target.as_str()),
        ("x-amzn-query-mode", "true"),
    ];
    call(api, "POST", "/", &headers, body.as_bytes())
}

/// Waits until `done` holds, looking every 20 ms. Panics past `bound`, naming what was waited for.
#[track_caller]
pub fn wait_until(bound: Duration, what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < bound, "waited {bound:?} for: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Looks for what a machine may lack: `boto3`, `botocore-model` (both give the interpreter's name),
/// `root`, `loop`. Absent: `None` and one line `skipped: …`, or a panic where `BUSBAR_REQUIRE`, a
/// comma list, names it.
#[track_caller]
pub fn require(test: &str, thing: &str) -> Option<String> {
    let found = match thing {
        "boto3" => python_with("import boto3"),
        "botocore-model" => python_with("import botocore.loaders"),
        "root" => succeeds(Command::new("id").arg("-u")).filter(|user| user.trim() == "0"),
        "loop" => succeeds(Command::new("losetup").arg("-f")),
        _ => panic!("`{thing}` is nothing that a test may ask for"),
    };
    let required = std::env::var("BUSBAR_REQUIRE").unwrap_or_default();
    if found.is_none() {
        let named = required.split(',').any(|name| name.trim() == thing);
        assert!(!named, "{test}: needs {thing}, and BUSBAR_REQUIRE names it");
        println!("skipped: {test}: needs {thing}");
    }
    found
}

/// The Python interpreter of the tests: `BUSBAR_PYTHON`, else `python3`.
pub fn python() -> String {
    std::env::var("BUSBAR_PYTHON").unwrap_or_else(|_| String::from("python3"))
}

fn python_with(import: &str) -> Option<String> {
    let python = python();
    succeeds(Command::new(&python).args(["-c", import])).map(|_| python)
}

fn succeeds(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A file of this repository, by its path from the top.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}
