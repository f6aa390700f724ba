//! A whole set of documents: what they say of each other, and how they are found.

use super::catalogue::{Entry, Pair};
use super::fault::{Code, Fault};
use super::monitor::Monitor;
use super::profile::{Destination, Profile};
use super::trigger::{Action, Trigger};
use crate::condition::Conditions;
use crate::reference::PLATFORM;
use rule_engine::words::did_you_mean;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Which kind of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Kind {
    Entry,
    Trigger,
    Monitor,
    Profile,
    Destination,
}

/// Documents that were read one by one.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Set {
    pub entries: Vec<Entry>,
    pub triggers: Vec<Trigger>,
    pub monitors: Vec<Monitor>,
    pub profiles: Vec<Profile>,
    pub destinations: Vec<Destination>,
}

/// A fault of one document of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetFault {
    /// Its kind.
    pub kind: Kind,
    /// Its place in the set's list of that kind.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// What is wrong; the span is for [`super::span_of`] to find.
    pub fault: Fault,
}

/// Relations that are known in both directions.
#[derive(Debug, Clone, Default)]
pub struct Pairs(BTreeMap<String, String>);

impl Pairs {
    /// What a relation is called from its other end.
    #[must_use]
    pub fn inverse(&self, relation: &str) -> Option<&str> {
        self.0.get(relation).map(String::as_str)
    }

    fn add(&mut self, relation: &str, inverse: &str) {
        self.0.insert(relation.to_owned(), inverse.to_owned());
        self.0.insert(inverse.to_owned(), relation.to_owned());
    }
}

/// Where triggers apply: the enabled ones of an event type on a bus that name one scope.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its number among all places.
    pub number: u32,
    /// In order, at least one.
    pub triggers: Vec<Placed>,
}

/// A trigger at a place.
#[derive(Debug, Clone)]
pub struct Placed {
    /// The trigger.
    pub trigger: Arc<Trigger>,
    /// The number of its condition in [`Documents::conditions`].
    pub condition: u32,
}

/// Documents that hold together, ready to be asked. A clone shares all of them.
#[derive(Debug, Clone, Default)]
pub struct Documents {
    entries: BTreeMap<String, Arc<Entry>>,
    by_pair: HashMap<Pair, Arc<Entry>>,
    /// By event type, bus and scope.
    places: HashMap<(String, String, String), Place>,
    /// Those of all triggers.
    conditions: Conditions,
    monitors: BTreeMap<String, Arc<Monitor>>,
    profiles: BTreeMap<String, Arc<Profile>>,
    destinations: BTreeMap<String, Arc<Destination>>,
    pairs: Pairs,
    /// Who names an event type or a profile: names of triggers and monitors.
    users: BTreeMap<(Kind, String), BTreeSet<String>>,
}

impl Documents {
    /// Checks a set and makes it ready.
    ///
    /// # Errors
    /// Every fault between its documents, by kind and place in the set.
    pub fn new(set: Set) -> Result<Documents, Vec<SetFault>> {
        let faults = check(&set);
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut documents = Documents::default();
        for entry in set.entries {
            let entry = Arc::new(entry);
            for pair in &entry.matches {
                documents.by_pair.insert(pair.clone(), entry.clone());
            }
            for relate in entry.steps.iter().flat_map(|step| &step.relate) {
                documents.pairs.add(&relate.relation, &relate.inverse);
            }
            documents.entries.insert(entry.name.clone(), entry);
        }
        for trigger in set.triggers {
            documents.used(Kind::Entry, &trigger.event, &trigger.name);
            for action in &trigger.actions {
                if let Action::Notify { profiles } = action {
                    for profile in profiles {
                        documents.used(Kind::Profile, profile, &trigger.name);
                    }
                }
            }
            if !trigger.enabled {
                continue;
            }
            documents.place(trigger);
        }
        for place in documents.places.values_mut() {
            let order = |it: &Placed| (it.trigger.order, it.trigger.name.clone());
            place.triggers.sort_by_cached_key(order);
        }
        for monitor in set.monitors {
            documents.used(Kind::Entry, &monitor.event, &monitor.name);
            let name = monitor.name.clone();
            documents.monitors.insert(name, Arc::new(monitor));
        }
        for profile in set.profiles {
            let name = profile.name.clone();
            documents.profiles.insert(name, Arc::new(profile));
        }
        for destination in set.destinations {
            let name = destination.name.clone();
            documents.destinations.insert(name, Arc::new(destination));
        }
        Ok(documents)
    }

    fn used(&mut self, kind: Kind, name: &str, by: &str) {
        let users = self.users.entry((kind, name.to_owned())).or_default();
        users.insert(by.to_owned());
    }

