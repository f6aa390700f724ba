//! A fault at a place of a text that people write: rule files, patterns, `busbar.toml`.
//!
//! One shape for all of them, so that each is shown the same way: with a caret under the fault for people,
//! as plain values for programs.

pub use rule_engine::words::{did_you_mean, nearest};

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, MietteError,
    MietteSpanContents, SourceCode, SourceSpan, SpanContents,
};
use serde_json::{Value, json};
use std::ops::Range;
use std::sync::Arc;

/// Whether it stops us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// What was written is not taken.
    Error,
    /// It is taken, and likely to be regretted.
    Warning,
}

/// What is wrong, where, and what to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Name of the kind of fault, the same between versions: `rule::unknown_member`.
    pub code: &'static str,
    /// Whether it stops us.
    pub severity: Severity,
    /// The file, as it was named to us.
    pub file: String,
    /// The file's text; empty if it could not be read.
    pub text: Arc<str>,
    /// Bytes of the text that are at fault; empty at its end if it was cut short.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to try.
    pub help: Option<String>,
}

impl Diagnostic {
    /// Line and column, both from 1; columns count characters.
    #[must_use]
    pub fn place(&self) -> (usize, usize) {
        rule_engine::json::line_column(self.text.as_bytes(), self.caret())
    }

    /// Where the fault is shown. A caret needs something to stand under: where a text was cut short, its last
    /// character.
    fn caret(&self) -> usize {
        let end = self.text.trim_end().len();
        char_boundary(&self.text, self.span.start.min(end.saturating_sub(1)))
    }

    /// One line: `file:line:column: message`.
    #[must_use]
    pub fn line(&self) -> String {
        let (line, column) = self.place();
        let mut text = format!("{}:{line}:{column}: {}", self.file, self.message);
        if let Some(help) = &self.help {
            text.push_str(&format!(" ({help})"));
        }
        text
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let (line, column) = self.place();
        json!({
            "code": self.code,
            "severity": match self.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            },
            "file": self.file,
            "line": line,
            "column": column,
            "offset": self.span.start,
            "length": self.span.len(),
            "message": self.message,
            "help": self.help,
        })
    }

    /// For people: the place in its text, with a caret under the fault.
    #[must_use]
    pub fn report(&self, colours: bool) -> String {
        let mut diagnostic = MietteDiagnostic::new(self.message.clone())
            .with_code(self.code)
            .with_severity(match self.severity {
                Severity::Error => miette::Severity::Error,
                Severity::Warning => miette::Severity::Warning,
            });
        diagnostic.help = self.help.clone();
        let theme = if colours {
            GraphicalTheme::unicode()
        } else {
            GraphicalTheme::unicode_nocolor()
        };
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_width(100)
            .with_links(false)
            .with_context_lines(1);
        let mut out = String::new();
        let drawn = if self.text.is_empty() {
            diagnostic.message = format!("{}: {}", self.file, self.message);
            handler.render_report(&mut out, &diagnostic)
        } else {
            let start = self.caret();
            // A fault over several lines is shown at its first one.
            let lines = &self.text[start..self.span.end.max(start).min(self.text.len())];
            let length = lines.find('\n').unwrap_or(lines.len()).max(1);
            diagnostic = diagnostic.with_labels([LabeledSpan::new_with_span(
                Some("here".into()),
                (start, length),
            )]);
            let report = miette::Report::new(diagnostic).with_source_code(File {
                name: self.file.clone(),
                text: Arc::clone(&self.text),
            });
            handler.render_report(&mut out, report.as_ref())
        };
        if drawn.is_err() {
            return self.line();
        }
        out
    }
}

/// A file as the report shows it. The library's own source counts columns in bytes; people count characters.
#[derive(Debug)]
struct File {
    name: String,
    text: Arc<str>,
}

impl SourceCode for File {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let text: &'a str = &self.text;
        let found = <str as SourceCode>::read_span(text, span, lines_before, lines_after)?;
        let (line, column) = rule_engine::json::line_column(text.as_bytes(), found.span().offset());
        let count = found.line_count();
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            found.data(),
            *found.span(),
            line - 1,
            column - 1,
            count,
        )))
    }
}

/// The last place at or before `at` where a character begins.
#[must_use]
pub fn char_boundary(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnostic(text: &str, span: Range<usize>) -> Diagnostic {
        Diagnostic {
            code: "test::fault",
            severity: Severity::Error,
            file: "rules/a.json".into(),
            text: text.into(),
            span,
            message: "wrong".into(),
            help: Some("try".into()),
        }
    }

    #[test]
    fn a_fault_is_shown_wherever_it_lies() {
        for (text, span) in [
            ("{\"a\":1}", 1..4),
            ("{", 1..1),
            ("", 0..0),
            ("{\n", 2..2),
            ("é", 0..2),
            ("{\n  \"a\": {\n \"b\":1}\n}", 9..20),
        ] {
            let report = diagnostic(text, span).report(false);
            assert!(report.contains("wrong"), "{report}");
            assert!(report.contains("rules/a.json"), "{report}");
        }
    }
}
