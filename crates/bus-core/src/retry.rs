//! When to try a failed delivery again, and when to stop.
//!
//! Pure arithmetic: policy, attempt number and event age in, a decision out. It reads no clock and never
//! sleeps, which is what lets the simulation cover years of retries. Sleeping, sending and recording
//! belong to others.
//!
//! Start at [`after`].

use crate::limits::{
    AGE_SECONDS_MAX, ATTEMPTS_MAX, BACKOFF_MS_MAX, BACKOFF_MS_MIN, RETRIES_DEFAULT,
};
use crate::outcome::{Failure, Outcome};

/// How long and how often to try. Source: eventbridge-api.md 8.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Attempts in all, the first included: 1 to 186.
    pub attempts_max: u32,
    /// Age of the event, in milliseconds of running time, at which trying stops.
    pub age_ms_max: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            attempts_max: RETRIES_DEFAULT + 1,
            age_ms_max: u64::from(AGE_SECONDS_MAX) * 1000,
        }
    }
}

/// Which bound ended the trying: `EXHAUSTED_RETRY_CONDITION` of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exhausted {
    /// `MaximumRetryAttempts`.
    Attempts,
    /// `MaximumEventAgeInSeconds`.
    Age,
}

impl Exhausted {
    /// As a dead letter spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Attempts => "MaximumRetryAttempts",
            Self::Age => "MaximumEventAgeInSeconds",
        }
    }
}

/// What follows an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The delivery is over.
    Done,
    /// Try again after so many milliseconds.
    RetryIn(u64),
    /// Give up; with the bound that was reached, if one was.
    GiveUp(Failure, Option<Exhausted>),
}

/// Decides what follows attempt number `attempt` (the first is 1) on an event of age `age_ms`.
/// `random` is any number: the back-off's jitter.
#[must_use]
pub fn after(policy: &Policy, attempt: u32, age_ms: u64, outcome: Outcome, random: u64) -> Next {
    assert!(1 <= attempt);
    assert!(attempt <= ATTEMPTS_MAX);
    match outcome {
        Outcome::Delivered => Next::Done,
        Outcome::Refused(failure) => Next::GiveUp(failure, None),
        Outcome::Deferred { failure, .. } if policy.attempts_max <= attempt => {
            Next::GiveUp(failure, Some(Exhausted::Attempts))
        }
        Outcome::Deferred { failure, .. } if policy.age_ms_max <= age_ms => {
            Next::GiveUp(failure, Some(Exhausted::Age))
        }
        Outcome::Deferred { not_before, .. } => {
            let asked = not_before.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX));
            let left = policy.age_ms_max - age_ms;
            Next::RetryIn(
                backoff(attempt, random)
                    .max(asked)
                    .min(left.max(BACKOFF_MS_MIN)),
            )
        }
    }
}

/// Full jitter: evenly between nothing and `1 s × 2^attempt`, at most 960 s, at least 250 ms.
/// Source: reliability-security.md 2.
#[must_use]
pub fn backoff(attempt: u32, random: u64) -> u64 {
    let top = 1000_u64
        .saturating_mul(1 << attempt.min(20))
        .min(BACKOFF_MS_MAX);
    (random % (top + 1)).max(BACKOFF_MS_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Code;
    use std::time::Duration;

    fn deferred(not_before: Option<u64>) -> Outcome {
        Outcome::Deferred {
            failure: Failure::new(Code::ErrorFromTarget, "The target answered 503."),
            not_before: not_before.map(Duration::from_secs),
        }
    }

    #[test]
    fn retries_end_at_the_number_of_attempts() {
        let policy = Policy {
            attempts_max: 3,
            ..Policy::default()
        };
        assert!(matches!(
            after(&policy, 2, 0, deferred(None), 7),
            Next::RetryIn(_)
        ));
        assert!(matches!(
            after(&policy, 3, 0, deferred(None), 7),
            Next::GiveUp(_, Some(Exhausted::Attempts))
        ));
    }

    #[test]
    fn retries_end_at_the_age_of_the_event() {
        let policy = Policy {
            age_ms_max: 60_000,
            ..Policy::default()
        };
        assert!(matches!(
            after(&policy, 1, 60_000, deferred(None), 7),
            Next::GiveUp(_, Some(Exhausted::Age))
        ));
    }

    #[test]
    fn the_back_off_stays_in_its_bounds() {
        for attempt in 1..=ATTEMPTS_MAX {
            for random in [0, 1, u64::MAX / 3, u64::MAX] {
                let delay = backoff(attempt, random);
                assert!((BACKOFF_MS_MIN..=BACKOFF_MS_MAX).contains(&delay));
            }
        }
    }

    #[test]
    fn retry_after_wins_over_a_shorter_back_off_but_not_over_the_age() {
        let policy = Policy {
            age_ms_max: 100_000,
            ..Policy::default()
        };
        assert_eq!(
            after(&policy, 1, 0, deferred(Some(30)), 0),
            Next::RetryIn(30_000)
        );
        assert_eq!(
            after(&policy, 1, 90_000, deferred(Some(30)), 0),
            Next::RetryIn(10_000)
        );
    }

    #[test]
    fn a_refusal_is_not_tried_again() {
        let refused = Outcome::Refused(Failure::new(
            Code::ErrorFromTarget,
            "The target answered 400.",
        ));
        assert!(matches!(
            after(&Policy::default(), 1, 0, refused, 0),
            Next::GiveUp(_, None)
        ));
    }
}
