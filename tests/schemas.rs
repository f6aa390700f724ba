//! The JSON Schemas of operator documents: what they take is what the readers take.
//!
//! A schema knows less than a reader (nothing of what documents say of each other, little of what one member
//! means for another), so it may take what a reader refuses. It never refuses what a reader takes, and it
//! refuses every member that is missing, unknown or of another type.

#![allow(clippy::unwrap_used, missing_docs)]

use bus_core::name::Home;
use jsonschema::Validator;
use lifecycle::documents::{Destination, Entry, Fault, Monitor, Profile};
use lifecycle::object::Edit;
use lifecycle::reference::Ref;
use rule_engine::pattern::Options;
use serde_json::{Value, json};
use server::rule_files::schemas::KINDS;
use server::rule_files::{self, Context};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use targets::egress::{Egress, EgressSettings};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The `*.json` files of a folder, by name.
fn files(folder: &Path) -> Vec<(String, Value)> {
    let mut found: Vec<(String, Value)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "json"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (
                path.display().to_string(),
                serde_json::from_str(&text).unwrap(),
            )
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

fn validators() -> BTreeMap<&'static str, Validator> {
    let validator = |kind: &rule_files::schemas::Kind| {
        let schema = kind.schema();
        assert!(jsonschema::meta::is_valid(&schema), "{}", kind.name);
        (kind.name, jsonschema::validator_for(&schema).unwrap())
    };
    KINDS.iter().map(validator).collect()
}

/// The good documents of the fixtures, with their kind.
fn good() -> Vec<(&'static str, String, Value)> {
    let mut all = Vec::new();
    for (kind, folder) in [
        ("rule", "rules"),
        ("catalogue", "catalogue"),
        ("monitor", "monitors"),
        ("notification-profile", "notification-profiles"),
        ("destination", "destinations"),
    ] {
        let example = if kind == "rule" { "." } else { folder };
        for folder in [
            root()
                .join("fixtures/certificate-lifecycle/operator")
                .join(folder),
            root().join("rules").join(example),
        ] {
            if folder.is_dir() {
                all.extend(
                    files(&folder)
                        .into_iter()
                        .map(|(file, it)| (kind, file, it)),
                );
            }
        }
    }
    let file = root().join("fixtures/certificate-lifecycle/inventory/objects.jsonl");
    let text = std::fs::read_to_string(file).unwrap();
    for (n, line) in text.lines().enumerate() {
        all.push((
            "object",
            format!("objects.jsonl:{n}"),
            serde_json::from_str(line).unwrap(),
        ));
    }
    assert!(60 < all.len());
    all
}

#[test]
fn the_files_in_docs_are_what_the_binary_prints() {
    for kind in &KINDS {
        let printed = Command::new(env!("CARGO_BIN_EXE_busbar"))
            .args(["jsonschema", kind.name])
            .output()
            .unwrap();
        assert!(printed.status.success());
        let file = root().join(format!("docs/schemas/{}.json", kind.name));
        let kept = std::fs::read_to_string(&file).unwrap_or_default();
        let same = kept.as_bytes() == printed.stdout;
        assert!(
            same,
            "{} is not up to date: `just schemas` writes it",
            file.display()
        );
    }
}

#[test]
fn the_examples_are_taken_and_name_their_schema() {
    let validators = validators();
    let mut named = 0;
    for (kind, file, document) in good() {
        let faults: Vec<String> = validators[kind]
            .iter_errors(&document)
            .map(|it| format!("{} {it}", it.instance_path()))
            .collect();
        assert!(faults.is_empty(), "{file}: {faults:#?}");
        if let Some(schema) = document["$schema"].as_str() {
            let file = Path::new(&file).parent().unwrap().join(schema);
            let wanted = root().join(format!("docs/schemas/{kind}.json"));
            assert_eq!(file.canonicalize().unwrap(), wanted.canonicalize().unwrap());
            named += 1;
        }
    }
    assert!(5 <= named);
}

#[test]
fn documents_of_a_wrong_form_are_refused() {
    // The others need more than one document, or what one member means for another.
    let of_form = [
        "catalogue-bad-selector",
        "catalogue-match-empty",
        "profile-calendar-frequency",
        "profile-zero-repetitions",
        "rule-field-not-settable",
        "rule-scope-malformed",
        "rule-scopes-empty",
        "rule-set-field-two-sources",
    ];
    let validators = validators();
    let folder = root().join("fixtures/certificate-lifecycle/operator-invalid");
    let mut refused = Vec::new();
    for (file, case) in files(&folder) {
        let kind = case["Kind"].as_str().unwrap();
        if !validators[kind].is_valid(&case["Document"]) {
            let name = Path::new(&file).file_stem().unwrap();
            refused.push(name.to_string_lossy().into_owned());
        }
    }
    assert_eq!(refused, of_form);
}

/// What the readers say of a document, as code and place; what is between documents is left out.
struct Readers {
    folder: tempfile::TempDir,
    files: Vec<PathBuf>,
    context: Context,
}

