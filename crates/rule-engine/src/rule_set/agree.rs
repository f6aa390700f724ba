//! Array consistency without a search, where there is only one way to go (event-patterns.md 2.3).
//!
//! Nearly always each condition has its fields below one place in one array. Then each array
//! needs one element that meets all conditions which have to be met in it, and an element is
//! looked at once: the cost is linear. A condition that wants absence is judged by the elements
//! chosen before it, so a condition before it must have chosen one of its array.
//!
//! What is less plain is left to the search of `seats`, which allocates: a path that leads through
//! two arrays, by a repeated or dotted name; a condition that absence or a value will do for; and
//! beside absence, a condition that may be met within an array or outside of it.
//!
//! Start at [`Agree::holds`].

use crate::fields::{ROOT, Tree};
use crate::seats::{self, Condition};

/// Room for the answer, used again for each question.
#[derive(Debug, Default)]
pub(super) struct Agree {
    groups: Vec<Group>,
    /// The conditions of each group.
    members: Vec<u32>,
    /// Conditions of the element at hand, each with its array.
    open: Vec<(u32, u32)>,
    /// Some condition wants absence.
    has_absent: bool,
}

/// Conditions that one element of an array must meet together.
#[derive(Debug)]
struct Group {
    array: u32,
    /// Its conditions in `members`.
    from: usize,
    to: usize,
    /// The condition with the fewest places in the array: only elements that have one are tried.
    lead: u32,
    /// The next of those.
    next: usize,
    /// The first group of the same element; all of them must hold.
    base: usize,
}

/// There is more than one way to go.
struct Tangled;

impl Agree {
    /// True when fields can be chosen that satisfy all `conditions`, which are in the order of
    /// their paths.
    pub(super) fn holds(&mut self, conditions: &[Condition], tree: &Tree) -> bool {
        self.has_absent = conditions.iter().any(|condition| condition.absent);
        self.groups.clear();
        self.members.clear();
        self.members.extend(0..conditions.len() as u32);
        self.run(conditions, tree)
            .unwrap_or_else(|Tangled| seats::search(conditions, tree))
    }

    fn run(&mut self, conditions: &[Condition], tree: &Tree) -> Result<bool, Tangled> {
        if !self.enter(conditions, tree, ROOT, 0..conditions.len())? {
            return Ok(false);
        }
        // The last group is the one at work. When it holds, it goes; when the last of an element
        // has gone, the element and with it the group below hold. When it fails, so do all groups
        // of its element, and the group below tries its next element.
        while let Some(group) = self.groups.last_mut() {
            let (base, from, to) = (group.base, group.from, group.to);
            let Some(element) = next_element(group, conditions, tree) else {
                if base == 0 {
                    return Ok(false);
                }
                self.members.truncate(self.groups[base].from);
                self.groups.truncate(base);
                continue;
            };
            let before = self.groups.len();
            if self.enter(conditions, tree, element, from..to)? && self.groups.len() == before {
                self.hold();
            }
        }
        Ok(true)
    }

    /// The last group holds, and so may those below.
    fn hold(&mut self) {
        loop {
            let done = self.groups.pop().expect("it was the last");
            self.members.truncate(done.from);
            if done.base < self.groups.len() || self.groups.is_empty() {
                return;
            }
        }
    }

    /// Groups what the conditions in `members[of]` still need below `place`. `false` when one of
    /// them cannot be met there.
    fn enter(
        &mut self,
        conditions: &[Condition],
        tree: &Tree,
        place: u32,
        of: std::ops::Range<usize>,
    ) -> Result<bool, Tangled> {
        self.open.clear();
        let end = tree.places[place as usize].end;
        for at in of {
            let member = self.members[at];
            let condition = &conditions[member as usize];
            let below = &condition.all[condition.all.partition_point(|it| *it <= place)..];
            let below = &below[..below.partition_point(|it| *it < end)];
            let is_here = |places: &[u32]| places.binary_search(&place).is_ok();
            if condition.absent {
                if !condition.good.is_empty() {
                    return Err(Tangled);
                }
                if is_here(&condition.all) {
                    return Ok(false);
                }
            } else if is_here(&condition.good) {
                if self.has_absent && !below.is_empty() {
                    return Err(Tangled);
                }
                continue;
            }
            let (Some(first), Some(last)) = (below.first(), below.last()) else {
                if condition.absent {
                    continue;
                }
                return Ok(false);
            };
            let array = tree.array_between(place, *first);
            if tree.arrays[array as usize].places.end <= *last {
                return Err(Tangled);
            }
            self.open.push((array, member));
        }
        self.open.sort_unstable();
        let base = self.groups.len();
        let mut rest = &self.open[..];
        while let Some((array, _)) = rest.first() {
            let length = rest.partition_point(|(other, _)| other == array);
            let (here, others) = rest.split_at(length);
            rest = others;
            let places = &tree.arrays[*array as usize].places;
            let good = |member: u32| {
                let good = &conditions[member as usize].good;
                let from = good.partition_point(|it| *it < places.start);
                let to = good.partition_point(|it| *it < places.end);
                (to - from, from)
            };
            let is_absent = |member: u32| conditions[member as usize].absent;
            let present = here.iter().filter(|(_, member)| !is_absent(*member));
            let counts = present.map(|(_, member)| (good(*member), *member));
            let ((fewest, next), lead) = counts.min().unwrap_or_default();
            // Where absence comes first, no element is chosen yet, and all of them count.
            if fewest == 0 || is_absent(here[0].1) {
                self.members.truncate(match self.groups.get(base) {
                    Some(group) => group.from,
                    None => self.members.len(),
                });
                self.groups.truncate(base);
                return Ok(false);
            }
            // Alone a condition needs any field of the array that satisfies it.
            if here.len() == 1 {
                continue;
            }
            let from = self.members.len();
            self.members.extend(here.iter().map(|(_, member)| *member));
            self.groups.push(Group {
                array: *array,
                from,
                to: self.members.len(),
                lead,
                next,
                base,
            });
        }
        Ok(true)
    }
}

/// The next element of a group's array that has a place which satisfies its leading condition.
fn next_element(group: &mut Group, conditions: &[Condition], tree: &Tree) -> Option<u32> {
    let good = &conditions[group.lead as usize].good;
    let mut at = *good.get(group.next)?;
    if tree.arrays[group.array as usize].places.end <= at {
        return None;
    }
    // Up to the element of this array that it lies in.
    loop {
        let place = &tree.places[at as usize];
        if place.array == group.array {
            let end = place.end;
            group.next += good[group.next..].partition_point(|it| *it < end);
            return Some(at);
        }
        at = tree.arrays[place.array as usize].place;
    }
}
