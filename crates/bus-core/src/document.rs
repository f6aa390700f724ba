//! What operators configure: buses, rules with their targets, queues.
//!
//! A document is a value; its change is one journal record that holds the whole of it. Member names are
//! AWS's own, so that the API, rule files and the journal share one spelling. Checks that need a text
//! of AWS's are made at the doors; what the state relies on is parsed here.

use crate::limits::{AGE_SECONDS_MAX, RETRIES_DEFAULT};
use crate::name::{Arn, BusName, Home, LogName, QueueName, RuleName, TargetId};
use crate::retry::Policy;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A bus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bus {
    /// Its name.
    pub name: BusName,
    /// Text for people, at most 512 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Queue for what its rules' targets give up, where they name none of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter_arn: Option<String>,
    /// Members that are stored and shown, nothing else: `KmsKeyIdentifier`, `LogConfig`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub shown: Map<String, Value>,
    /// When it was made, epoch milliseconds.
    pub created_ms: i64,
    /// When it was changed, epoch milliseconds.
    pub modified_ms: i64,
}

/// Where a rule is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// By the API.
    Api,
    /// In a file, named as `rules/FILE.json`; read-only to the API.
    File(String),
    /// In an operator document that is no EventBridge rule, named the same way: the API knows nothing of it.
    Document(String),
}

/// Whether a rule is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RuleState {
    /// It is.
    #[serde(rename = "ENABLED")]
    Enabled,
    /// It is not; what it had matched goes on.
    #[serde(rename = "DISABLED")]
    Disabled,
    /// As `Enabled` here.
    #[serde(rename = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS")]
    EnabledWithCloudTrail,
}

impl RuleState {
    /// As AWS spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "ENABLED",
            Self::Disabled => "DISABLED",
            Self::EnabledWithCloudTrail => "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS",
        }
    }

    /// Reads AWS's spelling.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Enabled, Self::Disabled, Self::EnabledWithCloudTrail]
            .into_iter()
            .find(|s| s.as_str() == text)
    }
}

/// When a rule fires by the clock, and its place: what makes a tick happen once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// `rate(…)` or `cron(…)` as it was put. Checked at the doors.
    pub expression: String,
    /// What a rate counts from, epoch milliseconds.
    pub anchor_ms: i64,
    /// Ticks up to here never fire, epoch milliseconds: what has fired, and what lay before the anchor.
    pub done_ms: i64,
}

impl Schedule {
    /// A schedule that begins at this moment.
    #[must_use]
    pub fn new(expression: String, now_ms: i64) -> Self {
        Self {
            expression,
            anchor_ms: now_ms,
            done_ms: now_ms,
        }
    }
}

/// A tick of a rule's schedule that is to be stored with its event, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    /// The rule, on the default bus.
    pub rule: RuleName,
    /// The expression that it is a tick of.
    pub expression: String,
    /// When, epoch milliseconds.
    pub at_ms: i64,
}

/// A rule: a pattern, a schedule, or both, and the targets of what matches it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Its name, one of a kind on its bus.
    pub name: RuleName,
    /// The bus it listens on.
    pub bus: BusName,
    /// Text for people, at most 512 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The pattern as it was put, byte for byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// When it fires by the clock; on the default bus alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// On or off.
    pub state: RuleState,
    /// Stored and shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_arn: Option<String>,
    /// Who may change it.
    pub origin: Origin,
    /// By id.
    #[serde(default)]
    pub targets: BTreeMap<TargetId, Arc<Target>>,
}

impl Rule {
    /// Whether events are matched against it.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.state != RuleState::Disabled
    }

    /// Whether it is a rule as EventBridge has them, and not one that an operator document needs.
    #[must_use]
    pub fn is_ordinary(&self) -> bool {
        !matches!(self.origin, Origin::Document(_))
    }

    /// Gives the schedule its place: the one of `old` while that goes on, else this moment.
    ///
    /// A rate counts anew when its expression changes or the rule is turned on; what fired before the rule
    /// was turned on does not fire again. Source: eventbridge-api.md 9.3.
    pub fn settle_schedule(&mut self, old: Option<&Self>, now_ms: i64) {
        let is_on = self.is_on();
        let Some(schedule) = &mut self.schedule else {
            return;
        };
        let before = old.and_then(|old| Some((old.is_on(), old.schedule.as_ref()?)));
        let expression = std::mem::take(&mut schedule.expression);
        *schedule = match before.filter(|(_, before)| before.expression == expression) {
            Some((was_on, before)) if was_on || !is_on => before.clone(),
            Some((_, before)) => Schedule {
                done_ms: before.done_ms.max(now_ms),
                ..Schedule::new(expression, now_ms)
            },
            None => Schedule::new(expression, now_ms),
        };
    }
}

