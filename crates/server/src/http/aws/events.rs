//! events door.
use crate::http::{Doors, Request, Response};
/// Answers a request of this API.
pub async fn answer(_doors: &Doors, _request: Request) -> Response {
    Response::default()
}
/// The answer to a request that could not be read.
pub fn unread(_request: &Request, why: crate::http::connection::Unread) -> Response {
    crate::http::connection::response(
        crate::http::connection::unread_status(why),
        "application/json",
        "{}",
    )
}
/// The answer to a request that panicked.
pub fn internal_error(_id: uuid::Uuid) -> Response {
    crate::http::connection::response(
        ::http::StatusCode::INTERNAL_SERVER_ERROR,
        "application/json",
        "{}",
    )
}
