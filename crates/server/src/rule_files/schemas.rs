//! What operator documents look like: the tables of rules and their targets, and a JSON Schema for each kind
//! of document.
//!
//! The tables of the other kinds stand beside their readers in `lifecycle::documents`.

use lifecycle::documents::shape::{Form, Member, NAME, Shape, schema};
use lifecycle::documents::{
    ACTIONS, DESTINATION, ENTRY, MONITOR, PROFILE, RULE_NAME, STATE, TRIGGER, target,
};
use lifecycle::object::OBJECT;
use rule_engine::lint::CODES;
use serde_json::{Value, json};

/// A kind of document.
#[derive(Debug)]
pub struct Kind {
    /// What the command line calls it.
    pub name: &'static str,
    /// What it is, and where it lies.
    pub what: &'static str,
    shape: Shape,
}

/// All kinds of documents.
pub const KINDS: [Kind; 6] = [
    Kind {
        name: "rule",
        what: "rules and triggers, one or a list: rules/*.json",
        shape: Shape::Object(&RULE_MEMBERS),
    },
    Kind {
        name: "catalogue",
        what: "an event type: catalogue/*.json",
        shape: ENTRY,
    },
    Kind {
        name: "monitor",
        what: "a monitor: monitors/*.json",
        shape: MONITOR,
    },
    Kind {
        name: "notification-profile",
        what: "a notification profile: notification-profiles/*.json",
        shape: PROFILE,
    },
    Kind {
        name: "destination",
        what: "a destination of requests: destinations/*.json",
        shape: DESTINATION,
    },
    Kind {
        name: "object",
        what: "an object of the inventory, as `busbar inventory` takes it",
        shape: OBJECT,
    },
];

impl Kind {
    /// Its JSON Schema, draft 2020-12.
    #[must_use]
    pub fn schema(&self) -> Value {
        let title = format!("Busbar: {}", self.what);
        let mut whole = schema(&title, &self.shape);
        if self.name != "rule" {
            return whole;
        }
        // A file holds one rule or a list.
        let members = whole.as_object_mut().expect("a schema is an object");
        let definitions = members.shift_remove("$defs");
        let mut outer = json!({"$schema": members.shift_remove("$schema"), "title": title});
        members.shift_remove("title");
        outer["if"] = json!({"type": "array"});
        outer["then"] = json!({"items": {"$ref": "#/$defs/rule"}});
        outer["else"] = json!({"$ref": "#/$defs/rule"});
        outer["$defs"] = definitions.unwrap_or_else(|| json!({}));
        outer["$defs"]["rule"] = whole;
        outer
    }
}

/// Members of a rule.
pub const RULE_MEMBERS: [Member; 11] = [
    RULE_NAME,
    Member::optional("Description", Shape::Text, "For people."),
    Member::default(
        "EventBusName",
        Shape::Text,
        "\"default\"",
        "Its bus, by name or ARN.",
    ),
    Member::optional(
        "EventPattern",
        Shape::Pattern(lifecycle::condition::Dialect::Trigger),
        "Which events; within-next, within-past, regex and count are for triggers only.",
    ),
    Member::optional(
        "ScheduleExpression",
        Shape::Form(Form("^(rate|cron)\\(")),
        "When it fires by the clock: `rate(1 hour)`, or `cron(0 * * * ? *)` in UTC.",
    ),
    STATE,
    Member::optional("RoleArn", Shape::Text, "Stored and shown."),
    Member::default(
        "Targets",
        Shape::List(
            0,
            &Shape::OneOf(&TARGET_MEMBERS, &["Arn", "Queue", "Log", "Webhook"]),
        ),
        "[]",
        "Where its events go.",
    ),
    Member::optional(
        "Lint",
        Shape::Object(&LINT),
        "What `busbar rules lint` shall not say of it.",
    ),
    TRIGGER,
    ACTIONS,
];

/// Members of a target.
pub const TARGET_MEMBERS: [Member; 13] = [
    Member::required("Id", Shape::Form(NAME), "One of a kind in its rule."),
    Member::optional(
        "Arn",
        Shape::Form(Form("^arn:")),
        "A queue, a log, a destination or a webhook.",
    ),
    Member::optional(
        "Queue",
        Shape::Object(&ONLY_NAME),
        "A queue of this server.",
    ),
    Member::optional("Log", Shape::Object(&ONLY_NAME), "A log of this server."),
    Member::optional("Webhook", Shape::Object(&WEBHOOK), "Requests to a URL."),
    target::INPUT,
    target::INPUT_PATH,
    target::INPUT_TRANSFORMER,
    target::RETRY_POLICY,
    target::DEAD_LETTER_CONFIG,
    target::SQS_PARAMETERS,
    target::HTTP_PARAMETERS,
    target::ROLE_ARN,
];

/// Members of a queue or log of this server.
pub const ONLY_NAME: [Member; 1] = [Member::required("Name", Shape::Text, "Its name.")];

/// Members of a webhook.
pub const WEBHOOK: [Member; 4] = [target::URL, target::METHOD, target::HEADERS, target::SECRET];

/// Members of `Lint`.
pub const LINT: [Member; 1] = [Member::optional(
    "Allow",
    Shape::List(0, &Shape::Words(&CODES)),
    "Codes of warnings.",
)];
