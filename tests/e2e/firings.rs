//! kill -9 in the middle of scans and firings, again and again: for each object of each tick there is one event
//! and one notification, by webhook id and idempotency key; nothing is missing, and streams count right.
//!
//! `BUSBAR_FIRING_KILLS` sets how often (default 3), `BUSBAR_SEED` the moments of the kills.

#[allow(dead_code, reason = "each test uses its part of the support")]
#[path = "../support/mod.rs"]
mod support;

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use support::{Answer, Options, Receiver, Server, call, wait_until};

const OBJECTS: usize = 10_000;
/// Objects of one call.
const TOGETHER: usize = 1_000;
/// Notifications of one stream.
const REPETITIONS: usize = 2;
/// A debug build on a shared machine, firing one after another.
const BOUND: Duration = Duration::from_secs(240);
/// Between two attempts to begin a scan.
const PAUSE: Duration = Duration::from_millis(20);

fn setting(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// An event type, a monitor of it that nothing but a call ticks, a trigger that notifies, and an ordinary rule.
fn documents(receiver: &Receiver) -> Vec<(String, String)> {
    let url = receiver.url();
    let monitored = json!({
        "Name": "lamp-dying",
        "Match": [{"Source": "street", "DetailType": "Lamp dying"}],
        "Resource": {"Type": "lamp", "Id": ["resources:lamp"]},
        "Monitoring": true,
    });
    let monitor = json!({
        "Name": "lamps",
        "ScheduleExpression": "cron(0 0 1 1 ? 2199)",
        "Resource": "lamp",
        "Event": "lamp-dying",
        "Condition": {"attributes": {"hours": [{"numeric": ["<", 10]}]}},
        "Emit": {"Detail": {"hours": "$.object.attributes.hours"}},
    });
    let profile = json!({
        "Name": "crew",
        "Recipients": {"Type": "none"},
        "Channels": [{
            "Id": "hook",
            "Arn": "arn:aws:events:us-east-1:000000000000:api-destination/crew",
        }],
        "Repetitions": REPETITIONS,
    });
    let trigger = json!({
        "Name": "tell-the-crew",
        "Trigger": {"Event": "lamp-dying", "Scopes": ["platform"]},
        "Actions": [{"Type": "notify", "Profiles": ["crew"]}],
    });
    let ordinary = json!({
        "Name": "plain",
        "EventPattern": {"source": ["street"]},
        "Targets": [{"Id": "hook", "Webhook": {"Url": format!("{url}plain")}}],
    });
    let destination = json!({"Name": "crew", "Url": format!("{url}crew")});
    [
        ("catalogue/lamp-dying.json", monitored),
        ("monitors/lamps.json", monitor),
        ("notification-profiles/crew.json", profile),
        ("rules/trigger.json", trigger),
        ("rules/plain.json", ordinary),
        ("destinations/crew.json", destination),
    ]
    .map(|(name, document)| (name.to_owned(), document.to_string()))
    .into()
}

fn ask(server: &Server, method: &str, path: &str, body: &Value) -> Option<Value> {
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let answer = call(server.api, method, path, &[], body.as_bytes()).ok()?;
    (answer.status == 200).then(|| answer.json())
}

fn get(server: &Server, path: &str) -> Value {
    ask(server, "GET", path, &Value::Null).unwrap_or_else(|| panic!("GET {path}"))
}

fn moment(tick: usize) -> String {
    format!("2026-01-01T{tick:02}:00:00Z")
}

fn scan(server: &Server) -> Value {
    get(server, "/v1/monitors/lamps")["scan"].clone()
}

/// Sees to it that the scan of a tick is under way or done. An earlier one goes on by itself and ends first.
fn begin(server: &Server, tick: usize) {
    wait_until(BOUND, "the scan before has ended", || {
        let scan = scan(server);
        scan["running"].is_null() || scan["running"]["tick"] == moment(tick)
    });
    let is_there = || {
        let scan = scan(server);
        scan["running"]["tick"] == moment(tick) || scan["done"] == moment(tick)
    };
    if is_there() {
        return;
    }
    // Refused while the end of the scan before, which is already told, is still being synced. The answer to
    // the one that is taken may never come: the scan is what counts.
    let (api, body) = (server.api, json!({"At": moment(tick)}).to_string());
    std::thread::spawn(move || {
        let path = "/v1/monitors/lamps/ticks";
        for _ in 0..BOUND.as_millis() / PAUSE.as_millis() {
            match call(api, "POST", path, &[], body.as_bytes()) {
                Ok(answer) if answer.status != 200 => {
                    println!("tick {tick}: {}", answer.text());
                    std::thread::sleep(PAUSE);
                }
                _ => return,
            }
        }
    });
    wait_until(BOUND, "the scan is under way", is_there);
}

/// Waits until the scan of a tick is done and all that it caused has ended.
fn settle(server: &Server, tick: usize) {
    wait_until(BOUND, "the scan is done", || {
        scan(server)["done"] == moment(tick)
    });
    wait_until(BOUND, "all deliveries have ended", || {
        let targets = get(server, "/v1/status")["targets"].clone();
        let mut targets = targets.as_array().expect("a list").iter();
        targets.all(|it| it["pending"] == 0)
    });
}

/// Which keys came for each object and tick, at one path of the receiver.
fn keys(
    receiver: &Receiver,
    path: &str,
    header: &str,
) -> BTreeMap<(String, String), BTreeSet<String>> {
    let mut found: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for request in receiver.received() {
        if !request.line.contains(path) {
            continue;
        }
        let body = request.json();
        let event = if body["event"].is_object() {
            &body["event"]
        } else {
            &body
        };
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let at = (text(&event["time"]), text(&event["resources"][0]));
        let key = request.header(header).expect("each has its key").to_owned();
        found.entry(at).or_default().insert(key);
    }
    found
}

/// How many firings the history has of each event.
fn fired(server: &Server) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/history/firings?limit={TOGETHER}{cursor}");
        let page = get(server, &path);
        for row in page["firings"].as_array().expect("a list") {
            let event = row["eventId"].as_str().expect("a text").to_owned();
            *found.entry(event).or_default() += 1;
        }
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

#[test]
fn a_scan_is_neither_lost_nor_repeated_by_kill_9() {
    let kills = setting("BUSBAR_FIRING_KILLS", 3);
    let seed = setting("BUSBAR_SEED", fastrand::u64(..1_000_000));
    println!("BUSBAR_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let receiver = Receiver::start(|_, _| Answer::status(200));
    let mut server = Server::start(&Options {
        rules: documents(&receiver),
        ..Options::default()
    });
    for first in (0..OBJECTS).step_by(TOGETHER) {
        let lamp =
            |n| json!({"type": "lamp", "id": format!("{n:05}"), "attributes": {"hours": n % 10}});
        let lamps: Value = (first..first + TOGETHER).map(lamp).collect();
        assert!(ask(&server, "POST", "/v1/inventory", &lamps).is_some());
    }

    let (mut tick, mut unfinished) = (0, 0);
    for kill in 0..kills {
        // In turns: in the middle of a scan, and later, while what it caused goes on.
        if kill % 2 == 0 {
            tick = usize::try_from(kill / 2).expect("small");
            begin(&server, tick);
            std::thread::sleep(Duration::from_millis(rng.u64(0..20)));
        } else {
            std::thread::sleep(Duration::from_millis(rng.u64(50..2_000)));
        }
        unfinished += usize::from(!scan(&server)["running"].is_null());
        server.kill9();
        server.restart().expect("it starts again");
    }
    begin(&server, tick);
    settle(&server, tick);
    println!("{} ticks, {kills} kills, {unfinished} in a scan", tick + 1);
    assert!(0 < unfinished, "no kill was in the middle of a scan");

    let (events, told) = (
        keys(&receiver, "/plain", "webhook-id"),
        keys(&receiver, "/crew", "idempotency-key"),
    );
    let mut faults = Vec::new();
    for tick in 0..=tick {
        for n in 0..OBJECTS {
            let at = (moment(tick), format!("lamp/{n:05}"));
            let count = |of: &BTreeMap<_, BTreeSet<String>>| of.get(&at).map_or(0, BTreeSet::len);
            let wanted = (1, usize::from(tick < REPETITIONS));
            let found = (count(&events), count(&told));
            if found != wanted {
                faults.push(format!("{at:?}: {found:?} instead of {wanted:?}"));
            }
        }
    }
    assert!(
        faults.is_empty(),
        "{} of {} are wrong:\n{}",
        faults.len(),
        (tick + 1) * OBJECTS,
        faults[..faults.len().min(20)].join("\n")
    );
    assert_eq!(events.len(), (tick + 1) * OBJECTS, "nothing is invented");
    let fired = fired(&server);
    let once = fired.values().all(|count| *count == 1);
    assert!(once, "the history has a firing twice");
    assert_eq!(
        fired.len(),
        (tick + 1) * OBJECTS,
        "the history has them all"
    );
    let stream = get(&server, "/v1/streams?object=lamp/00000")["streams"][0].clone();
    assert_eq!(stream["count"], (tick + 1).min(REPETITIONS));
}
