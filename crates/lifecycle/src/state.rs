//! What decisions read and change: inventory, streams, profile versions, what fired, where scans are.
//!
//! A decision never changes the state. It works on a [`Draft`], which lies over the state and keeps
//! what would change as [`Effect`]s; who carries the decision out makes them durable and gives them to
//! [`State::apply`]. An effect holds the whole of what it writes, so applying it twice is once, and the
//! state can be told as effects again ([`State::effects`]), which is its snapshot.
//! Source: certificate-lifecycle.md 5.2, 5.4, 9.3 to 9.5, 10.2, "what must survive a restart".

use crate::documents::{Documents, Pairs, Profile};
use crate::object::{Edit, Object, Stored};
use crate::reference::{Ref, is_type};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

/// What a throttle counts by: one object, event type and profile.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StreamKey {
    /// The object told about; first, so that an object's streams are neighbours.
    pub object: Ref,
    /// Name of the event type.
    pub event: String,
    /// Name of the profile.
    pub profile: String,
}

/// Who raises the events of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Feeder {
    /// Whoever puts events.
    Outside,
    /// The monitor of this name.
    Monitor(String),
}

/// The throttle state of one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// The profile version that it holds.
    pub version: u32,
    /// Time of the event that began it: tells it from a later one of the same key.
    pub since: i64,
    /// Notifications so far.
    pub count: u32,
    /// Time of the event of the last one, epoch milliseconds.
    pub last_sent: i64,
    /// Time of its last event, sent, suppressed or failed.
    pub last_event: i64,
    /// Who raised that.
    pub feeder: Feeder,
}

/// How far the scans of one monitor are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scans {
    /// The last tick that was done, epoch milliseconds.
    pub done: Option<i64>,
    /// The scan that is under way.
    pub running: Option<Progress>,
}

/// A scan that is under way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Its tick, epoch milliseconds.
    pub tick: i64,
    /// The last object that was looked at.
    pub after: Option<Ref>,
    /// Objects selected so far.
    pub selected: u64,
    /// Events emitted so far.
    pub emitted: u64,
    /// Objects selected, but left out by `Every`.
    pub left_out: u64,
    /// Values of parameters that were no duration.
    pub passed_over: u64,
}

/// One change of the state, whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Effect {
    /// An object as it is from now on, in the form in which it is kept: who applies it has little to do.
    PutObject(Ref, Arc<Stored>),
    /// An object is gone, with what monitors remember of it.
    DeleteObject(Ref),
    /// A stream as it is from now on.
    PutStream(StreamKey, Stream),
    /// A stream has ended.
    RemoveStream(StreamKey),
    /// A version of a profile; the newest is in force.
    PutProfile(u32, Arc<Profile>),
    /// A profile is gone; versions stay while streams hold them.
    DeleteProfile(String),
    /// An event fired for an event type; until then it does not fire again.
    Fired {
        /// Name of the event type.
        event: String,
        /// Id of the event.
        id: String,
        /// When it is done, epoch milliseconds.
        at: i64,
        /// When it may fire again.
        until: i64,
    },
    /// A monitor emitted an event for an object (kept for `Every`).
    Emitted {
        /// Name of the monitor.
        monitor: String,
        /// The object.
        object: Ref,
        /// The tick.
        tick: i64,
    },
    /// What a monitor emitted up to a tick no longer counts.
    ForgetEmitted {
        /// Name of the monitor.
        monitor: String,
        /// The last tick that is forgotten.
        until: i64,
    },
    /// How far the scans of a monitor are.
    Scans(String, Scans),
    /// A monitor is gone.
    DeleteMonitor(String),
}

/// Versions of one profile.
#[derive(Debug, Clone, Default)]
struct Versions {
    /// The newest number given.
    newest: u32,
    /// False once the profile was deleted.
    in_force: bool,
    held: BTreeMap<u32, Held>,
}

#[derive(Debug, Clone)]
struct Held {
    profile: Arc<Profile>,
    streams: u32,
}

/// The state of all decisions.
#[derive(Debug, Clone, Default)]
pub struct State {
    objects: BTreeMap<Ref, Arc<Stored>>,
    streams: BTreeMap<StreamKey, Stream>,
    profiles: BTreeMap<String, Versions>,
    /// By event type and event id: when it may fire again.
    fired: HashMap<(String, String), i64>,
    /// The same by time, so that what is over can be forgotten.
    fired_until: BTreeSet<(i64, String, String)>,
    emitted: BTreeMap<String, BTreeMap<Ref, i64>>,
    scans: BTreeMap<String, Scans>,
}

