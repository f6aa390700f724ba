//! Which conditions of one alternative can be met together, and by what: as many as possible.
//!
//! `seats` answers whether all can. Here some cannot, and a person wants the fewest that fail.
//! The order is the same: conditions by path, each met by a value whose array elements agree
//! with those chosen before it, or by finding none (event-patterns.md 2.3), or left failed.
//!
//! Conditions that share no array cannot disturb each other and are taken group by group. Within
//! a group all choices are tried, those that can no longer be better left out; [`STEPS_MAX`]
//! bounds it, and behind the bound the best so far stands.
//!
//! Start at [`best`].

use std::collections::{BTreeMap, HashMap};

use super::walk::{Field, ROOT, Walk};

/// Choices tried for all alternatives of a pattern. Beyond it the count of failed conditions may be too high.
const STEPS_MAX: u32 = 200_000;

/// A condition, looked at with the event.
pub(super) struct Condition<'w, 'e> {
    /// The values at its path, sorted by element.
    pub(super) fields: &'w [Field<'e>],
    /// Numbers of those that satisfy it, one for each element.
    pub(super) good: Vec<usize>,
    /// It is met where there is no value.
    pub(super) absent: bool,
}

impl Condition<'_, '_> {
    /// True when no choice meets it.
    fn hopeless(&self) -> bool {
        let in_root = self.fields.first().is_some_and(|it| it.element == ROOT);
        self.good.is_empty() && (!self.absent || in_root)
    }
}

/// How a condition is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pick {
    /// By this one of its values.
    Value(usize),
    /// By finding none.
    Absent,
    Failed,
}

/// The array elements chosen so far: at most one of each array.
#[derive(Clone)]
pub(super) struct Seat<'w, 'e> {
    walk: &'w Walk<'e>,
    chosen: HashMap<usize, usize>,
}

impl<'w, 'e> Seat<'w, 'e> {
    pub(super) fn new(walk: &'w Walk<'e>) -> Self {
        Seat {
            walk,
            chosen: HashMap::new(),
        }
    }

    /// An array of which another element than `element` is in is chosen, and that one.
    pub(super) fn conflict(&self, element: usize) -> Option<(usize, usize)> {
        let mut at = element;
        while at != ROOT {
            let array = self.walk.elements[at].array;
            match self.chosen.get(&array) {
                Some(other) if *other != at => return Some((array, *other)),
                _ => at = self.walk.arrays[array].within,
            }
        }
        None
    }

    pub(super) fn agrees(&self, element: usize) -> bool {
        self.conflict(element).is_none()
    }

    /// Chooses `element` and those around it; the arrays of which none was chosen before.
    pub(super) fn choose(&mut self, element: usize) -> Vec<usize> {
        let mut new = Vec::new();
        let mut at = element;
        while at != ROOT {
            let array = self.walk.elements[at].array;
            if self.chosen.insert(array, at).is_none() {
                new.push(array);
            }
            at = self.walk.arrays[array].within;
        }
        new
    }

    fn undo(&mut self, new: &[usize]) {
        for array in new {
            self.chosen.remove(array);
        }
    }

    /// The first of `items` from number `from` on that agrees. They are sorted by element.
    pub(super) fn next<T>(
        &self,
        items: &[T],
        element: impl Fn(&T) -> usize,
        mut from: usize,
    ) -> Option<usize> {
        while let Some(item) = items.get(from) {
            let at = element(item);
            let Some((array, chosen)) = self.conflict(at) else {
                return Some(from);
            };
            // Everything up to the chosen element lies in others of the same array, and so does
            // everything behind it up to the array's end.
            let to = match at < chosen {
                true => chosen,
                false => self.walk.arrays[array].elements_end,
            };
            from += items[from..].partition_point(|it| element(it) < to);
        }
        None
    }

    /// The chosen elements in which no other one lies, in the order of the text.
    pub(super) fn innermost(&self) -> Vec<usize> {
        let within = |element: &usize| self.walk.arrays[self.walk.elements[*element].array].within;
        let around: Vec<usize> = self.chosen.values().map(within).collect();
        let chosen = self.chosen.values().copied();
        let mut innermost: Vec<usize> = chosen.filter(|it| !around.contains(it)).collect();
        innermost.sort_unstable();
        innermost
    }
}

/// A pick for each condition, such that as few as possible fail.
///
/// `steps` counts the choices tried. A first choice is made for every condition, however many
/// they are by then.
pub(super) fn best(
    walk: &Walk<'_>,
    conditions: &[Condition<'_, '_>],
    steps: &mut u32,
) -> Vec<Pick> {
    let mut picks = vec![Pick::Failed; conditions.len()];
    for group in groups(walk, conditions) {
        let members: Vec<&Condition<'_, '_>> = group.iter().map(|it| &conditions[*it]).collect();
        let found = Search::new(walk, &members, steps).run();
        for (condition, pick) in group.into_iter().zip(found) {
            picks[condition] = pick;
        }
    }
    picks
}

