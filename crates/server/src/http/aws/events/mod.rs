//! The EventBridge API: AWS JSON 1.1, `POST /` with `X-Amz-Target: AWSEvents.OPERATION`.
//!
//! [`answer`] takes the checks that all calls share, in the order of eventbridge-api.md 1.5, and hands the
//! body to the operation's room. An operation reads its members (types), then collects what breaks the model
//! (`constraints`), then checks what they mean, and asks the core last.

mod buses;
pub(in crate::http) mod members;
mod paging;
pub mod put_events;
mod rules;
mod targets;
mod test_pattern;

use crate::bus::Unavailable;
use crate::http::connection::{Unread, response, unread_status};
use crate::http::{Doors, Request, Response};
use crate::intake;
use ::http::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, RETRY_AFTER};
use ::http::{HeaderValue, Method, StatusCode};
use bus_core::core::{Answer, Control, Input, Refusal};
use bus_core::document::Rule;
use bus_core::name::BusName;
use bus_core::state::State;
use members::Object;
use serde_json::{Value, json};
use std::ops::Bound;
use std::sync::Arc;

/// Media type of all answers.
const MEDIA_TYPE: &str = "application/x-amz-json-1.1";
/// Media types of requests, parameters taken off.
const MEDIA_TYPES: [&str; 3] = [MEDIA_TYPE, "application/x-amz-json-1.0", "application/json"];
/// What AWS writes at a bound of resources.
const LIMIT_EXCEEDED: &str = "The requested resource exceeds the maximum number allowed.";

/// Operations that are offered and not built yet.
const LATER: [&str; 26] = [
    "CancelReplay",
    "CreateApiDestination",
    "CreateArchive",
    "CreateConnection",
    "DeauthorizeConnection",
    "DeleteApiDestination",
    "DeleteArchive",
    "DeleteConnection",
    "DescribeApiDestination",
    "DescribeArchive",
    "DescribeConnection",
    "DescribeReplay",
    "ListApiDestinations",
    "ListArchives",
    "ListConnections",
    "ListReplays",
    "ListTagsForResource",
    "PutPermission",
    "RemovePermission",
    "StartReplay",
    "TagResource",
    "UntagResource",
    "UpdateApiDestination",
    "UpdateArchive",
    "UpdateConnection",
    "UpdateEventBus",
];
const PARTNERS: &str = "partner event sources are for SaaS partners of AWS";
const ENDPOINTS: &str = "global endpoints need two AWS regions and Route 53";
/// Operations that make no sense here, and why.
const REFUSED: [(&str, &str); 13] = [
    ("ActivateEventSource", PARTNERS),
    ("CreateEndpoint", ENDPOINTS),
    ("CreatePartnerEventSource", PARTNERS),
    ("DeactivateEventSource", PARTNERS),
    ("DeleteEndpoint", ENDPOINTS),
    ("DeletePartnerEventSource", PARTNERS),
    ("DescribeEndpoint", ENDPOINTS),
    ("DescribeEventSource", PARTNERS),
    ("DescribePartnerEventSource", PARTNERS),
    ("ListPartnerEventSourceAccounts", PARTNERS),
    ("ListPartnerEventSources", PARTNERS),
    ("PutPartnerEvents", PARTNERS),
    ("UpdateEndpoint", ENDPOINTS),
];

/// Why a call is not answered with 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    status: StatusCode,
    code: &'static str,
    /// What is wrong.
    pub message: String,
}

impl Fault {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            status,
            code,
            message,
        }
    }

    fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    fn validation(message: impl Into<String>) -> Self {
        Self::bad("ValidationException", message)
    }

    fn serialization(message: impl Into<String>) -> Self {
        Self::bad("SerializationException", message)
    }

    fn not_found(message: impl Into<String>) -> Self {
        Self::bad("ResourceNotFoundException", message)
    }

    fn disabled(message: impl Into<String>) -> Self {
        Self::bad("OperationDisabledException", message)
    }

    fn unknown_operation(message: impl Into<String>) -> Self {
        Self::bad("UnknownOperationException", message)
    }

    fn no_bus(name: &str) -> Self {
        Self::not_found(format!("Event bus {name} does not exist."))
    }

    fn unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            "Storage did not confirm. Please try again.",
        )
    }

    fn response(self, id: uuid::Uuid) -> Response {
        let body = json!({ "__type": self.code, "message": self.message }).to_string();
        let mut response = finish(self.status, body.into_bytes(), id);
        let headers = response.headers_mut();
        headers.insert(
            HeaderName::from_static("x-amzn-errortype"),
            HeaderValue::from_static(self.code),
        );
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            headers.insert(
                HeaderName::from_static("x-amz-retry-after"),
                HeaderValue::from_static("1000"),
            );
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}

