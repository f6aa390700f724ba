//! Changes of documents: what is refused, and what records they make.
//!
//! The doors check form and bounds; here stands what depends on the state. Nothing is stored of a call that
//! is refused, and a set of files is loaded whole or not at all.

use super::{Answer, Append, Core, RequestNumber};
use crate::document::{Bus, Change, Kind, Origin, Queue, Rule, RuleState, Target, same_attribute};
use crate::limits::{DOCUMENTS_BYTES_MAX, QUEUE_NAME_TAKEN_MS, QUEUES_MAX};
use crate::name::{BusName, QueueName, RuleName, TargetId};
use crate::record::Record;
use crate::state::Now;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A change of documents that somebody asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Control {
    /// Makes a bus.
    CreateBus(Bus),
    /// Takes a bus away.
    DeleteBus(BusName),
    /// Makes a rule or replaces all of it but its targets; `targets` is not looked at.
    PutRule(Rule),
    /// Takes a rule away.
    DeleteRule(BusName, RuleName),
    /// Turns a rule on or off.
    SetRuleState(BusName, RuleName, RuleState),
    /// Makes or replaces targets by id.
    PutTargets(BusName, RuleName, Vec<Target>),
    /// Takes targets away by id.
    RemoveTargets(BusName, RuleName, Vec<TargetId>),
    /// Makes all rules of files what these are, and the queues that they name.
    LoadFiles(Vec<Rule>, Vec<QueueName>),
    /// Makes a queue.
    CreateQueue(Queue),
    /// Changes attributes of a queue; an empty value removes.
    SetQueueAttributes(QueueName, BTreeMap<String, String>),
    /// Takes a queue away.
    DeleteQueue(QueueName),
    /// Takes all messages of a queue away.
    PurgeQueue(QueueName),
}

/// Why nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such bus.
    #[error("bus `{0}` does not exist")]
    NoBus(String),
    /// The name is taken.
    #[error("bus `{0}` exists already")]
    BusExists(String),
    /// The default bus stays.
    #[error("the default bus cannot be deleted")]
    BusIsDefault,
    /// A bus with rules stays.
    #[error("the bus has rules")]
    BusHasRules,
    /// No such rule.
    #[error("rule `{0}` does not exist on bus `{1}`")]
    NoRule(String, String),
    /// A rule with targets stays.
    #[error("the rule has targets")]
    RuleHasTargets,
    /// A file's rule; named as `rules/FILE.json`.
    #[error("rule `{rule}` comes from {file}")]
    Managed {
        /// The rule.
        rule: String,
        /// The file.
        file: String,
    },
    /// A file's rule has the name of one made by the API.
    #[error(
        "rule `{rule}` on bus `{bus}` exists already: it was made by the API; delete it there or rename the one in {file}"
    )]
    RuleOfApi {
        /// The rule.
        rule: String,
        /// Its bus.
        bus: String,
        /// The file.
        file: String,
    },
    /// A bound is reached.
    #[error("the bound of this kind of resource is reached")]
    Limit,
    /// No such queue.
    #[error("the queue does not exist")]
    NoQueue,
    /// A queue of the name has another value for this attribute.
    #[error("the queue exists with another value of {0}")]
    QueueDiffers(String),
    /// A queue of this name was deleted less than a minute ago, and the operator wants that told.
    #[error("the queue was deleted less than a minute ago")]
    QueueDeletedRecently,
    /// The queue's redrive policy names none of ours.
    #[error("the dead-letter queue does not exist")]
    NoDeadLetterQueue(String),
    /// The dead-letter queue's own policy says no.
    #[error("the dead-letter queue does not allow this source")]
    DeadLetterQueueDenies(String),
    /// Purged less than a minute ago.
    #[error("a purge is in progress")]
    PurgeInProgress,
    /// Too many messages.
    #[error("the queue is full")]
    QueueFull,
    /// Too many messages in flight.
    #[error("too many messages in flight")]
    TooManyInFlight,
    /// Too many receives wait.
    #[error("too many receives wait")]
    TooManyWaiters,
    /// The journal has no room.
    #[error("the journal has no room")]
    Full,
}

/// Why one target of a call was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetRefusal {
    /// The webhook or destination that it names does not exist.
    NoWebhook,
}

