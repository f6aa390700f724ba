//! Live tails: what is put on a bus, as it is put, in the form of server-sent events.
//!
//! A tail is a reader of the journal behind the synced position, in a task of its own: intake knows no
//! tails, and a slow client slows nobody but its own tail. One that falls too far behind skips to the end
//! and says how much it has not seen.
//!
//! Start at [`follow`].

use crate::bus::{Bus, Unavailable};
use crate::router::Routing;
use bus_core::envelope::{format_millis, write_string};
use bus_core::position::Position;
use bus_core::record::{Event, Record};
use bytes::Bytes;
use journal::{Journal as _, ReadError, Reader, SegmentInfo, Sequence};
use rule_engine::pattern::Pattern;
use rule_engine::rule_set::RuleSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Tails at one time: each reads the whole journal.
pub const TAILS_MAX: u64 = 100;
/// Pause between two looks at a journal that had nothing new.
const POLL: Duration = Duration::from_millis(50);
/// Silence after which a comment shows both sides that the connection is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Bodies of one read. With what waits in the channel a tail holds three times this at most.
const READ_BYTES: usize = 256 * 1024;
/// A tail that is farther behind than this skips. Source: design.md 5.
const BEHIND_BYTES_MAX: u64 = 64 << 20;
/// Parts that wait for a client.
pub const PARTS_MAX: usize = 1;

/// What is to be followed.
pub struct Tail {
    bus: Bus,
    name: Arc<str>,
    wanted: Option<Arc<RuleSet<u8>>>,
    next: Sequence,
}

impl Tail {
    /// Everything that is put on the bus `name` from now on, if it matches `pattern`.
    ///
    /// # Errors
    /// [`Unavailable`] if the core has ended.
    pub async fn new(
        bus: &Bus,
        name: &str,
        pattern: Option<&Pattern>,
    ) -> Result<Self, Unavailable> {
        let next = bus.look(|_, appender| appender.journal.next()).await?;
        Ok(Self {
            bus: bus.clone(),
            name: name.into(),
            wanted: pattern.map(|pattern| {
                let mut set = RuleSet::new();
                set.add(0, pattern);
                Arc::new(set)
            }),
            next,
        })
    }
}

/// Follows until the other end of `parts` is dropped or the server stops.
pub async fn follow(mut tail: Tail, parts: mpsc::Sender<Bytes>) {
    if parts.send(Bytes::from_static(b": tail\n\n")).await.is_err() {
        return;
    }
    let mut last_sent = Instant::now();
    loop {
        let Some(mut read) = tail.read().await else {
            return;
        };
        if read.full {
            match tail.skip().await {
                Ok(skipped) => read.text.extend(skipped),
                Err(Unavailable) => return,
            }
        }
        if read.text.is_empty() && KEEP_ALIVE <= last_sent.elapsed() {
            read.text.extend_from_slice(b": keep-alive\n\n");
        }
        if !read.text.is_empty() {
            if parts.send(read.text.into()).await.is_err() {
                return;
            }
            last_sent = Instant::now();
        }
        if !read.full {
            tokio::select! {
                () = tokio::time::sleep(POLL) => {}
                () = parts.closed() => return,
            }
        }
    }
}

/// What one read of the journal gave.
#[derive(Default)]
struct Read {
    next: Sequence,
    text: Vec<u8>,
    /// There is probably more.
    full: bool,
}

