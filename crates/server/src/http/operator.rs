//! The operators' port: is it alive, is it ready, how is it doing; and the native API.
//!
//! `/healthz` says that the process answers. `/readyz` says whether events are taken: 503 with a reason on
//! each line if the store has failed or its disk is nearly full. Rule files with a fault do not make it
//! unready, since the last good set is in force; they are told on a line of their own.

use super::connection::response;
use super::native::NativeError;
use super::{Doors, Request, Response, native};
use crate::status;
use ::http::{Method, StatusCode};
use journal::Journal as _;

const TEXT: &str = "text/plain; charset=utf-8";
/// Prometheus's text form.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

const PATHS: &str = "\
busbar

GET  /healthz                         the process answers
GET  /readyz                          events are taken; if not, why not
GET  /metrics                         figures for Prometheus
GET  /v1/status                       targets, queues, journal, rule files
GET  /v1/events/{id}                  what became of an event
GET  /v1/buses/{bus}/tail             events as they are put (?pattern=)
POST /v1/buses/{bus}/events           put entries
POST /v1/buses/{bus}/envelopes        put whole envelopes
GET  /v1/dead-letters                 what was given up (?queue=&limit=&cursor=)
POST /v1/dead-letters/redrive         back to the targets of their rules {Queue, Rule, Bus, MessageIds, Max}
GET  /v1/inventory/{type}             objects (?limit=&cursor=)
GET  /v1/inventory/{type}/{id}        one of them; PUT, PATCH, DELETE too
POST /v1/inventory/{type}/{id}/relations  relate it {Relation, To}; DELETE takes it back
GET  /v1/inbox/{type}/{id}            notifications inside the product (?limit=)
GET  /v1/streams                      what throttles count (?object=&limit=)
GET  /v1/catalogue                    what operators wrote (?limit=&cursor=); so are triggers, monitors,
                                      notification-profiles, destinations
GET  /v1/catalogue/{name}             one of them; PUT, DELETE too (triggers: ?bus=)
POST /v1/inventory                    put a list of objects
POST /v1/monitors/{name}/ticks        scan once {At}
POST /v1/monitors/{name}/dry-run      what it would make of an object {Object, At}
POST /v1/triggers/dry-run             what an event would do {Event, Bus}
GET  /v1/history/firings              what triggers did (?event=&eventId=&object=&trigger=&status=&from=&to=&limit=&cursor=)
GET  /v1/history/firings/{id}         one firing whole

The API port serves the paths under /v1/ too.
";

/// Answers a request of this API.
pub async fn answer(doors: &Doors, request: Request) -> Response {
    if request.path.starts_with("/v1/") {
        return native::answer(doors, request).await;
    }
    if !["/", "/healthz", "/readyz", "/metrics"].contains(&request.path.as_str()) {
        return NativeError::unknown_path(&request.path).answer(request.id);
    }
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return native::not_allowed(&request, "GET");
    }
    match request.path.as_str() {
        "/healthz" => response(StatusCode::OK, TEXT, "ok\n"),
        "/readyz" => ready(doors).await,
        "/metrics" => metrics(doors).await,
        _ => response(StatusCode::OK, TEXT, PATHS),
    }
}

async fn ready(doors: &Doors) -> Response {
    let mut reasons = Vec::new();
    match doors
        .bus
        .look(|_, appender| appender.journal.disk_low())
        .await
    {
        Ok(false) => {}
        Ok(true) => reasons.push("disk: free space is under its mark, new events are refused"),
        Err(_) => reasons.push("store: the journal has failed or the server is stopping"),
    }
    let mut text = String::new();
    let status = if reasons.is_empty() {
        text.push_str("ready\n");
        StatusCode::OK
    } else {
        text.push_str(&reasons.join("\n"));
        text.push('\n');
        StatusCode::SERVICE_UNAVAILABLE
    };
    if let Some(fault) = &doors.files.load().fault {
        text.push_str("rule files: the last good set is in force; ");
        text.push_str(&fault.replace('\n', " "));
        text.push('\n');
    }
    response(status, TEXT, text)
}

async fn metrics(doors: &Doors) -> Response {
    match status::read(&doors.bus).await {
        Ok(status) => {
            let ok = doors.files.load().fault.is_none();
            response(StatusCode::OK, METRICS, doors.metrics.text(&status, ok))
        }
        Err(_) => response(
            StatusCode::SERVICE_UNAVAILABLE,
            TEXT,
            "the store has failed\n",
        ),
    }
}
