//! Monitors across interruptions: places, nominal ticks, parameters.

use crate::common::Operator;
use bus_core::name::Home;
use lifecycle::documents::Documents;
use lifecycle::moment;
use lifecycle::object::Edit;
use lifecycle::reference::Ref;
use lifecycle::scan::{KeptBack, Same, Trial, due, id, page, trial};
use lifecycle::state::{Draft, Effect, Progress, Scans, State};
use serde_json::{Value, json};

fn documents(changes: Value) -> Documents {
    let mut monitor = json!({
        "Name": "m", "ScheduleExpression": "rate(1 hour)", "Resource": "lease", "Event": "lease-expiring",
        "Condition": {"attributes": {"endsAt": [{"within-next": {"Ref": "w"}}]}},
        "Parameters": {"w": {"Default": "P1D", "From": ["tenant:attributes.window", "room:attributes.window"]}},
        "Emit": {"Detail": {"leaseId": "$.object.id"}},
    });
    for (name, value) in changes.as_object().unwrap() {
        monitor[name.as_str()] = value.clone();
    }
    let mut operator = Operator::read();
    operator.monitors = vec![monitor];
    Documents::new(operator.set()).unwrap()
}

fn load(state: &mut State, object: &str, value: &Value) {
    let edit = Edit::read(Ref::parse(object).unwrap(), value).unwrap();
    let mut draft = Draft::new(state);
    draft.put(edit, Documents::default().pairs(), 0);
    draft
        .take_effects()
        .iter()
        .for_each(|effect| state.apply(effect));
}

fn ends(hours: i64) -> Value {
    json!({"attributes": {"endsAt": moment::format(hours * 3_600_000)}})
}

/// A whole scan at an hour: the emitted objects, the counts, the number of pages.
fn scan(
    documents: &Documents,
    state: &mut State,
    hour: i64,
    limit: usize,
) -> (Vec<String>, Progress, usize) {
    let monitor = documents.monitor("m").unwrap();
    let same = Same::of(monitor, state.shown("lease", None));
    let (mut emitted, mut pages) = (Vec::new(), 0);
    loop {
        let tick = hour * 3_600_000;
        let next = page(documents, state, &Home::default(), "m", tick, &same, limit).unwrap();
        next.effects.iter().for_each(|effect| state.apply(effect));
        emitted.extend(next.emissions.iter().map(|it| it.object.id().to_owned()));
        pages += 1;
        if let Some(done) = next.done {
            return (emitted, done.progress, pages);
        }
    }
}

#[test]
fn a_scan_goes_on_where_it_was_interrupted() {
    let documents = documents(json!({}));
    let mut state = State::default();
    for n in 0..10 {
        load(&mut state, &format!("lease/{n}"), &ends(5));
    }
    load(&mut state, "lease-of-another-kind/1", &ends(5));
    let same = Same::default();
    let first = page(&documents, &state, &Home::default(), "m", 0, &same, 4).unwrap();
    first.effects.iter().for_each(|effect| state.apply(effect));
    assert_eq!(first.emissions.len(), 4);
    let monitor = documents.monitor("m").unwrap();
    let later = 50 * 3_600_000;
    assert_eq!(due(monitor, &state.scans("m"), 0, later), Some(0));
    // The process ends here; what it wrote is read again.
    let mut again = State::default();
    state.effects().for_each(|effect| again.apply(&effect));
    let (emitted, progress, pages) = scan(&documents, &mut again, 0, 4);
    assert_eq!(emitted, ["4", "5", "6", "7", "8", "9"]);
    assert_eq!((progress.emitted, pages), (10, 2));
    assert_eq!(due(monitor, &again.scans("m"), 0, later), Some(later));
    // Asked for once more, it emits nothing.
    let repeated = page(&documents, &again, &Home::default(), "m", 0, &same, 4).unwrap();
    assert!(repeated.emissions.is_empty() && repeated.effects.is_empty());
    assert_eq!(repeated.done.unwrap().progress.emitted, 0);
    // Ids depend on monitor, object and tick alone.
    assert_eq!(
        first.emissions[0].id,
        id("m", &Ref::parse("lease/0").unwrap(), 0)
    );
}

