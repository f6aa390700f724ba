//! Refusal tables as data: what a case is, how its placeholders are filled, how an answer is compared.
//!
//! A case file is an array of
//! `{ "name", "door", "setup"?, "op"?, "body" | "raw_body" | "raw_hex", "status", "answer" }`, and
//!
//! - `method`, `path`, `headers`: other than the door's own; a header given as `null` is not sent;
//! - `setup`: calls made before, each `{door, op, body}`, with `times` (repeat, `{{i}}` counts from 1),
//!   `save` (`{"handle": "/Messages/0/ReceiptHandle"}` keeps a value of the answer for `{{handle}}`),
//!   `status` (200 unless given), `then_wait_ms` (where the passing of time itself is the matter);
//! - `contains`: pieces that the message holds; `clauses`: the clauses of a `ValidationException`,
//!   compared as a set, since AWS fixes no order (eventbridge-api.md 16.2);
//! - `query_error`: the exact `x-amzn-query-error` of the queue door;
//! - `source`: where the table is that the case stands for.
//!
//! In a request: `{{name}}` is the case's own name (cases share a server and must not meet),
//! `{{api}}` its host and port, `{{text*N}}` N times the text. In an answer: `"*"` is any value, and
//! a string that begins with `~` is compared with `*` as any run of characters.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value};

use super::support::{Response, Server, call};

/// Names and what they stand for in one case.
type Names = BTreeMap<String, String>;

/// Runs one case. `Err` tells what differs, over several lines.
pub fn run(server: &Server, case: &Value) -> Result<(), String> {
    let name = text(case, "name")?;
    let mut names = Names::new();
    names.insert(String::from("name"), name.to_string());
    names.insert(String::from("api"), server.api.to_string());
    for step in case["setup"].as_array().into_iter().flatten() {
        prepare(server, step, &mut names)?;
    }
    let response = send(server, case, &names)?;
    compare(case, &names, &response)
}

fn prepare(server: &Server, step: &Value, names: &mut Names) -> Result<(), String> {
    let expected = step["status"].as_u64().unwrap_or(200);
    for count in 1..=step["times"].as_u64().unwrap_or(1) {
        names.insert(String::from("i"), count.to_string());
        let response = send(server, step, names)?;
        if u64::from(response.status) != expected {
            return Err(format!(
                "setup {}: {} {}",
                step["op"],
                response.status,
                response.text()
            ));
        }
        for (key, pointer) in step["save"].as_object().into_iter().flatten() {
            let answer: Value =
                serde_json::from_slice(&response.body).map_err(|error| error.to_string())?;
            let value = pointer
                .as_str()
                .and_then(|pointer| answer.pointer(pointer))
                .and_then(Value::as_str);
            let value =
                value.ok_or_else(|| format!("setup {}: no {pointer} in {answer}", step["op"]))?;
            names.insert(key.clone(), value.to_string());
        }
    }
    if let Some(pause) = step["then_wait_ms"].as_u64() {
        thread::sleep(Duration::from_millis(pause));
    }
    Ok(())
}

fn send(server: &Server, step: &Value, names: &Names) -> Result<Response, String> {
    let (media, prefix) = match text(step, "door")? {
        "events" => ("application/x-amz-json-1.1", "AWSEvents."),
        "sqs" => ("application/x-amz-json-1.0", "AmazonSQS."),
        door => return Err(format!("no door `{door}`")),
    };
    let mut headers = BTreeMap::from([(String::from("Content-Type"), media.to_string())]);
    if let Some(operation) = step["op"].as_str() {
        headers.insert(String::from("X-Amz-Target"), format!("{prefix}{operation}"));
    }
    for (name, value) in step["headers"].as_object().into_iter().flatten() {
        match value.as_str() {
            Some(value) => headers.insert(name.clone(), value.to_string()),
            None => headers.remove(name),
        };
    }
    let body = if let Some(raw) = step["raw_body"].as_str() {
        fill(raw, names).into_bytes()
    } else if let Some(hex) = step["raw_hex"].as_str() {
        bytes(hex)
    } else {
        fill_all(&step["body"], names).to_string().into_bytes()
    };
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let path = fill(step["path"].as_str().unwrap_or("/"), names);
    let method = step["method"].as_str().unwrap_or("POST");
    call(server.api, method, &path, &headers, &body).map_err(|error| format!("no answer: {error}"))
}

fn compare(case: &Value, names: &Names, response: &Response) -> Result<(), String> {
    let mut faults = Vec::new();
    if case["status"] != u64::from(response.status) {
        faults.push(format!(
            "status: expected {}, got {}",
            case["status"], response.status
        ));
    }
    let expected = fill_all(&case["answer"], names);
    // `"answer": "*"`: the body is nobody's business, as for 404 and 405.
    if expected != "*" {
        match serde_json::from_slice::<Value>(&response.body) {
            Ok(answer) => {
                if !matches(&expected, &answer) {
                    faults.push(format!(
                        "expected {}\n         got {}",
                        short(&expected),
                        short(&answer)
                    ));
                }
                message(
                    case,
                    names,
                    answer["message"].as_str().unwrap_or_default(),
                    &mut faults,
                );
            }
            Err(error) => faults.push(format!("body is not JSON ({error}): {}", response.text())),
        }
    }
    headers(case, &expected, response, &mut faults);
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults.join("\n    "))
    }
}

