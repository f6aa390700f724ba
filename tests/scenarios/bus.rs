//! The server of a scenario, in this process, and what is asked of it over its ports.

use crate::support::{self, Answer, Receiver, call};
use lifecycle::moment;
use serde_json::Value;
use server::config::Config;
use server::serve::{ServeError, Server};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub const SETTLED: Duration = Duration::from_secs(60);
const FOLDERS: [&str; 5] = [
    "catalogue",
    "rules",
    "monitors",
    "notification-profiles",
    "destinations",
];

/// The clock is the process's: one server at a time.
static ALONE: Mutex<()> = Mutex::new(());

pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/certificate-lifecycle")
}

pub fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

pub fn read(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Line `n` of a file of events; the first is 1.
pub fn line(file: &str, n: usize) -> Value {
    let lines = fs::read_to_string(fixtures().join(file)).unwrap();
    serde_json::from_str(lines.lines().nth(n - 1).unwrap()).unwrap()
}

pub fn merge(document: &mut Value, changes: &Value) {
    for (name, value) in changes.as_object().expect("members") {
        document[name.as_str()] = value.clone();
    }
}

type Failing = Arc<Mutex<BTreeSet<(String, String)>>>;

/// A server with the operator's documents and a receiver for all of its destinations.
pub struct Bus {
    _alone: MutexGuard<'static, ()>,
    runtime: tokio::runtime::Runtime,
    server: Option<Server>,
    config: Config,
    pub home: tempfile::TempDir,
    pub receiver: Receiver,
    pub failing: Failing,
    pub ordinary: BTreeSet<String>,
    present: i64,
    pub events: u32,
    pub known: BTreeSet<String>,
}

/// What one step did.
#[derive(Default)]
pub struct Seen {
    pub rows: Vec<Value>,
    /// Object, profile, channel, recipients, time.
    pub sent: Vec<(String, String, String, Vec<Value>, String)>,
    pub queued: BTreeSet<(String, String)>,
    pub emitted: Vec<String>,
    pub details: BTreeMap<String, Value>,
    pub closed: Vec<Value>,
    pub version: Value,
}

impl Bus {
    /// With the operator's documents as `given` changes them, and the objects of the inventory.
    pub fn start(given: &Value) -> Bus {
        for name in given.as_object().into_iter().flatten().map(|it| it.0) {
            assert!(["Catalogue", "Rules"].contains(&name.as_str()), "{name}");
        }
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let failing = Failing::default();
        let refuse = Arc::clone(&failing);
        let receiver = Receiver::start(move |_, request| {
            let notification = &request.json()["notification"];
            let channel = channel(notification);
            let refused = channel.is_some_and(|it| refuse.lock().unwrap().contains(&it));
            Answer::status(if refused { 400 } else { 200 })
        });
        let home = tempfile::tempdir().unwrap();
        let mut ordinary = BTreeSet::new();
        for folder in FOLDERS {
            let to = home.path().join("operator").join(folder);
            fs::create_dir_all(&to).unwrap();
            for entry in fs::read_dir(fixtures().join("operator").join(folder)).unwrap() {
                let path = entry.unwrap().path();
                let mut document = read(&path);
                if folder == "destinations" {
                    document["Url"] =
                        format!("{}{}", receiver.url(), text(&document["Name"])).into();
                    document.as_object_mut().unwrap().remove("Secret");
                }
                if folder == "catalogue" {
                    let changes = &given["Catalogue"][text(&document["Name"]).as_str()];
                    if changes.is_object() {
                        merge(&mut document, changes);
                    }
                }
                let name = path.file_name().unwrap();
                fs::write(to.join(name), document.to_string()).unwrap();
            }
        }
        let operator = home.path().join("operator");
        for (name, document) in given["Catalogue"].as_object().into_iter().flatten() {
            let file = operator.join("catalogue").join(format!("{name}.json"));
            if !file.exists() {
                fs::write(file, document.to_string()).unwrap();
            }
        }
        for rule in given["Rules"].as_array().into_iter().flatten() {
            let file = format!("rules/given-{}.json", text(&rule["Name"]));
            let rule = rule.to_string().replace("{{receiver}}", &receiver.url());
            fs::write(operator.join(file), rule).unwrap();
        }
        for entry in fs::read_dir(operator.join("rules")).unwrap() {
            ordinary.insert(text(&read(&entry.unwrap().path())["Name"]));
        }
        let present = moment::parse("2025-07-01T00:00:00Z").unwrap();
        server::clock::set_wall(present);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let mut config = Config {
            data: home.path().join("data"),
            rules: operator,
            listen: ([127, 0, 0, 1], 0).into(),
            operator_listen: ([127, 0, 0, 1], 0).into(),
            disk_reserve_bytes: 16 << 20,
            disk_free_bytes_min: 0,
            monitors_scheduled: false,
            ..Config::default()
        };
        config.home.account = "111122223333".into();
        let mut bus = Bus {
            _alone: alone,
            config,
            runtime,
            server: None,
            home,
            receiver,
            failing,
            ordinary,
            present,
            events: 0,
            known: BTreeSet::new(),
        };
        bus.run();
        let inventory = fs::read_to_string(fixtures().join("inventory/objects.jsonl")).unwrap();
        for line in inventory.lines() {
            let value: Value = serde_json::from_str(line).unwrap();
            let path = format!(
                "/v1/inventory/{}/{}",
                text(&value["type"]),
                text(&value["id"])
            );
            bus.call("PUT", &path, &value);
        }
        bus
    }

    /// Starts the server, the first time or again.
    pub fn run(&mut self) {
        let server = self.runtime.block_on(Server::start(self.config.clone()));
        let server = server.unwrap_or_else(|e| match e {
            ServeError::Rules(faults) => {
                panic!("{:?}", faults.iter().map(|f| f.line()).collect::<Vec<_>>())
            }
            e => panic!("{e}"),
        });
        self.server = Some(server);
    }

    /// Stops the server.
    pub fn halt(&mut self) {
        if let Some(server) = self.server.take() {
            assert_eq!(self.runtime.block_on(server.stop()), 0);
        }
    }

    /// Stops it and starts it again, with its monitors on the clock or not.
    pub fn again(&mut self, scheduled: bool) {
        self.halt();
        self.config.monitors_scheduled = scheduled;
        self.run();
    }

    /// The folder of the operator's documents.
    pub fn operator(&self) -> PathBuf {
        self.home.path().join("operator")
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn api(&self) -> SocketAddr {
        self.server.as_ref().expect("it runs").api
    }

    /// Puts a line of the events, and waits for what follows from it.
    pub fn put_line(&mut self, file: &str, n: usize) {
        let envelope = line(file, n);
        self.move_to(moment::parse(envelope["time"].as_str().unwrap()).unwrap());
        let told = self.call("POST", "/v1/buses/default/envelopes", &envelope);
        assert!(told[0].get("error").is_none(), "{told}");
        self.settle();
    }

    pub fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let found = self.ask(method, path, body);
        assert_eq!(found.status, 200, "{method} {path}: {}", found.text());
        found.json()
    }

    pub fn ask(&self, method: &str, path: &str, body: &Value) -> support::Response {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        call(self.api(), method, path, &[], body.as_bytes()).expect("the server answers")
    }

    pub fn get(&self, path: &str) -> Value {
        self.call("GET", path, &Value::Null)
    }

    pub fn move_to(&mut self, moment: i64) {
        self.present = self.present.max(moment);
        server::clock::set_wall(self.present);
    }

    /// Waits until nothing is under way. What was put is in the status at once, and a firing's end comes in
    /// one block with all that it makes.
    pub fn settle(&self) {
        let begin = Instant::now();
        loop {
            let status = self.get("/v1/status");
            let mut targets = status["targets"].as_array().unwrap().iter();
            let idle = targets.all(|it| it["pending"] == 0);
            if idle && self.get("/v1/firings?limit=1")["underWay"] == 0 {
                return;
            }
            assert!(begin.elapsed() < SETTLED, "deliveries have not ended");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// How often an event and what was made of it occur so far.
    pub fn occurrences(&self, id: &str) -> Vec<Value> {
        let found = self.ask("GET", &format!("/v1/events/{id}"), &Value::Null);
        match found.status {
            404 => Vec::new(),
            _ => found.ok()["occurrences"].as_array().unwrap().clone(),
        }
    }

    /// All notifications in inboxes.
    pub fn inboxes(&self) -> Vec<Value> {
        let mut all = Vec::new();
        // Owners come before groups in what the catalogue names by default.
        for kind in ["user", "role", "group"] {
            let objects = self.get(&format!("/v1/inventory/{kind}"))["objects"].clone();
            for object in objects.as_array().unwrap() {
                let path = format!("/v1/inbox/{kind}/{}?limit=1000", text(&object["id"]));
                let found = self.get(&path)["notifications"].clone();
                all.extend(found.as_array().unwrap().iter().cloned());
            }
        }
        all
    }
}

/// The channel that a notification came by; none for other bodies.
pub fn channel(notification: &Value) -> Option<(String, String)> {
    let of = |member: &str| notification[member].as_str().map(str::to_owned);
    of("profile").zip(of("channel"))
}
