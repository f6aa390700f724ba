//! The HTTP that commands speak to a running server: blocking, and every failure told in our words.

use super::{Failure, NO, UNREACHABLE, USAGE};
use anyhow::anyhow;
use clap::Args;
use serde_json::Value;
use std::time::Duration;
use ureq::Agent;
use ureq::http::Response;

/// Longest time for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest time for an answer; a long poll adds its own.
const ANSWER: Duration = Duration::from_secs(30);
/// Longest time for a scan over an inventory of millions.
const SCAN: Duration = Duration::from_secs(30 * 60);
/// Largest answer that is read: a receive of ten messages of 1 MiB each.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Where the server is.
#[derive(Args)]
pub struct Endpoint {
    /// Address of the server's API port.
    #[arg(
        long,
        env = "BUSBAR_ENDPOINT",
        default_value = "http://127.0.0.1:4100",
        value_name = "URL"
    )]
    endpoint: String,
}

/// A client of one server.
pub struct Client {
    agent: Agent,
    base: String,
}

impl Endpoint {
    pub fn client(&self) -> Result<Client, Failure> {
        let url = url::Url::parse(&self.endpoint)
            .map_err(|e| Failure::usage(format!("--endpoint {}: {e}", self.endpoint)))?;
        if url.scheme() != "http" || url.host().is_none() {
            return Err(Failure::usage(format!(
                "--endpoint {}: an http URL is wanted, such as http://127.0.0.1:4100",
                self.endpoint
            )));
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT))
            .proxy(None)
            .build()
            .new_agent();
        Ok(Client {
            agent,
            base: self.endpoint.trim_end_matches('/').to_owned(),
        })
    }
}

impl Client {
    /// GET of a path of our own API.
    pub fn get(&self, path: &str) -> Result<Value, Failure> {
        let sent = self
            .agent
            .get(format!("{}{path}", self.base))
            .config()
            .timeout_global(Some(ANSWER))
            .build()
            .call();
        read(self.reached(sent)?)
    }

    /// GET of what goes on and on; the caller reads it line by line.
    pub fn follow(&self, path: &str) -> Result<impl std::io::Read + use<>, Failure> {
        let sent = self
            .agent
            .get(format!("{}{path}", self.base))
            .header("accept", "text/event-stream")
            .call();
        let answer = self.reached(sent)?;
        if answer.status().is_success() {
            Ok(answer
                .into_body()
                .into_with_config()
                .limit(u64::MAX)
                .reader())
        } else {
            Err(read(answer)
                .err()
                .unwrap_or_else(|| Failure::usage("the server does not follow")))
        }
    }

    /// POST of JSON to our own API.
    pub fn post(&self, path: &str, body: &str) -> Result<Value, Failure> {
        self.send(
            self.agent.post(format!("{}{path}", self.base)),
            body,
            ANSWER,
        )
    }

    /// PUT of JSON to our own API.
    pub fn put(&self, path: &str, body: &str) -> Result<Value, Failure> {
        self.send(self.agent.put(format!("{}{path}", self.base)), body, ANSWER)
    }

    /// POST of what is answered when all objects have been looked at.
    pub fn scan(&self, path: &str, body: &str) -> Result<Value, Failure> {
        self.send(self.agent.post(format!("{}{path}", self.base)), body, SCAN)
    }

    fn send(
        &self,
        request: ureq::RequestBuilder<ureq::typestate::WithBody>,
        body: &str,
        bound: Duration,
    ) -> Result<Value, Failure> {
        let sent = request
            .header("content-type", "application/json")
            .config()
            .timeout_global(Some(bound))
            .build()
            .send(body);
        read(self.reached(sent)?)
    }

    /// A call of the SQS API, JSON protocol.
    pub fn sqs(&self, operation: &str, body: &Value, wait: Duration) -> Result<Value, Failure> {
        self.aws("1.0", &format!("AmazonSQS.{operation}"), body, wait)
    }

    /// A call of the EventBridge API.
    pub fn events(&self, operation: &str, body: &Value) -> Result<Value, Failure> {
        let target = format!("AWSEvents.{operation}");
        self.aws("1.1", &target, body, Duration::ZERO)
    }

    fn aws(
        &self,
        version: &str,
        target: &str,
        body: &Value,
        wait: Duration,
    ) -> Result<Value, Failure> {
        let sent = self
            .agent
            .post(&self.base)
            .header("content-type", format!("application/x-amz-json-{version}"))
            .header("x-amz-target", target)
            .config()
            .timeout_global(Some(ANSWER + wait))
            .build()
            .send(body.to_string());
        read(self.reached(sent)?)
    }

    fn reached(
        &self,
        sent: Result<Response<ureq::Body>, ureq::Error>,
    ) -> Result<Response<ureq::Body>, Failure> {
        sent.map_err(|error| {
            Failure::new(
                UNREACHABLE,
                anyhow!(
                    "cannot reach {}: {error}; is `busbar serve` running there? (--endpoint URL or BUSBAR_ENDPOINT \
                     name another)",
                    self.base
                ),
            )
        })
    }
}

/// Reads an answer, or the error in it.
fn read(mut answer: Response<ureq::Body>) -> Result<Value, Failure> {
    let status = answer.status();
    let text = answer
        .body_mut()
        .with_config()
        .limit(ANSWER_BYTES_MAX)
        .read_to_string()
        .map_err(|e| Failure::new(UNREACHABLE, anyhow!("the answer broke off: {e}")))?;
    let value: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    if status.is_success() {
        return Ok(value);
    }
    let code = if status.is_server_error() { NO } else { USAGE };
    Err(Failure::new(
        code,
        anyhow!("{}", told(status.as_u16(), &value, &text)),
    ))
}

/// What an error says, of our own API or of AWS's shape.
fn told(status: u16, value: &Value, text: &str) -> String {
    let ours = &value["error"];
    let code = ours["code"].as_str().or(value["__type"].as_str());
    let message = [&ours["message"], &value["message"], &value["Message"]]
        .into_iter()
        .find_map(Value::as_str);
    let mut told = match (code, message) {
        (Some(code), Some(message)) => {
            let code = code.rsplit('#').next().unwrap_or(code);
            format!("{code}: {message}")
        }
        (_, Some(message)) => message.to_owned(),
        (Some(code), None) => code.to_owned(),
        (None, None) => {
            let start: String = text.chars().take(200).collect();
            format!("the server answered {status} {start}")
        }
    };
    if let Some(hint) = ours["hint"].as_str() {
        told.push_str(&format!(" ({hint})"));
    }
    told
}

/// A part of a path, percent-encoded.
pub fn encode(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
