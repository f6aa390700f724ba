//! Whether one alternative matches: array consistency (event-patterns.md 2.3).
//!
//! Each condition needs a field that satisfies it, or must find no field at all, and no two
//! chosen fields may sit in different elements of one array. Conditions are taken in the order
//! of their paths, since an absence is judged by what was chosen before it.
//!
//! Tried one by one, the choices multiply. Three things keep the cost down, and none changes an
//! answer:
//!
//! * An array is *open* until an element of it is chosen. What matters of the choices so far is,
//!   for each condition left, which open arrays hold fields of it and what it found outside
//!   them. That is a [`Cell`]; a [`State`] of equal cells has an equal answer, kept in `known`.
//! * Conditions that share no open array cannot disturb each other, so a state falls apart into
//!   groups that are answered alone.
//! * A condition without open arrays is decided on the spot.
//!
//! In an event where a path leads through one array per level, each condition has one open array
//! at a time, and the states are no more than conditions times places. Only repeated or dotted
//! names let one condition have two; then the question is as hard as satisfiability, and
//! [`CHOICES_MAX`] bounds it.
//!
//! Start at [`matches`].

use std::collections::{BTreeMap, HashMap};

use crate::fields::{Fields, ROOT, Tree};
use crate::matcher::Value;
use crate::pattern::{Alternative, Leaf};

/// Choices tried in an event that names one path in several ways around several arrays. At the
/// bound the alternative counts as matching: each of its conditions could hold by itself, and who
/// writes such an event could as well have written one that matches.
const CHOICES_MAX: u32 = 50_000;

/// True when `alternative` matches the event whose fields are given; `paths` are the numbers of
/// its leaves' paths; `holds` says whether a value satisfies a leaf.
pub(crate) fn matches(
    alternative: &Alternative,
    paths: &[u32],
    fields: &Fields<'_>,
    holds: &dyn Fn(&Leaf, &Value<'_>) -> bool,
) -> bool {
    assert_eq!(alternative.leaves.len(), paths.len());
    // Whether anything is there at all settles most rules, and costs least.
    for (leaf, path) in alternative.leaves.iter().zip(paths) {
        if fields.at(*path).is_empty() && !leaf.absent {
            return false;
        }
    }
    let mut conditions = Vec::new();
    for (leaf, path) in alternative.leaves.iter().zip(paths) {
        let Some(condition) = Condition::of(leaf, *path, fields, holds) else {
            if leaf.absent {
                continue;
            }
            return false;
        };
        if condition.good.is_empty() && (!condition.absent || condition.all == [ROOT]) {
            return false;
        }
        // Outside of all arrays nothing can disagree.
        if condition.all != [ROOT] {
            conditions.push(condition);
        }
    }
    match conditions.as_slice() {
        [] => true,
        // Nothing is chosen before it, so its fields, which it has, all agree.
        [only] => !only.good.is_empty(),
        _ => search(&conditions, &fields.tree),
    }
}

/// True when there is a choice for these conditions, in the order of their paths.
pub(crate) fn search(conditions: &[Condition], tree: &Tree) -> bool {
    Search::new(conditions, tree).run()
}

/// One leaf, looked at with the event.
#[derive(Debug, Default)]
pub(crate) struct Condition {
    /// It also holds where there is no field.
    pub(crate) absent: bool,
    /// Places with a field at its path, sorted, each once.
    pub(crate) all: Vec<u32>,
    /// Those of them with a field that satisfies it.
    pub(crate) good: Vec<u32>,
}

impl Condition {
    /// `None` when the event has no field at the path. The length of an array is a field only to a
    /// leaf that it satisfies: an empty array is none to the others.
    fn of(
        leaf: &Leaf,
        path: u32,
        fields: &Fields<'_>,
        holds: &dyn Fn(&Leaf, &Value<'_>) -> bool,
    ) -> Option<Condition> {
        let mut condition = Condition {
            absent: leaf.absent,
            all: Vec::new(),
            good: Vec::new(),
        };
        for field in fields.at(path) {
            let good = condition.good.last() == Some(&field.place) || holds(leaf, &field.value);
            if (good || !matches!(field.value, Value::Length(_)))
                && condition.all.last() != Some(&field.place)
            {
                condition.all.push(field.place);
            }
            if good && condition.good.last() != Some(&field.place) {
                condition.good.push(field.place);
            }
        }
        (!condition.all.is_empty()).then_some(condition)
    }
}

/// What the choices so far leave of one condition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Cell {
    condition: usize,
    /// It has a field outside of the open arrays.
    seen: bool,
    /// It has one there that satisfies it.
    good: bool,
    /// Open arrays that hold fields of it, sorted.
    open: Vec<u32>,
}

/// Conditions that are still to be met together, in the order of their paths.
type State = Vec<Cell>;

/// How the first condition of a state is met.
#[derive(Debug, Clone, Copy)]
enum Choice {
    /// By what it found outside of the open arrays.
    Outside,
    /// By a field in this place below this open array.
    Place { array: u32, place: u32 },
}

struct Search<'s> {
    conditions: &'s [Condition],
    tree: &'s Tree,
    /// True when no condition asks for absence: then a choice outside of arrays is the best.
    plain: bool,
    known: HashMap<State, bool>,
    /// True once a condition had two open arrays at once.
    tangled: bool,
    choices: u32,
}

