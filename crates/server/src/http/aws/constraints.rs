//! The bounds that the API's model sets, and the one text that tells all of them that were broken.
//!
//! `N validation error(s) detected: CLAUSE; CLAUSE`. Clauses come in the order of the checks: members as the
//! model lists them; in a member required, length, pattern, enum, range.
//! Source: eventbridge-api.md 16.2.

use std::fmt::{Display, Write};

/// Longest rendering of a list in a clause, in bytes: a call's `Detail` must not be echoed whole.
const LIST_BYTES_MAX: usize = 1024;

/// A pattern of the model: its text, and whether a whole value fits it.
#[derive(Clone, Copy)]
pub struct Form {
    /// As the model writes it.
    pub pattern: &'static str,
    /// Whether a value is of this form.
    pub fits: fn(&str) -> bool,
}

/// Bounds of a string member.
#[derive(Clone, Copy)]
pub struct Text {
    /// Least number of characters.
    pub min: usize,
    /// Largest number of characters.
    pub max: usize,
    /// Its pattern, if it has one.
    pub form: Option<Form>,
}

impl Text {
    /// A text of `min` to `max` characters, whichever they are.
    #[must_use]
    pub const fn of(min: usize, max: usize) -> Self {
        Self {
            min,
            max,
            form: None,
        }
    }

    /// The same with a pattern.
    #[must_use]
    pub const fn like(
        min: usize,
        max: usize,
        pattern: &'static str,
        fits: fn(&str) -> bool,
    ) -> Self {
        Self {
            min,
            max,
            form: Some(Form { pattern, fits }),
        }
    }

    fn holds(&self, value: &str) -> bool {
        // Most values are short enough in bytes, and then in characters.
        let short = self.min <= 1 && !value.is_empty() && value.len() <= self.max;
        let length = short || (self.min..=self.max).contains(&value.chars().count());
        length && self.form.is_none_or(|form| (form.fits)(value))
    }
}

/// Collects what a call breaks.
#[derive(Debug, Default)]
pub struct Constraints {
    clauses: Vec<String>,
}

impl Constraints {
    /// Adds a clause: `Value 'VALUE' at 'PATH' failed to satisfy constraint: CONSTRAINT`.
    pub fn fail(&mut self, value: Option<&str>, path: impl Display, constraint: impl Display) {
        let mut clause = String::from("Value ");
        // Writing to a string cannot fail.
        let _ = match value {
            Some(value) => write!(clause, "'{value}'"),
            None => write!(clause, "null"),
        };
        let _ = write!(
            clause,
            " at '{path}' failed to satisfy constraint: {constraint}"
        );
        self.clauses.push(clause);
    }

    /// Adds a clause that is written already.
    pub fn clause(&mut self, clause: String) {
        self.clauses.push(clause);
    }

    /// A member that must be there.
    pub fn required<T>(&mut self, path: impl Display, value: Option<&T>)
    where
        T: ?Sized,
    {
        if value.is_none() {
            self.fail(None, path, "Member must not be null");
        }
    }

    /// A string member within its bounds, if it is there.
    pub fn text(&mut self, path: impl Display, value: Option<&str>, bounds: &Text) {
        let Some(value) = value.filter(|value| !bounds.holds(value)) else {
            return;
        };
        let count = value.chars().count();
        if count < bounds.min {
            self.fail(Some(value), &path, Shortest(bounds.min));
        }
        if bounds.max < count {
            self.fail(Some(value), &path, Longest(bounds.max));
        }
        if let Some(form) = bounds.form.filter(|form| !(form.fits)(value)) {
            let constraint = format_args!(
                "Member must satisfy regular expression pattern: {}",
                form.pattern
            );
            self.fail(Some(value), &path, constraint);
        }
    }

    /// A string member that must be there, within its bounds.
    pub fn required_text(&mut self, path: impl Display, value: Option<&str>, bounds: &Text) {
        self.required(&path, value);
        self.text(&path, value, bounds);
    }

