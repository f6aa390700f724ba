//! Attributes of a queue: which can be set, to what, and how they are shown.
//!
//! A value is stored as it is shown: numbers and booleans in their one spelling, policies as they were put.
//! Whether a dead-letter queue exists is the core's to say. Source: sqs-api.md 2.1, 2.2, 2.10.

use super::errors::{Kind, Refused};
use bus_core::document::Queue;
use bus_core::name::{Arn, Home};
use serde_json::Value;
use std::ops::RangeInclusive;

/// Bytes of a `Policy`.
const POLICY_BYTES_MAX: usize = 8_192;
/// Source queues that a `RedriveAllowPolicy` may name.
const SOURCES_MAX: usize = 10;
/// Receives after which a message may be moved.
const RECEIVES: RangeInclusive<u64> = 1..=1_000;

/// Attributes that are always shown, with their defaults.
const DEFAULTS: [(&str, &str); 6] = [
    ("VisibilityTimeout", "30"),
    ("DelaySeconds", "0"),
    ("MaximumMessageSize", "1048576"),
    ("MessageRetentionPeriod", "345600"),
    ("ReceiveMessageWaitTimeSeconds", "0"),
    ("SqsManagedSseEnabled", "true"),
];
/// Attributes that are shown when they are set.
const OPTIONAL: [&str; 5] = [
    "RedrivePolicy",
    "RedriveAllowPolicy",
    "Policy",
    "KmsMasterKeyId",
    "KmsDataKeyReusePeriodSeconds",
];
/// Attributes of FIFO queues: known, but no standard queue has them.
const FIFO: [&str; 4] = [
    "FifoQueue",
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "FifoThroughputLimit",
];
/// What the server says about a queue.
const OBSERVED: [&str; 6] = [
    "QueueArn",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
];

/// Messages of a queue by where they stand: visible, in flight, delayed.
pub type Counts = (usize, usize, usize);

/// Whether `name` is an attribute of some queue, or `All`.
#[must_use]
pub fn is_known(name: &str) -> bool {
    name == "All"
        || DEFAULTS.iter().any(|(own, _)| *own == name)
        || OPTIONAL.contains(&name)
        || FIFO.contains(&name)
        || OBSERVED.contains(&name)
}

/// An attribute name that is not known.
#[must_use]
pub fn unknown(name: &str) -> Refused {
    Refused::new(Kind::AttributeName, format!("Unknown Attribute {name}."))
}

/// Checks attributes for a standard queue, in the order of the request, and gives them as they are stored;
/// an empty value removes. `old` is the queue as it is, if it is there.
///
/// # Errors
/// The first attribute that is not settable or whose value is bad.
pub fn check(
    given: &[(&str, &str)],
    old: Option<&Queue>,
) -> Result<Vec<(String, String)>, Refused> {
    let mut checked = Vec::with_capacity(given.len());
    for (name, value) in given {
        checked.push(((*name).to_owned(), check_one(name, value)?));
    }
    let given = |wanted: &str| {
        let found = checked.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.as_str())
    };
    let old_key = old.and_then(|q| q.attributes.get("KmsMasterKeyId"));
    let key = given("KmsMasterKeyId").or(old_key.map(String::as_str));
    let has_key = key.is_some_and(|key| !key.is_empty());
    match given("SqsManagedSseEnabled") {
        Some("true") if has_key => {
            return Err(Refused::new(
                Kind::AttributeName,
                "You can use one type of server-side encryption (SSE) at one time. \
                 You can either enable KMS SSE or SQS SSE.",
            ));
        }
        None if given("KmsMasterKeyId").is_some_and(|key| !key.is_empty()) => {
            tracing::warn!(
                "a queue's KmsMasterKeyId is stored and shown; nothing is encrypted by it"
            );
            checked.push(("SqsManagedSseEnabled".into(), "false".into()));
        }
        _ => {}
    }
    Ok(checked)
}

