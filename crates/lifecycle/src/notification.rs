//! Who is told what, and when not (certificate-lifecycle.md 9).
//!
//! A *notify* of one profile is decided at once: the throttle, the recipients, what each channel is
//! handed, and the stream's step, all of which the server writes as one record. What becomes of the
//! deliveries is told later; when the last of them has failed, [`take_back`] undoes the step.
//!
//! Start at [`notify`].

use crate::documents::{Channel, DefaultRecipient, Entry, Profile, RECIPIENT_TYPES, Recipients};
use crate::event::{Event, Raised};
use crate::history::{Record, RecordKind};
use crate::reference::Ref;
use crate::selector;
use crate::state::{Draft, Effect, Feeder, State, Stream, StreamKey};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// What one profile hands over for one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// The object told about.
    pub object: Ref,
    /// Name of the trigger.
    pub trigger: String,
    /// Index of the action.
    pub action: u32,
    /// Name of the profile.
    pub profile: String,
    /// Its version.
    pub version: u32,
    /// One delivery for each channel that has somebody to serve.
    pub handovers: Vec<Handover>,
    /// Whose inboxes it goes into, each with the id of the entry.
    pub inbox: Vec<(Ref, String)>,
    /// The step of its stream, if it is counted.
    pub step: Option<Step>,
}

/// One delivery of a channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Handover {
    /// Id of the channel.
    pub channel: String,
    /// The same in every retry: the idempotency key.
    pub id: String,
    /// Who it serves; `None` when the profile names nobody.
    pub recipients: Option<Vec<Ref>>,
    /// What is delivered, before the channel's own input members.
    pub body: Value,
}

/// What a notification changed in its stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The stream.
    pub key: StreamKey,
    /// As it was.
    pub before: Option<Stream>,
    /// When the stream began: a step of a stream that has ended is not taken back from its successor.
    pub since: i64,
    /// Time of the event that was told.
    pub at: i64,
}

/// What *notify* decides for one profile.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The throttle keeps it back; no failure.
    Suppressed(&'static str),
    /// It is handed over to somebody.
    Told(Box<Notice>),
    /// There is nobody to serve.
    Nobody,
}

/// What a *notify* is about.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// The event type.
    pub entry: &'a Entry,
    /// The event.
    pub event: &'a Event,
    /// Who raised it.
    pub raised: &'a Raised,
    /// The subject.
    pub object: &'a Ref,
    /// Name of the trigger.
    pub trigger: &'a str,
    /// Index of the action.
    pub action: u32,
}

