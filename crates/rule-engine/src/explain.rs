//! Why an event matches a pattern or does not, for people.
//!
//! Whether it matches is the oracle's to say. What is told beside it is made from a walk of the
//! event that keeps places (`walk`) and from the choice of array elements that leaves the fewest
//! conditions failed (`choice`). Plain and slow: for a person who asks, not for every event.
//!
//! Start at [`explain`].

mod choice;
mod text;
mod walk;

use choice::{Pick, Seat};
use walk::{Field, Near, Walk};

use crate::json::JsonError;
use crate::matcher::{Matcher, TextMatcher, Value};
use crate::oracle;
use crate::pattern::{Leaf, Pattern};

/// Values shown of one condition; [`Condition::found_count`] counts them all.
pub const FOUND_MAX: usize = 10;
/// Characters shown of one string or number.
pub const VALUE_CHARACTERS_MAX: usize = 200;

/// What a pattern says of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The oracle's verdict.
    pub matched: bool,
    /// In the order of the pattern; without `$or` there is one.
    pub alternatives: Vec<Alternative>,
    /// What to mend first; `None` where it matches.
    pub first: Option<First>,
}

/// Conditions that must all hold together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alternative {
    /// True when all of them do.
    pub matched: bool,
    /// Sorted by path.
    pub conditions: Vec<Condition>,
    /// The array elements that most conditions agree on: `detail.items[3]`. Empty where no
    /// condition is met inside of an array of objects.
    pub elements: Vec<String>,
}

/// What is asked of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Names joined with dots; arrays add nothing.
    pub path: String,
    /// The array of the pattern, as JSON.
    pub wanted: String,
    /// True when it is met together with the other conditions that are.
    pub met: bool,
    /// The place of the value that meets it; `None` where it is met by absence.
    pub by: Option<String>,
    /// The first [`FOUND_MAX`] values at the path.
    pub found: Vec<Found>,
    /// All of them.
    pub found_count: usize,
    /// Why it is not met, in words.
    pub why: Option<String>,
}

/// A value of the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// With array elements: `detail.items[3].k`.
    pub at: String,
    /// As JSON, a long one cut, with `…` at its end.
    pub value: String,
    /// True when it satisfies the condition by itself.
    pub satisfies: bool,
}

/// The first condition to mend: the first that fails of the alternative that fails by the fewest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct First {
    /// Its alternative's place in [`Explanation::alternatives`].
    pub alternative: usize,
    /// Its place in [`Alternative::conditions`].
    pub condition: usize,
    /// What would mend it, in the event.
    pub mend: Mend,
}

/// What would meet a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mend {
    /// A value that satisfies it, here.
    Write {
        /// The place, which may be there already or not.
        at: String,
    },
    /// No value.
    Remove {
        /// The first [`FOUND_MAX`] places that have one and may not.
        at: Vec<String>,
        /// How many there are.
        count: usize,
    },
}

impl Alternative {
    /// Conditions that are not met.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.conditions.iter().filter(|it| !it.met).count()
    }
}

impl Explanation {
    /// By how few conditions the event fails; 0 where it matches.
    #[must_use]
    pub fn failed(&self) -> usize {
        let failed = self.alternatives.iter().map(Alternative::failed);
        failed.min().unwrap_or(0)
    }
}

/// Tells of each condition what it wanted, what the event has there, and whether that will do.
///
/// Bounds: linear in the event times the conditions, but for events in which no array element
/// meets all conditions, where up to 200,000 choices are tried; beyond that a near choice is
/// told, not always the nearest. What is told grows with alternatives times conditions.
///
/// # Errors
/// An event that is not one JSON object, or too deep.
pub fn explain(pattern: &Pattern, event: &[u8]) -> Result<Explanation, JsonError> {
    let judged = Judged::of(pattern, event)?;
    Ok(judged.tell())
}

/// What a set of patterns says of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nearest<Id> {
    /// Those that match, sorted.
    pub matched: Vec<Id>,
    /// Those that fail by the fewest conditions, those first that fail by fewer, then by id.
    pub failed: Vec<(Id, Explanation)>,
}

