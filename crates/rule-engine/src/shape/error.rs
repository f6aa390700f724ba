//! Why an input was turned down, in AWS's words, and what we warn about in ours.

use std::fmt;

/// Why an input was turned down.
///
/// `Display` is AWS's text letter for letter, except that [`InputError::TemplateEmpty`],
/// [`InputError::Key`] and [`InputError::PathsCount`] name the target's place in the call, which
/// only the door knows: [`InputError::constraint`] takes it, and `Display` says 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// `Input` is no JSON text.
    #[error("JSON syntax error in input for target {target_id}: {place}")]
    Constant {
        /// The target.
        target_id: String,
        /// Where.
        place: Place,
    },
    /// `InputTemplate` is empty.
    #[error("1 validation error detected: {}", self.constraint(1).unwrap_or_default())]
    TemplateEmpty,
    /// A key of `InputPathsMap` is empty, too long, or not of `A-Za-z0-9_-` (reserved names have dots).
    #[error("1 validation error detected: {}", self.constraint(1).unwrap_or_default())]
    Key {
        /// The map as AWS prints it: `{a=$.b, c=$.d}`.
        map: String,
    },
    /// `InputPathsMap` has more than [`super::PATHS_MAX`] entries.
    #[error("1 validation error detected: {}", self.constraint(1).unwrap_or_default())]
    PathsCount {
        /// The map as AWS prints it.
        map: String,
    },
    /// `InputPath`, or a path of the map, is none.
    #[error("InputPath for target {target_id} is invalid.")]
    Path {
        /// The target.
        target_id: String,
        /// The path as given.
        path: String,
    },
    /// A placeholder that is neither in the map nor reserved.
    #[error("InputTemplate for target {target_id} contains invalid placeholder {name}.")]
    Placeholder {
        /// The target.
        target_id: String,
        /// The name between `<` and `>`.
        name: String,
        /// Byte offset of the `<` in the template.
        offset: usize,
    },
    /// A placeholder of the whole event, elsewhere than as the bare value of a member.
    #[error(
        "InputTemplate for target {target_id} contains placeholder {name} valid only for JSON template."
    )]
    ObjectOnly {
        /// The target.
        target_id: String,
        /// The name between `<` and `>`.
        name: String,
        /// Byte offset of the `<` in the template.
        offset: usize,
    },
    /// A placeholder in an object's key, or in its place.
    #[error("InputTemplate placeholder present as a JSON object key for target {target_id}.")]
    ObjectKey {
        /// The target.
        target_id: String,
        /// Byte offset of the `<` in the template.
        offset: usize,
    },
    /// The template can't become JSON.
    #[error("Invalid InputTemplate for target {target_id} : {place}.")]
    Template {
        /// The target.
        target_id: String,
        /// Where, in the template with its placeholders filled in.
        place: Place,
        /// The same place as a byte offset in the template as given.
        offset: usize,
    },
}

impl InputError {
    /// For the faults that AWS counts as model constraints: the text of the constraint for the
    /// target at `member` (from 1) of the call, without `1 validation error detected: `, since
    /// the door may have more of them to tell. `None` for the other faults.
    pub fn constraint(&self, member: usize) -> Option<String> {
        let (value, name, constraint) = match self {
            Self::TemplateEmpty => (
                "",
                "inputTemplate",
                "Member must have length greater than or equal to 1",
            ),
            Self::Key { map } => (
                map.as_str(),
                "inputPathsMap",
                "Map keys must satisfy constraint: [Member must have length less than or equal \
                 to 256, Member must have length greater than or equal to 1, Member must satisfy \
                 regular expression pattern: [A-Za-z0-9\\_\\-]+]",
            ),
            Self::PathsCount { map } => (
                map.as_str(),
                "inputPathsMap",
                "Member must have length less than or equal to 100",
            ),
            _ => return None,
        };
        Some(format!(
            "Value '{value}' at 'targets.{member}.member.inputTransformer.{name}' failed to \
             satisfy constraint: {constraint}"
        ))
    }

    /// Byte offset of the fault in the template (for `Input`: in its text), where there is one.
    pub fn offset_in_template(&self) -> Option<usize> {
        match self {
            Self::Constant { place, .. } => Some(place.offset),
            Self::Placeholder { offset, .. }
            | Self::ObjectOnly { offset, .. }
            | Self::ObjectKey { offset, .. }
            | Self::Template { offset, .. } => Some(*offset),
            Self::TemplateEmpty
            | Self::Key { .. }
            | Self::PathsCount { .. }
            | Self::Path { .. } => None,
        }
    }

