//! A steady load while the server dies and comes back, and the checker of what reached the targets.
//!
//! A [`Run`] puts events of unique numbers through keep-alive connections, `PutEvents` of ten, to a
//! rule with three targets: the queue `crash-q`, the log `crash-log`, and a webhook in this process.
//! It notes what was attempted and what was acknowledged; at the end it drains the targets and
//! compares (reliability-security.md, section 1):
//!
//! - I1: every acknowledged event reached all three targets;
//! - I2: nothing reached them that was not put, and details are as they were put;
//! - I3: what was never acknowledged is there wholly or not at all, and under one event id, also
//!   where the client tried again with the same `amz-sdk-invocation-id`;
//! - I4: a delivery is repeated only around a crash: its first attempt lies at most `window` before
//!   the crash (5 ms of lazily synced outcomes, and what this machine needs for a sync);
//!   a message whose deletion was answered never comes back.
//!
//! A power cut stops the disk, but the server lives on for some milliseconds until it is killed. A
//! real machine says nothing in that time, so what it says counts for nothing: see [`Power`].
//!
//! Start at [`Run::start`], then [`Run::crash`] as often as wanted, then [`Run::finish`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Answer, Connection, Options, Receiver, Server, sqs};

/// Entries of one put: the most that `PutEvents` takes.
const ENTRIES: u64 = 10;
/// How long a message that was received stays hidden; also the longest that a drain waits for one
/// that was in flight when the server died.
const VISIBILITY_SECONDS: u64 = 5;
/// How often the log file's length is noted, to tell which lines were there before a crash.
const SAMPLE: Duration = Duration::from_millis(20);

/// What kind of load, and how strict the check.
#[derive(Clone)]
pub struct Plan {
    /// Events per second over all producers.
    pub rate: u64,
    /// Threads that put; every second one retries a put whose answer it never saw.
    pub producers: u64,
    /// Receive and delete from the queue while the load runs, or only when draining.
    pub consume: bool,
    /// How long before a crash a delivery may have been made that is made again after it.
    pub window: Duration,
    /// Longest drain.
    pub drain: Duration,
    /// A drain in which nothing arrives for so long has ended, whatever is missing.
    pub idle: Duration,
}

/// What came of a run.
pub struct Report {
    /// Broken promises; empty when all is well. Those of lost events begin `lost: `.
    pub faults: Vec<String>,
    /// Events whose put was answered with an id.
    pub acked: usize,
    /// Events of puts that were sent at all.
    pub attempted: usize,
    /// Deliveries that came again, by target. Allowed only around a crash.
    pub repeated: BTreeMap<&'static str, usize>,
    /// Crashes that the run went through.
    pub crashes: usize,
    /// Time under load, without the drain.
    pub loaded: Duration,
}

impl Report {
    /// One line for people.
    pub fn line(&self) -> String {
        let rate = self.acked as f64 / self.loaded.as_secs_f64().max(0.001);
        format!(
            "{} crashes, {} events acknowledged of {} attempted ({rate:.0}/s), repeated deliveries {:?}, {} faults",
            self.crashes,
            self.acked,
            self.attempted,
            self.repeated,
            self.faults.len()
        )
    }

    /// The faults for people: of each kind how many, and the first few.
    pub fn told(&self) -> String {
        let mut kinds: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for fault in &self.faults {
            kinds
                .entry(fault.split(':').next().unwrap_or_default())
                .or_default()
                .push(fault);
        }
        let mut told = self.line();
        for (kind, faults) in kinds {
            told.push_str(&format!("\n{} × {kind}", faults.len()));
            for fault in faults.iter().take(3) {
                told.push_str(&format!("\n    {fault}"));
            }
        }
        told
    }
}

/// The time between the last moment at which all was well and the first at which the server was gone.
#[derive(Clone, Copy)]
struct Crash {
    begin: Instant,
    end: Instant,
    /// Bytes of whole lines that the log was left with. A power cut takes what was not synced, or
    /// leaves zeros in its place; the server goes on behind the last whole line.
    log: u64,
}

