//! Days to dates and back, proleptic Gregorian calendar, UTC. No clock.
//!
//! Years begin in March here, so that the leap day is the last of its year; 400 of them, an era,
//! have 146,097 days.

const DAY_MS: i64 = 86_400_000;
/// Days from March 1st of the year 0 to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;
const ERA_DAYS: i64 = 146_097;

/// Milliseconds since 1970 as `2026-09-13T12:17:30.408Z`.
pub fn format(unix_ms: i64) -> String {
    let (year, month, day) = date(unix_ms.div_euclid(DAY_MS));
    let rest = unix_ms.rem_euclid(DAY_MS);
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    let (second, ms) = (rest / 1000 % 60, rest % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// The milliseconds of an envelope's `time`, `2026-09-13T12:17:30Z`.
pub fn parse(text: &[u8]) -> Option<i64> {
    let field = |at: usize, length: usize| {
        text[at..at + length].iter().try_fold(0_i64, |sum, byte| {
            byte.is_ascii_digit()
                .then(|| sum * 10 + i64::from(byte - b'0'))
        })
    };
    if text.len() != 20 {
        return None;
    }
    let punctuation = [
        (4, b'-'),
        (7, b'-'),
        (10, b'T'),
        (13, b':'),
        (16, b':'),
        (19, b'Z'),
    ];
    if punctuation.iter().any(|&(at, byte)| text[at] != byte) {
        return None;
    }
    let days = days(field(0, 4)?, field(5, 2)?, field(8, 2)?);
    let seconds = field(11, 2)? * 3600 + field(14, 2)? * 60 + field(17, 2)?;
    Some(days * DAY_MS + seconds * 1000)
}

/// Year, month and day of a day since 1970.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH_DAYS;
    let era = days.div_euclid(ERA_DAYS);
    let day_of_era = days.rem_euclid(ERA_DAYS);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months of 31 and 30 days alternate from March on: 153 days in each five.
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// Days since 1970 of a date.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let march_month = (month + 9) % 12;
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * march_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    year.div_euclid(400) * ERA_DAYS + day_of_era - EPOCH_DAYS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, unix_ms: i64) {
        assert_eq!(parse(text.as_bytes()), Some(unix_ms));
        assert_eq!(format(unix_ms), text.replace('Z', ".000Z"));
    }

    #[test]
    fn dates_go_both_ways() {
        check("1970-01-01T00:00:00Z", 0);
        check("2000-02-29T23:59:59Z", 951_868_799_000);
        check("2023-11-14T22:13:20Z", 1_700_000_000_000);
        check("2026-09-13T12:17:30Z", 1_789_301_850_000);
        check("2100-03-01T00:00:00Z", 4_107_542_400_000);
        check("9999-12-31T23:59:59Z", 253_402_300_799_000);
    }

    #[test]
    fn each_day_is_the_one_after_the_day_before() {
        for day in -1_000_000..4_000_000 {
            let (year, month, of_month) = date(day);
            assert_eq!(days(year, month, of_month), day);
            assert!((1..=12).contains(&month));
            assert!((1..=31).contains(&of_month));
        }
    }

    #[test]
    fn milliseconds_before_1970_count_up() {
        assert_eq!(format(-1), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "2026-09-13T12:17:30",
            "2026-09-13 12:17:30Z",
            "2026-0x-13T12:17:30Z",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
