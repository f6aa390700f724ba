//! What the scenarios do not reach: small catalogues of things that never were certificates.

use crate::common::Operator;
use lifecycle::documents::Documents;
use lifecycle::event::{Event, Raised};
use lifecycle::firing::{Decision, Firing, Now, fire};
use lifecycle::history::{Evaluation, RecordKind, Status};
use lifecycle::moment;
use lifecycle::notification::take_back;
use lifecycle::object::Edit;
use lifecycle::reference::Ref;
use lifecycle::state::{Draft, Effect, Feeder, State};
use serde_json::{Value, json};

struct Bus {
    documents: Documents,
    state: State,
    events: u32,
}

fn trigger(name: &str, scopes: &[&str], changes: Value) -> Value {
    let mut rule = json!({
        "Name": name,
        "Trigger": {"Event": "thing", "Scopes": scopes},
        "Targets": [{"Id": "q", "Arn": "arn"}],
    });
    for (name, value) in changes.as_object().unwrap() {
        if let Some(member) = rule["Trigger"]
            .as_object_mut()
            .filter(|_| ["Order", "Ignore"].contains(&name.as_str()))
        {
            member.insert(name.clone(), value.clone());
        } else {
            rule[name.as_str()] = value.clone();
        }
    }
    if rule["Trigger"]["Ignore"] == true || rule.get("Actions").is_some() {
        rule.as_object_mut().unwrap().shift_remove("Targets");
    }
    rule
}

fn ignore(name: &str, scopes: &[&str], pattern: Value) -> Value {
    trigger(
        name,
        scopes,
        json!({"Ignore": true, "EventPattern": pattern}),
    )
}

/// Things with scopes `house` and `room`, the entry and the rules as given.
fn bus(entry: Value, rules: Vec<Value>) -> Bus {
    let mut base = json!({
        "Name": "thing",
        "Match": [{"Source": "s", "DetailType": "d"}],
        "Resource": {"Type": "thing", "Id": ["$.detail.id", "resources:thing"]},
        "Scopes": [{"Type": "room", "Id": ["$.detail.room[*]", "inventory:room"]}, {"Type": "house", "Id": ["$.detail.house"]}],
    });
    for (name, value) in entry.as_object().unwrap() {
        base[name.as_str()] = value.clone();
    }
    let profile = |name: &str, changes: Value| {
        let channel =
            |id: &str| json!({"Id": id, "Arn": "arn", "Contact": {"to": "attributes.mail"}});
        let mut profile = json!({"Name": name, "Recipients": {"Type": "owner"}, "Channels": [channel("a"), channel("b")]});
        for (name, value) in changes.as_object().unwrap() {
            profile[name.as_str()] = value.clone();
        }
        profile
    };
    let operator = Operator {
        catalogue: vec![base],
        rules,
        monitors: Vec::new(),
        profiles: vec![
            profile("plain", json!({})),
            profile("twice", json!({"Repetitions": 2})),
            profile("daily", json!({"Frequency": "P1D", "Internal": true})),
            profile("hook", json!({"Recipients": {"Type": "none"}})),
        ],
        destinations: Vec::new(),
    };
    let documents = Documents::new(operator.set()).unwrap();
    let mut state = State::default();
    for effect in state.adopt(&documents) {
        state.apply(&effect);
    }
    Bus {
        documents,
        state,
        events: 0,
    }
}

impl Bus {
    fn load(&mut self, object: &str, value: Value) {
        let edit = Edit::read(Ref::parse(object).unwrap(), &value).unwrap();
        let mut draft = Draft::new(&self.state);
        draft.put(edit, self.documents.pairs(), 0);
        for effect in draft.take_effects() {
            self.state.apply(&effect);
        }
    }

    /// Fires an event at a time in hours, and carries it out.
    fn put(&mut self, detail: Value, hours: i64) -> Firing {
        self.events += 1;
        let id = format!("e{}", self.events);
        self.put_as(&id, detail, hours, &Raised::Outside)
    }

