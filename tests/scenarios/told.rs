//! The scenarios that section 12 tells in words alone.

use crate::bus::{Bus, SETTLED, fixtures, line, read, text};
use crate::support::{events, wait_until};
use lifecycle::moment;
use serde_json::{Value, json};
use server::rule_files::{Context, LoadError, load};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use targets::egress::{Egress, EgressSettings};

/// Everything on the bus, as it is, to the receiver.
fn everything() -> Value {
    json!({
        "Name": "everything",
        "EventPattern": {"source": [{"prefix": ""}]},
        "Targets": [{"Id": "all", "Webhook": {"Url": "{{receiver}}all"}}],
    })
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|it| it.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn env_01_a_producer_cannot_speak_for_aws() {
    let mut bus = Bus::start(&json!({}));
    let entry = |source| json!({"Source": source, "DetailType": "X", "Detail": "{}"});
    let entries = ["my.app", "aws.acm-pca", "my.other"].map(entry);
    let body = json!({ "Entries": entries }).to_string();
    let told = events(bus.api(), "PutEvents", &body).unwrap().ok();
    assert_eq!(told["FailedEntryCount"], 1);
    let refused = told["Entries"].as_array().unwrap().iter();
    let refused: Vec<bool> = refused.map(|it| it.get("EventId").is_none()).collect();
    assert_eq!(refused, [false, true, false]);
    assert_eq!(
        told["Entries"][1]["ErrorCode"],
        "NotAuthorizedForSourceException"
    );
    bus.halt();
}

#[test]
fn the_events_api_knows_ordinary_rules_alone() {
    let mut bus = Bus::start(&json!({}));
    let ask = |operation: &str, body: Value| {
        events(bus.api(), operation, &body.to_string())
            .unwrap()
            .json()
    };
    let ordinary = files(&bus.operator().join("rules"));
    let ordinary = ordinary.iter().map(|path| read(path));
    let ordinary: BTreeSet<String> = ordinary
        .filter(|rule| rule.get("Trigger").is_none())
        .map(|rule| text(&rule["Name"]))
        .collect();
    let listed = ask("ListRules", json!({}))["Rules"].clone();
    let listed = listed.as_array().unwrap().iter();
    let listed: BTreeSet<String> = listed.map(|rule| text(&rule["Name"])).collect();
    assert_eq!(listed, ordinary);
    assert!(!ordinary.is_empty());
    let buses = ask("ListEventBuses", json!({}))["EventBuses"].clone();
    assert_eq!(buses.as_array().unwrap().len(), 1);
    let not_found = "ResourceNotFoundException";
    for name in ["status-platform", "busbar.lifecycle"] {
        for operation in ["DescribeRule", "ListTargetsByRule"] {
            let member = if operation == "DescribeRule" {
                "Name"
            } else {
                "Rule"
            };
            assert_eq!(ask(operation, json!({member: name}))["__type"], not_found);
        }
        let gone = ask("DeleteRule", json!({"Name": name, "Force": true}));
        assert_eq!(gone["__type"], "ManagedRuleException", "{gone}");
    }
    let internal = "busbar.internal";
    for (operation, body) in [
        ("ListRules", json!({"EventBusName": internal})),
        ("DescribeEventBus", json!({"Name": internal})),
        (
            "PutRule",
            json!({"Name": "r", "EventBusName": internal, "EventPattern": "{\"source\":[\"a\"]}"}),
        ),
    ] {
        let told = ask(operation, body);
        assert_eq!(told["__type"], not_found, "{operation}: {told}");
    }
    let own = "arn:aws:events:us-east-1:111122223333:internal/lifecycle";
    let by_target = ask("ListRuleNamesByTarget", json!({"TargetArn": own}));
    assert_eq!(by_target["RuleNames"], json!([]));
    bus.put_line("events/clm-certificate-status-changed.jsonl", 1);
    assert_eq!(
        bus.get("/v1/firings")["firings"].as_array().unwrap().len(),
        1,
        "all of it goes on"
    );
    bus.halt();
}

#[test]
fn env_02_whole_envelopes_leave_as_they_came() {
    let mut bus = Bus::start(&json!({"Rules": [everything()]}));
    let mut lines = 0;
    let named = |path: &PathBuf| {
        path.file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("aws-")
    };
    for file in files(&fixtures().join("events")).into_iter().filter(named) {
        for line in fs::read_to_string(&file).unwrap().lines() {
            let sent: Value = serde_json::from_str(line).unwrap();
            let before = bus.receiver.received().len();
            let told = bus.call("POST", "/v1/buses/default/envelopes", &sent);
            assert!(told[0].get("error").is_none(), "{line}: {told}");
            bus.settle();
            let all = bus.receiver.since(before);
            let mut plain = all.iter().filter(|it| it.line.contains("/all"));
            let got = plain
                .next()
                .unwrap_or_else(|| panic!("not delivered: {line}"));
            assert_eq!(got.json(), sent);
            assert!(plain.next().is_none(), "delivered twice: {line}");
            // Order and spelling of the resources too.
            let resources = sent["resources"].to_string();
            assert!(String::from_utf8_lossy(&got.body).contains(&resources));
            lines += 1;
        }
    }
    assert!(22 <= lines, "{lines} lines");
    bus.halt();
}

#[test]
fn gen_05_each_invalid_document_is_refused_with_its_code() {
    let folder = std::env::var_os("BUSBAR_INVALID").map(PathBuf::from);
    let cases = files(&folder.unwrap_or_else(|| fixtures().join("operator-invalid")));
    assert!(!cases.is_empty());
    let mut bus = Bus::start(&json!({}));
    let egress = EgressSettings {
        loopback_allowed: true,
        ..EgressSettings::default()
    };
    let context = Context {
        home: bus.config().home.clone(),
        egress: Egress::new(&egress).unwrap(),
        complexity: true,
        placeholders: false,
    };
    let rules = |bus: &Bus| bus.get("/v1/status")["rules"].clone();
    let in_force = rules(&bus);
    assert!(in_force.get("fault").is_none());
    let mut wrong = Vec::new();
    for path in cases {
        let case = read(&path);
        let kind = match case["Kind"].as_str().unwrap() {
            "catalogue" => "catalogue",
            "rule" => "rules",
            "monitor" => "monitors",
            "notification-profile" => "notification-profiles",
            "destination" => "destinations",
            other => panic!("no documents of kind {other}"),
        };
        let name = format!("refused-{}", path.file_name().unwrap().to_str().unwrap());
        let file = bus.operator().join(kind).join(&name);
        // The API refuses it.
        let path = match kind {
            "rules" => "triggers",
            kind => kind,
        };
        let document = &case["Document"];
        let address = document["Name"].as_str().unwrap_or("x");
        let told = bus.ask("PUT", &format!("/v1/{path}/{address}"), document);
        if told.status != 400 || told.json()["error"]["code"] != case["Error"] {
            wrong.push(format!("{name}: by the API {}", told.text()));
        }
        fs::write(&file, format!("{:#}", case["Document"])).unwrap();
        let codes: Vec<&str> = match load(&bus.operator(), &context) {
            Err(LoadError::Faults(faults)) => faults
                .iter()
                .inspect(|it| assert!(it.file.ends_with(&name) && 0 < it.place().0, "{it:?}"))
                .map(|it| it.code)
                .collect(),
            other => panic!("{name}: {other:?}"),
        };
        if codes != [case["Error"].as_str().unwrap()] {
            wrong.push(format!("{name}: wanted {}, found {codes:?}", case["Error"]));
        }
        // The server says so too, and goes on with what it had.
        wait_until(SETTLED, "the fault is told", || {
            let fault = &rules(&bus)["fault"];
            fault.as_str().is_some_and(|it| it.contains(&name))
        });
        let mut now = rules(&bus);
        now.as_object_mut().unwrap().remove("fault");
        assert_eq!(now, in_force, "{name}");
        fs::remove_file(&file).unwrap();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    wait_until(SETTLED, "the good set is loaded again", || {
        rules(&bus).get("fault").is_none()
    });
    bus.put_line("events/clm-certificate-status-changed.jsonl", 1);
    let row = bus.get("/v1/firings?limit=1")["firings"][0].clone();
    assert_eq!(
        row["objects"][0]["evaluations"][0]["trigger"],
        "status-platform"
    );
    bus.halt();
}

#[test]
fn documents_come_by_the_api_as_they_do_in_files() {
    let mut bus = Bus::start(&json!({}));
    let url = format!("{}by-api", bus.receiver.url());
    let destination = json!({"Name": "by-api", "Url": url, "Secret": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="});
    let profile = json!({
        "Name": "by-api",
        "Recipients": {"Type": "none"},
        "Channels": [{"Id": "c", "Arn": "arn:aws:events:us-east-1:111122223333:api-destination/by-api"}],
    });
    let entry = json!({
        "Name": "door-opened",
        "Match": [{"Source": "house", "DetailType": "Door opened"}],
        "Resource": {"Type": "door", "Id": ["resources:door"]},
    });
    let trigger = json!({
        "Name": "tell-door",
        "Trigger": {"Event": "door-opened", "Scopes": ["platform"]},
        "Actions": [{"Type": "notify", "Profiles": ["by-api"]}],
    });
    let all = [
        ("/v1/destinations/by-api", &destination),
        ("/v1/notification-profiles/by-api", &profile),
        ("/v1/catalogue/door-opened", &entry),
        ("/v1/triggers/tell-door", &trigger),
    ];
    for (path, document) in all {
        assert_eq!(bus.ask("GET", path, &Value::Null).status, 404);
        let put = bus.call("PUT", path, document);
        assert_eq!(put["origin"], "api");
        assert_eq!(bus.get(path), put);
        if path.contains("destinations") {
            assert!(!put.to_string().contains("whsec"), "secrets stay");
        } else {
            assert_eq!(&put["document"], document);
        }
    }
    let mut changed = profile.clone();
    changed["Frequency"] = "P1D".into();
    assert_eq!(bus.call("PUT", all[1].0, &changed)["version"], 2);
    let listed = bus.get("/v1/catalogue?limit=1000")["documents"].clone();
    let listed: Vec<String> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|it| text(&it["name"]))
        .collect();
    assert_eq!(listed.len(), 21);
    let page = bus.get("/v1/catalogue?limit=20");
    let last = bus.get(&format!("/v1/catalogue?cursor={}", text(&page["cursor"])));
    assert_eq!(text(&last["documents"][0]["name"]), listed[20]);

    // They outlive the process, and fire.
    bus.again(false);
    let door = json!({
        "version": "0", "id": "door-1", "detail-type": "Door opened", "source": "house",
        "account": "111122223333", "time": "2025-07-01T10:00:00Z", "region": "us-east-1",
        "resources": ["door/1"], "detail": {},
    });
    bus.call("POST", "/v1/buses/default/envelopes", &door);
    bus.settle();
    let got = bus.receiver.received();
    assert_eq!(got.len(), 1);
    assert_eq!(
        got[0].header("idempotency-key"),
        got[0].json()["notification"]["id"].as_str()
    );
    assert!(
        got[0].header("webhook-signature").is_some(),
        "by its secret"
    );

    // What is named cannot go, and what stands in a file is not changed here.
    let refused = |method: &str, path: &str, document: &Value, code: &str, names: &str| {
        let told = bus.ask(method, path, document);
        let error = &told.json()["error"];
        assert_eq!(
            (told.status, error["code"].as_str()),
            (409, Some(code)),
            "{error}"
        );
        assert!(
            error["message"].as_str().unwrap().contains(names),
            "{error}"
        );
    };
    refused("DELETE", all[0].0, &Value::Null, "in-use", "by-api");
    refused("DELETE", all[1].0, &Value::Null, "in-use", "tell-door");
    refused("DELETE", all[2].0, &Value::Null, "in-use", "tell-door");
    let of_file = bus.get("/v1/notification-profiles/siem");
    assert_eq!(of_file["origin"], "file");
    let siem = &of_file["document"];
    for (method, document) in [("PUT", siem), ("DELETE", &Value::Null)] {
        let path = "/v1/notification-profiles/siem";
        refused(method, path, document, "ManagedRuleException", "siem.json");
    }
    for (path, _) in all.iter().rev() {
        bus.call("DELETE", path, &Value::Null);
        assert_eq!(bus.ask("GET", path, &Value::Null).status, 404);
    }
    assert_eq!(
        bus.get("/v1/triggers?limit=1000")["documents"]
            .as_array()
            .unwrap()
            .len(),
        24
    );
    bus.halt();
}

/// Leases of a tenant, all of which end within the window of the monitor `lease-expiring`.
fn put_leases(bus: &Bus, count: usize, ends_at: &str) {
    for n in 0..count {
        let lease = json!({
            "attributes": {"endsAt": ends_at},
            "scopes": {"tenant": ["t"]},
        });
        bus.call("PUT", &format!("/v1/inventory/lease/scan-{n:05}"), &lease);
    }
}

/// How often each lease was announced, by tick.
fn announced(bus: &Bus) -> BTreeMap<(String, String), usize> {
    let mut found = BTreeMap::new();
    for request in bus.receiver.received() {
        let event = request.json();
        if request.line.contains("/all") && event["detail-type"] == "Lease expiring" {
            let key = (text(&event["time"]), text(&event["resources"][0]));
            *found.entry(key).or_default() += 1;
        }
    }
    found
}

#[test]
fn gen_06_a_stop_in_the_middle_of_a_scan_repeats_nothing() {
    const LEASES: usize = 1_500;
    let mut bus = Bus::start(&json!({"Rules": [everything()]}));
    put_leases(&bus, LEASES, "2025-07-01T11:30:00Z");
    let tick = moment::parse("2025-07-01T10:00:00Z").unwrap();
    bus.again(false);
    bus.move_to(tick);
    let scan = |bus: &Bus| bus.get("/v1/monitors/lease-expiring")["scan"].clone();
    let api = bus.api();
    std::thread::scope(|scope| {
        // The caller may lose its answer; the scan is what counts.
        scope.spawn(move || {
            let body = json!({"At": "2025-07-01T10:00:00Z"}).to_string();
            let path = "/v1/monitors/lease-expiring/ticks";
            drop(crate::support::call(
                api,
                "POST",
                path,
                &[],
                body.as_bytes(),
            ));
        });
        wait_until(SETTLED, "the scan is under way", || {
            !scan(&bus)["running"].is_null()
        });
        bus.halt();
    });
    let before = announced(&bus).len();
    assert!(before < LEASES, "the scan was over before the stop");
    // On the clock, the unfinished scan goes on by itself.
    bus.again(true);
    wait_until(SETTLED, "the scan goes on", || {
        scan(&bus)["running"].is_null()
    });
    bus.settle();
    let found = announced(&bus);
    let of_tick = found.iter().filter(|it| it.0.0 == "2025-07-01T10:00:00Z");
    assert_eq!(of_tick.clone().count(), LEASES);
    assert!(of_tick.into_iter().all(|it| *it.1 == 1), "announced twice");

    // Stopped for five hours: one scan follows, for the latest tick that was missed.
    let late = "2025-07-01T16:20:00Z";
    for n in 0..3 {
        let path = format!("/v1/inventory/lease/scan-{n:05}");
        bus.call("PATCH", &path, &json!({"attributes": {"endsAt": late}}));
    }
    bus.halt();
    bus.move_to(moment::parse("2025-07-01T15:07:00Z").unwrap());
    bus.run();
    let ticks = |bus: &Bus| -> BTreeSet<String> {
        let found = announced(bus).into_keys();
        found
            .map(|it| it.0)
            .filter(|it| "2025-07-01T12" < it.as_str())
            .collect()
    };
    wait_until(SETTLED, "the missed tick is made up for", || {
        3 <= announced(&bus)
            .keys()
            .filter(|it| "2025-07-01T12" < it.0.as_str())
            .count()
    });
    bus.settle();
    assert_eq!(ticks(&bus).len(), 1, "{:?}", ticks(&bus));
    bus.halt();
}

#[test]
fn gen_07_the_work_of_an_event_is_that_of_its_scopes() {
    const GROUPS: usize = 100_000;
    let mut bus = Bus::start(&json!({}));
    let trigger = |n: usize| {
        json!({
            "Name": format!("of-{n}"),
            "EventPattern": {"detail": {"newStatus": ["Revoked"]}},
            "Trigger": {"Event": "certificate-status-changed", "Scopes": [format!("group/g-{n}")]},
            "Actions": [{"Type": "set-field", "Field": format!("attributes.by-{n}"), "Value": true}],
        })
    };
    for from in (0..GROUPS).step_by(25_000) {
        let some: Vec<Value> = (from..from + 25_000).map(trigger).collect();
        let file = bus.operator().join(format!("rules/many-{from}.json"));
        fs::write(file, json!(some).to_string()).unwrap();
    }
    wait_until(SETTLED, "the triggers are loaded", || {
        let rules = &bus.get("/v1/status")["rules"];
        assert!(rules.get("fault").is_none(), "{rules}");
        GROUPS as u64 <= rules["from_files"].as_u64().unwrap()
    });
    let mut event = line("events/clm-certificate-status-changed.jsonl", 3);
    event["resources"] = json!(["group/g-7", "group/g-77777", "group/g-99999"]);
    event["detail"]["newStatus"] = "Revoked".into();
    bus.call("POST", "/v1/buses/default/envelopes", &event);
    bus.settle();
    let row = bus.get("/v1/firings?limit=1")["firings"][0].clone();
    let object = &row["objects"][0];
    let groups = ["group/g-7", "group/g-77777", "group/g-99999"];
    assert_eq!(object["applied"], json!(groups));
    // Those of the three scopes were looked at, and no other.
    let looked_at = object["evaluations"].as_array().unwrap().iter();
    let looked_at: Vec<&Value> = looked_at.map(|it| &it["trigger"]).collect();
    assert_eq!(looked_at, ["of-7", "of-77777", "of-99999"]);
    bus.halt();
}

#[test]
fn gen_08_history_and_dry_run_tell_the_same() {
    let mut bus = Bus::start(&json!({}));
    let envelope = line("events/clm-certificate-status-changed.jsonl", 3);
    bus.move_to(moment::parse(envelope["time"].as_str().unwrap()).unwrap());
    let everything = |bus: &Bus| {
        let kinds = ["certificate", "user", "group", "ra-profile"];
        let mut all: Vec<Value> = kinds
            .iter()
            .map(|kind| bus.get(&format!("/v1/inventory/{kind}?limit=1000")))
            .collect();
        all.push(bus.get("/v1/streams?limit=1000"));
        all.push(bus.get("/v1/firings?limit=1000"));
        all
    };
    let before = everything(&bus);
    let dry = bus.call(
        "POST",
        "/v1/triggers/dry-run",
        &json!({ "Event": envelope }),
    );
    assert_eq!(everything(&bus), before, "a dry run changes nothing");
    assert!(bus.receiver.received().is_empty(), "and sends nothing");

    bus.put_line("events/clm-certificate-status-changed.jsonl", 3);
    let read = |by: &str| {
        let rows = bus.get(&format!("/v1/firings?{by}"))["firings"].clone();
        assert_eq!(rows.as_array().unwrap().len(), 1, "{by}");
        rows[0].clone()
    };
    let row = read("event=certificate-status-changed");
    assert_eq!(row["status"], "finished");
    let object = text(&row["objects"][0]["object"]);
    assert_eq!(read(&format!("object={object}")), row);
    for trigger in ["status-payments", "status-payments-flagged"] {
        assert_eq!(read(&format!("trigger={trigger}")), row);
    }
    let evaluations = row["objects"][0]["evaluations"].as_array().unwrap();
    assert_eq!(evaluations.len(), 2);
    assert_eq!(dry["objects"], row["objects"]);
    bus.halt();
}
