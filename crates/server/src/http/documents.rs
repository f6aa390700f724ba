//! Our own doors for operator documents: catalogue entries, triggers, monitors, notification profiles and
//! destinations, listed, got, put and deleted.
//!
//! A document that is put goes with the files as one set: it is checked as they are, with the codes of
//! certificate-lifecycle.md 6.5, and kept in the journal. What files say is read here and changed there.

use super::inventory::{Answered, limit, told};
use super::native::{NativeError, check_json, decode, not_allowed, query};
use super::{Doors, Request, Response};
use crate::annex::Text;
use crate::diagnostic::Diagnostic;
use crate::rule_files::documents::{DESTINATIONS, TRIGGERS};
use crate::rule_files::keeper::EditError;
use crate::rule_files::redacted;
use ::http::{Method, StatusCode};
use lifecycle::documents::Kind;
use lifecycle::moment;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A kind of document: what a path says, and the folder of its files.
#[derive(Clone, Copy)]
struct Of {
    kind: Kind,
    folder: &'static str,
}

/// Which document.
struct Named {
    of: Of,
    /// As it is kept: of a trigger with its bus.
    key: String,
    name: String,
    bus: String,
}

/// Answers a request under these paths; `None` if it is for none of them.
pub async fn answer(doors: &Doors, request: &Request, segments: &[&str]) -> Option<Response> {
    let (path, name) = match segments {
        [path] => (path, None),
        [path, name] => (path, Some(name)),
        _ => return None,
    };
    let (kind, folder) = match *path {
        "catalogue" => (Kind::Entry, "catalogue"),
        "triggers" => (Kind::Trigger, TRIGGERS),
        "monitors" => (Kind::Monitor, "monitors"),
        "notification-profiles" => (Kind::Profile, "notification-profiles"),
        "destinations" => (Kind::Destination, DESTINATIONS),
        _ => return None,
    };
    let of = Of { kind, folder };
    let answered = match (name, &request.method) {
        (None, &Method::GET | &Method::HEAD) => list(doors, request, of),
        (None, _) => return Some(not_allowed(request, "GET")),
        (Some(name), method) => match (Named::of(request, of, name), method) {
            (Err(error), _) => Err(error),
            (Ok(named), &Method::GET | &Method::HEAD) => get(doors, &named),
            (Ok(named), &Method::PUT) => put(doors, request, &named).await,
            (Ok(named), &Method::DELETE) => delete(doors, &named).await,
            _ => return Some(not_allowed(request, "GET, PUT, DELETE")),
        },
    };
    Some(answered.unwrap_or_else(|error| error.answer(request.id)))
}

impl Named {
    fn of(request: &Request, of: Of, name: &str) -> Result<Self, NativeError> {
        let known: &[&str] = match of.kind {
            Kind::Trigger => &["bus"],
            _ => &[],
        };
        let mut given = query(request, known)?;
        let bus = given.remove("bus").unwrap_or_else(|| "default".into());
        let name = decode(name).ok_or_else(|| NativeError::unknown_path(&request.path))?;
        let key = match of.kind {
            Kind::Trigger => format!("{bus}/{name}"),
            _ => name.clone(),
        };
        Ok(Self { of, key, name, bus })
    }

    fn find(&self, doors: &Doors) -> Option<Text> {
        doors.decisions.look(|kept| {
            let mut texts = kept.in_force.texts.iter();
            let found = texts.find(|it| it.folder == self.of.folder && it.name == self.key);
            found.cloned()
        })
    }

    fn unknown(&self) -> NativeError {
        let text = format!("there is no `{}` in {}", self.name, self.of.folder);
        NativeError::not_found(&text)
    }
}

/// A document with where it comes from, and what is known of it besides.
fn shown(doors: &Doors, of: Of, text: &Text) -> Value {
    let document: Value = serde_json::from_str(&redacted(&text.text)).unwrap_or_default();
    let mut shown = json!({
        "name": document["Name"],
        "origin": if text.by_api { "api" } else { "file" },
        "document": document,
    });
    if !text.by_api {
        shown["file"] = json!(text.file);
    }
    match of.kind {
        Kind::Profile => {
            let version = doors.decisions.look(|kept| {
                let newest = kept.state.profile(&text.name);
                newest.map(|(version, _)| version)
            });
            shown["version"] = json!(version);
        }
        Kind::Monitor => shown["scan"] = scan(doors, &text.name),
        _ => {}
    }
    shown
}

/// The last tick that a monitor has done, and the scan that is under way.
fn scan(doors: &Doors, monitor: &str) -> Value {
    let scans = doors.decisions.look(|kept| kept.state.scans(monitor));
    let running = scans.running.map(|it| {
        json!({
            "tick": moment::format(it.tick),
            "after": it.after,
            "selected": it.selected,
            "emitted": it.emitted,
            "leftOut": it.left_out,
            "passedOver": it.passed_over,
        })
    });
    json!({ "done": scans.done.map(moment::format), "running": running })
}

