//! Every refusal of the queue door: its names, its status, its answer.
//!
//! An error has two names: the type in `__type`, by which newer SDKs choose an exception, and the older code
//! in `x-amzn-query-error`, with which programs compare. Both are sent, on every error.
//! Source: sqs-api.md 1.2, 7.

use crate::http::Response;
use crate::http::connection::{Unread, response, unread_status};
use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use bus_core::core::Refusal;

/// Media type of this door.
pub const MEDIA: &str = "application/x-amz-json-1.0";

/// Errors that the service's model declares.
const MODEL: &str = "com.amazonaws.sqs";
/// Errors of the frame around it.
const FRAME: &str = "com.amazon.coral.service";

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $namespace:ident $type:literal $code:literal $status:literal,)*) => {
        /// What kind of refusal.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Kind { $($(#[$doc])* $kind,)* }

        impl Kind {
            /// Namespace, type, query code, status.
            fn names(self) -> (&'static str, &'static str, &'static str, u16) {
                match self { $(Self::$kind => ($namespace, $type, $code, $status),)* }
            }
        }
    };
}

kinds! {
    /// No such queue.
    NoQueue = MODEL "QueueDoesNotExist" "AWS.SimpleQueueService.NonExistentQueue" 400,
    /// The name is taken by a queue that differs.
    NameExists = MODEL "QueueNameExists" "QueueAlreadyExists" 400,
    /// A value is bad.
    Value = FRAME "InvalidParameterValueException" "InvalidParameterValue" 400,
    /// A required member is absent.
    Missing = FRAME "MissingRequiredParameterException" "MissingParameter" 400,
    /// A queue attribute is unknown or not for this type of queue.
    AttributeName = MODEL "InvalidAttributeName" "InvalidAttributeName" 400,
    /// A queue attribute is out of its range.
    AttributeValue = MODEL "InvalidAttributeValue" "InvalidAttributeValue" 400,
    /// A character that no message may hold.
    Contents = MODEL "InvalidMessageContents" "InvalidMessageContents" 400,
    /// A receipt handle that is not ours.
    Handle = MODEL "ReceiptHandleIsInvalid" "ReceiptHandleIsInvalid" 404,
    /// A batch of nothing.
    BatchEmpty = MODEL "EmptyBatchRequest" "AWS.SimpleQueueService.EmptyBatchRequest" 400,
    /// A batch of too many.
    BatchCount = MODEL "TooManyEntriesInBatchRequest" "AWS.SimpleQueueService.TooManyEntriesInBatchRequest" 400,
    /// A malformed id in a batch.
    BatchId = MODEL "InvalidBatchEntryId" "AWS.SimpleQueueService.InvalidBatchEntryId" 400,
    /// Two equal ids in a batch.
    BatchIdTwice = MODEL "BatchEntryIdsNotDistinct" "AWS.SimpleQueueService.BatchEntryIdsNotDistinct" 400,
    /// A batch that is too long in sum.
    BatchLong = MODEL "BatchRequestTooLong" "AWS.SimpleQueueService.BatchRequestTooLong" 400,
    /// A purge less than a minute after another.
    Purging = MODEL "PurgeQueueInProgress" "AWS.SimpleQueueService.PurgeQueueInProgress" 403,
    /// A bound is reached.
    OverLimit = MODEL "OverLimit" "OverLimit" 403,
    /// Something that AWS does not do either.
    Unsupported = MODEL "UnsupportedOperation" "AWS.SimpleQueueService.UnsupportedOperation" 400,
    /// A queue URL in no form that we know.
    Address = MODEL "InvalidAddress" "InvalidAddress" 404,
    /// Too many callers wait.
    Throttled = MODEL "RequestThrottled" "RequestThrottled" 403,
    /// Not the JSON that was wanted.
    Serialization = FRAME "SerializationException" "SerializationException" 400,
    /// No such operation.
    UnknownOperation = FRAME "UnknownOperationException" "InvalidAction" 400,
    /// An operation for later.
    Disabled = FRAME "OperationDisabledException" "OperationDisabled" 400,
    /// A path that is no queue's.
    NotFound = FRAME "UnknownOperationException" "InvalidAction" 404,
    /// A method that is not `POST`.
    Method = FRAME "UnknownOperationException" "InvalidAction" 405,
    /// A body of another form.
    Media = FRAME "UnsupportedMediaTypeException" "UnsupportedMediaType" 415,
    /// The disk did not confirm.
    Unavailable = FRAME "ServiceUnavailable" "ServiceUnavailable" 503,
    /// Our own fault.
    Internal = FRAME "InternalFailure" "InternalFailure" 500,
}

impl Kind {
    /// The older code: what batch entries name, in both protocols.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.names().2
    }

    /// Whether the same request would meet it again.
    #[must_use]
    pub fn is_senders(self) -> bool {
        self.names().3 < 500
    }
}

/// A request or batch entry that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What kind.
    pub kind: Kind,
    /// AWS's text, letter for letter, where it has one.
    pub text: String,
}

