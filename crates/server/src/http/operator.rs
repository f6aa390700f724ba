//! operator door.
use super::{Doors, Request, Response};
/// Answers a request of this API.
pub async fn answer(_doors: &Doors, _request: Request) -> Response {
    Response::default()
}