/// The patterns that match `event`, and the `count` that come nearest to it of those that do not.
///
/// Bounds: those of [`explain`], for each pattern; only what is returned is put in words.
///
/// # Errors
/// As [`explain`].
pub fn nearest<'p, Id: Ord>(
    patterns: impl IntoIterator<Item = (Id, &'p Pattern)>,
    event: &[u8],
    count: usize,
) -> Result<Nearest<Id>, JsonError> {
    let mut matched = Vec::new();
    let mut failed = Vec::new();
    for (id, pattern) in patterns {
        let judged = Judged::of(pattern, event)?;
        match judged.failed() {
            0 => matched.push(id),
            by => failed.push((by, id, pattern)),
        }
    }
    matched.sort();
    failed.sort_by(|(a, one, _), (b, other, _)| (a, one).cmp(&(b, other)));
    failed.truncate(count);
    let failed = failed.into_iter();
    let failed = failed.map(|(_, id, pattern)| Ok((id, explain(pattern, event)?)));
    Ok(Nearest {
        matched,
        failed: failed.collect::<Result<_, JsonError>>()?,
    })
}

/// A pattern held against an event, not yet put in words.
struct Judged<'p, 'e> {
    pattern: &'p Pattern,
    walk: Walk<'e>,
    verdicts: Vec<bool>,
    /// For each alternative a pick for each of its conditions.
    picks: Vec<Vec<Pick>>,
}

impl<'p, 'e> Judged<'p, 'e> {
    fn of(pattern: &'p Pattern, event: &'e [u8]) -> Result<Self, JsonError> {
        let verdicts = oracle::verdicts(pattern, event, &|_, _| false)?;
        let walk = Walk::of(event, pattern)?;
        let alternatives = pattern.alternatives().iter().zip(&verdicts);
        let mut steps = 0;
        let picks = alternatives.map(|(alternative, matched)| {
            let leaves = alternative.leaves.iter();
            let conditions: Vec<_> = leaves.map(|leaf| condition(leaf, &walk)).collect();
            let picks = choice::best(&walk, &conditions, &mut steps);
            debug_assert!(*matched || picks.contains(&Pick::Failed));
            picks
        });
        let picks = picks.collect();
        Ok(Judged {
            pattern,
            walk,
            verdicts,
            picks,
        })
    }

    /// By how few conditions the nearest alternative fails.
    fn failed(&self) -> usize {
        let failed = self
            .verdicts
            .iter()
            .zip(&self.picks)
            .map(|(matched, picks)| {
                let failed = picks.iter().filter(|it| **it == Pick::Failed).count();
                if *matched { 0 } else { failed.max(1) }
            });
        failed.min().expect("a pattern has an alternative")
    }

    fn tell(&self) -> Explanation {
        let numbers = 0..self.verdicts.len();
        let alternatives: Vec<Alternative> = numbers.map(|it| self.alternative(it)).collect();
        let matched = self.verdicts.contains(&true);
        let nearest = (0..alternatives.len()).min_by_key(|it| alternatives[*it].failed());
        let nearest = nearest.filter(|_| !matched);
        Explanation {
            matched,
            first: nearest.and_then(|it| self.first(it)),
            alternatives,
        }
    }

    fn alternative(&self, number: usize) -> Alternative {
        let matched = self.verdicts[number];
        let leaves = &self.pattern.alternatives()[number].leaves;
        let picks = &self.picks[number];
        let seat = self.seat(number, leaves.len());
        let elements = seat.innermost();
        let elements: Vec<String> = elements
            .into_iter()
            .map(|element| self.walk.element_place(element))
            .collect();
        let conditions = leaves.iter().zip(picks).map(|(leaf, pick)| {
            let path = self.path(leaf);
            let fields = &self.walk.fields[path];
            // Where the oracle says yes, all are met, also where the search here was cut off.
            let met = matched || *pick != Pick::Failed;
            let shown = fields.iter().take(FOUND_MAX).map(|field| Found {
                at: self.walk.place(field),
                value: shown(&field.value),
                satisfies: leaf.holds(&field.value),
            });
            Condition {
                path: leaf.path.clone(),
                wanted: leaf.to_string(),
                met,
                by: match pick {
                    Pick::Value(value) => Some(self.walk.place(&fields[*value])),
                    Pick::Absent | Pick::Failed => None,
                },
                found: shown.collect(),
                found_count: fields.len(),
                why: (!met).then(|| self.why(leaf, &seat)),
            }
        });
        Alternative {
            matched,
            conditions: conditions.collect(),
            elements,
        }
    }

