//! The history of firings: the first projection, what people search and nothing decides by.
//!
//! What was decided is in the journal; here it is a second time, in SQLite, so that it can be looked up by
//! event type, object, trigger and time, and outlives trigger, profile, object and the journal's segments.
//! One thread writes, in transactions of many records, each with the position up to which it is complete.
//! Nobody waits for it: records that it has no room for, or that a crash or a deleted file took from it, it
//! reads in the journal again, where they are found by [`KEY`]. So the journal keeps what lies behind
//! [`History::needed_behind`]. The tables are next door in [`table`].
//!
//! A file that is found damaged while it is written is set aside, and a new one is made of what the journal still
//! has: nothing decides by it, so nothing has to stop for it. At start it is the operator's to say so.
//!
//! Start at [`History::open`] and [`History::record`].

mod table;
#[cfg(test)]
pub(crate) mod tests;

pub use table::{Found, Page, Query};

use crate::clock::instant;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use journal::{ReadError, Reader};
use lifecycle::history::FiringRow;
use rusqlite::{Connection, ErrorCode};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Key of the journal's records that have rows of the history.
pub const KEY: u128 = u128::from_le_bytes(*b"history/firings\0");
/// Records that wait to be written; beyond the bound they are read in the journal later.
const WAITING_MAX: usize = 4_096;
/// Records of one transaction.
const BATCH_MAX: usize = 1_024;
/// How long a transaction waits for more records, so that it shares its sync.
const LINGER: Duration = Duration::from_millis(50);
/// Pause before a transaction that failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// Pause between two complaints.
const COMPLAIN: Duration = Duration::from_secs(60);
/// How long a reader waits for what was handed over before: people may look while the disk takes nothing.
const SETTLE: Duration = Duration::from_secs(5);
/// Pause between two looks for what is too old, by the system's time and by that of firings.
const SWEEP: Duration = Duration::from_secs(10 * 60);
const SWEEP_MS: i64 = 10 * 60 * 1_000;

/// Why the history could not be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file cannot be made, read or written.
    #[error("cannot use the history {path}")]
    Unusable {
        /// Which.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// Another version of busbar made it.
    #[error("the history {path} has version {found}, this busbar reads version {known}", known = table::VERSION)]
    Version {
        /// Which.
        path: PathBuf,
        /// What it says.
        found: i64,
    },
    /// What is in it is not what was written.
    #[error("the history {path} is damaged: {detail}")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The cursor is none that a page has given.
    #[error("`cursor` is none that a page has given")]
    Cursor,
}

impl HistoryError {
    /// Exit code of `busbar serve`, after `sysexits.h`.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Unusable { .. } => 73,
            Self::Version { .. } => 76,
            Self::Damaged { .. } | Self::Cursor => 74,
        }
    }

    fn of(path: &Path, error: rusqlite::Error) -> Self {
        let path = path.to_path_buf();
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::Damaged {
                path,
                detail: error.to_string(),
            },
            _ => Self::Unusable {
                path,
                source: error,
            },
        }
    }
}

/// How long firings are kept, and by which clock.
#[derive(Clone)]
pub struct Keep {
    /// Those that began longer ago go, in milliseconds; `None` = never.
    pub age_ms: Option<i64>,
    /// Of more than so many the oldest go; `None` = as many as there are.
    pub firings: Option<u64>,
    /// The present, epoch milliseconds.
    pub now: fn() -> i64,
}

/// One thing that a record of the journal tells of a firing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Row {
    /// What was decided.
    Firing(FiringRow),
    /// A channel ended without delivery.
    GaveUp {
        /// Id of the firing.
        firing: String,
        /// The subject, `type/id`.
        object: String,
        /// The trigger that told.
        trigger: String,
        /// Index of its action.
        action: u32,
        /// The profile.
        profile: String,
        /// Its channel.
        channel: String,
        /// Why.
        why: String,
    },
    /// A target ended without delivery.
    TargetFailed {
        /// Id of the firing.
        firing: String,
        /// The subject, `type/id`.
        object: String,
        /// The trigger whose target it is.
        trigger: String,
        /// Its id.
        target: String,
        /// Why.
        why: String,
    },
}

