//! An event as what a person is told of it: each wanted value with the place it was found at.
//!
//! The walk of `fields` keeps what matching needs and no more; here each value also knows its
//! array element by number, and a path that leads nowhere knows what comes near it.

use std::collections::BTreeSet;

use crate::json::{JsonError, Scanner, TokenKind};
use crate::matcher::Value;
use crate::pattern::Pattern;

/// What lies in no array is in this element.
pub(super) const ROOT: usize = 0;

/// What an event has at the paths of a pattern.
pub(super) struct Walk<'e> {
    /// Sorted; each path once.
    pub(super) paths: Vec<String>,
    /// For each path its values, sorted by element.
    pub(super) fields: Vec<Vec<Field<'e>>>,
    /// For each path what else is there, the first of it.
    pub(super) near: Vec<Option<Near>>,
    /// In the order of the text, so that what lies below an element follows it.
    pub(super) elements: Vec<Element>,
    pub(super) arrays: Vec<Array>,
}

/// A scalar at a wanted path.
pub(super) struct Field<'e> {
    pub(super) value: Value<'e>,
    /// The innermost array element around it that is a container.
    pub(super) element: usize,
    /// Names from there, joined with dots; none in an array within an array.
    name: Option<String>,
    /// Its number in the array that it is an element of.
    index: Option<usize>,
}

/// The root, or an array element that is a container.
pub(super) struct Element {
    pub(super) array: usize,
    index: usize,
    /// Objects can be given a member.
    pub(super) object: bool,
    path_length: usize,
    names: usize,
}

pub(super) struct Array {
    /// The element that it lies in.
    pub(super) within: usize,
    name: Option<String>,
    /// Names from the root, joined with dots.
    pub(super) path: String,
    /// Behind the last element within it.
    pub(super) elements_end: usize,
}

/// What a path that has no value may have been meant for, the better hint being the greater.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Near {
    /// A path that differs in the case of letters alone.
    Spelled(String),
    Array,
    Object,
}

/// A wanted path in lower case, and its number.
type Wanted = (String, usize);

/// An open container.
struct Open {
    /// The array it is, if it is one, and its next element's number.
    array: Option<(usize, usize)>,
    element: usize,
    path_length: usize,
    names: usize,
}

