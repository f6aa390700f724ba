//! A scan: one tick of one monitor over the objects of its type.
//!
//! Objects are taken in pages, by ascending id; after each page the events and the place are written
//! together, so that a crash repeats no event (and if it did, its id would be the same). What a scan
//! must remember besides is in the state: nothing is kept in memory between pages but the index of
//! `SameFields`, which can be made again.
//! Source: certificate-lifecycle.md 10.2 to 10.5, MON-1 to MON-5.
//!
//! Start at [`page`]; [`trial`] looks at one object alone.

use crate::condition::Context;
use crate::documents::{Documents, Entry, Monitor, Others};
use crate::moment;
use crate::object::Object;
use crate::path::Path;
use crate::reference::Ref;
use crate::state::{Effect, Feeder, Progress, Scans, State, StreamKey};
use bus_core::envelope::Envelope;
use bus_core::name::Home;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use uuid::Uuid;

/// An event that a monitor emits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emission {
    /// The object it is about.
    pub object: Ref,
    /// The same for the same monitor, object and tick.
    pub id: String,
    /// The bus it is put on.
    pub bus: String,
    /// Its envelope.
    pub json: String,
}

/// What one page of a scan decides.
#[derive(Debug, Clone)]
pub struct Page {
    /// In the order of the objects.
    pub emissions: Vec<Emission>,
    /// What changes, to be written with the events.
    pub effects: Vec<Effect>,
    /// The whole scan, when this was its last page.
    pub done: Option<Done>,
}

/// A scan that is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// What was counted.
    pub progress: Progress,
    /// Streams that ended with it.
    pub closed: Vec<StreamKey>,
}

/// What keeps an object from an event of a monitor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum KeptBack {
    /// The condition does not hold.
    Condition {
        /// The first member that fails, as `$.a.b`.
        at: String,
    },
    /// A clause of `Unless` holds.
    Unless {
        /// Its index.
        clause: usize,
        /// The object that satisfies it.
        by: Ref,
    },
    /// It is selected, but `Every` is not over.
    Every {
        /// When the last event was emitted, RFC 3339.
        last: String,
        /// From when on the next may be.
        until: String,
    },
}

/// What a monitor would make of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// Why it emits nothing.
    pub kept_back: Option<KeptBack>,
    /// The parameters for this object, in milliseconds.
    pub parameters: BTreeMap<String, i64>,
    /// Values of parameters that were no duration.
    pub passed_over: u64,
    /// What it emits.
    pub emission: Option<Emission>,
}

/// The tick that is due: the scan that was interrupted, else the latest that was missed, and only
/// that one (MON-2). `since` is when the monitor was made or enabled: the anchor of a rate.
#[must_use]
pub fn due(monitor: &Monitor, scans: &Scans, since: i64, now: i64) -> Option<i64> {
    if let Some(running) = &scans.running {
        return Some(running.tick);
    }
    let after = scans.done.unwrap_or(since).max(since);
    monitor.schedule.latest(after, now, since)
}

/// Which objects have equal values in the fields of `SameFields`.
#[derive(Debug, Clone, Default)]
pub struct Same {
    /// By clause and hash of the values.
    found: HashMap<(usize, u64), Vec<Ref>>,
}

impl Same {
    /// An index of these objects, which are all of the monitor's type. Without `SameFields` it looks
    /// at none. About 100 bytes for each object.
    pub fn of<'o>(monitor: &Monitor, objects: impl Iterator<Item = (&'o Ref, &'o str)>) -> Same {
        let mut same = Same::default();
        same.add(monitor, objects);
        same
    }

    /// Adds objects to the index. `false`, and none was looked at, without `SameFields`.
    pub fn add<'o>(
        &mut self,
        monitor: &Monitor,
        objects: impl Iterator<Item = (&'o Ref, &'o str)>,
    ) -> bool {
        let clauses: Vec<(usize, &Vec<Path>)> = monitor
            .unless
            .iter()
            .enumerate()
            .filter_map(|(clause, unless)| match &unless.others {
                Others::SameFields(paths) => Some((clause, paths)),
                Others::Relation(_) => None,
            })
            .collect();
        if clauses.is_empty() {
            return false;
        }
        for (object, text) in objects {
            let value = parse(text);
            for (clause, paths) in &clauses {
                if let Some(key) = key(paths, &value) {
                    let found = self.found.entry((*clause, hash(&key))).or_default();
                    found.push(object.clone());
                }
            }
        }
        true
    }
}