impl Readers {
    fn new() -> Readers {
        let folder = tempfile::tempdir().unwrap();
        let rule = folder.path().join("rules/a.json");
        std::fs::create_dir(folder.path().join("rules")).unwrap();
        std::fs::create_dir(folder.path().join("destinations")).unwrap();
        let mut files = vec![rule];
        for name in ["mail-relay", "pki-hook"] {
            let file = folder.path().join(format!("destinations/{name}.json"));
            let text = json!({"Name": name, "Url": "https://example.com/"});
            std::fs::write(&file, text.to_string()).unwrap();
            files.push(file);
        }
        let context = Context {
            home: Home {
                account: "111122223333".into(),
                region: "us-east-1".into(),
            },
            egress: Egress::new(&EgressSettings {
                allow: Vec::new(),
                loopback_allowed: true,
                http_allowed: false,
                own: Vec::new(),
            })
            .unwrap(),
            complexity: false,
            placeholders: false,
        };
        Readers {
            folder,
            files,
            context,
        }
    }

    fn faults(&self, kind: &str, document: &Value) -> Vec<String> {
        let text = document.to_string();
        let options = Options::default();
        let told = |faults: Vec<Fault>| -> Vec<String> {
            let each = faults.iter();
            each.map(|it| format!("{} {} {}", it.code, it.at, it.message))
                .collect()
        };
        let read = match kind {
            "catalogue" => Entry::read(&text, &options).map(drop).map_err(told),
            "monitor" => Monitor::read(&text, &options).map(drop).map_err(told),
            "notification-profile" => Profile::read(&text, &options).map(drop).map_err(told),
            "destination" => Destination::read(&text, &options).map(drop).map_err(told),
            "object" => {
                let object = document["type"].as_str().zip(document["id"].as_str());
                let object = object.and_then(|(kind, id)| Ref::new(kind, id));
                let object = object.unwrap_or_else(|| Ref::parse("thing/1").unwrap());
                let read = Edit::read(object, document);
                read.map(drop).map_err(|it| vec![it.to_string()])
            }
            _ => {
                let _ = &self.folder;
                std::fs::write(&self.files[0], &text).unwrap();
                let loaded = rule_files::load_files(&self.files, &self.context);
                loaded.map(drop).map_err(|faults| {
                    let between = ["unknown-event", "unknown-profile"];
                    let own = faults.iter().filter(|it| !between.contains(&it.code));
                    own.map(|it| format!("{} {}", it.code, it.message))
                        .collect()
                })
            }
        };
        read.err().unwrap_or_default()
    }
}

/// Every document that is `value` but for one place.
fn spoilt(value: &Value) -> Vec<Value> {
    let mut all: Vec<Value> = [
        json!(null),
        json!(true),
        json!(5),
        json!("!"),
        json!([]),
        json!({}),
    ]
    .into();
    match value {
        Value::Object(members) => {
            let mut with = members.clone();
            with.insert("Nonsense".into(), json!("x"));
            all.push(with.into());
            for (name, inner) in members {
                let mut without = members.clone();
                without.shift_remove(name);
                all.push(without.into());
                for inner in spoilt(inner) {
                    let mut with = members.clone();
                    with.insert(name.clone(), inner);
                    all.push(with.into());
                }
            }
        }
        Value::Array(items) => {
            for (n, inner) in items.iter().enumerate() {
                for inner in spoilt(inner) {
                    let mut with = items.clone();
                    with[n] = inner;
                    all.push(with.into());
                }
            }
        }
        _ => {}
    }
    all
}

#[test]
fn a_schema_refuses_nothing_good_and_no_member_that_is_missing_unknown_or_of_another_type() {
    const OF_FORM: [&str; 6] = [
        "member-missing",
        "member-unknown",
        "member-type",
        "rule::missing_member",
        "rule::unknown_member",
        "rule::kind",
    ];
    // What a value must be, or that it must be there, because of another one.
    const BY_ANOTHER_MEMBER: [&str; 2] = ["not a value of this field", "`Id` is missing"];
    let (validators, readers) = (validators(), Readers::new());
    let (mut tried, mut refused) = (0, 0);
    let mut differences = Vec::new();
    for (kind, file, document) in good() {
        assert_eq!(readers.faults(kind, &document), [""; 0], "{file}");
        for spoilt in spoilt(&document) {
            let faults = readers.faults(kind, &spoilt);
            let taken = validators[kind].is_valid(&spoilt);
            let of_form = faults.iter().find(|it| {
                OF_FORM.iter().any(|code| it.starts_with(code))
                    && !BY_ANOTHER_MEMBER.iter().any(|part| it.contains(part))
            });
            if !taken && faults.is_empty() {
                differences.push(format!("{file}: the schema refuses {spoilt}"));
            }
            if taken && of_form.is_some() {
                differences.push(format!(
                    "{file}: {of_form:?}, but the schema takes {spoilt}"
                ));
            }
            tried += 1;
            refused += usize::from(!taken);
        }
    }
    assert!(
        differences.is_empty(),
        "{} differ: {}",
        differences.len(),
        differences.join("\n")
    );
    // Most of what is spoilt is: this says that the comparison compared something.
    assert!(
        10_000 < tried && tried / 2 < refused,
        "{refused} of {tried} refused"
    );
}
