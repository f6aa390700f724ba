//! The running bus: the thread that owns core and journal, and the handle by which all others talk to it.
//!
//! One thread steps the core; disk threads write, sync and prepare; answers go back by request number. Two
//! bounded channels lead in: what callers ask, which stops being taken while the journal's group is full, and
//! what must never wait behind it (outcomes, disk completions, disconnects). Each caller holds a permit, so a
//! channel is never full.

use crate::annex::Shared;
use crate::clock::Clock;
use crate::history::History;
use crate::router::{Router, Routing};
use crate::shapers::Shapers;
use crate::store::{Appender, Store, to_journal};
use arc_swap::ArcSwap;
use bus_core::core::{
    Answer, Attempt, Attempted, Core, Effect, Given, Handle, Input, RequestNumber, Settings,
};
use bus_core::name::{BusName, Home, QueueName, RuleName};
use bus_core::outcome::Failure;
use bus_core::record::Place;
use bus_core::state::{Now, RuleKey, State};
use crossbeam_channel::{Receiver, Sender, bounded};
use journal::{Done, Journal, ReadError, Reader, SegmentId, Work, WorkKind};
use std::collections::{BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

/// Requests under way in the core. Source: reliability-security.md 5, commit queue.
const REQUESTS_MAX: usize = 4_096 + bus_core::limits::WAITERS_MAX;
/// Room for what must not wait: an outcome for each attempt, a disconnect or return for each request, a
/// completion for each kind of disk work.
const URGENT_MAX: usize = bus_core::limits::OUTBOUND_IN_FLIGHT_MAX
    + bus_core::limits::LOGS_IN_FLIGHT_MAX
    + 2 * REQUESTS_MAX
    + 16;
/// Inputs handled before disk work is looked at.
const BATCH_MAX: usize = 512;
/// Outcomes and receives may be this far behind the disk. Source: rule 7.
const LAZY_MS: u64 = 5;
/// Without traffic for this long the newest block is protected by an empty one. Source: rule 5.
const IDLE_MS: u64 = 100;
/// Longest time that a caller waits for the disk. Source: F11.
const DISK_WAIT: Duration = Duration::from_secs(10);
/// Pause before a busy journal is asked again.
const AGAIN: Duration = Duration::from_millis(2);
/// A snapshot is due when the tail holds this many records or bytes. Source: design.md 4.
const SNAPSHOT_RECORDS: u64 = 1_000_000;
const SNAPSHOT_BYTES: u64 = 256 << 20;
/// Pause before a snapshot that found no space is tried again, in milliseconds.
const SNAPSHOT_PAUSE_MS: u64 = 10_000;
/// Pause between two looks for segments that can be freed, in milliseconds.
const FREE_MS: u64 = 1_000;

type Look = Box<dyn FnOnce(&Core, &Appender) -> Box<dyn FnOnce() + Send> + Send>;

type Make = Box<dyn FnOnce(RequestNumber) -> Input + Send>;

enum Message {
    Ask(
        RequestNumber,
        Make,
        oneshot::Sender<Answer>,
        /// Told when the input was taken, whatever the answer rests on.
        Option<oneshot::Sender<()>>,
    ),
    Look(Look),
    Input(Input),
    Done(Done),
    /// A disk thread met what cannot be: the journal can no longer be trusted to be written (F35).
    DiskPanicked,
    Stop(oneshot::Sender<()>),
}

/// Facts that others need of the store, without asking the core.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Account and region.
    pub home: Home,
    /// Key of receipt handles and paging tokens.
    pub secret: [u8; 32],
}

/// The handle of the running bus. Cheap to clone.
#[derive(Clone)]
pub struct Bus {
    inner: Arc<Inner>,
}

struct Inner {
    ordinary: Sender<Message>,
    urgent: Sender<Message>,
    requests: AtomicU64,
    permits: Arc<Semaphore>,
    routing: Arc<ArcSwap<(u64, Arc<Routing>)>>,
    reader: Reader,
    clock: Clock,
    identity: Identity,
    shapers: Arc<Shapers>,
    kept: Shared,
    history: History,
    refusing: AtomicBool,
    rescheduled: Arc<Rescheduled>,
}

/// Rules with a schedule that have changed since the scheduler asked.
#[derive(Default)]
struct Rescheduled {
    names: Mutex<BTreeSet<RuleName>>,
    told: Notify,
}

