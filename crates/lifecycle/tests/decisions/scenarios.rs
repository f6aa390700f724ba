//! The acceptance scenarios of `fixtures/certificate-lifecycle/scenarios.json`, as far as decisions go:
//! a small bus in memory that puts events, ticks monitors and carries decisions out at once, through
//! the same functions that the server calls. Channels succeed unless a step makes them fail.

use crate::common::{Operator, fixtures};
use bus_core::name::Home;
use lifecycle::documents::{Documents, Profile};
use lifecycle::event::{Event, Raised};
use lifecycle::firing::{DUPLICATE_MS_DEFAULT, Firing, Now, fire};
use lifecycle::history::Status;
use lifecycle::moment;
use lifecycle::notification::take_back;
use lifecycle::object::Edit;
use lifecycle::reference::Ref;
use lifecycle::scan::{self, Same};
use lifecycle::state::{Draft, Effect, State};
use rule_engine::oracle;
use rule_engine::pattern::{Options, Pattern};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Objects of one page of a scan: fewer than there are, so that scans go over several.
const PAGE: usize = 4;

struct Bus {
    operator: Operator,
    documents: Documents,
    /// Ordinary rules: name, pattern, ids of queues.
    rules: Vec<(String, Pattern, Vec<String>)>,
    state: State,
    failing: BTreeSet<(String, String)>,
    now: i64,
    events: u32,
}

/// What one step did.
#[derive(Default)]
struct Seen {
    firings: Vec<Firing>,
    /// Object, profile, channel, recipients, time.
    sent: Vec<(String, String, String, Vec<String>, i64)>,
    queued: BTreeSet<(String, String)>,
    emitted: Vec<String>,
    details: BTreeMap<String, Value>,
    closed: Vec<Value>,
    version: Option<u32>,
}

impl Bus {
    fn new(given: &Value) -> Bus {
        let mut operator = Operator::read();
        for (name, changes) in given["Catalogue"].as_object().into_iter().flatten() {
            let found = operator
                .catalogue
                .iter_mut()
                .find(|it| it["Name"] == *name.as_str());
            match found {
                Some(entry) => merge(entry, changes),
                None => operator.catalogue.push(changes.clone()),
            }
        }
        for rule in given["Rules"].as_array().into_iter().flatten() {
            operator.rules.push(rule.clone());
        }
        let plain = operator
            .rules
            .iter()
            .filter(|rule| rule.get("Trigger").is_none());
        let rules = plain.map(|rule| {
            let pattern = Pattern::parse(&rule["EventPattern"].to_string()).unwrap();
            let targets = rule["Targets"].as_array().unwrap().iter();
            let targets = targets.map(|it| text(&it["Id"])).collect();
            (text(&rule["Name"]), pattern, targets)
        });
        let rules = rules.collect();
        let set = operator.set();
        let mut state = State::default();
        for profile in &set.profiles {
            let effect = state.load_profile(profile.clone()).unwrap();
            state.apply(&effect);
        }
        let mut bus = Bus {
            documents: Documents::new(set).unwrap(),
            operator,
            rules,
            state,
            failing: BTreeSet::new(),
            now: moment::parse("2025-07-01T00:00:00Z").unwrap(),
            events: 0,
        };
        let inventory =
            std::fs::read_to_string(fixtures().join("inventory/objects.jsonl")).unwrap();
        for line in inventory.lines() {
            let value: Value = serde_json::from_str(line).unwrap();
            let object = Ref::new(&text(&value["type"]), &text(&value["id"])).unwrap();
            let edit = Edit::read(object, &value).unwrap();
            bus.change(|draft, documents, now| draft.put(edit, documents.pairs(), now));
        }
        bus
    }