/// When the power was off. Clones share it.
///
/// The shutdown of a file system cuts the power of the disk alone: the server lives on, and the
/// disk lies to it. An `fdatasync` under way at the shutdown may return success for bytes that are
/// lost: the aborted journal of ext4 does not mark the fresh blocks as written, and nobody is told.
/// (Linux 6.18, four writers, 150 shutdowns: 121 syncs returned success after a shutdown had begun,
/// 83 of their blocks were lost; of 29 461 that returned before, none.)
///
/// A real machine says nothing from that moment on. So, until the server is back, an answer to a put
/// counts as never seen, and a webhook as neither received nor answered.
#[derive(Clone, Default)]
pub struct Power(Arc<Mutex<Vec<Dark>>>);

/// One time without power; it has no end while it lasts.
struct Dark {
    begin: Instant,
    end: Option<Instant>,
}

impl Power {
    /// To be called right before the cut: an answer given ahead of its sync shows only where the cut
    /// follows within that sync, so the time between the two is one in which the test is blind.
    pub fn off(&self) {
        let mut darks = lock(&self.0);
        // Under the lock: an answer later than `begin` then always finds it when it asks.
        let begin = Instant::now();
        darks.push(Dark { begin, end: None });
    }

    /// Back on, if it was off.
    fn on(&self) {
        if let Some(last) = lock(&self.0).last_mut() {
            last.end.get_or_insert_with(Instant::now);
        }
    }

    /// Was it off at any moment between these two?
    fn was_off(&self, from: Instant, to: Instant) -> bool {
        lock(&self.0)
            .iter()
            .any(|dark| dark.begin <= to && dark.end.is_none_or(|end| from <= end))
    }
}

/// An answer that gave an event its id.
struct Acked {
    id: String,
    at: Instant,
}

/// One arrival at a target.
#[derive(Clone)]
struct Seen {
    number: String,
    event_id: String,
    /// Message id or webhook id; empty for the log.
    delivery: String,
    /// When it arrived; for the log, the place of its line in the file.
    at: When,
}

#[derive(Clone, Copy)]
enum When {
    Time(Instant),
    Place(u64),
}

/// What the threads share.
struct Ledger {
    run: String,
    power: Power,
    /// Where the server is; none while it is down.
    address: Mutex<Option<SocketAddr>>,
    stop_puts: AtomicBool,
    stop_all: AtomicBool,
    consume: AtomicBool,
    sequence: AtomicU64,
    /// Numbers of events that a put was sent for.
    attempted: Mutex<BTreeSet<String>>,
    /// By number of the event.
    acked: Mutex<HashMap<String, Acked>>,
    queue: Mutex<Vec<Seen>>,
    /// When a deletion was answered, by message id.
    deleted: Mutex<HashMap<String, Instant>>,
    samples: Mutex<Vec<(Instant, u64)>>,
    faults: Mutex<Vec<String>>,
}

/// A server under load.
pub struct Run {
    /// The server; its address changes with each crash.
    pub server: Server,
    plan: Plan,
    ledger: Arc<Ledger>,
    receiver: Receiver,
    producers: Vec<JoinHandle<()>>,
    others: Vec<JoinHandle<()>>,
    crashes: Vec<Crash>,
    begin: Instant,
    log: PathBuf,
}

impl Run {
    /// Starts a server with the rule and its three targets, and the load on it.
    #[track_caller]
    pub fn start(options: &Options, plan: Plan) -> Run {
        let power = Power::default();
        let of_receiver = power.clone();
        let receiver = Receiver::start(move |_, request| {
            let off = of_receiver.was_off(request.at, Instant::now());
            Answer::status(if off { 503 } else { 200 })
        });
        let rule = json!({
            "Name": "crash",
            "EventPattern": {"source": ["demo.crash"]},
            "Targets": [
                {"Id": "q", "Queue": {"Name": "crash-q"}},
                {"Id": "l", "Log": {"Name": "crash-log"}},
                {"Id": "w", "Webhook": {"Url": receiver.url()}},
            ],
        });
        let mut options = options.clone();
        options
            .rules
            .push((String::from("crash.json"), rule.to_string()));
        let server = Server::start(&options);
        let log = server.data.join("logs/crash-log.jsonl");
        let ledger = Arc::new(Ledger {
            run: format!("{:08x}", fastrand::u32(..)),
            power,
            address: Mutex::new(Some(server.api)),
            stop_puts: AtomicBool::new(false),
            stop_all: AtomicBool::new(false),
            consume: AtomicBool::new(plan.consume),
            sequence: AtomicU64::new(0),
            attempted: Mutex::default(),
            acked: Mutex::default(),
            queue: Mutex::default(),
            deleted: Mutex::default(),
            samples: Mutex::default(),
            faults: Mutex::default(),
        });
        let producers = (0..plan.producers)
            .map(|place| {
                let (ledger, plan) = (Arc::clone(&ledger), plan.clone());
                thread::spawn(move || produce(&ledger, &plan, place % 2 == 1))
            })
            .collect();
        let consumer = Arc::clone(&ledger);
        let sampler = (Arc::clone(&ledger), log.clone());
        let others = vec![
            thread::spawn(move || consume(&consumer)),
            thread::spawn(move || sample(&sampler.0, &sampler.1)),
        ];
        Run {
            server,
            plan,
            ledger,
            receiver,
            producers,
            others,
            crashes: Vec::new(),
            begin: Instant::now(),
            log,
        }
    }