fn check_one(name: &str, value: &str) -> Result<String, Refused> {
    let bad = || {
        let text = format!("Invalid value for the parameter {name}.");
        Refused::new(Kind::AttributeValue, text)
    };
    let number = |range: RangeInclusive<u64>| whole(value, range).ok_or_else(bad);
    match name {
        "VisibilityTimeout" => number(0..=43_200),
        "DelaySeconds" => number(0..=900),
        "MaximumMessageSize" => number(1_024..=1_048_576),
        "MessageRetentionPeriod" => number(60..=1_209_600),
        "ReceiveMessageWaitTimeSeconds" => number(0..=20),
        // The default is not stored, and so not shown.
        "KmsDataKeyReusePeriodSeconds" => number(60..=86_400),
        "SqsManagedSseEnabled" => match value.to_ascii_lowercase() {
            lower if lower == "true" || lower == "false" => Ok(lower),
            _ => Err(bad()),
        },
        "KmsMasterKeyId" => Ok(value.to_owned()),
        "Policy" | "RedriveAllowPolicy" | "RedrivePolicy" if value.is_empty() => Ok(String::new()),
        "Policy" if value.len() <= POLICY_BYTES_MAX && object(value).is_some() => {
            Ok(value.to_owned())
        }
        "RedriveAllowPolicy" if allow_policy(value).is_some() => Ok(value.to_owned()),
        "Policy" | "RedriveAllowPolicy" => Err(bad()),
        "RedrivePolicy" => match redrive_fault(value) {
            Some(reason) => Err(Refused::value(value, name, &reason)),
            None => Ok(value.to_owned()),
        },
        "DeduplicationScope" | "FifoThroughputLimit" => Err(Refused::new(
            Kind::AttributeName,
            "You can specify the DeduplicationScope only when FifoQueue is set to true.",
        )),
        _ => Err(unknown(name)),
    }
}

/// Digits alone, within a range, in their one spelling.
fn whole(value: &str, range: RangeInclusive<u64>) -> Option<String> {
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    let number: u64 = digits.then(|| value.parse().ok())??;
    range.contains(&number).then(|| number.to_string())
}

fn object(text: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(text).ok()?;
    value.is_object().then_some(value)
}

fn allow_policy(text: &str) -> Option<()> {
    let policy = object(text)?;
    let sources = policy.get("sourceQueueArns");
    let fits = match policy.get("redrivePermission")?.as_str()? {
        "allowAll" | "denyAll" => sources.is_none(),
        "byQueue" => {
            let arns = sources?.as_array()?;
            (1..=SOURCES_MAX).contains(&arns.len()) && arns.iter().all(Value::is_string)
        }
        _ => false,
    };
    fits.then_some(())
}

/// What is wrong with the form of a redrive policy.
fn redrive_fault(text: &str) -> Option<String> {
    let Some(policy) = object(text) else {
        return Some("Redrive policy is not a valid JSON map.".into());
    };
    for name in ["deadLetterTargetArn", "maxReceiveCount"] {
        if policy.get(name).is_none_or(Value::is_null) {
            return Some(format!(
                "Redrive policy does not contain mandatory attribute: {name}."
            ));
        }
    }
    let count = &policy["maxReceiveCount"];
    let shown = count
        .as_str()
        .map_or_else(|| count.to_string(), str::to_owned);
    if whole(&shown, RECEIVES).is_none() {
        return Some(format!(
            "Invalid value for maxReceiveCount: {shown}, valid values are from 1 to 1000 both inclusive."
        ));
    }
    let target = policy["deadLetterTargetArn"].as_str();
    match target.and_then(Arn::parse) {
        Some(arn) if arn.service == "sqs" => None,
        _ => Some("Dead letter target does not exist.".into()),
    }
}

/// An attribute as it is stored, or its default; empty when it has neither.
#[must_use]
pub fn current<'a>(queue: &'a Queue, name: &str) -> &'a str {
    let default = || match name {
        "KmsDataKeyReusePeriodSeconds" => "300",
        _ => DEFAULTS
            .iter()
            .find(|(own, _)| *own == name)
            .map_or("", |(_, default)| default),
    };
    queue
        .attributes
        .get(name)
        .map_or_else(default, String::as_str)
}

