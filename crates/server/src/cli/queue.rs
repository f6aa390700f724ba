//! `busbar queue receive`: messages of a queue, by the SQS API that every consumer uses.

use super::client::{Client, Endpoint};
use super::{Failure, Outcome};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::time::Duration;

/// Messages of one call. Source: sqs-api.md 2.6.
const CALL_MAX: usize = 10;

#[derive(Subcommand)]
pub enum Command {
    /// Receive messages and print their bodies. They are shown again after the queue's visibility timeout
    /// unless --delete is given.
    Receive(Receive),
}

#[derive(Args)]
pub struct Receive {
    /// The queue.
    name: String,
    /// Messages at most.
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max: u32,
    /// Seconds to wait for a first message, 0 to 20.
    #[arg(long, default_value_t = 0, value_name = "S", value_parser = clap::value_parser!(u64).range(0..=20))]
    wait: u64,
    /// Delete each message after it was printed.
    #[arg(long)]
    delete: bool,
    #[command(flatten)]
    endpoint: Endpoint,
}

impl Command {
    pub fn run(self, json: bool) -> Outcome {
        let Self::Receive(receive) = self;
        receive.run(json)
    }
}

impl Receive {
    fn run(self, json: bool) -> Outcome {
        let client = self.endpoint.client()?;
        let named = json!({"QueueName": self.name});
        let url = client.sqs("GetQueueUrl", &named, Duration::ZERO)?["QueueUrl"].clone();
        let mut left = self.max as usize;
        let mut wait = self.wait;
        while left > 0 {
            let call = json!({
                "QueueUrl": url,
                "MaxNumberOfMessages": left.min(CALL_MAX),
                "WaitTimeSeconds": wait,
                "MessageSystemAttributeNames": ["All"],
                "MessageAttributeNames": ["All"],
            });
            let answer = client.sqs("ReceiveMessage", &call, Duration::from_secs(wait))?;
            let messages = answer["Messages"].as_array().cloned().unwrap_or_default();
            if messages.is_empty() {
                break;
            }
            for message in &messages {
                match (json, message["Body"].as_str()) {
                    (false, Some(body)) => say!("{body}"),
                    _ => say!("{message}"),
                }
            }
            if self.delete {
                delete(&client, &url, &messages)?;
            }
            left = left.saturating_sub(messages.len());
            wait = 0;
        }
        if left == self.max as usize && !json {
            eprintln!("no message in {}", self.name);
        }
        Ok(0)
    }
}

fn delete(client: &Client, url: &Value, messages: &[Value]) -> Result<(), Failure> {
    let entries: Vec<Value> = messages
        .iter()
        .enumerate()
        .map(|(n, message)| json!({"Id": n.to_string(), "ReceiptHandle": message["ReceiptHandle"]}))
        .collect();
    let call = json!({"QueueUrl": url, "Entries": entries});
    let answer = client.sqs("DeleteMessageBatch", &call, Duration::ZERO)?;
    match answer["Failed"].as_array() {
        Some(failed) if !failed.is_empty() => Err(Failure::new(
            super::NO,
            anyhow::anyhow!("{} messages were not deleted: {}", failed.len(), failed[0]),
        )),
        _ => Ok(()),
    }
}
