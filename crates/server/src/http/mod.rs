//! The doors: every byte that comes from outside passes here.
//!
//! [`connection`] keeps connections within their bounds and reads whole requests; [`door_of`] says which API
//! a request speaks; the rooms below answer. Statuses and AWS error names occur only under this folder.

pub mod aws;
pub mod body;
pub mod connection;
mod head;
pub mod documents;
pub mod inventory;
pub mod native;
pub mod native_put;
pub mod operator;

use crate::bus::Bus;
use crate::config::Config;
use ::http::{HeaderMap, Method};
use body::Body;
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use targets::client::Client;

/// What all doors share.
#[derive(Clone)]
pub struct Doors {
    /// The running bus.
    pub bus: Bus,
    /// Firings, inventory, monitors.
    pub decisions: crate::decisions::Decisions,
    /// The settings.
    pub config: Arc<Config>,
    /// The outbound client, for its egress guard.
    pub client: Arc<Client>,
    /// Room for the bodies being read, in KiB.
    pub bodies: Arc<tokio::sync::Semaphore>,
    /// What became of the rule files.
    pub files: Arc<arc_swap::ArcSwap<crate::rule_files::Status>>,
    /// Where operator documents come in.
    pub edits: crate::rule_files::keeper::Edits,
    /// What `/metrics` shows.
    pub metrics: Arc<crate::metrics::Metrics>,
}

/// A request that has been read within its bounds.
#[derive(Debug)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Path without query, as sent (percent-encoding kept).
    pub path: String,
    /// What stands behind `?`, as sent; empty if nothing.
    pub query: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, whole.
    pub body: Bytes,
    /// Who sent it.
    pub peer: SocketAddr,
    /// Id for the answer and the log line.
    pub id: uuid::Uuid,
}

impl Request {
    /// A header as text, if it is there and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// An answer.
pub type Response = ::http::Response<Body>;

/// Which API a request speaks, decided before its body is parsed. Source: sqs-api.md 1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// SQS, JSON protocol.
    SqsJson,
    /// SQS, older protocol.
    SqsQuery,
    /// EventBridge.
    Events,
    /// Ours.
    Native,
    /// None: answered as the events API answers what it does not know.
    Unknown,
}

/// Decides which API a request speaks.
#[must_use]
pub fn door_of(method: &Method, path: &str, query: &str, headers: &HeaderMap) -> Door {
    let target = headers
        .get("x-amz-target")
        .and_then(|v| v.to_str().ok())
        .unwrap_or("");
    let media = headers
        .get("content-type")
        .and_then(|v| v.to_str().ok())
        .unwrap_or("");
    if target.starts_with("AmazonSQS.") {
        Door::SqsJson
    } else if target.starts_with("AWSEvents.") {
        Door::Events
    } else if path.starts_with("/v1/") {
        // Before forms: `curl -d` calls whatever it sends a form.
        Door::Native
    } else if is_form(method, media) || is_query_url(method, path, query) {
        Door::SqsQuery
    } else {
        Door::Unknown
    }
}

fn is_form(method: &Method, media: &str) -> bool {
    let form = "application/x-www-form-urlencoded";
    method == Method::POST
        && media
            .get(..form.len())
            .is_some_and(|m| m.eq_ignore_ascii_case(form))
}

fn is_query_url(method: &Method, path: &str, query: &str) -> bool {
    method == Method::GET
        && !path.starts_with("/v1/")
        && (query.split('&').any(|p| p.starts_with("Action=")) || aws::sqs::is_queue_path(path))
}

/// Answers a request on the API port.
pub async fn answer(doors: &Doors, request: Request) -> Response {
    match door_of(
        &request.method,
        &request.path,
        &request.query,
        &request.headers,
    ) {
        Door::SqsJson | Door::SqsQuery => aws::sqs::answer(doors, request).await,
        Door::Events | Door::Unknown => aws::events::answer(doors, request).await,
        Door::Native => native::answer(doors, request).await,
    }
}