impl State {
    /// The object as it is now; `None` when it is unknown.
    #[must_use]
    pub fn get(&self, object: &Ref) -> Option<Arc<Object>> {
        let stored = self.objects.get(object)?;
        Some(Arc::new(Object::restore(object, stored)))
    }

    /// The objects of a type by ascending id, behind `after`, each with its text as 5.2 shows it.
    pub fn shown<'s>(
        &'s self,
        kind: &str,
        after: Option<&Ref>,
    ) -> impl Iterator<Item = (&'s Ref, &'s str)> + use<'s> {
        // All that begins with `type/` lies before `type0`, as 0 follows the slash.
        let end = format!("{kind}0");
        let first = format!("{kind}/");
        let start = match after {
            Some(after) if first.as_str() <= after.as_str() => Bound::Excluded(after.as_str()),
            _ => Bound::Excluded(first.as_str()),
        };
        let range = self
            .objects
            .range::<str, _>((start, Bound::Excluded(end.as_str())));
        range.map(|(object, stored)| (object, &*stored.shown))
    }

    /// One object's text as 5.2 shows it.
    #[must_use]
    pub fn text(&self, object: &Ref) -> Option<&str> {
        self.objects.get(object).map(|stored| &*stored.shown)
    }

    /// One stream.
    #[must_use]
    pub fn stream(&self, key: &StreamKey) -> Option<&Stream> {
        self.streams.get(key)
    }

    /// All streams, by object.
    pub fn streams(&self) -> impl Iterator<Item = (&StreamKey, &Stream)> {
        self.streams.iter()
    }

    fn streams_of<'s>(&'s self, object: &'s Ref) -> impl Iterator<Item = &'s StreamKey> {
        let first = StreamKey {
            object: object.clone(),
            event: String::new(),
            profile: String::new(),
        };
        self.streams
            .range(first..)
            .map(|(key, _)| key)
            .take_while(move |key| key.object == *object)
    }

    /// The profile that is in force, and its version.
    #[must_use]
    pub fn profile(&self, name: &str) -> Option<(u32, &Arc<Profile>)> {
        let versions = self.profiles.get(name).filter(|it| it.in_force)?;
        let held = versions.held.get(&versions.newest)?;
        Some((versions.newest, &held.profile))
    }

    /// A version of a profile that is in force or held.
    #[must_use]
    pub fn profile_version(&self, name: &str, version: u32) -> Option<&Arc<Profile>> {
        let held = self.profiles.get(name)?.held.get(&version)?;
        Some(&held.profile)
    }

    /// What loading a profile changes: the next version, or nothing when it says what the newest says.
    #[must_use]
    pub fn load_profile(&self, profile: Profile) -> Option<Effect> {
        if self
            .profile(&profile.name)
            .is_some_and(|(_, it)| **it == profile)
        {
            return None;
        }
        let newest = self.profiles.get(&profile.name).map_or(0, |it| it.newest);
        Some(Effect::PutProfile(newest + 1, Arc::new(profile)))
    }

    /// True when the event fired for this type, and may not again yet.
    #[must_use]
    pub fn has_fired(&self, event: &str, id: &str, now: i64) -> bool {
        self.fired
            .get(&(event.to_owned(), id.to_owned()))
            .is_some_and(|until| now < *until)
    }

    /// The tick at which a monitor last emitted an event for an object.
    #[must_use]
    pub fn emitted(&self, monitor: &str, object: &Ref) -> Option<i64> {
        self.emitted.get(monitor)?.get(object).copied()
    }

    /// How far the scans of a monitor are.
    #[must_use]
    pub fn scans(&self, monitor: &str) -> Scans {
        self.scans.get(monitor).cloned().unwrap_or_default()
    }

    /// What deleting or disabling a monitor changes: its streams end and its memory goes. What was
    /// scanned is forgotten only when it is deleted.
    #[must_use]
    pub fn stop_monitor(&self, name: &str, deleted: bool) -> Vec<Effect> {
        let feeder = Feeder::Monitor(name.to_owned());
        let fed = self.streams().filter(|(_, stream)| stream.feeder == feeder);
        let mut effects: Vec<Effect> = fed
            .map(|(key, _)| Effect::RemoveStream(key.clone()))
            .collect();
        if deleted {
            effects.push(Effect::DeleteMonitor(name.to_owned()));
        }
        effects
    }

    /// What putting these documents in force changes: new versions of profiles, profiles and monitors
    /// that are gone, monitors that were disabled.
    #[must_use]
    pub fn adopt(&self, documents: &Documents) -> Vec<Effect> {
        let loaded = documents.profiles();
        let mut effects: Vec<Effect> = loaded
            .filter_map(|profile| self.load_profile((**profile).clone()))
            .collect();
        let named: BTreeSet<&str> = documents.profiles().map(|it| it.name.as_str()).collect();
        for (name, versions) in &self.profiles {
            if versions.in_force && !named.contains(name.as_str()) {
                effects.push(Effect::DeleteProfile(name.clone()));
            }
        }
        let feeders = self.streams.values().filter_map(|it| match &it.feeder {
            Feeder::Monitor(name) => Some(name),
            Feeder::Outside => None,
        });
        let known = self.scans.keys().chain(self.emitted.keys()).chain(feeders);
        for name in known.collect::<BTreeSet<&String>>() {
            match documents.monitor(name) {
                Some(monitor) if monitor.enabled => {}
                found => effects.extend(self.stop_monitor(name, found.is_none())),
            }
        }
        effects
    }

    /// Makes a change. Twice is as once.
    pub fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::PutObject(object, stored) => {
                self.objects.insert(object.clone(), stored.clone());
            }
            Effect::DeleteObject(object) => {
                self.objects.remove(object);
                for emitted in self.emitted.values_mut() {
                    emitted.remove(object);
                }
            }
            Effect::PutStream(key, stream) => {
                self.hold(&key.profile, stream.version, true);
                if let Some(before) = self.streams.insert(key.clone(), stream.clone()) {
                    self.hold(&key.profile, before.version, false);
                }
            }
            Effect::RemoveStream(key) => {
                if let Some(before) = self.streams.remove(key) {
                    self.hold(&key.profile, before.version, false);
                }
            }
            Effect::PutProfile(version, profile) => {
                let versions = self.profiles.entry(profile.name.clone()).or_default();
                let before = versions.newest;
                versions.newest = before.max(*version);
                versions.in_force = true;
                let held = versions.held.entry(*version);
                held.or_insert_with(|| Held {
                    profile: profile.clone(),
                    streams: 0,
                });
                self.release(&profile.name, before);
            }
            Effect::DeleteProfile(name) => {
                if let Some(versions) = self.profiles.get_mut(name) {
                    versions.in_force = false;
                    let newest = versions.newest;
                    self.release(name, newest);
                }
            }
            Effect::Fired {
                event,
                id,
                at,
                until,
            } => {
                while let Some((over, _, _)) = self.fired_until.first()
                    && over <= at
                {
                    let (_, event, id) = self.fired_until.pop_first().expect("it was looked at");
                    self.fired.remove(&(event, id));
                }
                let key = (event.clone(), id.clone());
                if let Some(before) = self.fired.insert(key, *until) {
                    let (event, id) = (event.clone(), id.clone());
                    self.fired_until.remove(&(before, event, id));
                }
                self.fired_until.insert((*until, event.clone(), id.clone()));
            }
            Effect::Emitted {
                monitor,
                object,
                tick,
            } => {
                let emitted = self.emitted.entry(monitor.clone()).or_default();
                emitted.insert(object.clone(), *tick);
            }
            Effect::ForgetEmitted { monitor, until } => {
                if let Some(emitted) = self.emitted.get_mut(monitor) {
                    emitted.retain(|_, tick| *until < *tick);
                }
            }
            Effect::Scans(monitor, scans) => {
                self.scans.insert(monitor.clone(), scans.clone());
            }
            Effect::DeleteMonitor(name) => {
                self.scans.remove(name);
                self.emitted.remove(name);
            }
        }
    }

    fn hold(&mut self, profile: &str, version: u32, more: bool) {
        let versions = self.profiles.get_mut(profile);
        let Some(held) = versions.and_then(|it| it.held.get_mut(&version)) else {
            return;
        };
        if more {
            held.streams += 1;
        } else {
            assert!(0 < held.streams);
            held.streams -= 1;
            self.release(profile, version);
        }
    }

    /// Forgets a version that is neither in force nor held.
    fn release(&mut self, profile: &str, version: u32) {
        let Some(versions) = self.profiles.get_mut(profile) else {
            return;
        };
        let newest = versions.in_force && versions.newest == version;
        if !newest
            && versions
                .held
                .get(&version)
                .is_some_and(|it| it.streams == 0)
        {
            versions.held.remove(&version);
        }
        if !versions.in_force && versions.held.is_empty() {
            self.profiles.remove(profile);
        }
    }

    /// The state as the effects that make it from nothing: as it is now, whatever changes while they are taken.
    pub fn effects(&self) -> impl Iterator<Item = Effect> + Send + use<> {
        let mut held_by: BTreeMap<(&str, u32), Vec<&StreamKey>> = BTreeMap::new();
        for (key, stream) in &self.streams {
            let holders = held_by.entry((key.profile.as_str(), stream.version));
            holders.or_default().push(key);
        }
        let mut first = Vec::new();
        for (name, versions) in &self.profiles {
            // A version that nobody holds goes when the next one comes, so its streams come first.
            for (version, held) in &versions.held {
                first.push(Effect::PutProfile(*version, held.profile.clone()));
                for key in held_by
                    .remove(&(name.as_str(), *version))
                    .unwrap_or_default()
                {
                    first.push(Effect::PutStream(key.clone(), self.streams[key].clone()));
                }
            }
            if !versions.in_force {
                first.push(Effect::DeleteProfile(name.clone()));
            }
        }
        let fired = self
            .fired_until
            .clone()
            .into_iter()
            .map(|(until, event, id)| Effect::Fired {
                event,
                id,
                // Forgets nothing.
                at: i64::MIN,
                until,
            });
        let emitted = self.emitted.clone().into_iter();
        let emitted = emitted.flat_map(|(monitor, emitted)| {
            emitted
                .into_iter()
                .map(move |(object, tick)| Effect::Emitted {
                    monitor: monitor.clone(),
                    object,
                    tick,
                })
        });
        let scans = self.scans.clone().into_iter();
        let scans = scans.map(|(monitor, scans)| Effect::Scans(monitor, scans));
        let objects = self.objects.clone().into_iter();
        let objects = objects.map(|(object, stored)| Effect::PutObject(object, stored));
        first
            .into_iter()
            .chain(fired)
            .chain(emitted)
            .chain(scans)
            .chain(objects)
    }
}