/// Decides what one profile does; the stream's step goes into `draft`, and what a channel lacks into
/// `records`.
pub fn notify(
    about: &About<'_>,
    profile: &str,
    draft: &mut Draft<'_>,
    records: &mut Vec<Record>,
) -> (u32, Verdict) {
    let t = about.event.time;
    let key = StreamKey {
        object: about.object.clone(),
        event: about.entry.name.clone(),
        profile: profile.to_owned(),
    };
    let feeder = match about.raised {
        Raised::Monitor(name) => Feeder::Monitor(name.clone()),
        Raised::Outside | Raised::Replay => Feeder::Outside,
    };
    let mut stream = draft
        .stream(&key)
        .cloned()
        .filter(|_| about.entry.monitoring);
    if let (Some(found), Some(idle)) = (&stream, about.entry.idle_reset)
        && found.feeder == Feeder::Outside
        && idle < t - found.last_event
    {
        draft.put_stream(key.clone(), None);
        stream = None;
    }
    let state = draft.state();
    let held = stream.as_ref().and_then(|stream| {
        let held = state.profile_version(profile, stream.version)?;
        Some((stream.version, held.clone()))
    });
    let newest = || {
        state
            .profile(profile)
            .map(|(version, it)| (version, it.clone()))
    };
    let Some((version, document)) = held.or_else(newest) else {
        records.push(channel_record(about, profile, "no such profile"));
        return (0, Verdict::Nobody);
    };
    // Whatever becomes of it, the stream has had an event and belongs to who raised it.
    if let Some(stream) = &mut stream {
        stream.last_event = stream.last_event.max(t);
        stream.feeder = feeder.clone();
        draft.put_stream(key.clone(), Some(stream.clone()));
        if document
            .repetitions
            .is_some_and(|most| most <= stream.count)
        {
            return (version, Verdict::Suppressed("repetitions"));
        }
        if document
            .frequency
            .is_some_and(|least| t - stream.last_sent < least)
        {
            return (version, Verdict::Suppressed("frequency"));
        }
    }
    let count = stream.as_ref().map_or(1, |stream| stream.count + 1);
    let mut notice = hand_over(about, &document, version, count, draft, records);
    if notice.handovers.is_empty() && notice.inbox.is_empty() {
        return (version, Verdict::Nobody);
    }
    let counted = document.frequency.is_some() || document.repetitions.is_some();
    if about.entry.monitoring && counted {
        let since = stream.as_ref().map_or(t, |stream| stream.since);
        let after = Stream {
            version,
            since,
            count,
            last_sent: t,
            last_event: stream.as_ref().map_or(t, |stream| stream.last_event),
            feeder,
        };
        draft.put_stream(key.clone(), Some(after));
        notice.step = Some(Step {
            key,
            before: stream,
            since,
            at: t,
        });
    }
    (version, Verdict::Told(Box::new(notice)))
}

/// What takes a notification's step back, when all its channels have ended without delivery and no
/// inbox has it.
#[must_use]
pub fn take_back(state: &State, step: &Step) -> Option<Effect> {
    let now = state
        .stream(&step.key)
        .filter(|it| it.since == step.since)?;
    let count = now.count.checked_sub(1)?;
    if count == 0 {
        return Some(Effect::RemoveStream(step.key.clone()));
    }
    let mut back = now.clone();
    back.count = count;
    // A later notification has a time of its own, which stays.
    if now.last_sent == step.at
        && let Some(before) = &step.before
    {
        back.last_sent = before.last_sent;
    }
    Some(Effect::PutStream(step.key.clone(), back))
}

fn hand_over(
    about: &About<'_>,
    profile: &Profile,
    version: u32,
    count: u32,
    draft: &Draft<'_>,
    records: &mut Vec<Record>,
) -> Notice {
    let recipients = recipients(about, profile, draft);
    let object = draft.object(about.object).to_json();
    let id = |channel: &str, recipient: &str| {
        let event = about.event.text("id");
        let name = json!([
            event,
            about.object,
            about.trigger,
            about.action,
            profile.name,
            channel,
            recipient
        ]);
        Uuid::new_v5(&Uuid::NAMESPACE_URL, name.to_string().as_bytes()).to_string()
    };
    let mut handovers = Vec::new();
    for channel in &profile.channels {
        let served = match &recipients {
            None => None,
            Some(all) => match serve(channel, all, draft) {
                Ok(served) => Some(served),
                Err(why) => {
                    let at = format!("{}/{}", profile.name, channel.id);
                    records.push(channel_record(about, &at, &why));
                    continue;
                }
            },
        };
        let id = id(&channel.id, "");
        let mut notification = json!({
            "id": id,
            "profile": profile.name,
            "version": version,
            "channel": channel.id,
            "count": count,
        });
        let mut refs = None;
        if let Some(served) = served {
            let list = served.iter().map(|(object, contact)| {
                let mut shown = Map::from_iter([("ref".to_owned(), object.as_str().into())]);
                shown.extend(contact.clone());
                Value::Object(shown)
            });
            notification["recipients"] = list.collect();
            refs = Some(served.into_iter().map(|(object, _)| object).collect());
        }
        let event = &about.event.value;
        handovers.push(Handover {
            channel: channel.id.clone(),
            body: json!({"notification": notification, "event": event, "object": object}),
            id,
            recipients: refs,
        });
    }
    let mut inbox = Vec::new();
    if profile.internal {
        let all = recipients.unwrap_or_default();
        let known = all.into_iter().filter(|it| draft.get(it).is_some());
        inbox = known
            .map(|it| (it.clone(), id("internal", it.as_str())))
            .collect();
        if inbox.is_empty() {
            let at = format!("{}/internal", profile.name);
            records.push(channel_record(
                about,
                &at,
                "no recipient is in the inventory",
            ));
        }
    }
    Notice {
        object: about.object.clone(),
        trigger: about.trigger.to_owned(),
        action: about.action,
        profile: profile.name.clone(),
        version,
        handovers,
        inbox,
        step: None,
    }
}

