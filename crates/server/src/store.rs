//! The data directory, opened: lock, format, journal, and the state that it tells.

use crate::annex::{Shared, history_rows};
use crate::clock::{Clock, wall_ms};
use crate::config::Config;
use crate::history::{History, HistoryError, Keep, Source};
use bus_core::core::{Append, Full};
use bus_core::record::{Place, Record};
use bus_core::state::{Now, State};
use journal::disk::{Disk, OsDisk};
use journal::file::{FileJournal, OpenError};
use journal::{AppendError, Journal, Room, SegmentId, Sequence, Stamp};
use lifecycle::moment::DAY_MS;
use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Number of the form of the data directory, looked at before anything else is opened.
const FORMAT: &str = "1";

/// Why a data directory could not be opened. The exit code says which kind.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It is not there and cannot be made, or cannot be written.
    #[error("cannot write the data directory {path}")]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Another process has it.
    #[error("the data directory {0} is in use by another busbar")]
    Locked(PathBuf),
    /// Another version of busbar made it.
    #[error("the data directory {path} has format {found}, this busbar reads format {FORMAT}")]
    Format {
        /// Which.
        path: PathBuf,
        /// What it says.
        found: String,
    },
    /// Its journal is damaged or cannot be read.
    #[error("the journal could not be opened")]
    Journal(#[source] OpenError),
    /// Its history.
    #[error(transparent)]
    History(#[from] HistoryError),
}

impl StoreError {
    /// Exit code of `busbar serve`, after `sysexits.h`. Source: reliability-security.md F10, F34.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Unwritable { .. } => 73,
            Self::Locked(_) => 75,
            Self::Format { .. } => 76,
            Self::Journal(_) => 74,
            Self::History(error) => error.exit_code(),
        }
    }
}

/// An opened data directory.
pub struct Store {
    /// The journal.
    pub journal: FileJournal,
    /// What it tells.
    pub state: State,
    /// Goes on from its newest record.
    pub clock: Clock,
    /// The part of the state that decisions read.
    pub kept: Shared,
    /// What decisions came to, for people.
    pub history: History,
    /// Kept open: the lock ends with it.
    pub lock: File,
}

/// Opens the data directory, making it if it is not there.
///
/// # Errors
/// [`StoreError`].
pub fn open(config: &Config) -> Result<Store, StoreError> {
    let unwritable = |path: &Path| {
        let path = path.to_path_buf();
        move |source| StoreError::Unwritable { path, source }
    };
    let data = &config.data;
    let journal_dir = data.join("journal").join("p0");
    std::fs::create_dir_all(&journal_dir).map_err(unwritable(data))?;
    std::fs::create_dir_all(data.join("logs")).map_err(unwritable(data))?;
    let lock_path = data.join("lock");
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(unwritable(data))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(StoreError::Locked(data.clone())),
        Err(TryLockError::Error(source)) => {
            return Err(StoreError::Unwritable {
                path: data.clone(),
                source,
            });
        }
    }
    check_format(data)?;
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).expect("the operating system gives random bytes");
    let options = journal::file::Options {
        segment_bytes: config.disk_reserve_bytes,
        accept_data_loss: config.accept_data_loss,
        free_bytes_min: config.disk_free_bytes_min,
        mark_seed: u64::from_le_bytes(seed),
        ..journal::file::Options::default()
    };
    let kept = Shared::default();
    let now = Now {
        wall_ms: wall_ms(),
        running_ms: 0,
    };
    let state = State::new(config.home.clone(), now).with_annex(Box::new(kept.clone()));
    let (journal, state) =
        read_back(Arc::new(OsDisk), &journal_dir, &options, state).map_err(StoreError::Journal)?;
    let clock = Clock::start(state.running_ms);
    let source = Source {
        reader: journal.reader(),
        rows: history_rows,
    };
    let history = History::open(&data.join("history.sqlite"), keep(config), source)?;
    Ok(Store {
        journal,
        state,
        clock,
        kept,
        history,
        lock,
    })
}

fn keep(config: &Config) -> Keep {
    let days = i64::try_from(config.history_days).expect("bounded by its setting");
    Keep {
        age_ms: (days > 0).then_some(days * DAY_MS),
        firings: (config.history_firings_max > 0).then_some(config.history_firings_max),
        now: wall_ms,
    }
}

/// Opens the journal in `dir` and makes of an empty state that of all it tells.
///
/// # Errors
/// [`OpenError`].
pub fn read_back(
    disk: Arc<dyn Disk>,
    dir: &Path,
    options: &journal::file::Options,
    state: State,
) -> Result<(FileJournal, State), OpenError> {
    let mut reader = Reader { state };
    let journal = journal::file::open(disk, dir, options, &mut reader)?;
    Ok((journal, reader.state))
}