    /// What AWS's text leaves out.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Path { .. } => Some(
                "a path is `$`, then any of `.name`, `[0]`, `[*]`; a name is of A-Z a-z 0-9 _ - /",
            ),
            Self::Placeholder { .. } => {
                Some("add the name to InputPathsMap, or write `<` and `>` apart from it")
            }
            Self::ObjectOnly { .. } => {
                Some("it may only be the value of a member, without quotes: {\"event\":<…>}")
            }
            Self::ObjectKey { .. } => Some("keys are fixed; a placeholder can only be in a value"),
            Self::Template { .. } => {
                Some("a template is one JSON text or several JSON strings; text goes into quotes")
            }
            Self::Constant { .. } => Some("Input is one JSON text; a string needs its quotes"),
            Self::TemplateEmpty | Self::Key { .. } | Self::PathsCount { .. } => None,
        }
    }
}

/// Most characters of a source that an error repeats.
const SOURCE_CHARACTERS_MAX: usize = 500;

/// A place in a text, printed as AWS's JSON parser does: `[Source: (String)"x"; line: 1, column: 1]`.
///
/// Line and column count from 1, in characters. Sources over 500 characters are cut, also as
/// that parser does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    source: String,
    /// Characters of the source that `source` leaves out.
    cut: usize,
    offset: usize,
    line: usize,
    column: usize,
}

impl Place {
    pub(super) fn new(source: &str, offset: usize) -> Self {
        assert!(
            source.is_char_boundary(offset),
            "offsets are of whole tokens"
        );
        let before = &source[..offset];
        let line_start = before.rfind(['\n', '\r']).map_or(0, |at| at + 1);
        let breaks = before.bytes().filter(|&b| b == b'\n' || b == b'\r').count();
        let pairs = memchr::memmem::find_iter(before.as_bytes(), b"\r\n").count();
        let end = source
            .char_indices()
            .nth(SOURCE_CHARACTERS_MAX)
            .map_or(source.len(), |(at, _)| at);
        Self {
            source: source[..end].to_owned(),
            cut: source[end..].chars().count(),
            offset,
            line: 1 + breaks - pairs,
            column: 1 + source[line_start..offset].chars().count(),
        }
    }

    /// Line, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Column, from 1, in characters.
    pub fn column(&self) -> usize {
        self.column
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[Source: (String)\"{}\"", self.source)?;
        if 0 < self.cut {
            write!(f, "[truncated {} chars]", self.cut)?;
        }
        write!(f, "; line: {}, column: {}]", self.line, self.column)
    }
}

/// What is allowed and likely to be regretted. `Display` is the sentence to show.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// A text template takes strings as they are, without escapes.
    RawText {
        /// The placeholder's name.
        name: String,
        /// Byte offset of its first `<`.
        offset: usize,
    },
    /// Outside quotes in a text template, a string value gives no JSON.
    BareText {
        /// The placeholder's name.
        name: String,
        /// Byte offset of its first `<`.
        offset: usize,
    },
    /// An accepted placeholder without a value.
    Unknown {
        /// The placeholder's name.
        name: String,
        /// Byte offset of its first `<`.
        offset: usize,
    },
    /// Looks like a placeholder but has a dot and is not reserved, so it stays text.
    NoPlaceholder {
        /// What stands between `<` and `>`.
        name: String,
        /// Byte offset of the `<`.
        offset: usize,
    },
}

impl Warning {
    /// Byte offset in the template.
    pub fn offset_in_template(&self) -> usize {
        match self {
            Self::RawText { offset, .. }
            | Self::BareText { offset, .. }
            | Self::Unknown { offset, .. }
            | Self::NoPlaceholder { offset, .. } => *offset,
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RawText { name, .. } => write!(
                f,
                "`<{name}>` goes into a text template unescaped: a value with a quote, a backslash \
                 or a line feed makes the event a dead letter; use the object form, \
                 {{\"{name}\":<{name}>}}"
            ),
            Self::BareText { name, .. } => write!(
                f,
                "`<{name}>` stands outside quotes in a text template: a string, object or missing \
                 value makes the event a dead letter; use the object form, {{\"{name}\":<{name}>}}"
            ),
            Self::Unknown { name, .. } => {
                write!(f, "`<{name}>` has no path and stays in the text as it is")
            }
            Self::NoPlaceholder { name, .. } => write!(
                f,
                "`<{name}>` is no reserved placeholder and stays in the text as it is"
            ),
        }
    }
}