#[test]
fn of_missed_ticks_the_latest_is_made_up_for() {
    let documents = documents(json!({}));
    let monitor = documents.monitor("m").unwrap();
    let hour = 3_600_000;
    let done = |done| Scans {
        done,
        running: None,
    };
    assert_eq!(due(monitor, &done(None), 10 * hour, 10 * hour + 5), None);
    assert_eq!(
        due(monitor, &done(None), 10 * hour, 15 * hour + 5),
        Some(15 * hour)
    );
    assert_eq!(
        due(monitor, &done(Some(15 * hour)), 10 * hour, 15 * hour + 5),
        None
    );
    assert_eq!(
        due(monitor, &done(Some(12 * hour)), 10 * hour, 15 * hour + 5),
        Some(15 * hour)
    );
    // Enabled anew, it owes nothing of before.
    assert_eq!(
        due(monitor, &done(Some(hour)), 10 * hour, 10 * hour + 5),
        None
    );
}

#[test]
fn the_first_scope_with_a_duration_sets_the_window() {
    let documents = documents(json!({}));
    let mut state = State::default();
    load(
        &mut state,
        "tenant/a",
        &json!({"attributes": {"window": "soon"}}),
    );
    load(
        &mut state,
        "tenant/b",
        &json!({"attributes": {"window": "PT2H"}}),
    );
    load(
        &mut state,
        "tenant/c",
        &json!({"attributes": {"window": "P9D"}}),
    );
    load(
        &mut state,
        "room/r",
        &json!({"attributes": {"window": "PT3H"}}),
    );
    for (id, hours, scopes) in [
        ("default", 23, json!({})),
        ("default-late", 24, json!({})),
        // In the order of their ids, whatever the order given; what is no duration is passed over.
        ("two", 1, json!({"tenant": ["c", "a", "b"]})),
        ("two-late", 2, json!({"tenant": ["c", "a", "b"]})),
        (
            "room",
            2,
            json!({"room": ["r"], "tenant": ["unknown", "a"]}),
        ),
        (
            "room-late",
            3,
            json!({"room": ["r"], "tenant": ["unknown"]}),
        ),
    ] {
        let mut object = ends(hours);
        object["scopes"] = scopes;
        load(&mut state, &format!("lease/{id}"), &object);
    }
    let (emitted, progress, _) = scan(&documents, &mut state, 0, 100);
    assert_eq!(emitted, ["default", "room", "two"]);
    assert_eq!(progress.passed_over, 3);
}

#[test]
fn every_leaves_out_and_is_forgotten() {
    let documents = documents(json!({"Every": "PT2H"}));
    let mut state = State::default();
    load(&mut state, "lease/1", &ends(20));
    let mut scan = |hour| scan(&documents, &mut state, hour, 10).1;
    assert_eq!(
        (scan(0).emitted, scan(1).left_out, scan(2).emitted),
        (1, 1, 1)
    );
    assert_eq!(scan(30).emitted, 0);
    let remembered = |effect: &Effect| matches!(effect, Effect::Emitted { .. });
    assert!(!state.effects().any(|effect| remembered(&effect)));
}

#[test]
fn equal_fields_find_others_and_absent_ones_none() {
    let unless = json!([{"SameFields": ["attributes.name", "attributes.site"], "Condition": {"attributes": {"ok": [true]}}}]);
    let documents = documents(json!({"Unless": unless, "Condition": {}}));
    let mut state = State::default();
    for (id, attributes) in [
        ("a", json!({"name": "x", "site": 1})),
        ("b", json!({"name": "x", "site": 1, "ok": true})),
        ("c", json!({"name": "x", "site": 2})),
        ("d", json!({"name": "x"})),
        ("e", json!({"name": "x", "ok": true})),
        ("f", json!({"name": "x", "site": null})),
    ] {
        load(
            &mut state,
            &format!("lease/{id}"),
            &json!({"attributes": attributes}),
        );
    }
    // `b` is itself the only one of its fields that is ok.
    assert_eq!(
        scan(&documents, &mut state, 0, 2).0,
        ["b", "c", "d", "e", "f"]
    );
}