/// Id of the event that a monitor emits for an object and a tick.
#[must_use]
pub fn id(monitor: &str, object: &Ref, tick: i64) -> String {
    let name = format!("{monitor}|{object}|{}", moment::format(tick));
    Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).to_string()
}

/// The text of an object as a value.
fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("the state writes JSON")
}

/// The values at all paths, as text; `None` when one of them has none.
fn key(paths: &[Path], value: &Value) -> Option<String> {
    let found: Vec<Vec<&Value>> = paths.iter().map(|path| path.values(value)).collect();
    let present = |values: &Vec<&Value>| values.iter().any(|value| !value.is_null());
    found.iter().all(present).then(|| json!(found).to_string())
}

fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

/// Decides the next `limit` objects of a scan, from the place that the state has for this tick.
///
/// `None` when the documents have no such monitor.
#[must_use]
pub fn page(
    documents: &Documents,
    state: &State,
    home: &Home,
    monitor: &str,
    tick: i64,
    same: &Same,
    limit: usize,
) -> Option<Page> {
    assert!(0 < limit);
    let scan = Scan::new(documents, state, home, monitor, tick, same)?;
    let monitor = scan.monitor;
    let scans = state.scans(&monitor.name);
    let running = scans.running.filter(|running| running.tick == tick);
    let is_done = running.is_none() && scans.done == Some(tick);
    let mut progress = running.unwrap_or_else(|| Progress {
        tick,
        ..Progress::default()
    });
    let mut page = Page {
        emissions: Vec::new(),
        effects: Vec::new(),
        done: None,
    };
    if is_done {
        // MON-1: asked for once more, by hand.
        let closed = Vec::new();
        page.done = Some(Done { progress, closed });
        return Some(page);
    }
    let after = progress.after.clone();
    let mut objects = state.shown(&monitor.resource, after.as_ref());
    for (object, text) in objects.by_ref().take(limit) {
        progress.after = Some(object.clone());
        let (selected, passed_over) = scan.selects(object, text);
        progress.passed_over += passed_over;
        if !selected {
            continue;
        }
        progress.selected += 1;
        if scan.every(object).is_some() {
            progress.left_out += 1;
            continue;
        }
        progress.emitted += 1;
        page.emissions.push(scan.emission(object, text));
        if monitor.every.is_some() {
            page.effects.push(Effect::Emitted {
                monitor: monitor.name.clone(),
                object: object.clone(),
                tick,
            });
        }
    }
    let scans = if objects.next().is_none() {
        let closed = scan.ended_streams();
        page.effects
            .extend(closed.iter().cloned().map(Effect::RemoveStream));
        if let Some(every) = monitor.every {
            page.effects.push(Effect::ForgetEmitted {
                monitor: monitor.name.clone(),
                until: tick - every,
            });
        }
        page.done = Some(Done { progress, closed });
        Scans {
            // A tick by hand may lie before the last one.
            done: scans.done.max(Some(tick)),
            running: None,
        }
    } else {
        Scans {
            done: scans.done,
            running: Some(progress),
        }
    };
    page.effects
        .push(Effect::Scans(monitor.name.clone(), scans));
    Some(page)
}

