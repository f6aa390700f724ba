//! Makes the attempts that the core hands out, and tells it their outcomes.
//!
//! Read the event, shape it, send it: webhooks in a task each, log lines in batches on a thread of their own
//! so that a batch shares one sync. When and how often is not decided here but in `bus_core::core`.

use crate::bus::{Bus, Dispatch};
use crate::decisions::Decisions;
use bus_core::core::{Attempt, Attempted};
use bus_core::document::{Kind, Webhook as Document};
use bus_core::envelope::format_millis;
use bus_core::limits::LOGS_IN_FLIGHT_MAX;
use bus_core::outcome::{Code, Failure, Outcome};
use bus_core::position::Position;
use bus_core::record::{Event, Record};
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use targets::client::Client;
use targets::log::{Line, LogFiles};
use targets::sign::Secret;
use targets::webhook::{Delivery, Verb, Webhook, check_header, webhook_id};
use tokio::runtime::Handle;

/// Before the name of the environment variable that holds a secret.
pub const SECRET_OF_ENVIRONMENT: &str = "env:";
/// Lines that share one sync at most.
const LINES_MAX: usize = 1_024;

/// Sends what the core hands out.
pub struct Dispatcher {
    bus: Bus,
    client: Arc<Client>,
    runtime: Handle,
    lines: Sender<Attempt>,
    decisions: Decisions,
    under_way: Arc<AtomicUsize>,
}

impl Dispatcher {
    /// Begins: `logs` is written by a thread of its own, firings are `decisions`', everything else runs on
    /// `runtime`.
    #[must_use]
    pub fn start(
        bus: &Bus,
        client: Arc<Client>,
        logs: LogFiles,
        decisions: Decisions,
        runtime: Handle,
    ) -> Self {
        let (lines, waiting) = bounded(LOGS_IN_FLIGHT_MAX + 1);
        let under_way = Arc::new(AtomicUsize::new(0));
        let writer = LogWriter {
            bus: bus.clone(),
            logs,
            waiting,
            under_way: Arc::clone(&under_way),
        };
        std::thread::Builder::new()
            .name("logs".into())
            .spawn(move || writer.run())
            .expect("the system gives a thread");
        Self {
            bus: bus.clone(),
            client,
            runtime,
            lines,
            decisions,
            under_way,
        }
    }
}