impl Core {
    pub(super) fn control(
        &mut self,
        now: Now,
        request: RequestNumber,
        control: Control,
        journal: &mut dyn Append,
    ) {
        let deleted = match &control {
            Control::DeleteQueue(name) if self.settings.queue_deleted_recently => {
                Some(name.clone())
            }
            _ => None,
        };
        let answer = match self.decide(now, control) {
            Err(refusal) => Answer::Refused(refusal),
            Ok(Decision {
                records,
                answer,
                dismissed,
            }) => {
                let records: Vec<_> = records.into_iter().map(|record| (None, record)).collect();
                match self.record(now, &records, false, journal) {
                    Ok(_) => {
                        dismissed
                            .into_iter()
                            .for_each(|queue| self.dismiss_waiters(queue));
                        let until = now.running_ms + QUEUE_NAME_TAKEN_MS;
                        self.deleted_queues
                            .extend(deleted.map(|name| (name, until)));
                        answer
                    }
                    Err(_) => Answer::Refused(Refusal::Full),
                }
            }
        };
        self.answer(request, answer);
    }

    fn decide(&self, now: Now, control: Control) -> Result<Decision, Refusal> {
        match control {
            Control::CreateBus(bus) => {
                if self.state.rules(bus.name.as_str()).is_some() {
                    return Err(Refusal::BusExists(bus.name.into()));
                }
                if self.settings.quotas.buses <= self.state.buses().len() {
                    return Err(Refusal::Limit);
                }
                Ok(change(Change::PutBus(bus)))
            }
            Control::DeleteBus(name) => {
                if name == BusName::default_bus() {
                    return Err(Refusal::BusIsDefault);
                }
                match self.bus_rules(&name) {
                    Err(_) => Ok(nothing()),
                    Ok(rules) if !rules.is_empty() => Err(Refusal::BusHasRules),
                    Ok(_) => Ok(change(Change::DeleteBus(name))),
                }
            }
            Control::PutRule(mut rule) => {
                let rules = self.bus_rules(&rule.bus)?;
                let old = rules.get(&rule.name).map(|old| &**old);
                rule.settle_schedule(old, now.wall_ms);
                match old {
                    Some(old) => {
                        managed(old)?;
                        rule.targets = old.targets.clone();
                    }
                    None => {
                        let by_api = rules.values().filter(|r| r.origin == Origin::Api).count();
                        if self.settings.quotas.rules <= by_api {
                            return Err(Refusal::Limit);
                        }
                        rule.targets = BTreeMap::new();
                    }
                }
                Ok(change(Change::PutRule(rule)))
            }
            Control::DeleteRule(bus, name) => {
                let Some(old) = self.bus_rules(&bus)?.get(&name) else {
                    return Ok(nothing());
                };
                managed(old)?;
                if !old.targets.is_empty() {
                    return Err(Refusal::RuleHasTargets);
                }
                Ok(change(Change::DeleteRule(bus, name)))
            }
            Control::SetRuleState(bus, name, state) => {
                let old = self.own_rule(&bus, &name)?;
                let mut rule = old.clone();
                if rule.state == state {
                    return Ok(nothing());
                }
                rule.state = state;
                rule.settle_schedule(Some(old), now.wall_ms);
                Ok(change(Change::PutRule(rule)))
            }
            Control::PutTargets(bus, name, targets) => {
                let mut rule = self.own_rule(&bus, &name)?.clone();
                let mut refused = Vec::new();
                for mut target in targets {
                    let kind = Kind::of(&target.arn, self.state.home());
                    if kind.is_outbound() && self.state.webhook(&kind).is_none() {
                        refused.push((target.id.into(), TargetRefusal::NoWebhook));
                        continue;
                    }
                    target.webhook = None;
                    rule.targets.insert(target.id.clone(), Arc::new(target));
                }
                if self.settings.quotas.targets < rule.targets.len() {
                    return Err(Refusal::Limit);
                }
                Ok(Decision {
                    answer: Answer::Targets(refused),
                    ..change(Change::PutRule(rule))
                })
            }
            Control::RemoveTargets(bus, name, ids) => {
                let mut rule = self.own_rule(&bus, &name)?.clone();
                for id in &ids {
                    rule.targets.remove(id);
                }
                Ok(change(Change::PutRule(rule)))
            }
            Control::LoadFiles(rules, queues) => self.load_files(now, rules, &queues),
            Control::CreateQueue(queue) => self.create_queue(now, queue),
            Control::SetQueueAttributes(name, attributes) => {
                let mut queue = self.queue_document(&name)?.clone();
                if attributes.is_empty() {
                    return Ok(nothing());
                }
                for (key, value) in attributes {
                    match value.as_str() {
                        "" => drop(queue.attributes.remove(&key)),
                        _ => drop(queue.attributes.insert(key, value)),
                    }
                }
                queue.modified_s = now.wall_ms.div_euclid(1000);
                self.check_redrive(&queue)?;
                Ok(change(Change::PutQueue(queue)))
            }
            Control::DeleteQueue(name) => {
                let number = self
                    .state
                    .queue(name.as_str())
                    .ok_or(Refusal::NoQueue)?
                    .number;
                Ok(Decision {
                    dismissed: vec![number],
                    ..change(Change::DeleteQueue(name))
                })
            }
            Control::PurgeQueue(name) => {
                let queue = self.state.queue(name.as_str()).ok_or(Refusal::NoQueue)?;
                let interval = self.settings.purge_interval_ms;
                if queue
                    .purged_running
                    .is_some_and(|at| now.running_ms < at + interval)
                {
                    return Err(Refusal::PurgeInProgress);
                }
                let purge = Record::Purge {
                    queue: queue.number,
                    at_ms: now.wall_ms,
                    up_to: self.appended,
                };
                Ok(Decision {
                    records: vec![purge],
                    answer: Answer::Done,
                    dismissed: Vec::new(),
                })
            }
        }
    }