    fn put_as(&mut self, id: &str, detail: Value, hours: i64, raised: &Raised) -> Firing {
        let time = hours * 3_600_000;
        let event = json!({
            "version": "0", "id": id, "detail-type": "d", "source": "s", "account": "1",
            "time": moment::format(time), "region": "r", "resources": [], "detail": detail,
        });
        let event = Event::read("default", &event.to_string()).unwrap();
        let now = Now {
            wall: time,
            duplicate: 3_600_000,
        };
        let firing = fire(&self.documents, &self.state, &event, raised, now, "f").unwrap();
        let before: Vec<Effect> = self.state.effects().collect();
        assert!(
            before.iter().cloned().eq(self.state.effects()),
            "a decision changes nothing"
        );
        for effect in firing
            .effects
            .iter()
            .chain(firing.decisions.iter().flat_map(|it| &it.effects))
        {
            self.state.apply(effect);
            // A journal may be read again.
            self.state.apply(effect);
        }
        firing
    }

    fn shown(&self, object: &str) -> Option<Value> {
        self.state
            .get(&Ref::parse(object).unwrap())
            .map(|it| it.to_json())
    }
}

fn ran(decision: &Decision) -> Vec<(&str, &str, bool)> {
    let each = decision.row.evaluations.iter();
    each.map(|it| {
        (
            it.scope.as_str(),
            it.trigger.as_str(),
            it.conditions_matched,
        )
    })
    .collect()
}

fn kinds(evaluation: &Evaluation) -> Vec<(RecordKind, &str)> {
    evaluation
        .records
        .iter()
        .map(|it| (it.kind, it.at.as_str()))
        .collect()
}

#[test]
fn a_trigger_of_several_scopes_acts_once_where_it_is_not_silenced() {
    let mut bus = bus(
        json!({"Resolution": "additive"}),
        vec![
            trigger(
                "wide",
                &["room/a", "room/b", "platform"],
                json!({"Order": 5}),
            ),
            trigger("late", &["room/b"], json!({"Order": 7})),
            trigger("early", &["room/b"], json!({"Order": -1})),
            trigger("same", &["room/b"], json!({"Order": 7})),
            ignore("hush", &["room/a"], json!({})),
            trigger("off", &["room/a"], json!({"State": "DISABLED"})),
        ],
    );
    let firing = bus.put(json!({"id": "1", "room": ["b", "a"], "house": "h"}), 0);
    let decision = &firing.decisions[0];
    assert_eq!(
        ran(decision),
        [
            ("room/a", "hush", true),
            ("room/b", "early", true),
            ("room/b", "wide", true),
            ("room/b", "late", true),
            ("room/b", "same", true),
        ]
    );
    assert_eq!(
        decision.row.scopes,
        ["room/a", "room/b", "house/h", "platform"]
    );
    assert_eq!(decision.row.applied, ["room/a", "room/b", "platform"]);
    assert!(decision.row.matched && decision.row.ignored);
    assert_eq!(firing.row.counts(), (1, 1, 1));
}

#[test]
fn an_ignore_trigger_counts_for_each_of_its_scopes_and_is_recorded_once() {
    let rules = vec![
        ignore(
            "hush",
            &["room/a", "room/b"],
            json!({"detail": {"quiet": [true]}}),
        ),
        trigger("a", &["room/a"], json!({})),
        trigger("b", &["room/b"], json!({})),
    ];
    let mut bus = bus(json!({}), rules);
    let quiet = bus.put(json!({"id": "1", "room": ["a", "b"], "quiet": true}), 0);
    assert_eq!(ran(&quiet.decisions[0]), [("room/a", "hush", true)]);
    let loud = bus.put(json!({"id": "1", "room": ["a", "b"]}), 0);
    let expected = [
        ("room/a", "hush", false),
        ("room/a", "a", true),
        ("room/b", "b", true),
    ];
    assert_eq!(ran(&loud.decisions[0]), expected);
    let record = &loud.decisions[0].row.evaluations[0];
    assert_eq!(kinds(record), [(RecordKind::Condition, "$.detail.quiet")]);
}

#[test]
fn reach_event_tries_a_scope_to_its_end_and_then_nothing() {
    let mut bus = bus(
        json!({"Resolution": "additive", "IgnoreReach": "event"}),
        vec![
            ignore("one", &["room/a"], json!({})),
            ignore("two", &["room/a"], json!({"detail": {"never": [1]}})),
            ignore("three", &["platform"], json!({})),
            trigger("act", &["room/a"], json!({})),
        ],
    );
    let firing = bus.put(json!({"id": "1", "room": ["a"]}), 0);
    assert_eq!(
        ran(&firing.decisions[0]),
        [("room/a", "one", true), ("room/a", "two", false)]
    );
}

