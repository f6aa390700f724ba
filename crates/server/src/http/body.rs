//! Bodies of answers: whole, guarded, or growing.

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// Runs when it is dropped, unless it was disarmed.
pub struct Guard(Option<Box<dyn FnOnce() + Send>>);

impl Guard {
    /// Runs `undo` when an answer could not be sent whole.
    pub fn new(undo: impl FnOnce() + Send + 'static) -> Self {
        Self(Some(Box::new(undo)))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(undo) = self.0.take() {
            undo();
        }
    }
}

/// Body of an answer.
#[derive(Default)]
pub struct Body {
    whole: Option<Bytes>,
    guard: Option<Guard>,
    stream: Option<mpsc::Receiver<Bytes>>,
}

impl Body {
    /// A body that is there.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self {
            whole: Some(bytes.into()).filter(|b: &Bytes| !b.is_empty()),
            ..Self::default()
        }
    }

    /// The same; `guard` runs if the connection ends before it was taken.
    pub fn guarded(bytes: impl Into<Bytes>, guard: Guard) -> Self {
        Self {
            guard: Some(guard),
            ..Self::whole(bytes)
        }
    }

    /// A body that grows until its sender is dropped.
    #[must_use]
    pub fn stream(parts: mpsc::Receiver<Bytes>) -> Self {
        Self {
            stream: Some(parts),
            ..Self::default()
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(bytes) = self.whole.take() {
            if let Some(guard) = &mut self.guard {
                guard.0 = None;
            }
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match &mut self.stream {
            Some(parts) => parts
                .poll_recv(cx)
                .map(|part| part.map(|bytes| Ok(Frame::data(bytes)))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.whole.is_none() && self.stream.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.stream {
            Some(_) => SizeHint::default(),
            None => SizeHint::with_exact(self.whole.as_ref().map_or(0, |b| b.len() as u64)),
        }
    }
}