    fn first(&self, alternative: usize) -> Option<First> {
        let picks = &self.picks[alternative];
        let condition = picks.iter().position(|it| *it == Pick::Failed)?;
        let leaf = &self.pattern.alternatives()[alternative].leaves[condition];
        let path = self.path(leaf);
        let fields = &self.walk.fields[path];
        let mend = if leaf.matchers.iter().all(|it| matches!(it, Matcher::Absent)) {
            // An absence is judged by what was chosen before it.
            let seat = self.seat(alternative, condition);
            let in_the_way = || fields.iter().filter(|it| seat.agrees(it.element));
            Mend::Remove {
                at: in_the_way()
                    .take(FOUND_MAX)
                    .map(|field| self.walk.place(field))
                    .collect(),
                count: in_the_way().count(),
            }
        } else {
            let seat = self.seat(alternative, picks.len());
            Mend::Write {
                at: match seat.next(fields, |it| it.element, 0) {
                    Some(field) => self.walk.place(&fields[field]),
                    None => self
                        .walk
                        .place_for(&leaf.path, |element| seat.agrees(element)),
                },
            }
        };
        Some(First {
            alternative,
            condition,
            mend,
        })
    }

    /// The elements that the first `count` conditions of an alternative chose.
    fn seat(&self, alternative: usize, count: usize) -> Seat<'_, 'e> {
        let mut seat = Seat::new(&self.walk);
        let leaves = &self.pattern.alternatives()[alternative].leaves;
        for (leaf, pick) in leaves.iter().zip(&self.picks[alternative]).take(count) {
            if let Pick::Value(value) = pick {
                seat.choose(self.walk.fields[self.path(leaf)][*value].element);
            }
        }
        seat
    }

    fn path(&self, leaf: &Leaf) -> usize {
        self.walk.number(&leaf.path)
    }

    /// Why a condition is not met. `seat` is what the others agree on.
    fn why(&self, leaf: &Leaf, seat: &Seat<'_, 'e>) -> String {
        let path = self.path(leaf);
        let fields = &self.walk.fields[path];
        if fields.is_empty() {
            return match &self.walk.near[path] {
                None => "the event has nothing here".to_owned(),
                Some(Near::Spelled(path)) => {
                    format!("the event has nothing here, but it has `{path}`: case counts")
                }
                Some(Near::Array) => "the event has an array without values here".to_owned(),
                Some(Near::Object) => {
                    "the event has an object here; ask for its members by their names".to_owned()
                }
            };
        }
        let mut good = fields.iter().filter(|field| leaf.holds(&field.value));
        if let Some(first) = good.next() {
            let others = match good.count() {
                0 => String::new(),
                1 => " and one other place".to_owned(),
                count => format!(" and {count} other places"),
            };
            let nearest = match seat.conflict(first.element) {
                Some((_, chosen)) => {
                    format!("; `{}` comes nearest", self.walk.element_place(chosen))
                }
                None => String::new(),
            };
            return format!(
                "met at `{}`{others}, but no one array element meets all conditions{nearest}",
                self.walk.place(first),
            );
        }
        if leaf.matchers.iter().all(|it| matches!(it, Matcher::Absent)) {
            return "it must not be there".to_owned();
        }
        unlike(leaf, fields)
    }
}

/// A leaf, looked at with the event.
fn condition<'w, 'e>(leaf: &Leaf, walk: &'w Walk<'e>) -> choice::Condition<'w, 'e> {
    let fields = &*walk.fields[walk.number(&leaf.path)];
    let mut good: Vec<usize> = Vec::new();
    for (number, field) in fields.iter().enumerate() {
        let known = good
            .last()
            .is_some_and(|it| fields[*it].element == field.element);
        if !known && leaf.holds(&field.value) {
            good.push(number);
        }
    }
    choice::Condition {
        fields,
        good,
        absent: leaf.absent,
    }
}