fn message(case: &Value, names: &Names, message: &str, faults: &mut Vec<String>) {
    for piece in case["contains"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if !message.contains(&fill(piece, names)) {
            faults.push(format!("message lacks `{piece}`: {}", cut(message)));
        }
    }
    let Some(clauses) = case["clauses"].as_array() else {
        return;
    };
    let expected: BTreeSet<String> = clauses
        .iter()
        .filter_map(Value::as_str)
        .map(|clause| fill(clause, names))
        .collect();
    let head = match clauses.len() {
        1 => String::from("1 validation error detected: "),
        count => format!("{count} validation errors detected: "),
    };
    let found: BTreeSet<String> = message
        .strip_prefix(&head)
        .unwrap_or(message)
        .split("; ")
        .map(String::from)
        .collect();
    if found != expected || !message.starts_with(&head) {
        let lines = |set: &BTreeSet<String>| {
            set.iter()
                .map(|clause| cut(clause))
                .collect::<Vec<_>>()
                .join("\n      ")
        };
        faults.push(format!(
            "expected `{head}` and\n      {}\n    got\n      {}",
            lines(&expected),
            cut(message)
        ));
    }
}

/// What every answer of a door carries, whatever the case is about.
fn headers(case: &Value, expected: &Value, response: &Response, faults: &mut Vec<String>) {
    let refused = 400 <= response.status;
    // A wrong path or method is answered before there is a door.
    if matches!(response.status, 404 | 405) && expected == "*" {
        return;
    }
    let sqs = case["door"] == "sqs";
    let media = if sqs {
        "application/x-amz-json-1.0"
    } else {
        "application/x-amz-json-1.1"
    };
    let mut want = |name: &str, value: Option<&str>| match (response.header(name), value) {
        (None, _) => faults.push(format!("header {name} is missing")),
        (Some(found), Some(value)) if found != value => {
            faults.push(format!("header {name}: expected `{value}`, got `{found}`"));
        }
        _ => {}
    };
    want("Content-Type", Some(media));
    want("Date", None);
    want("x-amzn-RequestId", None);
    if refused && sqs {
        want(
            "x-amzn-query-error",
            case["query_error"].as_str().filter(|value| *value != "*"),
        );
    }
    if refused && !sqs {
        want("x-amzn-ErrorType", expected["__type"].as_str());
    }
}

/// Does the answer fit? Members must be the same on both sides; `"*"` fits any value.
fn matches(expected: &Value, answer: &Value) -> bool {
    match (expected, answer) {
        (Value::String(pattern), _) if pattern == "*" => true,
        (Value::String(pattern), Value::String(text)) => match pattern.strip_prefix('~') {
            Some(glob) => fits(glob, text),
            None => pattern == text,
        },
        (Value::Array(expected), Value::Array(answer)) => {
            expected.len() == answer.len()
                && expected
                    .iter()
                    .zip(answer)
                    .all(|(one, other)| matches(one, other))
        }
        (Value::Object(expected), Value::Object(answer)) => {
            expected.len() == answer.len()
                && expected
                    .iter()
                    .all(|(key, one)| answer.get(key).is_some_and(|other| matches(one, other)))
        }
        _ => expected == answer,
    }
}

/// Glob with `*` alone: each piece is looked for after the one before, the last one at the end.
fn fits(glob: &str, text: &str) -> bool {
    let pieces: Vec<&str> = glob.split('*').collect();
    let Some(mut rest) = text.strip_prefix(pieces[0]) else {
        return false;
    };
    if pieces.len() == 1 {
        return rest.is_empty();
    }
    for piece in &pieces[1..pieces.len() - 1] {
        match rest.find(piece) {
            Some(place) => rest = &rest[place + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(pieces[pieces.len() - 1])
}

fn fill_all(value: &Value, names: &Names) -> Value {
    match value {
        Value::String(text) => Value::String(fill(text, names)),
        Value::Array(items) => items.iter().map(|item| fill_all(item, names)).collect(),
        Value::Object(members) => {
            let filled = members
                .iter()
                .map(|(key, member)| (fill(key, names), fill_all(member, names)));
            Value::Object(filled.collect::<Map<String, Value>>())
        }
        other => other.clone(),
    }
}

/// Puts in what `{{…}}` stands for. What is neither a known name nor `text*N` stays as it is.
fn fill(text: &str, names: &Names) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some(open) = rest.find("{{") {
        let inner = &rest[open + 2..];
        let Some(close) = inner.find("}}") else { break };
        let macro_text = &inner[..close];
        let repeated = macro_text
            .rsplit_once('*')
            .and_then(|(piece, count)| Some((piece, count.parse().ok()?)));
        filled.push_str(&rest[..open]);
        match (names.get(macro_text), repeated) {
            (Some(value), _) => filled.push_str(value),
            (None, Some((piece, count))) => filled.push_str(&piece.repeat(count)),
            (None, None) => filled.push_str(&rest[open..open + 4 + close]),
        }
        rest = &inner[close + 2..];
    }
    filled.push_str(rest);
    filled
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at: usize| {
        u8::from_str_radix(&hex[at..at + 2], 16).expect("`raw_hex` holds pairs of hex digits")
    };
    (0..hex.len()).step_by(2).map(digit).collect()
}

fn text<'a>(value: &'a Value, member: &str) -> Result<&'a str, String> {
    value[member]
        .as_str()
        .ok_or_else(|| format!("the case lacks `{member}`"))
}

/// A value as text short enough for a report.
fn short(value: &Value) -> String {
    cut(&value.to_string())
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(600) {
        Some((place, _)) => format!("{}… ({} bytes)", &text[..place], text.len()),
        None => text.to_string(),
    }
}