#[test]
fn admission_keeps_the_ignored_out_and_the_known_as_it_was() {
    let entry = |reach: &str| {
        json!({
            "Admission": true, "Resolution": "additive", "IgnoreReach": reach,
            "Inventory": [{"Set": {"colour": "$.detail.colour"}, "Scopes": {"room": ["$.detail.room[*]"]}}],
        })
    };
    // The draft is seen by ignore triggers and by the plan.
    let red = json!({"object": {"attributes": {"colour": ["red"]}}});
    for reach in ["scope", "event"] {
        let rules = vec![
            ignore("no-red", &["platform"], red.clone()),
            trigger("act", &["room/a"], json!({})),
        ];
        let mut bus = bus(entry(reach), rules);
        let blue = bus.put(json!({"id": "1", "room": ["a"], "colour": "blue"}), 1);
        assert_eq!(blue.decisions[0].row.admitted, Some(true));
        let red = bus.put(json!({"id": "1", "colour": "red"}), 2);
        assert_eq!(red.decisions[0].row.admitted, Some(false));
        assert_eq!(red.decisions[0].row.scopes, ["room/a", "platform"]);
        let acted = red.decisions[0].row.matched;
        assert_eq!(acted, reach == "scope", "{reach}");
        assert_eq!(
            bus.shown("thing/1").unwrap()["attributes"],
            json!({"colour": "blue"})
        );
        bus.put(json!({"id": "2", "colour": "red"}), 3);
        assert_eq!(bus.shown("thing/2"), None);
    }
}

#[test]
fn what_was_only_looked_at_is_not_created() {
    let steps = json!({"Inventory": [
        {"When": {"detail": {"kind": ["x"]}}, "Set": {"a": {"Const": 1}}},
        {"Set": {"b": "$.detail.none", "c": "$.detail.null"}},
        {"When": {"detail": {"gone": [true]}}, "Delete": true},
    ]});
    let unknown = json!({"object": {"owner": [null], "attributes": {"a": [{"exists": false}]}, "type": ["thing"]}});
    let mut bus = bus(
        steps,
        vec![trigger(
            "t",
            &["platform"],
            json!({"EventPattern": unknown}),
        )],
    );
    let firing = bus.put(json!({"id": "1", "null": null}), 0);
    assert!(firing.decisions[0].row.matched);
    assert_eq!(bus.shown("thing/1"), None);
    bus.put(json!({"id": "1", "kind": "x"}), 0);
    assert_eq!(bus.shown("thing/1").unwrap()["attributes"], json!({"a": 1}));
    bus.put(json!({"id": "1", "gone": true}), 0);
    assert_eq!(bus.shown("thing/1"), None);
}

#[test]
fn relations_are_written_at_both_ends_and_go_with_the_object() {
    let steps = json!({"Inventory": [
        {"Relate": [{"Relation": "part-of", "Inverse": "has-part", "Target": {"Type": "thing", "Id": ["$.detail.whole"]}}]},
        {"When": {"detail": {"gone": [true]}}, "Delete": true},
    ]});
    let mut bus = bus(steps, Vec::new());
    bus.put(json!({"id": "1", "whole": "2"}), 0);
    assert_eq!(
        bus.shown("thing/2").unwrap()["relations"],
        json!({"has-part": ["thing/1"]})
    );
    assert_eq!(
        bus.shown("thing/1").unwrap()["relations"],
        json!({"part-of": ["thing/2"]})
    );
    // A put replaces: what it does not name is gone, at both ends, from either side.
    bus.load("thing/2", json!({"relations": {"has-part": ["thing/3"]}}));
    assert_eq!(bus.shown("thing/1").unwrap()["relations"], json!({}));
    assert_eq!(
        bus.shown("thing/3").unwrap()["relations"],
        json!({"part-of": ["thing/2"]})
    );
    bus.put(json!({"id": "3", "gone": true}), 1);
    assert_eq!(bus.shown("thing/2").unwrap()["relations"], json!({}));
}