fn channel_record(about: &About<'_>, at: &str, why: &str) -> Record {
    Record {
        kind: RecordKind::Channel,
        at: at.to_owned(),
        action: Some(about.action),
        action_type: Some("notify".into()),
        message: Some(why.to_owned()),
    }
}

/// Who is told; `None`: nobody, and that is meant.
fn recipients(about: &About<'_>, profile: &Profile, draft: &Draft<'_>) -> Option<Vec<Ref>> {
    let subject = draft.object(about.object);
    let owner = || subject.owner().cloned().into_iter().collect::<Vec<Ref>>();
    let found = match &profile.recipients {
        Recipients::Nobody => return None,
        Recipients::Objects(objects) => objects.clone(),
        Recipients::Owner => owner(),
        Recipients::Object => vec![about.object.clone()],
        Recipients::Default => {
            let event = &about.event.value;
            let ids = |from: &[selector::Selector]| selector::ids(from, event, Some(&subject));
            let objects = |kind: &str, ids: Vec<String>| {
                let known = RECIPIENT_TYPES.contains(&kind);
                let each = ids.iter().filter(|_| known);
                each.filter_map(|id| Ref::new(kind, id))
                    .collect::<Vec<Ref>>()
            };
            let each = about.entry.default_recipients.iter();
            each.flat_map(|it| match it {
                DefaultRecipient::Owner => owner(),
                DefaultRecipient::Object => vec![about.object.clone()],
                DefaultRecipient::Of(source) => objects(&source.kind, ids(&source.id)),
                DefaultRecipient::TypeFrom { kind, id } => match ids(kind).first() {
                    Some(kind) if kind == "owner" => owner(),
                    Some(kind) if kind == "object" => vec![about.object.clone()],
                    Some(kind) => objects(kind, ids(id)),
                    None => Vec::new(),
                },
            })
            .collect()
        }
    };
    let mut once: Vec<Ref> = Vec::new();
    for recipient in found {
        if !once.contains(&recipient) {
            once.push(recipient);
        }
    }
    Some(once)
}

/// A recipient and what is sent of it.
type Served = (Ref, Map<String, Value>);

/// The recipients that a channel can serve, with what it sends of them.
///
/// # Errors
/// Why it serves none.
fn serve(channel: &Channel, recipients: &[Ref], draft: &Draft<'_>) -> Result<Vec<Served>, String> {
    let mut served = Vec::new();
    let mut missing = "there is no recipient".to_owned();
    'each: for recipient in recipients {
        let Some(object) = draft.get(recipient) else {
            missing = format!("`{recipient}` is not in the inventory");
            continue;
        };
        let object = object.to_json();
        let mut contact = Map::new();
        for (name, path) in &channel.contact {
            match path.first(&object).filter(|value| !value.is_null()) {
                Some(value) => contact.insert(name.clone(), value.clone()),
                None => {
                    let member = path.as_str().trim_start_matches("$.");
                    missing = format!("`{recipient}` has no `{member}`");
                    continue 'each;
                }
            };
        }
        served.push((recipient.clone(), contact));
    }
    if served.is_empty() {
        Err(missing)
    } else {
        Ok(served)
    }
}
