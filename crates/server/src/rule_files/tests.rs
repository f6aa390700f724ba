use super::*;
use serde_json::Value;
use targets::egress::EgressSettings;

pub(super) fn context() -> Context {
    Context {
        home: Home::default(),
        egress: Egress::new(&EgressSettings {
            loopback_allowed: true,
            own: vec!["127.0.0.1:4100".parse().unwrap()],
            ..EgressSettings::default()
        })
        .unwrap(),
        complexity: true,
        placeholders: false,
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
}

/// What a set of files with these texts comes to.
fn set(files: &[(&str, &str)]) -> Result<Loaded, Vec<Diagnostic>> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    load(dir.path(), &context()).map_err(|error| match error {
        LoadError::Faults(faults) => faults,
        LoadError::Missing(_) => panic!("it was just made"),
    })
}

fn one(rule: &str) -> Result<Loaded, Vec<Diagnostic>> {
    set(&[("a.json", rule)])
}

#[test]
fn every_invalid_file_is_refused_at_its_place() {
    let table = std::fs::read_to_string(fixtures().join("rule-files-invalid.json")).unwrap();
    let table: serde_json::Map<String, Value> = serde_json::from_str(&table).unwrap();
    let dir = fixtures().join("rule-files-invalid");
    let files = find(&dir).unwrap();
    assert_eq!(files.len(), table.len(), "every file is in the table");
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let faults = load_files(std::slice::from_ref(&path), &context()).unwrap_err();
        let found: Vec<Value> = faults
            .iter()
            .map(|fault| {
                let (line, column) = fault.place();
                assert_eq!(fault.file, path.display().to_string());
                assert!(fault.report(false).contains(&format!("{line}:{column}")));
                serde_json::json!({
                    "line": line, "column": column, "under": text[fault.span.clone()],
                    "code": fault.code, "message": fault.message.replace(&fault.file, &name), "help": fault.help,
                })
            })
            .collect();
        assert_eq!(Value::from(found), table[&name], "{name}");
    }
}

#[test]
fn the_example_rules_are_good_and_without_warning() {
    let loaded = load(&fixtures().join("../rules"), &context()).unwrap();
    assert_eq!(loaded.files, 8);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert_eq!(lint::lint(&loaded), []);
    let queues: Vec<&str> = loaded.queues.iter().map(QueueName::as_str).collect();
    assert_eq!(queues, ["alerts", "inventory"]);
}

/// The table of expectations was written by hand; here it meets the reference matcher.
#[test]
fn the_example_rules_send_every_fixture_where_it_is_expected() {
    let loaded = load(&fixtures().join("../rules"), &context()).unwrap();
    let expected = std::fs::read_to_string(fixtures().join("expected.json")).unwrap();
    let expected: BTreeMap<String, BTreeMap<String, Vec<String>>> =
        serde_json::from_str(&expected).unwrap();
    let mut found: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    for entry in std::fs::read_dir(fixtures().join("certificate-lifecycle/events")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let file = found.entry(name).or_default();
        for (n, line) in std::fs::read_to_string(&path).unwrap().lines().enumerate() {
            let goes = file.entry((n + 1).to_string()).or_default();
            // Triggers have none: their events are of a type that no fixture has.
            let patterned = loaded.rules.iter();
            let patterned = patterned.filter_map(|rule| Some((rule, rule.pattern.as_deref()?)));
            for (rule, pattern) in patterned {
                let pattern = rule_engine::Pattern::parse(pattern).unwrap();
                if rule_engine::oracle::matches(&pattern, line.as_bytes()).unwrap() {
                    goes.extend(rule.targets.keys().map(|id| format!("{}/{id}", rule.name)));
                }
            }
            goes.sort();
        }
    }
    assert_eq!(found, expected);
}