/// A value as JSON, cut where it is long.
fn shown(value: &Value<'_>) -> String {
    let cut = |text: &str| {
        let end = text.char_indices().nth(VALUE_CHARACTERS_MAX);
        end.map(|(end, _)| format!("{}…", &text[..end]))
    };
    match value {
        Value::String(text) => match cut(text) {
            Some(cut) => Value::String(cut.into()).to_string(),
            None => value.to_string(),
        },
        Value::Number(text, _) => match cut(text) {
            Some(cut) => Value::String(cut.into()).to_string(),
            None => value.to_string(),
        },
        _ => value.to_string(),
    }
}

/// In what way none of the values is what a leaf wants.
fn unlike(leaf: &Leaf, fields: &[Field<'_>]) -> String {
    let case_alone = fields.iter().any(|field| match &field.value {
        Value::String(value) => leaf.matchers.iter().any(|matcher| match matcher {
            Matcher::Text(TextMatcher::Exactly(text)) => text.eq_ignore_ascii_case(value),
            Matcher::Text(TextMatcher::Prefix(text)) => {
                let head = value.as_bytes().get(..text.len());
                head.is_some_and(|head| head.eq_ignore_ascii_case(text.as_bytes()))
            }
            _ => false,
        }),
        _ => false,
    });
    if case_alone {
        return "case counts; `equals-ignore-case` would take it".to_owned();
    }
    let mut wanted: Vec<&str> = leaf.matchers.iter().flat_map(kind_wanted).collect();
    let mut found: Vec<&str> = fields.iter().map(|field| kind(&field.value)).collect();
    for kinds in [&mut wanted, &mut found] {
        kinds.sort_unstable();
        kinds.dedup();
    }
    if !wanted.is_empty() && !found.iter().any(|it| wanted.contains(it)) {
        let (wanted, found) = (wanted.join(" or "), found.join(" and "));
        return format!("wants {wanted}, the event has {found}");
    }
    let one = match leaf.matchers.as_slice() {
        [matcher] => unlike_one(matcher),
        _ => "is none of these",
    };
    match fields.len() {
        1 => one.to_owned(),
        _ => format!("each of them {one}"),
    }
}

fn unlike_one(matcher: &Matcher) -> &'static str {
    match matcher {
        Matcher::Numeric(_) => "is out of range",
        Matcher::AnythingBut(_) | Matcher::AnythingButNumbers(_) => "is excluded",
        Matcher::Text(TextMatcher::Prefix(_) | TextMatcher::PrefixIgnoreCase(_)) => {
            "begins otherwise"
        }
        Matcher::Text(TextMatcher::Suffix(_) | TextMatcher::SuffixIgnoreCase(_)) => {
            "ends otherwise"
        }
        Matcher::Text(TextMatcher::Wildcard(_)) => "does not fit the wildcard",
        Matcher::Text(TextMatcher::Block(_)) => "is no address of this range",
        _ => "is another value",
    }
}

/// What type of value can satisfy a matcher; `None` where any can or none.
fn kind_wanted(matcher: &Matcher) -> Option<&'static str> {
    Some(match matcher {
        Matcher::Text(_) => "a string",
        Matcher::Number(..) | Matcher::Numeric(_) => "a number",
        Matcher::True | Matcher::False => "true or false",
        Matcher::Null => "null",
        // It excludes values of its own type alone, so what it refuses is of that type.
        Matcher::AnythingBut(_) => "a string",
        Matcher::AnythingButNumbers(_) => "a number",
        Matcher::Exists | Matcher::Absent | Matcher::Added { .. } => return None,
    })
}

fn kind(value: &Value<'_>) -> &'static str {
    match value {
        Value::String(_) => "a string",
        Value::Number(..) => "a number",
        Value::True | Value::False => "true or false",
        Value::Null => "null",
        Value::Length(_) => "an array",
    }
}