impl Dispatch for Dispatcher {
    fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed) + self.decisions.under_way()
    }

    fn gave_up(&self, note: Box<[u8]>, failure: Failure) {
        self.decisions.gave_up(note, failure);
    }

    fn dispatch(&self, attempt: Box<Attempt>) {
        if attempt.version.kind == Kind::Internal && attempt.give_up.is_none() {
            return self.decisions.fire(attempt);
        }
        self.under_way.fetch_add(1, Ordering::Relaxed);
        if matches!(attempt.version.kind, Kind::Log(_)) && attempt.give_up.is_none() {
            self.lines
                .try_send(*attempt)
                .unwrap_or_else(|_| unreachable!("the core bounds lines in flight"));
            return;
        }
        let (bus, client, under_way) = (
            self.bus.clone(),
            Arc::clone(&self.client),
            Arc::clone(&self.under_way),
        );
        let worker = self.runtime.spawn({
            let attempt = attempt.clone();
            let bus = bus.clone();
            async move { send(&bus, &client, attempt).await }
        });
        self.runtime.spawn(async move {
            // A panic in an attempt is a failed attempt (F35).
            let attempted = worker.await.unwrap_or_else(|_| Attempted {
                attempt,
                outcome: deferred(Code::InternalError, "internal failure"),
                record: None,
                body: None,
            });
            bus.attempted(attempted);
            under_way.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

fn deferred(code: Code, text: &str) -> Outcome {
    Outcome::Deferred {
        failure: Failure::new(code, text),
        not_before: None,
    }
}

/// An attempt's event, read and shaped.
struct Prepared {
    record: Vec<u8>,
    /// The input, if it is not the envelope itself.
    body: Option<Vec<u8>>,
}

/// Reads and shapes. Blocking.
fn prepare(bus: &Bus, attempt: &Attempt) -> Result<Prepared, Attempted> {
    let ended = |outcome, record, body| Attempted {
        attempt: Box::new(attempt.clone()),
        outcome,
        record,
        body,
    };
    let record = match bus.read_blocking(attempt.place) {
        Ok(record) => record,
        Err(journal::ReadError::Damaged { file, offset }) => {
            tracing::error!(file, offset, "a pending event's record is damaged");
            let failure = Failure::new(Code::StorageCorrupt, "The event's record is damaged.");
            return Err(ended(Outcome::Refused(failure), None, None));
        }
        Err(error) => {
            tracing::error!(%error, "a pending event could not be read");
            return Err(ended(
                deferred(Code::InternalError, "The event could not be read."),
                None,
                None,
            ));
        }
    };
    let shaped = match event(&record) {
        Some(event) => bus
            .shapers()
            .shape(&attempt.version, event.envelope, event.accepted_ms),
        None => {
            let failure = Failure::new(Code::StorageCorrupt, "The event's record makes no sense.");
            return Err(ended(Outcome::Refused(failure), None, None));
        }
    };
    match shaped {
        Ok(body) => Ok(Prepared { record, body }),
        Err(unshaped) => Err(ended(
            Outcome::Refused(unshaped.failure),
            Some(record),
            Some(unshaped.body),
        )),
    }
}

fn event(record: &[u8]) -> Option<Event<'_>> {
    Record::decode(record).ok()?.event().copied()
}

/// The idempotency key that an input was made with.
fn key(record: &[u8]) -> Option<&str> {
    let key = Record::decode(record).ok()?.idempotency_key();
    (!key.is_empty()).then_some(key)
}

/// Where an event first stood: what its ids are made from.
fn position(record: &[u8], attempt: &Attempt) -> Position {
    match Record::decode(record) {
        Ok(Record::DeadLetter(letter)) => letter.position,
        _ => Position::local(attempt.delivery.sequence),
    }
}

async fn send(bus: &Bus, client: &Client, attempt: Box<Attempt>) -> Attempted {
    let reading = {
        let (bus, attempt) = (bus.clone(), attempt.clone());
        tokio::task::spawn_blocking(move || prepare(&bus, &attempt)).await
    };
    let Ok(prepared) = reading else {
        let outcome = deferred(Code::InternalError, "internal failure");
        return Attempted {
            attempt,
            outcome,
            record: None,
            body: None,
        };
    };
    let Prepared { record, body } = match prepared {
        Ok(prepared) => prepared,
        Err(ended) => return ended,
    };
    let outcome = match &attempt.webhook {
        Some(document) if attempt.give_up.is_none() => {
            let webhook = match webhook(client, document) {
                Ok(webhook) => webhook,
                Err(outcome) => {
                    return Attempted {
                        attempt,
                        outcome,
                        record: Some(record),
                        body,
                    };
                }
            };
            let version = &attempt.version;
            let id = webhook_id(
                position(&record, &attempt),
                version.bus.as_str(),
                version.rule.as_str(),
                version.target.id.as_str(),
            );
            let event = event(&record).expect("prepared above");
            let input = body.as_deref().unwrap_or(event.envelope);
            let delivery = Delivery {
                webhook_id: &id,
                now_unix_ms: u64::try_from(bus.now().wall_ms).unwrap_or(0),
                body: Bytes::copy_from_slice(input),
                trace_header: Some(event.trace).filter(|trace| !trace.is_empty()),
                idempotency_key: key(&record),
            };
            targets::webhook::attempt(client, &webhook, &delivery).await
        }
        // A queue delivery that could be shaped; one that is given up is not asked for its outcome.
        _ => Outcome::Delivered,
    };
    Attempted {
        attempt,
        outcome,
        record: Some(record),
        body,
    }
}

/// A webhook's document, read for use. What was mistyped can be mended while deliveries wait, so a fault
/// is worth another try.
fn webhook(client: &Client, document: &Document) -> Result<Webhook, Outcome> {
    let url = client
        .egress()
        .check_url(&document.url)
        .map_err(|refusal| {
            deferred(
                Code::DestinationNotAllowed,
                &format!("{refusal}: {}", refusal.help()),
            )
        })?;
    let fault = |text: String| deferred(Code::InvalidParameter, &text);
    let mut headers = Vec::new();
    for (name, value) in &document.headers {
        headers
            .push(check_header(name, value).map_err(|e| fault(format!("header `{name}`: {e}")))?);
    }
    let secrets = match &document.secret {
        Some(text) => {
            let text = secret_text(text).map_err(fault)?;
            vec![Secret::parse(&text).map_err(|e| fault(format!("secret: {e}")))?]
        }
        None => Vec::new(),
    };
    let verb = if document.method.as_deref() == Some("PUT") {
        Verb::Put
    } else {
        Verb::Post
    };
    Ok(Webhook {
        url,
        verb,
        headers,
        secrets,
    })
}

/// A secret as it is written, or what the environment holds where it says `env:NAME`.
fn secret_text(written: &str) -> Result<String, String> {
    let Some(name) = written.strip_prefix(SECRET_OF_ENVIRONMENT) else {
        return Ok(written.to_owned());
    };
    std::env::var(name).map_err(|_| format!("secret: the environment has no text `{name}`"))
}

/// Writes log lines: one batch, one sync for each file, then the outcomes.
struct LogWriter {
    bus: Bus,
    logs: LogFiles,
    waiting: Receiver<Attempt>,
    under_way: Arc<AtomicUsize>,
}

impl LogWriter {
    fn run(mut self) {
        while let Ok(first) = self.waiting.recv() {
            let mut batch = vec![first];
            batch.extend(self.waiting.try_iter().take(LINES_MAX - 1));
            let count = batch.len();
            self.write(batch);
            self.under_way.fetch_sub(count, Ordering::Relaxed);
        }
    }

    fn write(&mut self, batch: Vec<Attempt>) {
        let mut by_log: BTreeMap<String, (Vec<Line>, Vec<Attempted>)> = BTreeMap::new();
        for attempt in batch {
            let Kind::Log(name) = &attempt.version.kind else {
                continue;
            };
            let (lines, written) = by_log.entry(name.as_str().to_owned()).or_default();
            // A panic in an attempt is a failed attempt (F35).
            let prepared = std::panic::catch_unwind(AssertUnwindSafe(|| {
                let prepared = prepare(&self.bus, &attempt)?;
                let line = line(&prepared.record, prepared.body.as_deref(), &attempt);
                Ok((prepared, line))
            }));
            let prepared = prepared.unwrap_or_else(|_| {
                Err(Attempted {
                    attempt: Box::new(attempt.clone()),
                    outcome: deferred(Code::InternalError, "internal failure"),
                    record: None,
                    body: None,
                })
            });
            match prepared {
                Err(ended) => self.bus.attempted(ended),
                Ok((Prepared { record, body }, line)) => {
                    lines.push(line);
                    written.push(Attempted {
                        attempt: Box::new(attempt),
                        outcome: Outcome::Delivered,
                        record: Some(record),
                        body,
                    });
                }
            }
        }
        for (name, (lines, written)) in by_log {
            let result = self.logs.append(&name, &lines);
            if let Err(error) = &result {
                tracing::error!(log = name, %error, "could not write a log");
            }
            for mut attempted in written {
                if let Err(error) = &result {
                    attempted.outcome = deferred(
                        Code::InternalError,
                        &format!("could not write the log: {error}"),
                    );
                }
                self.bus.attempted(attempted);
            }
        }
    }
}

fn line(record: &[u8], body: Option<&[u8]>, attempt: &Attempt) -> Line {
    let event = event(record).expect("prepared by the caller");
    let version = &attempt.version;
    targets::log::line(
        &format_millis(event.accepted_ms),
        event.id,
        version.rule.as_str(),
        version.target.id.as_str(),
        body.unwrap_or(event.envelope),
    )
}
