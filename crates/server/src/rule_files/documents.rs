//! The folders beside `rules`: what decisions about events go by, checked as one set with the triggers.
//!
//! Events of catalogued types fire by rules that are made here: a pattern over the catalogue's pairs, whose target
//! is the bus itself. Channels of notification profiles are targets of rules without a pattern, on a bus that
//! nobody reaches; so retries, dead letters and the egress guard are those of any target.

use super::read::Read;
use super::{Context, Source, about};
use crate::annex::Text;
use crate::diagnostic::{Diagnostic, Severity, did_you_mean};
use bus_core::document::{
    Kind as TargetKind, Origin, Rule, RuleState, Target, Webhook, internal_arn,
};
use bus_core::name::{Arn, BusName, QueueName, RuleName, TargetId};
use lifecycle::documents::{
    Channel, Code, Documents, Entry, Fault, Kind, Monitor, Profile, Set, Trigger, span_of,
};
use rule_engine::pattern::{COMPLEXITY_MAX, Options};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// The folders that are read.
pub const FOLDERS: [&str; 3] = ["catalogue", "monitors", "notification-profiles"];
/// The folder whose files say what `api-destination/NAME` means.
pub const DESTINATIONS: &str = "destinations";
/// The folder of triggers, and of ordinary rules.
pub const TRIGGERS: &str = "rules";
/// Name of the rules that events fire by.
const FIRING: &str = "busbar.lifecycle";
/// Sources that one such rule lists.
const SOURCES_MAX: usize = 64;

/// Documents that hold together, and what they need of the bus.
#[derive(Debug, Default)]
pub struct Ready {
    /// Ready to be asked.
    pub documents: Documents,
    /// As they are written.
    pub texts: Vec<Text>,
    /// Rules that carry firings and notifications.
    pub internal: Vec<Rule>,
    /// Queues that channels name.
    pub queues: BTreeSet<QueueName>,
}

/// Documents while they are read.
#[derive(Debug, Default)]
pub struct Reading {
    set: Set,
    places: BTreeMap<(Kind, usize), (Source, Range<usize>)>,
    texts: Vec<Text>,
    faults: Vec<Diagnostic>,
}

impl Reading {
    /// Reads a document of a folder.
    pub fn add(&mut self, mut text: Text) {
        let source = Source {
            file: text.file.clone(),
            text: super::read::redacted(&text.text).into(),
        };
        let place = 0..text.text.len();
        match read(&mut self.set, &text.folder, &text.text) {
            Ok((kind, index)) => {
                text.name = match kind {
                    Kind::Entry => self.set.entries[index].name.clone(),
                    Kind::Monitor => self.set.monitors[index].name.clone(),
                    _ => self.set.profiles[index].name.clone(),
                };
                self.places.insert((kind, index), (source, place));
            }
            Err(faults) => {
                let told = faults.into_iter().map(|it| diagnostic(&source, &place, it));
                self.faults.extend(told);
            }
        }
        self.texts.push(text);
    }

    /// Keeps the text of a document that is read elsewhere.
    pub fn keep(&mut self, text: Text) {
        self.texts.push(text);
    }

    /// Takes the triggers of a file of rules.
    pub fn add_triggers(&mut self, read: &Read, file: &Text) {
        for (trigger, source, place) in &read.triggers {
            let index = self.set.triggers.len();
            let at = (source.clone(), place.clone());
            self.places.insert((Kind::Trigger, index), at);
            self.set.triggers.push(trigger.clone());
            self.texts.push(Text {
                folder: TRIGGERS.to_owned(),
                name: format!("{}/{}", trigger.bus, trigger.name),
                text: file.text[place.clone()].to_owned(),
                file: file.file.clone(),
                by_api: file.by_api,
            });
        }
    }

    /// Checks what documents say of each other and of the bus.
    ///
    /// # Errors
    /// Every fault, as its author sees it.
    pub fn ready(
        mut self,
        context: &Context,
        destinations: &BTreeMap<String, Webhook>,
    ) -> Result<Ready, Vec<Diagnostic>> {
        if !self.faults.is_empty() {
            return Err(self.faults);
        }
        let mut ready = Ready {
            texts: std::mem::take(&mut self.texts),
            internal: firing_rules(&self.set, context),
            ..Ready::default()
        };
        ready
            .internal
            .extend(destinations_rule(destinations, context));
        for (index, profile) in self.set.profiles.iter().enumerate() {
            match profile_rule(profile, destinations, context, &mut ready.queues) {
                Ok(rule) => ready.internal.extend(rule),
                Err(fault) => {
                    let fault = self.told(Kind::Profile, index, fault);
                    self.faults.push(fault);
                }
            }
        }
        let set = std::mem::take(&mut self.set);
        match Documents::new(set) {
            Ok(documents) => ready.documents = documents,
            Err(faults) => {
                let told = faults
                    .into_iter()
                    .map(|it| self.told(it.kind, it.index, it.fault));
                let told: Vec<Diagnostic> = told.collect();
                self.faults.extend(told);
            }
        }
        match self.faults.is_empty() {
            true => Ok(ready),
            false => Err(self.faults),
        }
    }