    /// A member that is one of a set, if it is there.
    pub fn one_of(&mut self, path: impl Display, value: Option<&str>, set: &[&str]) {
        if let Some(value) = value.filter(|value| !set.contains(value)) {
            let constraint = format!("Member must satisfy enum value set: [{}]", set.join(", "));
            self.fail(Some(value), path, constraint);
        }
    }

    /// A whole number within its range, if it is there.
    pub fn range(&mut self, path: impl Display, value: Option<i64>, min: i64, max: i64) {
        let Some(value) = value else { return };
        let text = value.to_string();
        if value < min {
            let constraint = format_args!("Member must have value greater than or equal to {min}");
            self.fail(Some(&text), &path, constraint);
        }
        if max < value {
            let constraint = format_args!("Member must have value less than or equal to {max}");
            self.fail(Some(&text), &path, constraint);
        }
    }

    /// A list of `min` to `max` members; `shown` writes it, and is cut.
    pub fn list(
        &mut self,
        path: impl Display,
        count: Option<usize>,
        (min, max): (usize, usize),
        shown: impl FnOnce() -> String,
    ) {
        let Some(count) = count.filter(|count| !(min..=max).contains(count)) else {
            return;
        };
        let value = cut(shown());
        if count < min {
            self.fail(Some(&value), &path, Shortest(min));
        } else {
            self.fail(Some(&value), &path, Longest(max));
        }
    }

    /// The text of all that was broken; `Ok` if nothing was.
    ///
    /// # Errors
    /// The message of the one `ValidationException`.
    pub fn finish(self) -> Result<(), String> {
        match self.clauses.len() {
            0 => Ok(()),
            1 => Err(format!("1 validation error detected: {}", self.clauses[0])),
            n => Err(format!(
                "{n} validation errors detected: {}",
                self.clauses.join("; ")
            )),
        }
    }
}

struct Shortest(usize);

impl Display for Shortest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Member must have length greater than or equal to {}",
            self.0
        )
    }
}

struct Longest(usize);

impl Display for Longest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Member must have length less than or equal to {}",
            self.0
        )
    }
}

fn cut(mut text: String) -> String {
    if LIST_BYTES_MAX < text.len() {
        let end = (0..=LIST_BYTES_MAX)
            .rev()
            .find(|at| text.is_char_boundary(*at));
        text.truncate(end.expect("0 is a boundary"));
        text.push('…');
    }
    text
}

/// Letters, digits, and `extra`; at least one.
#[must_use]
pub fn letters(value: &str, extra: &[u8]) -> bool {
    !value.is_empty()
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || extra.contains(&b))
}

fn name(value: &str) -> bool {
    letters(value, b"._-")
}

fn bus_name(value: &str) -> bool {
    letters(value, b"/._-")
}

/// The optional `arn:aws[\w-]*:events:[a-z]+-[a-z]+-[\w-]+:[0-9]{12}:event-bus\/` taken off.
fn without_bus_arn(value: &str) -> &str {
    fn parse(value: &str) -> Option<&str> {
        let word = |text: &str| {
            text.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
        };
        let lower = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase());
        let mut parts = value.strip_prefix("arn:")?.splitn(5, ':');
        let partition = parts.next()?.strip_prefix("aws")?;
        let service = parts.next()?;
        let mut region = parts.next()?.splitn(3, '-');
        let (area, side, number) = (region.next()?, region.next()?, region.next()?);
        let account = parts.next()?;
        let digits = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
        let region = lower(area) && lower(side) && !number.is_empty() && word(number);
        let fits = word(partition) && service == "events" && region && digits;
        parts.next()?.strip_prefix("event-bus/").filter(|_| fits)
    }
    parse(value).unwrap_or(value)
}

