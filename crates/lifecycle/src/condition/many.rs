//! The conditions of all triggers, asked together.
//!
//! Each stands in one rule set, with the places that its trigger applies to as one thing more that it asks for. So
//! a document is read once, and only conditions of its own places are tried, however many others there are
//! (TRG-8). What the rule set can't tell, the added filters, is asked of those that are left.

use super::{Condition, Context, Tested};
use rule_engine::RuleSet;
use std::collections::BTreeSet;

/// The member with the places that a document is tried for. A condition that names it is asked by itself.
const PLACES: &str = "places of this document";

/// Conditions by number. A clone shares what it has with the one it came from.
#[derive(Debug, Clone, Default)]
pub struct Conditions {
    rules: RuleSet<Part>,
    /// Parts that the rule set has not.
    apart: BTreeSet<Part>,
    len: u32,
}

/// A condition's number, and that of a part of it.
type Part = (u32, u32);

/// What a rule set said of one document.
#[derive(Debug)]
pub struct Held<'c> {
    conditions: &'c Conditions,
    /// Ascending.
    parts: Vec<Part>,
}

impl Conditions {
    /// Adds a condition that is tried at these places, and gives its number.
    pub fn add(&mut self, condition: &Condition, places: &[u32]) -> u32 {
        let number = self.len;
        let names: Vec<String> = places.iter().map(u32::to_string).collect();
        for (part, tested) in condition.parts() {
            match tested.pattern.found_by(PLACES, &names) {
                Some(pattern) => {
                    self.rules.add((number, part), &pattern);
                }
                None => {
                    self.apart.insert((number, part));
                }
            }
        }
        self.len += 1;
        number
    }

    /// Asks all conditions of these places. `document` is a JSON object in text.
    #[must_use]
    pub fn held(&self, document: &str, places: impl Iterator<Item = u32>) -> Held<'_> {
        let places: Vec<String> = places.map(|place| format!("\"{place}\"")).collect();
        let members = document.trim_start().strip_prefix('{').unwrap_or_default();
        let document = format!("{{\"{PLACES}\":[{}],{members}", places.join(","));
        let mut parts = Vec::new();
        self.rules.matches(document.as_bytes(), &mut parts);
        Held {
            conditions: self,
            parts,
        }
    }
}

impl Held<'_> {
    /// As [`Condition::failure`], of the condition that was added as this number; for the document that was asked
    /// about, at one of the places.
    #[must_use]
    pub fn failure(
        &self,
        number: u32,
        condition: &Condition,
        document: &[u8],
        context: &Context<'_>,
    ) -> Option<String> {
        condition.failure_by(|part, tested: &Tested| {
            let part = (number, part);
            let is_told = !self.conditions.apart.contains(&part);
            if is_told && self.parts.binary_search(&part).is_err() {
                return false;
            }
            (is_told && tested.filters.is_empty()) || tested.holds(document, context)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Dialect, Options};
    use super::*;

    /// Conditions of every kind, at two places, say of every document what each says by itself.
    #[test]
    fn together_they_say_what_each_says_alone() {
        let texts = [
            "{}",
            r#"{"a":[1]}"#,
            r#"{"a":[{"exists":false}]}"#,
            r#"{"a":[1],"b":{"c":["x"]}}"#,
            r#"{"a":[1],"b":{"c":[{"regex":"^x"}]},"d":[{"exists":false}]}"#,
            r#"{"$or":[{"a":[2]},{"b":{"c":[{"regex":"y"}]}}],"d":[1]}"#,
            r#"{"l":{"n":["p"],"t":[{"within-next":"P1D"}]}}"#,
            r#"{"l":{"n":[{"regex":"p"}],"t":[{"exists":false}]}}"#,
            r#"{"l":{"n":["p"],"t":[{"exists":false}]}}"#,
            r#"{"l":[{"count":[">",1]}]}"#,
            r#"{"places of this document":[{"exists":false}],"a":[1]}"#,
            r#"{"places of this document":["7"]}"#,
        ];
        let documents = [
            "{}",
            " { }",
            r#"{"a":1}"#,
            r#"{"a":[1,2],"b":{"c":"x"}}"#,
            r#"{"a":1,"b":{"c":"xy"},"d":1}"#,
            r#"{"b":{"c":"y"},"d":[1]}"#,
            r#"{"l":[{"n":"p"},{"n":"q","t":"1970-01-01T05:00:00Z"}]}"#,
            r#"{"l":[{"n":"p","t":"1970-01-01T05:00:00Z"},{"n":"q"}]}"#,
        ];
        let mut conditions = Conditions::default();
        let mut added = Vec::new();
        for (n, text) in texts.iter().enumerate() {
            let condition = Condition::parse(text, Dialect::Trigger, &Options::default()).unwrap();
            let places: &[u32] = if n % 2 == 0 { &[7] } else { &[3, 7] };
            added.push((conditions.add(&condition, places), condition));
        }
        let context = Context::at(0);
        let mut failed = 0;
        for document in documents {
            let held = conditions.held(document, [7, 9].into_iter());
            for ((number, condition), text) in added.iter().zip(texts) {
                let document = document.as_bytes();
                let alone = condition.failure(document, &context);
                failed += usize::from(alone.is_some());
                let together = held.failure(*number, condition, document, &context);
                assert_eq!(together, alone, "{text} {document:?}");
            }
        }
        assert!((30..80).contains(&failed), "{failed}");
    }

    #[test]
    fn conditions_of_other_places_are_not_met() {
        let condition = r#"{"a":[1]}"#;
        let condition = Condition::parse(condition, Dialect::Plain, &Options::default()).unwrap();
        let mut conditions = Conditions::default();
        for place in 0..1_000 {
            conditions.add(&condition, &[place]);
        }
        let held = conditions.held(r#"{"a":1}"#, [5, 2_000, 900].into_iter());
        assert_eq!(held.parts, [(5, 0), (900, 0)]);
    }
}
