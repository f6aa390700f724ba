//! Schedules: `rate(…)` and `cron(…)` as EventBridge reads them, and when they are due.
//!
//! Our own reader and calendar: cron libraries count Sunday as 0, take five or seven fields, and know
//! neither `W`, `L-n`, nor ranges that wrap. Times are UTC, whole minutes, as epoch milliseconds; no
//! clock is read.
//! Source: eventbridge-api.md 9.1, whose tables are the tests.
//!
//! Start at [`Schedule::next`].

use std::ops::RangeInclusive;
use time::{Date, Month};

/// Characters of an expression.
pub const EXPRESSION_CHARACTERS_MAX: usize = 256;
const MINUTE_MS: i64 = 60_000;
const YEARS: RangeInclusive<u32> = 1970..=2199;
const MONTHS: [&str; 12] = [
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// Why an expression is turned down. `Display` is the service's text, which says no more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Parameter ScheduleExpression is not valid.")]
pub struct ScheduleError {
    /// What is wrong, for people.
    pub why: String,
}

/// An expression that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// Every so many milliseconds, counted from an anchor.
    Rate(i64),
    /// By the calendar.
    Cron(Box<Cron>),
}

/// The fields of `cron(…)`, as sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    minutes: Set,
    hours: Set,
    days: Days,
    months: Set,
    years: Set,
}

/// Numbers below 256: bit `n` of word `n / 64`. Years count from 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Set([u64; 4]);

impl Set {
    fn add(&mut self, number: u32) {
        self.0[number as usize / 64] |= 1 << (number % 64);
    }

    fn has(&self, number: u32) -> bool {
        number < 256 && self.0[number as usize / 64] & (1 << (number % 64)) != 0
    }
}