/// Where the records are that were not handed over, or were lost.
pub struct Source {
    /// The journal's reader.
    pub reader: Reader,
    /// Rows of the body of a record with the key [`KEY`].
    pub rows: fn(&[u8]) -> Option<Vec<Row>>,
}

enum Message {
    Rows(u64, Vec<Row>, Coming),
    /// There is something to catch up with.
    Wake,
    /// Dropped when everything before it is written.
    Settle(Sender<Infallible>),
    Stop,
}

/// The history, open. Clones share it; [`History::close`] ends it for all.
#[derive(Clone)]
pub struct History {
    shared: Arc<Shared>,
    to_writer: Sender<Message>,
}

struct Shared {
    path: PathBuf,
    covered: AtomicU64,
    /// Records that are in the journal, or come, and are not covered.
    coming: AtomicUsize,
    /// Files that were set aside.
    damaged: AtomicU64,
    lag: Mutex<Lag>,
    stopping: AtomicBool,
    reader: Mutex<Connection>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// Records that nobody will hand over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lag {
    None,
    /// There may be one before the next that comes.
    Unsure,
    /// They lie in the journal. While it is so, none is handed over.
    Behind {
        /// And there may be one more before the next that comes.
        unsure: bool,
    },
}

impl Lag {
    const BEHIND: Self = Self::Behind { unsure: false };

    fn is_behind(self) -> bool {
        matches!(self, Self::Behind { .. })
    }

    /// The same when those that were taken over could not be read.
    fn fall_back(&mut self) {
        let unsure = !matches!(self, Self::None | Self::Behind { unsure: false });
        *self = Self::Behind { unsure };
    }
}

/// Announces a record, from before it is in the journal until it is covered or was not written.
pub struct Coming(Arc<Shared>);

impl Coming {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.coming.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(shared))
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.coming.fetch_sub(1, Ordering::AcqRel);
    }
}