#[test]
fn set_field_says_what_it_could_not_do() {
    let set = |field: &str, from: Value| {
        let mut action = json!({"Type": "set-field", "Field": field});
        action
            .as_object_mut()
            .unwrap()
            .extend(from.as_object().unwrap().clone());
        action
    };
    let actions = json!({"Actions": [
        set("attributes.size", json!({"From": "$.detail.size"})),
        set("scopes.room", json!({"From": "$.detail.rooms[*]"})),
        set("owner", json!({"From": "$.detail.who"})),
        set("attributes.old", json!({"Value": null})),
        set("scopes.house", json!({"Value": ["h"]})),
    ]});
    let mut bus = bus(json!({}), vec![trigger("t", &["platform"], actions)]);
    bus.load(
        "thing/1",
        json!({"attributes": {"old": 1, "size": 0}, "updatedAt": moment::format(0)}),
    );
    let good =
        json!({"id": "1", "size": 2.50, "rooms": ["a", "b"], "who": {"type": "user", "id": "u"}});
    let firing = bus.put(good.clone(), 5);
    assert!(firing.decisions[0].row.evaluations[0].actions_performed);
    let shown = bus.shown("thing/1").unwrap();
    assert_eq!(shown["attributes"], json!({"size": 2.50}));
    assert_eq!(shown["scopes"], json!({"house": ["h"], "room": ["a", "b"]}));
    assert_eq!(shown["owner"], json!({"type": "user", "id": "u"}));
    // Older: nothing changes, and that is no failure.
    let firing = bus.put(
        json!({"id": "1", "size": 9, "rooms": ["c"], "who": {"type": "user", "id": "v"}}),
        4,
    );
    let evaluation = &firing.decisions[0].row.evaluations[0];
    assert!(evaluation.actions_performed);
    let older = evaluation
        .records
        .iter()
        .filter(|it| it.kind == RecordKind::Older);
    assert_eq!(older.count(), 5);
    assert_eq!(bus.shown("thing/1").unwrap(), shown);
    // What yields nothing, null, or no such value fails; the others go on.
    let firing = bus.put(
        json!({"id": "1", "size": null, "rooms": ["a/b"], "who": "u"}),
        6,
    );
    let evaluation = &firing.decisions[0].row.evaluations[0];
    assert!(!evaluation.actions_performed);
    let failed = ["/Actions/0", "/Actions/1", "/Actions/2"].map(|at| (RecordKind::Action, at));
    assert_eq!(kinds(evaluation), failed);
}

#[test]
fn a_failed_detail_flags_or_skips() {
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}});
    for (on_invalid, status, subjects) in
        [("flag", Status::Finished, 1), ("skip", Status::Failed, 0)]
    {
        let entry = json!({"Detail": schema, "OnInvalid": on_invalid, "Inventory": [{"Set": {"n": "$.detail.n"}}]});
        let mut bus = bus(entry, Vec::new());
        let firing = bus.put(json!({"id": "1", "n": 0}), 0);
        assert_eq!(
            (firing.row.status, firing.decisions.len()),
            (status, subjects)
        );
        assert!(!firing.row.detail_valid);
        assert_eq!(
            firing.row.message.as_deref(),
            Some("detail/n: out of range")
        );
        assert_eq!(bus.shown("thing/1").is_some(), on_invalid == "flag");
        assert!(bus.put(json!({"id": "1", "n": 2.0}), 0).row.detail_valid);
    }
}

#[test]
fn a_repeated_event_fires_again_behind_the_window_or_in_a_replay() {
    let mut bus = bus(json!({}), Vec::new());
    let detail = || json!({"id": "1"});
    let mut put = |hours, raised| bus.put_as("same", detail(), hours, &raised).row.status;
    assert_eq!(put(0, Raised::Outside), Status::Finished);
    assert_eq!(put(0, Raised::Outside), Status::Duplicate);
    assert_eq!(put(0, Raised::Replay), Status::Finished);
    assert_eq!(put(1, Raised::Outside), Status::Finished);
    assert_eq!(put(1, Raised::Monitor("m".into())), Status::Duplicate);
    // A failed one fired too.
    assert_eq!(
        bus.put_as("none", json!({}), 0, &Raised::Outside)
            .row
            .status,
        Status::Failed
    );
    assert_eq!(
        bus.put_as("none", json!({}), 0, &Raised::Outside)
            .row
            .status,
        Status::Duplicate
    );
}

