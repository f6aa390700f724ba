//! Memory does not grow with what has passed: 100,000 events put, received and deleted leave the server
//! where the first 10,000 had left it.

#[allow(dead_code, reason = "each test uses its part of the support")]
#[path = "../support/mod.rs"]
mod support;

use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use support::{Connection, Options, Server};

/// Growth that is allowed, in KiB.
const GROWTH_KIB_MAX: u64 = 8 * 1024;
const PRODUCERS: usize = 16;
const CONSUMERS: usize = 4;
const BATCH: usize = 10;

const RULE: &str = r#"{"Name":"all","EventPattern":{"source":["memory"]},
    "Targets":[{"Id":"q","Queue":{"Name":"memory"}}]}"#;

fn aws(connection: &mut Connection, target: &str, body: &Value) -> Value {
    let headers = [
        ("X-Amz-Target", target),
        ("Content-Type", "application/x-amz-json-1.1"),
    ];
    let answer = connection.request("POST", "/", &headers, body.to_string().as_bytes());
    answer.expect("the server answers").ok()
}

/// Puts `count` events by sixteen connections while others receive and delete them all.
fn pass(server: &Server, count: usize) {
    let detail = json!({"note": "x".repeat(1_000)}).to_string();
    let entry = json!({"Source": "memory", "DetailType": "Load", "Detail": detail});
    let put = json!({"Entries": vec![entry; BATCH]});
    let queue = format!("http://{}/000000000000/memory", server.api);
    let (calls, deleted) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..PRODUCERS {
            scope.spawn(|| {
                let mut connection = Connection::open(server.api).expect("the server accepts");
                while calls.fetch_add(1, Ordering::Relaxed) < count / BATCH {
                    let answer = aws(&mut connection, "AWSEvents.PutEvents", &put);
                    assert_eq!(answer["FailedEntryCount"], 0);
                }
            });
        }
        for _ in 0..CONSUMERS {
            scope.spawn(|| {
                let mut connection = Connection::open(server.api).expect("the server accepts");
                while deleted.load(Ordering::Relaxed) < count {
                    let ask = json!({"QueueUrl": queue, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 1});
                    let answer = aws(&mut connection, "AmazonSQS.ReceiveMessage", &ask);
                    let Some(messages) = answer["Messages"].as_array() else { continue };
                    let entry = |(n, m): (usize, &Value)| json!({"Id": n.to_string(), "ReceiptHandle": m["ReceiptHandle"]});
                    let entries: Vec<Value> = messages.iter().enumerate().map(entry).collect();
                    deleted.fetch_add(entries.len(), Ordering::Relaxed);
                    aws(&mut connection, "AmazonSQS.DeleteMessageBatch", &json!({"QueueUrl": queue, "Entries": entries}));
                }
            });
        }
    });
    assert_eq!(deleted.into_inner(), count);
}

#[test]
fn what_has_passed_costs_no_memory() {
    let options = Options {
        rules: vec![("all.json".into(), RULE.into())],
        ..Options::default()
    };
    let server = Server::start(&options);
    pass(&server, 10_000);
    let before = server.resident_kib();
    pass(&server, 90_000);
    let after = server.resident_kib();
    println!("resident memory: {before} KiB after 10,000 events, {after} KiB after 100,000");
    assert!(
        after <= before + GROWTH_KIB_MAX,
        "from {before} to {after} KiB"
    );
}