fn list(doors: &Doors, request: &Request, of: Of) -> Answered {
    let given = query(request, &["limit", "cursor"])?;
    let most = limit(given.get("limit"))?;
    let after = given.get("cursor").map_or("", String::as_str);
    let mut found: Vec<Text> = doors.decisions.look(|kept| {
        let texts = kept.in_force.texts.iter();
        let mut behind: Vec<&Text> = texts
            .filter(|it| it.folder == of.folder && after < it.name.as_str())
            .collect();
        behind.sort_unstable_by_key(|it| &it.name);
        behind.into_iter().take(most + 1).cloned().collect()
    });
    let more = most < found.len();
    found.truncate(most);
    let documents: Vec<Value> = found.iter().map(|it| shown(doors, of, it)).collect();
    let mut page = json!({ "documents": documents });
    if let Some(last) = found.last().filter(|_| more) {
        page["cursor"] = json!(last.name);
    }
    Ok(told(&page))
}

fn get(doors: &Doors, named: &Named) -> Answered {
    let found = named.find(doors).ok_or_else(|| named.unknown())?;
    Ok(told(&shown(doors, named.of, &found)))
}

/// What stands in a file is changed there.
fn changeable(named: &Named, found: Option<&Text>) -> Result<(), NativeError> {
    let Some(of_file) = found.filter(|it| !it.by_api) else {
        return Ok(());
    };
    let text = format!("`{}` stands in {}", named.name, of_file.file);
    let conflict = NativeError::new(StatusCode::CONFLICT, "ManagedRuleException", &text);
    Err(conflict.hint("change the file; the server reads it again"))
}

async fn put(doors: &Doors, request: &Request, named: &Named) -> Answered {
    check_json(request)?;
    changeable(named, named.find(doors).as_ref())?;
    let text = std::str::from_utf8(&request.body)
        .map_err(|_| NativeError::validation("a document is UTF-8"))?;
    let document: Value = serde_json::from_str(text).map_err(|error| {
        let text = error.to_string();
        NativeError::new(StatusCode::BAD_REQUEST, "SerializationException", &text)
    })?;
    let refused = |code, text: &str| Err(NativeError::new(StatusCode::BAD_REQUEST, code, text));
    if !document.is_object() {
        return refused("member-type", "a document is an object");
    }
    // What is no text at all is for the reader of the document to refuse.
    if document["Name"].as_str().is_some_and(|it| it != named.name) {
        return refused("name-malformed", "`Name` is another than the address says");
    }
    if matches!(named.of.kind, Kind::Trigger) {
        if document.get("Trigger").is_none() && document.get("Actions").is_none() {
            return refused("member-missing", "`Trigger` is missing");
        }
        let bus = document["EventBusName"].as_str().unwrap_or("default");
        if bus != named.bus {
            return refused("name-malformed", "`EventBusName` is another than `?bus=`");
        }
    }
    let edited = doors
        .edits
        .edit(named.of.folder, named.key.clone(), Some(text.to_owned()));
    edited.await.map_err(|error| match error {
        EditError::Faults(faults) => faulty(StatusCode::BAD_REQUEST, &faults),
        EditError::State(text) => not_taken(&text),
    })?;
    get(doors, named)
}

fn not_taken(text: &str) -> NativeError {
    NativeError::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", text)
}

/// All faults of a set, by the code of the first.
fn faulty(status: StatusCode, faults: &[Diagnostic]) -> NativeError {
    let lines: Vec<String> = faults.iter().map(Diagnostic::line).collect();
    let first = faults.first();
    let code = first.map_or("member-type", |it| it.code);
    let error = NativeError::new(status, code, &lines.join("; "));
    let error = match first {
        Some(fault) => error.at(fault.span.start),
        None => error,
    };
    match first.and_then(|it| it.help.as_deref()) {
        Some(help) => error.hint(help),
        None => error,
    }
}

async fn delete(doors: &Doors, named: &Named) -> Answered {
    let found = named.find(doors);
    changeable(named, found.as_ref())?;
    found.ok_or_else(|| named.unknown())?;
    let in_use = |text: &str| NativeError::new(StatusCode::CONFLICT, "in-use", text);
    doors
        .decisions
        .documents()
        .deletable(named.of.kind, &named.name)
        .map_err(|fault| in_use(&fault.message))?;
    let edited = doors
        .edits
        .edit(named.of.folder, named.key.clone(), None)
        .await;
    edited.map_err(|error| match error {
        // Others name it: they would be faulty without.
        EditError::Faults(faults) => {
            let files: BTreeSet<&str> = faults.iter().map(|it| it.file.as_str()).collect();
            let files: Vec<&str> = files.into_iter().collect();
            in_use(&format!(
                "`{}` is named in {}",
                named.name,
                files.join(", ")
            ))
        }
        EditError::State(text) => not_taken(&text),
    })?;
    Ok(told(&json!({ "deleted": named.name })))
}