/// Name of a rule, id of a target.
pub const NAME: Text = Text::like(1, 64, r"[\.\-_A-Za-z0-9]+", name);
/// Name of a bus that is made, changed or taken away.
pub const BUS_NAME: Text = Text::like(1, 256, r"[/\.\-_A-Za-z0-9]+", bus_name);
/// A bus by name or ARN.
pub const BUS_NAME_OR_ARN: Text = Text::like(
    1,
    1600,
    r"(arn:aws[\w-]*:events:[a-z]+-[a-z]+-[\w-]+:[0-9]{12}:event-bus\/)?[/\.\-_A-Za-z0-9]+",
    |value| bus_name(without_bus_arn(value)),
);
/// A bus by name or ARN, in `PutEvents`.
pub const PUT_BUS_NAME_OR_ARN: Text = Text::like(
    1,
    1600,
    r"(arn:aws[\w-]*:events:[a-z]+-[a-z]+-[\w-]+:[0-9]{12}:event-bus\/)?[\.\-_A-Za-z0-9]+",
    |value| name(without_bus_arn(value)),
);
/// Any ARN.
pub const ARN: Text = Text::of(1, 1600);
/// Text for people.
pub const DESCRIPTION: Text = Text::of(0, 512);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(collect: impl FnOnce(&mut Constraints), expected: &str) {
        let mut constraints = Constraints::default();
        collect(&mut constraints);
        assert_eq!(constraints.finish().unwrap_err(), expected);
    }

    #[test]
    fn one_fault_is_told_in_the_words_of_the_service() {
        check(
            |c| c.text("targets.1.member.id", Some("!@#$@!#$"), &NAME),
            r"1 validation error detected: Value '!@#$@!#$' at 'targets.1.member.id' failed to satisfy constraint: Member must satisfy regular expression pattern: [\.\-_A-Za-z0-9]+",
        );
        check(
            |c| c.required::<str>("targetArn", None),
            "1 validation error detected: Value null at 'targetArn' failed to satisfy constraint: Member must not be null",
        );
        check(
            |c| c.range("limit", Some(101), 1, 100),
            "1 validation error detected: Value '101' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 100",
        );
        check(
            |c| c.one_of("state", Some("ON"), &["ENABLED", "DISABLED"]),
            "1 validation error detected: Value 'ON' at 'state' failed to satisfy constraint: Member must satisfy enum value set: [ENABLED, DISABLED]",
        );
    }

    #[test]
    fn several_faults_are_told_together() {
        check(
            |c| {
                c.text("nextToken", Some(""), &Text::of(1, 2048));
                c.range("limit", Some(101), 1, 100);
            },
            "2 validation errors detected: Value '' at 'nextToken' failed to satisfy constraint: Member must have length greater than or equal to 1; Value '101' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 100",
        );
    }

    #[test]
    fn length_counts_characters() {
        let mut constraints = Constraints::default();
        constraints.text("a", Some("ééé"), &Text::of(0, 3));
        constraints.text("a", Some(""), &Text::of(0, 3));
        assert_eq!(constraints.finish(), Ok(()));
        let mut constraints = Constraints::default();
        constraints.text("a", Some("éééé"), &Text::of(0, 3));
        assert!(constraints.finish().is_err());
    }

    #[test]
    fn a_long_list_is_cut() {
        let mut constraints = Constraints::default();
        constraints.list("entries", Some(11), (1, 10), || "é".repeat(1000));
        let text = constraints.finish().unwrap_err();
        assert!(text.len() < 1300);
        assert!(text.contains("…' at 'entries'"));
    }

    #[test]
    fn a_bus_is_named_or_given_as_arn() {
        for (value, fits) in [
            ("default", true),
            ("a/b", true),
            ("arn:aws:events:us-east-1:000000000000:event-bus/x", true),
            (
                "arn:aws-cn:events:cn-north-1:000000000000:event-bus/x",
                true,
            ),
            ("arn:aws:events:us-east-1:0000:event-bus/x", false),
            ("arn:aws:sqs:us-east-1:000000000000:event-bus/x", false),
            ("a b", false),
        ] {
            assert_eq!(BUS_NAME_OR_ARN.holds(value), fits, "{value}");
        }
        assert!(!PUT_BUS_NAME_OR_ARN.holds("a/b"));
    }
}