#[test]
fn a_pattern_is_kept_byte_for_byte() {
    let rule = |pattern: &str| {
        let text = format!(r#"{{"Name":"a","EventPattern":{pattern}}}"#);
        one(&text).unwrap().rules[0].pattern.clone().unwrap()
    };
    assert_eq!(
        rule("{ \"source\" : [ \"a\" ] ,\n \"detail\":{\"n\":[1.50]}}"),
        "{ \"source\" : [ \"a\" ] ,\n \"detail\":{\"n\":[1.50]}}"
    );
    assert_eq!(rule(r#""{\"source\":[\"a\"]}""#), r#"{"source":["a"]}"#);
}

#[test]
fn shorthand_targets_have_arns_and_their_queues_are_made() {
    let loaded = one(
        r#"{"Name":"r","EventBusName":"b","EventPattern":{"source":["a"]},"Targets":[
            {"Id":"q","Queue":{"Name":"orders"}},
            {"Id":"l","Log":{"Name":"/aws/events/x"}},
            {"Id":"w","Webhook":{"Url":"http://127.0.0.1:9/x","Method":"PUT","Headers":{"X-A":"1"},"Secret":"s"},
             "DeadLetterConfig":{"Arn":"arn:aws:sqs:us-east-1:000000000000:dead"}},
            {"Id":"x","Arn":"arn:aws:sqs:us-east-1:000000000000:more","RoleArn":"arn:aws:iam::000000000000:role/r"},
            {"Id":"y","Arn":"arn:aws:events:us-east-1:000000000000:webhook/b/r/w"}]}"#,
    )
    .unwrap();
    let rule = &loaded.rules[0];
    assert_eq!(rule.bus.as_str(), "b");
    assert_eq!(
        rule.origin,
        bus_core::document::Origin::File("rules/a.json".into())
    );
    let arn = |id: &str| rule.targets[id].arn.as_str();
    assert_eq!(arn("q"), "arn:aws:sqs:us-east-1:000000000000:orders");
    assert_eq!(
        arn("l"),
        "arn:aws:logs:us-east-1:000000000000:log-group:/aws/events/x"
    );
    assert_eq!(
        arn("w"),
        "arn:aws:events:us-east-1:000000000000:webhook/b/r/w"
    );
    assert_eq!(
        rule.targets["w"]
            .webhook
            .as_ref()
            .unwrap()
            .method
            .as_deref(),
        Some("PUT")
    );
    assert!(rule.targets["x"].shown.contains_key("RoleArn"));
    let queues: Vec<&str> = loaded.queues.iter().map(QueueName::as_str).collect();
    assert_eq!(queues, ["dead", "more", "orders"]);
}

#[test]
fn members_that_are_absent_have_the_defaults_of_the_api() {
    let loaded = one(r#"[{"$schema":"x","Name":"r","EventPattern":{"source":["a"]}}]"#).unwrap();
    let rule = &loaded.rules[0];
    assert_eq!(rule.bus.as_str(), "default");
    assert_eq!(rule.state.as_str(), "ENABLED");
    assert_eq!(
        loaded.warnings.len(),
        1,
        "a rule without a target is likely a slip"
    );
    assert_eq!(loaded.warnings[0].code, "rule::no_target");
}

#[test]
fn a_bus_may_be_named_by_its_arn() {
    let rule = |bus: &str| {
        one(&format!(
            r#"{{"Name":"r","EventBusName":"{bus}","EventPattern":{{"source":["a"]}}}}"#
        ))
    };
    let loaded = rule("arn:aws:events:us-east-1:000000000000:event-bus/orders").unwrap();
    assert_eq!(loaded.rules[0].bus.as_str(), "orders");
    let faults = rule("arn:aws:events:us-east-1:111122223333:event-bus/orders").unwrap_err();
    assert!(
        faults[0]
            .help
            .as_ref()
            .unwrap()
            .contains("--account 111122223333")
    );
    assert!(rule("arn:aws:sqs:us-east-1:000000000000:orders").is_err());
}

#[test]
fn one_bad_file_refuses_the_set() {
    let good = r#"{"Name":"a","EventPattern":{"source":["a"]}}"#;
    let faults = set(&[("a.json", good), ("b.json", "{")]).unwrap_err();
    assert_eq!(faults.len(), 1);
    assert!(faults[0].file.ends_with("b.json"));
    let faults = set(&[("a.json", good), ("b.json", good)]).unwrap_err();
    assert_eq!(faults[0].code, "rule::duplicate");
    assert!(
        faults[0].message.contains("a.json, line 1"),
        "{}",
        faults[0].message
    );
}

#[test]
fn a_text_template_is_warned_about_at_its_placeholder() {
    let text = r#"{"Name":"r","EventPattern":{"source":["a"]},"Targets":[{"Id":"q","Queue":{"Name":"q"},
      "InputTransformer":{"InputPathsMap":{"n":"$.detail.n"},"InputTemplate":"\"say <n>\""}}]}"#;
    let loaded = one(text).unwrap();
    assert_eq!(loaded.warnings.len(), 1);
    assert_eq!(&text[loaded.warnings[0].span.clone()], "<");
}

