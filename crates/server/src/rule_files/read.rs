//! One rule file's JSON into rules, with every refusal and its place.
//!
//! The reader goes on after a fault where it can, so that one look shows all of them; a rule with a fault is
//! left out of what it returns, and with a fault the set is refused anyway.
//!
//! | room | reads |
//! | --- | --- |
//! | `rule` | a rule's own members |
//! | `target` | where a target leads, and how it is tried |
//! | `input` | what a target receives |
//! | `destination` | a file of `destinations/` |
//! | `members` | JSON, knowing no rules: members, their kinds and bounds; where faults are noted |
//! | `place` | nothing: it says where in a file a thing is written |
//!
//! Start at [`file`].

mod destination;
mod input;
mod members;
mod place;
mod rule;
mod target;

pub use destination::{Destination, destination};
pub(super) use place::inside_pattern;

use super::{Context, Source, Written};
use crate::diagnostic::{Diagnostic, char_boundary};
use bus_core::document::{Kind, Rule};
use bus_core::name::QueueName;
use lifecycle::documents::{Code, Trigger, json_help};
use place::span;
use rule_engine::json::{self, Node, NodeKind};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

/// Levels of a rule file: a pattern's own, and the list, rule and members around it.
const DEPTH_MAX: usize = rule_engine::pattern::DEPTH_MAX + 12;
/// Source of these bounds: eventbridge-api.md 5.1, 6.1.
const PATTERN_CHARACTERS_MAX: usize = 4_096;
const DESCRIPTION_CHARACTERS_MAX: usize = 512;
const ARN_CHARACTERS_MAX: usize = 1_600;
const INPUT_CHARACTERS_MAX: usize = 8_192;
const PATH_CHARACTERS_MAX: usize = 256;
const GROUP_CHARACTERS_MAX: usize = 100;
/// Headers of one webhook.
const HEADERS_MAX: usize = 50;

/// What a file says.
#[derive(Default)]
pub struct Read {
    pub rules: Vec<(Rule, Written)>,
    /// Rules that are triggers, with the place of each.
    pub triggers: Vec<(Trigger, Source, Range<usize>)>,
    pub queues: BTreeSet<QueueName>,
    pub faults: Vec<Diagnostic>,
    pub warnings: Vec<Diagnostic>,
    /// Webhooks named by ARN, and the fault if there is none.
    pub webhooks_named: Vec<(Kind, Diagnostic)>,
    /// Destinations named by ARN, and the fault if there is none.
    pub destinations_named: Vec<(String, Diagnostic)>,
}

/// Reads a file.
pub fn file(path: &Path, text: &str, context: &Context) -> Read {
    let source = Source {
        file: path.display().to_string(),
        text: redacted(text).into(),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut reader = Reader {
        text,
        source,
        file: format!("rules/{name}"),
        context,
        read: Read::default(),
    };
    reader.file();
    reader.read
}

/// Stars out the text of every `"Secret"`, byte for byte so that places stay, also where the rest is no JSON.
pub fn redacted(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let mut from = 0;
    while let Some(found) = text[from..].find("\"Secret\"") {
        let mut at = from + found + "\"Secret\"".len();
        from = at;
        while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\r' | b'\n' | b':')) {
            at += 1;
        }
        if bytes.get(at) != Some(&b'"') {
            continue;
        }
        at += 1;
        while !matches!(bytes.get(at), None | Some(b'"' | b'\n')) {
            let width = if bytes[at] == b'\\' { 2 } else { 1 };
            for _ in 0..width {
                if at < bytes.len() && bytes[at] != b'\n' {
                    bytes[at] = b'*';
                    at += 1;
                }
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

struct Reader<'a> {
    text: &'a str,
    source: Source,
    /// As `rules/FILE.json`.
    file: String,
    context: &'a Context,
    read: Read,
}

impl Reader<'_> {
    fn file(&mut self) {
        let text = self.text;
        let root = match json::parse(text, DEPTH_MAX) {
            Ok(root) => root,
            Err(error) => {
                let rest = &text[char_boundary(text, error.offset)..];
                let length = rest.chars().next().map_or(0, char::len_utf8);
                let help = json_help(text, error.offset).map(Into::into);
                self.fault(
                    "json::syntax",
                    error.offset..error.offset + length,
                    format!("not a JSON text: {}", error.kind),
                    help,
                );
                return;
            }
        };
        match &root.kind {
            NodeKind::Object(_) => self.rule(&root),
            NodeKind::Array(items) => items.iter().for_each(|item| self.rule(item)),
            _ => {
                let _ = self.fault(
                    "rule::shape",
                    span(&root),
                    "a rule file holds one rule (an object) or a list of rules".into(),
                    None,
                );
            }
        }
    }

    /// Reads one rule. The faults of a trigger have the codes of operator documents, each is told once.
    fn rule(&mut self, node: &Node<'_>) {
        let before = self.read.faults.len();
        self.rule_of(node);
        let NodeKind::Object(members) = &node.kind else {
            return;
        };
        if !members
            .iter()
            .any(|it| it.name == "Trigger" || it.name == "Actions")
        {
            return;
        }
        // Of two readers' words the one that knows a way out.
        let mut told = BTreeMap::<_, Diagnostic>::new();
        for mut fault in self.read.faults.split_off(before) {
            fault.code = code_of_document(fault.code);
            let known = told.get(&(fault.span.start, fault.code));
            if known.is_none_or(|known| known.help.is_none()) {
                told.insert((fault.span.start, fault.code), fault);
            }
        }
        self.read.faults.extend(told.into_values());
    }
}

/// What certificate-lifecycle.md 6.5 calls a fault of a rule.
fn code_of_document(code: &'static str) -> &'static str {
    let code_of_ours = match code {
        "rule::missing_member" => Code::MemberMissing,
        "rule::unknown_member" | "rule::duplicate_member" => Code::MemberUnknown,
        "rule::kind" | "rule::state" | "target::shape" => Code::MemberType,
        "rule::name" | "target::id" => Code::NameMalformed,
        other => return other,
    };
    code_of_ours.as_str()
}
