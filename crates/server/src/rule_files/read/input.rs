//! What a target receives: its `Input`, `InputPath` or `InputTransformer`, compiled once to be checked.

use super::members::{Members, Take};
use super::place::span;
use super::{INPUT_CHARACTERS_MAX, PATH_CHARACTERS_MAX, Reader};
use crate::diagnostic::Severity;
use crate::shapers;
use bus_core::document::{InputTransformer, Target};
use lifecycle::documents::target;
use rule_engine::json::{Node, NodeKind};
use rule_engine::shape::InputError;
use serde_json::Map;
use std::ops::Range;

impl Reader<'_> {
    pub(super) fn input(&mut self, members: &Members<'_, '_>, target: &mut Target) -> Take<()> {
        let given: Vec<_> = ["Input", "InputPath", "InputTransformer"]
            .into_iter()
            .filter_map(|name| members.get(name))
            .collect();
        let member = match given.as_slice() {
            [] => return Ok(()),
            [one] => *one,
            [_, second, ..] => {
                return Err(self.fault(
                    "target::input",
                    second.name_start..second.name_end,
                    format!(
                        "Only one of Input, InputPath, or InputTransformer must be provided for target {}.",
                        target.id
                    ),
                    None,
                ));
            }
        };
        let value = &member.value;
        // Where offsets of the shaper's faults lie.
        let mut text_node = value;
        match &*member.name {
            "Input" => {
                if !matches!(value.kind, NodeKind::String(_)) {
                    let escaped =
                        serde_json::to_string(&self.text[span(value)]).unwrap_or_default();
                    return Err(self.fault(
                        "target::input",
                        span(value),
                        "Input is a string that holds one JSON text".into(),
                        (escaped.len() <= 200).then(|| format!("write it as {escaped}")),
                    ));
                }
                let text = self.bounded_text("Input", value, 0, INPUT_CHARACTERS_MAX)?;
                target.input = Some(text.to_owned());
            }
            "InputPath" => {
                let text = self.bounded_text("InputPath", value, 0, PATH_CHARACTERS_MAX)?;
                target.input_path = Some(text.to_owned());
            }
            _ => {
                let inner = self.members(value, "InputTransformer", &target::TRANSFORMER)?;
                text_node = self.required(&inner, value, "InputTemplate", "InputTransformer")?;
                let template =
                    self.bounded_text("InputTemplate", text_node, 0, INPUT_CHARACTERS_MAX)?;
                let mut paths = Map::new();
                if let Some(map) = inner.get("InputPathsMap") {
                    for (name, path) in self.any_members(&map.value, "InputPathsMap")? {
                        let text = self.bounded_text(name, &path.value, 0, PATH_CHARACTERS_MAX)?;
                        paths.insert(name.to_owned(), text.into());
                    }
                }
                target.input_transformer = Some(InputTransformer {
                    input_paths_map: paths,
                    input_template: template.to_owned(),
                });
            }
        }
        match shapers::compile(target, self.context.placeholders) {
            Ok(shaper) => {
                for warning in shaper.warnings() {
                    let at = warning.offset_in_template();
                    let place = self.inside(text_node, at..at + 1);
                    let mut diagnostic =
                        self.diagnostic("input::warning", place, warning.to_string(), None);
                    diagnostic.severity = Severity::Warning;
                    self.read.warnings.push(diagnostic);
                }
                Ok(())
            }
            Err(error) => {
                let place = match (&error, error.offset_in_template()) {
                    (_, Some(at)) => self.inside(text_node, at..at + 1),
                    (InputError::Path { path, .. }, None) => path_place(value, path),
                    _ => span(value),
                };
                let message = match &error {
                    InputError::TemplateEmpty => "InputTemplate is empty".into(),
                    InputError::Key { .. } => {
                        "a name of InputPathsMap has 1 to 256 of A-Z a-z 0-9 _ -".into()
                    }
                    InputError::PathsCount { .. } => "InputPathsMap has at most 100 entries".into(),
                    error => error.to_string(),
                };
                Err(self.fault(
                    "target::input",
                    place,
                    message,
                    error.help().map(Into::into),
                ))
            }
        }
    }
}

/// Where a path that was refused is written: a value of the map, or the `InputPath` itself.
fn path_place(node: &Node<'_>, path: &str) -> Range<usize> {
    let found = |n: &Node<'_>| match &n.kind {
        NodeKind::String(text) if text == path => Some(span(n)),
        _ => None,
    };
    let in_map = match &node.kind {
        NodeKind::Object(members) => members
            .iter()
            .filter(|m| m.name == "InputPathsMap")
            .find_map(|m| match &m.value.kind {
                NodeKind::Object(paths) => paths.iter().find_map(|p| found(&p.value)),
                _ => None,
            }),
        _ => None,
    };
    in_map.unwrap_or(span(node))
}