    /// The rules of a bus that callers may name.
    fn bus_rules(
        &self,
        bus: &BusName,
    ) -> Result<&BTreeMap<RuleName, std::sync::Arc<Rule>>, Refusal> {
        if *bus == BusName::internal() {
            return Err(Refusal::NoBus(bus.as_str().into()));
        }
        self.all_rules(bus)
    }

    fn all_rules(
        &self,
        bus: &BusName,
    ) -> Result<&BTreeMap<RuleName, std::sync::Arc<Rule>>, Refusal> {
        self.state
            .rules(bus.as_str())
            .ok_or_else(|| Refusal::NoBus(bus.as_str().into()))
    }

    /// A rule that the API may change.
    fn own_rule(&self, bus: &BusName, name: &RuleName) -> Result<&Rule, Refusal> {
        let rule = self.bus_rules(bus)?.get(name);
        let rule =
            rule.ok_or_else(|| Refusal::NoRule(name.as_str().into(), bus.as_str().into()))?;
        managed(rule)?;
        Ok(rule)
    }

    fn queue_document(&self, name: &QueueName) -> Result<&Queue, Refusal> {
        self.state
            .queue(name.as_str())
            .map(|q| &q.document)
            .ok_or(Refusal::NoQueue)
    }

    fn create_queue(&self, now: Now, queue: Queue) -> Result<Decision, Refusal> {
        if let Ok(old) = self.queue_document(&queue.name) {
            let shown = |name: &str| {
                old.attributes
                    .get(name)
                    .map_or_else(|| default_attribute(name), String::as_str)
            };
            let differs = queue
                .attributes
                .iter()
                .find(|(name, value)| !same_attribute(name, shown(name), value));
            return match differs {
                Some((name, _)) => Err(Refusal::QueueDiffers(name.clone())),
                None => Ok(nothing()),
            };
        }
        let taken = self.deleted_queues.get(&queue.name);
        if taken.is_some_and(|until| now.running_ms < *until) {
            return Err(Refusal::QueueDeletedRecently);
        }
        if QUEUES_MAX <= self.state.queues.len() {
            return Err(Refusal::Limit);
        }
        self.check_redrive(&queue)?;
        let mut queue = queue;
        // What equals its default and is shown only when set is not stored. Source: sqs-api.md 2.2.
        queue.attributes.retain(|name, value| {
            !value.is_empty() && (name != "KmsDataKeyReusePeriodSeconds" || value != "300")
        });
        Ok(change(Change::PutQueue(queue)))
    }

    /// A redrive policy must name a queue of this server that lets itself be named.
    fn check_redrive(&self, queue: &Queue) -> Result<(), Refusal> {
        let Some(policy) = queue.attributes.get("RedrivePolicy") else {
            return Ok(());
        };
        let Some(redrive) = queue.redrive() else {
            return Ok(());
        };
        let arn = self.state.home().queue_arn(&redrive.queue);
        let target = self.state.queue(&redrive.queue).map(|q| &q.document);
        let itself = redrive.queue == queue.name.as_str();
        if !policy.contains(&arn) || (target.is_none() && !itself) {
            return Err(Refusal::NoDeadLetterQueue(policy.clone()));
        }
        let own = self.state.home().queue_arn(queue.name.as_str());
        if allows_source(target.unwrap_or(queue), &own) {
            Ok(())
        } else {
            Err(Refusal::DeadLetterQueueDenies(policy.clone()))
        }
    }