/// Looks at one object as a scan at `tick` would, and changes nothing (HIS-6). The object need not be in
/// the state; what it is compared with is.
///
/// `None` when the documents have no such monitor.
#[must_use]
pub fn trial(
    documents: &Documents,
    state: &State,
    home: &Home,
    monitor: &str,
    tick: i64,
    same: &Same,
    object: &Object,
) -> Option<Trial> {
    let scan = Scan::new(documents, state, home, monitor, tick, same)?;
    let monitor = scan.monitor;
    let (subject, text) = (&object.object, object.to_json().to_string());
    let (parameters, passed_over) = scan.parameters(&text);
    let kept_back = match scan.refusal(subject, &text, &parameters) {
        Some(Refusal::Condition) => {
            let context = scan.context(&parameters);
            let at = monitor.condition.failure(text.as_bytes(), &context);
            at.map(|at| KeptBack::Condition { at })
        }
        Some(Refusal::Unless(clause, by)) => Some(KeptBack::Unless { clause, by }),
        None => scan.every(subject).map(|(last, until)| KeptBack::Every {
            last: moment::format(last),
            until: moment::format(until),
        }),
    };
    Some(Trial {
        emission: kept_back.is_none().then(|| scan.emission(subject, &text)),
        kept_back,
        parameters,
        passed_over,
    })
}

/// What of an object says its scopes.
#[derive(serde::Deserialize)]
struct Scopes {
    scopes: BTreeMap<String, Vec<String>>,
}

/// The objects that an object is related to by one name.
fn related(object: &Value, relation: &str) -> Vec<Ref> {
    let list = object["relations"].get(relation).and_then(Value::as_array);
    let names = list.into_iter().flatten().filter_map(Value::as_str);
    names.filter_map(Ref::parse).collect()
}

/// Why an object is not selected.
enum Refusal {
    Condition,
    /// Index of the clause, and the object that satisfies it.
    Unless(usize, Ref),
}

struct Scan<'a> {
    monitor: &'a Monitor,
    entry: &'a Entry,
    home: &'a Home,
    state: &'a State,
    same: &'a Same,
    tick: i64,
}

impl<'a> Scan<'a> {
    /// `None` when the documents have no such monitor.
    fn new(
        documents: &'a Documents,
        state: &'a State,
        home: &'a Home,
        monitor: &str,
        tick: i64,
        same: &'a Same,
    ) -> Option<Self> {
        let monitor = documents.monitor(monitor)?;
        Some(Scan {
            monitor,
            entry: documents.entry(&monitor.event)?,
            home,
            state,
            same,
            tick,
        })
    }

    /// Whether an object is selected, and how many values of parameters were no duration.
    fn selects(&self, object: &Ref, text: &str) -> (bool, u64) {
        let (parameters, passed_over) = self.parameters(text);
        let refusal = self.refusal(object, text, &parameters);
        (refusal.is_none(), passed_over)
    }

