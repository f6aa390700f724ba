//! The door on a real bus: what needs more than one room.

use super::*;
use crate::config::Config;
use crate::serve::Server;
use http_body_util::BodyExt;
use std::net::SocketAddr;

/// A server with a data directory of its own.
struct Running {
    server: Server,
    _data: tempfile::TempDir,
}

impl Running {
    async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let config = Config {
            data: data.path().join("data"),
            rules: data.path().join("rules"),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            operator_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            disk_reserve_bytes: 4 << 20,
            disk_free_bytes_min: 0,
            ..Config::default()
        };
        Self {
            server: Server::start(config).await.unwrap(),
            _data: data,
        }
    }

    async fn call(&self, operation: &str, body: &str) -> Value {
        let response = answer(&self.server.doors, request(operation, body)).await;
        let body = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&body).unwrap()
    }
}

fn request(operation: &str, body: &str) -> Request {
    let mut headers = ::http::HeaderMap::new();
    for (name, value) in [
        ("content-type", MEDIA_TYPE),
        ("x-amz-target", &format!("AWSEvents.{operation}")),
        ("amz-sdk-invocation-id", "one"),
    ] {
        headers.insert(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    Request {
        method: Method::POST,
        path: "/".into(),
        query: String::new(),
        headers,
        body: body.to_owned().into(),
        peer: SocketAddr::from(([127, 0, 0, 1], 1)),
        id: uuid::Uuid::nil(),
    }
}

#[track_caller]
fn check(change: impl FnOnce(&mut Request), status: u16, code: &str) {
    let mut request = request("PutEvents", "{}");
    change(&mut request);
    let fault = operation(&request).unwrap_err();
    assert_eq!((fault.status.as_u16(), fault.code), (status, code));
}

#[test]
fn a_request_is_looked_at_from_outside_in() {
    let unknown = "UnknownOperationException";
    check(|r| r.path = "/x".into(), 404, unknown);
    check(|r| r.method = Method::GET, 405, unknown);
    check(
        |r| drop(r.headers.remove("content-type")),
        415,
        "UnsupportedMediaTypeException",
    );
    check(
        |r| {
            drop(
                r.headers
                    .insert("content-encoding", HeaderValue::from_static("gzip")),
            )
        },
        415,
        "UnsupportedMediaTypeException",
    );
    check(|r| drop(r.headers.remove("x-amz-target")), 400, unknown);
    check(
        |r| r.path = "/service/AWSEventsV2/operation/PutEvents".into(),
        400,
        unknown,
    );
}

#[test]
fn what_was_not_read_is_told_in_the_words_of_this_api() {
    for (why, status, code) in [
        (Unread::TooLarge, 413, "RequestEntityTooLargeException"),
        (Unread::TooSlow, 408, "RequestTimeoutException"),
        (Unread::Host, 421, "MisdirectedRequestException"),
    ] {
        let response = unread(&request("PutEvents", ""), why);
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(response.headers()["x-amzn-errortype"], code);
        assert!(response.headers().contains_key("x-amzn-requestid"));
    }
    let response = internal_error(uuid::Uuid::nil());
    assert_eq!(response.status().as_u16(), 500);
    assert_eq!(response.headers()["x-amzn-errortype"], "InternalException");
}

#[tokio::test]
async fn a_repeated_put_gets_the_first_answer_whatever_became_of_the_bus() {
    let running = Running::start().await;
    let put = r#"{"Entries":[{"Source":"s","DetailType":"t","Detail":"{}","EventBusName":"b"},{"Source":"s","DetailType":"t","Detail":"1"}]}"#;
    let missing = running.call("PutEvents", put).await;
    assert_eq!(missing["FailedEntryCount"], 2);
    // What stored nothing is not remembered.
    running.call("CreateEventBus", r#"{"Name":"b"}"#).await;
    let first = running.call("PutEvents", put).await;
    assert_eq!(first["FailedEntryCount"], 1);
    assert_eq!(running.call("PutEvents", put).await, first);
    running.call("DeleteEventBus", r#"{"Name":"b"}"#).await;
    assert_eq!(running.call("PutEvents", put).await, first);
    // Another body is another call.
    let other = running.call("PutEvents", &format!("{put} ")).await;
    assert_eq!(other["FailedEntryCount"], 2);
    assert_eq!(running.server.doors.metrics.events_put.get(), 1);
    running.server.stop().await;
}

#[tokio::test]
async fn a_rule_keeps_its_targets_when_it_is_put_again() {
    let running = Running::start().await;
    let rule = r#"{"Name":"r","EventPattern":"{\"source\":[\"s\"]}"}"#;
    let made = running.call("PutRule", rule).await;
    assert_eq!(
        made["RuleArn"],
        "arn:aws:events:us-east-1:000000000000:rule/r"
    );
    let targets = r#"{"Rule":"r","Targets":[{"Id":"a","Arn":"arn:aws:sqs:us-east-1:000000000000:q"},{"Id":"b","Arn":"arn:aws:sns:us-east-1:000000000000:t"}]}"#;
    let put = running.call("PutTargets", targets).await;
    assert_eq!(put["FailedEntryCount"], 1);
    assert_eq!(put["FailedEntries"][0]["TargetId"], "b");
    running.call("PutRule", rule).await;
    let listed = running.call("ListTargetsByRule", r#"{"Rule":"r"}"#).await;
    assert_eq!(
        listed,
        json!({ "Targets": [{ "Id": "a", "Arn": "arn:aws:sqs:us-east-1:000000000000:q" }] })
    );
    running.server.stop().await;
}

#[track_caller]
fn check_not_offered(operation: &str, code: &str, message: &str) {
    let fault = not_offered(operation);
    assert_eq!((fault.code, fault.message.as_str()), (code, message));
}

#[test]
fn what_is_not_offered_says_why() {
    check_not_offered(
        "CreateArchive",
        "OperationDisabledException",
        "CreateArchive comes with a later version.",
    );
    check_not_offered(
        "CreateEndpoint",
        "OperationDisabledException",
        "CreateEndpoint is not available on Busbar: global endpoints need two AWS regions and Route 53.",
    );
    check_not_offered(
        "Nope",
        "UnknownOperationException",
        "Unknown operation Nope.",
    );
}

#[test]
fn force_is_hinted_at_where_it_was_not_given() {
    let managed = || {
        refused(Refusal::Managed {
            rule: "r".into(),
            file: "rules/f.json".into(),
        })
    };
    let text = "r is a managed rule. It comes from rules/f.json; change it there.";
    assert_eq!(managed().message, text);
    assert_eq!(hint_at_force(managed(), true).message, text);
    assert_eq!(
        hint_at_force(managed(), false).message,
        "r is a managed rule. Set 'force' parameter to true to override. It comes from rules/f.json; change it there."
    );
}
