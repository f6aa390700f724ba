//! Reading a document's JSON: every fault with its place, and on to the next one.
//!
//! A reader gives `None` where it has noted a fault; a document with a fault is not taken, so what is
//! built around the gap does not matter.

use super::fault::{Code, Fault};
use super::shape::{Member, Need, REMARKS, pattern_help};
use crate::condition::{Condition, Dialect};
use crate::moment;
use crate::path::Path;
use crate::selector::Selector;
use rule_engine::json::{self, Node, NodeKind};
use rule_engine::pattern::Options;
use rule_engine::words;
use serde_json::Value;
use std::collections::BTreeMap;

/// Levels of a document: a pattern's own and what is around it.
const DEPTH_MAX: usize = rule_engine::pattern::DEPTH_MAX + 12;

/// What to try instead of what is no type, no path, no selector.
pub(super) const TYPE_HELP: &str = "a lower-case letter, then at most 63 of a-z 0-9 -";
pub(super) const PATH_HELP: &str = "a path is `$`, then any of `.name`, `['name']`, `[0]`, `[*]`";
const SELECTOR_HELP: &str = "`$.path.into.the.event`, `resources:TYPE` or `inventory:TYPE`";

/// A value and where it is.
#[derive(Debug, Clone)]
pub(super) struct Place<'n> {
    node: &'n Node<'n>,
    at: String,
}

/// The members of one object, by name.
#[derive(Debug, Clone)]
pub(super) struct Members<'n> {
    around: Place<'n>,
    by_name: BTreeMap<&'n str, Place<'n>>,
}

pub(super) struct Reader<'t> {
    text: &'t str,
    options: Options,
    faults: Vec<Fault>,
}

/// Reads a text as one document with `read`.
pub(super) fn document<T>(
    text: &str,
    options: &Options,
    read: impl FnOnce(&mut Reader<'_>, Place<'_>) -> Option<T>,
) -> Result<T, Vec<Fault>> {
    let node = match json::parse(text, DEPTH_MAX) {
        Ok(node) => node,
        Err(error) => {
            return Err(vec![Fault {
                code: Code::MemberType,
                at: String::new(),
                span: Some(error.offset..text.len().min(error.offset + 1)),
                message: format!("not a JSON text: {}", error.kind),
                help: json_help(text, error.offset)
                    .unwrap_or("a document is one JSON object")
                    .into(),
            }]);
        }
    };
    let mut reader = Reader {
        text,
        options: *options,
        faults: Vec::new(),
    };
    let at = String::new();
    let read = read(&mut reader, Place { node: &node, at });
    reader
        .faults
        .sort_by_key(|fault| fault.span.as_ref().map(|span| span.start));
    match read {
        Some(read) if reader.faults.is_empty() => Ok(read),
        _ => {
            assert!(!reader.faults.is_empty(), "what cannot be read has a fault");
            Err(reader.faults)
        }
    }
}