/// Where a rule sends what it matched, in the members of AWS's `Target`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Target {
    /// One of a kind in its rule.
    pub id: TargetId,
    /// What it names, in ARN form.
    pub arn: String,
    /// A constant to send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// The part of the event to send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_path: Option<String>,
    /// What to make of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_transformer: Option<InputTransformer>,
    /// How often and how long to try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_policy: Option<RetryPolicy>,
    /// Where to put what was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter_config: Option<DeadLetterConfig>,
    /// A webhook in the shorthand of rule files. Its ARN names the target itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
    /// Members that are stored and shown: `RoleArn`, `SqsParameters`, `HttpParameters`…
    #[serde(flatten)]
    pub shown: Map<String, Value>,
}

/// Members of AWS's `InputTransformer`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct InputTransformer {
    /// Names and their paths.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub input_paths_map: Map<String, Value>,
    /// What is sent, with `<name>` where a value goes.
    pub input_template: String,
}

/// Members of AWS's `RetryPolicy`; what is absent has its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RetryPolicy {
    /// Retries after the first attempt, 0 to 185.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum_retry_attempts: Option<u32>,
    /// 60 to 86,400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum_event_age_in_seconds: Option<u32>,
}

/// Members of AWS's `DeadLetterConfig`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DeadLetterConfig {
    /// A standard queue of this server; absent means none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
}

/// A webhook as a rule file writes it. Read at each attempt, so that a mistyped URL can be repaired
/// for what waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Webhook {
    /// Where to.
    pub url: String,
    /// `POST` or `PUT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Headers besides our own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Standard Webhooks secret; never shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// Resource of the internal target's ARN.
const INTERNAL: &str = "internal/lifecycle";

/// ARN of the internal target of a server of `home`.
#[must_use]
pub fn internal_arn(home: &Home) -> String {
    format!("arn:aws:events:{}:{}:{INTERNAL}", home.region, home.account)
}

/// The rule on the internal bus whose targets are the destinations, each under its name.
#[must_use]
pub fn destinations_rule() -> RuleName {
    RuleName::parse("busbar.destinations").expect("a name")
}

/// What a target's ARN means here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A queue of this server.
    Queue(QueueName),
    /// A log of this server.
    Log(LogName),
    /// A webhook: `(bus, rule, target id)` of the target that holds its URL.
    Webhook(BusName, RuleName, TargetId),
    /// The room of this server that decides about events.
    Internal,
    /// Nothing that this server can reach.
    Unknown,
    /// What a document of operators describes, by its name.
    Destination(String),
}

impl Kind {
    /// What `arn` means on a server of `home`. ARNs of another account or region mean nothing.
    #[must_use]
    pub fn of(arn: &str, home: &Home) -> Self {
        let Some(arn) = Arn::parse(arn).filter(|arn| home.owns(arn)) else {
            return Self::Unknown;
        };
        if let Some(queue) = arn.queue() {
            return Self::Queue(queue);
        }
        if let Some(log) = arn.log() {
            return Self::Log(log);
        }
        if arn.service == "events" && arn.resource == INTERNAL {
            return Self::Internal;
        }
        let found = Self::webhook(&arn).or_else(|| Self::destination(&arn));
        found.unwrap_or(Self::Unknown)
    }

    /// Whether attempts at it go out of the house.
    #[must_use]
    pub fn is_outbound(&self) -> bool {
        matches!(self, Self::Webhook(..) | Self::Destination(_))
    }

    /// The destination that an ARN names, of any account: `api-destination/NAME`, with or without AWS's id.
    #[must_use]
    pub fn destination(arn: &Arn<'_>) -> Option<Self> {
        let resource = arn.resource.strip_prefix("api-destination/")?;
        let name = resource.split_once('/').map_or(resource, |(name, _)| name);
        (arn.service == "events" && !name.is_empty()).then(|| Self::Destination(name.into()))
    }

