//! The operators' documents of `fixtures/certificate-lifecycle/`, for the tests of this crate.

use lifecycle::documents::{Destination, Entry, Monitor, Profile, Set, Trigger};
use rule_engine::pattern::Options;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The folder of the fixtures.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/certificate-lifecycle")
}

/// The documents of one folder: file name and text, by name.
pub fn texts(folder: &str) -> Vec<(String, String)> {
    let folder = fixtures().join(folder);
    let mut found: Vec<(String, String)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

/// The operator documents as JSON, so that a test may change some: catalogue, rules, monitors,
/// profiles, destinations.
pub struct Operator {
    pub catalogue: Vec<Value>,
    pub rules: Vec<Value>,
    pub monitors: Vec<Value>,
    pub profiles: Vec<Value>,
    pub destinations: Vec<Value>,
}

impl Operator {
    pub fn read() -> Operator {
        let read = |folder: &str| {
            let texts = texts(&format!("operator/{folder}"));
            let values = texts
                .iter()
                .map(|(_, text)| serde_json::from_str(text).unwrap());
            values.collect::<Vec<Value>>()
        };
        Operator {
            catalogue: read("catalogue"),
            rules: read("rules"),
            monitors: read("monitors"),
            profiles: read("notification-profiles"),
            destinations: read("destinations"),
        }
    }

    pub fn set(&self) -> Set {
        let options = Options::default();
        let mut set = Set::default();
        for value in &self.catalogue {
            set.entries
                .push(Entry::read(&value.to_string(), &options).unwrap());
        }
        for value in &self.rules {
            let read = Trigger::read(&value.to_string(), &options).unwrap();
            set.triggers.extend(read);
        }
        for value in &self.monitors {
            set.monitors
                .push(Monitor::read(&value.to_string(), &options).unwrap());
        }
        for value in &self.profiles {
            set.profiles
                .push(Profile::read(&value.to_string(), &options).unwrap());
        }
        for value in &self.destinations {
            set.destinations
                .push(Destination::read(&value.to_string(), &options).unwrap());
        }
        set
    }
}