/// Conditions that share an array, in the order of their paths.
fn groups(walk: &Walk<'_>, conditions: &[Condition<'_, '_>]) -> Vec<Vec<usize>> {
    // Inner arrays are shared only where the outermost one is.
    let outermost = |field: &Field<'_>| {
        let mut at = field.element;
        let mut array = None;
        while at != ROOT {
            array = Some(walk.elements[at].array);
            at = walk.arrays[walk.elements[at].array].within;
        }
        array
    };
    let mut group_of: Vec<usize> = (0..conditions.len()).collect();
    let mut holder: HashMap<usize, usize> = HashMap::new();
    for (number, condition) in conditions.iter().enumerate() {
        for array in condition.fields.iter().filter_map(outermost) {
            let other = group_of[*holder.entry(array).or_insert(number)];
            let own = group_of[number];
            if other != own {
                let merged = other.min(own);
                group_of
                    .iter_mut()
                    .filter(|it| [other, own].contains(*it))
                    .for_each(|it| *it = merged);
            }
        }
    }
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (number, group) in group_of.into_iter().enumerate() {
        groups.entry(group).or_default().push(number);
    }
    groups.into_values().collect()
}

struct Search<'s, 'w, 'e> {
    conditions: &'s [&'s Condition<'w, 'e>],
    seat: Seat<'s, 'e>,
    steps: &'s mut u32,
    /// For each condition, how many from it on no choice meets.
    hopeless: Vec<usize>,
    best: Option<(usize, Vec<Pick>)>,
}

/// A condition that was given a pick.
struct Frame {
    pick: Pick,
    /// Arrays that the pick chose an element of.
    new: Vec<usize>,
    /// The next of its good values to try; `None`: there is nothing else to try.
    next: Option<usize>,
}

impl<'s, 'w, 'e> Search<'s, 'w, 'e> {
    fn new(
        walk: &'s Walk<'e>,
        conditions: &'s [&'s Condition<'w, 'e>],
        steps: &'s mut u32,
    ) -> Self {
        let mut hopeless = vec![0; conditions.len() + 1];
        for (at, condition) in conditions.iter().enumerate().rev() {
            hopeless[at] = hopeless[at + 1] + usize::from(condition.hopeless());
        }
        Search {
            conditions,
            seat: Seat::new(walk),
            steps,
            hopeless,
            best: None,
        }
    }

    /// Tries the choices depth first, on a stack of its own: conditions may be many.
    fn run(mut self) -> Vec<Pick> {
        let mut frames: Vec<Frame> = Vec::new();
        let mut failed = 0;
        let mut next = Some(0);
        loop {
            let at = frames.len();
            let lost = |best: &(usize, Vec<Pick>)| best.0 <= failed + self.hopeless[at];
            let tried = next.filter(|_| !self.best.as_ref().is_some_and(lost));
            match tried {
                Some(_) if at == self.conditions.len() => {
                    let picks = frames.iter().map(|frame| frame.pick).collect();
                    self.best = Some((failed, picks));
                    next = None;
                }
                Some(from) => {
                    let frame = self.pick(at, from);
                    failed += usize::from(frame.pick == Pick::Failed);
                    frames.push(frame);
                    *self.steps += 1;
                    next = Some(0);
                }
                None => {
                    let least = self.hopeless[0];
                    let done =
                        |best: &(usize, Vec<Pick>)| best.0 == least || STEPS_MAX < *self.steps;
                    let last = match &self.best {
                        Some(best) if done(best) => None,
                        _ => frames.pop(),
                    };
                    let Some(frame) = last else {
                        return self.best.expect("the first way down reaches its end").1;
                    };
                    self.seat.undo(&frame.new);
                    failed -= usize::from(frame.pick == Pick::Failed);
                    next = frame.next;
                }
            }
        }
    }

    /// The next way to deal with a condition, its good values from number `from` on.
    fn pick(&mut self, at: usize, from: usize) -> Frame {
        let condition = self.conditions[at];
        let element = |value: &usize| condition.fields[*value].element;
        if let Some(good) = self.seat.next(&condition.good, element, from) {
            let value = condition.good[good];
            let new = self.seat.choose(element(&value));
            // What commits to nothing is never worse than what does, nor than failing; unless
            // what is chosen lets a later condition find nothing.
            let later = &self.conditions[at + 1..];
            let settled = new.is_empty() && !later.iter().any(|it| it.absent);
            return Frame {
                pick: Pick::Value(value),
                new,
                next: (!settled).then_some(good + 1),
            };
        }
        let absent = condition.absent
            && self
                .seat
                .next(condition.fields, |it| it.element, 0)
                .is_none();
        Frame {
            pick: if absent { Pick::Absent } else { Pick::Failed },
            new: Vec::new(),
            next: None,
        }
    }
}
