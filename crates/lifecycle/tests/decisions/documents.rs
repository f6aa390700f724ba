//! Operator documents: the good ones are accepted, each bad one is refused with its code and place.

use crate::common::{Operator, texts};
use lifecycle::documents::{
    Code, Destination, Documents, Entry, Fault, Kind, Monitor, Profile, Trigger, span_of,
};
use rule_engine::pattern::Options;
use serde_json::{Value, json};

/// The faults of a document beside those of `operator/`.
fn faults(kind: &str, text: &str) -> Vec<Fault> {
    let options = Options::default();
    let mut set = Operator::read().set();
    let read = match kind {
        "catalogue" => Entry::read(text, &options).map(|it| set.entries.push(it)),
        "rule" => Trigger::read(text, &options).map(|it| set.triggers.extend(it)),
        "monitor" => Monitor::read(text, &options).map(|it| set.monitors.push(it)),
        "notification-profile" => Profile::read(text, &options).map(|it| set.profiles.push(it)),
        "destination" => Destination::read(text, &options).map(|it| set.destinations.push(it)),
        other => panic!("no documents of kind {other}"),
    };
    match read.map(|()| Documents::new(set)) {
        Err(faults) => faults,
        Ok(Err(faults)) => faults.into_iter().map(|it| it.fault).collect(),
        Ok(Ok(_)) => Vec::new(),
    }
}

/// Codes and places of the faults, in the order of the text.
#[track_caller]
fn check(kind: &str, document: Value, expected: &[(&str, &str)]) {
    let text = document.to_string();
    let found = faults(kind, &text);
    let shown: Vec<(&str, &str)> = found
        .iter()
        .map(|it| (it.code.as_str(), it.at.as_str()))
        .collect();
    assert_eq!(shown, expected, "{found:#?}");
    for fault in &found {
        let span = fault.span.clone().or_else(|| span_of(&text, &fault.at));
        assert!(text.get(span.unwrap()).is_some());
        assert!(
            !fault.message.is_empty() && !fault.help.is_empty(),
            "{fault:?}"
        );
    }
}

#[test]
fn the_operator_documents_are_accepted() {
    assert!(Documents::new(Operator::read().set()).is_ok());
}

#[test]
fn each_invalid_document_gives_exactly_its_code() {
    let all = texts("operator-invalid");
    assert_eq!(all.len(), 26);
    for (name, text) in all {
        let case: Value = serde_json::from_str(&text).unwrap();
        let kind = case["Kind"].as_str().unwrap();
        let found = faults(kind, &case["Document"].to_string());
        let codes: Vec<&str> = found.iter().map(|it| it.code.as_str()).collect();
        assert_eq!(
            codes,
            [case["Error"].as_str().unwrap()],
            "{name}: {found:#?}"
        );
    }
}

/// A catalogue entry with some members changed.
fn entry(changes: Value) -> Value {
    with(
        json!({
            "Name": "thing-happened",
            "Match": [{"Source": "com.example", "DetailType": "Thing happened"}],
            "Resource": {"Type": "thing", "Id": ["$.detail.id"]},
        }),
        changes,
    )
}

fn trigger(changes: Value) -> Value {
    with(
        json!({
            "Name": "t",
            "Trigger": {"Event": "certificate-expiring", "Scopes": ["platform"]},
            "Actions": [{"Type": "notify", "Profiles": ["siem"]}],
        }),
        changes,
    )
}

fn monitor(changes: Value) -> Value {
    with(
        json!({
            "Name": "m",
            "ScheduleExpression": "rate(1 hour)",
            "Resource": "certificate",
            "Event": "certificate-expiring",
            "Emit": {},
        }),
        changes,
    )
}

fn profile(changes: Value) -> Value {
    with(
        json!({"Name": "p", "Recipients": {"Type": "owner"}, "Channels": [], "Internal": true}),
        changes,
    )
}