impl Refused {
    /// A refusal with its text.
    #[must_use]
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
        }
    }

    /// A required member is absent.
    #[must_use]
    pub fn missing(name: &str) -> Self {
        let text = format!("The request must contain the parameter {name}.");
        Self::new(Kind::Missing, text)
    }

    /// A parameter's value is bad, and why.
    #[must_use]
    pub fn value(value: impl std::fmt::Display, name: &str, reason: &str) -> Self {
        let text = format!("Value {value} for parameter {name} is invalid. Reason: {reason}");
        Self::new(Kind::Value, text)
    }

    /// A queue that is not there.
    #[must_use]
    pub fn no_queue() -> Self {
        Self::new(Kind::NoQueue, "The specified queue does not exist.")
    }

    /// What the storage did not confirm.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::new(Kind::Unavailable, "storage did not confirm")
    }

    /// The whole answer. Source: sqs-api.md 1.2.
    #[must_use]
    pub fn response(&self, id: uuid::Uuid) -> Response {
        self.response_with(id, None)
    }

    fn response_with(&self, id: uuid::Uuid, status: Option<StatusCode>) -> Response {
        let (namespace, name, code, own) = self.kind.names();
        let body = serde_json::json!({
            "__type": format!("{namespace}#{name}"),
            "message": self.text,
        });
        let status = status.unwrap_or(StatusCode::from_u16(own).expect("a status of the table"));
        let mut response = response(status, MEDIA, body.to_string());
        let side = if self.kind.is_senders() {
            "Sender"
        } else {
            "Receiver"
        };
        let headers = response.headers_mut();
        insert(headers, "x-amzn-query-error", &format!("{code};{side}"));
        if self.kind == Kind::Throttled {
            insert(headers, "x-amz-retry-after", "1000");
            insert(headers, "retry-after", "1");
        }
        set_request_id(headers, id);
        response
    }
}

/// Names the request in its answer.
pub fn set_request_id(headers: &mut HeaderMap, id: uuid::Uuid) {
    insert(headers, "x-amzn-requestid", &id.to_string());
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    let value = HeaderValue::from_str(value).expect("our own ASCII text");
    headers.insert(HeaderName::from_static(name), value);
}

impl From<crate::bus::Unavailable> for Refused {
    fn from(_: crate::bus::Unavailable) -> Self {
        Self::unavailable()
    }
}

/// What the core refuses, in this door's words. Refusals whose text needs the request are told by the
/// operations themselves.
impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let redrive = |policy: &str, reason| Self::value(policy, "RedrivePolicy", reason);
        match &refusal {
            Refusal::NoQueue => Self::no_queue(),
            Refusal::QueueDiffers(name) => Self::new(
                Kind::NameExists,
                format!(
                    "A queue already exists with the same name and a different value for attribute {name}"
                ),
            ),
            Refusal::NoDeadLetterQueue(policy) => {
                redrive(policy, "Dead letter target does not exist.")
            }
            Refusal::DeadLetterQueueDenies(policy) => redrive(
                policy,
                "The dead letter target does not allow this source queue.",
            ),
            Refusal::QueueFull => Self::new(Kind::OverLimit, "Queue is full."),
            Refusal::TooManyInFlight => Self::new(Kind::OverLimit, "Too many messages in flight."),
            Refusal::TooManyWaiters => Self::new(Kind::Throttled, "Rate exceeded"),
            Refusal::Limit => Self::new(Kind::OverLimit, "Too many queues."),
            Refusal::Full => Self::unavailable(),
            other => {
                tracing::error!(refusal = %other, "a refusal that queues do not know");
                Self::new(Kind::Internal, "internal failure")
            }
        }
    }
}

/// The answer to a request that could not be read.
#[must_use]
pub fn unread(id: uuid::Uuid, why: Unread) -> Response {
    let text = match why {
        Unread::TooLarge => "The request body is too large.",
        Unread::TooSlow => "The request body did not come in time.",
        Unread::Broken => "The request body ended early.",
        Unread::UriTooLong => "The request target is too long.",
        Unread::Host => "The host is not served here.",
        Unread::HeadTooLarge => "The request line and headers are too large.",
        Unread::Framing => "The request's framing can be read in two ways.",
        Unread::Busy => "The server is busy.",
    };
    Refused::new(Kind::Serialization, text).response_with(id, Some(unread_status(why)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_both_names() {
        let response = Refused::no_queue().response(uuid::Uuid::nil());
        assert_eq!(response.status(), 400);
        assert_eq!(
            response.headers()["x-amzn-query-error"],
            "AWS.SimpleQueueService.NonExistentQueue;Sender"
        );
        let response = Refused::unavailable().response(uuid::Uuid::nil());
        assert_eq!(response.status(), 503);
        assert_eq!(
            response.headers()["x-amzn-query-error"],
            "ServiceUnavailable;Receiver"
        );
    }

    #[test]
    fn a_throttled_caller_is_told_when_to_come_back() {
        let response = Refused::from(Refusal::TooManyWaiters).response(uuid::Uuid::nil());
        assert_eq!(response.status(), 403);
        assert_eq!(response.headers()["retry-after"], "1");
        assert_eq!(response.headers()["x-amz-retry-after"], "1000");
    }
}
