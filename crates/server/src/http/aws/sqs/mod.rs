//! The queue door: SQS, as AWS's clients speak it.
//!
//! [`answer`] checks the frame and finds the operation; each operation reads all its members first, then finds
//! its queue, then checks values, and asks the core last: that is the order in which AWS finds fault.
//!
//! - [`wire`]: JSON read strictly; [`errors`]: every refusal and its answer
//! - [`queues`], [`attributes`]: queues and their settings
//! - [`entry`], [`send`]: one message and its checks; both sends
//! - [`receive`], [`consume`]: what consumers do
//! - [`batch`], [`handles`], [`md5`]: what several of them share
//!
//! The older protocol of forms and XML is not spoken yet. Source: sqs-api.md 1, 2, 7.

mod attributes;
mod batch;
mod consume;
mod entry;
mod errors;
mod handles;
mod md5;
mod queues;
mod receive;
mod send;
mod wire;

use crate::http::body::{Body, Guard};
use crate::http::connection::{Unread, response};
use crate::http::{Door, Doors, Request, Response, door_of};
use ::http::{HeaderValue, Method, StatusCode, header};
use errors::{Kind, MEDIA, Refused};
use serde_json::Value;

pub use queues::is_queue_path;

/// Header that names an operation.
const PREFIX: &str = "AmazonSQS.";
/// Characters of an access key id that is believed.
const ACCESS_KEY_MAX: usize = 128;
/// Operations of the model that are not built yet.
const LATER: [&str; 9] = [
    "StartMessageMoveTask",
    "ListMessageMoveTasks",
    "CancelMessageMoveTask",
    "ListDeadLetterSourceQueues",
    "TagQueue",
    "UntagQueue",
    "ListQueueTags",
    "AddPermission",
    "RemovePermission",
];

/// One call of an operation.
pub struct Call<'a> {
    doors: &'a Doors,
    request: &'a Request,
}

impl Call<'_> {
    /// The id of the access key that the call is signed with.
    fn access_key(&self) -> Option<&str> {
        let header = self.request.header("authorization")?;
        let (_, credential) = header.split_once("Credential=")?;
        let id = credential.split(['/', ',', ' ']).next()?;
        let fits = (1..=ACCESS_KEY_MAX).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        fits.then_some(id)
    }

    /// What an SDK sends the same on each try of one call.
    fn invocation(&self) -> Option<&str> {
        self.request.header("amz-sdk-invocation-id")
    }
}

/// What an operation answers.
pub enum Output {
    /// A JSON object.
    Whole(Value),
    /// The bytes of one, and what to do if they cannot be sent.
    Guarded(Vec<u8>, Guard),
}

/// Answers a request of this API.
pub async fn answer(doors: &Doors, request: Request) -> Response {
    let door = door_of(
        &request.method,
        &request.path,
        &request.query,
        &request.headers,
    );
    if door != Door::SqsJson {
        return query(&request);
    }
    let call = Call {
        doors,
        request: &request,
    };
    let mut response = match operate(&call).await {
        Ok(Output::Whole(value)) => response(StatusCode::OK, MEDIA, value.to_string()),
        Ok(Output::Guarded(bytes, guard)) => {
            let mut response = Response::new(Body::guarded(bytes, guard));
            let media = HeaderValue::from_static(MEDIA);
            response.headers_mut().insert(header::CONTENT_TYPE, media);
            response
        }
        Err(refused) => return refused.response(request.id),
    };
    errors::set_request_id(response.headers_mut(), request.id);
    response
}

async fn operate(call: &Call<'_>) -> Result<Output, Refused> {
    let request = call.request;
    check_frame(request)?;
    let target = request.header("x-amz-target").unwrap_or("");
    let operation = target.strip_prefix(PREFIX).unwrap_or("");
    if LATER.contains(&operation) {
        let text = format!("{operation} comes with a later version.");
        return Err(Refused::new(Kind::Disabled, text));
    }
    let members = wire::read(&request.body);
    match operation {
        "CreateQueue" => queues::create(call, &members?).await,
        "GetQueueUrl" => queues::url(call, &members?).await,
        "ListQueues" => queues::list(call, &members?).await,
        "GetQueueAttributes" => queues::get_attributes(call, &members?).await,
        "SetQueueAttributes" => queues::set_attributes(call, &members?).await,
        "DeleteQueue" => queues::delete(call, &members?).await,
        "PurgeQueue" => queues::purge(call, &members?).await,
        "SendMessage" => send::one(call, &members?).await,
        "SendMessageBatch" => send::batch(call, &members?).await,
        "ReceiveMessage" => receive::receive(call, &members?).await,
        "DeleteMessage" => consume::delete(call, &members?).await,
        "DeleteMessageBatch" => consume::delete_batch(call, &members?).await,
        "ChangeMessageVisibility" => consume::visibility(call, &members?).await,
        "ChangeMessageVisibilityBatch" => consume::visibility_batch(call, &members?).await,
        other => Err(unknown(other)),
    }
}

fn unknown(operation: &str) -> Refused {
    let text = format!("The action {operation} is not valid for this endpoint.");
    Refused::new(Kind::UnknownOperation, text)
}

fn check_frame(request: &Request) -> Result<(), Refused> {
    if request.method != Method::POST {
        return Err(Refused::new(Kind::Method, "The method must be POST."));
    }
    if request.path != "/" && !is_queue_path(&request.path) {
        return Err(Refused::new(
            Kind::NotFound,
            "There is nothing at this path.",
        ));
    }
    let media = request.header("content-type").unwrap_or("");
    let media = media.split(';').next().unwrap_or("").trim();
    let taken = [MEDIA, "application/x-amz-json-1.1", "application/json"];
    if !taken.iter().any(|own| own.eq_ignore_ascii_case(media)) {
        let text = format!("The content type must be {MEDIA}.");
        return Err(Refused::new(Kind::Media, text));
    }
    match request.headers.get(header::CONTENT_ENCODING) {
        Some(coding) if !coding.as_bytes().eq_ignore_ascii_case(b"identity") => {
            let text = "A content encoding is not supported.";
            Err(Refused::new(Kind::Media, text))
        }
        _ => Ok(()),
    }
}

/// Whoever speaks the older protocol is told so in its own words.
fn query(request: &Request) -> Response {
    let names_action = |text: &str| text.split('&').any(|part| part.starts_with("Action="));
    let mut response = if request.method == Method::GET && !names_action(&request.query) {
        let body = "<UnknownOperationException/>";
        response(StatusCode::NOT_FOUND, "text/xml", body)
    } else {
        let body = format!(
            "<ErrorResponse xmlns=\"http://queue.amazonaws.com/doc/2012-11-05/\"><Error><Type>Sender</Type>\
             <Code>InvalidAction</Code><Message>The query protocol comes with a later version; \
             use an SDK that speaks JSON.</Message><Detail/></Error><RequestId>{}</RequestId></ErrorResponse>",
            request.id
        );
        response(StatusCode::BAD_REQUEST, "text/xml", body)
    };
    errors::set_request_id(response.headers_mut(), request.id);
    response
}

/// The answer to a request that could not be read.
#[must_use]
pub fn unread(request: &Request, why: Unread) -> Response {
    errors::unread(request.id, why)
}

/// The answer to a request that panicked.
#[must_use]
pub fn internal_error(id: uuid::Uuid) -> Response {
    Refused::new(Kind::Internal, "internal failure").response(id)
}
