//! A file of `destinations/`: what `api-destination/NAME` means.

use super::redacted;
use crate::diagnostic::{Diagnostic, Severity};
use crate::dispatcher::SECRET_OF_ENVIRONMENT;
use crate::rule_files::{Context, Source};
use bus_core::document::Webhook;
use lifecycle::documents::{self, span_of};
use rule_engine::pattern::Options;
use std::path::Path;
use targets::sign::Secret;
use targets::webhook::check_header;

/// A destination: what `api-destination/NAME` means.
pub struct Destination {
    pub name: String,
    pub webhook: Webhook,
    /// The fault if it is the second of its name.
    pub duplicate: Diagnostic,
}

/// Reads a file of a destination.
pub fn destination(
    path: &Path,
    text: &str,
    context: &Context,
) -> (Option<Destination>, Vec<Diagnostic>) {
    let source = Source {
        file: path.display().to_string(),
        text: redacted(text).into(),
    };
    let diagnostic = |code, pointer: &str, message, help| Diagnostic {
        code,
        severity: Severity::Error,
        file: source.file.clone(),
        text: source.text.clone(),
        span: span_of(text, pointer).unwrap_or(0..0),
        message,
        help,
    };
    let options = Options {
        complexity_limit: None,
    };
    let document = match documents::Destination::read(text, &options) {
        Ok(document) => document,
        Err(faults) => {
            let told = |fault: documents::Fault| Diagnostic {
                span: fault.span.unwrap_or(0..0),
                ..diagnostic(fault.code.as_str(), "", fault.message, Some(fault.help))
            };
            return (None, faults.into_iter().map(told).collect());
        }
    };
    let mut faults = Vec::new();
    if let Err(refusal) = context.egress.check_url(&document.url) {
        let message = refusal.to_string();
        let help = refusal.help();
        faults.push(diagnostic("webhook::url", "/Url", message, Some(help)));
    }
    for (name, value) in &document.headers {
        if let Err(error) = check_header(name, value) {
            let message = format!("header `{name}`: {error}");
            faults.push(diagnostic("webhook::header", "/Headers", message, None));
        }
    }
    let written = document.secret.as_deref();
    let written = written.filter(|text| !text.starts_with(SECRET_OF_ENVIRONMENT));
    if let Some(Err(error)) = written.map(Secret::parse) {
        let message = error.to_string();
        faults.push(diagnostic("webhook::secret", "/Secret", message, None));
    }
    let duplicate = diagnostic(
        "destination::duplicate",
        "/Name",
        format!("a second destination `{}`", document.name),
        Some("a destination's name is one of a kind: rename one of them".into()),
    );
    let destination = Destination {
        name: document.name,
        webhook: Webhook {
            url: document.url,
            method: Some(document.method),
            headers: document.headers,
            secret: document.secret,
        },
        duplicate,
    };
    (faults.is_empty().then_some(destination), faults)
}
