//! An explanation for people.

use std::fmt::{self, Display, Formatter};

use super::{Alternative, Condition, Explanation, First, Mend};

/// Alternatives shown of a pattern with `$or`, the nearest first.
const ALTERNATIVES_SHOWN_MAX: usize = 3;
/// Places of a [`Mend::Remove`] named in a sentence.
const PLACES_SHOWN_MAX: usize = 3;

/// Several lines, without a line feed at the end. A match shows the first alternative that
/// matches; no match those that fail by the fewest conditions, and what to mend first.
impl Display for Explanation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut order: Vec<usize> = (0..self.alternatives.len()).collect();
        order.sort_by_key(|it| self.alternatives[*it].failed());
        if self.matched {
            f.write_str("match")?;
            order.truncate(1);
        } else {
            let nearest = &self.alternatives[order[0]];
            write!(f, "no match: {}", Failed(nearest))?;
        }
        for number in order.iter().take(ALTERNATIVES_SHOWN_MAX) {
            let alternative = &self.alternatives[*number];
            if 1 < self.alternatives.len() {
                let count = self.alternatives.len();
                write!(f, "\nalternative {} of {count}", number + 1)?;
                match alternative.failed() {
                    0 => f.write_str(" matches:")?,
                    _ => write!(f, ": {}", Failed(alternative))?,
                }
            }
            write!(f, "\n{alternative}")?;
        }
        if ALTERNATIVES_SHOWN_MAX < order.len() {
            let more = order.len() - ALTERNATIVES_SHOWN_MAX;
            write!(f, "\nand {more} more, which are no nearer")?;
        }
        if let Some(first) = &self.first {
            write!(f, "\nto mend first: ")?;
            self.mend(first, f)?;
        }
        Ok(())
    }
}

impl Explanation {
    fn mend(&self, first: &First, f: &mut Formatter<'_>) -> fmt::Result {
        let condition = &self.alternatives[first.alternative].conditions[first.condition];
        match &first.mend {
            Mend::Write { at } => {
                let known = condition.found.iter().find(|found| found.at == *at);
                match known {
                    Some(found) => write!(f, "`{at}`, which is {}", found.value)?,
                    None => write!(f, "`{at}`")?,
                }
                write!(f, "; wanted: {}", condition.wanted)
            }
            Mend::Remove { at, count } => {
                let shown: Vec<String> = at
                    .iter()
                    .take(PLACES_SHOWN_MAX)
                    .map(|at| format!("`{at}`"))
                    .collect();
                write!(f, "{} must not be there", shown.join(", "))?;
                match count - shown.len() {
                    0 => Ok(()),
                    more => write!(f, ", nor {more} more"),
                }
            }
        }
    }
}

/// How many of its conditions fail.
struct Failed<'a>(&'a Alternative);

impl Display for Failed<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (failed, total) = (self.0.failed(), self.0.conditions.len());
        let noun = if total == 1 {
            "condition"
        } else {
            "conditions"
        };
        let verb = if failed == 1 { "fails" } else { "fail" };
        write!(f, "{failed} of {total} {noun} {verb}")
    }
}

/// Two lines for each condition, or three.
impl Display for Alternative {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (number, condition) in self.conditions.iter().enumerate() {
            if 0 < number {
                f.write_str("\n")?;
            }
            write!(f, "{condition}")?;
        }
        Ok(())
    }
}

impl Display for Condition {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mark = if self.met { '✓' } else { '✗' };
        write!(f, "  {mark} {}  wants {}", self.path, self.wanted)?;
        f.write_str("\n      ")?;
        if self.found.is_empty() {
            f.write_str("has nothing")?;
        }
        for (number, found) in self.found.iter().enumerate() {
            f.write_str(if number == 0 { "has " } else { ", " })?;
            f.write_str(&found.value)?;
            // The path alone says it where there is no array.
            if found.at != self.path {
                write!(f, " at {}", found.at)?;
            }
        }
        if self.found.len() < self.found_count {
            write!(f, " and {} more", self.found_count - self.found.len())?;
        }
        if let Some(by) = self.by.as_ref().filter(|by| **by != self.path) {
            write!(f, "\n      met by {by}")?;
        }
        if self.met && self.by.is_none() && 0 < self.found_count {
            f.write_str("\n      met: none is beside what the conditions above chose")?;
        }
        match &self.why {
            Some(why) => write!(f, "\n      {why}"),
            None => Ok(()),
        }
    }
}