/// Which of the two day fields is not `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Days {
    OfMonth(Vec<DayOfMonth>),
    OfWeek(Vec<DayOfWeek>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DayOfMonth {
    Plain(Set),
    /// So many days before the last one.
    Last(u32),
    LastWorking,
    Working(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DayOfWeek {
    Plain(Set),
    Last(u32),
    Nth(u32, u32),
}

impl Schedule {
    /// Reads an expression.
    ///
    /// # Errors
    /// [`ScheduleError`], which says where people should look.
    pub fn parse(text: &str) -> Result<Schedule, ScheduleError> {
        if EXPRESSION_CHARACTERS_MAX < text.chars().count() {
            return refuse(format!(
                "longer than {EXPRESSION_CHARACTERS_MAX} characters"
            ));
        }
        let inside = |name: &str| text.strip_prefix(name)?.strip_suffix(')');
        if let Some(inside) = inside("rate(") {
            return rate(inside);
        }
        match inside("cron(") {
            Some(inside) => cron(inside).map(|cron| Schedule::Cron(Box::new(cron))),
            None => refuse("an expression is `rate(VALUE UNIT)` or `cron(SIX FIELDS)`"),
        }
    }

    /// The first tick behind `after`; `None` when there is none any more. A rate counts from
    /// `anchor`, its first tick one interval behind it; `cron` does not look at it.
    #[must_use]
    pub fn next(&self, after: i64, anchor: i64) -> Option<i64> {
        match self {
            Schedule::Rate(interval) => {
                let passed = (after - anchor).div_euclid(*interval).max(0);
                anchor.checked_add((passed + 1).checked_mul(*interval)?)
            }
            Schedule::Cron(cron) => cron.next(after),
        }
    }

    /// The last tick behind `after` and not behind `until`: what is made up for after a stop.
    #[must_use]
    pub fn latest(&self, after: i64, until: i64, anchor: i64) -> Option<i64> {
        let tick = match self {
            Schedule::Rate(interval) => {
                let passed = (until - anchor).div_euclid(*interval);
                (1 <= passed).then(|| anchor + passed * interval)
            }
            Schedule::Cron(cron) => cron.latest(until),
        };
        tick.filter(|tick| after < *tick)
    }
}

fn refuse<T>(why: impl Into<String>) -> Result<T, ScheduleError> {
    Err(ScheduleError { why: why.into() })
}

fn rate(text: &str) -> Result<Schedule, ScheduleError> {
    let Some((value, unit)) = text.split_once(' ') else {
        return refuse("a rate is a number, one blank and a unit: `rate(5 minutes)`");
    };
    let number = digits(value).filter(|number| (1..=2_147_483_647).contains(number));
    let Some(number) = number else {
        return refuse(format!("`{value}` is no whole number from 1 to 2147483647"));
    };
    let units = [("minute", 1), ("hour", 60), ("day", 24 * 60)];
    let name = match (number, unit.strip_suffix('s')) {
        (1, _) => unit,
        (_, Some(name)) => name,
        (_, None) => "",
    };
    match units.iter().find(|(unit, _)| *unit == name) {
        Some((_, minutes)) => Ok(Schedule::Rate(i64::from(number) * minutes * MINUTE_MS)),
        None => refuse(format!(
            "the unit of {number} is `minute`, `hour` or `day`, with an `s` unless the number is 1"
        )),
    }
}

/// A number written in at most ten digits.
fn digits(text: &str) -> Option<u32> {
    let fits = (1..=10).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| text.parse().ok())?
}

/// One field of `cron(…)`: what its numbers are called and may be.
struct Kind {
    name: &'static str,
    range: RangeInclusive<u32>,
    names: &'static [&'static str],
    wraps: bool,
}

fn cron(text: &str) -> Result<Cron, ScheduleError> {
    let fields: Vec<&str> = text.split(' ').collect();
    let [minutes, hours, month_days, months, week_days, years] = fields.as_slice() else {
        return refuse(format!(
            "six fields with one blank between are wanted, not {}",
            fields.len()
        ));
    };
    let kind = |name, range, names, wraps| Kind {
        name,
        range,
        names,
        wraps,
    };
    let days = match (*month_days, *week_days) {
        ("?", "?") => return refuse("only one of day of month and day of week may be `?`"),
        (days, "?") => Days::OfMonth(each(days, day_of_month)?),
        ("?", days) => {
            let found = each(days, day_of_week)?;
            let nth = |day: &DayOfWeek| matches!(day, DayOfWeek::Nth(..));
            if 1 < found.len() && found.iter().any(nth) {
                return refuse("`#` stands alone in the day of week");
            }
            Days::OfWeek(found)
        }
        _ => return refuse("one of day of month and day of week must be `?`"),
    };
    let set = |text: &str, kind: Kind| -> Result<Set, ScheduleError> {
        let mut all = Set::default();
        for part in text.split(',') {
            fill(&mut all, part, &kind)?;
        }
        Ok(all)
    };
    Ok(Cron {
        minutes: set(minutes, kind("minute", 0..=59, &[], true))?,
        hours: set(hours, kind("hour", 0..=23, &[], true))?,
        days,
        months: set(months, kind("month", 1..=12, &MONTHS, true))?,
        years: set(years, kind("year", YEARS, &[], false))?,
    })
}

fn each<T>(
    text: &str,
    read: impl Fn(&str) -> Result<T, ScheduleError>,
) -> Result<Vec<T>, ScheduleError> {
    text.split(',').map(read).collect()
}

fn day_of_month(text: &str) -> Result<DayOfMonth, ScheduleError> {
    let kind = Kind {
        name: "day of month",
        range: 1..=31,
        names: &[],
        wraps: true,
    };
    if text == "L" {
        return Ok(DayOfMonth::Last(0));
    }
    if text == "LW" {
        return Ok(DayOfMonth::LastWorking);
    }
    if let Some(before) = text.strip_prefix("L-") {
        return match digits(before).filter(|days| *days <= 30) {
            Some(days) => Ok(DayOfMonth::Last(days)),
            None => refuse(format!(
                "`{before}` is no number of days before the last one"
            )),
        };
    }
    if let Some(day) = text.strip_suffix('W') {
        return number(day, &kind).map(DayOfMonth::Working);
    }
    let mut set = Set::default();
    fill(&mut set, text, &kind)?;
    Ok(DayOfMonth::Plain(set))
}

fn day_of_week(text: &str) -> Result<DayOfWeek, ScheduleError> {
    let kind = Kind {
        name: "day of week",
        range: 1..=7,
        names: &WEEKDAYS,
        wraps: true,
    };
    if let Some((day, nth)) = text.split_once('#') {
        let day = number(day, &kind)?;
        return match digits(nth).filter(|nth| (1..=5).contains(nth)) {
            Some(nth) => Ok(DayOfWeek::Nth(day, nth)),
            None => refuse(format!("`#{nth}`: 1 to 5 is wanted")),
        };
    }
    let mut set = Set::default();
    match text.strip_suffix('L') {
        // Saturday, the last day of a week.
        Some("") => set.add(7),
        Some(day) => return number(day, &kind).map(DayOfWeek::Last),
        None => fill(&mut set, text, &kind)?,
    }
    Ok(DayOfWeek::Plain(set))
}

fn number(text: &str, kind: &Kind) -> Result<u32, ScheduleError> {
    let named = kind
        .names
        .iter()
        .position(|it| it.eq_ignore_ascii_case(text));
    let number = match named {
        Some(at) => u32::try_from(at).ok().map(|at| at + kind.range.start()),
        None => digits(text).filter(|number| kind.range.contains(number)),
    };
    let (start, end) = (kind.range.start(), kind.range.end());
    match number {
        Some(number) => Ok(number),
        None => refuse(format!("`{text}` is no {}: {start} to {end}", kind.name)),
    }
}

/// Adds what one part of a list names: `*`, `a`, `a-b`, each with `/n` or not.
fn fill(set: &mut Set, text: &str, kind: &Kind) -> Result<(), ScheduleError> {
    let (range, step) = match text.split_once('/') {
        None => (text, None),
        Some((range, step)) => match digits(step).filter(|step| 1 <= *step) {
            Some(step) => (range, Some(step)),
            None => return refuse(format!("`/{step}`: a step of 1 or more is wanted")),
        },
    };
    let (first, last) = (*kind.range.start(), *kind.range.end());
    let (from, to) = match range.split_once('-') {
        _ if range == "*" => (first, last),
        Some((from, to)) => (number(from, kind)?, number(to, kind)?),
        None => {
            let from = number(range, kind)?;
            (from, if step.is_some() { last } else { from })
        }
    };
    if to < from && !kind.wraps {
        return refuse(format!(
            "`{range}`: the {} does not run backwards",
            kind.name
        ));
    }
    let width = last - first + 1;
    let length = if from <= to {
        to - from
    } else {
        to + width - from
    };
    // Years alone do not wrap and do not fit the set as they are: they count from the first.
    let base = if kind.wraps { 0 } else { first };
    let mut at = 0;
    while at <= length {
        set.add(first + (from - first + at) % width - base);
        // A step beyond the field ends it.
        at = at.saturating_add(step.unwrap_or(1));
    }
    Ok(())
}

impl Cron {
    fn next(&self, after: i64) -> Option<i64> {
        let from = after.div_euclid(MINUTE_MS).checked_add(1)? * MINUTE_MS;
        let mut months = self.months_from(month_of(from)?, false);
        months.find_map(|month| self.in_month(month, false, |tick| from <= tick))
    }

    fn latest(&self, until: i64) -> Option<i64> {
        let mut months = self.months_from(month_of(until)?, true);
        months.find_map(|month| self.in_month(month, true, |tick| tick <= until))
    }

    /// The months that fit, as months since 1970, from this one to the end or back to the beginning.
    fn months_from(&self, from: u32, back: bool) -> impl Iterator<Item = u32> {
        let end = (YEARS.end() - YEARS.start() + 1) * 12;
        let forth = from..end.max(from);
        let back = back.then(|| (0..from.saturating_add(1).min(end)).rev());
        let forth = back.is_none().then_some(forth);
        let months = back
            .into_iter()
            .flatten()
            .chain(forth.into_iter().flatten());
        months.filter(|month| self.years.has(month / 12) && self.months.has(month % 12 + 1))
    }

    /// The first or the last tick in a month that is wanted. Bounds: 31 × 24 × 60 ticks.
    fn in_month(&self, month: u32, last: bool, wanted: impl Fn(i64) -> bool) -> Option<i64> {
        let (first_day, days) = self.days_in(month)?;
        let at = |n: u32, length: u32| if last { length - 1 - n } else { n };
        for day in (0..31).map(|n| at(n, 31)).filter(|day| days.has(day + 1)) {
            let midnight = (first_day + i64::from(day)) * 24 * 60 * MINUTE_MS;
            // A day of which no minute is wanted is stepped over.
            if !wanted(if last {
                midnight
            } else {
                midnight + (24 * 60 - 1) * MINUTE_MS
            }) {
                continue;
            }
            for hour in (0..24)
                .map(|n| at(n, 24))
                .filter(|hour| self.hours.has(*hour))
            {
                for minute in (0..60)
                    .map(|n| at(n, 60))
                    .filter(|it| self.minutes.has(*it))
                {
                    let tick = midnight + i64::from(hour * 60 + minute) * MINUTE_MS;
                    if wanted(tick) {
                        return Some(tick);
                    }
                }
            }
        }
        None
    }

    /// The epoch day of a month's first day, and the days of it that fit.
    fn days_in(&self, month: u32) -> Option<(i64, Set)> {
        let year = i32::try_from(YEARS.start() + month / 12).ok()?;
        let name = Month::try_from(u8::try_from(month % 12 + 1).ok()?).ok()?;
        let first = Date::from_calendar_date(year, name, 1).ok()?;
        let length = u32::from(name.length(year));
        // 1 is Sunday, as in the field.
        let before = u32::from(first.weekday().number_days_from_sunday());
        let weekday = |day: u32| (before + day - 1) % 7 + 1;
        let working = |day: &u32| (2..=6).contains(&weekday(*day));
        let mut found = Set::default();
        let mut add_all = |fits: &dyn Fn(u32) -> bool| {
            (1..=length)
                .filter(|day| fits(*day))
                .for_each(|day| found.add(day));
        };
        match &self.days {
            Days::OfMonth(days) => {
                for day in days {
                    match *day {
                        DayOfMonth::Plain(set) => add_all(&|day| set.has(day)),
                        DayOfMonth::Last(before) => add_all(&|day| day + before == length),
                        DayOfMonth::LastWorking => {
                            let last = (1..=length).rev().find(working);
                            add_all(&|day| Some(day) == last);
                        }
                        DayOfMonth::Working(day) if length < day => {}
                        DayOfMonth::Working(wanted) => {
                            let near = [
                                wanted,
                                wanted - 1,
                                wanted + 1,
                                wanted + 2,
                                wanted.max(3) - 2,
                            ];
                            let inside = |day: &u32| (1..=length).contains(day);
                            let nearest = near.into_iter().filter(inside).find(working);
                            add_all(&|day| Some(day) == nearest);
                        }
                    }
                }
            }
            Days::OfWeek(days) => {
                for day in days {
                    match *day {
                        DayOfWeek::Plain(set) => add_all(&|day| set.has(weekday(day))),
                        DayOfWeek::Last(wanted) => {
                            add_all(&|day| weekday(day) == wanted && length < day + 7);
                        }
                        DayOfWeek::Nth(wanted, nth) => {
                            add_all(&|day| weekday(day) == wanted && day.div_ceil(7) == nth);
                        }
                    }
                }
            }
        }
        let epoch = Date::from_calendar_date(1970, Month::January, 1).ok()?;
        let first_day = i64::from(first.to_julian_day() - epoch.to_julian_day());
        Some((first_day, found))
    }
}

/// Months since 1970 of a moment; moments before it count as its first.
fn month_of(ms: i64) -> Option<u32> {
    let at = time::OffsetDateTime::from_unix_timestamp(ms.max(0).div_euclid(1000)).ok()?;
    let years = u32::try_from(at.year()).ok()?.checked_sub(*YEARS.start())?;
    Some(years * 12 + u32::from(u8::from(at.month())) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment;

    fn at(text: &str) -> i64 {
        moment::parse(&format!("{}:00Z", text.replace(' ', "T"))).unwrap()
    }

    /// Monday.
    const NOW: &str = "2026-11-23 12:00";

    #[test]
    fn the_accepted_ones_are_accepted() {
        for text in [
            "rate(1 minute)",
            "rate(5 minutes)",
            "rate(1 hour)",
            "rate(7 days)",
            "rate(2147483647 days)",
            "cron(0 10 * * ? *)",
            "cron(15 12 * * ? *)",
            "cron(0 18 ? * MON-FRI *)",
            "cron(0/15 * * * ? *)",
            "cron(*/15 * * * ? *)",
            "cron(0/5 8-17 ? * MON-FRI *)",
            "cron(0 8 1 * ? *)",
            "cron(0 20-2 * * ? *)",
            "cron(0 9 L * ? *)",
            "cron(0 9 L-2 * ? *)",
            "cron(0 9 LW * ? *)",
            "cron(0 9 3W * ? *)",
            "cron(0 9 ? * 6L *)",
            "cron(0 9 ? * FRIL *)",
            "cron(0 9 ? * SAT#3 *)",
            "cron(0 9 ? * 2#1 *)",
            "cron(0 0 1 JAN ? 2027-2030)",
            "cron(50-10/5 * * * ? *)",
            "cron(0 0 1 1 ? 2002)",
            "cron(0 0 ? nov-Feb fri-mon *)",
            "cron(0 0 1,15,L * ? 1970,2199)",
        ] {
            assert!(Schedule::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn the_refused_ones_are_refused() {
        for text in [
            "rate(1 minutes)",
            "rate(5 minute)",
            "rate(0 minutes)",
            "rate(-1 hour)",
            "rate(1.5 hours)",
            "rate(10 seconds)",
            "rate()",
            "rate(5  minutes)",
            "rate( 5 minutes)",
            "rate(5minutes)",
            "rate(5 minutes )",
            " rate(5 minutes)",
            "rate(2147483648 days)",
            "rate(+5 minutes)",
            "RATE(5 minutes)",
            "rate(5 Minutes)",
            "rate(1 minutess)",
            "rate(2 s)",
            "rate(5 minutes",
            "cron(0 1 * * * *)",
            "cron(0 1 ? * ? *)",
            "cron(0 10 * * ?)",
            "cron(0 0 10 * * ? *)",
            "cron(71 8 1 * ? *)",
            "cron(0 24 * * ? *)",
            "cron(0 0 32 * ? *)",
            "cron(0 0 0 * ? *)",
            "cron(0 0 ? * 0 *)",
            "cron(0 0 ? * 8 *)",
            "cron(0 0 1 13 ? *)",
            "cron(0 0 1 * ? 1969)",
            "cron(0 0 1 * ? 2200)",
            "cron(0 0 1 * ? 2030-2027)",
            "cron(7 20 * * NOT *)",
            "cron(0 dummy ? * MON-FRI *)",
            "cron(INVALID)",
            "cron(0 0 ? * 3#1,6#3 *)",
            "cron(0 0 ? * 2#6 *)",
            "cron(0 0 ? * 2#0 *)",
            "cron(0/0 * * * ? *)",
            "cron(0 0 1  * ? *)",
            "cron( 0 0 1 * ? *)",
            "cron(0 0 1, * ? *)",
            "cron(0 0 L-31 * ? *)",
            "cron(0 0 32W * ? *)",
            "cron(? 0 1 * ? *)",
            "cron(0 0 1 ? ? *)",
            "at(2030-01-01T00:00:00)",
            "0 10 * * ? *",
            "@daily",
            "",
            "cron(0 0 1-2-3 * ? *)",
        ] {
            let error = Schedule::parse(text).expect_err(text);
            assert_eq!(
                error.to_string(),
                "Parameter ScheduleExpression is not valid."
            );
            assert!(!error.why.is_empty());
        }
        assert!(Schedule::parse(&format!("cron({} 0 1 * ? *)", "1,".repeat(200))).is_err());
    }

    #[track_caller]
    fn fires(text: &str, expected: [&str; 3]) {
        let schedule = Schedule::parse(text).unwrap();
        let mut after = at(NOW);
        let mut ticks = Vec::new();
        for _ in 0..3 {
            after = schedule.next(after, 0).unwrap();
            ticks.push(after);
        }
        assert_eq!(ticks, expected.map(at), "{text}");
        // Backwards the same ones are found.
        for (before, tick) in [
            (at(NOW), ticks[0]),
            (ticks[0], ticks[1]),
            (ticks[1], ticks[2]),
        ] {
            assert_eq!(schedule.latest(before, tick, 0), Some(tick), "{text}");
            assert_eq!(
                schedule.latest(before, tick + 59_999, 0),
                Some(tick),
                "{text}"
            );
            assert_eq!(schedule.latest(before, tick - 1, 0), None, "{text}");
        }
    }

    #[test]
    fn the_next_three_are_those_of_the_table() {
        for (text, expected) in [
            (
                "cron(0/25 * * * ? *)",
                ["2026-11-23 12:25", "2026-11-23 12:50", "2026-11-23 13:00"],
            ),
            (
                "cron(50-10/5 * * * ? *)",
                ["2026-11-23 12:05", "2026-11-23 12:10", "2026-11-23 12:50"],
            ),
            (
                "cron(0 20-2/2 * * ? *)",
                ["2026-11-23 20:00", "2026-11-23 22:00", "2026-11-24 00:00"],
            ),
            (
                "cron(0 9 L-2 * ? *)",
                ["2026-11-28 09:00", "2026-12-29 09:00", "2027-01-29 09:00"],
            ),
            (
                "cron(0 9 LW * ? *)",
                ["2026-11-30 09:00", "2026-12-31 09:00", "2027-01-29 09:00"],
            ),
            (
                "cron(0 9 1W MAY ? *)",
                ["2027-05-03 09:00", "2028-05-01 09:00", "2029-05-01 09:00"],
            ),
            (
                "cron(0 9 15W MAY ? *)",
                ["2027-05-14 09:00", "2028-05-15 09:00", "2029-05-15 09:00"],
            ),
            (
                "cron(0 9 31 * ? *)",
                ["2026-12-31 09:00", "2027-01-31 09:00", "2027-03-31 09:00"],
            ),
            (
                "cron(0 9 ? * 6L *)",
                ["2026-11-27 09:00", "2026-12-25 09:00", "2027-01-29 09:00"],
            ),
            (
                "cron(0 9 ? * L *)",
                ["2026-11-28 09:00", "2026-12-05 09:00", "2026-12-12 09:00"],
            ),
            (
                "cron(0 9 ? * 2#5 *)",
                ["2026-11-30 09:00", "2027-03-29 09:00", "2027-05-31 09:00"],
            ),
            (
                "cron(0 9 ? * FRI-MON *)",
                ["2026-11-27 09:00", "2026-11-28 09:00", "2026-11-29 09:00"],
            ),
            (
                "cron(0 9 28-3 DEC-JAN ? *)",
                ["2026-12-01 09:00", "2026-12-02 09:00", "2026-12-03 09:00"],
            ),
            (
                "cron(30 6 ? * 1,7 2027/2)",
                ["2027-01-02 06:30", "2027-01-03 06:30", "2027-01-09 06:30"],
            ),
            (
                "cron(0 0 29 FEB ? *)",
                ["2028-02-29 00:00", "2032-02-29 00:00", "2036-02-29 00:00"],
            ),
            // Ours: the working day nearest to the 31st never leaves the month; none in April.
            (
                "cron(0 9 31W * ? *)",
                ["2026-12-31 09:00", "2027-01-29 09:00", "2027-03-31 09:00"],
            ),
            (
                "cron(0 9 1W AUG ? *)",
                ["2027-08-02 09:00", "2028-08-01 09:00", "2029-08-01 09:00"],
            ),
        ] {
            fires(text, expected);
        }
    }

    #[test]
    fn what_is_over_never_fires() {
        for (text, after) in [
            ("cron(0 0 1 1 ? 2002)", NOW),
            ("cron(0 0 31 FEB ? *)", NOW),
            ("cron(0 0 * * ? *)", "2199-12-31 00:00"),
            ("cron(0 0 * * ? *)", "2300-12-31 00:00"),
        ] {
            assert_eq!(
                Schedule::parse(text).unwrap().next(at(after), 0),
                None,
                "{text}"
            );
        }
        let daily = Schedule::parse("cron(0 0 * * ? *)").unwrap();
        assert_eq!(
            daily.next(at("2199-12-30 00:00"), 0),
            Some(at("2199-12-31 00:00"))
        );
        let past = Schedule::parse("cron(0 0 1 1 ? 2002)").unwrap();
        assert_eq!(past.latest(0, at(NOW), 0), Some(at("2002-01-01 00:00")));
        assert_eq!(past.latest(at("2002-01-01 00:00"), at(NOW), 0), None);
    }

    #[test]
    fn a_rate_counts_from_its_anchor() {
        let hourly = Schedule::parse("rate(1 hour)").unwrap();
        let anchor = at("2026-11-23 12:10");
        assert_eq!(hourly.next(at(NOW), anchor), Some(at("2026-11-23 13:10")));
        assert_eq!(hourly.next(anchor, anchor), Some(at("2026-11-23 13:10")));
        assert_eq!(
            hourly.next(at("2026-11-23 13:10"), anchor),
            Some(at("2026-11-23 14:10"))
        );
        let missed = hourly.latest(at("2026-11-23 13:10"), at("2026-11-23 18:30"), anchor);
        assert_eq!(missed, Some(at("2026-11-23 18:10")));
        assert_eq!(hourly.latest(0, at("2026-11-23 13:09"), anchor), None);
        let never = Schedule::parse("rate(2147483647 days)").unwrap();
        assert!(never.next(at(NOW), anchor).is_some());
    }
}
