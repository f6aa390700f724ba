//! Our own doors for what decisions go by: inventory, inboxes, monitors by hand, dry runs.
//!
//! An object's JSON is that of certificate-lifecycle.md 5.2. `PUT` replaces it, `PATCH` changes the members that
//! it names; both may claim a time with `updatedAt`.

use super::native::{NativeError, check_json, decode, json_response, not_allowed, query};
use super::{Doors, Request, Response};
use crate::decisions::TickError;
use ::http::{Method, StatusCode};
use lifecycle::event::Event;
use lifecycle::moment;
use lifecycle::object::Edit;
use lifecycle::reference::Ref;
use serde::Deserialize;
use serde_json::{Value, json};

/// Items of one page when the caller does not say, and at most.
const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;

pub(super) type Answered = Result<Response, NativeError>;

/// Answers a request under these paths; `None` if it is for none of them.
pub async fn answer(doors: &Doors, request: &Request, segments: &[&str]) -> Option<Response> {
    let method = &request.method;
    let get = matches!(*method, Method::GET | Method::HEAD);
    let post = *method == Method::POST;
    let answered = match segments {
        ["inventory"] if post => put_many(doors, request).await,
        ["inventory", kind] if get => list(doors, request, kind),
        ["inventory", kind, id] => match object(request, kind, id) {
            Err(error) => Err(error),
            Ok(object) => match *method {
                Method::GET | Method::HEAD => one(doors, &object),
                Method::PUT => edit(doors, request, object, true).await,
                Method::PATCH => edit(doors, request, object, false).await,
                Method::DELETE => delete(doors, &object).await,
                _ => return Some(not_allowed(request, "GET, PUT, PATCH, DELETE")),
            },
        },
        ["inventory", kind, id, "relations"] if post => {
            relate(doors, request, kind, id, true).await
        }
        ["inventory", kind, id, "relations"] if *method == Method::DELETE => {
            relate(doors, request, kind, id, false).await
        }
        ["inbox", kind, id] if get => inbox(doors, request, kind, id),
        ["streams"] if get => streams(doors, request),
        ["monitors", name, "ticks"] if post => tick(doors, request, name).await,
        ["monitors", name, "dry-run"] if post => dry_scan(doors, request, name).await,
        ["triggers", "dry-run"] if post => dry_run(doors, request),
        ["inventory", _] | ["inbox", _, _] | ["streams"] => {
            return Some(not_allowed(request, "GET"));
        }
        ["inventory"] => return Some(not_allowed(request, "POST")),
        ["inventory", _, _, "relations"] => return Some(not_allowed(request, "POST, DELETE")),
        ["monitors", _, "ticks" | "dry-run"] | ["triggers", "dry-run"] => {
            return Some(not_allowed(request, "POST"));
        }
        _ => return None,
    };
    Some(answered.unwrap_or_else(|error| error.answer(request.id)))
}

pub(super) fn told(value: &Value) -> Response {
    json_response(StatusCode::OK, value)
}

fn body(request: &Request) -> Result<Value, NativeError> {
    check_json(request)?;
    serde_json::from_slice(&request.body).map_err(|error| {
        NativeError::new(
            StatusCode::BAD_REQUEST,
            "SerializationException",
            &error.to_string(),
        )
    })
}

fn members<T: for<'d> Deserialize<'d>>(request: &Request) -> Result<T, NativeError> {
    serde_json::from_value(body(request)?).map_err(|e| NativeError::validation(&e.to_string()))
}

fn object(request: &Request, kind: &str, id: &str) -> Result<Ref, NativeError> {
    let known = decode(kind).zip(decode(id));
    known
        .and_then(|(kind, id)| Ref::new(&kind, &id))
        .ok_or_else(|| {
            NativeError::validation(&format!("{} names no object", request.path))
                .hint("inventory/TYPE/ID; a type is of a-z 0-9 -, an id has up to 256 characters")
        })
}

pub(super) fn limit(given: Option<&String>) -> Result<usize, NativeError> {
    let Some(text) = given else {
        return Ok(LIMIT_DEFAULT);
    };
    let number = text.parse().ok().filter(|n| (1..=LIMIT_MAX).contains(n));
    number.ok_or_else(|| NativeError::validation(&format!("`limit` is 1 to {LIMIT_MAX}")))
}

/// A text of ours as a value.
fn shown(text: &str) -> Value {
    serde_json::from_str(text).expect("we write JSON")
}

// ---- inventory -----------------------------------------------------------------------------------------