    /// Events acknowledged so far.
    pub fn acked(&self) -> usize {
        lock(&self.ledger.acked).len()
    }

    /// The power of the machine, for a `how` that cuts it. [`Run::crash`] puts it on again.
    pub fn power(&self) -> Power {
        assert!(!self.plan.consume, "a receive in the dark would count");
        self.ledger.power.clone()
    }

    /// Lets the load run for `time`, ends the server by `how`, and starts it again.
    ///
    /// # Errors
    /// The text of a server that does not come up again.
    pub fn crash(&mut self, time: Duration, how: impl FnOnce(&mut Server)) -> Result<(), String> {
        thread::sleep(time);
        let begin = Instant::now();
        note_length(&self.ledger, &self.log);
        how(&mut self.server);
        note_length(&self.ledger, &self.log);
        *lock(&self.ledger.address) = None;
        let left = fs::read(&self.log).unwrap_or_default();
        let lines = left.iter().rposition(|byte| *byte == b'\n');
        self.crashes.push(Crash {
            begin,
            end: Instant::now(),
            log: lines.map_or(0, |place| place as u64 + 1),
        });
        self.server.restart()?;
        self.ledger.power.on();
        *lock(&self.ledger.address) = Some(self.server.api);
        Ok(())
    }

    /// Ends the load, drains the three targets, and checks.
    pub fn finish(mut self) -> Report {
        let loaded = self.begin.elapsed();
        self.ledger.stop_puts.store(true, Ordering::SeqCst);
        for producer in self.producers.drain(..) {
            producer.join().expect("a producer does not panic");
        }
        self.ledger.consume.store(true, Ordering::SeqCst);
        let (log, webhook) = self.drain();
        self.ledger.stop_all.store(true, Ordering::SeqCst);
        for other in self.others.drain(..) {
            other.join().expect("consumer and sampler do not panic");
        }
        let queue = lock(&self.ledger.queue).clone();
        let mut report = Report {
            faults: lock(&self.ledger.faults).clone(),
            acked: self.acked(),
            attempted: lock(&self.ledger.attempted).len(),
            repeated: BTreeMap::new(),
            crashes: self.crashes.len(),
            loaded,
        };
        self.check_sets(
            &mut report,
            &[("queue", &queue), ("log", &log), ("webhook", &webhook)],
        );
        self.check_queue(&mut report, &queue);
        self.check_log(&mut report, &log);
        self.check_webhook(&mut report, &webhook);
        report
    }