    fn place(&mut self, trigger: Trigger) {
        let trigger = Arc::new(trigger);
        let key = |scope: &String| (trigger.event.clone(), trigger.bus.clone(), scope.clone());
        let mut numbers = Vec::with_capacity(trigger.scopes.len());
        for scope in &trigger.scopes {
            let number = u32::try_from(self.places.len()).expect("memory ends before numbers");
            let place = self.places.entry(key(scope)).or_insert_with(|| Place {
                number,
                triggers: Vec::new(),
            });
            numbers.push(place.number);
        }
        let placed = Placed {
            condition: self.conditions.add(&trigger.pattern, &numbers),
            trigger: trigger.clone(),
        };
        for scope in &trigger.scopes {
            if let Some(place) = self.places.get_mut(&key(scope)) {
                place.triggers.push(placed.clone());
            }
        }
    }

    /// The event type that covers these envelopes.
    #[must_use]
    pub fn covering(&self, source: &str, detail_type: &str) -> Option<&Arc<Entry>> {
        self.by_pair.get(&Pair {
            source: source.to_owned(),
            detail_type: detail_type.to_owned(),
        })
    }

    /// An event type by name.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<&Arc<Entry>> {
        self.entries.get(name)
    }

    /// Where an event type has triggers on a bus that name this scope; `None`: there are none.
    #[must_use]
    pub fn triggers(&self, event: &str, bus: &str, scope: &str) -> Option<&Place> {
        let key = (event.to_owned(), bus.to_owned(), scope.to_owned());
        self.places.get(&key)
    }

    /// The conditions of all enabled triggers, tried at the numbers of their places.
    #[must_use]
    pub fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// A monitor by name.
    #[must_use]
    pub fn monitor(&self, name: &str) -> Option<&Arc<Monitor>> {
        self.monitors.get(name)
    }

    /// All monitors, by name.
    pub fn monitors(&self) -> impl Iterator<Item = &Arc<Monitor>> {
        self.monitors.values()
    }

    /// All profiles, by name. Which version of one is in force is the state's to say.
    pub fn profiles(&self) -> impl Iterator<Item = &Arc<Profile>> {
        self.profiles.values()
    }

    /// A destination by name.
    #[must_use]
    pub fn destination(&self, name: &str) -> Option<&Arc<Destination>> {
        self.destinations.get(name)
    }

    /// The relations that are known in both directions.
    #[must_use]
    pub fn pairs(&self) -> &Pairs {
        &self.pairs
    }

    /// Whether an event type or a profile may be deleted.
    ///
    /// # Errors
    /// `in-use`, with the names of the triggers and monitors that name it.
    pub fn deletable(&self, kind: Kind, name: &str) -> Result<(), Fault> {
        let Some(users) = self.users.get(&(kind, name.to_owned())) else {
            return Ok(());
        };
        let users: Vec<&str> = users.iter().map(String::as_str).collect();
        Err(Fault {
            code: Code::InUse,
            at: String::new(),
            span: None,
            message: format!("`{name}` is named by {}", users.join(", ")),
            help: "change or delete those first".into(),
        })
    }
}

