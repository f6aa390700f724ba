//! The world around the core: producers, targets, consumers, operators, disk and clock, all played.

use bus_core::codec::DecodeError;
use bus_core::core::{
    Answer, Attempt, Attempted, Control, Core, Decided, Effect, Handle, Input, Receive, Settings,
};
use bus_core::document::{
    Kind, Origin, Rule, RuleState, Schedule, Target, Tick, Webhook, internal_arn,
};
use bus_core::name::{BusName, Home, QueueName, RuleName, TargetId};
use bus_core::outcome::{Code, Failure, Outcome};
use bus_core::record::{Event, Record, event_key};
use bus_core::state::{Annex, Now, State};
use journal::disk::Disk;
use journal::file::Options;
use journal::sim::SimDisk;
use journal::{Journal, Work};
use server::store::{Appender, read_back, to_journal};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};

const QUEUE: &str = "orders";
const DLQ: &str = "busbar-dead-letters";
/// Where an event has to arrive. What a decision about it makes goes to the last.
const TARGETS: [&str; 4] = ["queue", "hook", "log", "made"];
/// What a put owes: the third target is the bus itself, which decides.
const OWED: [&str; 4] = ["queue", "hook", "decision", "log"];

/// What became of one event at one target, as the outside saw it.
type Seen = BTreeMap<(String, &'static str), u32>;

pub struct World {
    random: fastrand::Rng,
    disk: SimDisk,
    now: Now,
    core: Core,
    appender: Appender,
    work: Vec<Work>,
    attempts: Vec<Attempt>,
    /// Decisions on their way to the core; who asked may have stopped waiting.
    on_the_way: Vec<Input>,
    /// Requests that wait for an answer: what they put, received or deleted.
    requests: HashMap<u64, Asked>,
    request_next: u64,
    event_next: u64,
    /// Events of puts that were answered.
    acknowledged: BTreeSet<String>,
    /// Events of all puts.
    sent: BTreeSet<String>,
    seen: Seen,
    /// Attempts that targets took.
    delivered: Seen,
    /// Handles that consumers hold, with the event and the queue.
    held: Vec<(Handle, String, &'static str)>,
    /// Events whose message was deleted and the delete answered.
    deleted: BTreeSet<(String, &'static str)>,
    crashes: u32,
    faults: bool,
    hook_there: bool,
}

enum Asked {
    Put(Vec<String>),
    Receive(&'static str),
    Delete(Vec<(String, &'static str)>),
    /// The attempt that is to be ended as its answer says, and its record; none when nobody waits any more.
    Decision(Option<(Attempt, Vec<u8>)>),
    Other,
}

/// Events that were decided about, as the journal tells it. One that ends twice is no end.
#[derive(Debug, Clone, Default)]
struct Decisions(Arc<Mutex<BTreeSet<String>>>);

impl Annex for Decisions {
    fn apply(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let id = String::from_utf8(bytes.to_vec()).unwrap();
        let first = self.0.lock().unwrap().insert(id.clone());
        assert!(first, "{id} was decided about twice");
        Ok(())
    }

    fn told(&self) -> Box<dyn Iterator<Item = Vec<u8>> + Send> {
        let all = self.0.lock().unwrap().clone();
        Box::new(all.into_iter().map(String::into_bytes))
    }
}

fn options() -> Options {
    Options {
        segment_bytes: 32 << 10,
        group_bytes_max: 16 << 10,
        free_bytes_min: 0,
        ..Options::default()
    }
}

fn settings() -> Settings {
    Settings {
        default_dlq: QueueName::parse(DLQ).ok(),
        ..Settings::default()
    }
}

fn rule(hook_there: bool) -> Rule {
    let home = Home::default();
    let bus = BusName::default_bus();
    let mut targets = BTreeMap::new();
    for id in OWED {
        let arn = match id {
            "queue" => home.queue_arn(QUEUE),
            "log" => home.log_arn("audit"),
            "decision" => internal_arn(&home),
            _ if !hook_there => continue,
            _ => home.webhook_arn("default", "all", id),
        };
        let mut target = Target::new(TargetId::parse(id).unwrap(), arn);
        if id == "hook" {
            target.webhook = Some(Webhook {
                url: "http://hook".into(),
                method: None,
                headers: BTreeMap::new(),
                secret: None,
            });
        }
        targets.insert(target.id.clone(), target.into());
    }
    Rule {
        name: RuleName::parse("all").unwrap(),
        bus,
        description: None,
        pattern: Some("{}".into()),
        schedule: Some(Schedule::new("rate(1 minute)".into(), 0)),
        state: RuleState::Enabled,
        role_arn: None,
        origin: Origin::File("rules/all.json".into()),
        targets,
    }
}

/// The rule that names what decisions make inputs for; events do not match it.
fn handed() -> Rule {
    let id = TargetId::parse("made").unwrap();
    let target = Target::new(id.clone(), Home::default().log_arn("made"));
    Rule {
        name: RuleName::parse("handed").unwrap(),
        pattern: None,
        schedule: None,
        targets: BTreeMap::from([(id, target.into())]),
        ..rule(false)
    }
}

fn begin(disk: &SimDisk, now: Now, seed: u64) -> (Core, Appender) {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let empty = State::new(
        Home::default(),
        Now {
            running_ms: 0,
            ..now
        },
    )
    .with_annex(Box::<Decisions>::default());
    let opened = read_back(disk, Path::new("/journal"), &options(), empty);
    let (journal, state) = opened.unwrap_or_else(|e| panic!("the journal does not open: {e:?}"));
    assert!(
        state.running_ms <= now.running_ms,
        "the running clock goes back"
    );
    let mut appender = Appender::new(journal);
    let core = Core::start(state, settings(), now, seed, [7; 32], &mut appender)
        .expect("the start record fits");
    (core, appender)
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let disk = SimDisk::new();
        let now = Now {
            wall_ms: 1_795_437_194_000,
            running_ms: 0,
        };
        let (core, appender) = begin(&disk, now, random.u64(..));
        let mut world = Self {
            random,
            disk,
            now,
            core,
            appender,
            work: Vec::new(),
            attempts: Vec::new(),
            on_the_way: Vec::new(),
            requests: HashMap::new(),
            request_next: 1,
            event_next: 1,
            acknowledged: BTreeSet::new(),
            sent: BTreeSet::new(),
            seen: BTreeMap::new(),
            delivered: BTreeMap::new(),
            held: Vec::new(),
            deleted: BTreeSet::new(),
            crashes: 0,
            faults: true,
            hook_there: true,
        };
        world.load_rules(true);
        world.settle_disk();
        world
    }

    pub fn run(mut self, steps: usize) {
        for _ in 0..steps {
            self.step();
        }
        self.faults = false;
        if !self.hook_there {
            self.load_rules(true);
        }
        self.drain();
        self.verdict();
    }

    /// One delivery of the first event is never made; all others are. Of the segments that they filled, only
    /// the one that holds that event, and those that are still written or not yet covered, may stay.
    pub fn one_delivery_waits_while_thousands_pass(mut self) {
        self.faults = false;
        self.put();
        self.settle_disk();
        let pinned = self.attempts.pop().expect("three targets are wanted");
        for _ in 0..600 {
            self.put();
            self.settle_disk();
            while !self.attempts.is_empty() {
                self.attempt();
            }
            self.empty_queues();
            self.advance(10);
        }
        let filled = self.appender.journal.segments().len();
        self.snapshot();
        self.settle_disk();
        self.free();
        self.settle_disk();
        let left = self.appender.journal.segments();
        assert!(20 < filled, "{filled} segments are too few to tell");
        assert!(left.len() <= 4, "{} of {filled} segments stay", left.len());
        assert!(
            left.iter().any(|s| s.id.0 == pinned.place.segment),
            "the pinned one is gone"
        );
        assert!(
            self.event_at(pinned.place).is_some(),
            "its event cannot be read"
        );
    }

    fn step(&mut self) {
        match self.random.u32(0..100) {
            0..=24 => self.put(),
            25..=37 => self.attempt(),
            38 => self.arrive(),
            39 => self.time_out(),
            40..=54 => self.take_work(),
            55..=66 => self.do_work(),
            67..=74 => self.receive(),
            75..=80 => self.delete(),
            81..=90 => {
                let ms = 1 << self.random.u32(0..14);
                self.advance(ms);
            }
            91..=93 => self.snapshot(),
            94..=95 => self.free(),
            96..=97 => {
                let there = self.random.u8(..) < 200;
                self.load_rules(there);
            }
            98 => self.advance_wall(),
            _ => self.crash(),
        }
    }

    fn ask(&mut self, asked: Asked, make: impl FnOnce(u64) -> Input) {
        let request = self.request_next;
        self.request_next += 1;
        self.requests.insert(request, asked);
        self.input(make(request));
    }

    fn input(&mut self, input: Input) {
        let effects = self.core.step(self.now, input, &mut self.appender);
        for effect in effects {
            match effect {
                Effect::Attempt(attempt) => self.attempts.push(*attempt),
                Effect::Answer(request, answer) => self.answered(request, answer),
                Effect::Rules(_) | Effect::GaveUp { .. } => {}
                Effect::Expired { event, .. } => {
                    panic!("{event} expired although there is a dead-letter queue")
                }
            }
        }
    }

    fn put(&mut self) {
        let deliveries: Vec<u32> = OWED
            .iter()
            .filter_map(|id| self.version("all", id))
            .collect();
        let (mut events, mut ids) = (Vec::new(), Vec::new());
        let tick = self.tick();
        let mut names: Vec<String> = tick
            .iter()
            .map(|tick| format!("tick {} ", tick.at_ms))
            .collect();
        for _ in 0..self.random.usize(1..4) {
            let id = format!(
                "{}event-{}",
                names.pop().unwrap_or_default(),
                self.event_next
            );
            self.event_next += 1;
            let filler = "x".repeat(self.random.usize(0..600));
            let envelope = format!("{{\"id\":\"{id}\",\"detail\":\"{filler}\"}}");
            let event = Event {
                accepted_ms: self.now.wall_ms,
                id: &id,
                bus: "default",
                trace: "",
                envelope: envelope.as_bytes(),
            };
            events.push((
                event_key(&id),
                Record::Event {
                    deliveries: deliveries.clone(),
                    event,
                }
                .encode(),
            ));
            self.sent.insert(id.clone());
            ids.push(id);
        }
        // Without a hook these events owe it nothing.
        if deliveries.len() < OWED.len() {
            for id in &ids {
                self.seen.insert((id.clone(), "hook"), 0);
            }
        }
        let matched_running = self.now.running_ms;
        self.ask(Asked::Put(ids), |request| Input::Put {
            request,
            events,
            idempotency: None,
            matched_running,
            ticks: tick.into_iter().collect(),
        });
    }

    fn version(&self, rule: &str, id: &str) -> Option<u32> {
        let (bus, rule) = (BusName::default_bus(), RuleName::parse(rule).unwrap());
        let id = TargetId::parse(id).unwrap();
        let version = self.core.state().current_version(&bus, &rule, &id);
        version.map(|v| v.number)
    }

    /// The tick of the rule's schedule that is due, if one is.
    fn tick(&self) -> Option<Tick> {
        let rule = self.core.state().rule("default", "all")?;
        let schedule = rule.schedule.as_ref()?;
        let (minute, anchor) = (60_000, schedule.anchor_ms);
        let at_ms = anchor + ((schedule.done_ms - anchor) / minute + 1) * minute;
        (at_ms <= self.now.wall_ms).then(|| Tick {
            rule: rule.name.clone(),
            expression: schedule.expression.clone(),
            at_ms,
        })
    }

    fn answered(&mut self, request: u64, answer: Answer) {
        let Some(asked) = self.requests.remove(&request) else {
            panic!("answer to nobody: {answer:?}")
        };
        match (asked, answer) {
            (Asked::Put(ids), Answer::Stored(_)) => self.acknowledged.extend(ids),
            (Asked::Put(_), Answer::Unavailable | Answer::Again(_)) | (Asked::Other, _) => {}
            (Asked::Decision(None), _) => {}
            (asked @ Asked::Decision(_), Answer::Again(input)) => {
                self.requests.insert(request, asked);
                self.on_the_way.push(*input);
            }
            (Asked::Decision(Some((attempt, record))), answer) => {
                let outcome = match answer {
                    Answer::Stored(_) => Outcome::Delivered,
                    _ => unsure(),
                };
                self.attempted(attempt, outcome, record);
            }
            (Asked::Receive(queue), Answer::Messages(given)) => {
                for given in given {
                    let id = self
                        .event_at(given.place)
                        .expect("a message handed out can be read");
                    assert!(self.sent.contains(&id), "{id} was never sent");
                    let gone = self.deleted.contains(&(id.clone(), queue));
                    assert!(!gone, "{id} was deleted from {queue} and came back");
                    self.held.push((given.handle, id, queue));
                }
            }
            (Asked::Receive(_), Answer::Refused(_)) => {}
            (Asked::Delete(messages), Answer::Handles(verdicts)) => {
                assert!(verdicts.iter().all(Result::is_ok));
                for message in messages {
                    *self.seen.entry(message_target(&message)).or_default() += 1;
                    self.deleted.insert(message);
                }
            }
            (Asked::Delete(messages), _) => {
                // Not deleted, as far as the consumer knows: it has seen them all the same.
                for message in messages {
                    *self.seen.entry(message_target(&message)).or_default() += 1;
                }
            }
            (Asked::Put(_), answer) => panic!("a put was answered {answer:?}"),
            (Asked::Receive(_), answer) => panic!("a receive was answered {answer:?}"),
        }
    }

    fn event_at(&self, place: bus_core::record::Place) -> Option<String> {
        let body = self
            .appender
            .journal
            .reader()
            .read(to_journal(place))
            .ok()?;
        let record = Record::decode(&body).ok()?;
        Some(record.event()?.id.to_owned())
    }

    fn attempt(&mut self) {
        if self.attempts.is_empty() {
            return;
        }
        let attempt = self
            .attempts
            .swap_remove(self.random.usize(0..self.attempts.len()));
        let record = self
            .appender
            .journal
            .reader()
            .read(to_journal(attempt.place));
        let record = record.unwrap_or_else(|e| panic!("a pending event cannot be read: {e}"));
        let id = Record::decode(&record)
            .unwrap()
            .event()
            .expect("deliveries are of events")
            .id
            .to_owned();
        assert!(self.sent.contains(&id), "{id} was never sent");
        if attempt.version.kind == Kind::Internal && attempt.give_up.is_none() {
            return self.decide(attempt, record);
        }
        let failure = |code| Failure::new(code, "played");
        let outcome = match self.random.u32(0..10) {
            0..=2 if self.faults => Outcome::Deferred {
                failure: failure(Code::ErrorFromTarget),
                not_before: None,
            },
            3 if self.faults => Outcome::Refused(failure(Code::ErrorFromTarget)),
            _ => Outcome::Delivered,
        };
        let target = target(attempt.version.target.id.as_str());
        if outcome == Outcome::Delivered && attempt.give_up.is_none() && target != "queue" {
            *self.delivered.entry((id.clone(), target)).or_default() += 1;
            *self.seen.entry((id, target)).or_default() += 1;
        }
        self.attempted(attempt, outcome, record);
    }

    fn attempted(&mut self, attempt: Attempt, outcome: Outcome, record: Vec<u8>) {
        self.input(Input::Attempted(Attempted {
            attempt: Box::new(attempt),
            outcome,
            record: Some(record),
            body: None,
        }));
    }

    /// A decision that makes one input and remembers that it was made.
    fn decide(&mut self, attempt: Attempt, record: Vec<u8>) {
        let decoded = Record::decode(&record).unwrap();
        let event = *decoded.event().expect("an event");
        let made = Record::Made {
            deliveries: self.version("handed", "made").into_iter().collect(),
            note: b"",
            key: "",
            event,
        };
        let annex = Record::Annex {
            bytes: event.id.as_bytes(),
        };
        let decided = Decided {
            records: vec![
                (Some(event_key(event.id)), made.encode()),
                (None, annex.encode()),
            ],
            ends: Some(Box::new(attempt.clone())),
            matched_running: self.now.running_ms,
        };
        let request = self.request_next;
        self.request_next += 1;
        self.requests
            .insert(request, Asked::Decision(Some((attempt, record))));
        self.on_the_way
            .push(Input::Decided(request, Box::new(decided)));
        if !self.faults || self.random.bool() {
            self.arrive();
        }
    }

    /// A decision comes to the core.
    fn arrive(&mut self) {
        if !self.on_the_way.is_empty() {
            let any = self.random.usize(0..self.on_the_way.len());
            let input = self.on_the_way.swap_remove(any);
            self.input(input);
        }
    }

    /// One who asked for a decision waits no longer: it may have been written, or may be yet.
    fn time_out(&mut self) {
        let mut waiting: Vec<u64> = Vec::new();
        for (request, asked) in &self.requests {
            if let Asked::Decision(Some(_)) = asked {
                waiting.push(*request);
            }
        }
        // The order of a map differs between runs of one seed.
        waiting.sort_unstable();
        if waiting.is_empty() {
            return;
        }
        let any = waiting[self.random.usize(0..waiting.len())];
        if let Some(Asked::Decision(asked)) = self.requests.get_mut(&any)
            && let Some((attempt, record)) = asked.take()
        {
            self.attempted(attempt, unsure(), record);
        }
    }

    fn receive(&mut self) {
        let queue = if self.random.bool() { QUEUE } else { DLQ };
        let Some(number) = self.core.state().queue(queue).map(|q| q.number) else {
            return;
        };
        let receive = Receive {
            queue: number,
            most: self.random.usize(1..11),
            wait_ms: 0,
            visibility_seconds: Some(self.random.u64(0..30)),
            try_key: None,
        };
        self.ask(Asked::Receive(queue), |request| Input::Receive {
            request,
            receive,
        });
    }

    fn delete(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let (handle, id, queue) = self.held.swap_remove(self.random.usize(0..self.held.len()));
        let Some(number) = self.core.state().queue(queue).map(|q| q.number) else {
            return;
        };
        let message = if queue == DLQ {
            (format!("{id}#{:?}", handle.message), queue)
        } else {
            (id.clone(), queue)
        };
        if queue == DLQ {
            // Which target gave it up is written in the letter; any target's debt may be paid by it.
            let target = self.letter_target(handle);
            *self.seen.entry((id, target)).or_default() += 1;
        }
        self.ask(Asked::Delete(vec![message]), |request| Input::Delete {
            request,
            queue: number,
            handles: vec![handle],
        });
    }

    fn letter_target(&self, handle: Handle) -> &'static str {
        let queue = self.core.state().queue_by_number(handle.queue).unwrap();
        let Some(stored) = queue.get(handle.message) else {
            return "log";
        };
        let body = self
            .appender
            .journal
            .reader()
            .read(to_journal(stored.place))
            .unwrap();
        let Ok(Record::DeadLetter(letter)) = Record::decode(&body) else {
            panic!("the dead-letter queue holds letters")
        };
        target(letter.target)
    }

    fn take_work(&mut self) {
        let stamp = self.appender.stamp(self.now);
        let idle = self.random.u8(..) < 30;
        while let Some(work) = self.appender.journal.take_work(idle.then_some(&stamp)) {
            if work.kind() == journal::WorkKind::Write {
                self.appender.group_taken();
            }
            self.work.push(work);
        }
    }

    fn do_work(&mut self) {
        if self.work.is_empty() {
            return;
        }
        let work = self.work.swap_remove(self.random.usize(0..self.work.len()));
        let before = self.appender.journal.synced();
        self.appender
            .journal
            .done(work.run())
            .expect("this disk fails by crashes only");
        let synced = self.appender.journal.synced();
        if before != synced {
            self.input(Input::Synced(synced));
        }
    }

    fn settle_disk(&mut self) {
        for _ in 0..20 {
            self.take_work();
            while !self.work.is_empty() {
                self.do_work();
            }
        }
    }

    fn advance(&mut self, ms: u64) {
        self.now.running_ms += ms;
        self.now.wall_ms += ms.cast_signed();
        self.input(Input::Tick);
    }

    /// The wall clock jumps; the running clock does not.
    fn advance_wall(&mut self) {
        self.now.wall_ms += self.random.i64(-86_400_000..86_400_000);
    }

    fn snapshot(&mut self) {
        if self.appender.journal.snapshot_running() {
            return;
        }
        let chunks = self.core.state().snapshot(self.now);
        let position = self.appender.journal.next() - 1;
        self.appender
            .journal
            .snapshot(position, chunks)
            .expect("none is running");
    }

    fn free(&mut self) {
        for segment in self.appender.journal.segments() {
            let covered =
                segment.sealed && segment.last <= self.appender.journal.snapshot_position();
            if covered && !self.core.state().holds_segment(segment.id.0) {
                let _ = self.appender.journal.free(segment.id);
            }
        }
    }

    fn load_rules(&mut self, hook_there: bool) {
        self.hook_there = hook_there;
        let queues = vec![QueueName::parse(QUEUE).unwrap()];
        let control = Control::LoadFiles(vec![rule(hook_there), handed()], queues);
        self.ask(Asked::Other, |request| Input::Control { request, control });
    }

    /// The process or the machine ends and begins again.
    fn crash(&mut self) {
        self.crashes += 1;
        self.work.clear();
        self.attempts.clear();
        self.on_the_way.clear();
        self.requests.clear();
        if self.random.bool() {
            self.disk.kill();
        } else {
            let random = &mut self.random;
            self.disk.power_cut(&mut || random.u64(..));
        }
        self.now.wall_ms += self.random.i64(0..100_000);
        let (core, appender) = begin(&self.disk, self.now, self.random.u64(..));
        self.core = core;
        self.appender = appender;
        // Time goes on while the start is not yet durable.
        if self.random.bool() {
            self.input(Input::Tick);
        }
        self.settle_disk();
        let there = self.hook_there;
        self.load_rules(there);
    }

    /// Consumers receive what there is and delete it.
    fn empty_queues(&mut self) {
        for queue in [QUEUE, DLQ] {
            let Some(number) = self.core.state().queue(queue).map(|q| q.number) else {
                continue;
            };
            let receive = Receive {
                queue: number,
                most: 10,
                wait_ms: 0,
                visibility_seconds: Some(30),
                try_key: None,
            };
            self.ask(Asked::Receive(queue), |request| Input::Receive {
                request,
                receive,
            });
        }
        while !self.held.is_empty() {
            self.delete();
        }
    }

    /// Faults are over: everything has to come to its end.
    fn drain(&mut self) {
        for _ in 0..4_000 {
            self.settle_disk();
            for _ in 0..self.on_the_way.len() {
                self.arrive();
            }
            while !self.attempts.is_empty() {
                self.attempt();
                if self.attempts.len().is_multiple_of(16) {
                    // Outcomes that the journal has no room for are tried again with each step.
                    self.settle_disk();
                }
            }
            self.empty_queues();
            self.settle_disk();
            let waiting: usize = self.core.state().backlogs().map(|b| b.len()).sum();
            let messages: usize = self.core.state().queues().map(|q| q.len()).sum();
            if waiting + messages == 0 && self.requests.is_empty() {
                assert_eq!(self.core.in_flight(), 0, "a slot is never free again");
                return;
            }
            self.advance(60_000);
        }
        let state = self.core.state();
        let waiting: Vec<_> = state
            .backlogs()
            .map(|b| (b.name.clone(), b.len(), b.in_flight(), b.next_due()))
            .collect();
        let messages: Vec<_> = state
            .queues()
            .map(|q| (q.document.name.clone(), q.len()))
            .collect();
        panic!(
            "not at rest: {waiting:?} {messages:?} requests {} crashes {}",
            self.requests.len(),
            self.crashes
        );
    }

    fn verdict(&self) {
        let mut ticks = BTreeMap::new();
        for ((id, _), _) in self.seen.iter().filter(|(_, count)| 0 < **count) {
            let id = id.split('#').next().unwrap();
            if let Some((tick, event)) = id.rsplit_once(' ') {
                let first = ticks.entry(tick).or_insert(event);
                assert_eq!(*first, event, "{tick} was fired twice");
            }
        }
        for id in &self.acknowledged {
            for target in TARGETS {
                assert!(
                    self.seen.contains_key(&(id.clone(), target)),
                    "{id} was acknowledged and is lost at {target}"
                );
            }
        }
        for (id, _) in self.seen.keys() {
            let id = id.split('#').next().unwrap();
            assert!(self.sent.contains(id), "{id} was never sent");
        }
        // An event that nobody was told of exists wholly or not at all (I3).
        for id in self.sent.difference(&self.acknowledged) {
            let got = TARGETS
                .iter()
                .filter(|t| self.seen.contains_key(&(id.clone(), **t)))
                .count();
            let owed = if self.seen.get(&(id.clone(), "hook")) == Some(&0) {
                [1, TARGETS.len()]
            } else {
                [0, TARGETS.len()]
            };
            assert!(
                owed.contains(&got),
                "{id} exists at {got} of {} targets",
                TARGETS.len()
            );
        }
        if self.crashes == 0 {
            let twice = self.delivered.iter().find(|(_, count)| 1 < **count);
            assert!(
                twice.is_none(),
                "delivered twice without a fault: {twice:?}"
            );
        }
    }
}

/// What a target, or the letter that stands for it, counts as.
fn target(id: &str) -> &'static str {
    let id = if id == "decision" { "made" } else { id };
    TARGETS.into_iter().find(|t| *t == id).unwrap()
}

/// What is told of a decision that may have been written or not.
fn unsure() -> Outcome {
    Outcome::Deferred {
        failure: Failure::new(Code::InternalError, "played"),
        not_before: None,
    }
}

fn message_target(message: &(String, &'static str)) -> (String, &'static str) {
    match message {
        (id, DLQ) => (id.clone(), "letter"),
        (id, _) => (id.clone(), "queue"),
    }
}