impl<'e> Walk<'e> {
    /// Bounds: linear in the event times the longest path; what begins no wanted path is skipped.
    ///
    /// # Errors
    /// What is not JSON.
    pub(super) fn of(event: &'e [u8], pattern: &Pattern) -> Result<Walk<'e>, JsonError> {
        let leaves = pattern.alternatives().iter().flat_map(|it| &it.leaves);
        let paths: BTreeSet<&str> = leaves.map(|leaf| &*leaf.path).collect();
        let paths: Vec<String> = paths.into_iter().map(str::to_owned).collect();
        let mut wanted: Vec<Wanted> = paths
            .iter()
            .enumerate()
            .map(|(number, path)| (path.to_ascii_lowercase(), number))
            .collect();
        wanted.sort();
        let mut walk = Walk {
            fields: paths.iter().map(|_| Vec::new()).collect(),
            near: vec![None; paths.len()],
            paths,
            elements: vec![Element {
                array: 0,
                index: 0,
                object: true,
                path_length: 0,
                names: 0,
            }],
            arrays: Vec::new(),
        };
        walk.take(event, &wanted)?;
        for fields in &mut walk.fields {
            fields.sort_by_key(|field| field.element);
        }
        Ok(walk)
    }

    /// The number of a path of the pattern.
    pub(super) fn number(&self, path: &str) -> usize {
        let found = self.paths.binary_search_by(|other| (**other).cmp(path));
        found.expect("the paths are those of the pattern")
    }

    fn take(&mut self, event: &'e [u8], wanted: &[Wanted]) -> Result<(), JsonError> {
        let mut scanner = Scanner::new(event, usize::MAX);
        let mut open: Vec<Open> = Vec::new();
        let mut path = String::new();
        let mut names = 0;
        // The wanted paths that begin with `path`.
        let mut run = wanted;
        // Containers open below one whose path begins no wanted one.
        let mut skipped = 0_usize;
        while let Some(token) = scanner.next()? {
            if 0 < skipped {
                match token.kind {
                    TokenKind::ObjectStart | TokenKind::ArrayStart => skipped += 1,
                    TokenKind::ObjectEnd | TokenKind::ArrayEnd => skipped -= 1,
                    _ => {}
                }
                continue;
            }
            match &token.kind {
                TokenKind::Name(name) => {
                    let inside = open.last().expect("a name is inside an object");
                    path.truncate(inside.path_length);
                    if 0 < inside.names {
                        path.push('.');
                    }
                    path.push_str(&name.unescape());
                    names = inside.names + 1;
                    run = run_of(wanted, &path);
                    continue;
                }
                TokenKind::ObjectEnd | TokenKind::ArrayEnd => {
                    let closed = open.pop().expect("the scanner pairs its brackets");
                    if let Some((array, _)) = closed.array {
                        self.arrays[array].elements_end = self.elements.len();
                    }
                    continue;
                }
                _ => {}
            }
            let mut element = ROOT;
            let mut item = None;
            if let Some(inside) = open.last_mut() {
                element = inside.element;
                if let Some((array, next)) = &mut inside.array {
                    item = Some((*array, *next));
                    *next += 1;
                    path.truncate(inside.path_length);
                    names = inside.names;
                    run = run_of(wanted, &path);
                }
            }
            if run.is_empty() {
                let container =
                    matches!(token.kind, TokenKind::ObjectStart | TokenKind::ArrayStart);
                skipped = usize::from(container);
                continue;
            }
            let value = match token.kind {
                TokenKind::ObjectStart => {
                    self.note(run, &path, names, Some(Near::Object));
                    let element = self.element(element, item, &path, names, true);
                    open.push(Open {
                        array: None,
                        element,
                        path_length: path.len(),
                        names,
                    });
                    continue;
                }
                TokenKind::ArrayStart => {
                    self.note(run, &path, names, Some(Near::Array));
                    let element = self.element(element, item, &path, names, false);
                    self.arrays.push(Array {
                        within: element,
                        name: self.name(element, &path, names),
                        path: path.clone(),
                        elements_end: self.elements.len(),
                    });
                    open.push(Open {
                        array: Some((self.arrays.len() - 1, 0)),
                        element,
                        path_length: path.len(),
                        names,
                    });
                    continue;
                }
                TokenKind::String(text) => Value::String(text.unescape()),
                TokenKind::Number(text) => Value::number(text),
                TokenKind::True => Value::True,
                TokenKind::False => Value::False,
                _ => Value::Null,
            };
            self.note(run, &path, names, None);
            let exact = run.iter().find(|(_, wanted)| self.paths[*wanted] == path);
            if let Some((_, wanted)) = exact.filter(|_| 0 < names) {
                let name = self.name(element, &path, names);
                self.fields[*wanted].push(Field {
                    value,
                    element,
                    name,
                    index: item.map(|(_, index)| index),
                });
            }
        }
        Ok(())
    }

    /// The element that a container is, or else lies in.
    fn element(
        &mut self,
        within: usize,
        item: Option<(usize, usize)>,
        path: &str,
        names: usize,
        object: bool,
    ) -> usize {
        let Some((array, index)) = item else {
            return within;
        };
        self.elements.push(Element {
            array,
            index,
            object,
            path_length: path.len(),
            names,
        });
        self.elements.len() - 1
    }

    /// What `path` adds to that of an element.
    fn name(&self, element: usize, path: &str, names: usize) -> Option<String> {
        let element = &self.elements[element];
        let dot = usize::from(0 < element.names);
        (element.names < names).then(|| path[element.path_length + dot..].to_owned())
    }

    /// Keeps what is near to a wanted path: a container at the path itself, or a scalar (`None`)
    /// beside it.
    fn note(&mut self, run: &[Wanted], path: &str, names: usize, container: Option<Near>) {
        for (lower, wanted) in run {
            let exact = self.paths[*wanted] == path;
            if lower.len() != path.len() || names == 0 || exact != container.is_some() {
                continue;
            }
            let known = &mut self.near[*wanted];
            match &container {
                None if known.is_none() => *known = Some(Near::Spelled(path.to_owned())),
                Some(_) if *known < container => known.clone_from(&container),
                _ => {}
            }
        }
    }

    /// Where a field is, as a person writes it: `detail.items[3].k`.
    pub(super) fn place(&self, field: &Field<'_>) -> String {
        let mut text = self.element_place(field.element);
        join(&mut text, field.element, field.name.as_deref(), field.index);
        text
    }

    /// Where an element is.
    pub(super) fn element_place(&self, element: usize) -> String {
        let mut chain = Vec::new();
        let mut at = element;
        while at != ROOT {
            chain.push(at);
            at = self.arrays[self.elements[at].array].within;
        }
        let mut text = String::new();
        for at in chain.into_iter().rev() {
            let Element { array, index, .. } = self.elements[at];
            let array = &self.arrays[array];
            join(&mut text, array.within, array.name.as_deref(), Some(index));
        }
        text
    }

    /// Where a value would have to be written to be at `path`, within the elements that `agrees`
    /// takes: below the deepest object in an array, or as the path says.
    pub(super) fn place_for(&self, path: &str, agrees: impl Fn(usize) -> bool) -> String {
        let mut best: Option<(usize, &str)> = None;
        for (number, element) in self.elements.iter().enumerate().skip(1) {
            let inside = path.strip_prefix(&*self.arrays[element.array].path);
            let Some(rest) = inside.and_then(|rest| rest.strip_prefix('.')) else {
                continue;
            };
            let deeper = best.is_none_or(|(_, known)| rest.len() < known.len());
            if element.object && deeper && agrees(number) {
                best = Some((number, rest));
            }
        }
        match best {
            Some((element, rest)) => format!("{}.{rest}", self.element_place(element)),
            None => path.to_owned(),
        }
    }
}

fn join(text: &mut String, element: usize, name: Option<&str>, index: Option<usize>) {
    if let Some(name) = name {
        if element != ROOT {
            text.push('.');
        }
        text.push_str(name);
    }
    if let Some(index) = index {
        text.push_str(&format!("[{index}]"));
    }
}

/// The wanted paths that begin with `path`, whatever the case.
fn run_of<'w>(wanted: &'w [Wanted], path: &str) -> &'w [Wanted] {
    let lower = path.to_ascii_lowercase();
    let rest = &wanted[wanted.partition_point(|(other, _)| *other < lower)..];
    &rest[..rest.partition_point(|(other, _)| other.starts_with(&lower))]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(pattern: &str, event: &str) -> Vec<String> {
        let pattern = Pattern::parse(pattern).unwrap();
        let walk = Walk::of(event.as_bytes(), &pattern).unwrap();
        let fields = walk.fields.iter().flatten();
        fields.map(|field| walk.place(field)).collect()
    }

    #[test]
    fn a_place_names_every_array_element() {
        let check = |path: &str, event: &str, expected: &[&str]| {
            assert_eq!(
                places(&format!("{{\"{path}\":[1]}}"), event),
                expected,
                "{event}"
            );
        };
        check("a", r#"{"a":1}"#, &["a"]);
        check(
            "a",
            r#"{"a":[1,[2,[3]],4]}"#,
            &["a[0]", "a[2]", "a[1][0]", "a[1][1][0]"],
        );
        check(
            "a.b",
            r#"{"a":[5,{"b":1},{"b":[2,3]}]}"#,
            &["a[1].b", "a[2].b[0]", "a[2].b[1]"],
        );
        check("a.b.c", r#"{"x":[1],"a.b":[{"c":1}]}"#, &["a.b[0].c"]);
        check("a.b", r#"{"a":[[{"b":1}]]}"#, &["a[0][0].b"]);
        check("", r#"{"":1}"#, &[""]);
        check(".b", r#"{"":[{"b":1}]}"#, &["[0].b"]);
    }

    #[test]
    fn what_is_near_a_path_is_kept() {
        let near = |event: &str| {
            let pattern = Pattern::parse(r#"{"a":{"b":[1]}}"#).unwrap();
            let walk = Walk::of(event.as_bytes(), &pattern).unwrap();
            walk.near[0].clone()
        };
        assert_eq!(near(r#"{"a":{"b":{}}}"#), Some(Near::Object));
        assert_eq!(near(r#"{"a":{"b":[]}}"#), Some(Near::Array));
        assert_eq!(
            near(r#"{"A":{"B":2}}"#),
            Some(Near::Spelled("A.B".to_owned()))
        );
        assert_eq!(near(r#"{"a":{"b":1}}"#), None);
        assert_eq!(near(r#"{"a":{"c":1}}"#), None);
    }
}