    fn context<'p>(&self, parameters: &'p BTreeMap<String, i64>) -> Context<'p> {
        Context {
            parameters,
            ..Context::at(self.tick)
        }
    }

    /// Why an object is not selected. Most objects fail the condition, so only that is asked of all: on
    /// the text, without a tree.
    fn refusal(
        &self,
        object: &Ref,
        text: &str,
        parameters: &BTreeMap<String, i64>,
    ) -> Option<Refusal> {
        let context = self.context(parameters);
        if !self.monitor.condition.holds(text.as_bytes(), &context) {
            return Some(Refusal::Condition);
        }
        if self.monitor.unless.is_empty() {
            return None;
        }
        let subject = json!({"subject": parse(text)});
        let context = Context {
            subject: &subject,
            ..context
        };
        let mut clauses = self.monitor.unless.iter().enumerate();
        clauses.find_map(|(clause, unless)| {
            let others: Vec<Ref> = match &unless.others {
                Others::Relation(relation) => related(&subject["subject"], relation),
                Others::SameFields(paths) => self.equals(clause, paths, &subject["subject"]),
            };
            let mut others = others.into_iter().filter(|other| other != object);
            let by = others.find(|other| {
                let other = self.state.text(other);
                other.is_some_and(|other| unless.condition.holds(other.as_bytes(), &context))
            });
            by.map(|by| Refusal::Unless(clause, by))
        })
    }

    /// The objects of equal fields, those of an equal hash looked at again.
    fn equals(&self, clause: usize, paths: &[Path], value: &Value) -> Vec<Ref> {
        let Some(wanted) = key(paths, value) else {
            return Vec::new();
        };
        let found = self.same.found.get(&(clause, hash(&wanted)));
        let equal = |other: &&Ref| {
            let other = self.state.text(other).map(parse);
            other.and_then(|other| key(paths, &other)).as_ref() == Some(&wanted)
        };
        found.into_iter().flatten().filter(equal).cloned().collect()
    }

    /// The parameters for one object, in milliseconds.
    fn parameters(&self, text: &str) -> (BTreeMap<String, i64>, u64) {
        let mut passed_over = 0;
        if self.monitor.parameters.is_empty() {
            return (BTreeMap::new(), passed_over);
        }
        let object: Scopes = serde_json::from_str(text).expect("the state writes JSON");
        let each = self.monitor.parameters.iter().map(|parameter| {
            let mut value = None;
            for (kind, path) in &parameter.from {
                let mut ids = object.scopes.get(kind).cloned().unwrap_or_default();
                ids.sort_unstable();
                let scopes = ids
                    .iter()
                    .filter_map(|id| self.state.text(&Ref::new(kind, id)?));
                for scope in scopes {
                    let scope = parse(scope);
                    let Some(found) = path.first(&scope).filter(|it| !it.is_null()) else {
                        continue;
                    };
                    match found.as_str().map(moment::span) {
                        Some(Ok(ms)) => value = value.or(Some(ms)),
                        // Of several scopes only those that come before the first duration count.
                        _ if value.is_none() => passed_over += 1,
                        _ => {}
                    }
                }
            }
            (parameter.name.clone(), value.unwrap_or(parameter.default))
        });
        let parameters = each.collect();
        (parameters, passed_over)
    }

    /// When the last event was, and when `Every` is over, where it is not.
    fn every(&self, object: &Ref) -> Option<(i64, i64)> {
        let last = self.state.emitted(&self.monitor.name, object)?;
        let until = last + self.monitor.every?;
        (self.tick < until).then_some((last, until))
    }

    fn emission(&self, object: &Ref, text: &str) -> Emission {
        let time = moment::format(self.tick);
        let id = id(&self.monitor.name, object, self.tick);
        let mut scopes: Vec<String> = Vec::new();
        let mut scope_objects = serde_json::Map::new();
        let by_type: Scopes = serde_json::from_str(text).expect("the state writes JSON");
        for (kind, ids) in by_type.scopes {
            scopes.extend(ids.iter().map(|id| format!("{kind}/{id}")));
            let known = ids
                .iter()
                .filter_map(|id| Ref::new(&kind, id))
                .map(|scope| {
                    let known = self.state.text(&scope).map(parse);
                    known.unwrap_or_else(|| Object::unknown(scope).to_json())
                });
            let known = known.collect();
            scope_objects.insert(kind, known);
        }
        scopes.sort_unstable();
        let from = json!({"object": parse(text), "scopeObjects": scope_objects});
        let detail = self.monitor.detail.fill(&from, self.tick).to_string();
        let resources: Vec<&str> = std::iter::once(object.as_str())
            .chain(scopes.iter().map(String::as_str))
            .collect();
        let pair = self.monitor.emits(self.entry);
        let envelope = Envelope {
            id: &id,
            detail_type: &pair.detail_type,
            source: &pair.source,
            account: &self.home.account,
            time: &time,
            region: &self.home.region,
            resources: &resources,
            detail: &detail,
        };
        let json = String::from_utf8(envelope.to_json()).expect("made of texts");
        Emission {
            object: object.clone(),
            id,
            bus: self.monitor.bus.clone(),
            json,
        }
    }

    /// The streams that this monitor feeds and whose objects it does not select any more. They are
    /// asked again at the end, so that no list of what was selected must survive a crash.
    fn ended_streams(&self) -> Vec<StreamKey> {
        let feeder = Feeder::Monitor(self.monitor.name.clone());
        let fed = self
            .state
            .streams()
            .filter(|(key, stream)| stream.feeder == feeder && key.event == self.entry.name);
        let ended = fed.filter(|(key, _)| {
            let text = self.state.text(&key.object);
            !text.is_some_and(|text| self.selects(&key.object, text).0)
        });
        ended.map(|(key, _)| key.clone()).collect()
    }
}