impl History {
    /// Opens the history in the file `path`, making it if it is not there, and begins to write: first what
    /// `source` has and the file has not.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn open(path: &Path, keep: Keep, source: Source) -> Result<Self, HistoryError> {
        let connection = table::open(path)?;
        let covered = table::covered(&connection).map_err(|e| HistoryError::of(path, e))?;
        let reader = table::reader(path).map_err(|e| HistoryError::of(path, e))?;
        let shared = Arc::new(Shared {
            path: path.to_path_buf(),
            covered: AtomicU64::new(covered),
            coming: AtomicUsize::new(0),
            damaged: AtomicU64::new(0),
            lag: Mutex::new(Lag::BEHIND),
            stopping: AtomicBool::new(false),
            reader: Mutex::new(reader),
            writer: Mutex::default(),
        });
        let (to_writer, waiting) = bounded(WAITING_MAX);
        let writer = Writer {
            connection,
            shared: Arc::clone(&shared),
            waiting,
            keep,
            source,
            swept: i64::MIN,
            anew: false,
            complained: None,
        };
        let thread = std::thread::Builder::new()
            .name("history".into())
            .spawn(move || writer.run())
            .expect("the system gives a thread");
        *lock(&shared.writer) = Some(thread);
        Ok(Self { shared, to_writer })
    }

    /// Announces a record, before it is appended to the journal.
    #[must_use]
    pub fn coming(&self) -> Coming {
        Coming::new(&self.shared)
    }

    /// Hands over what the record at `position` tells, which must be synced. Records come in order; one
    /// that is covered already changes nothing. Does not wait.
    pub fn record(&self, position: u64, rows: Vec<Row>, coming: Coming) {
        let mut lag = lock(&self.shared.lag);
        let message = match *lag {
            Lag::None => Message::Rows(position, rows, coming),
            Lag::Unsure => Message::Wake,
            Lag::Behind { .. } => {
                // What was unsure lies before it by now, or never will.
                *lag = Lag::BEHIND;
                return;
            }
        };
        // Where there is no room it is read later; after the end the next start reads it.
        if self.to_writer.try_send(message).is_err() || *lag == Lag::Unsure {
            *lag = Lag::BEHIND;
        }
    }

    /// Notes that a record may come to be in the journal and not be handed over: nobody knows what became
    /// of it. Whether it did is looked up when the next one is there.
    pub fn unsure(&self) {
        let mut lag = lock(&self.shared.lag);
        *lag = match *lag {
            Lag::None | Lag::Unsure => Lag::Unsure,
            Lag::Behind { .. } => Lag::Behind { unsure: true },
        };
    }

    /// Files found damaged and set aside since the start.
    #[must_use]
    pub fn damaged(&self) -> u64 {
        self.shared.damaged.load(Ordering::Relaxed)
    }

    /// Position up to which the history is complete and durable; 0: nothing.
    #[must_use]
    pub fn covered(&self) -> u64 {
        self.shared.covered.load(Ordering::Acquire)
    }

    /// The history needs no record of the journal up to this position.
    #[must_use]
    pub fn needed_behind(&self) -> u64 {
        // Held, so that nothing goes from the one to the other meanwhile.
        let lag = lock(&self.shared.lag);
        match *lag != Lag::None || 0 < self.shared.coming.load(Ordering::Acquire) {
            true => self.covered(),
            false => u64::MAX,
        }
    }

    /// Waits so long at most until everything that was handed over is durable. Blocking.
    pub fn settle(&self, within: Duration) {
        let deadline = instant() + within;
        let (settled, wait) = bounded(1);
        let message = Message::Settle(settled);
        if self.to_writer.send_deadline(message, deadline).is_ok() {
            // The answer is that the sender is dropped.
            let _ = wait.recv_deadline(deadline);
        }
    }

    /// Ends the writer when it has written what it was given, or cannot. Blocking.
    pub fn close(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        let _ = self.to_writer.send(Message::Stop);
        if let Some(writer) = lock(&self.shared.writer).take() {
            // A writer that panicked has said so.
            let _ = writer.join();
        }
    }

    /// A page of firings, newest first, with all that was handed over before. Blocking.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn find(&self, query: &Query) -> Result<Page, HistoryError> {
        self.read(|reader| table::find(reader, query))
    }

    /// One firing. Blocking.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn firing(&self, id: &str) -> Result<Option<Found>, HistoryError> {
        self.read(|reader| table::firing(reader, id))
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, table::ReadError>,
    ) -> Result<T, HistoryError> {
        self.settle(SETTLE);
        let reader = lock(&self.shared.reader);
        read(&reader).map_err(|error| match error {
            table::ReadError::Sqlite(error) => HistoryError::of(&self.shared.path, error),
            table::ReadError::Row(error) => HistoryError::Damaged {
                path: self.shared.path.clone(),
                detail: error.to_string(),
            },
            table::ReadError::Cursor => HistoryError::Cursor,
        })
    }
}

/// What a panic left behind is whole: SQLite's own transactions see to that.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts a damaged file out of the way, over one that was put there before.
fn set_aside(path: &Path, detail: &str, source: &Source) -> Result<(), HistoryError> {
    // The file itself last, so that another try finds what there is to do.
    for end in ["-wal", "-shm", ""] {
        let of = |middle: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(middle);
            name.push(end);
            PathBuf::from(name)
        };
        let (from, to) = (of(""), of(".damaged"));
        let moved = match from.exists() {
            true => std::fs::rename(&from, &to),
            false if end.is_empty() => Ok(()),
            // An older one's must not be taken for this one's.
            false => std::fs::remove_file(&to).or_else(|error| match error.kind() {
                ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            }),
        };
        moved.map_err(|error| HistoryError::Damaged {
            path: path.to_path_buf(),
            detail: format!("{detail}; it could not be set aside: {error}"),
        })?;
    }
    let left = source.reader.find(KEY).unwrap_or_default();
    tracing::error!(
        path = %path.display(),
        detail,
        rebuilt_from = left.iter().map(|(position, _)| *position).min(),
        "the history was damaged; it lies beside as `.damaged` and is made again of what the journal still \
         has, from record `rebuilt_from` on. Look after the disk; older firings are in a backup, or in what \
         `sqlite3 FILE .recover` gets out of the damaged file"
    );
    Ok(())
}

