//! The acceptance scenarios of certificate-lifecycle.md, against the whole server over its public API, with a
//! clock that the runner sets.
//!
//! `fixtures/certificate-lifecycle/README.md` says what the steps and expectations mean. `BUSBAR_SCENARIOS=FILE`
//! runs the scenarios of another file, `BUSBAR_INVALID=DIR` refuses the documents of another folder.

#[allow(dead_code, reason = "each test uses its part of the support")]
#[path = "support/mod.rs"]
mod support;

use lifecycle::moment;
use serde_json::{Map, Value, json};
use server::config::Config;
use server::serve::Server;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Answer, Receiver, call, wait_until};

const SETTLED: Duration = Duration::from_secs(20);
const FOLDERS: [&str; 5] = [
    "catalogue",
    "rules",
    "monitors",
    "notification-profiles",
    "destinations",
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/certificate-lifecycle")
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

fn read(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn merge(document: &mut Value, changes: &Value) {
    for (name, value) in changes.as_object().expect("members") {
        document[name.as_str()] = value.clone();
    }
}

type Failing = Arc<Mutex<BTreeSet<(String, String)>>>;

/// A server with the operator's documents and a receiver for all of its destinations.
struct Bus {
    runtime: tokio::runtime::Runtime,
    server: Option<Server>,
    home: tempfile::TempDir,
    receiver: Receiver,
    failing: Failing,
    ordinary: BTreeSet<String>,
    present: i64,
    events: u32,
    known: BTreeSet<String>,
}

/// What one step did.
#[derive(Default)]
struct Seen {
    rows: Vec<Value>,
    /// Object, profile, channel, recipients, time.
    sent: Vec<(String, String, String, Vec<Value>, String)>,
    queued: BTreeSet<(String, String)>,
    emitted: Vec<String>,
    details: BTreeMap<String, Value>,
    closed: Vec<Value>,
    version: Value,
}

impl Bus {
    fn start(given: &Value) -> Bus {
        let failing = Failing::default();
        let refuse = Arc::clone(&failing);
        let receiver = Receiver::start(move |_, request| {
            let notification = &request.json()["notification"];
            let channel = (
                text(&notification["profile"]),
                text(&notification["channel"]),
            );
            let refused = refuse.lock().unwrap().contains(&channel);
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
            fs::write(operator.join(file), rule.to_string()).unwrap();
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
        let server = runtime.block_on(Server::start(config));
        let server = server.unwrap_or_else(|e| match e {
            server::serve::ServeError::Rules(faults) => {
                panic!("{:?}", faults.iter().map(|f| f.line()).collect::<Vec<_>>())
            }
            e => panic!("{e}"),
        });
        let bus = Bus {
            runtime,
            server: Some(server),
            home,
            receiver,
            failing,
            ordinary,
            present,
            events: 0,
            known: BTreeSet::new(),
        };
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

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let found = self.ask(method, path, body);
        assert_eq!(found.status, 200, "{method} {path}: {}", found.text());
        found.json()
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> support::Response {
        let api = self.server.as_ref().unwrap().api;
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        call(api, method, path, &[], body.as_bytes()).expect("the server answers")
    }

    fn get(&self, path: &str) -> Value {
        self.call("GET", path, &Value::Null)
    }

    fn move_to(&mut self, moment: i64) {
        self.present = self.present.max(moment);
        server::clock::set_wall(self.present);
    }

    /// Waits until nothing is under way.
    fn settle(&self) {
        let mut quiet = 0;
        wait_until(SETTLED, "all deliveries have ended", || {
            let status = self.get("/v1/status");
            let idle = status["targets"]
                .as_array()
                .unwrap()
                .iter()
                .all(|it| it["pending"] == 0);
            let decided = self.get("/v1/firings?limit=1")["underWay"] == 0;
            quiet = if idle && decided { quiet + 1 } else { 0 };
            2 <= quiet
        });
    }

    /// How often an event and what was made of it occur so far.
    fn occurrences(&self, id: &str) -> Vec<Value> {
        let found = self.ask("GET", &format!("/v1/events/{id}"), &Value::Null);
        match found.status {
            404 => Vec::new(),
            _ => found.ok()["occurrences"].as_array().unwrap().clone(),
        }
    }

    fn put(&mut self, envelope: &Value, seen: &mut Seen) {
        self.move_to(moment::parse(envelope["time"].as_str().unwrap()).unwrap());
        let id = text(&envelope["id"]);
        let (before, requests) = (self.occurrences(&id).len(), self.receiver.received().len());
        let told = self.call("POST", "/v1/buses/default/envelopes", envelope);
        assert!(told[0].get("error").is_none(), "{told}");
        self.settle();
        self.look(seen, requests);
        self.queued(&id, before, seen);
    }

    fn tick(&mut self, monitor: &str, at: &str, seen: &mut Seen) {
        self.move_to(moment::parse(at).unwrap());
        let requests = self.receiver.received().len();
        let path = format!("/v1/monitors/{monitor}/ticks");
        let done = self.call("POST", &path, &json!({ "At": at }));
        self.settle();
        let from = seen.rows.len();
        self.look(seen, requests);
        seen.closed = done["closedStreams"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| json!([it["profile"], it["object"]]))
            .collect();
        for row in seen.rows[from..].to_vec() {
            let object = text(&row["objects"][0]["object"]);
            let id = text(&row["eventId"]);
            let event = self.occurrences(&id)[0]["envelope"].clone();
            seen.details.insert(object.clone(), event["detail"].clone());
            seen.emitted.push(object);
            self.queued(&id, 0, seen);
        }
        assert_eq!(done["emitted"], seen.rows.len() - from);
    }

    fn queued(&self, id: &str, before: usize, seen: &mut Seen) {
        for occurrence in &self.occurrences(id)[before..] {
            for delivery in occurrence["deliveries"].as_array().unwrap() {
                let rule = text(&delivery["rule"]);
                if self.ordinary.contains(&rule) {
                    seen.queued.insert((rule, text(&delivery["target"])));
                }
            }
        }
    }

    /// Rows and notifications of the firings that are new.
    fn look(&mut self, seen: &mut Seen, requests: usize) {
        let rows = self.get("/v1/firings?limit=1000")["firings"].clone();
        let mut fresh = rows.as_array().unwrap().clone();
        fresh.reverse();
        fresh.retain(|row| self.known.insert(text(&row["firing"])));
        let mut received: BTreeMap<[String; 4], Vec<Vec<Value>>> = BTreeMap::new();
        for request in self.receiver.since(requests) {
            let body = request.json();
            let notification = &body["notification"];
            let (profile, channel) = (
                text(&notification["profile"]),
                text(&notification["channel"]),
            );
            if self
                .failing
                .lock()
                .unwrap()
                .contains(&(profile.clone(), channel.clone()))
            {
                continue;
            }
            let object = format!(
                "{}/{}",
                text(&body["object"]["type"]),
                text(&body["object"]["id"])
            );
            let recipients = notification["recipients"].as_array().into_iter().flatten();
            let recipients = recipients.map(|it| it["ref"].clone()).collect();
            let key = [text(&body["event"]["id"]), object, profile, channel];
            received.entry(key).or_default().push(recipients);
        }
        let inboxes = self.inboxes();
        for row in &fresh {
            let id = text(&row["eventId"]);
            let time = self.occurrences(&id)[0]["envelope"]["time"].clone();
            let time = moment::format(moment::parse(time.as_str().unwrap()).unwrap());
            for object in row["objects"].as_array().unwrap() {
                for evaluation in object["evaluations"].as_array().unwrap() {
                    for told in evaluation["told"].as_array().into_iter().flatten() {
                        for channel in told["channels"].as_array().unwrap() {
                            let name = text(&object["object"]);
                            let key = [
                                id.clone(),
                                name.clone(),
                                text(&told["profile"]),
                                text(channel),
                            ];
                            let recipients = match channel.as_str() {
                                Some("internal") => inboxes
                                    .iter()
                                    .filter(|it| {
                                        it["eventId"] == id
                                            && it["object"] == *name
                                            && it["profile"] == told["profile"]
                                            && it["trigger"] == evaluation["trigger"]
                                    })
                                    .map(|it| it["recipient"].clone())
                                    .collect(),
                                _ => {
                                    let found = received.get_mut(&key).filter(|it| !it.is_empty());
                                    let found =
                                        found.unwrap_or_else(|| panic!("{key:?} was not sent"));
                                    found.remove(0)
                                }
                            };
                            let [_, object, profile, channel] = key;
                            seen.sent
                                .push((object, profile, channel, recipients, time.clone()));
                        }
                    }
                }
            }
        }
        let left: Vec<_> = received.iter().filter(|(_, it)| !it.is_empty()).collect();
        assert!(left.is_empty(), "sent and in no row: {left:?}");
        seen.rows.extend(fresh);
    }

    /// All notifications in inboxes.
    fn inboxes(&self) -> Vec<Value> {
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

    fn step(&mut self, step: &Value) -> Seen {
        let mut seen = Seen::default();
        let members = step.as_object().unwrap();
        let action = members.keys().next().unwrap().as_str();
        let value = &step[action];
        match action {
            "Put" => {
                let (file, line) = value.as_str().unwrap().split_once('#').unwrap();
                let lines = fs::read_to_string(fixtures().join(file)).unwrap();
                let line: usize = line.parse().unwrap();
                let mut envelope: Value =
                    serde_json::from_str(lines.lines().nth(line - 1).unwrap()).unwrap();
                if let Some(time) = step.get("Time") {
                    self.events += 1;
                    envelope["time"] = time.clone();
                    envelope["id"] = format!("under-a-new-id-{}", self.events).into();
                }
                self.put(&envelope, &mut seen);
            }
            "Event" => self.put(value, &mut seen),
            "Scan" => self.tick(
                value.as_str().unwrap(),
                step["At"].as_str().unwrap(),
                &mut seen,
            ),
            "ScanEveryHour" => {
                let from = moment::parse(step["From"].as_str().unwrap()).unwrap();
                for hour in 0..step["Hours"].as_i64().unwrap() {
                    let at = moment::format(from + hour * 3_600_000);
                    self.tick(value.as_str().unwrap(), &at, &mut seen);
                }
            }
            "SetObject" => {
                let mut edit = value.clone();
                let object = edit.as_object_mut().unwrap().remove("Ref").unwrap();
                self.call("PATCH", &format!("/v1/inventory/{}", text(&object)), &edit);
            }
            "Relate" | "Unrelate" => {
                let [from, relation, to] = [0, 1, 2].map(|n| text(&value[n]));
                let method = if action == "Relate" { "POST" } else { "DELETE" };
                let path = format!("/v1/inventory/{from}/relations");
                let told = self.call(method, &path, &json!({"Relation": relation, "To": to}));
                assert_eq!(told["changed"], true);
            }
            "EditProfile" => {
                let name = text(&value["Name"]);
                let path = format!("/v1/notification-profiles/{name}");
                let before = self.get(&path)["version"].clone();
                let folder = self.home.path().join("operator/notification-profiles");
                for entry in fs::read_dir(folder).unwrap() {
                    let file = entry.unwrap().path();
                    let mut document = read(&file);
                    if document["Name"] == *name {
                        merge(&mut document, value);
                        fs::write(&file, document.to_string()).unwrap();
                    }
                }
                wait_until(SETTLED, "the profile is loaded", || {
                    seen.version = self.get(&path)["version"].clone();
                    seen.version != before
                });
            }
            "FailChannel" => {
                let channel = (text(&value[0]), text(&value[1]));
                self.failing.lock().unwrap().insert(channel);
            }
            "RepairChannels" => self.failing.lock().unwrap().clear(),
            other => panic!("no step {other}"),
        }
        seen
    }

    fn stop(mut self) {
        if let Some(server) = self.server.take() {
            assert_eq!(self.runtime.block_on(server.stop()), 0);
        }
    }

    /// What `Then` says and is not so.
    fn differs(&self, step: &Value, seen: &Seen) -> Vec<String> {
        let mut faults = Vec::new();
        let only = step.get("Only").map(text);
        for (key, expected) in step["Then"].as_object().unwrap() {
            let found = self.found(key, expected, seen, only.as_deref());
            if found != *expected {
                faults.push(format!("{key}: wanted {expected}, found {found}"));
            }
        }
        faults
    }

    fn found(&self, key: &str, expected: &Value, seen: &Seen, only: Option<&str>) -> Value {
        let objects = seen
            .rows
            .iter()
            .flat_map(|row| row["objects"].as_array().unwrap());
        let objects: Vec<&Value> = objects.collect();
        let null = Value::Null;
        let first = *objects.first().unwrap_or(&&null);
        let by_name = |each: &dyn Fn(&str) -> Value| {
            let names = expected.as_object().unwrap().keys();
            Value::Object(
                names
                    .map(|name| (name.clone(), each(name)))
                    .collect::<Map<_, _>>(),
            )
        };
        let ran = |objects: &[&Value]| -> Value {
            let all = objects
                .iter()
                .flat_map(|it| it["evaluations"].as_array().unwrap());
            all.map(|it| {
                let verdict = match (it["conditionsMatched"] == true, it["ignore"] == true) {
                    (false, _) => "not-matched",
                    (true, true) => "ignored",
                    (true, false) => "matched",
                };
                json!([it["scope"], it["trigger"], verdict])
            })
            .collect()
        };
        let of = |object: &str| -> Vec<&Value> {
            let some = objects.iter().filter(|it| it["object"] == *object);
            some.copied().collect()
        };
        let evaluations = |member: &str| {
            by_name(&|object| {
                let all: Vec<&Value> = of(object)
                    .into_iter()
                    .flat_map(|it| it["evaluations"].as_array().unwrap())
                    .collect();
                let wanted = expected[object].as_object().unwrap().keys();
                let found = wanted.map(|name| {
                    let it = all.iter().find(|it| it["trigger"] == *name).unwrap();
                    (name.clone(), it[member].clone())
                });
                Value::Object(found.collect())
            })
        };
        match key {
            "Applied" => first["applied"].clone(),
            "Skipped" => first["skipped"].clone(),
            "Ran" => ran(&objects[..objects.len().min(1)]),
            "RanFor" => by_name(&|object| ran(&of(object))),
            "Sent" => seen
                .sent
                .iter()
                .map(|(_, profile, channel, recipients, _)| json!([profile, channel, recipients]))
                .collect(),
            "SentFor" => by_name(&|object| {
                let sent = seen.sent.iter().filter(|it| it.0 == object);
                sent.map(|(_, profile, channel, ..)| json!([profile, channel]))
                    .collect()
            }),
            "SentTimes" => {
                let mut times: BTreeMap<String, Vec<&str>> = BTreeMap::new();
                for (object, profile, channel, _, at) in &seen.sent {
                    if Some(object.as_str()) == only && channel != "internal" {
                        times
                            .entry(format!("{profile}/{channel}"))
                            .or_default()
                            .push(at);
                    }
                }
                json!(times)
            }
            "Queued" => {
                let found: Vec<Value> = seen.queued.iter().map(|it| json!([it.0, it.1])).collect();
                let mut wanted = expected.as_array().unwrap().clone();
                wanted.sort_by_key(Value::to_string);
                if wanted == found {
                    expected.clone()
                } else {
                    found.into()
                }
            }
            "Object" => {
                let path = format!("/v1/inventory/{}", text(&first["object"]));
                let found = self.ask("GET", &path, &Value::Null);
                if found.status == 404 {
                    return Value::Null;
                }
                let shown = found.ok();
                by_name(&|name| {
                    let pointer = format!("/{}", name.replace('.', "/"));
                    shown.pointer(&pointer).cloned().unwrap_or_default()
                })
            }
            "Admitted" => first["admitted"].clone(),
            "Status" => seen.rows[0]["status"].clone(),
            "Subjects" => objects.iter().map(|it| it["object"].clone()).collect(),
            "Emitted" => json!(seen.emitted),
            "Details" => by_name(&|object| seen.details[object].clone()),
            "Streams" => {
                let wanted = expected.as_array().unwrap().iter();
                let found = wanted.map(|wanted| {
                    let path = format!("/v1/streams?limit=1000&object={}", text(&wanted[1]));
                    let streams = self.get(&path)["streams"].clone();
                    let mut streams = streams.as_array().unwrap().iter();
                    let stream = streams.find(|it| it["profile"] == wanted[0]);
                    let count = stream.map_or(json!(0), |it| it["count"].clone());
                    json!([wanted[0], wanted[1], count])
                });
                found.collect()
            }
            "ClosedStreams" => json!(seen.closed),
            "NotificationSent" => evaluations("notificationSent"),
            "ActionsPerformed" => evaluations("actionsPerformed"),
            "Version" => seen.version.clone(),
            other => panic!("nothing is known of `{other}`"),
        }
    }
}

#[test]
fn every_scenario_passes() {
    let file = std::env::var_os("BUSBAR_SCENARIOS").map(PathBuf::from);
    let scenarios = read(&file.unwrap_or_else(|| fixtures().join("scenarios.json")));
    let scenarios = scenarios.as_array().unwrap();
    let only = std::env::var("BUSBAR_SCENARIO").ok();
    let mut failed = Vec::new();
    for scenario in scenarios {
        let id = text(&scenario["Id"]);
        if only.as_ref().is_some_and(|only| *only != id) {
            continue;
        }
        let mut bus = Bus::start(&scenario["Given"]);
        for (n, step) in scenario["Steps"].as_array().unwrap().iter().enumerate() {
            let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let seen = bus.step(step);
                bus.differs(step, &seen)
            }));
            let faults = played.unwrap_or_else(|_| vec!["panicked".into()]);
            failed.extend(faults.iter().map(|it| format!("{id} step {}: {it}", n + 1)));
        }
        bus.stop();
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
