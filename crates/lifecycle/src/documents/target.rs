//! Members of targets: what rules, channels and destinations have in common.
//!
//! What they mean, and their bounds, is the server's to say; here is what they look like.
//! Source: eventbridge-api.md 6.

use super::shape::{Form, Member, Shape};
use bus_core::limits::{AGE_SECONDS_MAX, AGE_SECONDS_MIN, RETRIES_DEFAULT};

/// `Input`.
pub const INPUT: Member = Member::optional(
    "Input",
    Shape::Text,
    "A JSON text that is sent in place of the event.",
);
/// `InputPath`.
pub const INPUT_PATH: Member = Member::optional(
    "InputPath",
    Shape::Text,
    "The part of the event that is sent, such as `$.detail`.",
);
/// `InputTransformer`.
pub const INPUT_TRANSFORMER: Member = Member::optional(
    "InputTransformer",
    Shape::Object(&TRANSFORMER),
    "A text that is sent, with values of the event in it.",
);
/// Members of `InputTransformer`.
pub const TRANSFORMER: [Member; 2] = [
    Member::optional(
        "InputPathsMap",
        Shape::Map(None, &Shape::Text),
        "Paths into the event, by the name that the template has in `<>`.",
    ),
    Member::required(
        "InputTemplate",
        Shape::Text,
        "The text, with `<name>` for a value.",
    ),
];
/// `RetryPolicy`.
pub const RETRY_POLICY: Member = Member::optional(
    "RetryPolicy",
    Shape::Object(&RETRY),
    "When to give a delivery up.",
);
/// Members of `RetryPolicy`.
pub const RETRY: [Member; 2] = [
    Member::optional(
        "MaximumRetryAttempts",
        Shape::Integer(0, RETRIES_DEFAULT as i64),
        "Attempts after the first.",
    ),
    Member::optional(
        "MaximumEventAgeInSeconds",
        Shape::Integer(AGE_SECONDS_MIN as i64, AGE_SECONDS_MAX as i64),
        "Age of an event that is too old.",
    ),
];
/// `DeadLetterConfig`.
pub const DEAD_LETTER_CONFIG: Member = Member::optional(
    "DeadLetterConfig",
    Shape::Object(&DEAD_LETTER),
    "Where deliveries go that are given up.",
);
/// Members of `DeadLetterConfig`.
pub const DEAD_LETTER: [Member; 1] = [Member::optional(
    "Arn",
    Shape::Form(Form("^arn:")),
    "A queue.",
)];
/// `SqsParameters`.
pub const SQS_PARAMETERS: Member =
    Member::optional("SqsParameters", Shape::Object(&SQS), "Stored and shown.");
/// Members of `SqsParameters`.
pub const SQS: [Member; 1] = [Member::optional(
    "MessageGroupId",
    Shape::Text,
    "Stored and shown.",
)];
/// `HttpParameters`.
pub const HTTP_PARAMETERS: Member =
    Member::optional("HttpParameters", Shape::Object(&HTTP), "Stored and shown.");
/// Members of `HttpParameters`.
pub const HTTP: [Member; 3] = [
    Member::optional(
        "PathParameterValues",
        Shape::List(0, &Shape::Text),
        "Stored and shown.",
    ),
    Member::optional(
        "HeaderParameters",
        Shape::Map(None, &Shape::Text),
        "Stored and shown.",
    ),
    Member::optional(
        "QueryStringParameters",
        Shape::Map(None, &Shape::Text),
        "Stored and shown.",
    ),
];
/// `RoleArn`.
pub const ROLE_ARN: Member = Member::optional("RoleArn", Shape::Text, "Stored and shown.");

/// `Url`.
pub const URL: Member = Member::required("Url", Shape::Text, "Where requests go.");
/// `Method`.
pub const METHOD: Member = Member::default(
    "Method",
    Shape::Words(&["POST", "PUT"]),
    "\"POST\"",
    "The method of the requests.",
);
/// `Headers`.
pub const HEADERS: Member = Member::default(
    "Headers",
    Shape::Map(None, &Shape::Text),
    "{}",
    "Headers besides our own.",
);
/// `Secret`.
pub const SECRET: Member = Member::optional(
    "Secret",
    Shape::Text,
    "The key of Standard Webhooks signatures, `whsec_…`; in a destination also `env:NAME`.",
);