impl Tail {
    async fn read(&mut self) -> Option<Read> {
        let (reader, next) = (self.bus.reader(), self.next);
        let (name, wanted) = (Arc::clone(&self.name), self.wanted.clone());
        let (_, routing) = self.bus.routing();
        let reading = tokio::task::spawn_blocking(move || {
            read(&reader, next, &name, wanted.as_deref(), &routing)
        });
        let read = match reading.await.expect("reading does not panic") {
            Ok(read) => read,
            Err(ReadError::Damaged { file, offset }) => {
                tracing::error!(file, offset, "a tail met a damaged record");
                Read {
                    next: next + 1,
                    text: skipped(next, next + 1),
                    full: true,
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a tail could not read the journal");
                return None;
            }
        };
        self.next = read.next;
        Some(read)
    }

    /// Goes to the end of the journal if that is too far away; what it has to tell then.
    async fn skip(&mut self) -> Result<Vec<u8>, Unavailable> {
        let (end, segments) = self
            .bus
            .look(|_, appender| (appender.journal.next(), appender.journal.segments()))
            .await?;
        if bytes_from(&segments, self.next) <= BEHIND_BYTES_MAX {
            return Ok(Vec::new());
        }
        let text = skipped(self.next, end);
        self.next = end;
        Ok(text)
    }
}

/// About how many bytes lie behind `next`: whole segments, and of the one it lies in the share of its
/// records.
fn bytes_from(segments: &[SegmentInfo], next: Sequence) -> u64 {
    let behind = segments
        .iter()
        .filter(|s| s.first <= s.last && next <= s.last);
    behind
        .map(|s| {
            let (all, left) = (s.last - s.first + 1, s.last - next.max(s.first) + 1);
            u64::try_from(u128::from(s.bytes) * u128::from(left) / u128::from(all))
                .expect("a part of the bytes")
        })
        .sum()
}

fn skipped(from: Sequence, to: Sequence) -> Vec<u8> {
    format!(
        "event: skipped\ndata: {{\"skipped\":{},\"from\":\"{}\",\"to\":\"{}\"}}\n\n",
        to - from,
        Position::local(from),
        Position::local(to - 1)
    )
    .into_bytes()
}

fn read(
    reader: &Reader,
    from: Sequence,
    bus: &str,
    wanted: Option<&RuleSet<u8>>,
    routing: &Routing,
) -> Result<Read, ReadError> {
    let mut read = Read {
        next: from,
        ..Read::default()
    };
    let mut bytes = 0;
    let mut matched = Vec::new();
    for (sequence, _, body) in reader.scan(from, READ_BYTES)? {
        read.next = sequence + 1;
        bytes += body.len();
        let Ok(Record::Event { event, .. }) = Record::decode(&body) else {
            continue;
        };
        if event.bus != bus {
            continue;
        }
        if let Some(wanted) = wanted {
            matched.clear();
            wanted.matches(event.envelope, &mut matched);
            if matched.is_empty() {
                continue;
            }
        }
        tell(&mut read.text, sequence, &event, routing);
    }
    read.full = READ_BYTES <= bytes;
    Ok(read)
}

fn tell(out: &mut Vec<u8>, sequence: Sequence, event: &Event<'_>, routing: &Routing) {
    out.extend_from_slice(b"data: {\"position\":\"");
    out.extend_from_slice(Position::local(sequence).to_string().as_bytes());
    out.extend_from_slice(b"\",\"accepted\":\"");
    out.extend_from_slice(format_millis(event.accepted_ms).as_bytes());
    out.extend_from_slice(b"\",\"rules\":[");
    for (n, rule) in routing
        .matching(event.bus, event.envelope)
        .iter()
        .enumerate()
    {
        if n > 0 {
            out.push(b',');
        }
        write_string(out, rule.as_str());
    }
    out.extend_from_slice(b"],\"envelope\":");
    for byte in event.envelope {
        // A producer's line breaks stay between the values of `detail`, and would end a line here.
        match byte {
            b'\n' | b'\r' => out.extend_from_slice(b"\ndata: "),
            byte => out.push(*byte),
        }
    }
    out.extend_from_slice(b"}\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(first: u64, last: u64, bytes: u64) -> SegmentInfo {
        SegmentInfo {
            id: journal::SegmentId(first),
            first,
            last,
            bytes,
            sealed: true,
            wall_ms: 0,
        }
    }

    #[test]
    fn how_far_a_tail_is_behind_is_counted_in_bytes() {
        let segments = [segment(1, 100, 1_000), segment(101, 200, 4_000)];
        assert_eq!(bytes_from(&segments, 201), 0);
        assert_eq!(bytes_from(&segments, 101), 4_000);
        assert_eq!(bytes_from(&segments, 51), 4_500);
        assert_eq!(bytes_from(&[segment(201, 200, 16)], 201), 0);
    }

    #[test]
    fn a_line_break_in_an_event_ends_no_line() {
        let event = Event {
            accepted_ms: 0,
            id: "1",
            bus: "default",
            trace: "",
            envelope: b"{\"detail\":{\n\"a\":1}}",
        };
        let mut out = Vec::new();
        tell(&mut out, 7, &event, &Routing::default());
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "data: {\"position\":\"0-7\",\"accepted\":\"1970-01-01T00:00:00.000Z\",\"rules\":[],\
             \"envelope\":{\"detail\":{\ndata: \"a\":1}}}\n\n"
        );
    }

    #[test]
    fn what_was_skipped_is_told_with_its_ends() {
        assert_eq!(
            String::from_utf8(skipped(3, 8)).unwrap(),
            "event: skipped\ndata: {\"skipped\":5,\"from\":\"0-3\",\"to\":\"0-7\"}\n\n"
        );
    }
}