    fn change(&mut self, change: impl FnOnce(&mut Draft<'_>, &Documents, i64)) {
        let mut draft = Draft::new(&self.state);
        change(&mut draft, &self.documents, self.now);
        for effect in draft.take_effects() {
            self.apply(&effect);
        }
    }

    /// As the server would: through its journal.
    fn apply(&mut self, effect: &Effect) {
        let written = serde_json::to_string(effect).unwrap();
        let read: Effect = serde_json::from_str(&written).unwrap();
        assert_eq!(read, *effect);
        self.state.apply(&read);
    }

    fn put(&mut self, envelope: &str, raised: &Raised, seen: &mut Seen) {
        for (name, pattern, targets) in &self.rules {
            if oracle::matches(pattern, envelope.as_bytes()).unwrap() {
                let all = targets.iter().map(|target| (name.clone(), target.clone()));
                seen.queued.extend(all);
            }
        }
        let event = Event::read("default", envelope).unwrap();
        self.now = self.now.max(event.time);
        let now = Now {
            wall: self.now,
            duplicate: DUPLICATE_MS_DEFAULT,
        };
        let Some(mut firing) = fire(&self.documents, &self.state, &event, raised, now, "f") else {
            return;
        };
        for effect in &firing.effects {
            self.apply(effect);
        }
        for (row, decision) in firing.row.objects.iter_mut().zip(&firing.decisions) {
            for effect in &decision.effects {
                self.apply(effect);
            }
            for handed in &decision.handed {
                let all = handed.targets.iter();
                seen.queued
                    .extend(all.map(|target| (handed.trigger.clone(), target.clone())));
            }
            for notice in &decision.notices {
                let mut sent = |channel: &str, recipients: Vec<String>| {
                    let object = notice.object.as_str().to_owned();
                    let (profile, channel) = (notice.profile.clone(), channel.to_owned());
                    seen.sent
                        .push((object, profile, channel, recipients, event.time));
                };
                for handover in &notice.handovers {
                    let channel = (notice.profile.clone(), handover.channel.clone());
                    if !self.failing.contains(&channel) {
                        let recipients = handover.recipients.iter().flatten();
                        sent(
                            &handover.channel,
                            recipients.map(|it| it.as_str().to_owned()).collect(),
                        );
                        continue;
                    }
                    let mut evaluations = row.evaluations.iter_mut();
                    let evaluation = evaluations.find(|it| it.trigger == notice.trigger).unwrap();
                    let gone =
                        evaluation.gave_up(notice.action, &notice.profile, &channel.1, "400");
                    if let (true, Some(step)) = (gone, &notice.step)
                        && let Some(effect) = take_back(&self.state, step)
                    {
                        self.state.apply(&effect);
                    }
                }
                if !notice.inbox.is_empty() {
                    let all = notice.inbox.iter();
                    sent(
                        "internal",
                        all.map(|(it, _)| it.as_str().to_owned()).collect(),
                    );
                }
            }
        }
        seen.firings.push(firing);
    }

    fn scan(&mut self, monitor: &str, tick: i64, seen: &mut Seen) {
        self.now = self.now.max(tick);
        let document = self.documents.monitor(monitor).unwrap().clone();
        let same = Same::of(&document, self.state.shown(&document.resource, None));
        let home = Home {
            account: "111122223333".into(),
            ..Home::default()
        };
        loop {
            let page = scan::page(
                &self.documents,
                &self.state,
                &home,
                monitor,
                tick,
                &same,
                PAGE,
            );
            let page = page.unwrap();
            for effect in &page.effects {
                self.apply(effect);
            }
            for emission in page.emissions {
                let object = emission.object.as_str().to_owned();
                let event: Value = serde_json::from_str(&emission.json).unwrap();
                seen.details.insert(object.clone(), event["detail"].clone());
                seen.emitted.push(object);
                self.put(&emission.json, &Raised::Monitor(monitor.to_owned()), seen);
            }
            if let Some(done) = page.done {
                let closed = done.closed.iter();
                seen.closed = closed
                    .map(|key| json!([key.profile, key.object.as_str()]))
                    .collect();
                return;
            }
        }
    }

    fn step(&mut self, step: &Value) -> Seen {
        let mut seen = Seen::default();
        let members = step.as_object().unwrap();
        let action = members.keys().next().unwrap().as_str();
        let value = &step[action];
        let time = |name: &str| moment::parse(step[name].as_str().unwrap()).unwrap();
        match action {
            "Put" => {
                let (file, line) = value.as_str().unwrap().split_once('#').unwrap();
                let lines = std::fs::read_to_string(fixtures().join(file)).unwrap();
                let line = lines
                    .lines()
                    .nth(line.parse::<usize>().unwrap() - 1)
                    .unwrap();
                let mut envelope: Value = serde_json::from_str(line).unwrap();
                if let Some(time) = step.get("Time") {
                    self.events += 1;
                    envelope["time"] = time.clone();
                    envelope["id"] = format!("under-a-new-id-{}", self.events).into();
                }
                self.put(&envelope.to_string(), &Raised::Outside, &mut seen);
            }
            "Event" => self.put(&value.to_string(), &Raised::Outside, &mut seen),
            "Scan" => self.scan(value.as_str().unwrap(), time("At"), &mut seen),
            "ScanEveryHour" => {
                for hour in 0..step["Hours"].as_i64().unwrap() {
                    let tick = time("From") + hour * 3_600_000;
                    self.scan(value.as_str().unwrap(), tick, &mut seen);
                }
            }
            "SetObject" => {
                let mut edit = value.clone();
                let object = edit.as_object_mut().unwrap().shift_remove("Ref").unwrap();
                let object = Ref::parse(object.as_str().unwrap()).unwrap();
                let edit = Edit::read(object, &edit).unwrap();
                self.change(|draft, documents, now| draft.patch(&edit, documents.pairs(), now));
            }
            "Relate" | "Unrelate" => {
                let [from, relation, to] = [0, 1, 2].map(|n| text(&value[n]));
                let (from, to) = (Ref::parse(&from).unwrap(), Ref::parse(&to).unwrap());
                self.change(|draft, documents, now| {
                    let pairs = documents.pairs();
                    let changed = match action {
                        "Relate" => draft.relate(&from, &relation, &to, pairs, now),
                        _ => draft.unrelate(&from, &relation, &to, pairs, now),
                    };
                    assert!(changed);
                });
            }
            "EditProfile" => {
                let profiles = &mut self.operator.profiles;
                let found = profiles.iter_mut().find(|it| it["Name"] == value["Name"]);
                let profile = found.unwrap();
                merge(profile, value);
                let profile = Profile::read(&profile.to_string(), &Options::default()).unwrap();
                let name = profile.name.clone();
                if let Some(effect) = self.state.load_profile(profile) {
                    self.apply(&effect);
                }
                seen.version = Some(self.state.profile(&name).unwrap().0);
            }
            "FailChannel" => {
                self.failing.insert((text(&value[0]), text(&value[1])));
            }
            "RepairChannels" => self.failing.clear(),
            other => panic!("no step {other}"),
        }
        seen
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
        let rows = || seen.firings.iter().flat_map(|firing| &firing.row.objects);
        let first = || rows().next().unwrap();
        let names = || expected.as_object().unwrap().keys();
        let by_name = |each: &dyn Fn(&str) -> Value| {
            Value::Object(
                names()
                    .map(|name| (name.clone(), each(name)))
                    .collect::<Map<_, _>>(),
            )
        };
        let ran = |object: Option<&str>| -> Value {
            let wanted = rows().filter(|row| object.is_none_or(|object| row.object == object));
            let rows: Vec<_> = match object {
                None => wanted.take(1).collect(),
                Some(_) => wanted.collect(),
            };
            let evaluations = rows.iter().flat_map(|row| &row.evaluations);
            let shown = evaluations.map(|it| {
                let verdict = match (it.conditions_matched, it.ignore) {
                    (false, _) => "not-matched",
                    (true, true) => "ignored",
                    (true, false) => "matched",
                };
                json!([it.scope, it.trigger, verdict])
            });
            shown.collect()
        };
        let evaluations =
            |object: &str, read: &dyn Fn(&lifecycle::history::Evaluation) -> Value| {
                let of_object = rows().filter(|row| row.object == object);
                let all: Vec<_> = of_object.flat_map(|row| &row.evaluations).collect();
                let wanted = expected[object].as_object().unwrap().keys();
                let found = wanted.map(|name| {
                    let it = all.iter().find(|it| it.trigger == *name).unwrap();
                    (name.clone(), read(it))
                });
                Value::Object(found.collect())
            };
        match key {
            "Applied" => json!(
                seen.firings
                    .first()
                    .map(|_| rows().next().map(|it| &it.applied))
            ),
            "Skipped" => json!(first().skipped),
            "Ran" => ran(None),
            "RanFor" => by_name(&|object| ran(Some(object))),
            "Sent" => seen
                .sent
                .iter()
                .map(|(_, p, c, r, _)| json!([p, c, r]))
                .collect(),
            "SentFor" => by_name(&|object| {
                let sent = seen.sent.iter().filter(|it| it.0 == object);
                sent.map(|(_, profile, channel, ..)| json!([profile, channel]))
                    .collect()
            }),
            "SentTimes" => {
                let mut times: BTreeMap<String, Vec<String>> = BTreeMap::new();
                for (object, profile, channel, _, at) in &seen.sent {
                    if Some(object.as_str()) == only && channel != "internal" {
                        let name = format!("{profile}/{channel}");
                        times.entry(name).or_default().push(moment::format(*at));
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
                let object = Ref::parse(&first().object).unwrap();
                let Some(object) = self.state.get(&object) else {
                    return Value::Null;
                };
                let shown = object.to_json();
                by_name(&|name| {
                    let pointer = format!("/{}", name.replace('.', "/"));
                    shown.pointer(&pointer).cloned().unwrap_or_default()
                })
            }
            "Admitted" => json!(first().admitted),
            "Status" => json!(seen.firings[0].row.status),
            "Subjects" => rows().map(|row| Value::from(row.object.clone())).collect(),
            "Emitted" => json!(seen.emitted),
            "Details" => by_name(&|object| seen.details[object].clone()),
            "Streams" => {
                let mut found = Vec::new();
                for wanted in expected.as_array().unwrap() {
                    let stream = self.state.streams().find(|(key, _)| {
                        wanted[0] == *key.profile && wanted[1] == *key.object.as_str()
                    });
                    let count = stream.map_or(0, |(_, stream)| stream.count);
                    found.push(json!([wanted[0], wanted[1], count]));
                }
                found.into()
            }
            "ClosedStreams" => json!(seen.closed),
            "NotificationSent" => {
                by_name(&|object| evaluations(object, &|it| json!(it.notification_sent)))
            }
            "ActionsPerformed" => {
                by_name(&|object| evaluations(object, &|it| json!(it.actions_performed)))
            }
            "Version" => json!(seen.version),
            other => panic!("nothing is known of `{other}`"),
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn merge(document: &mut Value, changes: &Value) {
    for (name, value) in changes.as_object().unwrap() {
        document[name.as_str()] = value.clone();
    }
}

#[test]
fn every_scenario_passes() {
    let text_of = std::fs::read_to_string(fixtures().join("scenarios.json")).unwrap();
    let scenarios: Vec<Value> = serde_json::from_str(&text_of).unwrap();
    let mut failed = Vec::new();
    for scenario in &scenarios {
        let mut bus = Bus::new(&scenario["Given"]);
        for (n, step) in scenario["Steps"].as_array().unwrap().iter().enumerate() {
            let seen = bus.step(step);
            for fault in bus.differs(step, &seen) {
                failed.push(format!("{} step {}: {fault}", text(&scenario["Id"]), n + 1));
            }
        }
        // A state told as effects is the same state.
        let mut again = State::default();
        bus.state.effects().for_each(|effect| again.apply(&effect));
        assert!(
            again.effects().eq(bus.state.effects()),
            "{}",
            scenario["Id"]
        );
        assert!(seen_some(&bus.state));
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

fn seen_some(state: &State) -> bool {
    state.shown("certificate", None).count() > 10
}

#[test]
fn an_event_of_no_known_type_does_not_fire() {
    let mut bus = Bus::new(&json!({}));
    let mut seen = Seen::default();
    let event = json!({"id": "1", "source": "x", "detail-type": "y", "time": "2025-07-01T00:00:00Z", "detail": {}});
    bus.put(&event.to_string(), &Raised::Outside, &mut seen);
    assert!(seen.firings.is_empty());
    assert_eq!(json!(Status::InProgress), "in-progress");
}