fn list(doors: &Doors, request: &Request, kind: &str) -> Answered {
    let given = query(request, &["limit", "cursor"])?;
    let most = limit(given.get("limit"))?;
    let after = match given.get("cursor") {
        Some(id) => Some(object(request, kind, id)?),
        None => None,
    };
    let found: Vec<Value> = doors.decisions.look(|kept| {
        let objects = kept.state.shown(kind, after.as_ref());
        objects.take(most + 1).map(|(_, it)| shown(it)).collect()
    });
    let mut page = json!({});
    if most < found.len() {
        page["cursor"] = found[most - 1]["id"].clone();
    }
    page["objects"] = found.into_iter().take(most).collect();
    Ok(told(&page))
}

fn one(doors: &Doors, object: &Ref) -> Answered {
    let found = doors
        .decisions
        .look(|kept| kept.state.text(object).map(shown));
    found.map(|it| told(&it)).ok_or_else(|| unknown(object))
}

fn unknown(object: &Ref) -> NativeError {
    NativeError::not_found(&format!("`{object}` is not in the inventory"))
}

async fn edit(doors: &Doors, request: &Request, object: Ref, whole: bool) -> Answered {
    let edit = Edit::read(object.clone(), &body(request)?)
        .map_err(|error| NativeError::validation(&error.to_string()))?;
    let changed = doors.decisions.edit(|draft, documents, now| {
        match whole {
            true => draft.put(edit, documents.pairs(), now),
            false => draft.patch(&edit, documents.pairs(), now),
        }
        draft.object(&object).to_json()
    });
    Ok(told(&changed.await?))
}

/// The object that a value is, by its `type` and `id`.
fn named(value: &Value) -> Option<Ref> {
    let (kind, id) = value["type"].as_str().zip(value["id"].as_str())?;
    Ref::new(kind, id)
}

/// Replaces many objects, all or none.
async fn put_many(doors: &Doors, request: &Request) -> Answered {
    let given = body(request)?;
    let given = given.as_array().filter(|it| it.len() <= LIMIT_MAX);
    let given = given.ok_or_else(|| {
        NativeError::validation(&format!("a list of objects, at most {LIMIT_MAX}"))
    })?;
    let mut edits = Vec::new();
    for (n, value) in given.iter().enumerate() {
        let object = named(value).ok_or_else(|| {
            NativeError::validation(&format!("/{n}: an object needs its type and id"))
        })?;
        edits.push(Edit::read(object, value).map_err(|mut error| {
            error.at.insert_str(0, &format!("/{n}"));
            NativeError::validation(&error.to_string())
        })?);
    }
    let count = edits.len();
    let changed = doors.decisions.edit(|draft, documents, now| {
        for edit in edits {
            draft.put(edit, documents.pairs(), now);
        }
    });
    changed.await?;
    Ok(told(&json!({ "put": count })))
}

