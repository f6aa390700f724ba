//! `busbar tail`: a bus followed live.

use super::client::{Endpoint, encode};
use super::table::plain;
use super::{Failure, Outcome, UNREACHABLE, colours};
use clap::Args;
use jsonpath_rust::JsonPath as _;
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Write as _};

#[derive(Args)]
pub struct Tail {
    #[command(flatten)]
    endpoint: Endpoint,
    /// The bus.
    #[arg(long, default_value = "default")]
    bus: String,
    /// Only events that match this pattern.
    #[arg(long, value_name = "JSON")]
    pattern: Option<String>,
    /// Print what this JSONPath finds in each event instead, one a line: `$.detail`, `$.detail-type`.
    #[arg(long, value_name = "JSONPATH")]
    select: Option<String>,
}

impl Tail {
    pub fn run(self, json: bool) -> Outcome {
        let client = self.endpoint.client()?;
        let select = self.select.as_deref().map(quote_members);
        if let Some(path) = &select {
            Value::Null
                .query(path)
                .map_err(|e| Failure::usage(format!("--select: {e}")))?;
        }
        let mut path = format!("/v1/buses/{}/tail", encode(&self.bus));
        if let Some(pattern) = &self.pattern {
            path.push_str(&format!("?pattern={}", encode(pattern)));
        }
        let stream = BufReader::new(client.follow(&path)?);
        let colours = colours(&std::io::stdout());
        let mut kind = String::new();
        for line in stream.lines() {
            let line = line.map_err(|e| {
                Failure::new(UNREACHABLE, anyhow::anyhow!("the tail broke off: {e}"))
            })?;
            if let Some(name) = line.strip_prefix("event:") {
                name.trim().clone_into(&mut kind);
            } else if line.is_empty() {
                kind.clear();
            } else if let Some(data) = line.strip_prefix("data:") {
                let data = data.trim_start();
                if !kind.is_empty() && kind != "message" && kind != "event" {
                    eprintln!("busbar: {kind} {data}");
                } else if show(data, json, select.as_deref(), colours).is_err() {
                    // Whoever read our output has seen enough.
                    return Ok(0);
                }
            }
        }
        Err(Failure::new(UNREACHABLE, anyhow::anyhow!("the server ended the tail")))
    }
}

fn show(data: &str, json: bool, select: Option<&str>, colours: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let message: Value = serde_json::from_str(data).unwrap_or(Value::Null);
    let envelope = &message["envelope"];
    if let Some(path) = select {
        for found in envelope.query(path).unwrap_or_default() {
            match found {
                Value::String(text) if !json => writeln!(out, "{}", plain(text))?,
                other => writeln!(out, "{other}")?,
            }
        }
    } else if json {
        writeln!(out, "{data}")?;
    } else {
        let text = |value: &Value| plain(value.as_str().unwrap_or("-"));
        let rules: Vec<String> = message["rules"].as_array().into_iter().flatten().map(text).collect();
        let matched = match rules.len() {
            0 => "matched 0 rules".to_owned(),
            1 => format!("matched 1 rule: {}", rules[0]),
            n => format!("matched {n} rules: {}", rules.join(", ")),
        };
        let paint = |code: &str, text: &str| match colours {
            true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            false => text.to_owned(),
        };
        let tone = if rules.is_empty() { "33" } else { "32" };
        writeln!(
            out,
            "{}  {}  {}  {}  {}",
            paint("2", &text(&envelope["time"])),
            paint("36", &text(&envelope["source"])),
            text(&envelope["detail-type"]),
            paint("2", &text(&envelope["id"])),
            paint(tone, &matched),
        )?;
    }
    out.flush()
}

/// Rewrites member steps that JSONPath has no dots for: `$.detail-type` as `$['detail-type']`.
fn quote_members(path: &str) -> String {
    let mut out = String::new();
    let mut rest = path;
    while let Some(character) = rest.chars().next() {
        if let Some(step) = rest.strip_prefix('.') {
            let end = step
                .find(|c: char| !(c.is_alphanumeric() || "_-".contains(c)))
                .unwrap_or(step.len());
            if step[..end].contains('-') && !out.ends_with('.') {
                out.push_str(&format!("['{}']", &step[..end]));
                rest = &step[end..];
                continue;
            }
            out.push('.');
            out.push_str(&step[..end]);
            rest = &step[end..];
        } else if character == '\'' || character == '"' {
            // A quoted name stays as it is.
            let end = rest[1..].find(character).map_or(rest.len(), |at| at + 2);
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        } else {
            out.push(character);
            rest = &rest[character.len_utf8()..];
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_with_a_hyphen_are_quoted() {
        let check = |path: &str, expected: &str| assert_eq!(quote_members(path), expected);
        check("$.detail-type", "$['detail-type']");
        check("$.detail.instance-id", "$.detail['instance-id']");
        check("$.detail-x.y", "$['detail-x'].y");
        check("$['a.b-c'].d", "$['a.b-c'].d");
        check("$.detail", "$.detail");
        check("$", "$");
        let event: Value = serde_json::json!({"detail-type": "A"});
        let found = event.query(&quote_members("$.detail-type")).unwrap();
        assert_eq!(found, [&Value::from("A")]);
    }
}