/// `null` removes a member.
fn with(mut document: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        let members = document.as_object_mut().unwrap();
        if value.is_null() {
            members.shift_remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
    document
}

#[test]
fn entries_are_refused_where_they_are_wrong() {
    check("catalogue", entry(json!({})), &[]);
    for (changes, code, at) in [
        (json!({"Name": "Thing"}), "name-malformed", "/Name"),
        (json!({"Name": "platform"}), "scope-reserved", "/Name"),
        (json!({"Name": null}), "member-missing", ""),
        (json!({"Name": "lease-expiring"}), "name-malformed", "/Name"),
        (json!({"Match": null}), "match-missing", ""),
        (
            json!({"Match": [{"Source": "a"}]}),
            "member-missing",
            "/Match/0",
        ),
        (
            json!({"Match": [{"Source": "a", "DetailType": 5}]}),
            "member-type",
            "/Match/0/DetailType",
        ),
        (json!({"Resource": null}), "member-missing", ""),
        (
            json!({"Resource": {"Type": "thing", "Id": []}}),
            "selector-malformed",
            "/Resource/Id",
        ),
        (
            json!({"Resource": {"Type": "thing", "Id": ["inventory:a"]}}),
            "selector-malformed",
            "/Resource/Id/0",
        ),
        (
            json!({"Resource": {"Type": "A b", "Id": ["$.id"]}}),
            "name-malformed",
            "/Resource/Type",
        ),
        (json!({"resource": {}}), "member-unknown", "/resource"),
        (json!({"Resolution": "both"}), "member-type", "/Resolution"),
        (json!({"Admission": "yes"}), "member-type", "/Admission"),
        (
            json!({"MonitoringIdleReset": "P1M"}),
            "duration-malformed",
            "/MonitoringIdleReset",
        ),
        (
            json!({"Settable": ["relations.x"]}),
            "field-not-settable",
            "/Settable/0",
        ),
        (
            json!({"DefaultRecipients": [{"Type": "group"}]}),
            "member-missing",
            "/DefaultRecipients/0",
        ),
        (
            json!({"DefaultRecipients": [{}]}),
            "member-missing",
            "/DefaultRecipients/0",
        ),
        (
            json!({"Inventory": [{"When": {"a": 5}}]}),
            "pattern-invalid",
            "/Inventory/0/When",
        ),
        (
            json!({"Inventory": [{"When": {"a": [{"regex": "x"}]}}]}),
            "pattern-invalid",
            "/Inventory/0/When",
        ),
        (
            json!({"Inventory": [{"Set": {"a": "detail.x"}}]}),
            "selector-malformed",
            "/Inventory/0/Set/a",
        ),
        (
            json!({"Inventory": [{"Set": {"a": {"Constant": 1}}}]}),
            "member-unknown",
            "/Inventory/0/Set/a/Constant",
        ),
        (
            json!({"Inventory": [{"Relate": [{"Relation": "r", "Inverse": "i"}]}]}),
            "member-missing",
            "/Inventory/0/Relate/0",
        ),
        (
            json!({"Detail": {"type": "object", "oneOf": []}}),
            "schema-keyword",
            "/Detail/oneOf",
        ),
        (
            json!({"Detail": {"properties": {"a": {"format": "email"}}}}),
            "schema-keyword",
            "/Detail/properties/a/format",
        ),
        (
            json!({"Detail": {"type": "map"}}),
            "member-type",
            "/Detail/type",
        ),
        (json!({"OnInvalid": "drop"}), "member-type", "/OnInvalid"),
    ] {
        let document = entry(changes);
        let text = document.to_string();
        let found = faults("catalogue", &text);
        assert!(
            found
                .iter()
                .any(|it| it.code.as_str() == code && it.at == at),
            "{code} at {at}: {found:#?}"
        );
    }
}

#[test]
fn triggers_are_refused_where_they_are_wrong() {
    check("rule", trigger(json!({})), &[]);
    check(
        "rule",
        trigger(json!({"Actions": null, "Targets": [{"Id": "q", "Arn": "a"}]})),
        &[],
    );
    check(
        "rule",
        json!({"Name": "plain", "EventPattern": {"a": [1]}, "Targets": []}),
        &[],
    );
    let event =
        |scopes: Value| json!({"Trigger": {"Event": "certificate-expiring", "Scopes": scopes}});
    for (changes, code, at) in [
        (event(json!("platform")), "member-type", "/Trigger/Scopes"),
        (
            event(json!(["ra_profile/x"])),
            "scope-malformed",
            "/Trigger/Scopes/0",
        ),
        (
            event(json!(["platform/x"])),
            "scope-malformed",
            "/Trigger/Scopes/0",
        ),
        (
            event(json!(["platform", "tenant/x"])),
            "scope-not-allowed",
            "/Trigger/Scopes/1",
        ),
        (
            json!({"Trigger": {"Scopes": ["platform"]}}),
            "member-missing",
            "/Trigger",
        ),
        (
            json!({"Trigger": {"Event": "certificate-expiring"}}),
            "scope-missing",
            "/Trigger",
        ),
        (
            json!({"Trigger": {"Event": "certificate-expiring", "Scopes": ["platform"], "Order": "1"}}),
            "member-type",
            "/Trigger/Order",
        ),
        (
            json!({"Trigger": {"Event": "certificate-expiring", "Scopes": ["platform"], "ignore": true}}),
            "member-unknown",
            "/Trigger/ignore",
        ),
        (
            json!({"Trigger": {"Event": "certificate-expiring", "Scopes": ["platform"], "Ignore": true}, "Actions": null, "Targets": [{"Id": "q"}]}),
            "ignore-with-actions",
            "/Targets",
        ),
        (
            json!({"Actions": []}),
            "trigger-without-actions",
            "/Trigger",
        ),
        (
            json!({"EventPattern": {"a": [{"within-next": "P1Y"}]}}),
            "pattern-invalid",
            "/EventPattern",
        ),
        (
            json!({"EventPattern": {"a": [{"within-next": {"Ref": "w"}}]}}),
            "unknown-parameter",
            "/EventPattern",
        ),
        (
            json!({"EventPattern": {"a": [{"later-than": "subject.x"}]}}),
            "pattern-invalid",
            "/EventPattern",
        ),
        (json!({"State": "ON"}), "member-type", "/State"),
        (
            json!({"Actions": [{"Type": "mail"}]}),
            "member-type",
            "/Actions/0/Type",
        ),
        (
            json!({"Actions": [{"Profiles": ["siem"]}]}),
            "member-missing",
            "/Actions/0",
        ),
        (
            json!({"Actions": [{"Type": "notify", "Profiles": []}]}),
            "member-missing",
            "/Actions/0/Profiles",
        ),
        (
            json!({"Actions": [{"Type": "notify", "Profiles": ["siem", "nobody"]}]}),
            "unknown-profile",
            "/Actions/0/Profiles/1",
        ),
        (
            json!({"Actions": [{"Type": "set-field", "Field": "owner", "Value": "me"}]}),
            "member-type",
            "/Actions/0/Value",
        ),
        (
            json!({"Actions": [{"Type": "set-field", "Field": "scopes.group", "Value": "g"}]}),
            "member-type",
            "/Actions/0/Value",
        ),
        (
            json!({"Actions": [{"Type": "set-field", "Field": "attributes.a"}]}),
            "set-field-source",
            "/Actions/0",
        ),
        (
            json!({"Actions": [{"Type": "set-field", "Field": "attributes.a", "From": "time"}]}),
            "selector-malformed",
            "/Actions/0/From",
        ),
        (
            json!({"Actions": [{"Type": "set-field", "Field": "scopes.discovery", "Value": []}]}),
            "field-not-settable",
            "/Actions/0/Field",
        ),
    ] {
        check("rule", trigger(changes), &[(code, at)]);
    }
}

#[test]
fn monitors_are_refused_where_they_are_wrong() {
    check("monitor", monitor(json!({})), &[]);
    let window = |default: &str, from: &str| json!({"Parameters": {"w": {"Default": default, "From": [from]}}});
    for (changes, code, at) in [
        (
            json!({"ScheduleExpression": "rate(1 hours)"}),
            "member-type",
            "/ScheduleExpression",
        ),
        (json!({"ScheduleExpression": null}), "member-missing", ""),
        (json!({"Emit": null}), "member-missing", ""),
        (json!({"Event": "nothing"}), "unknown-event", "/Event"),
        (json!({"Every": "1h"}), "duration-malformed", "/Every"),
        (
            window("P1M", "group:attributes.w"),
            "duration-malformed",
            "/Parameters/w/Default",
        ),
        (
            window("P1D", "attributes.w"),
            "selector-malformed",
            "/Parameters/w/From/0",
        ),
        (
            json!({"Condition": {"a": []}}),
            "pattern-invalid",
            "/Condition",
        ),
        (
            json!({"Unless": [{"Condition": {}}]}),
            "member-missing",
            "/Unless/0",
        ),
        (
            json!({"Unless": [{"Relation": "r", "Condition": {"a": [{"within-next": {"Ref": "x"}}]}}]}),
            "unknown-parameter",
            "/Unless/0/Condition",
        ),
        (
            json!({"Unless": [{"SameFields": []}]}),
            "member-missing",
            "/Unless/0/SameFields",
        ),
        (
            json!({"Emit": {"Detail": {"a": {"b": "$.object["}}}}),
            "selector-malformed",
            "/Emit/Detail",
        ),
        (
            json!({"Emit": {"Detail": []}}),
            "member-type",
            "/Emit/Detail",
        ),
        (
            json!({"Emit": {"DetailType": "Other"}}),
            "emit-not-in-match",
            "/Emit",
        ),
        (
            json!({"Event": "acm-approaching-expiration"}),
            "source-reserved",
            "/Emit",
        ),
    ] {
        check("monitor", monitor(changes), &[(code, at)]);
    }
}

#[test]
fn profiles_and_destinations_are_refused_where_they_are_wrong() {
    check("notification-profile", profile(json!({})), &[]);
    let channel = |channel: Value| json!({"Channels": [channel]});
    for (changes, code, at) in [
        (json!({"Name": "a b"}), "name-malformed", "/Name"),
        (json!({"Recipients": null}), "member-missing", ""),
        (
            json!({"Recipients": {"Type": "team", "Ids": ["x"]}}),
            "member-type",
            "/Recipients/Type",
        ),
        (
            json!({"Recipients": {"Type": "role", "Ids": []}}),
            "recipient-ids-missing",
            "/Recipients",
        ),
        (
            json!({"Recipients": {"Type": "owner", "Ids": ["x"]}}),
            "member-unknown",
            "/Recipients/Ids",
        ),
        (
            json!({"Recipients": {"Type": "user", "Ids": ["a/b"]}}),
            "name-malformed",
            "/Recipients/Ids/0",
        ),
        (
            channel(json!({"Id": "mail"})),
            "member-missing",
            "/Channels/0",
        ),
        (
            channel(json!({"Id": "m", "Arn": "a", "Contact": {"email": "$.attributes.x"}})),
            "selector-malformed",
            "/Channels/0/Contact/email",
        ),
        (json!({"Repetitions": "5"}), "member-type", "/Repetitions"),
        (
            json!({"Repetitions": 5_000_000_000_i64}),
            "repetitions-range",
            "/Repetitions",
        ),
        (
            json!({"Frequency": "daily"}),
            "duration-malformed",
            "/Frequency",
        ),
        (json!({"Internal": null}), "no-channel", ""),
    ] {
        check("notification-profile", profile(changes), &[(code, at)]);
    }
    let destination = json!({"Name": "d", "Url": "https://example.com/", "Headers": {"x": "y"}});
    check("destination", destination.clone(), &[]);
    for (changes, code, at) in [
        (json!({"Url": null}), "member-missing", ""),
        (json!({"Method": "post"}), "member-type", "/Method"),
        (json!({"Headers": {"x": 5}}), "member-type", "/Headers/x"),
        (json!({"Name": "mail-relay"}), "name-malformed", "/Name"),
    ] {
        check(
            "destination",
            with(destination.clone(), changes),
            &[(code, at)],
        );
    }
}

#[test]
fn every_fault_is_reported() {
    check(
        "monitor",
        monitor(
            json!({"Name": "a b", "Every": "x", "Condition": {"a": 1}, "Colour": 1, "Emit": {"Detail": 5}}),
        ),
        &[
            ("name-malformed", "/Name"),
            ("member-type", "/Emit/Detail"),
            ("duration-malformed", "/Every"),
            ("pattern-invalid", "/Condition"),
            ("member-unknown", "/Colour"),
        ],
    );
    check(
        "rule",
        trigger(
            json!({"ScheduleExpression": "rate(1 day)", "Trigger": {"Event": "certificate-expiring", "Scopes": ["x", "platform", ""]}}),
        ),
        &[
            ("scope-malformed", "/Trigger/Scopes/0"),
            ("scope-malformed", "/Trigger/Scopes/2"),
            ("trigger-with-schedule", "/ScheduleExpression"),
        ],
    );
}

#[test]
fn a_fault_shows_its_bytes_and_what_to_try() {
    let text = profile(json!({"repetition": 5, "Frequency": "P1M"})).to_string();
    let found = faults("notification-profile", &text);
    let shown = |n: usize| {
        (
            &text[found[n].span.clone().unwrap()],
            found[n].help.as_str(),
        )
    };
    assert_eq!(shown(0), ("5", "did you mean `Repetitions`?"));
    assert_eq!(shown(1).0, "\"P1M\"");
    assert!(shown(1).1.contains("P30D"));
    let text = trigger(json!({"EventPattern": {"detail": {"a": [{"prefixx": "x"}]}}})).to_string();
    let found = faults("rule", &text);
    assert_eq!(&text[found[0].span.clone().unwrap()], "\"prefixx\"");
    assert_eq!(found[0].help, "did you mean `prefix`?");
    assert_eq!(
        found[0].message,
        "Unrecognized match type prefixx (at `detail.a`)"
    );
    let found = faults("rule", "{\"Name\": ");
    assert_eq!(
        (found[0].code, found[0].at.as_str()),
        (Code::MemberType, "")
    );
}

#[test]
fn what_is_in_use_stays() {
    let documents = Documents::new(Operator::read().set()).unwrap();
    let fault = documents
        .deletable(Kind::Profile, "expiring-daily")
        .unwrap_err();
    assert_eq!((fault.code, fault.code.as_str()), (Code::InUse, "in-use"));
    assert!(
        fault.message.contains("expiring-platform"),
        "{}",
        fault.message
    );
    let fault = documents
        .deletable(Kind::Entry, "lease-expiring")
        .unwrap_err();
    assert!(
        fault.message.contains("lease-ending, lease-expiring"),
        "{}",
        fault.message
    );
    assert!(
        documents
            .deletable(Kind::Profile, "contact-on-object")
            .is_ok()
    );
}
