//! The steps of a scenario, and what its `Then` says of them.

use crate::bus::{Bus, SETTLED, Seen, channel, line, merge, read, text};
use crate::support::wait_until;
use lifecycle::moment;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;

/// Rows that are looked at after a step.
const ROWS: usize = 200;

impl Bus {
    pub fn step(&mut self, step: &Value) -> Seen {
        let mut seen = Seen::default();
        let members = step.as_object().unwrap();
        let action = members.keys().next().unwrap().as_str();
        let (value, then) = (&step[action], &step["Then"]);
        match action {
            "Put" => {
                let (file, n) = value.as_str().unwrap().split_once('#').unwrap();
                let mut envelope = line(file, n.parse().unwrap());
                if let Some(time) = step.get("Time") {
                    self.events += 1;
                    envelope["time"] = time.clone();
                    envelope["id"] = format!("under-a-new-id-{}", self.events).into();
                }
                self.put(&envelope, then, &mut seen);
            }
            "Event" => self.put(value, then, &mut seen),
            "Scan" => {
                let (monitor, at) = (text(value), text(&step["At"]));
                self.tick(&monitor, &at, then, &mut seen);
            }
            "ScanEveryHour" => {
                let from = moment::parse(step["From"].as_str().unwrap()).unwrap();
                for hour in 0..step["Hours"].as_i64().unwrap() {
                    let at = moment::format(from + hour * 3_600_000);
                    self.tick(value.as_str().unwrap(), &at, then, &mut seen);
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
                let loaded = || self.get("/v1/status")["rules"]["loaded"].clone();
                let before = loaded();
                for entry in fs::read_dir(self.operator().join("notification-profiles")).unwrap() {
                    let file = entry.unwrap().path();
                    let mut document = read(&file);
                    if document["Name"] == *name {
                        merge(&mut document, value);
                        fs::write(&file, document.to_string()).unwrap();
                    }
                }
                wait_until(SETTLED, "the profile is loaded", || loaded() != before);
                seen.version = self.get(&path)["version"].clone();
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

    fn put(&mut self, envelope: &Value, then: &Value, seen: &mut Seen) {
        self.move_to(moment::parse(envelope["time"].as_str().unwrap()).unwrap());
        let id = text(&envelope["id"]);
        let (before, requests) = (self.occurrences(&id).len(), self.receiver.received().len());
        let told = self.call("POST", "/v1/buses/default/envelopes", envelope);
        assert!(told[0].get("error").is_none(), "{told}");
        self.settle();
        self.look(seen, requests);
        if then.get("Queued").is_some() {
            self.queued(&self.occurrences(&id)[before..], seen);
        }
    }

    fn tick(&mut self, monitor: &str, at: &str, then: &Value, seen: &mut Seen) {
        self.move_to(moment::parse(at).unwrap());
        let requests = self.receiver.received().len();
        let path = format!("/v1/monitors/{monitor}/ticks");
        let done = self.call("POST", &path, &json!({ "At": at }));
        self.settle();
        let from = seen.rows.len();
        self.look(seen, requests);
        assert_eq!(done["emitted"], seen.rows.len() - from);
        let closed = done["closedStreams"].as_array().unwrap().iter();
        seen.closed
            .extend(closed.map(|it| json!([it["profile"], it["object"]])));
        let told = ["Emitted", "Details", "Queued"];
        if told.iter().all(|key| then.get(key).is_none()) {
            return;
        }
        for n in from..seen.rows.len() {
            let occurrences = self.occurrences(&text(&seen.rows[n]["eventId"]));
            let event = &occurrences[0]["envelope"];
            let object = text(&event["resources"][0]);
            seen.details.insert(object.clone(), event["detail"].clone());
            seen.emitted.push(object);
            self.queued(&occurrences, seen);
        }
    }

    fn queued(&self, occurrences: &[Value], seen: &mut Seen) {
        for occurrence in occurrences {
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
        let rows = self.get(&format!("/v1/firings?limit={ROWS}"))["firings"].clone();
        let mut fresh = rows.as_array().unwrap().clone();
        fresh.reverse();
        fresh.retain(|row| self.known.insert(text(&row["firing"])));
        assert!(fresh.len() < ROWS, "more rows than are looked at");
        let mut received = self.accepted(requests);
        let mut inboxes = None;
        for row in &fresh {
            for (object, evaluation, told) in told_of(row) {
                let id = text(&row["eventId"]);
                let time = text(&self.occurrences(&id)[0]["envelope"]["time"]);
                let time = moment::format(moment::parse(&time).unwrap());
                let (name, profile) = (text(&object["object"]), text(&told["profile"]));
                for channel in told["channels"].as_array().unwrap() {
                    let recipients = if channel == "internal" {
                        let of = |it: &&Value| {
                            it["eventId"] == id
                                && it["object"] == *name
                                && it["profile"] == *profile
                                && it["trigger"] == evaluation["trigger"]
                        };
                        let all = inboxes.get_or_insert_with(|| self.inboxes()).iter();
                        all.filter(of).map(|it| it["recipient"].clone()).collect()
                    } else {
                        let key = [id.clone(), name.clone(), profile.clone(), text(channel)];
                        let found = received.get_mut(&key).filter(|it| !it.is_empty());
                        found
                            .unwrap_or_else(|| panic!("{key:?} was not sent"))
                            .remove(0)
                    };
                    let (name, profile, channel) = (name.clone(), profile.clone(), text(channel));
                    seen.sent
                        .push((name, profile, channel, recipients, time.clone()));
                }
            }
        }
        received.retain(|_, it| !it.is_empty());
        assert!(received.is_empty(), "sent and in no row: {received:?}");
        seen.rows.extend(fresh);
    }

    /// Recipients of the notifications that channels accepted: by event, object, profile and channel.
    fn accepted(&self, requests: usize) -> BTreeMap<[String; 4], Vec<Vec<Value>>> {
        let mut accepted: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let failing = self.failing.lock().unwrap();
        for request in self.receiver.since(requests) {
            let body = request.json();
            let by = channel(&body["notification"]).filter(|it| !failing.contains(it));
            let Some((profile, channel)) = by else {
                continue;
            };
            let object = &body["object"];
            let object = format!("{}/{}", text(&object["type"]), text(&object["id"]));
            let recipients = body["notification"]["recipients"].as_array();
            let recipients = recipients.into_iter().flatten();
            let key = [text(&body["event"]["id"]), object, profile, channel];
            accepted
                .entry(key)
                .or_default()
                .push(recipients.map(|it| it["ref"].clone()).collect());
        }
        accepted
    }

    /// What `Then` says and is not so.
    pub fn differs(&self, step: &Value, seen: &Seen) -> Vec<String> {
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

/// What a firing told: the subject, the evaluation, the profile's part.
fn told_of(row: &Value) -> Vec<(&Value, &Value, &Value)> {
    let mut all = Vec::new();
    for object in row["objects"].as_array().unwrap() {
        for evaluation in object["evaluations"].as_array().unwrap() {
            let told = evaluation["told"].as_array().into_iter().flatten();
            all.extend(told.map(|told| (object, evaluation, told)));
        }
    }
    all
}
