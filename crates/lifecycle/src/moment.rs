//! Points in time and spans of it, as operators and events write them.
//!
//! A moment is epoch milliseconds, as in all of the bus; a span is milliseconds too. No clock is read
//! here or anywhere in this crate.
//! Source: certificate-lifecycle.md 6.3.

use bus_core::envelope::{TIME_SECONDS, format_seconds};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Milliseconds of a day of 24 hours.
pub const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Longest span that is accepted: about a thousand years, so that sums of moments and spans fit.
pub const SPAN_MS_MAX: i64 = 366_000 * DAY_MS;

/// The moment that an RFC 3339 text names, to the millisecond below; `None` if it is none.
#[must_use]
pub fn parse(text: &str) -> Option<i64> {
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(moment.unix_timestamp_nanos().div_euclid(1_000_000)).ok()
}

/// `YYYY-MM-DDTHH:MM:SSZ`, as an envelope's `time` is written; moments outside 1970 to 9999 show the
/// nearest end.
#[must_use]
pub fn format(ms: i64) -> String {
    let seconds = ms
        .div_euclid(1000)
        .clamp(*TIME_SECONDS.start(), *TIME_SECONDS.end());
    format_seconds(seconds).expect("within the bounds")
}

/// Reads a duration of weeks, days, hours, minutes and seconds: `P30D`, `PT1H30M`, `P1W`.
///
/// Whole numbers of at most nine digits, each unit once, in this order, at least one.
///
/// # Errors
/// What is wrong, for people. Months and years have no fixed length and are refused.
pub fn span(text: &str) -> Result<i64, &'static str> {
    const SHAPE: &str = "a duration is such as `P30D`, `PT1H` or `P1DT12H`";
    let rest = text.strip_prefix('P').ok_or(SHAPE)?;
    let (days, clock) = match rest.split_once('T') {
        Some((_, "")) => return Err(SHAPE),
        Some((days, clock)) => (days, clock),
        None => (rest, ""),
    };
    if days.contains(['Y', 'M']) {
        return Err("months and years have no fixed length: write days, such as `P30D`");
    }
    let mut total = 0_i64;
    let mut parts = 0;
    for (text, units) in [
        (days, &[('W', 7 * DAY_MS), ('D', DAY_MS)][..]),
        (clock, &[('H', 3_600_000), ('M', 60_000), ('S', 1000)][..]),
    ] {
        let mut rest = text;
        for (unit, ms) in units {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            if !(1..=9).contains(&digits) || !rest[digits..].starts_with(*unit) {
                continue;
            }
            let number: i64 = rest[..digits].parse().expect("at most nine digits");
            total += number * ms;
            parts += 1;
            rest = &rest[digits + 1..];
        }
        if !rest.is_empty() {
            return Err(SHAPE);
        }
    }
    match (parts, total) {
        (0, _) => Err(SHAPE),
        (_, SPAN_MS_MAX..) => Err("longer than a thousand years"),
        _ => Ok(total),
    }
}

/// A span as [`span`] reads it, in whole days if it is of such.
#[must_use]
pub fn format_span(ms: i64) -> String {
    match ms % DAY_MS {
        0 => format!("P{}D", ms / DAY_MS),
        _ => format!("PT{}S", ms / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_fixed_units_only() {
        for (text, ms) in [
            ("P1D", DAY_MS),
            ("P1W", 7 * DAY_MS),
            ("P1W2D", 9 * DAY_MS),
            ("PT1H", 3_600_000),
            ("PT90S", 90_000),
            ("P1DT2H3M4S", DAY_MS + 7_384_000),
            ("PT0S", 0),
        ] {
            assert_eq!(span(text), Ok(ms), "{text}");
            assert_eq!(span(&format_span(ms)), Ok(ms), "{text}");
        }
        for text in [
            "",
            "P",
            "PT",
            "P1",
            "1D",
            "P1M",
            "P1Y",
            "P1DT",
            "P1H",
            "PT1D",
            "p1d",
            "P-1D",
            "P1.5D",
            "PT1S1H",
            "P1D1D",
            "P9999999999D",
            "P999999999D",
            " P1D",
            "P1D ",
            "PTé",
        ] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn moments_are_rfc_3339() {
        assert_eq!(parse("1970-01-01T00:00:01Z"), Some(1000));
        assert_eq!(parse("1970-01-01T02:00:00.250+02:00"), Some(250));
        assert_eq!(parse("1969-12-31T23:59:59.9999Z"), Some(-1));
        for text in ["2025-07-01", "2025-07-01T10:00:00", "yesterday", ""] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(format(1_999), "1970-01-01T00:00:01Z");
        assert_eq!(format(-5), "1970-01-01T00:00:00Z");
    }
}