fn check_format(data: &Path) -> Result<(), StoreError> {
    let path = data.join("FORMAT");
    let unwritable = |source| StoreError::Unwritable {
        path: path.clone(),
        source,
    };
    match File::open(&path) {
        Ok(mut file) => {
            let mut found = String::new();
            file.read_to_string(&mut found).map_err(unwritable)?;
            match found.trim() {
                FORMAT => Ok(()),
                found => Err(StoreError::Format {
                    path: data.to_path_buf(),
                    found: found.to_owned(),
                }),
            }
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let new = data.join("FORMAT.new");
            let mut file = File::create(&new).map_err(unwritable)?;
            file.write_all(FORMAT.as_bytes()).map_err(unwritable)?;
            file.sync_all().map_err(unwritable)?;
            std::fs::rename(&new, &path).map_err(unwritable)?;
            File::open(data)
                .and_then(|dir| dir.sync_all())
                .map_err(unwritable)
        }
        Err(source) => Err(unwritable(source)),
    }
}

struct Reader {
    state: State,
}

impl journal::Replay for Reader {
    fn snapshot(&mut self, _: Sequence, chunk: &[u8]) -> Result<(), String> {
        let restored = self.state.restore(chunk);
        restored.map_err(|e| format!("the snapshot is of another version: {e}"))
    }

    fn record(
        &mut self,
        stamp: &Stamp,
        sequence: Sequence,
        place: journal::Place,
        body: &[u8],
    ) -> Result<(), String> {
        let now = Now {
            wall_ms: stamp.wall_ms,
            running_ms: stamp.running_ms,
        };
        Record::decode(body)
            .and_then(|record| {
                self.state
                    .apply(now, sequence, from_journal(place), &record)
            })
            .map_err(|e| {
                let segment = place.segment.0;
                format!("record {sequence} in segment {segment} is of another version: {e}")
            })
    }
}

/// A place in the core's words.
fn from_journal(place: journal::Place) -> Place {
    Place {
        segment: place.segment.0,
        offset: place.offset,
        length: place.length,
    }
}

/// A place in the journal's words.
#[must_use]
pub fn to_journal(place: Place) -> journal::Place {
    journal::Place {
        segment: SegmentId(place.segment),
        offset: place.offset,
        length: place.length,
    }
}

/// The journal as the core sees it.
pub struct Appender {
    /// The engine.
    pub journal: FileJournal,
    /// Newest version of the rule set, for the block headers.
    pub rules_version: u64,
    /// Bytes appended since the newest group was taken to the disk.
    grouped: usize,
}

/// Bytes of a group at which callers have to wait for the disk.
const GROUP_BYTES_MAX: usize = 8 << 20;

impl Appender {
    /// The journal, to be appended to.
    #[must_use]
    pub fn new(journal: FileJournal) -> Self {
        Self {
            journal,
            rules_version: 0,
            grouped: 0,
        }
    }

    /// Whether callers have to wait until the disk has taken what there is.
    #[must_use]
    pub fn is_full(&self) -> bool {
        GROUP_BYTES_MAX <= self.grouped
    }

    /// The group has gone to the disk.
    pub fn group_taken(&mut self) {
        self.grouped = 0;
    }

    /// What a block header carries at this moment.
    #[must_use]
    pub fn stamp(&self, now: Now) -> Stamp {
        Stamp {
            wall_ms: now.wall_ms,
            running_ms: now.running_ms,
            rules_version: self.rules_version,
        }
    }
}

impl Append for Appender {
    fn append(
        &mut self,
        now: Now,
        records: &[(Option<u128>, &[u8])],
        reserve: bool,
    ) -> Result<(u64, Vec<Place>), Full> {
        let stamp = self.stamp(now);
        let room = if reserve {
            Room::Reserve
        } else {
            Room::Ordinary
        };
        let records: Vec<journal::Record<'_>> = records
            .iter()
            .map(|(key, body)| journal::Record {
                keys: key.as_slice(),
                body,
            })
            .collect();
        match self.journal.append(&stamp, &records, room) {
            Ok(appended) => {
                self.grouped += records.iter().map(|r| r.body.len()).sum::<usize>();
                Ok((
                    appended.first,
                    appended.places.into_iter().map(from_journal).collect(),
                ))
            }
            Err(AppendError::NotReady) => Err(Full::Busy),
            Err(AppendError::TooLarge) => Err(Full::TooLarge),
            Err(AppendError::Full | AppendError::Failed) => Err(Full::Disk),
        }
    }

    fn next(&self) -> u64 {
        self.journal.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus_core::name::Home;
    use journal::Replay as _;

    #[test]
    fn what_no_version_of_us_annexed_is_an_error_with_its_number() {
        let state = State::new(Home::default(), Now::default());
        let mut reader = Reader {
            state: state.with_annex(Box::<Shared>::default()),
        };
        let stamp = Stamp {
            wall_ms: 0,
            running_ms: 0,
            rules_version: 0,
        };
        let place = to_journal(Place::default());
        let mut read = |text: &[u8]| {
            let body = Record::Annex { bytes: text }.encode();
            reader.record(&stamp, 7, place, &body)
        };
        assert_eq!(read(br#"{"Effects":[]}"#), Ok(()));
        let refused =
            "record 7 in segment 0 is of another version: unknown entry of the annex in a record";
        assert_eq!(
            read(br#"{"Effects":[{"PutObject":{}}]}"#),
            Err(refused.to_owned())
        );
    }
}