/// The attributes that were asked for, as they are shown. `names` are known.
#[must_use]
pub fn shown(
    queue: &Queue,
    counts: Counts,
    home: &Home,
    names: &[&str],
) -> serde_json::Map<String, Value> {
    let (visible, in_flight, delayed) = counts;
    let mut all = vec![
        ("QueueArn", home.queue_arn(queue.name.as_str())),
        ("CreatedTimestamp", queue.created_s.to_string()),
        ("LastModifiedTimestamp", queue.modified_s.to_string()),
    ];
    for (name, _) in DEFAULTS {
        all.push((name, current(queue, name).to_owned()));
    }
    for name in OPTIONAL {
        if let Some(value) = queue.attributes.get(name) {
            all.push((name, value.clone()));
        }
    }
    all.push(("ApproximateNumberOfMessages", visible.to_string()));
    all.push((
        "ApproximateNumberOfMessagesNotVisible",
        in_flight.to_string(),
    ));
    all.push(("ApproximateNumberOfMessagesDelayed", delayed.to_string()));
    let every = names.contains(&"All");
    all.into_iter()
        .filter(|(name, _)| every || names.contains(name))
        .map(|(name, value)| (name.to_owned(), Value::String(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus_core::name::QueueName;

    #[track_caller]
    fn check_refused(name: &str, value: &str, expected: &str) {
        let refused = check(&[(name, value)], None).expect_err("refused");
        assert_eq!(refused.text, expected);
    }

    #[track_caller]
    fn check_stored(name: &str, value: &str, expected: &str) {
        let stored = check(&[(name, value)], None).expect("taken");
        assert_eq!(stored[0], (name.to_owned(), expected.to_owned()));
    }

    #[test]
    fn a_number_is_digits_within_its_range() {
        for bad in ["43201", "-1", "+1", " 1", "", "1.0", "99999999999999999999"] {
            check_refused(
                "VisibilityTimeout",
                bad,
                "Invalid value for the parameter VisibilityTimeout.",
            );
        }
        check_stored("VisibilityTimeout", "43200", "43200");
        check_stored("DelaySeconds", "005", "5");
        check_stored("SqsManagedSseEnabled", "True", "true");
    }

    #[test]
    fn a_standard_queue_has_no_fifo_attributes() {
        check_refused("FifoQueue", "false", "Unknown Attribute FifoQueue.");
        check_refused(
            "ContentBasedDeduplication",
            "true",
            "Unknown Attribute ContentBasedDeduplication.",
        );
        check_refused(
            "FifoThroughputLimit",
            "perQueue",
            "You can specify the DeduplicationScope only when FifoQueue is set to true.",
        );
    }

    #[test]
    fn what_the_server_observes_cannot_be_set() {
        for name in OBSERVED.iter().chain(&["All", "visibilityTimeout"]) {
            check_refused(name, "1", &format!("Unknown Attribute {name}."));
        }
    }

    #[test]
    fn a_policy_can_be_taken_away() {
        for name in [
            "Policy",
            "RedrivePolicy",
            "RedriveAllowPolicy",
            "KmsMasterKeyId",
        ] {
            check_stored(name, "", "");
        }
    }

    #[test]
    fn a_redrive_policy_says_what_is_wrong() {
        let refused = |policy: &str, reason: &str| {
            check_refused(
                "RedrivePolicy",
                policy,
                &format!("Value {policy} for parameter RedrivePolicy is invalid. Reason: {reason}"),
            );
        };
        refused("[]", "Redrive policy is not a valid JSON map.");
        refused(
            r#"{"maxReceiveCount":3}"#,
            "Redrive policy does not contain mandatory attribute: deadLetterTargetArn.",
        );
        let arn = "arn:aws:sqs:us-east-1:000000000000:d";
        refused(
            &format!(r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":1001}}"#),
            "Invalid value for maxReceiveCount: 1001, valid values are from 1 to 1000 both inclusive.",
        );
        refused(
            r#"{"deadLetterTargetArn":"d","maxReceiveCount":1}"#,
            "Dead letter target does not exist.",
        );
        let policy = format!(r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":"3"}}"#);
        check_stored("RedrivePolicy", &policy, &policy);
    }

    #[test]
    fn an_allow_policy_names_its_sources_only_by_queue() {
        let bad = "Invalid value for the parameter RedriveAllowPolicy.";
        check_refused("RedriveAllowPolicy", r#"{"redrivePermission":"some"}"#, bad);
        check_refused(
            "RedriveAllowPolicy",
            r#"{"redrivePermission":"byQueue"}"#,
            bad,
        );
        let fits = r#"{"redrivePermission":"byQueue","sourceQueueArns":["a"]}"#;
        check_stored("RedriveAllowPolicy", fits, fits);
    }

    #[test]
    fn one_kind_of_encryption_at_a_time() {
        let both = [("KmsMasterKeyId", "k"), ("SqsManagedSseEnabled", "true")];
        assert_eq!(check(&both, None).unwrap_err().kind, Kind::AttributeName);
        let stored = check(&both[..1], None).unwrap();
        assert_eq!(stored[1], ("SqsManagedSseEnabled".into(), "false".into()));
        let mut old = Queue::new(QueueName::parse("q").unwrap(), 0);
        old.attributes.insert("KmsMasterKeyId".into(), "k".into());
        assert!(check(&both[1..], Some(&old)).is_err());
    }
}