impl Rescheduled {
    fn tell(&self, state: &State, changed: &[RuleKey]) {
        let default = BusName::default_bus();
        let scheduled = |(bus, name): &&RuleKey| {
            let rule = state.rule(bus.as_str(), name.as_str());
            *bus == default && rule.is_some_and(|rule| rule.schedule.is_some())
        };
        let names = changed.iter().filter(scheduled).map(|key| key.1.clone());
        let mut all = self.names.lock().expect("no holder panics");
        all.extend(names);
        if !all.is_empty() {
            self.told.notify_one();
        }
    }
}

/// The storage has failed or the server is stopping: nothing more is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("storage did not confirm")]
pub struct Unavailable;

/// Who makes the attempts that the core hands out. Filled in by the room above.
pub trait Dispatch: Send {
    /// Makes an attempt and tells [`Bus::attempted`] of it later. Does not wait.
    fn dispatch(&self, attempt: Box<Attempt>);
    /// Takes that a delivery was given up: to the maker of its input, as it asked. Does not wait.
    fn gave_up(&self, note: Box<[u8]>, failure: Failure);
    /// Attempts that have not ended.
    fn under_way(&self) -> usize;
}

/// What the operator may set of the running bus.
#[derive(Debug, Clone)]
pub struct Options {
    /// Of the core.
    pub core: Settings,
    /// How long finished segments stay for the trail.
    pub trail: Duration,
    /// How many bytes of them stay.
    pub trail_bytes: u64,
}

/// A queue name for [`Settings`], none if the setting is empty.
#[must_use]
pub fn queue_setting(text: &str) -> Option<QueueName> {
    QueueName::parse(text).ok()
}

impl Bus {
    /// Starts the bus on an opened store. Returns when the start record is durable.
    ///
    /// # Errors
    /// [`Unavailable`] if not even the start record could be stored.
    pub fn start(
        store: Store,
        options: Options,
        dispatcher: impl FnOnce(&Bus) -> Box<dyn Dispatch>,
    ) -> Result<(Self, std::thread::JoinHandle<i32>), Unavailable> {
        let Store {
            journal,
            state,
            clock,
            kept,
            history,
            lock,
        } = store;
        let mut random = [0; 40];
        getrandom::fill(&mut random).expect("the operating system gives random bytes");
        let (secret, seed) = random.split_at(32);
        let secret: [u8; 32] = secret.try_into().expect("split at 32");
        let seed = u64::from_le_bytes(seed.try_into().expect("8 are left"));
        let home = state.home().clone();
        let mut appender = Appender::new(journal);
        let now = clock.now();
        let core = Core::start(
            state,
            options.core.clone(),
            now,
            seed,
            secret,
            &mut appender,
        )
        .map_err(|_| Unavailable)?;
        let (ordinary, ordinary_in) = bounded(REQUESTS_MAX);
        let (urgent, urgent_in) = bounded(URGENT_MAX);
        let router = Router::new(core.state());
        let routing = Arc::new(ArcSwap::from_pointee((now.running_ms, router.routing())));
        let rescheduled = Arc::<Rescheduled>::default();
        let bus = Self {
            inner: Arc::new(Inner {
                ordinary,
                urgent: urgent.clone(),
                requests: AtomicU64::new(1),
                permits: Arc::new(Semaphore::new(REQUESTS_MAX)),
                routing: Arc::clone(&routing),
                reader: appender.journal.reader(),
                clock,
                identity: Identity {
                    home: home.clone(),
                    secret: core.state().secret,
                },
                shapers: Arc::new(Shapers::new(home)),
                kept,
                history: history.clone(),
                refusing: AtomicBool::new(false),
                rescheduled: Arc::clone(&rescheduled),
            }),
        };
        let dispatcher = dispatcher(&bus);
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let owner = Owner {
            core,
            appender,
            clock,
            ordinary: ordinary_in,
            urgent: urgent_in,
            disks: Disks::start(&urgent),
            dispatcher,
            router,
            routing,
            rescheduled,
            answers: HashMap::new(),
            looks: Vec::new(),
            ready: Some(ready),
            lazy_since: None,
            appended: (0, now.running_ms),
            last_work: 0,
            snapshot_after: 0,
            last_free: 0,
            stopping: None,
            options,
            history,
            _lock: lock,
        };
        let thread = std::thread::Builder::new()
            .name("core".into())
            .spawn(move || owner.run())
            .expect("the system gives a thread");
        started.recv().map_err(|_| Unavailable)?;
        Ok((bus, thread))
    }