async fn delete(doors: &Doors, object: &Ref) -> Answered {
    let deleted = doors
        .decisions
        .edit(|draft, documents, now| draft.delete(object, documents.pairs(), now));
    match deleted.await? {
        true => Ok(told(&json!({ "deleted": object.as_str() }))),
        false => Err(unknown(object)),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Relation {
    relation: String,
    to: String,
}

async fn relate(doors: &Doors, request: &Request, kind: &str, id: &str, make: bool) -> Answered {
    let from = object(request, kind, id)?;
    let given: Relation = members(request)?;
    let to = Ref::parse(&given.to)
        .ok_or_else(|| NativeError::validation("`To` is an object: TYPE/ID"))?;
    let changed = doors.decisions.edit(|draft, documents, now| {
        let pairs = documents.pairs();
        match make {
            true => draft.relate(&from, &given.relation, &to, pairs, now),
            false => draft.unrelate(&from, &given.relation, &to, pairs, now),
        }
    });
    Ok(told(&json!({ "changed": changed.await? })))
}

// ---- notifications -------------------------------------------------------------------------------------

fn inbox(doors: &Doors, request: &Request, kind: &str, id: &str) -> Answered {
    let given = query(request, &["limit"])?;
    let most = limit(given.get("limit"))?;
    let recipient = object(request, kind, id)?;
    let found = doors.decisions.look(|kept| {
        let inbox = kept.inboxes.get(&recipient);
        let newest = inbox.into_iter().flat_map(|it| it.iter().rev());
        newest.take(most).cloned().collect::<Vec<_>>()
    });
    Ok(told(&json!({ "notifications": found })))
}

fn streams(doors: &Doors, request: &Request) -> Answered {
    let given = query(request, &["object", "limit"])?;
    let most = limit(given.get("limit"))?;
    let wanted = given.get("object");
    let found: Vec<Value> = doors.decisions.look(|kept| {
        let all = kept.state.streams();
        let some = all.filter(|(key, _)| wanted.is_none_or(|it| key.object.as_str() == it));
        some.take(most)
            .map(|(key, stream)| {
                json!({
                    "object": key.object,
                    "event": key.event,
                    "profile": key.profile,
                    "version": stream.version,
                    "count": stream.count,
                    "lastSent": moment::format(stream.last_sent),
                })
            })
            .collect()
    });
    Ok(told(&json!({ "streams": found })))
}

// ---- monitors and dry runs ----------------------------------------------------------------------------

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Tick {
    at: Option<String>,
}

/// The time that is asked for, or now, to the second as events have it.
fn moment_of(doors: &Doors, given: Option<&str>) -> Result<i64, NativeError> {
    let Some(text) = given else {
        return Ok(doors.bus.now().wall_ms.div_euclid(1000) * 1000);
    };
    moment::parse(text)
        .ok_or_else(|| NativeError::validation("`At` is to be as in 2026-11-23T12:00:00Z"))
}

fn no_monitor(name: &str) -> NativeError {
    NativeError::not_found(&format!("there is no monitor `{name}`"))
}

async fn tick(doors: &Doors, request: &Request, name: &str) -> Answered {
    let given: Tick = match request.body.is_empty() {
        true => Tick { at: None },
        false => members(request)?,
    };
    let at = moment_of(doors, given.at.as_deref())?;
    if doors.bus.now().wall_ms < at {
        return Err(NativeError::validation("`At` is to be no later than now"));
    }
    let refused = |error| match error {
        TickError::NoMonitor => no_monitor(name),
        TickError::Busy => NativeError::new(
            StatusCode::CONFLICT,
            "ConcurrentModificationException",
            &error.to_string(),
        ),
        TickError::Unavailable(unavailable) => unavailable.into(),
    };
    let scanning = doors.decisions.begin(name, at).map_err(refused)?;
    let done = scanning.run().await.map_err(refused)?;
    let closed = done
        .closed
        .iter()
        .map(|key| json!({ "profile": key.profile, "object": key.object, "event": key.event }));
    Ok(told(&json!({
        "monitor": name,
        "tick": moment::format(at),
        "selected": done.progress.selected,
        "emitted": done.progress.emitted,
        "leftOut": done.progress.left_out,
        "passedOver": done.progress.passed_over,
        "closedStreams": closed.collect::<Vec<_>>(),
    })))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct DryScan {
    /// `TYPE/ID` of the inventory, or an object with its type and id.
    object: Value,
    at: Option<String>,
}

async fn dry_scan(doors: &Doors, request: &Request, name: &str) -> Answered {
    let given: DryScan = members(request)?;
    let tick = moment_of(doors, given.at.as_deref())?;
    let object = match &given.object {
        Value::String(text) => Ref::parse(text),
        object => named(object),
    };
    let object = object.ok_or_else(|| {
        NativeError::validation("`Object` is `TYPE/ID`, or an object with its type and id")
    })?;
    let supposed = match given.object.is_object() {
        true => Some(
            Edit::read(object.clone(), &given.object)
                .map_err(|error| NativeError::validation(&error.to_string()))?,
        ),
        false => None,
    };
    let documents = doors.decisions.documents();
    let monitor = documents.monitor(name).ok_or_else(|| no_monitor(name))?;
    if object.kind() != monitor.resource {
        return Err(NativeError::validation(&format!(
            "`{object}` is of another type: `{name}` looks at objects of type `{}`",
            monitor.resource
        )));
    }
    let looking = {
        let (decisions, name, object) = (doors.decisions.clone(), name.to_owned(), object.clone());
        move || decisions.dry_scan(&name, tick, &object, supposed)
    };
    let looked = tokio::task::spawn_blocking(looking).await;
    let (trial, firing) = looked
        .expect("it does not panic")
        .ok_or_else(|| unknown(&object))?;
    let spans = trial.parameters.iter();
    let spans = spans.map(|(name, ms)| (name.clone(), moment::format_span(*ms).into()));
    Ok(told(&json!({
        "monitor": name,
        "enabled": monitor.enabled,
        "tick": moment::format(tick),
        "object": object,
        "parameters": Value::Object(spans.collect()),
        "passedOver": trial.passed_over,
        "keptBack": trial.kept_back,
        "event": trial.emission.map(|it| shown(&it.json)),
        "firing": firing,
    })))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct DryRun {
    event: Value,
    bus: Option<String>,
}

fn dry_run(doors: &Doors, request: &Request) -> Answered {
    let given: DryRun = members(request)?;
    let bus = given.bus.as_deref().unwrap_or("default");
    let event = Event::read(bus, &given.event.to_string())
        .ok_or_else(|| NativeError::validation("`Event` is a whole envelope with its `time`"))?;
    let row = doors.decisions.dry_run(&event);
    let row = row.ok_or_else(|| {
        NativeError::not_found("no event type of the catalogue covers this event")
            .hint("its source and detail-type have to be in the `Match` of a catalogue entry")
    })?;
    Ok(told(&json!(row)))
}
