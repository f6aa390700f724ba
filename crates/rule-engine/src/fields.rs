//! An event as the fields that some pattern asks for, each with its seat (event-patterns.md 2.2).
//!
//! A *place* is where fields without a further choice between array elements lie: the root, and
//! each array element that is an object or an array. Places are numbered as they open, so what
//! lies below an array or an element is a run of numbers. The seat of a field is its place: the
//! places above it name one element of each array around it.
//!
//! Paths are compared as joined text, so an event that spells a path with dotted names finds the
//! same conditions. While the event is walked, the paths still possible are a run of the sorted
//! list, narrowed by each name and never joined: a deep event with long names costs its length.
//!
//! Start at [`Fields::of`].

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use crate::json::{JsonError, Scanner, TokenKind};
use crate::matcher::Value;

/// The paths that a pattern asks for, sorted by bytes, each with its number.
#[derive(Debug, Clone, Default)]
pub(crate) struct Paths {
    sorted: Vec<(Arc<str>, u32)>,
}

impl Paths {
    /// The number of `path`, which is asked for from now on.
    pub(crate) fn take(&mut self, path: &str) -> u32 {
        match self.find(path) {
            Ok(at) => self.sorted[at].1,
            Err(at) => {
                let number = number(self.sorted.len());
                self.sorted.insert(at, (path.into(), number));
                number
            }
        }
    }

    fn find(&self, path: &str) -> Result<usize, usize> {
        self.sorted
            .binary_search_by(|(other, _)| (**other).cmp(path))
    }

    /// The paths of `prefix` that go on with `name`.
    fn narrow(&self, prefix: &Prefix, name: &str) -> Prefix {
        let run = &self.sorted[prefix.run.clone()];
        let order = |(path, _): &(Arc<str>, u32)| {
            let rest = &path.as_bytes()[prefix.length..];
            if prefix.root {
                return order_of_beginning(rest, name.as_bytes());
            }
            match rest.split_first() {
                None => Ordering::Less,
                Some((b'.', rest)) => order_of_beginning(rest, name.as_bytes()),
                Some((byte, _)) => byte.cmp(&b'.'),
            }
        };
        let start = run.partition_point(|path| order(path) == Ordering::Less);
        let length = run[start..].partition_point(|path| order(path) == Ordering::Equal);
        Prefix {
            run: prefix.run.start + start..prefix.run.start + start + length,
            length: prefix.length + usize::from(!prefix.root) + name.len(),
            root: false,
        }
    }

    /// The number of the path that is exactly `prefix`, if it is asked for.
    fn at(&self, prefix: &Prefix) -> Option<u32> {
        if prefix.root || prefix.run.is_empty() {
            return None;
        }
        // The shortest of those that begin alike comes first.
        let (path, number) = &self.sorted[prefix.run.start];
        (path.len() == prefix.length).then_some(*number)
    }
}

/// How the first bytes of `text`, as many as `beginning` has, compare to it.
fn order_of_beginning(text: &[u8], beginning: &[u8]) -> Ordering {
    let head = &text[..text.len().min(beginning.len())];
    head.cmp(beginning)
}

/// A path walked so far, as the run of wanted paths that begin with it.
#[derive(Debug, Clone)]
struct Prefix {
    run: Range<usize>,
    /// Bytes of the path so far.
    length: usize,
    /// True before the first name. The first name may be empty, so no length tells.
    root: bool,
}

/// A scalar of an event at a path that was asked for.
#[derive(Debug)]
pub(crate) struct Field<'e> {
    path: u32,
    pub(crate) place: u32,
    pub(crate) value: Value<'e>,
}

/// The root, or an array element that is a container.
#[derive(Debug)]
pub(crate) struct Place {
    /// The array it is an element of; meaningless for [`ROOT`].
    pub(crate) array: u32,
    /// Places below it: those from its own number plus one up to here.
    pub(crate) end: u32,
}

#[derive(Debug)]
pub(crate) struct Array {
    /// The place it lies in.
    pub(crate) place: u32,
    /// All places below it.
    pub(crate) places: Range<u32>,
}

/// The place of what lies in no array.
pub(crate) const ROOT: u32 = 0;

/// How the places of one event lie in its arrays.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) places: Vec<Place>,
    pub(crate) arrays: Vec<Array>,
}

/// The wanted fields of one event.
#[derive(Debug)]
pub(crate) struct Fields<'e> {
    /// Sorted by path number, then by place.
    fields: Vec<Field<'e>>,
    pub(crate) tree: Tree,
}

