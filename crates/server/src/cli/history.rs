//! `busbar history`: what triggers did, and for one firing the whole story.

use super::client::{Client, Endpoint, encode};
use super::table::{self, plain};
use super::{Failure, NO, Outcome};
use crate::clock::wall_ms;
use anyhow::anyhow;
use clap::Args;
use lifecycle::history::{Evaluation, FiringRow, ObjectRow, Record, RecordKind, Status, Told};
use lifecycle::moment;
use serde_json::Value;

/// Firings that are asked for at once.
const PAGE: usize = 100;

#[derive(Args)]
pub struct History {
    /// Only firings of this event type.
    #[arg(long, value_name = "TYPE")]
    event: Option<String>,
    /// Only firings for this object.
    #[arg(long, value_name = "TYPE/ID")]
    object: Option<String>,
    /// Only firings in which this trigger was looked at.
    #[arg(long, value_name = "NAME")]
    trigger: Option<String>,
    /// Only firings of this status: in-progress, finished, failed or duplicate.
    #[arg(long)]
    status: Option<String>,
    /// Only firings since then: so long ago, such as `90m`, `12h`, `7d`, or a time, such as
    /// 2025-07-01T00:00:00Z.
    #[arg(long, value_name = "SPAN|TIME", value_parser = since)]
    since: Option<String>,
    /// At most so many firings, the newest.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Tell the story of this firing.
    #[arg(long, value_name = "ID", conflicts_with_all = ["event", "object", "trigger", "status", "since", "limit"])]
    firing: Option<String>,
    #[command(flatten)]
    endpoint: Endpoint,
}

impl History {
    pub fn run(self, json: bool) -> Outcome {
        let client = self.endpoint.client()?;
        if let Some(id) = &self.firing {
            let found = client.get(&format!("/v1/history/firings/{}", encode(id)))?;
            if json {
                say!("{found}");
            } else {
                tell(&read(found)?);
            }
            return Ok(0);
        }
        let mut left = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let mut rows = Vec::new();
        let mut cursor = None;
        loop {
            let page = self.page(&client, left.min(PAGE), cursor.as_deref())?;
            let Value::Array(firings) = page["firings"].clone() else {
                return Err(Failure::new(
                    NO,
                    anyhow!("the server's answer has no firings"),
                ));
            };
            left = left.saturating_sub(firings.len());
            for firing in firings {
                if json {
                    say!("{firing}");
                } else {
                    rows.extend(lines(
                        &read(firing)?,
                        self.object.as_deref(),
                        self.trigger.as_deref(),
                    ));
                }
            }
            cursor = page["cursor"].as_str().map(str::to_owned);
            if cursor.is_none() || left == 0 {
                break;
            }
        }
        if json {
            return Ok(0);
        }
        if rows.is_empty() {
            say!("no firings");
            return Ok(0);
        }
        let heads = [
            "AT",
            "FIRING",
            "EVENT",
            "OBJECT",
            "TRIGGER",
            "VERDICT",
            "FAILED FIRST",
        ];
        table::print(&heads, &rows);
        if cursor.is_some() {
            say!("\nthere are older ones: --limit N shows more, --firing ID tells one whole");
        }
        Ok(0)
    }

    fn page(&self, client: &Client, limit: usize, cursor: Option<&str>) -> Result<Value, Failure> {
        let given = [
            ("event", self.event.as_deref()),
            ("object", self.object.as_deref()),
            ("trigger", self.trigger.as_deref()),
            ("status", self.status.as_deref()),
            ("from", self.since.as_deref()),
            ("cursor", cursor),
        ];
        let mut path = format!("/v1/history/firings?limit={limit}");
        for (name, value) in given {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={}", encode(value)));
            }
        }
        client.get(&path)
    }
}

/// Reads `--since` into an RFC 3339 time.
fn since(text: &str) -> Result<String, String> {
    if moment::parse(text).is_some() {
        return Ok(text.to_owned());
    }
    let units = [
        ('s', "PT_S"),
        ('m', "PT_M"),
        ('h', "PT_H"),
        ('d', "P_D"),
        ('w', "P_W"),
    ];
    let span = units.iter().find_map(|(unit, shape)| {
        let number = text.strip_suffix(*unit)?;
        moment::span(&shape.replace('_', number)).ok()
    });
    let ago =
        span.ok_or("a span such as 90m, 12h or 7d, or a time such as 2025-07-01T00:00:00Z")?;
    Ok(moment::format(wall_ms().saturating_sub(ago)))
}

fn read(found: Value) -> Result<FiringRow, Failure> {
    serde_json::from_value(found)
        .map_err(|error| Failure::new(NO, anyhow!("the server's answer is no firing: {error}")))
}

// ---- the table -----------------------------------------------------------------------------------------

/// A line for each trigger that was looked at and is asked for; one for a firing without any.
fn lines(firing: &FiringRow, object: Option<&str>, trigger: Option<&str>) -> Vec<Vec<String>> {
    let line = |object: &str, trigger: &str, verdict: String, failed: &str| {
        [
            &firing.started_at,
            &firing.firing,
            &firing.event,
            object,
            trigger,
            &verdict,
            failed,
        ]
        .map(plain)
        .to_vec()
    };
    let mut found = Vec::new();
    for row in &firing.objects {
        if object.is_some_and(|wanted| wanted != row.object) {
            continue;
        }
        let mut any = false;
        for it in &row.evaluations {
            if trigger.is_none_or(|wanted| wanted == it.trigger) {
                any = true;
                found.push(line(
                    &row.object,
                    &it.trigger,
                    verdict(it),
                    failed_first(it).unwrap_or(""),
                ));
            }
        }
        if !any && trigger.is_none() {
            found.push(line(&row.object, "", "no trigger applies".into(), ""));
        }
    }
    if firing.objects.is_empty() {
        let message = firing.message.as_deref().unwrap_or("");
        found.push(line("", "", status(firing.status).into(), message));
    }
    found
}