    fn webhook(arn: &Arn<'_>) -> Option<Self> {
        if arn.service != "events" {
            return None;
        }
        let mut parts: Vec<&str> = arn.resource.strip_prefix("webhook/")?.split('/').collect();
        let target = TargetId::parse(parts.pop()?).ok()?;
        let rule = RuleName::parse(parts.pop()?).ok()?;
        let bus = parts
            .pop()
            .map_or(Ok(BusName::default_bus()), BusName::parse)
            .ok()?;
        parts.is_empty().then_some(Self::Webhook(bus, rule, target))
    }
}

impl Target {
    /// A target of nothing but id and ARN.
    #[must_use]
    pub fn new(id: TargetId, arn: String) -> Self {
        Self {
            id,
            arn,
            input: None,
            input_path: None,
            input_transformer: None,
            retry_policy: None,
            dead_letter_config: None,
            webhook: None,
            shown: Map::new(),
        }
    }

    /// The retry policy with its defaults filled in.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let put = self.retry_policy.unwrap_or(RetryPolicy {
            maximum_retry_attempts: None,
            maximum_event_age_in_seconds: None,
        });
        Policy {
            attempts_max: put
                .maximum_retry_attempts
                .unwrap_or(RETRIES_DEFAULT)
                .min(RETRIES_DEFAULT)
                + 1,
            age_ms_max: u64::from(put.maximum_event_age_in_seconds.unwrap_or(AGE_SECONDS_MAX))
                * 1000,
        }
    }

    /// ARN of its own dead-letter queue.
    #[must_use]
    pub fn dead_letter_arn(&self) -> Option<&str> {
        self.dead_letter_config.as_ref()?.arn.as_deref()
    }

    /// Whether it sends something else than the whole event.
    #[must_use]
    pub fn shapes(&self) -> bool {
        self.input.as_deref().is_some_and(|i| !i.is_empty())
            || self.input_path.is_some()
            || self.input_transformer.is_some()
    }

    /// Whether a delivery made for `self` would go the same way by `other`: all that a version fixes.
    /// What the ARN names (URL, headers, secret) is not part of it.
    #[must_use]
    pub fn same_version(&self, other: &Self) -> bool {
        self.arn == other.arn
            && self.input == other.input
            && self.input_path == other.input_path
            && self.input_transformer == other.input_transformer
            && self.retry_policy == other.retry_policy
            && self.dead_letter_config == other.dead_letter_config
            && self.shown == other.shown
    }
}

/// A standard queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// Its name.
    pub name: QueueName,
    /// Settable attributes that were given, as they are shown. Checked at the door.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// Tags as given.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Epoch seconds.
    pub created_s: i64,
    /// Epoch seconds.
    pub modified_s: i64,
}

/// `RedrivePolicy` of a queue, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redrive {
    /// Name of the dead-letter queue.
    pub queue: String,
    /// Receives after which a message is moved.
    pub receives_max: u32,
}

impl Queue {
    /// A queue with every default.
    #[must_use]
    pub fn new(name: QueueName, now_ms: i64) -> Self {
        let now = now_ms.div_euclid(1000);
        Self {
            name,
            attributes: BTreeMap::new(),
            tags: BTreeMap::new(),
            created_s: now,
            modified_s: now,
        }
    }

    fn number(&self, name: &str, default: u64) -> u64 {
        self.attributes
            .get(name)
            .and_then(|v| v.parse().ok())
            .unwrap_or(default)
    }

    /// Seconds that a received message stays invisible.
    #[must_use]
    pub fn visibility_seconds(&self) -> u64 {
        self.number("VisibilityTimeout", 30)
    }

    /// Seconds before a sent message can be received.
    #[must_use]
    pub fn delay_seconds(&self) -> u64 {
        self.number("DelaySeconds", 0)
    }

    /// Running time after which a message is dropped, in milliseconds.
    #[must_use]
    pub fn retention_ms(&self) -> u64 {
        self.number("MessageRetentionPeriod", 345_600) * 1000
    }

