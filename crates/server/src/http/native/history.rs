//! Firings, as the history has them (certificate-lifecycle.md 11, HIS-5).

use super::{Doors, HashMap, NativeError, Request, Response, StatusCode};
use super::{decode, json_response, limit, query};
use crate::history::{HistoryError, Query};
use lifecycle::moment;

const PARAMETERS: [&str; 9] = [
    "event", "eventId", "object", "trigger", "status", "from", "to", "limit", "cursor",
];

/// `GET /v1/history/firings`.
pub async fn firings(doors: &Doors, request: &Request) -> Result<Response, NativeError> {
    let query = read(query(request, &PARAMETERS)?)?;
    let history = doors.bus.history().clone();
    let found = tokio::task::spawn_blocking(move || history.find(&query)).await;
    let page = found.expect("reading does not panic")?;
    Ok(json_response(StatusCode::OK, &page))
}

/// `GET /v1/history/firings/{id}`.
pub async fn firing(doors: &Doors, request: &Request, id: &str) -> Result<Response, NativeError> {
    query(request, &[])?;
    let Some(id) = decode(id) else {
        return Err(NativeError::unknown_path(&request.path));
    };
    let history = doors.bus.history().clone();
    let asked = id.clone();
    let found = tokio::task::spawn_blocking(move || history.firing(&asked)).await;
    if let Some(found) = found.expect("reading does not panic")? {
        return Ok(json_response(StatusCode::OK, &found));
    }
    let error = NativeError::not_found(&format!("no firing with the id `{id}` is known"));
    Err(match doors.config.history_days {
        0 => error.hint("GET /v1/history/firings lists them"),
        days => error.hint(&format!(
            "firings are kept for {days} days (`history.days`)"
        )),
    })
}

fn read(mut given: HashMap<String, String>) -> Result<Query, NativeError> {
    let limit = limit(&mut given)?;
    let status = given.remove("status").map(|text| {
        serde_json::from_value(text.into()).map_err(|_| {
            let message = "`status` must be in-progress, finished, failed or duplicate";
            NativeError::validation(message)
        })
    });
    let mut time = |name: &str| {
        let read = |text: String| {
            moment::parse(&text).ok_or_else(|| {
                let message = format!("`{name}` must be a time such as 2025-07-01T00:00:00Z");
                NativeError::validation(&message)
            })
        };
        given.remove(name).map(read).transpose()
    };
    Ok(Query {
        from: time("from")?,
        to: time("to")?,
        status: status.transpose()?,
        event: given.remove("event"),
        event_id: given.remove("eventId"),
        object: given.remove("object"),
        trigger: given.remove("trigger"),
        cursor: given.remove("cursor"),
        limit,
    })
}

impl From<HistoryError> for NativeError {
    fn from(error: HistoryError) -> Self {
        if matches!(error, HistoryError::Cursor) {
            return Self::validation(&error.to_string());
        }
        tracing::error!(%error, "the history could not be read");
        let message = "the history could not be read";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
            .hint("the server's log says why")
    }
}