/// Every fault between the documents of a set.
fn check(set: &Set) -> Vec<SetFault> {
    let mut check = Check { faults: Vec::new() };
    let mut entries: BTreeMap<&str, &Entry> = BTreeMap::new();
    let mut pairs: HashMap<&Pair, &Entry> = HashMap::new();
    for (index, entry) in set.entries.iter().enumerate() {
        let mut fault = check.of(Kind::Entry, index, &entry.name);
        if entries.insert(&entry.name, entry).is_some() {
            fault(
                Code::NameMalformed,
                "/Name",
                "a second event type of this name".into(),
                RENAME.into(),
            );
        }
        for (n, pair) in entry.matches.iter().enumerate() {
            if let Some(first) = pairs.insert(pair, entry)
                && !std::ptr::eq(first, entry)
            {
                let message = format!("`{}` covers this pair already", first.name);
                let help = "a pair belongs to one event type: take one of them away".into();
                fault(Code::DuplicatePair, &format!("/Match/{n}"), message, help);
            }
        }
    }
    let mut profiles: BTreeSet<&str> = BTreeSet::new();
    for (index, profile) in set.profiles.iter().enumerate() {
        if !profiles.insert(&profile.name) {
            let mut fault = check.of(Kind::Profile, index, &profile.name);
            fault(
                Code::NameMalformed,
                "/Name",
                "a second profile of this name".into(),
                RENAME.into(),
            );
        }
    }
    let mut destinations: BTreeSet<&str> = BTreeSet::new();
    for (index, destination) in set.destinations.iter().enumerate() {
        if !destinations.insert(&destination.name) {
            let mut fault = check.of(Kind::Destination, index, &destination.name);
            fault(
                Code::NameMalformed,
                "/Name",
                "a second destination of this name".into(),
                RENAME.into(),
            );
        }
    }
    for (index, trigger) in set.triggers.iter().enumerate() {
        let mut fault = check.of(Kind::Trigger, index, &trigger.name);
        let entry = entries.get(trigger.event.as_str());
        if entry.is_none() {
            let message = format!("no event type `{}`", trigger.event);
            let help = meant(&trigger.event, &names_of(&entries));
            fault(Code::UnknownEvent, "/Trigger/Event", message, help);
        }
        for (n, scope) in trigger.scopes.iter().enumerate() {
            let kind = scope.split('/').next().unwrap_or_default();
            let allowed = |entry: &&Entry| entry.scopes.iter().any(|it| it.kind == kind);
            if scope != PLATFORM && entry.is_some_and(|entry| !allowed(entry)) {
                let message = format!(
                    "events of type `{}` have no scope of type `{kind}`",
                    trigger.event
                );
                let known = entry.iter().flat_map(|it| &it.scopes);
                let mut known: Vec<&str> = known.map(|it| it.kind.as_str()).collect();
                known.push(PLATFORM);
                let help = format!("it has {}", known.join(", "));
                let at = format!("/Trigger/Scopes/{n}");
                fault(Code::ScopeNotAllowed, &at, message, help);
            }
        }
        for (n, action) in trigger.actions.iter().enumerate() {
            match action {
                Action::SetField { field, .. } => {
                    let covered = |entry: &&Entry| entry.settable.iter().any(|it| it.covers(field));
                    if entry.is_some_and(|entry| !covered(entry)) {
                        let message = format!("`{}` does not let `{field}` be set", trigger.event);
                        let help = "add it to the `Settable` of the event type".into();
                        let at = format!("/Actions/{n}/Field");
                        fault(Code::FieldNotSettable, &at, message, help);
                    }
                }
                Action::Notify { profiles: named } => {
                    for (m, name) in named.iter().enumerate() {
                        if !profiles.contains(name.as_str()) {
                            let at = format!("/Actions/{n}/Profiles/{m}");
                            let known: Vec<&str> = profiles.iter().copied().collect();
                            let help = meant(name, &known);
                            let message = format!("no profile `{name}`");
                            fault(Code::UnknownProfile, &at, message, help);
                        }
                    }
                }
            }
        }
    }
    let mut monitors: BTreeSet<&str> = BTreeSet::new();
    for (index, monitor) in set.monitors.iter().enumerate() {
        let mut fault = check.of(Kind::Monitor, index, &monitor.name);
        if !monitors.insert(&monitor.name) {
            fault(
                Code::NameMalformed,
                "/Name",
                "a second monitor of this name".into(),
                RENAME.into(),
            );
        }
        let Some(entry) = entries.get(monitor.event.as_str()) else {
            fault(
                Code::UnknownEvent,
                "/Event",
                format!("no event type `{}`", monitor.event),
                meant(&monitor.event, &names_of(&entries)),
            );
            continue;
        };
        if !entry.monitoring {
            let message = format!("`{}` is no monitoring event", entry.name);
            let help = "make it `\"Monitoring\": true` in the catalogue".into();
            fault(Code::EventNotMonitoring, "/Event", message, help);
        }
        if entry.resource.kind != monitor.resource {
            let message = format!("`{}` is about `{}`", entry.name, entry.resource.kind);
            let help = format!("write `{}`", entry.resource.kind);
            fault(Code::ResourceMismatch, "/Resource", message, help);
        }
        let pair = monitor.emits(entry);
        if pair.source.starts_with("aws.") {
            let message = format!("the source `{}` is reserved", pair.source);
            let help =
                "write a `Source` that does not begin with `aws.`, and add it to the event type"
                    .into();
            fault(Code::SourceReserved, "/Emit", message, help);
        }
        if !entry.matches.contains(&pair) {
            let message = format!("`{}` does not cover this pair", entry.name);
            let help = format!(
                "leave `Source` and `DetailType` out, or add them to the `Match` of `{}`",
                entry.name
            );
            fault(Code::EmitNotInMatch, "/Emit", message, help);
        }
    }
    check.faults.sort_by_key(|fault| (fault.kind, fault.index));
    check.faults
}

const RENAME: &str = "a name is one of a kind: rename one of them";

/// The name that was probably meant.
fn meant(name: &str, known: &[&str]) -> String {
    match known.is_empty() {
        true => "these files have none: check the whole directory, or write it".into(),
        false => did_you_mean(name, known),
    }
}

fn names_of<'e>(entries: &BTreeMap<&'e str, &'e Entry>) -> Vec<&'e str> {
    entries.keys().copied().collect()
}

struct Check {
    faults: Vec<SetFault>,
}

impl Check {
    /// What notes faults of one document.
    fn of<'c>(
        &'c mut self,
        kind: Kind,
        index: usize,
        name: &'c str,
    ) -> impl FnMut(Code, &str, String, String) + 'c {
        move |code, at, message, help| {
            self.faults.push(SetFault {
                kind,
                index,
                name: name.to_owned(),
                fault: Fault {
                    code,
                    at: at.to_owned(),
                    span: None,
                    message,
                    help,
                },
            });
        }
    }
}

impl Monitor {
    /// Source and detail type of its events.
    #[must_use]
    pub fn emits(&self, entry: &Entry) -> Pair {
        let first = &entry.matches[0];
        Pair {
            source: self.source.clone().unwrap_or_else(|| first.source.clone()),
            detail_type: self
                .detail_type
                .clone()
                .unwrap_or_else(|| first.detail_type.clone()),
        }
    }
}