    /// Seconds that a receive waits when it does not say.
    #[must_use]
    pub fn wait_seconds(&self) -> u64 {
        self.number("ReceiveMessageWaitTimeSeconds", 0)
    }

    /// Bytes that a sent message may have.
    #[must_use]
    pub fn message_bytes_max(&self) -> usize {
        usize::try_from(self.number("MaximumMessageSize", 1_048_576)).unwrap_or(usize::MAX)
    }

    /// Its redrive policy, if it has one. The door has checked its form.
    #[must_use]
    pub fn redrive(&self) -> Option<Redrive> {
        let policy: Value = serde_json::from_str(self.attributes.get("RedrivePolicy")?).ok()?;
        let arn = Arn::parse(policy.get("deadLetterTargetArn")?.as_str()?)?;
        let count = policy.get("maxReceiveCount")?;
        let receives_max = count.as_u64().or_else(|| count.as_str()?.parse().ok())?;
        Some(Redrive {
            queue: arn.resource.into(),
            receives_max: u32::try_from(receives_max).ok()?,
        })
    }
}

/// Whether two spellings of a queue attribute mean the same: integers as integers, booleans without
/// case, policies as JSON. Source: sqs-api.md 2.1.
#[must_use]
pub fn same_attribute(name: &str, a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    match name {
        "RedrivePolicy" | "RedriveAllowPolicy" | "Policy" => {
            let read = |text: &str| {
                let mut value: Value = serde_json::from_str(text).ok()?;
                if let Some(count) = value.get_mut("maxReceiveCount")
                    && let Some(n) = count.as_str().and_then(|s| s.parse::<u64>().ok())
                {
                    *count = n.into();
                }
                Some(value)
            };
            match (read(a), read(b)) {
                (Some(a), Some(b)) => a == b,
                _ => false,
            }
        }
        _ => match (a.parse::<u64>(), b.parse::<u64>()) {
            (Ok(a), Ok(b)) => a == b,
            _ => {
                a.eq_ignore_ascii_case(b)
                    && ["true", "false"].contains(&a.to_ascii_lowercase().as_str())
            }
        },
    }
}

/// A change of documents: what one record of the journal holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Change {
    /// Makes or replaces a bus.
    PutBus(Bus),
    /// Takes a bus away.
    DeleteBus(BusName),
    /// Makes or replaces a rule with all its targets.
    PutRule(Rule),
    /// Takes a rule away.
    DeleteRule(BusName, RuleName),
    /// Makes a queue or changes its settings; its messages stay.
    PutQueue(Queue),
    /// Takes a queue and its messages away.
    DeleteQueue(QueueName),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_says_the_kind() {
        let home = Home::default();
        let kind = |arn: &str| Kind::of(arn, &home);
        assert!(matches!(
            kind("arn:aws:sqs:us-east-1:000000000000:q"),
            Kind::Queue(_)
        ));
        assert!(matches!(
            kind("arn:aws:logs:us-east-1:000000000000:log-group:a/b:*"),
            Kind::Log(_)
        ));
        assert!(matches!(
            kind(&home.webhook_arn("default", "r", "t")),
            Kind::Webhook(_, _, _)
        ));
        assert!(
            matches!(kind(&home.webhook_arn("b", "r", "t")), Kind::Webhook(b, _, _) if b.as_str() == "b")
        );
        for arn in ["api-destination/d", "api-destination/d/0-1"] {
            let arn = format!("arn:aws:events:us-east-1:000000000000:{arn}");
            assert_eq!(kind(&arn), Kind::Destination("d".into()));
        }
        assert_eq!(
            kind("arn:aws:lambda:us-east-1:000000000000:function:f"),
            Kind::Unknown
        );
        assert_eq!(kind("arn:aws:sqs:eu-west-1:000000000000:q"), Kind::Unknown);
    }

    #[test]
    fn attributes_are_compared_by_meaning() {
        assert!(same_attribute("VisibilityTimeout", "030", "30"));
        assert!(same_attribute("SqsManagedSseEnabled", "True", "true"));
        assert!(same_attribute(
            "RedrivePolicy",
            r#"{"a":1,"maxReceiveCount":"3"}"#,
            r#"{"maxReceiveCount":3,"a":1}"#
        ));
        assert!(!same_attribute("RedrivePolicy", "{}", r#"{"a":1}"#));
    }
}