    /// A fault of a document of the set, at its place.
    fn told(&self, kind: Kind, index: usize, mut fault: Fault) -> Diagnostic {
        let (source, place) = &self.places[&(kind, index)];
        fault.span = fault
            .span
            .or_else(|| span_of(&source.text[place.clone()], &fault.at));
        diagnostic(source, place, fault)
    }
}

/// Documents of the journal, read again.
///
/// # Errors
/// Their faults: a later version wrote them, or an earlier one took what this one does not.
pub fn again(texts: &[Text]) -> Result<Documents, Vec<Diagnostic>> {
    let mut set = Set::default();
    for text in texts.iter().filter(|it| it.folder != DESTINATIONS) {
        let fault = |fault: &Fault| {
            let message = format!("{} {}", fault.at, fault.message);
            about(Path::new(&text.file), fault.code.as_str(), message)
        };
        read(&mut set, &text.folder, &text.text)
            .map_err(|faults| faults.iter().map(fault).collect::<Vec<_>>())?;
    }
    Documents::new(set).map_err(|faults| {
        let told = faults.iter().map(|it| {
            let message = format!("{} {}", it.fault.at, it.fault.message);
            about(Path::new(&it.name), it.fault.code.as_str(), message)
        });
        told.collect()
    })
}

/// Reads a document into the set, and says which it is there.
fn read(set: &mut Set, folder: &str, text: &str) -> Result<(Kind, usize), Vec<Fault>> {
    let options = Options {
        complexity_limit: Some(COMPLEXITY_MAX),
    };
    Ok(match folder {
        "catalogue" => {
            set.entries.push(Entry::read(text, &options)?);
            (Kind::Entry, set.entries.len() - 1)
        }
        "monitors" => {
            set.monitors.push(Monitor::read(text, &options)?);
            (Kind::Monitor, set.monitors.len() - 1)
        }
        "notification-profiles" => {
            set.profiles.push(Profile::read(text, &options)?);
            (Kind::Profile, set.profiles.len() - 1)
        }
        _ => {
            set.triggers.extend(Trigger::read(text, &options)?);
            (Kind::Trigger, set.triggers.len().saturating_sub(1))
        }
    })
}

fn diagnostic(source: &Source, place: &Range<usize>, fault: Fault) -> Diagnostic {
    let at = fault.span.unwrap_or(0..1);
    Diagnostic {
        code: fault.code.as_str(),
        severity: Severity::Error,
        file: source.file.clone(),
        text: source.text.clone(),
        span: place.start + at.start..place.start + at.end,
        message: match fault.at.as_str() {
            "" => fault.message,
            at => format!("{at}: {}", fault.message),
        },
        help: Some(fault.help),
    }
}

fn rule(name: RuleName, bus: BusName, file: String) -> Rule {
    Rule {
        name,
        bus,
        description: None,
        pattern: None,
        schedule: None,
        state: RuleState::Enabled,
        role_arn: None,
        origin: Origin::Document(file),
        targets: BTreeMap::new(),
    }
}

/// The rules that events fire by: on the default bus and on those that triggers and monitors name.
fn firing_rules(set: &Set, context: &Context) -> Vec<Rule> {
    let mut by_source: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for pair in set.entries.iter().flat_map(|entry| &entry.matches) {
        let types = by_source.entry(&pair.source).or_default();
        types.insert(&pair.detail_type);
    }
    let mut buses = BTreeSet::from([BusName::default_bus()]);
    let named = set.triggers.iter().map(|it| &it.bus);
    let named = named.chain(set.monitors.iter().map(|it| &it.bus));
    buses.extend(named.filter_map(|bus| BusName::parse(bus).ok()));
    let patterns: Vec<Value> = by_source
        .iter()
        .map(|(source, types)| json!({"source": [source], "detail-type": types}))
        .collect();
    let target = TargetId::parse("lifecycle").expect("a name");
    let target = Arc::new(Target::new(target, internal_arn(&context.home)));
    let mut rules = Vec::new();
    for bus in buses {
        for (n, some) in patterns.chunks(SOURCES_MAX).enumerate() {
            let name = match n {
                0 => FIRING.to_owned(),
                n => format!("{FIRING}.{n}"),
            };
            let name = RuleName::parse(&name).expect("a name");
            let pattern = match some {
                [one] => one.clone(),
                several => json!({ "$or": several }),
            };
            rules.push(Rule {
                description: Some("Events of catalogued types fire.".into()),
                pattern: Some(pattern.to_string()),
                targets: BTreeMap::from([(target.id.clone(), target.clone())]),
                ..rule(name, bus.clone(), "catalogue".into())
            });
        }
    }
    rules
}

