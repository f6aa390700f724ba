//! What decisions read, as the journal tells it: the annex of the core's state.
//!
//! The core hands over the bytes of its annex records in the order of the journal; here they become operator
//! documents, the state of crate `lifecycle`, and inboxes. All others only look. A look holds the lock that the
//! core needs to apply the next record, so it is to be short.

use crate::history::Row;
use bus_core::codec::DecodeError;
use bus_core::record::Record;
use bus_core::state::Annex;
use lifecycle::reference::Ref;
use lifecycle::state::{Effect, State};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// Notifications of one inbox; the oldest go first.
pub const INBOX_MAX: usize = 1_000;
/// Notices of which a channel gave up that are remembered; the oldest go first.
const GAVE_UP_MAX: usize = 10_000;
/// Effects, or rows, of one text of a snapshot.
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
    /// What the history is told. Of it only what gave up is kept here.
    History(Vec<Row>),
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

/// Rows for the history in the body of a journal's record.
#[must_use]
pub fn history_rows(body: &[u8]) -> Option<Vec<Row>> {
    let Ok(Record::Annex { bytes }) = Record::decode(body) else {
        return None;
    };
    match serde_json::from_slice(bytes) {
        Ok(Entry::History(rows)) => Some(rows),
        _ => None,
    }
}

/// Names a notice: firing, object, trigger, action, profile.
pub type NoticeKey = (String, String, String, u32, String);

/// Channels that gave up, by notice.
#[derive(Debug, Default)]
struct GaveUp {
    channels: BTreeMap<NoticeKey, BTreeSet<String>>,
    /// Oldest first.
    order: VecDeque<NoticeKey>,
}

impl GaveUp {
    fn add(&mut self, row: Row) {
        let Row::GaveUp {
            firing,
            object,
            trigger,
            action,
            profile,
            channel,
            ..
        } = row
        else {
            return;
        };
        let key = (firing, object, trigger, action, profile);
        if !self.channels.contains_key(&key) {
            self.order.push_back(key.clone());
        }
        self.channels.entry(key).or_default().insert(channel);
        if GAVE_UP_MAX < self.order.len()
            && let Some(oldest) = self.order.pop_front()
        {
            self.channels.remove(&oldest);
        }
    }

    /// The rows that make it.
    fn rows(&self) -> impl Iterator<Item = Row> {
        self.order.iter().flat_map(|key| {
            let (firing, object, trigger, action, profile) = key.clone();
            self.channels[key].iter().map(move |channel| Row::GaveUp {
                firing: firing.clone(),
                object: object.clone(),
                trigger: trigger.clone(),
                action,
                profile: profile.clone(),
                channel: channel.clone(),
                why: String::new(),
            })
        })
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
    gave_up: GaveUp,
}

impl Kept {
    /// Whether a notice that so many have, channels and inboxes, reaches nobody any more once this channel
    /// gives up, and did until now.
    #[must_use]
    pub fn is_last(&self, notice: &NoticeKey, channel: &str, held_by: usize) -> bool {
        let gone = self.gave_up.channels.get(notice);
        let others = gone.map_or(0, BTreeSet::len);
        others + 1 == held_by && gone.is_none_or(|gone| !gone.contains(channel))
    }

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
            Entry::History(rows) => rows.into_iter().for_each(|row| self.gave_up.add(row)),
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
    fn apply(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let entry = serde_json::from_slice(bytes);
        let entry = entry.map_err(|_| DecodeError::Unknown("entry of the annex"))?;
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        kept.apply(entry);
        Ok(())
    }

    fn told(&self) -> Box<dyn Iterator<Item = Vec<u8>> + Send> {
        let kept = self.read();
        let in_force = Entry::InForce {
            came: true,
            since: kept.in_force.since.clone(),
        };
        let documents = Entry::coming(&kept.in_force.texts)
            .into_iter()
            .chain([in_force])
            .chain(Entry::coming(&kept.coming));
        let effects = pieces(kept.state.effects()).map(Entry::Effects);
        let gave_up: Vec<Row> = kept.gave_up.rows().collect();
        let gave_up = pieces(gave_up.into_iter()).map(Entry::History);
        let inboxes = kept.inboxes.clone().into_values();
        let inboxes = inboxes.map(|inbox| Entry::Inbox(inbox.into()));
        let all = documents.chain(effects).chain(gave_up).chain(inboxes);
        Box::new(all.map(|entry| entry.encode()))
    }
}

/// The items in lists of a bounded length.
fn pieces<T>(mut items: impl Iterator<Item = T>) -> impl Iterator<Item = Vec<T>> {
    std::iter::from_fn(move || {
        let some: Vec<T> = items.by_ref().take(EFFECTS_TOLD).collect();
        (!some.is_empty()).then_some(some)
    })
}