impl From<Unavailable> for Fault {
    fn from(_: Unavailable) -> Self {
        Self::unavailable()
    }
}

fn finish(status: StatusCode, body: Vec<u8>, id: uuid::Uuid) -> Response {
    let mut response = response(status, MEDIA_TYPE, body);
    let id = HeaderValue::from_str(&id.to_string()).expect("a UUID is text of a header");
    let name = HeaderName::from_static("x-amzn-requestid");
    response.headers_mut().insert(name, id);
    response
}

/// Answers a request of this API.
pub async fn answer(doors: &Doors, request: Request) -> Response {
    match operate(doors, &request).await {
        Ok(body) => finish(StatusCode::OK, body, request.id),
        Err(fault) => fault.response(request.id),
    }
}

async fn operate(doors: &Doors, request: &Request) -> Result<Vec<u8>, Fault> {
    let operation = operation(request)?;
    if operation == "PutEvents" {
        return put_events::put(doors, request).await;
    }
    let call = Object::of_body(&request.body)?;
    let answer: Value = match operation {
        "PutRule" => rules::put(doors, &call).await?,
        "DescribeRule" => rules::describe(doors, &call).await?,
        "ListRules" => rules::list(doors, &call).await?,
        "DeleteRule" => rules::delete(doors, &call).await?,
        "EnableRule" => rules::enable(doors, &call).await?,
        "DisableRule" => rules::disable(doors, &call).await?,
        "PutTargets" => targets::put(doors, &call).await?,
        "RemoveTargets" => targets::remove(doors, &call).await?,
        "ListTargetsByRule" => targets::list(doors, &call).await?,
        "ListRuleNamesByTarget" => targets::rule_names(doors, &call).await?,
        "CreateEventBus" => buses::create(doors, &call).await?,
        "DeleteEventBus" => buses::delete(doors, &call).await?,
        "DescribeEventBus" => buses::describe(doors, &call).await?,
        "ListEventBuses" => buses::list(doors, &call).await?,
        "TestEventPattern" => test_pattern::test(doors, &call)?,
        "ListEventSources" => json!({ "EventSources": [] }),
        "ListEndpoints" => json!({ "Endpoints": [] }),
        other => return Err(not_offered(other)),
    };
    Ok(answer.to_string().into_bytes())
}

fn not_offered(operation: &str) -> Fault {
    if LATER.contains(&operation) {
        return Fault::disabled(format!("{operation} comes with a later version."));
    }
    match REFUSED.iter().find(|(refused, _)| *refused == operation) {
        Some((_, reason)) => {
            Fault::disabled(format!("{operation} is not available on Busbar: {reason}."))
        }
        None => Fault::unknown_operation(format!("Unknown operation {operation}.")),
    }
}

/// Checks path, method, media type and target; gives the operation's name.
fn operation(request: &Request) -> Result<&str, Fault> {
    if request.path.starts_with("/service/AWSEventsV2/") {
        return Err(Fault::unknown_operation(
            "This endpoint offers the classic EventBridge API (AWS JSON 1.1).",
        ));
    }
    if request.path != "/" {
        let message =
            "There is nothing here: the EventBridge API is at POST /, Busbar's own below /v1/.";
        let status = StatusCode::NOT_FOUND;
        return Err(Fault::new(status, "UnknownOperationException", message));
    }
    if request.method != Method::POST {
        let message = format!("Method {} is not offered here, only POST.", request.method);
        let status = StatusCode::METHOD_NOT_ALLOWED;
        return Err(Fault::new(status, "UnknownOperationException", message));
    }
    let unsupported = |message: String| {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Fault::new(status, "UnsupportedMediaTypeException", message)
    };
    let media = request.header(CONTENT_TYPE.as_str()).unwrap_or_default();
    let essence = media.split(';').next().unwrap_or_default().trim();
    if !MEDIA_TYPES
        .iter()
        .any(|taken| taken.eq_ignore_ascii_case(essence))
    {
        let taken = MEDIA_TYPES.join(", ");
        return Err(unsupported(format!(
            "Content-Type is to be one of {taken}."
        )));
    }
    if request.headers.contains_key(CONTENT_ENCODING) {
        return Err(unsupported("No Content-Encoding is taken.".into()));
    }
    let Some(target) = request.header("x-amz-target") else {
        return Err(Fault::unknown_operation("X-Amz-Target names no operation."));
    };
    match target.strip_prefix("AWSEvents.") {
        Some(operation) => Ok(operation),
        None => Err(Fault::unknown_operation(format!(
            "Unknown operation {target}."
        ))),
    }
}

