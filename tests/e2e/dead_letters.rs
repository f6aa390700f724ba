//! Deliveries that cannot be made end as dead letters, and never before there is a place for them
//! (reliability-security.md F28, F36).

#[allow(dead_code, reason = "each test uses its part of the support")]
#[path = "../support/mod.rs"]
mod support;

use serde_json::{Value, json};
use std::time::Duration;
use support::{Answer, Options, Receiver, Server, wait_until};

fn with_rule(rule: &Value) -> Server {
    let rules = vec![("rule.json".into(), rule.to_string())];
    Server::start(&Options {
        rules,
        ..Options::default()
    })
}

fn put(server: &Server, detail: &str) {
    let entry = json!({"Source": "demo.faults", "DetailType": "Fault", "Detail": detail});
    let answer = server.events("PutEvents", json!({"Entries": [entry]})).ok();
    assert_eq!(answer["FailedEntryCount"], 0);
}

fn queue_url(server: &Server, name: &str) -> String {
    format!("http://{}/000000000000/{name}", server.api)
}

fn receive(server: &Server, name: &str) -> Option<Value> {
    let ask = json!({"QueueUrl": queue_url(server, name), "MessageAttributeNames": ["All"], "WaitTimeSeconds": 10});
    server.sqs("ReceiveMessage", ask).ok()["Messages"]
        .get(0)
        .cloned()
}

fn pending(server: &Server) -> Value {
    let path = "/v1/status";
    let status = support::call(server.api, "GET", path, &[], b"")
        .expect("the server answers")
        .ok();
    status["targets"][0]["pending"].clone()
}

#[test]
fn an_event_that_a_template_cannot_take_becomes_a_dead_letter_at_once() {
    let server = with_rule(
        &json!({"Name": "shaped", "EventPattern": {"source": ["demo.faults"]}, "Targets": [{
            "Id": "q", "Queue": {"Name": "shaped"},
            "DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:000000000000:unshaped"},
            "InputTransformer": {"InputPathsMap": {"v": "$.detail.v"}, "InputTemplate": "\"got <v>\""},
        }]}),
    );
    put(&server, r#"{"v":"say \"hello\""}"#);
    let letter = receive(&server, "unshaped").expect("a dead letter");
    assert_eq!(letter["Body"], "\"got say \"hello\"\"");
    assert_eq!(
        letter["MessageAttributes"]["ERROR_CODE"]["StringValue"],
        "INVALID_JSON"
    );
    assert_eq!(
        letter["MessageAttributes"].as_object().map(|a| a.len()),
        Some(4)
    );
    // The target is untouched by it.
    put(&server, r#"{"v":"fine"}"#);
    assert_eq!(
        receive(&server, "shaped").expect("a message")["Body"],
        "\"got fine\""
    );
}

#[test]
fn a_delivery_waits_for_its_dead_letter_queue() {
    let receiver = Receiver::start(|_, _| Answer::status(400));
    let server = with_rule(
        &json!({"Name": "refused", "EventPattern": {"source": ["demo.faults"]}, "Targets": [{
            "Id": "w", "Webhook": {"Url": format!("http://{}/", receiver.address)},
            "DeadLetterConfig": {"Arn": "arn:aws:sqs:us-east-1:000000000000:letters"},
        }]}),
    );
    server
        .sqs(
            "DeleteQueue",
            json!({"QueueUrl": queue_url(&server, "letters")}),
        )
        .ok();
    put(&server, "{}");
    wait_until(Duration::from_secs(10), "the webhook refuses", || {
        !receiver.received().is_empty()
    });
    assert_eq!(pending(&server), 1, "it may not end without its letter");
    server
        .sqs("CreateQueue", json!({"QueueName": "letters"}))
        .ok();
    let letter =
        receive(&server, "letters").expect("the letter comes when there is a place for it");
    assert_eq!(
        letter["MessageAttributes"]["ERROR_CODE"]["StringValue"],
        "ERROR_FROM_TARGET"
    );
    assert_eq!(receiver.received().len(), 1, "a refusal is not tried again");
    assert_eq!(pending(&server), 0);
}