/// A state under examination.
struct Frame {
    state: State,
    /// The next choice: 0 is `Outside`, then the open arrays.
    array: usize,
    /// The next good place within that array.
    place: usize,
    /// Groups of the present choice that are still to be answered.
    groups: Vec<State>,
    chosen: bool,
}

impl<'s> Search<'s> {
    fn new(conditions: &'s [Condition], tree: &'s Tree) -> Self {
        Search {
            conditions,
            tree,
            plain: conditions.iter().all(|condition| !condition.absent),
            known: HashMap::new(),
            tangled: false,
            choices: 0,
        }
    }

    fn run(mut self) -> bool {
        let mut start = Vec::new();
        for condition in 0..self.conditions.len() {
            let mut cell = Cell {
                condition,
                seen: false,
                good: false,
                open: Vec::new(),
            };
            self.enter(&mut cell, ROOT, None);
            start.push(cell);
        }
        let Some(groups) = self.groups(start) else {
            return false;
        };
        groups.into_iter().all(|group| self.answer(group))
    }

    /// Answers one state, on a stack of its own: conditions may be many.
    fn answer(&mut self, state: State) -> bool {
        let mut frames = vec![Frame::new(state)];
        let mut answered: Option<bool> = None;
        loop {
            let frame = frames
                .last_mut()
                .expect("the loop ends with the last frame");
            if answered.take() == Some(false) {
                frame.chosen = false;
            }
            let verdict = if frame.chosen {
                match frame.groups.pop() {
                    None => true,
                    Some(group) => {
                        answered = self.known.get(&group).copied();
                        if answered.is_none() {
                            frames.push(Frame::new(group));
                        }
                        continue;
                    }
                }
            } else if let Some(choice) = self.next_choice(frame) {
                self.choices += 1;
                if self.tangled && CHOICES_MAX < self.choices {
                    return true;
                }
                if let Some(groups) = self.choose(&frame.state, choice) {
                    frame.groups = groups;
                    frame.chosen = true;
                }
                continue;
            } else {
                false
            };
            let done = frames.pop().expect("it was the last");
            self.known.insert(done.state, verdict);
            if frames.is_empty() {
                return verdict;
            }
            answered = Some(verdict);
        }
    }

    fn next_choice(&self, frame: &mut Frame) -> Option<Choice> {
        let first = &frame.state[0];
        if frame.array == 0 {
            frame.array = 1;
            if first.good {
                return Some(Choice::Outside);
            }
        }
        let good = &self.conditions[first.condition].good;
        while let Some(array) = first.open.get(frame.array - 1) {
            let places = &self.tree.arrays[*array as usize].places;
            frame.place = frame
                .place
                .max(good.partition_point(|it| *it < places.start));
            match good.get(frame.place) {
                Some(place) if *place < places.end => {
                    frame.place += 1;
                    return Some(Choice::Place {
                        array: *array,
                        place: *place,
                    });
                }
                _ => {
                    frame.array += 1;
                    frame.place = 0;
                }
            }
        }
        None
    }

    /// The groups that are left after the first condition of `state` is met by `choice`; `None`
    /// when that leaves another condition without hope.
    fn choose(&mut self, state: &[Cell], choice: Choice) -> Option<Vec<State>> {
        let mut rest = state[1..].to_vec();
        if let Choice::Place { array, place } = choice {
            // The places entered, from the innermost out, each with the array left through it.
            let mut entered = Vec::new();
            let mut at = place;
            let mut through = None;
            loop {
                entered.push((at, through));
                let around = self.tree.places[at as usize].array;
                if around == array {
                    break;
                }
                through = Some(around);
                at = self.tree.arrays[around as usize].place;
            }
            for cell in &mut rest {
                let Ok(known) = cell.open.binary_search(&array) else {
                    continue;
                };
                cell.open.remove(known);
                for (place, through) in &entered {
                    self.enter(cell, *place, *through);
                }
                cell.open.sort_unstable();
            }
        }
        self.groups(rest)
    }

