//! The history of firings: the first projection, what people search and nothing decides by.
//!
//! What was decided is in the journal; here it is a second time, in SQLite, so that it can be looked up by
//! event type, object, trigger and time, and outlives trigger, profile, object and the journal's segments.
//! One thread writes, in transactions of many records, each with the position up to which it is complete:
//! after a crash the records behind [`History::covered`] are fed again, and what is there already is passed
//! over. The tables are next door in [`table`].
//!
//! Start at [`History::open`] and [`History::record`].

mod table;
#[cfg(test)]
pub(crate) mod tests;

pub use table::{Found, Page, Query};

use crate::clock::instant;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use lifecycle::history::{FiringRow, ObjectRow, Status};
use rusqlite::{Connection, ErrorCode};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Records that wait to be written; at the bound [`History::record`] waits.
const WAITING_MAX: usize = 4_096;
/// Records of one transaction.
const BATCH_MAX: usize = 1_024;
/// How long a transaction waits for more records, so that it shares its sync.
const LINGER: Duration = Duration::from_millis(50);
/// Pause before a transaction that failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a reader waits for what was handed over before: people may look while the disk takes nothing.
const SETTLE: Duration = Duration::from_secs(1);
/// Pause between two looks for what is too old.
const SWEEP: Duration = Duration::from_secs(10 * 60);

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
#[derive(Debug, Clone, PartialEq)]
pub enum Row {
    /// It began, or ended at once; with the subjects that are done by now.
    Firing(FiringRow),
    /// One of its subjects is done.
    Object {
        /// Id of the firing.
        firing: String,
        /// What was decided.
        row: ObjectRow,
    },
    /// All its subjects are done, or it failed.
    Ended {
        /// Id of the firing.
        firing: String,
        /// When, RFC 3339.
        at: String,
        /// What became of it.
        status: Status,
        /// Why it failed; `None` leaves what it said.
        message: Option<String>,
    },
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

enum Message {
    Rows(u64, Vec<Row>),
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
    stopping: AtomicBool,
    reader: Mutex<Connection>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl History {
    /// Opens the history in the file `path`, making it if it is not there, and begins to write.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn open(path: &Path, keep: Keep) -> Result<Self, HistoryError> {
        let connection = table::open(path)?;
        let covered = table::covered(&connection).map_err(|e| HistoryError::of(path, e))?;
        let reader = table::reader(path).map_err(|e| HistoryError::of(path, e))?;
        let shared = Arc::new(Shared {
            path: path.to_path_buf(),
            covered: AtomicU64::new(covered),
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
        };
        let thread = std::thread::Builder::new()
            .name("history".into())
            .spawn(move || writer.run())
            .expect("the system gives a thread");
        *lock(&shared.writer) = Some(thread);
        Ok(Self { shared, to_writer })
    }

    /// Hands over what the record at `position` tells, which must be synced. Records come in order; one
    /// that is covered already changes nothing, and one without rows moves the position on.
    ///
    /// Waits while [`WAITING_MAX`] records wait, as they do when the disk takes nothing: whoever may not
    /// wait asks [`History::has_room`] first.
    pub fn record(&self, position: u64, rows: Vec<Row>) {
        // After the end nobody takes it; the next start feeds it again.
        let _ = self.to_writer.send(Message::Rows(position, rows));
    }

    /// Whether a record can be handed over without waiting.
    #[must_use]
    pub fn has_room(&self) -> bool {
        !self.to_writer.is_full()
    }

    /// Position up to which the history is complete and durable; 0: nothing. The journal may free what
    /// lies before it, and feeds what lies behind it after a start.
    #[must_use]
    pub fn covered(&self) -> u64 {
        self.shared.covered.load(Ordering::Acquire)
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

struct Writer {
    connection: Connection,
    shared: Arc<Shared>,
    waiting: Receiver<Message>,
    keep: Keep,
}

impl Writer {
    fn run(mut self) {
        let mut pause = Duration::ZERO;
        loop {
            match self.waiting.recv_timeout(pause) {
                Ok(first) => {
                    if self.batch(first) {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    let swept = table::sweep(&mut self.connection, &self.keep);
                    pause = match swept {
                        Ok(true) => Duration::ZERO,
                        Ok(false) => SWEEP,
                        Err(error) => {
                            tracing::warn!(%error, "old firings could not be removed from the history");
                            SWEEP
                        }
                    };
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Writes `first` and what comes soon after it; true if that was the end.
    fn batch(&mut self, first: Message) -> bool {
        let mut records = Vec::new();
        let mut settled = None;
        let mut stop = false;
        let mut next = Some(first);
        let deadline = instant() + LINGER;
        while let Some(message) = next {
            match message {
                Message::Rows(position, rows) => records.push((position, rows)),
                Message::Settle(answer) => settled = Some(answer),
                Message::Stop => stop = true,
            }
            let full = records.len() == BATCH_MAX;
            next = match stop || full || settled.is_some() {
                true => None,
                false => self.waiting.recv_deadline(deadline).ok(),
            };
        }
        let written = self.write(&records);
        drop(settled);
        // What follows records that were not written may not be either: it would cover them.
        stop || !written
    }

    /// Tries until it is written, for the journal holds it as long; false if the server stops before.
    fn write(&mut self, records: &[(u64, Vec<Row>)]) -> bool {
        let mut told = false;
        while !records.is_empty() {
            let covered = self.shared.covered.load(Ordering::Acquire);
            match table::write(&mut self.connection, covered, records) {
                Ok(covered) => {
                    self.shared.covered.store(covered, Ordering::Release);
                    break;
                }
                Err(error) if !told => {
                    let path = self.shared.path.display();
                    tracing::error!(%error, %path, "the history cannot be written; trying again");
                    told = true;
                }
                Err(_) => {}
            }
            if self.shared.stopping.load(Ordering::Acquire) {
                return false;
            }
            std::thread::sleep(AGAIN);
        }
        true
    }
}