/// An open container on a path that is still wanted.
struct Open {
    prefix: Prefix,
    place: u32,
    kind: Kind,
    elements: u64,
}

/// A container's kind; of an array its number.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Object,
    Array(u32),
}

impl<'e> Fields<'e> {
    /// Walks an event and keeps what `paths` ask for.
    ///
    /// Bounds: linear in the event times the logarithm of the paths; any depth, on the heap. A
    /// name that occurs twice counts twice. An empty array or object gives no field, but each
    /// array its length, which only added filters see.
    ///
    /// # Errors
    /// What is not JSON. That it is an object is for `json::validate` to say.
    pub(crate) fn of(event: &'e [u8], paths: &Paths) -> Result<Fields<'e>, JsonError> {
        let mut fields = Fields {
            fields: Vec::new(),
            tree: Tree::default(),
        };
        fields.tree.clear();
        let mut open: Vec<Open> = Vec::new();
        // Where the value behind a name goes; behind any other token, the root or an element.
        let mut named: Option<Prefix> = None;
        // Containers open below one whose path nobody asks for.
        let mut skipped = 0_usize;
        let mut scanner = Scanner::new(event, usize::MAX);
        while let Some(token) = scanner.next()? {
            if 0 < skipped {
                match token.kind {
                    TokenKind::ObjectStart | TokenKind::ArrayStart => skipped += 1,
                    TokenKind::ObjectEnd | TokenKind::ArrayEnd => skipped -= 1,
                    _ => {}
                }
                continue;
            }
            let value = match token.kind {
                TokenKind::Name(name) => {
                    let inside = open.last().expect("a name is inside an object");
                    named = Some(paths.narrow(&inside.prefix, &name.unescape()));
                    continue;
                }
                TokenKind::ObjectEnd | TokenKind::ArrayEnd => {
                    let closed = open.pop().expect("the scanner pairs its brackets");
                    let inside = open.last().map(|inside| inside.kind);
                    fields.tree.close(closed.place, closed.kind, inside);
                    if let Kind::Array(array) = closed.kind
                        && let Some(path) = paths.at(&closed.prefix)
                    {
                        let place = fields.tree.arrays[array as usize].place;
                        let value = Value::Length(closed.elements);
                        fields.fields.push(Field { path, place, value });
                    }
                    continue;
                }
                TokenKind::ObjectStart | TokenKind::ArrayStart => None,
                TokenKind::String(text) => Some(TokenValue::Text(text)),
                TokenKind::Number(text) => Some(TokenValue::Number(text)),
                TokenKind::True => Some(TokenValue::Is(Value::True)),
                TokenKind::False => Some(TokenValue::Is(Value::False)),
                TokenKind::Null => Some(TokenValue::Is(Value::Null)),
            };
            if let Some(inside) = open.last_mut() {
                inside.elements += 1;
            }
            let prefix = match (named.take(), open.last()) {
                (Some(prefix), _) => prefix,
                (None, Some(array)) => array.prefix.clone(),
                (None, None) => Prefix {
                    run: 0..paths.sorted.len(),
                    length: 0,
                    root: true,
                },
            };
            let place = open.last().map_or(ROOT, |inside| inside.place);
            match value {
                None if prefix.run.is_empty() => skipped = 1,
                None => {
                    let is_array = token.kind == TokenKind::ArrayStart;
                    let inside = open.last().map(|inside| inside.kind);
                    let (place, kind) = fields.tree.open(place, inside, is_array);
                    open.push(Open {
                        prefix,
                        place,
                        kind,
                        elements: 0,
                    });
                }
                Some(value) => {
                    if let Some(path) = paths.at(&prefix) {
                        let value = match value {
                            TokenValue::Text(text) => Value::String(text.unescape()),
                            TokenValue::Number(text) => Value::number(text),
                            TokenValue::Is(value) => value,
                        };
                        fields.fields.push(Field { path, place, value });
                    }
                }
            }
        }
        fields.tree.finish();
        fields.fields.sort_by_key(|field| (field.path, field.place));
        Ok(fields)
    }

    /// The fields at a path, sorted by place.
    pub(crate) fn at(&self, path: u32) -> &[Field<'e>] {
        let start = self.fields.partition_point(|field| field.path < path);
        let length = self.fields[start..].partition_point(|field| field.path == path);
        &self.fields[start..start + length]
    }
}

impl Tree {
    /// The root alone.
    pub(crate) fn clear(&mut self) {
        self.arrays.clear();
        self.places.clear();
        self.places.push(Place { array: 0, end: 0 });
    }