#[test]
fn an_event_is_written_as_all_others_are() {
    let documents = documents(json!({}));
    let mut state = State::default();
    let mut object = ends(5);
    object["scopes"] = json!({"tenant": ["b", "a"], "room": ["r"]});
    load(&mut state, "lease/1", &object);
    let found = page(
        &documents,
        &state,
        &Home::default(),
        "m",
        0,
        &Same::default(),
        9,
    )
    .unwrap();
    let event = &found.emissions[0];
    let id = uuid::Uuid::new_v5(
        &uuid::Uuid::NAMESPACE_URL,
        b"m|lease/1|1970-01-01T00:00:00Z",
    );
    assert_eq!(
        event.json,
        format!(
            "{{\"version\":\"0\",\"id\":\"{id}\",\"detail-type\":\"Lease expiring\",\"source\":\
             \"com.example.leases\",\"account\":\"000000000000\",\"time\":\"1970-01-01T00:00:00Z\",\
             \"region\":\"us-east-1\",\"resources\":[\"lease/1\",\"room/r\",\"tenant/a\",\"tenant/b\"],\
             \"detail\":{{\"leaseId\":\"1\"}}}}"
        )
    );
}

/// What a monitor makes of an object of the state at hour 1.
fn tried(documents: &Documents, state: &State, object: &str) -> Trial {
    let monitor = documents.monitor("m").unwrap();
    let same = Same::of(monitor, state.shown("lease", None));
    let object = state.get(&Ref::parse(object).unwrap()).unwrap();
    let home = Home::default();
    trial(documents, state, &home, "m", 3_600_000, &same, &object).unwrap()
}

#[test]
fn a_trial_says_what_a_scan_does_and_why() {
    let unless = json!([
        {"Relation": "follows", "Condition": {"attributes": {"ok": [true]}}},
        {"SameFields": ["attributes.name"], "Condition": {"attributes": {"ok": [true]}}},
    ]);
    let documents = documents(json!({"Every": "PT2H", "Unless": unless}));
    let mut state = State::default();
    let lease = |ends: i64, name: &str, ok: bool| {
        let ends = moment::format(ends * 3_600_000);
        json!({"attributes": {"endsAt": ends, "name": name, "ok": ok}})
    };
    load(&mut state, "lease/free", &lease(5, "free", false));
    load(&mut state, "lease/late", &lease(50, "late", false));
    load(&mut state, "lease/same", &lease(5, "twin", false));
    load(&mut state, "lease/twin", &lease(5, "twin", true));
    let mut related = lease(5, "related", false);
    related["relations"] = json!({"follows": ["lease/unknown", "lease/same", "lease/twin"]});
    load(&mut state, "lease/related", &related);

    let why = |object: &str| tried(&documents, &state, object).kept_back;
    let by = Ref::parse("lease/twin").unwrap();
    let unless = |clause| KeptBack::Unless {
        clause,
        by: by.clone(),
    };
    assert_eq!(
        why("lease/late"),
        Some(KeptBack::Condition {
            at: "$.attributes.endsAt".into()
        })
    );
    assert_eq!(why("lease/related"), Some(unless(0)));
    assert_eq!(why("lease/same"), Some(unless(1)));
    let free = tried(&documents, &state, "lease/free");
    assert_eq!(free.parameters["w"], moment::DAY_MS);

    let same = Same::of(documents.monitor("m").unwrap(), state.shown("lease", None));
    let scanned = page(
        &documents,
        &state,
        &Home::default(),
        "m",
        3_600_000,
        &same,
        9,
    )
    .unwrap();
    let emitted: Vec<_> = ["free", "twin"]
        .iter()
        .filter_map(|id| tried(&documents, &state, &format!("lease/{id}")).emission)
        .collect();
    assert_eq!(emitted, scanned.emissions);
    scanned
        .effects
        .iter()
        .for_each(|effect| state.apply(effect));
    let again = tried(&documents, &state, "lease/free");
    assert_eq!(
        (again.kept_back, again.emission),
        (
            Some(KeptBack::Every {
                last: moment::format(3_600_000),
                until: moment::format(3 * 3_600_000)
            }),
            None
        )
    );
}