/// The answer to a request that could not be read. The statuses are those of all doors; a `Host` that is
/// not served is 421, which no SDK tries again.
#[must_use]
pub fn unread(request: &Request, why: Unread) -> Response {
    let (code, message) = match why {
        Unread::TooLarge => (
            "RequestEntityTooLargeException",
            "The request is larger than this server takes.",
        ),
        Unread::TooSlow => (
            "RequestTimeoutException",
            "The request did not arrive in time.",
        ),
        Unread::Broken => (
            "SerializationException",
            "The request ended before it was complete.",
        ),
        Unread::UriTooLong => (
            "RequestUriTooLongException",
            "The request's address is longer than this server takes.",
        ),
        Unread::HeadTooLarge => (
            "RequestHeaderFieldsTooLargeException",
            "The request line and headers are larger than this server takes.",
        ),
        Unread::Framing => (
            "SerializationException",
            "The request's framing can be read in two ways.",
        ),
        Unread::Busy => ("ServiceUnavailable", "The server is busy."),
        Unread::Host => (
            "MisdirectedRequestException",
            "The Host header names a host that is not served here. Use an address or localhost, or list the name under `hosts` in busbar.toml.",
        ),
    };
    Fault::new(unread_status(why), code, message).response(request.id)
}

/// The answer to a request that panicked.
#[must_use]
pub fn internal_error(id: uuid::Uuid) -> Response {
    let message = "Service encountered unexpected problem. Please try again.";
    Fault::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "InternalException",
        message,
    )
    .response(id)
}

/// The bus that a call names by name or ARN; `default` if it names none.
fn bus_of(doors: &Doors, given: Option<&str>) -> Result<BusName, Fault> {
    let Some(given) = given else {
        return Ok(BusName::default_bus());
    };
    let name = intake::bus_name(given, &doors.bus.identity().home).map_err(Fault::no_bus)?;
    // What fits the model and is no name of ours (`/`) is no bus of ours.
    BusName::parse(name).map_err(|_| Fault::no_bus(name))
}

/// Asks the core for a change of documents.
async fn ask(doors: &Doors, control: Control) -> Result<Answer, Fault> {
    let make = move |request| Input::Control { request, control };
    match doors.bus.ask(make).await? {
        Answer::Refused(refusal) => Err(refused(refusal)),
        Answer::Unavailable => Err(Fault::unavailable()),
        answer => Ok(answer),
    }
}

fn refused(refusal: Refusal) -> Fault {
    match refusal {
        Refusal::NoBus(name) => Fault::no_bus(&name),
        Refusal::BusExists(name) => Fault::bad(
            "ResourceAlreadyExistsException",
            format!("Event bus {name} already exists."),
        ),
        Refusal::BusIsDefault => Fault::validation("Cannot delete event bus default."),
        Refusal::BusHasRules => Fault::validation("EventBus can't be deleted since it has rules."),
        Refusal::NoRule(rule, bus) => no_rule(&rule, &bus),
        Refusal::RuleHasTargets => Fault::validation("Rule can't be deleted since it has targets."),
        Refusal::Managed { rule, file } => Fault::bad(
            "ManagedRuleException",
            format!("{rule} is a managed rule. It comes from {file}; change it there."),
        ),
        Refusal::Limit => Fault::bad("LimitExceededException", LIMIT_EXCEEDED),
        Refusal::Full => Fault::unavailable(),
        // Of queues and rule files: not of these calls.
        other => Fault::validation(other.to_string()),
    }
}

/// Of a managed rule AWS says more where `Force` could help. Here it never does: the file would bring the
/// rule back.
fn hint_at_force(fault: Fault, forced: bool) -> Fault {
    const MANAGED: &str = " is a managed rule.";
    if fault.code != "ManagedRuleException" || forced {
        return fault;
    }
    let hint = format!("{MANAGED} Set 'force' parameter to true to override.");
    let message = fault.message.replacen(MANAGED, &hint, 1);
    Fault { message, ..fault }
}

/// The rules of a bus that this API knows, from a place in the order of their names; `None` without such a bus.
fn rules_of<'s>(
    state: &'s State,
    bus: &BusName,
    from: Bound<&str>,
) -> Option<impl Iterator<Item = &'s Arc<Rule>> + use<'s>> {
    state.buses().get(bus)?;
    let rules = state.rules(bus.as_str())?;
    let rules = rules.range::<str, _>((from, Bound::Unbounded));
    Some(
        rules
            .map(|(_, rule)| rule)
            .filter(|rule| rule.is_ordinary()),
    )
}

fn no_rule(rule: &str, bus: &str) -> Fault {
    Fault::not_found(format!("Rule {rule} does not exist on EventBus {bus}."))
}

#[cfg(test)]
mod tests;