    /// Adds to a cell what lies in `place`, but not below the array `through`.
    fn enter(&mut self, cell: &mut Cell, place: u32, through: Option<u32>) {
        let condition = &self.conditions[cell.condition];
        cell.seen |= condition.all.binary_search(&place).is_ok();
        cell.good |= condition.good.binary_search(&place).is_ok();
        let end = self.tree.places[place as usize].end;
        let mut next = condition.all.partition_point(|it| *it <= place);
        while let Some(below) = condition.all.get(next).filter(|it| **it < end) {
            let array = self.tree.array_between(place, *below);
            if Some(array) != through {
                cell.open.push(array);
            }
            let places_end = self.tree.arrays[array as usize].places.end;
            next = condition.all.partition_point(|it| *it < places_end);
        }
        self.tangled |= 1 < cell.open.len();
    }

    /// Decides the cells that can be decided, and splits the others by the arrays they share.
    fn groups(&self, mut cells: State) -> Option<Vec<State>> {
        for cell in &cells {
            let absent = self.conditions[cell.condition].absent && !cell.seen;
            if cell.open.is_empty() && !cell.good && !absent {
                return None;
            }
        }
        let met = |cell: &Cell| cell.open.is_empty() || (self.plain && cell.good);
        cells.retain(|cell| !met(cell));
        let mut leader: Vec<usize> = (0..cells.len()).collect();
        let mut holder: HashMap<u32, usize> = HashMap::new();
        for (which, cell) in cells.iter().enumerate() {
            for array in &cell.open {
                let other = *holder.entry(*array).or_insert(which);
                let (a, b) = (leader_of(&mut leader, other), leader_of(&mut leader, which));
                leader[a.max(b)] = a.min(b);
            }
        }
        let mut groups: BTreeMap<usize, State> = BTreeMap::new();
        for (which, cell) in cells.into_iter().enumerate() {
            groups
                .entry(leader_of(&mut leader, which))
                .or_default()
                .push(cell);
        }
        let mut left = Vec::new();
        for group in groups.into_values() {
            // Alone it has only to find a good field; its open arrays are no absence.
            if let [only] = group.as_slice() {
                if !only.good && !self.good_within(only) {
                    return None;
                }
            } else {
                left.push(group);
            }
        }
        Some(left)
    }

    fn good_within(&self, cell: &Cell) -> bool {
        let good = &self.conditions[cell.condition].good;
        cell.open.iter().any(|array| {
            let places = &self.tree.arrays[*array as usize].places;
            let first = good.partition_point(|it| *it < places.start);
            good.get(first).is_some_and(|it| *it < places.end)
        })
    }
}

fn leader_of(leader: &mut [usize], which: usize) -> usize {
    let mut at = which;
    while leader[at] != at {
        leader[at] = leader[leader[at]];
        at = leader[at];
    }
    at
}

