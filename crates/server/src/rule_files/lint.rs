//! What the authors of good rule files may regret: the warnings of `rule_engine::lint` at their places, and
//! rules that say the same twice.
//!
//! Nobody is stopped by them, so a server does not look; `busbar rules lint` does. A rule switches codes off
//! with its member `Lint`.

use super::{Loaded, Written, read};
use crate::diagnostic::{Diagnostic, Severity};
use bus_core::document::Rule;
use bus_core::name::BusName;
use rule_engine::lint::{DUPLICATE_RULE, canonical};
use std::collections::HashMap;

/// Warnings about the patterns of a set, in the order of files and text.
#[must_use]
pub fn lint(loaded: &Loaded) -> Vec<Diagnostic> {
    let mut warnings = Vec::new();
    let mut by_pattern: HashMap<(&BusName, String), &Rule> = HashMap::new();
    for (rule, written) in loaded.rules.iter().zip(&loaded.written) {
        let Some(pattern) = &rule.pattern else {
            continue;
        };
        let key = (
            &rule.bus,
            canonical(pattern).expect("checked by the reader"),
        );
        match by_pattern.get(&key) {
            Some(first) => warnings.extend(duplicate(rule, written, first)),
            None => {
                by_pattern.insert(key, rule);
            }
        }
        let found = rule_engine::lint::lint(pattern).expect("checked by the reader");
        for warning in found {
            if written.allowed.contains(warning.code) {
                continue;
            }
            let text = &written.source.text;
            warnings.push(Diagnostic {
                severity: Severity::Warning,
                help: warning.help,
                ..written.diagnostic(
                    warning.code,
                    read::inside_pattern(text, &written.pattern, warning.span),
                    format!("rule `{}`: {}", rule.name, warning.message),
                    None,
                )
            });
        }
    }
    warnings
}

fn duplicate(rule: &Rule, written: &Written, first: &Rule) -> Option<Diagnostic> {
    if written.allowed.contains(DUPLICATE_RULE) {
        return None;
    }
    let message = format!(
        "rule `{}` has the same pattern as rule `{}` on bus `{}`",
        rule.name, first.name, rule.bus
    );
    let help = "give one of them all the targets, and delete the other".into();
    Some(Diagnostic {
        severity: Severity::Warning,
        ..written.diagnostic(DUPLICATE_RULE, written.name.clone(), message, Some(help))
    })
}