#[test]
fn several_subjects_are_done_one_after_another() {
    let entry = json!({"Resource": {"Type": "thing", "Id": ["$.detail.ids[*]"]}, "Inventory": [{"Set": {"seen": "$.time"}}]});
    let mut bus = bus(entry, vec![trigger("t", &["platform"], json!({}))]);
    let firing = bus.put(json!({"ids": ["b", "a", "b", "x/y", 7]}), 0);
    let objects: Vec<&str> = firing
        .row
        .objects
        .iter()
        .map(|it| it.object.as_str())
        .collect();
    assert_eq!(objects, ["thing/b", "thing/a", "thing/7"]);
    assert!(
        firing
            .decisions
            .iter()
            .all(|it| it.effects.len() == 1 && it.handed.len() == 1)
    );
}

fn notify(profiles: &[&str]) -> Value {
    json!({"Actions": [{"Type": "notify", "Profiles": profiles}]})
}

fn owned(entry: Value, profiles: &[&str]) -> Bus {
    let mut bus = bus(entry, vec![trigger("t", &["platform"], notify(profiles))]);
    bus.load("user/u", json!({"attributes": {"mail": "u@example.com"}}));
    bus.load("thing/1", json!({"owner": {"type": "user", "id": "u"}}));
    bus
}

#[test]
fn a_notification_carries_its_recipients_and_an_id_that_stays() {
    let mut bus = owned(json!({}), &["plain", "hook"]);
    let firing = bus.put_as("e", json!({"id": "1"}), 0, &Raised::Outside);
    let [plain, hook] = firing.decisions[0].notices.as_slice() else {
        panic!("two were told");
    };
    let body = &plain.handovers[0].body;
    assert_eq!(
        body["notification"],
        json!({
            "id": plain.handovers[0].id, "profile": "plain", "version": 1, "channel": "a", "count": 1,
            "recipients": [{"ref": "user/u", "to": "u@example.com"}],
        })
    );
    assert_eq!(body["event"]["id"], "e");
    assert_eq!(body["object"]["owner"]["id"], "u");
    assert!(
        hook.handovers[0].body["notification"]
            .get("recipients")
            .is_none()
    );
    let again = bus.put_as("e", json!({"id": "1"}), 0, &Raised::Replay);
    let ids = |firing: &Firing| -> Vec<String> {
        let notices = firing.decisions[0].notices.iter();
        notices
            .flat_map(|it| it.handovers.iter().map(|it| it.id.clone()))
            .collect()
    };
    assert_eq!(ids(&firing), ids(&again));
    let mut once = ids(&firing);
    once.sort();
    once.dedup();
    assert_eq!(once.len(), 4);
    // Not a monitoring type: told each time, and nothing is counted.
    assert_eq!(bus.state.streams().count(), 0);
}

#[test]
fn a_step_is_taken_back_when_the_last_channel_has_failed() {
    let mut bus = owned(json!({"Monitoring": true}), &["twice"]);
    let mut first = bus.put(json!({"id": "1"}), 1);
    let mut second = bus.put(json!({"id": "1"}), 2);
    let count = |bus: &Bus| {
        bus.state
            .streams()
            .next()
            .map(|(_, it)| (it.count, it.last_sent / 3_600_000))
    };
    assert_eq!(count(&bus), Some((2, 2)));
    let third = bus.put(json!({"id": "1"}), 3);
    let evaluation = &third.decisions[0].row.evaluations[0];
    assert_eq!(kinds(evaluation), [(RecordKind::Suppressed, "twice")]);
    assert_eq!(
        (evaluation.actions_performed, evaluation.notification_sent),
        (true, Some(false))
    );
    // One of two channels gave up: it was told all the same.
    let evaluation = &mut second.decisions[0].row.evaluations[0];
    assert!(!evaluation.gave_up(0, "twice", "a", "410 Gone"));
    assert!(!evaluation.gave_up(0, "twice", "a", "410 Gone"));
    assert!(evaluation.actions_performed);
    assert!(evaluation.gave_up(0, "twice", "b", "410 Gone"));
    assert_eq!(
        (evaluation.actions_performed, evaluation.notification_sent),
        (false, Some(false))
    );
    let step = second.decisions[0].notices[0].step.clone().unwrap();
    let effect = take_back(&bus.state, &step).unwrap();
    bus.state.apply(&effect);
    assert_eq!(count(&bus), Some((1, 1)));
    let step = first.decisions[0].notices[0].step.clone().unwrap();
    let effect = take_back(&bus.state, &step).unwrap();
    bus.state.apply(&effect);
    assert_eq!(count(&bus), None);
    assert_eq!(take_back(&bus.state, &step), None);
    // A stream that began later is another one.
    bus.put(json!({"id": "1"}), 9);
    assert_eq!(take_back(&bus.state, &step), None);
    first.decisions[0].row.evaluations[0].target_failed("q", "gone");
    assert!(!first.decisions[0].row.evaluations[0].actions_performed);
}