/// Whether it is time to complain again.
fn is_due(last: Option<Instant>, now: Instant) -> bool {
    last.is_none_or(|last| last + COMPLAIN <= now)
}

struct Writer {
    connection: Connection,
    shared: Arc<Shared>,
    waiting: Receiver<Message>,
    keep: Keep,
    source: Source,
    /// When it last looked for what is too old, by the time of firings.
    swept: i64,
    /// The file is a new one: what still waits must not be taken for all that comes before it.
    anew: bool,
    /// When something was last said to be wrong.
    complained: Option<Instant>,
}

impl Writer {
    fn run(mut self) {
        let mut settled = None;
        loop {
            if self.catch_up().is_break() {
                return;
            }
            let pause = self.sweep();
            drop(settled.take());
            match self.waiting.recv_timeout(pause) {
                Ok(first) => match self.batch(first) {
                    ControlFlow::Continue(answer) => settled = answer,
                    ControlFlow::Break(()) => return,
                },
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Removes what is too old, if it is time to; returns when to look again.
    fn sweep(&mut self) -> Duration {
        let now = (self.keep.now)();
        if now.saturating_sub(self.swept).saturating_abs() < SWEEP_MS {
            return SWEEP;
        }
        match table::sweep(&mut self.connection, &self.keep) {
            Ok(true) => return Duration::ZERO,
            Ok(false) => {}
            Err(error) => self.complain(&error, "old firings cannot be removed"),
        }
        self.swept = now;
        SWEEP
    }

    /// Writes `first` and what comes soon after it; gives who waits for that, or the end.
    fn batch(&mut self, first: Message) -> ControlFlow<(), Option<Sender<Infallible>>> {
        let mut records = Vec::new();
        let mut announced = Vec::new();
        let mut settled = None;
        let mut stop = false;
        let mut next = Some(first);
        let deadline = instant() + LINGER;
        while let Some(message) = next {
            match message {
                Message::Rows(position, rows, coming) => {
                    records.push((position, rows));
                    announced.push(coming);
                }
                Message::Wake => {}
                Message::Settle(answer) => settled = Some(answer),
                Message::Stop => stop = true,
            }
            let full = records.len() == BATCH_MAX;
            next = match stop || full || settled.is_some() {
                true => None,
                false => self.waiting.recv_deadline(deadline).ok(),
            };
        }
        // What follows records that were not written may not be either: it would cover them.
        if !self.anew {
            self.write(&records)?;
        }
        match stop {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(settled),
        }
    }

    /// If records lie in the journal that nobody hands over, writes them, and has the next ones handed over
    /// again. What was handed over before them is written first.
    fn catch_up(&mut self) -> ControlFlow<()> {
        loop {
            let _announced = {
                let mut lag = lock(&self.shared.lag);
                if !lag.is_behind() || !self.waiting.is_empty() {
                    return ControlFlow::Continue(());
                }
                *lag = match *lag {
                    Lag::Behind { unsure: true } => Lag::Unsure,
                    _ => Lag::None,
                };
                Coming::new(&self.shared)
            };
            self.anew = false;
            match self.read_again()? {
                Ok(()) => {}
                Err(error) => {
                    self.complain(&error, "the journal cannot be read");
                    lock(&self.shared.lag).fall_back();
                    if self.shared.stopping.load(Ordering::Acquire) {
                        return ControlFlow::Break(());
                    }
                    std::thread::sleep(AGAIN);
                }
            }
        }
    }

    fn read_again(&mut self) -> ControlFlow<(), Result<(), ReadError>> {
        let covered = self.shared.covered.load(Ordering::Acquire);
        let mut found = match self.source.reader.find(KEY) {
            Ok(found) => found,
            Err(error) => return ControlFlow::Continue(Err(error)),
        };
        found.retain(|(position, _)| covered < *position);
        for some in found.chunks(BATCH_MAX) {
            let mut records = Vec::with_capacity(some.len());
            for (position, place) in some {
                match self.source.reader.read(*place) {
                    Ok(body) => {
                        records.push((*position, (self.source.rows)(&body).unwrap_or_default()))
                    }
                    Err(error @ (ReadError::Gone | ReadError::Damaged { .. })) => {
                        tracing::error!(%error, position, "firings are missing in the history");
                    }
                    Err(error) => return ControlFlow::Continue(Err(error)),
                }
            }
            self.write(&records)?;
            if self.anew {
                break;
            }
        }
        ControlFlow::Continue(Ok(()))
    }

    /// Tries until it is written, for the journal holds it as long; the end if the server stops before. Where
    /// the file is damaged it begins one anew instead, and what was to be written is read again.
    fn write(&mut self, records: &[(u64, Vec<Row>)]) -> ControlFlow<()> {
        while !records.is_empty() {
            let covered = self.shared.covered.load(Ordering::Acquire);
            match table::write(&mut self.connection, covered, records) {
                Ok(covered) => {
                    self.shared.covered.store(covered, Ordering::Release);
                    break;
                }
                Err(error) => match HistoryError::of(&self.shared.path, error) {
                    HistoryError::Damaged { detail, .. } => return self.begin_anew(&detail),
                    error => self.pause(&error)?,
                },
            }
        }
        ControlFlow::Continue(())
    }

    /// Sets the damaged file aside and has the rows of the journal written into a new one.
    fn begin_anew(&mut self, detail: &str) -> ControlFlow<()> {
        // From here on the journal keeps what it still has, and nothing more is handed over.
        self.shared.covered.store(0, Ordering::Release);
        lock(&self.shared.lag).fall_back();
        self.anew = true;
        // Closed first: SQLite removes the files of a connection that ends by their names.
        let nowhere = || Connection::open_in_memory().expect("memory for a handle");
        self.connection = nowhere();
        *lock(&self.shared.reader) = nowhere();
        let path = self.shared.path.clone();
        while let Err(error) = set_aside(&path, detail, &self.source) {
            self.pause(&error)?;
        }
        self.shared.damaged.fetch_add(1, Ordering::Relaxed);
        loop {
            let opened = table::open(&path).and_then(|writer| {
                let reader = table::reader(&path).map_err(|e| HistoryError::of(&path, e))?;
                Ok((writer, reader))
            });
            match opened {
                Ok((writer, reader)) => {
                    self.connection = writer;
                    *lock(&self.shared.reader) = reader;
                    return ControlFlow::Continue(());
                }
                Err(error) => self.pause(&error)?,
            }
        }
    }

    /// Waits before another try; the end if the server stops.
    fn pause(&mut self, error: &HistoryError) -> ControlFlow<()> {
        self.complain(error, "the history cannot be written");
        if self.shared.stopping.load(Ordering::Acquire) {
            return ControlFlow::Break(());
        }
        std::thread::sleep(AGAIN);
        ControlFlow::Continue(())
    }

    /// Says what is wrong, once a minute at most.
    fn complain(&mut self, error: &dyn std::error::Error, what: &str) {
        let now = instant();
        if !is_due(self.complained, now) {
            return;
        }
        self.complained = Some(now);
        let cause = error.source().map(tracing::field::display);
        let path = self.shared.path.display();
        tracing::error!(%error, cause, %path, "{what}; the history tries again each second");
    }
}