fn verdict(evaluation: &Evaluation) -> String {
    let told = match evaluation.notification_sent {
        None => "",
        Some(true) => ", notified",
        Some(false) => ", nobody notified",
    };
    match (evaluation.conditions_matched, evaluation.ignore) {
        (false, _) => "no match".into(),
        (true, true) => "ignored".into(),
        (true, false) if evaluation.actions_performed => format!("matched{told}"),
        (true, false) => format!("matched, an action failed{told}"),
    }
}

fn failed_first(evaluation: &Evaluation) -> Option<&str> {
    let mut records = evaluation.records.iter();
    let record = records.find(|record| record.kind == RecordKind::Condition)?;
    Some(&record.at)
}

fn status(status: Status) -> &'static str {
    match status {
        Status::InProgress => "in progress",
        Status::Finished => "finished",
        Status::Failed => "failed",
        Status::Duplicate => "duplicate",
    }
}

// ---- the story -----------------------------------------------------------------------------------------

fn tell(firing: &FiringRow) {
    let ended = firing.finished_at.as_ref();
    let ended = ended.map_or_else(String::new, |at| format!(", ended {}", plain(at)));
    say!(
        "firing {}  {}  {}",
        plain(&firing.firing),
        plain(&firing.event),
        status(firing.status)
    );
    say!(
        "  event {} on bus {}",
        plain(&firing.event_id),
        plain(&firing.bus)
    );
    say!("  began {}{ended}", plain(&firing.started_at));
    if firing.status == Status::Duplicate {
        say!("  this event fired before, so nothing was looked at");
    }
    if let Some(message) = &firing.message {
        let what = match firing.detail_valid {
            true => "why",
            false => "the detail is not as the catalogue wants it",
        };
        say!("  {what}: {}", plain(message));
    }
    let (evaluated, matched, ignored) = firing.counts();
    if evaluated > 0 {
        say!("  objects: {evaluated} evaluated, {matched} matched, {ignored} ignored");
    }
    for row in &firing.objects {
        tell_object(row);
    }
}

fn tell_object(row: &ObjectRow) {
    let admitted = match row.admitted {
        None => "",
        Some(true) => ", admitted to the inventory",
        Some(false) => ", not admitted to the inventory",
    };
    let result = match (row.matched, row.ignored) {
        (true, false) => "matched",
        (true, true) => "matched, ignored in part",
        (false, true) => "ignored",
        (false, false) => "nothing matched",
    };
    say!("→ {}: {result}{admitted}", plain(&row.object));
    for scope in &row.scopes {
        let fate = if row.applied.contains(scope) {
            "applied"
        } else if row.skipped.contains(scope) {
            "skipped: a more specific scope applies"
        } else {
            "has no triggers for this"
        };
        say!("    scope {}: {fate}", plain(scope));
        let mut here = row.evaluations.iter().filter(|it| it.scope == *scope);
        let mut any = false;
        for evaluation in &mut here {
            any = true;
            tell_evaluation(evaluation);
        }
        if !any && row.applied.contains(scope) {
            let why = match row.ignored {
                true => "nothing more was looked at: an ignore trigger matched",
                false => "its triggers were looked at for a scope before it",
            };
            say!("      {why}");
        }
    }
}

fn tell_evaluation(evaluation: &Evaluation) {
    let mark = if evaluation.conditions_matched {
        "✓"
    } else {
        "✗"
    };
    let kind = if evaluation.ignore {
        "ignore trigger"
    } else {
        "trigger"
    };
    let failed = failed_first(evaluation);
    let failed = failed.map_or_else(String::new, |at| format!(" at {}", plain(at)));
    say!(
        "      {mark} {kind} {}: {}{failed}",
        plain(&evaluation.trigger),
        verdict(evaluation)
    );
    for told in &evaluation.told {
        tell_told(told);
    }
    for record in &evaluation.records {
        tell_record(record);
    }
}

fn tell_told(told: &Told) {
    let through = match told.channels.is_empty() {
        true => "reached nobody".to_owned(),
        false => format!("sent through {}", plain(&told.channels.join(", "))),
    };
    say!(
        "          notification {} (version {}): {through}",
        plain(&told.profile),
        told.version
    );
}

fn tell_record(record: &Record) {
    let what = match record.kind {
        // Told beside the verdict.
        RecordKind::Condition => return,
        RecordKind::Action => format!(
            "{} failed",
            record.action_type.as_deref().unwrap_or("action")
        ),
        RecordKind::Suppressed => "notification kept back".into(),
        RecordKind::Older => "not written".into(),
        RecordKind::Channel => "channel did not send".into(),
        RecordKind::Target => "target gave up".into(),
    };
    let why = record.message.as_deref();
    let why = why.map_or_else(String::new, |why| format!(": {}", plain(why)));
    say!("          {what} ({}){why}", plain(&record.at));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_or_a_time_says_since_when() {
        let time = "2025-07-01T10:00:00+02:00";
        assert_eq!(since(time).as_deref(), Ok(time));
        let ago = |text| wall_ms() - moment::parse(&since(text).unwrap()).unwrap();
        for (text, seconds) in [
            ("90m", 5_400),
            ("12h", 43_200),
            ("7d", 604_800),
            ("1w", 604_800),
        ] {
            let off = ago(text) - seconds * 1000;
            assert!((0..5_000).contains(&off), "{text}: {off}");
        }
        for bad in ["", "d", "7", "-1d", "7x", "yesterday"] {
            assert!(since(bad).is_err(), "{bad}");
        }
    }
}