    /// This moment.
    #[must_use]
    pub fn now(&self) -> Now {
        self.inner.clock.now()
    }

    /// Account, region, keys.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    /// Shaping of inputs.
    #[must_use]
    pub fn shapers(&self) -> &Arc<Shapers> {
        &self.inner.shapers
    }

    /// What decisions read. The core writes it when it applies a record: look, and let go.
    #[must_use]
    pub fn kept(&self) -> &Shared {
        &self.inner.kept
    }

    /// What decisions came to, for people.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.inner.history
    }

    /// The rules as they are now, and since when, on the running clock.
    #[must_use]
    pub fn routing(&self) -> (u64, Arc<Routing>) {
        let routing = Arc::clone(&self.inner.routing.load().1);
        (self.now().running_ms, routing)
    }

    /// Waits until rules with a schedule have come or changed, and names them. One asker at a time.
    pub async fn rescheduled(&self) -> BTreeSet<RuleName> {
        loop {
            let rescheduled = &self.inner.rescheduled;
            let names = std::mem::take(&mut *rescheduled.names.lock().expect("no holder panics"));
            if !names.is_empty() {
                return names;
            }
            rescheduled.told.notified().await;
        }
    }

    /// Asks the core and waits for its answer. If the caller goes away meanwhile, the core is told.
    ///
    /// # Errors
    /// [`Unavailable`] if the core has ended, too many callers wait already, or the disk stands still for ten
    /// seconds: what was asked may then have happened or not.
    pub async fn ask(
        &self,
        make: impl FnOnce(RequestNumber) -> Input + Send + 'static,
    ) -> Result<Answer, Unavailable> {
        self.ask_waiting(Duration::ZERO, make).await
    }

    /// As [`Bus::ask`], for a receive that may wait so long for a message.
    ///
    /// # Errors
    /// As [`Bus::ask`].
    pub async fn ask_waiting(
        &self,
        wait: Duration,
        make: impl FnOnce(RequestNumber) -> Input + Send + 'static,
    ) -> Result<Answer, Unavailable> {
        let _permit = self.inner.permits.try_acquire().map_err(|_| Unavailable)?;
        let answered = tokio::time::timeout(wait + DISK_WAIT, self.ask_until_taken(make));
        answered.await.map_err(|_| Unavailable)?
    }

    async fn ask_until_taken(
        &self,
        make: impl FnOnce(RequestNumber) -> Input + Send + 'static,
    ) -> Result<Answer, Unavailable> {
        let request = self.inner.requests.fetch_add(1, Ordering::Relaxed);
        let mut answer = self.send_ask(request, Box::new(make)).await?;
        while let Answer::Again(input) = answer {
            tokio::time::sleep(AGAIN).await;
            answer = self.send_ask(request, Box::new(move |_| *input)).await?;
        }
        Ok(answer)
    }

    async fn send_ask(&self, request: RequestNumber, make: Make) -> Result<Answer, Unavailable> {
        let mut waiting = Waiting {
            bus: self,
            request,
            answer: Some(self.post(request, make, None)?),
        };
        let answer = waiting.answer.as_mut().expect("taken below").await;
        waiting.answer = None;
        answer.map_err(|_| Unavailable)
    }

    fn post(
        &self,
        request: RequestNumber,
        make: Make,
        taken: Option<oneshot::Sender<()>>,
    ) -> Result<oneshot::Receiver<Answer>, Unavailable> {
        if self.inner.refusing.load(Ordering::Relaxed) {
            return Err(Unavailable);
        }
        let (sender, receiver) = oneshot::channel();
        let message = Message::Ask(request, make, sender, taken);
        let sent = self.inner.ordinary.try_send(message);
        sent.map_err(|_| Unavailable)?;
        Ok(receiver)
    }

    /// As [`Bus::ask`], but returns as soon as the core has taken the input: what is asked after that finds
    /// what it changed, and stands behind it in the journal. Not for receives, whose messages would be lost.
    ///
    /// # Errors
    /// As [`Bus::ask`].
    pub async fn ask_ahead(
        &self,
        make: impl FnOnce(RequestNumber) -> Input + Send + 'static,
    ) -> Result<Taken, Unavailable> {
        let permit = Arc::clone(&self.inner.permits);
        let permit = permit.try_acquire_owned().map_err(|_| Unavailable)?;
        let request = self.inner.requests.fetch_add(1, Ordering::Relaxed);
        let mut make: Make = Box::new(make);
        loop {
            let (told, taken) = oneshot::channel();
            let mut answer = self.post(request, make, Some(told))?;
            let taken = tokio::time::timeout(DISK_WAIT, taken).await;
            taken.map_err(|_| Unavailable)?.map_err(|_| Unavailable)?;
            match answer.try_recv() {
                Ok(Answer::Again(input)) => make = Box::new(move |_| *input),
                Ok(answer) => return Ok(Taken::Answered(answer)),
                Err(oneshot::error::TryRecvError::Empty) => {
                    let held = Held {
                        answer,
                        _permit: permit,
                    };
                    return Ok(Taken::Held(held));
                }
                Err(oneshot::error::TryRecvError::Closed) => return Err(Unavailable),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Reads the state: what `look` returns rests on durable records only.
    ///
    /// # Errors
    /// [`Unavailable`] if the core has ended.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Core, &Appender) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let _permit = self.inner.permits.try_acquire().map_err(|_| Unavailable)?;
        let (sender, receiver) = oneshot::channel();
        let look: Look = Box::new(move |core, appender| {
            let seen = look(core, appender);
            // Who went away needs no answer.
            Box::new(move || drop(sender.send(seen)))
        });
        self.inner
            .ordinary
            .try_send(Message::Look(look))
            .map_err(|_| Unavailable)?;
        let seen = tokio::time::timeout(DISK_WAIT, receiver).await;
        seen.map_err(|_| Unavailable)?.map_err(|_| Unavailable)
    }

    /// Tells what an attempt came to.
    pub fn attempted(&self, attempted: Attempted) {
        // After the core has ended nobody is left to be told: the delivery is due again at the next start.
        let _ = self
            .inner
            .urgent
            .try_send(Message::Input(Input::Attempted(attempted)));
    }

    /// Gives messages back whose answer could not be sent.
    pub fn give_back(&self, queue: u32, handles: Vec<Handle>) {
        let _ = self
            .inner
            .urgent
            .try_send(Message::Input(Input::Return { queue, handles }));
    }

    /// Reads a record's body. Blocking.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read_blocking(&self, place: Place) -> Result<Vec<u8>, ReadError> {
        self.inner.reader.read(to_journal(place))
    }

    /// The journal's reader: for trails and tails. Blocking.
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.inner.reader.clone()
    }

    /// Stops accepting, answers waiting receives, lets attempts end, and writes a snapshot and the clean end.
    pub async fn stop(&self) {
        self.inner.refusing.store(true, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        if self.inner.urgent.try_send(Message::Stop(sender)).is_ok() {
            let _ = receiver.await;
        }
    }
}