#[test]
fn bounds_are_kept() {
    let pattern = |characters: usize| {
        let filler = "x".repeat(characters - r#"{"source":[""]}"#.len());
        one(&format!(
            r#"{{"Name":"r","EventPattern":{{"source":["{filler}"]}}}}"#
        ))
    };
    assert!(pattern(4_096).is_ok());
    assert_eq!(pattern(4_097).unwrap_err()[0].code, "rule::pattern_length");
    let targets = |count: usize| {
        let targets: Vec<String> = (0..count)
            .map(|n| format!(r#"{{"Id":"t{n}","Log":{{"Name":"l"}}}}"#))
            .collect();
        let targets = targets.join(",");
        one(&format!(
            r#"{{"Name":"r","EventPattern":{{"source":["a"]}},"Targets":[{targets}]}}"#
        ))
    };
    assert!(targets(100).is_ok());
    assert_eq!(targets(101).unwrap_err()[0].code, "target::count");
    let deep = "[".repeat(100_000);
    assert_eq!(one(&deep).unwrap_err()[0].code, "json::syntax");
}

#[test]
fn a_secret_is_shown_in_no_diagnostic() {
    let secret = "hunter2-hunter2";
    for text in [
        format!(
            r#"{{"Name":"r","EventPattern":{{"x":1}},"Targets":[{{"Id":"w","Webhook":{{"Url":"https://a.b/","Secret":"{secret}"}}}}]}}"#
        ),
        format!("{{\"Secret\"  :\n \"{secret}\\\"{secret}\" "),
    ] {
        for fault in one(&text).unwrap_err() {
            assert!(
                !fault.report(false).contains("hunter2"),
                "{}",
                fault.report(false)
            );
            assert!(!fault.to_json().to_string().contains("hunter2"));
            assert!(!fault.line().contains("hunter2"));
            assert_eq!(fault.text.len(), text.len(), "places stay");
        }
    }
}

#[test]
fn only_json_files_of_the_folder_are_read() {
    let good = |name: &str| {
        format!(
            r#"{{"Name":"{name}","EventPattern":{{"source":["a"]}},"Targets":[{{"Id":"l","Log":{{"Name":"l"}}}}]}}"#
        )
    };
    let loaded = set(&[
        ("a.json", &good("a")),
        (".b.json", "{"),
        ("c.json~", "{"),
        ("d.txt", "{"),
        ("sub/e.json", "{"),
    ])
    .unwrap();
    assert_eq!((loaded.files, loaded.warnings.len()), (1, 0));
    let loaded = set(&[
        ("rules/a.json", &good("a")),
        ("others/m.json", "{}"),
        ("b.json", &good("b")),
    ])
    .unwrap();
    assert_eq!((loaded.files, loaded.warnings.len()), (2, 0));
    let faults = set(&[("rules/a.json", &good("a")), ("monitors/m.json", "{}")]).unwrap_err();
    assert!(
        faults
            .iter()
            .all(|it| it.code == "member-missing" && it.file.ends_with("m.json"))
    );
    assert!(matches!(
        load(Path::new("no-such-directory"), &context()),
        Err(LoadError::Missing(_))
    ));
}

/// `line:column code`, and the text under each warning of a set.
#[track_caller]
fn linted(files: &[(&str, &str)]) -> Vec<(String, String)> {
    let loaded = set(files).unwrap();
    let of = |warning: Diagnostic| {
        assert_eq!(warning.severity, Severity::Warning);
        let file = Path::new(&warning.file).file_name().unwrap();
        let (line, column) = warning.place();
        let place = format!("{}:{line}:{column} {}", file.display(), warning.code);
        (place, warning.text[warning.span.clone()].to_owned())
    };
    lint::lint(&loaded).into_iter().map(of).collect()
}

#[test]
fn a_warning_has_its_place_in_the_file() {
    let pair = |place: &str, under: &str| (place.to_owned(), under.to_owned());
    let rule = "{\"Name\":\"r\",\n \"EventPattern\":{\"time\":[\"é\",\n  5]}}";
    assert_eq!(
        linted(&[("a.json", rule)]),
        [pair("a.json:3:3 impossible-value", "5")]
    );
    // Inside a string the place is that of the escaped text.
    let rule = r#"{"Name":"r","EventPattern":"{\"time\":[\"\u00e9\",{\"exists\":false}]}"}"#;
    assert_eq!(
        linted(&[("a.json", rule)]),
        [pair(
            "a.json:1:51 impossible-value",
            r#"{\"exists\":false}"#
        )]
    );
}

#[test]
fn a_rule_switches_warnings_off_for_itself() {
    let rule = |name: &str, lint: &str| {
        format!(
            r#"{{"Name":"{name}"{lint},"EventPattern":{{"source":[{{"anything-but":"a"}},1]}}}}"#
        )
    };
    let codes = |lint: &str| -> Vec<String> {
        let (a, b) = (rule("a", ""), rule("b", lint));
        let found = linted(&[("a.json", &a), ("b.json", &b)]);
        let found = found.into_iter().map(|(place, _)| place);
        found
            .filter_map(|place| {
                place
                    .strip_prefix("b.json:")?
                    .split_once(' ')
                    .map(|(_, code)| code.to_owned())
            })
            .collect()
    };
    let all = ["duplicate-rule", "costly", "impossible-value"];
    assert_eq!(codes(""), all);
    assert_eq!(codes(r#","Lint":{}"#), all);
    assert_eq!(
        codes(r#","Lint":{"Allow":["costly"]}"#),
        ["duplicate-rule", "impossible-value"]
    );
    assert_eq!(
        codes(r#","Lint":{"Allow":["duplicate-rule","impossible-value","costly"]}"#),
        [""; 0]
    );
}

#[test]
fn rules_are_duplicates_on_one_bus_only() {
    let rule = |name: &str, bus: &str, pattern: &str| {
        format!(r#"{{"Name":"{name}","EventBusName":"{bus}","EventPattern":{pattern}}}"#)
    };
    let found = |bus: &str, pattern: &str| {
        let (a, b) = (
            rule("a", "x", r#"{"source":["s","t"]}"#),
            rule("b", bus, pattern),
        );
        linted(&[("a.json", &a), ("b.json", &b)])
    };
    let twice = ("b.json:1:9 duplicate-rule".to_owned(), "\"b\"".to_owned());
    assert_eq!(found("x", r#"{"source":["t","s"]}"#), [twice]);
    assert_eq!(found("y", r#"{"source":["t","s"]}"#), []);
    assert_eq!(found("x", r#"{"source":["s"]}"#), []);
}

#[test]
fn what_is_no_lint_member_is_refused() {
    let check = |lint: &str, under: &str, help: Option<&str>| {
        let rule = format!(r#"{{"Name":"r","EventPattern":{{"source":["s"]}},"Lint":{lint}}}"#);
        let faults = one(&rule).unwrap_err();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!(&rule[faults[0].span.clone()], under);
        assert_eq!(faults[0].help.as_deref(), help);
    };
    check("[]", "[]", None);
    check(
        r#"{"Allowed":[]}"#,
        r#""Allowed""#,
        Some("did you mean `Allow`?"),
    );
    check(r#"{"Allow":"costly"}"#, r#""costly""#, None);
    check(r#"{"Allow":[1]}"#, "1", None);
    check(
        r#"{"Allow":["cosly"]}"#,
        r#""cosly""#,
        Some("did you mean `costly`?"),
    );
}

const TO_DESTINATION: &str = r#"{"Name":"r","EventPattern":{"source":["a"]},"Targets":[
    {"Id":"t","Arn":"arn:aws:events:us-east-1:000000000000:api-destination/ticket/0-1"}]}"#;

#[test]
fn an_arn_of_a_destination_means_its_webhook() {
    let loaded = set(&[
        ("rules/a.json", TO_DESTINATION),
        (
            "destinations/ticket.json",
            r#"{"Name":"ticket","Description":"d","Url":"http://127.0.0.1:9/x","Method":"PUT",
                "Headers":{"X-A":"1"},"Secret":"env:TICKET"}"#,
        ),
    ])
    .unwrap();
    assert_eq!(loaded.files, 2);
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let target = &loaded.rules[0].targets["t"];
    assert!(target.arn.ends_with(":api-destination/ticket/0-1"));
    // What it means is kept in one place, so that a change is one for all that name it.
    assert_eq!(target.webhook, None);
    let kept = bus_core::document::destinations_rule();
    let kept = loaded.internal.iter().find(|rule| rule.name == kept);
    let webhook = kept.unwrap().targets["ticket"].webhook.as_ref().unwrap();
    assert_eq!(webhook.url, "http://127.0.0.1:9/x");
    assert_eq!(webhook.method.as_deref(), Some("PUT"));
    assert_eq!(webhook.headers["X-A"], "1");
    assert_eq!(webhook.secret.as_deref(), Some("env:TICKET"));
}

#[track_caller]
fn check_destination(files: &[(&str, &str)], code: &str, message: &str, help: Option<&str>) {
    let mut all = vec![("rules/a.json", TO_DESTINATION)];
    all.extend(files);
    let faults = set(&all).unwrap_err();
    let found = faults.iter().find(|fault| fault.code == code);
    let found = found.unwrap_or_else(|| panic!("{faults:?}"));
    assert_eq!(found.message, message);
    assert_eq!(found.help.as_deref(), help);
}

#[test]
fn destinations_are_refused_at_their_place() {
    let good = r#"{"Name":"tickets","Url":"http://127.0.0.1:9/x"}"#;
    let none = "there is no destination `ticket`";
    check_destination(
        &[],
        "target::arn",
        none,
        Some("write it as destinations/ticket.json beside the rules"),
    );
    let near = [("destinations/a.json", good)];
    check_destination(&near, "target::arn", none, Some("did you mean `tickets`?"));
    let twice = [("destinations/a.json", good), ("destinations/b.json", good)];
    check_destination(
        &twice,
        "destination::duplicate",
        "a second destination `tickets`",
        Some("a destination's name is one of a kind: rename one of them"),
    );
    let reserved = r#"{"Name":"ticket","Url":"http://127.0.0.1:9/x","Headers":{"Host":"h"}}"#;
    let faults = set(&[
        ("rules/a.json", TO_DESTINATION),
        ("destinations/a.json", reserved),
    ])
    .unwrap_err();
    assert!(faults.iter().any(|fault| fault.code == "webhook::header"));
    let own = r#"{"Name":"ticket","Url":"http://127.0.0.1:4100/"}"#;
    let faults = set(&[
        ("rules/a.json", TO_DESTINATION),
        ("destinations/a.json", own),
    ])
    .unwrap_err();
    let url = faults.iter().find(|fault| fault.code == "webhook::url");
    assert_eq!(url.unwrap().place().0, 1);
}

#[test]
fn folders_stand_beside_flat_rules_too() {
    let loaded = set(&[
        ("a.json", TO_DESTINATION),
        (
            "destinations/d.json",
            r#"{"Name":"ticket","Url":"http://127.0.0.1:9/x"}"#,
        ),
    ]);
    assert_eq!(loaded.unwrap().files, 2);
}

#[test]
fn a_schedule_needs_no_pattern_and_the_default_bus() {
    let loaded = one(r#"{"Name":"r","ScheduleExpression":"rate(1 day)"}"#).unwrap();
    let schedule = loaded.rules[0].schedule.as_ref().unwrap();
    assert_eq!(schedule.expression, "rate(1 day)");
    assert_eq!(loaded.rules[0].pattern, None);
    assert_eq!(lint::lint(&loaded), []);
    let elsewhere = r#"{"Name":"r","EventBusName":"b","ScheduleExpression":"rate(1 day)"}"#;
    let faults = one(elsewhere).unwrap_err();
    assert_eq!(
        faults[0].message,
        "ScheduleExpression is supported only on the default event bus."
    );
}

#[test]
fn a_trigger_is_refused_with_the_codes_of_documents_once_each() {
    let trigger = |more: &str| {
        format!(
            r#"{{{more} "Trigger":{{"Event":"e","Scopes":["platform"]}},
                "Targets":[{{"Id":"l","Log":{{"Name":"l"}}}}]}}"#
        )
    };
    for (more, code) in [
        ("", "member-missing"),
        (r#""Name":"a b","#, "name-malformed"),
        (r#""Name":5,"#, "member-type"),
        (r#""Name":"t","State":"ON","#, "member-type"),
        (r#""Name":"t","Pattern":{},"#, "member-unknown"),
        (r#""Name":"t","Name":"t","#, "member-unknown"),
        (r#""Name":"t","EventPattern":{"a":[]},"#, "pattern-invalid"),
    ] {
        let faults = one(&trigger(more)).unwrap_err();
        let codes: Vec<&str> = faults.iter().map(|it| it.code).collect();
        // Without a fault of its own, it names an event type that nobody has.
        let codes: Vec<&str> = codes
            .into_iter()
            .filter(|it| *it != "unknown-event")
            .collect();
        assert_eq!(codes, [code], "{more}");
        assert!(faults[0].help.is_some(), "{faults:?}");
    }
}