    fn load_files(
        &self,
        now: Now,
        rules: Vec<Rule>,
        queues: &[QueueName],
    ) -> Result<Decision, Refusal> {
        let mut changes = Vec::new();
        for name in queues {
            if self.state.queue(name.as_str()).is_none() {
                changes.push(Change::PutQueue(Queue::new(name.clone(), now.wall_ms)));
            }
        }
        let mut named = BTreeSet::new();
        for mut rule in rules {
            let old = self.all_rules(&rule.bus)?.get(&rule.name);
            rule.settle_schedule(old.map(|old| &**old), now.wall_ms);
            if old.is_some_and(|old| old.origin == Origin::Api) {
                let (Origin::File(file) | Origin::Document(file)) = rule.origin else {
                    unreachable!("files name themselves")
                };
                return Err(Refusal::RuleOfApi {
                    rule: rule.name.into(),
                    bus: rule.bus.into(),
                    file,
                });
            }
            named.insert((rule.bus.clone(), rule.name.clone()));
            if old.is_none_or(|old| **old != rule) {
                changes.push(Change::PutRule(rule));
            }
        }
        for bus in self.state.buses().keys().chain([&BusName::internal()]) {
            for rule in self.all_rules(bus)?.values() {
                let here = (rule.bus.clone(), rule.name.clone());
                if rule.origin != Origin::Api && !named.contains(&here) {
                    changes.push(Change::DeleteRule(here.0, here.1));
                }
            }
        }
        Ok(Decision {
            records: document_records(changes),
            answer: Answer::Done,
            dismissed: Vec::new(),
        })
    }
}

/// Whether a dead-letter queue's own policy lets it take messages of the queue of ARN `source`.
pub(super) fn allows_source(queue: &Queue, source: &str) -> bool {
    let Some(text) = queue.attributes.get("RedriveAllowPolicy") else {
        return true;
    };
    let allow: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    match allow["redrivePermission"].as_str() {
        Some("denyAll") => false,
        Some("byQueue") => allow["sourceQueueArns"]
            .as_array()
            .is_some_and(|arns| arns.iter().any(|arn| arn == source)),
        _ => true,
    }
}

struct Decision {
    records: Vec<Record<'static>>,
    answer: Answer,
    /// Queues whose waiting receives are to be told that it is gone.
    dismissed: Vec<u32>,
}

fn change(change: Change) -> Decision {
    Decision {
        records: document_records(vec![change]),
        answer: Answer::Done,
        dismissed: Vec::new(),
    }
}

fn nothing() -> Decision {
    Decision {
        records: Vec::new(),
        answer: Answer::Done,
        dismissed: Vec::new(),
    }
}

fn managed(rule: &Rule) -> Result<(), Refusal> {
    match &rule.origin {
        Origin::Api => Ok(()),
        Origin::File(file) | Origin::Document(file) => Err(Refusal::Managed {
            rule: rule.name.as_str().into(),
            file: file.clone(),
        }),
    }
}

/// Divides a set of changes into records of bounded size, of which the last one commits all.
fn document_records(changes: Vec<Change>) -> Vec<Record<'static>> {
    if changes.is_empty() {
        return Vec::new();
    }
    let mut groups = vec![Vec::new()];
    let mut bytes = 0;
    for change in changes {
        let size = serde_json::to_vec(&change)
            .expect("documents are plain values")
            .len();
        if DOCUMENTS_BYTES_MAX < bytes + size && bytes > 0 {
            groups.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        groups.last_mut().expect("there is one").push(change);
    }
    let last = groups.len() - 1;
    groups
        .into_iter()
        .enumerate()
        .map(|(n, changes)| Record::Documents {
            changes,
            last: n == last,
        })
        .collect()
}

fn default_attribute(name: &str) -> &'static str {
    match name {
        "VisibilityTimeout" => "30",
        "DelaySeconds" | "ReceiveMessageWaitTimeSeconds" => "0",
        "MaximumMessageSize" => "1048576",
        "MessageRetentionPeriod" => "345600",
        "SqsManagedSseEnabled" => "true",
        "KmsDataKeyReusePeriodSeconds" => "300",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_allows(policy: Option<&str>, expected: bool) {
        let mut queue = Queue::new(QueueName::parse("dead").unwrap(), 0);
        if let Some(policy) = policy {
            let policy = ("RedriveAllowPolicy".into(), policy.into());
            queue.attributes.extend([policy]);
        }
        assert_eq!(allows_source(&queue, "arn:a"), expected, "{policy:?}");
    }

    #[test]
    fn a_dead_letter_queue_says_whose_messages_it_takes() {
        check_allows(None, true);
        check_allows(Some(r#"{"redrivePermission":"allowAll"}"#), true);
        check_allows(Some(r#"{"redrivePermission":"denyAll"}"#), false);
        let by_queue = |arn| {
            format!(r#"{{"redrivePermission":"byQueue","sourceQueueArns":["arn:x","{arn}"]}}"#)
        };
        check_allows(Some(&by_queue("arn:a")), true);
        check_allows(Some(&by_queue("arn:b")), false);
    }
}