#[test]
fn a_stream_belongs_to_whoever_raised_its_last_event() {
    let mut bus = owned(
        json!({"Monitoring": true, "MonitoringIdleReset": "PT5H"}),
        &["daily"],
    );
    let feeder = |bus: &Bus| {
        bus.state
            .streams()
            .next()
            .map(|(_, it)| (it.feeder.clone(), it.count))
    };
    let monitor = Raised::Monitor("m".into());
    bus.put(json!({"id": "1"}), 0);
    assert_eq!(feeder(&bus), Some((Feeder::Outside, 1)));
    // Suppressed, and still its last event.
    bus.put_as("m1", json!({"id": "1"}), 5, &monitor);
    assert_eq!(feeder(&bus), Some((Feeder::Monitor("m".into()), 1)));
    // Fed by a monitor it is not forgotten when idle.
    bus.put(json!({"id": "1"}), 20);
    assert_eq!(feeder(&bus), Some((Feeder::Outside, 1)));
    bus.put(json!({"id": "1"}), 25);
    assert_eq!(feeder(&bus), Some((Feeder::Outside, 2)));
    bus.put(json!({"id": "1"}), 31);
    assert_eq!(
        feeder(&bus),
        Some((Feeder::Outside, 1)),
        "six hours of silence began a new one"
    );
    bus.put_as("m2", json!({"id": "1"}), 32, &monitor);
    let ended = bus.state.stop_monitor("m", true);
    ended.iter().for_each(|effect| bus.state.apply(effect));
    assert_eq!(feeder(&bus), None);
}

#[test]
fn who_cannot_be_served_is_named() {
    let mut bus = owned(json!({"Monitoring": true}), &["daily", "plain"]);
    bus.load("user/u", json!({"attributes": {}}));
    let firing = bus.put(json!({"id": "1"}), 0);
    let evaluation = &firing.decisions[0].row.evaluations[0];
    // The inbox needs no contact.
    assert_eq!(
        (evaluation.actions_performed, evaluation.notification_sent),
        (false, Some(true))
    );
    let messages: Vec<&str> = evaluation
        .records
        .iter()
        .filter_map(|it| it.message.as_deref())
        .collect();
    assert_eq!(messages[0], "`user/u` has no `attributes.mail`");
    assert_eq!(messages.last(), Some(&"nobody was told by plain"));
    assert_eq!(firing.decisions[0].notices[0].inbox.len(), 1);
    let firing = bus.put(json!({"id": "2"}), 0);
    let evaluation = &firing.decisions[0].row.evaluations[0];
    assert_eq!(evaluation.notification_sent, Some(false));
    assert_eq!(
        evaluation.records[0].message.as_deref(),
        Some("there is no recipient")
    );
}

#[test]
fn deleting_an_object_ends_its_streams() {
    let entry = json!({"Monitoring": true, "Inventory": [{"When": {"detail": {"gone": [true]}}, "Delete": true}]});
    let mut bus = owned(entry, &["daily"]);
    bus.put(json!({"id": "1"}), 0);
    assert_eq!(bus.state.streams().count(), 1);
    // Told once more, since there is still an owner; then all is gone.
    let firing = bus.put(json!({"id": "1", "gone": true}), 30);
    assert_eq!(firing.decisions[0].notices.len(), 1);
    assert_eq!(bus.state.streams().count(), 0);
    assert_eq!(bus.shown("thing/1"), None);
}