/// An input that the core has taken.
pub enum Taken {
    /// It was answered at once.
    Answered(Answer),
    /// Its answer waits until what it rests on is durable.
    Held(Held),
}

/// An answer that waits for the disk.
pub struct Held {
    answer: oneshot::Receiver<Answer>,
    _permit: OwnedSemaphorePermit,
}

impl Held {
    /// Waits for it.
    ///
    /// # Errors
    /// As [`Bus::ask`].
    pub async fn answer(self) -> Result<Answer, Unavailable> {
        let answer = tokio::time::timeout(DISK_WAIT, self.answer).await;
        answer.map_err(|_| Unavailable)?.map_err(|_| Unavailable)
    }
}

/// A caller that waits. Dropped before it has its answer, it tells the core; and if messages are already on
/// their way to it, it gives them back, since nobody else knows of them.
struct Waiting<'a> {
    bus: &'a Bus,
    request: RequestNumber,
    answer: Option<oneshot::Receiver<Answer>>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(mut answer) = self.answer.take() else {
            return;
        };
        // After this the core cannot send, and gives back by itself.
        answer.close();
        match answer.try_recv() {
            Ok(Answer::Messages(given)) => {
                if let Some(first) = given.first() {
                    let handles = given.iter().map(|given| given.handle).collect();
                    self.bus.give_back(first.handle.queue, handles);
                }
            }
            Ok(_) => {}
            Err(_) => {
                let _ = self.bus.inner.urgent.try_send(Message::Input(Input::Gone {
                    request: self.request,
                }));
            }
        }
    }
}