/// A state with changes laid over it.
#[derive(Debug, Clone)]
pub struct Draft<'s> {
    state: &'s State,
    /// Objects that differ; `None`: gone.
    objects: BTreeMap<Ref, Option<Arc<Object>>>,
    /// Streams that differ; `None`: ended.
    streams: BTreeMap<StreamKey, Option<Stream>>,
    /// What changed since the effects were last taken.
    changed: BTreeSet<Ref>,
    changed_streams: BTreeSet<StreamKey>,
}

impl<'s> Draft<'s> {
    /// A draft without changes.
    #[must_use]
    pub fn new(state: &'s State) -> Self {
        Draft {
            state,
            objects: BTreeMap::new(),
            streams: BTreeMap::new(),
            changed: BTreeSet::new(),
            changed_streams: BTreeSet::new(),
        }
    }

    /// The object as it is now; `None` when it is unknown.
    #[must_use]
    pub fn get(&self, object: &Ref) -> Option<Arc<Object>> {
        match self.objects.get(object) {
            Some(changed) => changed.clone(),
            None => self.state.get(object),
        }
    }

    /// What lies under it.
    #[must_use]
    pub fn state(&self) -> &'s State {
        self.state
    }

    /// The changes since they were last taken, each object and stream as it is now.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        let objects = std::mem::take(&mut self.changed).into_iter();
        let streams = std::mem::take(&mut self.changed_streams).into_iter();
        let objects = objects.map(|object| match &self.objects[&object] {
            Some(now) => {
                let stored = Arc::new(now.store());
                Effect::PutObject(object, stored)
            }
            None => Effect::DeleteObject(object),
        });
        let streams = streams.map(|key| match &self.streams[&key] {
            Some(now) => Effect::PutStream(key, now.clone()),
            None => Effect::RemoveStream(key),
        });
        objects.chain(streams).collect()
    }

    /// The object, or an unknown one.
    #[must_use]
    pub fn object(&self, object: &Ref) -> Arc<Object> {
        let known = self.get(object);
        known.unwrap_or_else(|| Arc::new(Object::unknown(object.clone())))
    }

    /// Changes an object, which is there from then on.
    pub fn change<T>(&mut self, object: &Ref, change: impl FnOnce(&mut Object) -> T) -> T {
        let mut now = self.object(object);
        let result = change(Arc::make_mut(&mut now));
        self.objects.insert(object.clone(), Some(now));
        self.changed.insert(object.clone());
        result
    }

    /// Replaces an object, or makes it. `now` counts when the edit claims no time.
    pub fn put(&mut self, edit: Edit, pairs: &Pairs, now: i64) {
        let edit = edit.clone().replacing(&self.object(&edit.object));
        self.patch(&edit, pairs, now);
    }

    /// Replaces an object, or makes it, whatever was written later: for dry runs.
    pub fn suppose(&mut self, mut edit: Edit, pairs: &Pairs, now: i64) {
        edit.at = Some(now).max(self.object(&edit.object).updated_at());
        self.put(edit, pairs, now);
    }

    /// Changes some members of an object, or makes it.
    pub fn patch(&mut self, edit: &Edit, pairs: &Pairs, now: i64) {
        let at = edit.at.unwrap_or(now);
        self.change(&edit.object, |object| edit.apply(object, at));
        for (relation, wanted) in &edit.relations {
            let before = self.object(&edit.object).related(relation).to_vec();
            for gone in before.iter().filter(|it| !wanted.contains(it)) {
                self.unrelate(&edit.object, relation, gone, pairs, at);
            }
            for to in wanted {
                self.relate(&edit.object, relation, to, pairs, at);
            }
        }
    }

    /// Relates two objects, at both ends where the catalogue names an inverse. `false`, and nothing
    /// changed, when they were, or when a relation cannot be called so (4.1).
    pub fn relate(&mut self, from: &Ref, relation: &str, to: &Ref, pairs: &Pairs, at: i64) -> bool {
        if !is_type(relation) {
            return false;
        }
        let known = self.object(from).related(relation).contains(to);
        if !known {
            self.change(from, |object| object.relate(relation, to.clone(), at));
        }
        if let Some(inverse) = pairs.inverse(relation)
            && !self.object(to).related(inverse).contains(from)
        {
            self.change(to, |object| object.relate(inverse, from.clone(), at));
        }
        !known
    }

    /// Takes a relation back, at both ends. `false` when there was none.
    pub fn unrelate(
        &mut self,
        from: &Ref,
        relation: &str,
        to: &Ref,
        pairs: &Pairs,
        at: i64,
    ) -> bool {
        let known = self.object(from).related(relation).contains(to);
        if known {
            self.change(from, |object| object.unrelate(relation, to, at));
        }
        if let Some(inverse) = pairs.inverse(relation)
            && self.object(to).related(inverse).contains(from)
        {
            self.change(to, |object| object.unrelate(inverse, from, at));
        }
        known
    }

    /// Removes an object, its streams, and what leads to it from the other ends of its relations.
    /// `false` when it is unknown.
    pub fn delete(&mut self, object: &Ref, pairs: &Pairs, at: i64) -> bool {
        let Some(gone) = self.get(object) else {
            return false;
        };
        for (relation, others) in gone.relations() {
            for other in others {
                self.unrelate(object, relation, other, pairs, at);
            }
        }
        self.objects.insert(object.clone(), None);
        self.changed.insert(object.clone());
        let made = self.streams.keys().filter(|key| key.object == *object);
        let keys: Vec<StreamKey> = made.chain(self.state.streams_of(object)).cloned().collect();
        for key in keys {
            if self.stream(&key).is_some() {
                self.put_stream(key, None);
            }
        }
        true
    }

    /// One stream.
    #[must_use]
    pub fn stream(&self, key: &StreamKey) -> Option<&Stream> {
        match self.streams.get(key) {
            Some(changed) => changed.as_ref(),
            None => self.state.stream(key),
        }
    }

    /// Makes, changes or ends a stream.
    pub fn put_stream(&mut self, key: StreamKey, stream: Option<Stream>) {
        self.changed_streams.insert(key.clone());
        self.streams.insert(key, stream);
    }
}
