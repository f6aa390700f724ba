//! Our own doors for events: entries and whole envelopes, no SDK needed.

use super::{Doors, Request, Response};

/// Entries of one or many events.
pub async fn events(_doors: &Doors, request: Request, _bus: String) -> Response {
    super::native::NativeError::unknown_path(&request.path).answer(request.id)
}

/// Whole envelopes.
pub async fn envelopes(_doors: &Doors, request: Request, _bus: String) -> Response {
    super::native::NativeError::unknown_path(&request.path).answer(request.id)
}