/// Threads that do the journal's I/O: one for what callers wait for, one for what prepares it, one for
/// snapshots, so that none holds up another.
struct Disks {
    write: Sender<Work>,
    prepare: Sender<Work>,
    snapshot: Sender<Work>,
}

impl Disks {
    fn start(done: &Sender<Message>) -> Self {
        let spawn = |name: &str| {
            let (sender, works) = bounded::<Work>(WORKS_MAX);
            let done = done.clone();
            std::thread::Builder::new()
                .name(name.into())
                .spawn(move || {
                    for work in works {
                        let ran = std::panic::catch_unwind(AssertUnwindSafe(|| work.run()));
                        let message = ran.map_or(Message::DiskPanicked, Message::Done);
                        if done.send(message).is_err() {
                            return;
                        }
                    }
                })
                .expect("the system gives a thread");
            sender
        };
        Self {
            write: spawn("disk-write"),
            prepare: spawn("disk-prepare"),
            snapshot: spawn("disk-snapshot"),
        }
    }

    fn run(&self, work: Work) {
        let thread = match work.kind() {
            WorkKind::Write => &self.write,
            WorkKind::Prepare | WorkKind::Remove | WorkKind::Probe => &self.prepare,
            WorkKind::Index | WorkKind::Snapshot | WorkKind::Install => &self.snapshot,
        };
        // The journal gives no second work of a kind while one runs.
        thread
            .try_send(work)
            .unwrap_or_else(|_| unreachable!("a disk thread has room for each kind of work"));
    }
}

/// Kinds of work that one disk thread serves at most.
const WORKS_MAX: usize = 4;

/// What to tell the operator when the disk has failed. Source: rule 2.
const EXIT_STORE_FAILED: i32 = 70;

struct Owner {
    core: Core,
    appender: Appender,
    clock: Clock,
    ordinary: Receiver<Message>,
    urgent: Receiver<Message>,
    disks: Disks,
    dispatcher: Box<dyn Dispatch>,
    router: Router,
    routing: Arc<ArcSwap<(u64, Arc<Routing>)>>,
    rescheduled: Arc<Rescheduled>,
    answers: HashMap<RequestNumber, oneshot::Sender<Answer>>,
    /// What was looked at, to be told when record `.0` is durable.
    looks: Vec<(u64, Box<dyn FnOnce() + Send>)>,
    ready: Option<std::sync::mpsc::SyncSender<()>>,
    lazy_since: Option<u64>,
    /// Number of the next record, and since when it has been that.
    appended: (u64, u64),
    last_work: u64,
    snapshot_after: u64,
    last_free: u64,
    stopping: Option<Stopping>,
    options: Options,
    history: History,
    /// Held while the journal is.
    _lock: std::fs::File,
}

struct Stopping {
    told: oneshot::Sender<()>,
    until: u64,
    stop_record: Option<u64>,
    snapshot_begun: bool,
}

impl Owner {
    /// Runs until told to stop or the disk fails; returns the process's exit code.
    fn run(mut self) -> i32 {
        loop {
            let first = self.wait();
            let now = self.clock.now();
            let mut next = first;
            let mut handled = 0;
            while let Some(message) = next {
                if let Err(code) = self.handle(now, message) {
                    return code;
                }
                handled += 1;
                next = if handled < BATCH_MAX {
                    self.try_next()
                } else {
                    None
                };
            }
            if handled == 0 {
                let effects = self.core.step(now, Input::Tick, &mut self.appender);
                self.carry_out(effects);
            }
            self.housekeeping(now);
            self.disk_work(now);
            if let Some(code) = self.stopped(now) {
                return code;
            }
        }
    }

    fn wait(&self) -> Option<Message> {
        let now = self.clock.now().running_ms;
        let timer = self
            .core
            .next_timer()
            .map_or(1_000, |at| at.saturating_sub(now));
        let lazy = self
            .lazy_since
            .map_or(1_000, |at| (at + LAZY_MS).saturating_sub(now));
        let timeout = Duration::from_millis(timer.min(lazy).min(IDLE_MS));
        let ordinary = if self.appender.is_full() {
            None
        } else {
            Some(&self.ordinary)
        };
        let never = crossbeam_channel::never();
        crossbeam_channel::select! {
            recv(self.urgent) -> message => message.ok(),
            recv(ordinary.unwrap_or(&never)) -> message => message.ok(),
            default(timeout) => None,
        }
    }