    /// Waits until the targets hold the same events and all that were acknowledged, or the bound.
    fn drain(&self) -> (Vec<Seen>, Vec<Seen>) {
        let acked: BTreeSet<String> = lock(&self.ledger.acked).keys().cloned().collect();
        let (mut log, mut log_end, mut webhook, mut requests) = (Vec::new(), 0, Vec::new(), 0);
        let begin = Instant::now();
        let (mut last, mut last_change) = (0, Instant::now());
        loop {
            self.read_log(&mut log, &mut log_end);
            for request in self.receiver.since(requests) {
                requests += 1;
                if self.ledger.power.was_off(request.at, request.at) {
                    continue;
                }
                let delivery = request.header("webhook-id").unwrap_or_default().to_string();
                webhook.extend(self.ledger.seen(
                    "webhook",
                    &request.body,
                    &delivery,
                    When::Time(request.at),
                ));
            }
            let queue = numbers(&lock(&self.ledger.queue));
            let (in_log, in_webhook) = (numbers(&log), numbers(&webhook));
            if queue == in_log && in_log == in_webhook && acked.is_subset(&queue) {
                break;
            }
            let now = queue.len() + log.len() + webhook.len();
            if now != last {
                (last, last_change) = (now, Instant::now());
            }
            if self.plan.drain < begin.elapsed() || self.plan.idle < last_change.elapsed() {
                break;
            }
            thread::sleep(Duration::from_millis(200));
        }
        (log, webhook)
    }

    /// Reads the whole lines of the log file from `end` on.
    fn read_log(&self, log: &mut Vec<Seen>, end: &mut u64) {
        let Ok(mut file) = fs::File::open(&self.log) else {
            return;
        };
        let mut bytes = Vec::new();
        if file.seek(SeekFrom::Start(*end)).is_err() || file.read_to_end(&mut bytes).is_err() {
            return;
        }
        let mut place = 0;
        while let Some(length) = bytes[place..].iter().position(|byte| *byte == b'\n') {
            let line = &bytes[place..place + length];
            log.extend(
                self.ledger
                    .seen("log", line, "", When::Place(*end + place as u64)),
            );
            place += length + 1;
        }
        *end += place as u64;
    }