    /// A container begins in `place`, inside a container of this kind. Gives its own place and
    /// kind.
    pub(crate) fn open(&mut self, place: u32, inside: Option<Kind>, array: bool) -> (u32, Kind) {
        let place = match inside {
            Some(Kind::Array(array)) => {
                self.places.push(Place { array, end: 0 });
                self.len() - 1
            }
            _ => place,
        };
        if !array {
            return (place, Kind::Object);
        }
        let first = self.len();
        self.arrays.push(Array {
            place,
            places: first..first,
        });
        (place, Kind::Array(number(self.arrays.len()) - 1))
    }

    /// The container of this place and kind ends, inside a container of kind `inside`.
    pub(crate) fn close(&mut self, place: u32, kind: Kind, inside: Option<Kind>) {
        let end = self.len();
        if let Kind::Array(array) = kind {
            self.arrays[array as usize].places.end = end;
        }
        if let Some(Kind::Array(_)) = inside {
            self.places[place as usize].end = end;
        }
    }

    /// The array directly in `place` that holds the place `below`.
    pub(crate) fn array_between(&self, place: u32, below: u32) -> u32 {
        let mut at = below;
        loop {
            let array = self.places[at as usize].array;
            at = self.arrays[array as usize].place;
            if at == place {
                return array;
            }
        }
    }

    /// The event ends.
    pub(crate) fn finish(&mut self) {
        self.places[ROOT as usize].end = self.len();
    }

    fn len(&self) -> u32 {
        number(self.places.len())
    }
}

/// A value not yet unescaped or read: most are at no wanted path.
enum TokenValue<'e> {
    Text(crate::json::Text<'e>),
    Number(&'e str),
    Is(Value<'e>),
}

fn number(count: usize) -> u32 {
    u32::try_from(count).expect("no event or pattern has 2^32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(all: &[&str]) -> Paths {
        let mut paths = Paths::default();
        for path in all {
            paths.take(path);
        }
        paths
    }

    #[track_caller]
    fn check(event: &str, wanted: &[&str], expected: &[(&str, &str, u32)]) {
        let paths = paths(wanted);
        let fields = Fields::of(event.as_bytes(), &paths).unwrap();
        let mut found = Vec::new();
        for path in wanted {
            let number = paths.sorted[paths.find(path).unwrap()].1;
            let scalars = fields.at(number).iter();
            for field in scalars.filter(|it| !matches!(it.value, Value::Length(_))) {
                found.push((*path, format!("{:?}", field.value), field.place));
            }
        }
        let expected: Vec<_> = expected
            .iter()
            .map(|(path, value, place)| {
                (*path, format!("Number({value:?}, Some({value}.0))"), *place)
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn nesting_and_dots_are_one_path() {
        check(
            r#"{"a":{"b":1},"a.b":2,"a.b.c":3,"a":{"b":{"c":4}},"ab":5}"#,
            &["a.b", "a.b.c", "ab", "a"],
            &[
                ("a.b", "1", 0),
                ("a.b", "2", 0),
                ("a.b.c", "3", 0),
                ("a.b.c", "4", 0),
                ("ab", "5", 0),
            ],
        );
    }

    #[test]
    fn empty_names_are_names() {
        check(
            r#"{"":1,"":{"":2,"a":3},"a":{"":4}}"#,
            &["", ".", ".a", "a."],
            &[("", "1", 0), (".", "2", 0), (".a", "3", 0), ("a.", "4", 0)],
        );
    }

    #[test]
    fn places_are_elements_that_are_containers() {
        check(
            r#"{"a":[1,{"b":2},3,[4,{"b":5}],{"c":[{"d":6}]}],"b":[]}"#,
            &["a", "a.b", "a.c.d"],
            &[
                ("a", "1", 0),
                ("a", "3", 0),
                ("a", "4", 2),
                ("a.b", "2", 1),
                ("a.b", "5", 3),
                ("a.c.d", "6", 5),
            ],
        );
    }

    #[test]
    fn runs_of_places_are_what_lies_below() {
        let paths = paths(&["a.b"]);
        let event = br#"{"a":[{"b":[1]},[{"b":2},{"b":3}],{"b":4}]}"#;
        let fields = Fields::of(event, &paths).unwrap();
        let ends: Vec<u32> = fields.tree.places.iter().map(|place| place.end).collect();
        assert_eq!(ends, [6, 2, 5, 4, 5, 6]);
        let arrays: Vec<_> = fields
            .tree
            .arrays
            .iter()
            .map(|array| (array.place, array.places.clone()))
            .collect();
        assert_eq!(arrays, [(0, 1..6), (1, 2..2), (2, 3..5)]);
    }
}