    fn try_next(&self) -> Option<Message> {
        if let Ok(message) = self.urgent.try_recv() {
            return Some(message);
        }
        if self.appender.is_full() {
            return None;
        }
        self.ordinary.try_recv().ok()
    }

    fn handle(&mut self, now: Now, message: Message) -> Result<(), i32> {
        let mut taken = None;
        let input = match message {
            Message::Ask(request, make, sender, tell) => {
                self.answers.insert(request, sender);
                taken = tell;
                make(request)
            }
            Message::Input(input) => {
                if let Input::Gone { request } = &input {
                    self.answers.remove(request);
                }
                input
            }
            Message::Look(look) => {
                let tell = look(&self.core, &self.appender);
                if self.core.appended() <= self.appender.journal.synced() {
                    tell();
                } else {
                    self.looks.push((self.core.appended(), tell));
                }
                return Ok(());
            }
            Message::Done(done) => {
                let before = self.appender.journal.synced();
                if let Err(failed) = self.appender.journal.done(done) {
                    tracing::error!(error = %failed, cause = %failed.source, "the disk failed; start again to recover what is on it");
                    return Err(EXIT_STORE_FAILED);
                }
                let synced = self.appender.journal.synced();
                if synced == before {
                    return Ok(());
                }
                if let Some(ready) = self.ready.take_if(|_| self.core.appended() <= synced) {
                    let _ = ready.send(());
                }
                for (_, tell) in self.looks.extract_if(.., |(after, _)| *after <= synced) {
                    tell();
                }
                Input::Synced(synced)
            }
            Message::DiskPanicked => {
                tracing::error!(
                    "a disk thread panicked; start again to recover what is on the disk"
                );
                return Err(EXIT_STORE_FAILED);
            }
            Message::Stop(told) => {
                let effects = self.core.release_waiters();
                self.carry_out(effects);
                let until = now.running_ms + 30_000;
                self.stopping = Some(Stopping {
                    told,
                    until,
                    stop_record: None,
                    snapshot_begun: false,
                });
                return Ok(());
            }
        };
        let effects = self.core.step(now, input, &mut self.appender);
        self.carry_out(effects);
        if let Some(taken) = taken {
            // Who went away needs no word.
            let _ = taken.send(());
        }
        if self.lazy_since.is_none()
            && self.appender.journal.synced() + 1 < self.appender.journal.next()
        {
            self.lazy_since = Some(now.running_ms);
        }
        Ok(())
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Answer(request, answer) => {
                    let unsent = match self.answers.remove(&request) {
                        Some(sender) => sender.send(answer).err(),
                        None => Some(answer),
                    };
                    if let Some(Answer::Messages(given)) = unsent {
                        self.give_back(&given);
                    }
                }
                Effect::Attempt(attempt) => {
                    if self.stopping.is_none() {
                        self.dispatcher.dispatch(attempt);
                    }
                }
                Effect::GaveUp { note, failure } => self.dispatcher.gave_up(note, failure),
                Effect::Rules(changed) => {
                    self.router.update(self.core.state(), &changed);
                    self.appender.rules_version = self.core.appended();
                    let running = self.clock.now().running_ms;
                    self.routing
                        .store(Arc::new((running, self.router.routing())));
                    self.rescheduled.tell(self.core.state(), &changed);
                }
                Effect::Expired {
                    event,
                    target,
                    failure,
                } => {
                    tracing::error!(
                        event,
                        target,
                        code = failure.code.as_str(),
                        why = failure.text,
                        "a delivery ended and has no dead-letter queue"
                    );
                }
            }
        }
    }

    /// The caller went away between its wait and its answer.
    fn give_back(&mut self, given: &[Given]) {
        let Some(first) = given.first() else { return };
        let input = Input::Return {
            queue: first.handle.queue,
            handles: given.iter().map(|g| g.handle).collect(),
        };
        let effects = self.core.step(self.clock.now(), input, &mut self.appender);
        self.carry_out(effects);
    }

    /// Hands the journal's work to the disk threads: at once if somebody waits for it, else when what is
    /// lazy has waited long enough, so that outcomes share a sync.
    fn disk_work(&mut self, now: Now) {
        let waited_for = self.core.holds()
            || !self.looks.is_empty()
            || self.ready.is_some()
            || self.stopping.is_some();
        let lazy_over = self
            .lazy_since
            .is_some_and(|at| at + LAZY_MS <= now.running_ms);
        let next = self.appender.journal.next();
        if self.appended.0 != next {
            self.appended = (next, now.running_ms);
        }
        let idle = now.running_ms >= self.appended.1 + IDLE_MS;
        // Looks at free space are work too, and nobody waits for them.
        let long_ago = now.running_ms >= self.last_work + IDLE_MS;
        if !(waited_for || lazy_over || long_ago) {
            return;
        }
        self.lazy_since = None;
        self.last_work = now.running_ms;
        let stamp = self.appender.stamp(now);
        while let Some(work) = self.appender.journal.take_work(idle.then_some(&stamp)) {
            if work.kind() == WorkKind::Write {
                self.appender.group_taken();
            }
            self.disks.run(work);
        }
    }

    fn housekeeping(&mut self, now: Now) {
        let journal = &mut self.appender.journal;
        let due =
            SNAPSHOT_RECORDS <= journal.tail_records() || SNAPSHOT_BYTES <= journal.tail_bytes();
        let pause_over = self.snapshot_after <= now.running_ms;
        if due && pause_over && !journal.snapshot_running() && self.stopping.is_none() {
            self.snapshot_after = now.running_ms + SNAPSHOT_PAUSE_MS;
            self.snapshot(now);
        }
        if now.running_ms < self.last_free + FREE_MS {
            return;
        }
        self.last_free = now.running_ms;
        let journal = &mut self.appender.journal;
        let segments = journal.segments();
        let covered = journal
            .snapshot_position()
            .min(self.history.needed_behind());
        let mut kept: u64 = segments.iter().filter(|s| s.sealed).map(|s| s.bytes).sum();
        let oldest =
            now.wall_ms - i64::try_from(self.options.trail.as_millis()).unwrap_or(i64::MAX);
        for segment in segments {
            let covered = segment.sealed && segment.last <= covered;
            let finished = covered && !self.core.state().holds_segment(segment.id.0);
            if finished && (segment.wall_ms < oldest || self.options.trail_bytes < kept) {
                kept -= segment.bytes;
                if let Err(error) = journal.free(SegmentId(segment.id.0)) {
                    tracing::debug!(%error, segment = segment.id.0, "segment not freed yet");
                }
            }
        }
    }

    fn snapshot(&mut self, now: Now) {
        let chunks = self.core.state().snapshot(now);
        let journal = &mut self.appender.journal;
        let position = journal.next() - 1;
        if let Err(error) = journal.snapshot(position, chunks) {
            tracing::debug!(%error, "snapshot not begun");
        }
    }

    /// Takes the next step of a stop: attempts end, the last outcomes are synced, then the snapshot, then
    /// the clean end. Returns the exit code when all is durable.
    fn stopped(&mut self, now: Now) -> Option<i32> {
        let journal_idle = self.appender.journal.synced() + 1 == self.appender.journal.next();
        let running = self.appender.journal.snapshot_running();
        let stopping = self.stopping.as_mut()?;
        if self.dispatcher.under_way() > 0 && now.running_ms < stopping.until {
            return None;
        }
        if !stopping.snapshot_begun && !running {
            stopping.snapshot_begun = true;
            self.snapshot(now);
            return None;
        }
        if running && now.running_ms < stopping.until {
            return None;
        }
        let stopping = self.stopping.as_mut()?;
        match stopping.stop_record {
            None => {
                let record = self.core.stop(now, &mut self.appender).ok();
                self.stopping.as_mut()?.stop_record = Some(record.unwrap_or(0));
                None
            }
            Some(_) if journal_idle => {
                if let Some(stopping) = self.stopping.take() {
                    let _ = stopping.told.send(());
                }
                Some(0)
            }
            Some(_) => None,
        }
    }
}

/// Makes no attempt: for tests of what stands around the bus.
#[cfg(test)]
pub(crate) struct Nobody;

#[cfg(test)]
impl Dispatch for Nobody {
    fn dispatch(&self, _: Box<Attempt>) {}
    fn gave_up(&self, _: Box<[u8]>, _: Failure) {}
    fn under_way(&self) -> usize {
        0
    }
}
