//! What is kept of a firing (certificate-lifecycle.md 11).
//!
//! Rows are plain values in the spelling of the reading API. They are written once, but for a channel
//! or target that gives up later: [`Evaluation::gave_up`] and [`Evaluation::target_failed`].

use serde::{Deserialize, Serialize};

/// What became of a firing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Subjects are still to be done.
    InProgress,
    /// All subjects are done.
    Finished,
    /// The bus could not do it: no subject, or a detail that is skipped.
    Failed,
    /// It fired before.
    Duplicate,
}

/// One firing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FiringRow {
    /// Id of the firing, given by the server.
    pub firing: String,
    /// Name of the event type.
    pub event: String,
    /// Id of the event; its detail is in the archive.
    pub event_id: String,
    /// Its bus.
    pub bus: String,
    /// When it began, RFC 3339.
    pub started_at: String,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub finished_at: Option<String>,
    /// What became of it.
    pub status: Status,
    /// Whether the detail is as the catalogue wants it.
    pub detail_valid: bool,
    /// Why it failed, or where the detail is not as wanted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub message: Option<String>,
    /// By subject, in order.
    pub objects: Vec<ObjectRow>,
}

/// One subject of a firing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRow {
    /// `type/id`.
    pub object: String,
    /// The scopes that the event belongs to, in order.
    pub scopes: Vec<String>,
    /// Those whose triggers apply.
    pub applied: Vec<String>,
    /// Those with triggers that do not.
    pub skipped: Vec<String>,
    /// Some trigger that acts matched.
    pub matched: bool,
    /// Some ignore trigger matched.
    pub ignored: bool,
    /// With admission: whether it was let into the inventory.
    pub admitted: Option<bool>,
    /// In the order in which they were made.
    pub evaluations: Vec<Evaluation>,
}

/// One trigger looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evaluation {
    /// The scope it was looked at for.
    pub scope: String,
    /// Its name.
    pub trigger: String,
    /// Whether it silences.
    pub ignore: bool,
    /// Whether its pattern matched.
    pub conditions_matched: bool,
    /// Every action succeeded, every target was accepted.
    pub actions_performed: bool,
    /// At least one profile was delivered; `None` without *notify* or without a match.
    pub notification_sent: Option<bool>,
    /// What went otherwise.
    pub records: Vec<Record>,
    /// What was told by which profile, in order.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub told: Vec<Told>,
}

/// What one profile did in one evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// Index of the action.
    pub action: u32,
    /// Name of the profile.
    pub profile: String,
    /// The version that was used.
    pub version: u32,
    /// Channels handed over to, and not given up; `internal` is the inbox.
    pub channels: Vec<String>,
}

/// The kind of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordKind {
    /// The first member of the pattern that did not match.
    Condition,
    /// An action that failed.
    Action,
    /// A notification that the throttle kept back; no failure.
    Suppressed,
    /// A *set-field* that found something newer; no failure.
    Older,
    /// A channel that did not send.
    Channel,
    /// A target that gave up.
    Target,
}

/// Something that went otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Its kind.
    pub kind: RecordKind,
    /// Where: the member of a pattern, a field, a profile or channel, a target.
    pub at: String,
    /// Index of the action.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub action: Option<u32>,
    /// Type of the action.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none", default)]
    pub action_type: Option<String>,
    /// What happened.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub message: Option<String>,
}

impl Evaluation {
    /// Notes that a channel ended without delivery (9.4 step 5). True when the profile's notification
    /// has now reached nobody, so that its step in the stream is to be taken back.
    pub fn gave_up(&mut self, action: u32, profile: &str, channel: &str, why: &str) -> bool {
        let told = self
            .told
            .iter_mut()
            .find(|told| told.action == action && told.profile == profile);
        let Some(told) = told else {
            return false;
        };
        let before = told.channels.len();
        told.channels.retain(|it| it != channel);
        if told.channels.len() == before {
            return false;
        }
        let nobody = told.channels.is_empty();
        self.records.push(Record {
            kind: RecordKind::Channel,
            at: format!("{profile}/{channel}"),
            action: Some(action),
            action_type: Some("notify".into()),
            message: Some(why.to_owned()),
        });
        if nobody {
            self.actions_performed = false;
            self.notification_sent = Some(self.told.iter().any(|it| !it.channels.is_empty()));
        }
        nobody
    }

    /// Notes that a target ended without delivery.
    pub fn target_failed(&mut self, target: &str, why: &str) {
        self.actions_performed = false;
        self.records.push(Record {
            kind: RecordKind::Target,
            at: target.to_owned(),
            action: None,
            action_type: None,
            message: Some(why.to_owned()),
        });
    }
}

impl FiringRow {
    /// Subjects done, matched and ignored (HIS-4).
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        let matched = self.objects.iter().filter(|it| it.matched).count();
        let ignored = self.objects.iter().filter(|it| it.ignored).count();
        (self.objects.len(), matched, ignored)
    }
}