/// The bytes of the value that a JSON pointer names.
#[must_use]
pub fn span_of(text: &str, pointer: &str) -> Option<std::ops::Range<usize>> {
    let root = json::parse(text, DEPTH_MAX).ok()?;
    let mut node = &root;
    for step in pointer.split('/').skip(1) {
        let name = step.replace("~1", "/").replace("~0", "~");
        node = match &node.kind {
            NodeKind::Object(members) => &members.iter().find(|it| it.name == name)?.value,
            NodeKind::Array(items) => items.get(name.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(node.start..node.end)
}

impl<'n> Place<'n> {
    fn member(&self, name: &str, node: &'n Node<'n>) -> Place<'n> {
        let at = format!("{}/{}", self.at, name.replace('~', "~0").replace('/', "~1"));
        Place { node, at }
    }

    pub(super) fn as_str(&self) -> Option<&'n str> {
        match &self.node.kind {
            NodeKind::String(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn is_object(&self) -> bool {
        matches!(self.node.kind, NodeKind::Object(_))
    }

    pub(super) fn items(&self) -> Option<Vec<Place<'n>>> {
        let NodeKind::Array(items) = &self.node.kind else {
            return None;
        };
        let each = items.iter().enumerate();
        Some(
            each.map(|(n, item)| self.member(&n.to_string(), item))
                .collect(),
        )
    }
}

impl<'n> Members<'n> {
    pub(super) fn get(&self, name: &str) -> Option<Place<'n>> {
        self.by_name.get(name).cloned()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    pub(super) fn place(&self) -> &Place<'n> {
        &self.around
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'n str, Place<'n>)> {
        self.by_name
            .iter()
            .map(|(name, place)| (*name, place.clone()))
    }
}

impl Reader<'_> {
    /// Notes a fault, and what to try.
    pub(super) fn fault(
        &mut self,
        code: Code,
        place: &Place<'_>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.faults.push(Fault {
            code,
            at: place.at.clone(),
            span: Some(place.node.start..place.node.end),
            message: message.into(),
            help: help.into(),
        });
    }

    fn type_fault<T>(&mut self, place: &Place<'_>, wanted: &str) -> Option<T> {
        let found = match &place.node.kind {
            NodeKind::Object(_) => "an object",
            NodeKind::Array(_) => "a list",
            NodeKind::String(_) => "a text",
            NodeKind::Number(_) => "a number",
            NodeKind::True | NodeKind::False => "true or false",
            NodeKind::Null => "null",
        };
        self.fault(
            Code::MemberType,
            place,
            format!("{wanted} is wanted, {found} was found"),
            format!("write {wanted}"),
        );
        None
    }

    /// The members of an object of any names. A repeated name is a fault, the first one counts.
    pub(super) fn map<'n>(&mut self, place: &Place<'n>) -> Option<Members<'n>> {
        let NodeKind::Object(members) = &place.node.kind else {
            return self.type_fault(place, "an object");
        };
        let mut by_name = BTreeMap::new();
        for member in members {
            let below = place.member(&member.name, &member.value);
            if by_name.contains_key(&*member.name) {
                let text = format!("a second `{}`", member.name);
                self.fault(Code::MemberUnknown, &below, text, "take one of them away");
            } else {
                by_name.insert(&*member.name, below);
            }
        }
        let around = place.clone();
        Some(Members { around, by_name })
    }

    /// The members of an object of a table: others are faults, and so are missing ones that it wants.
    pub(super) fn object<'n>(
        &mut self,
        place: &Place<'n>,
        known: &[Member],
    ) -> Option<Members<'n>> {
        let members = self.map(place)?;
        let names: Vec<&str> = known.iter().map(|member| member.name).collect();
        let mut meant = Vec::new();
        for (name, below) in members.iter() {
            if !names.contains(&name) && REMARKS.iter().all(|remark| remark.name != name) {
                let text = format!("no member `{name}` here");
                let help = words::did_you_mean(name, &names);
                self.fault(Code::MemberUnknown, &below, text, help);
                meant.extend(words::nearest(name, &names));
            }
        }
        for member in known {
            if let Need::Required(code) = member.need
                && !members.has(member.name)
                // A slip of the pen is told once.
                && !meant.contains(&member.name)
            {
                self.missing(code, &members, member.name, member.doc);
            }
        }
        Some(members)
    }

    /// Notes that a member is missing.
    pub(super) fn missing(
        &mut self,
        code: Code,
        members: &Members<'_>,
        name: &str,
        doc: &'static str,
    ) {
        let message = format!("`{name}` is missing");
        self.fault(code, members.place(), message, doc);
    }

    pub(super) fn string(&mut self, place: &Place<'_>) -> Option<String> {
        match place.as_str() {
            Some(text) => Some(text.to_owned()),
            None => self.type_fault(place, "a text"),
        }
    }

    pub(super) fn boolean(&mut self, members: &Members<'_>, name: &str) -> Option<bool> {
        let Some(place) = members.get(name) else {
            return Some(false);
        };
        match place.node.kind {
            NodeKind::True => Some(true),
            NodeKind::False => Some(false),
            _ => self.type_fault(&place, "true or false"),
        }
    }

    pub(super) fn integer(&mut self, place: &Place<'_>) -> Option<i64> {
        let number = match &place.node.kind {
            NodeKind::Number(text) => text.parse().ok(),
            _ => None,
        };
        number.or_else(|| self.type_fault(place, "a whole number"))
    }

    /// The items of a list, each read with `read`; `None` when one of them has a fault.
    pub(super) fn list<T>(
        &mut self,
        place: &Place<'_>,
        mut read: impl FnMut(&mut Self, &Place<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Some(items) = place.items() else {
            return self.type_fault(place, "a list");
        };
        // All are read, so that all faults are noted.
        let read: Vec<Option<T>> = items.iter().map(|item| read(self, item)).collect();
        read.into_iter().collect()
    }

    /// As [`Reader::list`]; a member that is not there is an empty list.
    pub(super) fn list_or_empty<T>(
        &mut self,
        members: &Members<'_>,
        name: &str,
        read: impl FnMut(&mut Self, &Place<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        match members.get(name) {
            Some(place) => self.list(&place, read),
            None => Some(Vec::new()),
        }
    }

    /// One of some words; the first when the member is not there.
    pub(super) fn word<T: Copy>(
        &mut self,
        members: &Members<'_>,
        name: &str,
        words: &[(&str, T)],
    ) -> Option<T> {
        let Some(place) = members.get(name) else {
            return Some(words[0].1);
        };
        let text = self.string(&place)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let help = format!("one of {}", all.join(", "));
            self.fault(
                Code::MemberType,
                &place,
                format!("`{text}` is not known here"),
                help,
            );
        }
        found.map(|(_, value)| *value)
    }

    /// The name of a document.
    pub(super) fn name(&mut self, members: &Members<'_>) -> Option<String> {
        let place = members.get("Name")?;
        let text = self.string(&place)?;
        if bus_core::name::RuleName::parse(&text).is_err() {
            let help = "1 to 64 of A-Z a-z 0-9 . - _";
            self.fault(
                Code::NameMalformed,
                &place,
                format!("`{text}` is no name"),
                help,
            );
            return None;
        }
        Some(text)
    }

    /// The name of a type (4.1).
    pub(super) fn type_name(&mut self, place: &Place<'_>) -> Option<String> {
        let text = self.string(place)?;
        if !crate::reference::is_type(&text) {
            let help = TYPE_HELP;
            self.fault(
                Code::NameMalformed,
                place,
                format!("`{text}` is no type"),
                help,
            );
            return None;
        }
        if text == crate::reference::PLATFORM {
            let help = "it is always there, last, and never written";
            self.fault(Code::ScopeReserved, place, "`platform` is reserved", help);
            return None;
        }
        Some(text)
    }

    /// A duration, in milliseconds.
    pub(super) fn span(&mut self, place: &Place<'_>) -> Option<i64> {
        let text = self.string(place)?;
        match moment::span(&text) {
            Ok(ms) => Some(ms),
            Err(why) => {
                let message = format!("`{text}` is no duration");
                self.fault(Code::DurationMalformed, place, message, why);
                None
            }
        }
    }

    /// As [`Reader::span`], for a member that may be left out.
    pub(super) fn optional_span(&mut self, members: &Members<'_>, name: &str) -> Option<i64> {
        members.get(name).and_then(|place| self.span(&place))
    }

    /// A path that begins with `$`.
    pub(super) fn path(&mut self, place: &Place<'_>) -> Option<Path> {
        let text = self.string(place)?;
        self.path_or_fault(place, &text, Path::parse(&text), PATH_HELP)
    }

    /// A path that starts at an object and leaves its `$.` out.
    pub(super) fn relative_path(&mut self, place: &Place<'_>) -> Option<Path> {
        let text = self.string(place)?;
        let path = Path::relative(&text).filter(|_| !text.starts_with('$'));
        let help = "a path from the object, without `$.`: `attributes.email`";
        self.path_or_fault(place, &text, path, help)
    }

    fn path_or_fault(
        &mut self,
        place: &Place<'_>,
        text: &str,
        path: Option<Path>,
        help: &str,
    ) -> Option<Path> {
        if path.is_none() {
            let message = format!("`{text}` is no path");
            self.fault(Code::SelectorMalformed, place, message, help);
        }
        path
    }

    /// A list of selectors, at least one.
    pub(super) fn selectors(
        &mut self,
        place: &Place<'_>,
        inventory: bool,
    ) -> Option<Vec<Selector>> {
        let list = self.list(place, |reader, item| {
            let text = reader.string(item)?;
            match Selector::parse(&text) {
                Some(Selector::Inventory(_)) if !inventory => {
                    let help = "what the subject is must come from the event";
                    let message = format!("`{text}` looks the subject up by itself");
                    reader.fault(Code::SelectorMalformed, item, message, help);
                    None
                }
                Some(selector) => Some(selector),
                None => {
                    let message = format!("`{text}` is no selector");
                    reader.fault(Code::SelectorMalformed, item, message, SELECTOR_HELP);
                    None
                }
            }
        })?;
        if list.is_empty() {
            self.fault(
                Code::SelectorMalformed,
                place,
                "at least one selector is wanted",
                SELECTOR_HELP,
            );
            return None;
        }
        Some(list)
    }

    /// A pattern, as an object or as its text; left out, it matches everything.
    pub(super) fn condition(
        &mut self,
        members: &Members<'_>,
        name: &str,
        dialect: Dialect,
    ) -> Option<Condition> {
        let Some(place) = members.get(name) else {
            return Some(Condition::always());
        };
        let as_text = place.as_str();
        let text = match as_text {
            Some("") => return Some(Condition::always()),
            Some(text) => text,
            None => &self.text[place.node.start..place.node.end],
        };
        match Condition::parse(text, dialect, &self.options) {
            Ok(condition) => Some(condition),
            Err(error) => {
                self.fault(
                    Code::PatternInvalid,
                    &place,
                    error.to_string(),
                    pattern_help(&error, dialect),
                );
                let fault = self.faults.last_mut().expect("it was just noted");
                if as_text.is_none() {
                    let (start, span) = (place.node.start, error.span());
                    fault.span = Some(start + span.start..start + span.end);
                }
                if !error.path().is_empty() {
                    fault.message = format!("{} (at `{}`)", fault.message, error.path());
                }
                None
            }
        }
    }

    /// A value as it is written.
    pub(super) fn value(&self, place: &Place<'_>) -> Value {
        let text = &self.text[place.node.start..place.node.end];
        serde_json::from_str(text).expect("a part of a JSON text is one")
    }
}

/// What people write that JSON has not, at the place where a text is none.
#[must_use]
pub fn json_help(text: &str, offset: usize) -> Option<&'static str> {
    let (before, rest) = text.split_at(text.floor_char_boundary(offset));
    let before = before.trim_end();
    Some(
        if rest.starts_with("//") || rest.starts_with("/*") || rest.starts_with('#') {
            "JSON has no comments; put it into Description"
        } else if rest.starts_with(['}', ']']) && before.ends_with(',') {
            "take the comma before it away"
        } else if rest.starts_with('\'') {
            "strings stand in double quotes"
        } else if rest.is_empty() {
            "a bracket or a quote is not closed"
        } else if rest.starts_with('"') && before.ends_with(['"', '}', ']', 'e', 'l']) {
            "is a comma missing before it?"
        } else if rest.starts_with('\u{feff}') {
            "save the file without a byte order mark"
        } else {
            return None;
        },
    )
}