    /// I1, I2 (numbers), I3.
    fn check_sets(&self, report: &mut Report, targets: &[(&'static str, &[Seen])]) {
        let acked = lock(&self.ledger.acked);
        let attempted = lock(&self.ledger.attempted);
        let sets: Vec<(&str, BTreeSet<String>)> = targets
            .iter()
            .map(|(target, seen)| (*target, numbers(seen)))
            .collect();
        for (target, set) in &sets {
            let lost = acked.iter().filter(|(number, _)| !set.contains(*number));
            let lost: Vec<_> = lost
                .map(|(number, one)| (self.to_crash_ms(one.at), number))
                .collect();
            // The clearest case: the one that had the longest time to become durable.
            if let Some((time, number)) = lost.iter().max_by(|a, b| a.0.total_cmp(&b.0)) {
                report.faults.push(format!(
                    "lost: {} acknowledged events never reached the {target}, one is {number}, answered {time:.1} ms before a crash began",
                    lost.len()
                ));
            }
            for number in set.difference(&attempted).take(3) {
                report.faults.push(format!(
                    "invented: the {target} got {number}, which nobody put"
                ));
            }
        }
        for number in attempted
            .iter()
            .filter(|number| !acked.contains_key(*number))
        {
            let places: Vec<&str> = sets
                .iter()
                .filter(|(_, set)| set.contains(number))
                .map(|(target, _)| *target)
                .collect();
            if !places.is_empty() && places.len() < sets.len() {
                report.faults.push(format!(
                    "half there: {number} was not acknowledged and reached only {places:?}"
                ));
            }
        }
        let mut ids: HashMap<&str, &str> = HashMap::new();
        for (target, seen) in targets
            .iter()
            .flat_map(|(target, seen)| seen.iter().map(move |one| (target, one)))
        {
            let first = ids.entry(&seen.number).or_insert(&seen.event_id);
            if *first != seen.event_id {
                report.faults.push(format!(
                    "stored twice: {} came as {first} and {}",
                    seen.number, seen.event_id
                ));
            }
            if acked
                .get(&seen.number)
                .is_some_and(|one| one.id != seen.event_id)
            {
                report.faults.push(format!(
                    "another id: {} was acknowledged under another id than the {target} got",
                    seen.number
                ));
            }
        }
    }

    /// Milliseconds from `at` to the begin of the first crash that was not over by then; infinite if
    /// none came. Negative where the crash had begun.
    fn to_crash_ms(&self, at: Instant) -> f64 {
        let crash = self.crashes.iter().find(|crash| at <= crash.end);
        crash.map_or(f64::INFINITY, |crash| {
            let before = crash.begin.saturating_duration_since(at).as_secs_f64();
            let after = at.saturating_duration_since(crash.begin).as_secs_f64();
            (before - after) * 1e3
        })
    }

    /// I4 for the queue: one message for each event, and received again only when its time was over.
    fn check_queue(&self, report: &mut Report, queue: &[Seen]) {
        for (number, seen) in by_number(queue) {
            let messages: BTreeSet<&str> = seen.iter().map(|one| one.delivery.as_str()).collect();
            if 1 < messages.len() {
                report.faults.push(format!(
                    "doubled: {number} lies in the queue as {} messages",
                    messages.len()
                ));
            }
            for pair in seen.windows(2) {
                *report.repeated.entry("queue").or_default() += 1;
                let (When::Time(first), When::Time(second)) = (pair[0].at, pair[1].at) else {
                    continue;
                };
                let over = Duration::from_secs(VISIBILITY_SECONDS)
                    <= second.saturating_duration_since(first);
                if !over && !self.around_a_crash(first, second, Duration::MAX) {
                    report.faults.push(format!(
                        "too early: {number} was received again while in flight"
                    ));
                }
            }
        }
    }

    /// I4 for the log: a doubled line's first copy was among the last before a crash, its second after.
    fn check_log(&self, report: &mut Report, log: &[Seen]) {
        let samples = lock(&self.ledger.samples).clone();
        // Length of the file at the last sample at or before a moment.
        let length_at = |moment: Instant| {
            let after = samples.partition_point(|(at, _)| *at <= moment);
            after.checked_sub(1).map_or(0, |place| samples[place].1)
        };
        for (number, seen) in by_number(log) {
            for pair in seen.windows(2) {
                *report.repeated.entry("log").or_default() += 1;
                let (When::Place(first), When::Place(second)) = (pair[0].at, pair[1].at) else {
                    continue;
                };
                let allowed = self.crashes.iter().any(|crash| {
                    let from = crash
                        .begin
                        .checked_sub(self.plan.window)
                        .unwrap_or(crash.begin);
                    let last = samples
                        .iter()
                        .filter(|(at, _)| crash.begin <= *at && *at <= crash.end);
                    let end = last.map(|(_, length)| *length).max().unwrap_or(u64::MAX);
                    let start = length_at(crash.begin).min(crash.log);
                    length_at(from) <= first && first < end && start <= second
                });
                if !allowed {
                    report.faults.push(format!(
                        "repeated: the log has {number} twice, and no crash explains it"
                    ));
                }
            }
        }
    }

    /// I4 for the webhook: attempts of a delivery carry one id, and repeat only around a crash.
    fn check_webhook(&self, report: &mut Report, webhook: &[Seen]) {
        for (number, seen) in by_number(webhook) {
            let ids: BTreeSet<&str> = seen.iter().map(|one| one.delivery.as_str()).collect();
            if 1 < ids.len() {
                report.faults.push(format!(
                    "another id: the webhook got {number} under {} ids",
                    ids.len()
                ));
            }
            for pair in seen.windows(2) {
                *report.repeated.entry("webhook").or_default() += 1;
                let (When::Time(first), When::Time(second)) = (pair[0].at, pair[1].at) else {
                    continue;
                };
                if !self.around_a_crash(first, second, self.plan.window) {
                    report.faults.push(format!(
                        "repeated: the webhook got {number} twice, and no crash explains it"
                    ));
                }
            }
        }
    }

    /// Is there a crash with `first` at most `window` before it and `second` after its begin?
    fn around_a_crash(&self, first: Instant, second: Instant, window: Duration) -> bool {
        self.crashes.iter().any(|crash| {
            // Bytes that were in the socket when the server died are read a moment later.
            let near = crash.begin.saturating_duration_since(first) <= window;
            near && first <= crash.end + self.plan.window.min(Duration::from_secs(1))
                && crash.begin <= second
        })
    }
}

impl Ledger {
    /// Reads one arrival, and holds its content against what was put (I2).
    fn seen(&self, target: &str, body: &[u8], delivery: &str, at: When) -> Option<Seen> {
        let envelope = serde_json::from_slice::<Value>(body)
            .ok()
            .and_then(|value| envelope(&value));
        let Some(envelope) = envelope else {
            let text = String::from_utf8_lossy(body).into_owned();
            lock(&self.faults).push(format!(
                "damaged: the {target} got what is no envelope: {text}"
            ));
            return None;
        };
        let number = envelope["detail"]["n"]
            .as_str()
            .unwrap_or_default()
            .to_string();
        let expected = serde_json::from_str::<Value>(&detail(&number)).ok();
        if expected.as_ref() != Some(&envelope["detail"]) || envelope["source"] != "demo.crash" {
            lock(&self.faults).push(format!(
                "changed: the {target} got another event than was put: {envelope}"
            ));
        }
        let event_id = envelope["id"].as_str().unwrap_or_default().to_string();
        Some(Seen {
            number,
            event_id,
            delivery: delivery.to_string(),
            at,
        })
    }
}

/// The envelope, whether it is the value itself, a member of it, or JSON in a string.
fn envelope(value: &Value) -> Option<Value> {
    match value {
        Value::Object(members) if members.contains_key("detail-type") => Some(value.clone()),
        Value::Object(members) => members.values().find_map(envelope),
        Value::String(text) if text.contains("detail-type") => serde_json::from_str::<Value>(text)
            .ok()
            .and_then(|inner| envelope(&inner)),
        _ => None,
    }
}

/// The detail of an event follows from its number, so that any change of it is seen.
fn detail(number: &str) -> String {
    let pad = number.repeat(200 / number.len().max(1));
    format!("{{\"n\":\"{number}\",\"price\":12.50,\"pad\":\"{pad}\"}}")
}

fn produce(ledger: &Ledger, plan: &Plan, retries: bool) {
    let pause = Duration::from_secs_f64((plan.producers * ENTRIES) as f64 / plan.rate as f64);
    let mut next = Instant::now();
    let mut connection: Option<(SocketAddr, Connection)> = None;
    while !ledger.stop_puts.load(Ordering::SeqCst) {
        // Behind time: go on from now. A burst to catch up would be another load than was asked for.
        next = next.max(Instant::now());
        thread::sleep(next.saturating_duration_since(Instant::now()));
        next += pause;
        if lock(&ledger.address).is_none() && connection.is_none() {
            continue;
        }
        let numbers: Vec<String> = (0..ENTRIES)
            .map(|_| {
                format!(
                    "{}-{}",
                    ledger.run,
                    ledger.sequence.fetch_add(1, Ordering::SeqCst)
                )
            })
            .collect();
        let entries: Vec<Value> = numbers
            .iter()
            .map(|number| json!({"Source": "demo.crash", "DetailType": "Crash", "Detail": detail(number)}))
            .collect();
        let body = json!({"Entries": entries}).to_string();
        let (high, low) = (fastrand::u64(..), fastrand::u64(..));
        let invocation = format!(
            "{:08x}-{:04x}-4000-8000-{:012x}",
            high >> 32,
            high & 0xffff,
            low >> 16
        );
        lock(&ledger.attempted).extend(numbers.iter().cloned());
        // A put whose answer was lost: tried again with the same id, for 10 s at most, or left unknown.
        let begin = Instant::now();
        while !put(ledger, &mut connection, &invocation, &body, &numbers) {
            if !retries || Duration::from_secs(10) < begin.elapsed() {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// One put. True when it was answered, whatever the answer.
fn put(
    ledger: &Ledger,
    connection: &mut Option<(SocketAddr, Connection)>,
    invocation: &str,
    body: &str,
    numbers: &[String],
) -> bool {
    let Some(address) = *lock(&ledger.address) else {
        *connection = None;
        return false;
    };
    if connection.as_ref().is_none_or(|(open, _)| *open != address) {
        *connection = Connection::open(address).ok().map(|open| (address, open));
    }
    let Some((_, open)) = connection else {
        return false;
    };
    let headers = [
        ("Content-Type", "application/x-amz-json-1.1"),
        ("X-Amz-Target", "AWSEvents.PutEvents"),
        ("amz-sdk-invocation-id", invocation),
    ];
    let sent = Instant::now();
    let Ok(response) = open.request("POST", "/", &headers, body.as_bytes()) else {
        *connection = None;
        return false;
    };
    let at = Instant::now();
    if ledger.power.was_off(sent, at) {
        return false;
    }
    match response.status {
        200 => {}
        // Not stored, or not known to be: as good as no answer.
        503 => return false,
        status => {
            lock(&ledger.faults).push(format!(
                "refused: a put of the load got {status}: {}",
                response.text()
            ));
            return true;
        }
    }
    let answer = response.json();
    let results = answer["Entries"].as_array().cloned().unwrap_or_default();
    if results.len() != numbers.len() {
        lock(&ledger.faults).push(format!(
            "refused: {} answers to {} entries",
            results.len(),
            numbers.len()
        ));
    }
    for (number, result) in numbers.iter().zip(&results) {
        match result["EventId"].as_str() {
            Some(id) => {
                let id = id.to_string();
                lock(&ledger.acked).insert(number.clone(), Acked { id, at });
            }
            None => {
                lock(&ledger.faults).push(format!("refused: an entry of the load got {result}"))
            }
        }
    }
    true
}

/// Receives and deletes, as long as it is told to.
fn consume(ledger: &Ledger) {
    while !ledger.stop_all.load(Ordering::SeqCst) {
        let address = *lock(&ledger.address);
        let (Some(address), true) = (address, ledger.consume.load(Ordering::SeqCst)) else {
            thread::sleep(Duration::from_millis(10));
            continue;
        };
        if receive(ledger, address).is_none() {
            // The server is down, or on its way.
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn receive(ledger: &Ledger, address: SocketAddr) -> Option<()> {
    let url = "/000000000000/crash-q";
    let begin = Instant::now();
    let body = json!({"QueueUrl": url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 1, "VisibilityTimeout": VISIBILITY_SECONDS});
    let response = sqs(address, "ReceiveMessage", &body.to_string()).ok()?;
    if response.status != 200 {
        return None;
    }
    let answer = response.json();
    let messages = answer["Messages"].as_array().cloned().unwrap_or_default();
    let mut entries = Vec::new();
    for (place, message) in messages.iter().enumerate() {
        let id = message["MessageId"]
            .as_str()
            .unwrap_or_default()
            .to_string();
        if lock(&ledger.deleted)
            .get(&id)
            .is_some_and(|at| *at <= begin)
        {
            lock(&ledger.faults).push(format!(
                "back again: message {id} was received after its deletion was answered"
            ));
        }
        let body = message["Body"].as_str().unwrap_or_default();
        let seen = ledger.seen("queue", body.as_bytes(), &id, When::Time(Instant::now()));
        lock(&ledger.queue).extend(seen);
        entries.push(json!({"Id": place.to_string(), "ReceiptHandle": message["ReceiptHandle"]}));
    }
    if entries.is_empty() {
        return Some(());
    }
    let body = json!({"QueueUrl": url, "Entries": entries});
    let response = sqs(address, "DeleteMessageBatch", &body.to_string()).ok()?;
    if response.status != 200 {
        return None;
    }
    let now = Instant::now();
    for done in response.json()["Successful"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let place = done["Id"].as_str().and_then(|id| id.parse::<usize>().ok());
        let id = place
            .and_then(|place| messages.get(place))
            .and_then(|message| message["MessageId"].as_str());
        if let Some(id) = id {
            lock(&ledger.deleted).insert(id.to_string(), now);
        }
    }
    Some(())
}

fn sample(ledger: &Ledger, log: &Path) {
    while !ledger.stop_all.load(Ordering::SeqCst) {
        note_length(ledger, log);
        thread::sleep(SAMPLE);
    }
}

fn note_length(ledger: &Ledger, log: &Path) {
    let length = fs::metadata(log).map_or(0, |metadata| metadata.len());
    let mut samples = lock(&ledger.samples);
    samples.push((Instant::now(), length));
}

fn numbers(seen: &[Seen]) -> BTreeSet<String> {
    seen.iter().map(|one| one.number.clone()).collect()
}

/// Arrivals of each event, in the order in which they came.
fn by_number(seen: &[Seen]) -> BTreeMap<&str, Vec<&Seen>> {
    let mut map: BTreeMap<&str, Vec<&Seen>> = BTreeMap::new();
    for one in seen {
        map.entry(&one.number).or_default().push(one);
    }
    map
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