/// The rule that keeps the destinations; none without destinations.
fn destinations_rule(destinations: &BTreeMap<String, Webhook>, context: &Context) -> Option<Rule> {
    let target = |(name, webhook): (&String, &Webhook)| {
        let id = TargetId::parse(name).expect("names of destinations are ids of targets");
        let arn = context.home.destination_arn(name);
        let mut target = Target::new(id.clone(), arn);
        target.webhook = Some(webhook.clone());
        (id, Arc::new(target))
    };
    let targets: BTreeMap<_, _> = destinations.iter().map(target).collect();
    let name = bus_core::document::destinations_rule();
    (!targets.is_empty()).then(|| Rule {
        targets,
        ..rule(name, BusName::internal(), "destinations".into())
    })
}

/// The rule whose targets are the channels of a profile; none without channels.
fn profile_rule(
    profile: &Profile,
    destinations: &BTreeMap<String, Webhook>,
    context: &Context,
    queues: &mut BTreeSet<QueueName>,
) -> Result<Option<Rule>, Fault> {
    let name = RuleName::parse(&profile.name).expect("names of 4.1 are names of rules");
    if name == bus_core::document::destinations_rule() {
        return Err(Fault {
            code: Code::NameMalformed,
            at: "/Name".into(),
            span: None,
            message: format!("the name `{name}` is the bus's own"),
            help: "take another name".into(),
        });
    }
    let mut targets = BTreeMap::new();
    for (index, channel) in profile.channels.iter().enumerate() {
        let target = channel_target(channel, destinations, context);
        let target = target.map_err(|(member, message, help)| Fault {
            code: Code::MemberType,
            at: format!("/Channels/{index}{member}"),
            span: None,
            message,
            help,
        })?;
        if let TargetKind::Queue(queue) = TargetKind::of(&target.arn, &context.home) {
            queues.insert(queue);
        }
        targets.insert(target.id.clone(), Arc::new(target));
    }
    let file = format!("notification-profiles/{}", profile.name);
    Ok((!targets.is_empty()).then(|| Rule {
        targets,
        ..rule(name, BusName::internal(), file)
    }))
}

/// A channel as a target; else the member at fault, what is wrong, and what to try.
fn channel_target(
    channel: &Channel,
    destinations: &BTreeMap<String, Webhook>,
    context: &Context,
) -> Result<Target, (&'static str, String, String)> {
    let members: Map<String, Value> = channel.target.clone();
    let target: Target = serde_json::from_value(Value::Object(members)).map_err(|e| {
        let help = "a channel has the members of a target, and `Contact`";
        ("", e.to_string(), help.into())
    })?;
    crate::shapers::compile(&target, context.placeholders).map_err(|e| {
        let help = e.help().unwrap_or("it is shaped as a target is");
        ("", e.to_string(), help.into())
    })?;
    let home = &context.home;
    let refused = |message: String, help| Err(("/Arn", message, help));
    match TargetKind::of(&target.arn, home) {
        TargetKind::Queue(_) | TargetKind::Log(_) => Ok(target),
        TargetKind::Destination(name) if destinations.contains_key(&name) => Ok(target),
        TargetKind::Destination(name) => {
            let known: Vec<&str> = destinations.keys().map(String::as_str).collect();
            let help = match known.is_empty() {
                true => format!("write it as destinations/{name}.json"),
                false => did_you_mean(&name, &known),
            };
            refused(format!("there is no destination `{name}`"), help)
        }
        _ => match Arn::parse(&target.arn) {
            Some(arn) if !home.owns(&arn) => {
                let (account, region) = (&home.account, &home.region);
                let message = format!("this server is {account} in {region}");
                let (account, region) = (arn.account, arn.region);
                let help = format!("change the ARN, or use --account {account} --region {region}");
                refused(message, help)
            }
            _ => {
                let help = format!("such as {}", home.destination_arn("mail"));
                let message = "a channel leads to a destination, a queue or a log";
                refused(message.into(), help)
            }
        },
    }
}
