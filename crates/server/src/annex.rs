//! What decisions read, as the journal tells it: the annex of the core's state.
//!
//! The core hands over the bytes of its annex records in the order of the journal; here they become operator
//! documents, the state of crate `lifecycle`, and inboxes. All others only look. A look holds the lock that the
//! core needs to apply the next record, so it is to be short.

use bus_core::state::Annex;
use lifecycle::reference::Ref;
use lifecycle::state::{Effect, State};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// Notifications of one inbox; the oldest go first.
pub const INBOX_MAX: usize = 1_000;
/// Effects of one text of a snapshot.
const EFFECTS_TOLD: usize = 512;
/// Bytes of documents in one record, and one document more.
const TEXTS_BYTES_MAX: usize = 2 << 20;

/// One operator document as it was loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// The folder that says its kind.
    pub folder: String,
    /// Its name; of a trigger `BUS/NAME`.
    #[serde(default)]
    pub name: String,
    /// Its file; of what came by the API a name of the same form.
    pub file: String,
    /// Its text.
    pub text: String,
    /// Whether it came by the API.
    #[serde(default)]
    pub by_api: bool,
}

/// The operator documents that are in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InForce {
    /// All of them.
    pub texts: Vec<Text>,
    /// Since when each monitor scans, epoch milliseconds: the anchor of its rate.
    pub since: BTreeMap<String, i64>,
}

/// A notification in an inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inbound {
    /// The same however often it is made.
    pub id: String,
    /// Whose inbox.
    pub recipient: Ref,
    /// Time of the event, RFC 3339.
    pub time: String,
    /// Name of the profile.
    pub profile: String,
    /// Name of the trigger.
    pub trigger: String,
    /// The object told about.
    pub object: Ref,
    /// Name of the event type.
    pub event: String,
    /// Id of the event.
    pub event_id: String,
}

/// One record of the annex.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Entry {
    /// Documents that come into force with the next `InForce`; the first of them say so.
    Coming {
        /// Whether none came before.
        first: bool,
        /// Some of them.
        texts: Vec<Text>,
    },
    /// From now on those that came are in force, or those of before if none did.
    InForce {
        /// Whether they came.
        came: bool,
        /// Since when each monitor scans.
        since: BTreeMap<String, i64>,
    },
    /// What decisions changed.
    Effects(Vec<Effect>),
    /// Notifications that went into inboxes.
    Inbox(Vec<Inbound>),
}

impl Entry {
    /// Documents that come, in pieces of a bounded size.
    #[must_use]
    pub fn coming(texts: &[Text]) -> Vec<Self> {
        let mut all = vec![Vec::new()];
        let mut bytes = 0;
        for text in texts {
            if TEXTS_BYTES_MAX < bytes {
                bytes = 0;
                all.push(Vec::new());
            }
            bytes += text.text.len();
            all.last_mut().expect("there is one").push(text.clone());
        }
        let entry = |(n, texts)| Self::Coming {
            first: n == 0,
            texts,
        };
        all.into_iter().enumerate().map(entry).collect()
    }

    /// As the journal keeps it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain values")
    }
}

/// All that is kept.
#[derive(Debug, Default)]
pub struct Kept {
    /// What crate `lifecycle` decides by.
    pub state: State,
    /// Documents.
    pub in_force: InForce,
    coming: Vec<Text>,
    /// By recipient, oldest first.
    pub inboxes: BTreeMap<Ref, VecDeque<Inbound>>,
}

impl Kept {
    fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Coming { first, texts } => {
                if first {
                    self.coming.clear();
                }
                self.coming.extend(texts);
            }
            Entry::InForce { came, since } => {
                self.in_force.since = since;
                if came {
                    self.in_force.texts = std::mem::take(&mut self.coming);
                }
            }
            Entry::Effects(effects) => effects.iter().for_each(|it| self.state.apply(it)),
            Entry::Inbox(inbound) => {
                for one in inbound {
                    let inbox = self.inboxes.entry(one.recipient.clone()).or_default();
                    if inbox.iter().any(|known| known.id == one.id) {
                        continue;
                    }
                    inbox.push_back(one);
                    if INBOX_MAX < inbox.len() {
                        inbox.pop_front();
                    }
                }
            }
        }
    }
}

/// The same for the core, which writes it, and for those who look.
#[derive(Debug, Clone, Default)]
pub struct Shared(Arc<RwLock<Kept>>);

impl Shared {
    /// Looks.
    pub fn read(&self) -> RwLockReadGuard<'_, Kept> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Annex for Shared {
    fn apply(&mut self, bytes: &[u8]) {
        let entry = serde_json::from_slice(bytes).expect("the annex reads what it wrote");
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        kept.apply(entry);
    }

    fn told(&self) -> Vec<Vec<u8>> {
        let kept = self.read();
        let in_force = Entry::InForce {
            came: true,
            since: kept.in_force.since.clone(),
        };
        let mut told: Vec<Vec<u8>> = Entry::coming(&kept.in_force.texts)
            .into_iter()
            .chain([in_force])
            .chain(Entry::coming(&kept.coming))
            .map(|entry| entry.encode())
            .collect();
        let mut effects = kept.state.effects().peekable();
        while effects.peek().is_some() {
            let some = effects.by_ref().take(EFFECTS_TOLD).collect();
            told.push(Entry::Effects(some).encode());
        }
        for inbox in kept.inboxes.values() {
            told.push(Entry::Inbox(inbox.iter().cloned().collect()).encode());
        }
        told
    }
}
