//! What an attempt came to.
//!
//! `targets` tells it, `retry` decides by it, dead letters and the trail show it. The codes are
//! those of a dead letter's `ERROR_CODE` (`eventbridge-api.md` 8.3).

use std::time::Duration;

/// Longest error text kept, in bytes. Source: eventbridge-api.md 8.3.
pub const TEXT_BYTES_MAX: usize = 1024;

/// What one attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The target has it.
    Delivered,
    /// Worth another try, not before `not_before` from now if the target said so.
    Deferred {
        /// Why.
        failure: Failure,
        /// The target's own `Retry-After`, already bounded to 24 h.
        not_before: Option<Duration>,
    },
    /// Another try would meet the same answer.
    Refused(Failure),
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The code that a dead letter shows.
    pub code: Code,
    /// HTTP status of the target's answer, if one came.
    pub status: Option<u16>,
    /// For people; control characters escaped, at most [`TEXT_BYTES_MAX`].
    pub text: String,
}

impl Failure {
    /// A failure with `text` escaped and cut to its bound.
    #[must_use]
    pub fn new(code: Code, text: &str) -> Self {
        let mut clean = String::with_capacity(text.len());
        for c in text.chars() {
            if clean.len() + 10 > TEXT_BYTES_MAX {
                break;
            }
            if c.is_control() {
                clean.extend(c.escape_default());
            } else {
                clean.push(c);
            }
        }
        Self {
            code,
            status: None,
            text: clean,
        }
    }

    /// The same with the status that the target answered.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal $text:literal,)*) => {
        /// `ERROR_CODE` of a dead letter. The number is what the journal stores: never reuse one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Code { $($(#[$doc])* $name = $number,)* }

        impl Code {
            /// As a dead letter spells it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The code of a stored number.
            #[must_use]
            pub fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }
        }
    };
}

codes! {
    /// Refused, reset, DNS, TLS (F14, F17, F24, F26).
    ConnectionFailure = 1 "CONNECTION_FAILURE",
    /// No answer in time (F15, F16).
    Timeout = 2 "TIMEOUT",
    /// 429.
    Throttling = 3 "THROTTLING",
    /// Any other answer that is no success (F20, F21).
    ErrorFromTarget = 4 "ERROR_FROM_TARGET",
    /// 3xx (F19).
    RedirectNotFollowed = 5 "REDIRECT_NOT_FOLLOWED",
    /// The template gave no JSON (F36).
    InvalidJson = 6 "INVALID_JSON",
    /// A parameter made of the event cannot be sent (F36).
    InvalidParameter = 7 "INVALID_PARAMETER",
    /// What the target names is not there (F27).
    NoResource = 8 "NO_RESOURCE",
    /// Our own fault (F35).
    InternalError = 9 "INTERNAL_ERROR",
    /// The egress guard said no.
    DestinationNotAllowed = 10 "DESTINATION_NOT_ALLOWED",
    /// The event's record is damaged (F8).
    StorageCorrupt = 11 "STORAGE_CORRUPT",
    /// The target's or queue's bound is reached.
    QueueFull = 12 "QUEUE_FULL",
    /// What came of it is larger than can be stored at once.
    TooLarge = 13 "TOO_LARGE",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_text_is_escaped_and_bounded() {
        let failure = Failure::new(Code::Timeout, &format!("a\nb{}", "x".repeat(5000)));
        assert!(failure.text.starts_with("a\\nb"));
        assert!(failure.text.len() <= TEXT_BYTES_MAX);
    }
}