impl Frame {
    fn new(state: State) -> Frame {
        Frame {
            state,
            array: 0,
            place: 0,
            groups: Vec::new(),
            chosen: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::oracle;
    use crate::pattern::Pattern;

    #[track_caller]
    fn check(pattern: &str, event: &str, expected: bool) {
        let pattern = Pattern::parse(pattern).unwrap();
        assert_eq!(oracle::matches(&pattern, event.as_bytes()), Ok(expected));
    }

    fn row(count: usize, element: &str) -> String {
        vec![element; count].join(",")
    }

    // Each of these takes longer than the universe when choices are tried one by one.

    #[test]
    fn arrays_beside_each_other_do_not_multiply() {
        let names: Vec<String> = (0..60).map(|n| format!("n{n:02}")).collect();
        let element = row(40, r#"{"x":1,"y":2}"#);
        let event: Vec<String> = names
            .iter()
            .map(|n| format!("\"{n}\":[{element}]"))
            .collect();
        let event = format!("{{{}}}", event.join(","));
        let leaf = |last: u8| {
            let all = names.iter().map(|n| {
                let y = if n == "n59" { last } else { 2 };
                format!(r#""{n}":{{"x":[1],"y":[{y}]}}"#)
            });
            format!("{{{}}}", all.collect::<Vec<_>>().join(","))
        };
        check(&leaf(2), &event, true);
        check(&leaf(3), &event, false);
    }

    #[test]
    fn arrays_open_across_each_other_do_not_multiply() {
        // Sorted, the paths are a, a!, a!!, …, then a!!.x, a!.x, a.x: all stay open at once.
        let names: Vec<String> = (0..40).map(|n| format!("a{}", "!".repeat(n))).collect();
        let element = row(30, "[5]");
        let event: Vec<String> = names
            .iter()
            .map(|n| format!(r#""{n}":[{element},{{"x":1}}]"#))
            .collect();
        let event = format!("{{{}}}", event.join(","));
        let leaves = names.iter().map(|n| format!(r#""{n}":[5],"{n}.x":[1]"#));
        let pattern = format!("{{{}}}", leaves.collect::<Vec<_>>().join(","));
        check(&pattern, &event, false);
    }

    #[test]
    fn levels_do_not_multiply() {
        // Each level has an array `b` of many and an array `c` that holds the next level.
        let mut event = r#"{"b":[{"x":1}],"c":7}"#.to_owned();
        let mut path = "c".to_owned();
        let mut leaves = vec![r#""b.x":[1]"#.to_owned()];
        for _ in 0..30 {
            let beside = row(20, r#"{"x":1}"#);
            event = format!(r#"{{"b":[{beside}],"c":[{event}]}}"#);
            leaves.push(format!(r#""{}b.x":[1]"#, &path[..path.len() - 1]));
            path = format!("c.{path}");
        }
        leaves.sort();
        for (last, expected) in [(7, true), (8, false)] {
            let pattern = format!("{{{},\"{path}\":[{last}]}}", leaves.join(","));
            check(&pattern, &event, expected);
        }
    }

    #[test]
    fn many_conditions_over_many_elements_stay_linear() {
        let names: Vec<String> = (0..400).map(|n| format!("{n:03}")).collect();
        let all: Vec<String> = names.iter().map(|n| format!("\"{n}\":1")).collect();
        let element = format!("{{{}}}", all.join(","));
        let event = format!("{{\"a\":[{}]}}", row(50, &element));
        for (last, expected) in [(1, true), (2, false)] {
            let leaves = names.iter().map(|n| {
                let value = if n == "399" { last } else { 1 };
                format!("\"{n}\":[{value},{{\"exists\":false}}]")
            });
            let leaves: Vec<String> = leaves.collect();
            check(
                &format!("{{\"a\":{{{}}}}}", leaves.join(",")),
                &event,
                expected,
            );
        }
        let event = format!("{{\"a\":[{}]}}", row(20_000, r#"{"x":1,"y":1}"#));
        check(r#"{"a":{"x":[1],"y":[2,{"exists":false}]}}"#, &event, false);
        check(r#"{"a":{"x":[1],"y":[{"exists":false}]}}"#, &event, false);
    }

    #[test]
    fn conditions_without_end_need_no_native_stack() {
        let names: Vec<String> = (0..5_000).map(|n| format!("{n:04}")).collect();
        let all: Vec<String> = names.iter().map(|n| format!("\"{n}\":[[1]]")).collect();
        let event = format!("{{\"a\":[{{{}}}]}}", all.join(","));
        let leaves: Vec<String> = names.iter().map(|n| format!("\"{n}\":[1]")).collect();
        check(&format!("{{\"a\":{{{}}}}}", leaves.join(",")), &event, true);
    }

    #[test]
    fn a_tangle_of_repeated_names_is_solved_or_cut_off() {
        // Each repeat of `a` chooses one of two elements, each condition wants one of them.
        let event = r#"{"a":[{"p":1},{"q":1}],"a":[{"p":1},{"q":1}]}"#;
        check(r#"{"a":{"p":[1],"q":[1]}}"#, event, true);
        check(r#"{"a":{"p":[1],"q":[1],"r":[1]}}"#, event, false);
        let event = r#"{"a":[{"p":1},{"q":1},{"r":1}],"a":[{"p":1},{"q":1},{"r":1}]}"#;
        check(r#"{"a":{"p":[1],"q":[1],"r":[1]}}"#, event, false);
        // Pigeons in too few holes: no answer in time, so it counts as a match.
        let names: Vec<String> = (0..14).map(|n| format!("n{n:02}")).collect();
        let elements: Vec<String> = names.iter().map(|n| format!("{{\"{n}\":1}}")).collect();
        let hole = format!("\"a\":[{}]", elements.join(","));
        let event = format!("{{{}}}", row(13, &hole));
        let leaves: Vec<String> = names.iter().map(|n| format!("\"{n}\":[1]")).collect();
        check(&format!("{{\"a\":{{{}}}}}", leaves.join(",")), &event, true);
    }
}
