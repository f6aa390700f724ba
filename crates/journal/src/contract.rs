//! The trait [`Journal`] and the nouns that it speaks in.

use std::sync::Arc;

/// Number of a record, from 1, without gaps, never given to another record once reported synced.
pub type Sequence = u64;

/// Number of one life of a segment file. Grows, never reused; 0 is "none".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub u64);

/// Where a record lies: the life of a segment, the record's first byte in it, and its body's
/// length. 16 bytes, for they are kept by the million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The segment, in the life that wrote the record.
    pub segment: SegmentId,
    /// Bytes from the segment's start to the record's header.
    pub offset: u32,
    /// Bytes of the body.
    pub length: u32,
}

const _: () = assert!(size_of::<Place>() == 16);

/// What every block header carries besides the engine's own fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// Wall clock, milliseconds since 1970.
    pub wall_ms: i64,
    /// Running time accumulated over all starts, milliseconds.
    pub running_ms: u64,
    /// Version of the rule set that the block was matched with.
    pub rules_version: u64,
}

/// One record to append.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Keys by which [`Reader::find`] finds it again; at most 65,535.
    pub keys: &'a [u128],
    /// The body.
    pub body: &'a [u8],
}

/// What an append gave: the records have `first`, `first + 1`, … and lie at `places`, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Sequence of the first record.
    pub first: Sequence,
    /// A place for each record.
    pub places: Vec<Place>,
}

/// Which room a record may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// What comes from outside: never the last prepared segment.
    Ordinary,
    /// What drains: outcomes, deletes, moves to a dead-letter queue. May use the last one.
    Reserve,
}

/// Why nothing was appended. In each case the journal is as it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The group is full or the next segment is being prepared: ask again once work was done.
    #[error("the journal is not ready, ask again once work was done")]
    NotReady,
    /// No space on the disk, or less than the mark. Passes when there is space again.
    #[error("the disk is full")]
    Full,
    /// More than one block can hold.
    #[error("the records are larger than one block")]
    TooLarge,
    /// An earlier write or sync failed. Final.
    #[error("the journal failed")]
    Failed,
}

/// Why a segment was not given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FreeError {
    /// No such live segment, or it was given back already.
    #[error("no such segment")]
    Unknown,
    /// Still written to, or holding records past the newest durable snapshot.
    #[error("the segment is not sealed and covered by a snapshot")]
    Needed,
    /// The freeing could not be recorded.
    #[error("the freeing could not be recorded")]
    Append(#[source] AppendError),
}

/// Why no snapshot was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// One is being written.
    #[error("a snapshot is being written")]
    Busy,
    /// The position is not that of the newest appended record.
    #[error("a snapshot is taken at the newest record")]
    Position,
    /// The journal failed.
    #[error("the journal failed")]
    Failed,
}

/// A write or a sync failed. Final: end the process and recover from disk.
#[derive(Debug, thiserror::Error)]
#[error("the journal failed at {at}")]
pub struct Failed {
    /// What was being done, with the file's name.
    pub at: String,
    /// What the disk said.
    #[source]
    pub source: Arc<std::io::Error>,
}

/// Why a record could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The segment was given back.
    #[error("the record's segment was given back")]
    Gone,
    /// Not synced yet: nobody outside may see it.
    #[error("the record is not synced yet")]
    Unsynced,
    /// The bytes are not those that were written.
    #[error("damaged record in {file} at byte {offset}")]
    Damaged {
        /// Name of the file within the journal's directory.
        file: String,
        /// Byte at which the record begins.
        offset: u64,
    },
    /// The disk refused.
    #[error("could not read")]
    Io(#[source] Arc<std::io::Error>),
}

/// What there is to know about a live segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its id.
    pub id: SegmentId,
    /// Its first record; with `last` below it the segment holds none.
    pub first: Sequence,
    /// Its last record.
    pub last: Sequence,
    /// Bytes in use.
    pub bytes: u64,
    /// No more is written to it.
    pub sealed: bool,
    /// Wall clock of its newest block.
    pub wall_ms: i64,
}

/// A snapshot's content: as many chunks as the caller likes, each of at most 1 GiB.
pub type Chunks = Box<dyn Iterator<Item = Vec<u8>> + Send>;

/// Takes what recovery finds: the snapshot's chunks first, then every record after it in order.
/// A message stops recovery.
pub trait Replay {
    /// A chunk, as it was given, in order.
    ///
    /// # Errors
    /// Why the chunk makes no sense.
    fn snapshot(&mut self, position: Sequence, chunk: &[u8]) -> Result<(), String>;
    /// A record after the snapshot.
    ///
    /// # Errors
    /// Why the record makes no sense.
    fn record(
        &mut self,
        stamp: &Stamp,
        sequence: Sequence,
        place: Place,
        body: &[u8],
    ) -> Result<(), String>;
}

/// The durable ordered record, owned by one thread.
pub trait Journal: Send {
    /// Adds records to the group that is forming. No I/O: they are durable when
    /// [`synced`](Self::synced) reaches their sequence. After a crash all records of one
    /// append are there or none.
    ///
    /// # Errors
    /// [`AppendError`]; then nothing was added.
    fn append(
        &mut self,
        stamp: &Stamp,
        records: &[Record<'_>],
        room: Room,
    ) -> Result<Appended, AppendError>;

    /// The next piece of work for a disk thread, if any is due and none of its kind is running.
    /// `idle` says that nothing was appended for 100 ms: then an empty block is due if no block
    /// on disk says yet that the newest record was synced.
    fn take_work(&mut self, idle: Option<&Stamp>) -> Option<Work>;

    /// Takes what a work came to.
    ///
    /// # Errors
    /// [`Failed`], which is final: nothing will be synced any more.
    fn done(&mut self, done: Done) -> Result<(), Failed>;

    /// Every record up to here is durable.
    fn synced(&self) -> Sequence;

    /// The sequence that the next record gets.
    fn next(&self) -> Sequence;

    /// The live segments, oldest first.
    fn segments(&self) -> Vec<SegmentInfo>;

    /// Gives a sealed segment that the newest snapshot covers back. The freeing is recorded, and
    /// that record synced, before the segment is reused; so it takes a sequence.
    ///
    /// # Errors
    /// [`FreeError`]; then the segment stays.
    fn free(&mut self, segment: SegmentId) -> Result<(), FreeError>;

    /// Begins a snapshot as of `position`, which is the newest appended record's sequence. The
    /// chunks are written by a work beside the running ones; the snapshot counts, atomically,
    /// once it and all records up to `position` are durable.
    ///
    /// # Errors
    /// [`SnapshotError`]; then the chunks are dropped.
    fn snapshot(&mut self, position: Sequence, chunks: Chunks) -> Result<(), SnapshotError>;

    /// Position of the newest durable snapshot; 0 is none.
    fn snapshot_position(&self) -> Sequence;

    /// A snapshot is being written.
    fn snapshot_running(&self) -> bool;

    /// Bytes appended since the newest durable snapshot.
    fn tail_bytes(&self) -> u64;

    /// Records appended since the newest durable snapshot.
    fn tail_records(&self) -> u64;

    /// Free space is under the mark, or a segment could not be made: ordinary records are refused.
    fn disk_low(&self) -> bool;

    /// A reader that works beside the journal.
    fn reader(&self) -> Reader;
}

/// What an engine gives to be read by.
pub(crate) trait Read: Send + Sync {
    fn read(&self, place: Place) -> Result<Vec<u8>, ReadError>;
    fn find(&self, key: u128) -> Result<Vec<(Sequence, Place)>, ReadError>;
    fn scan(
        &self,
        from: Sequence,
        bytes_max: usize,
    ) -> Result<Vec<(Sequence, Place, Vec<u8>)>, ReadError>;
}

/// Reads beside the journal, from any thread. Cheap to clone. Sees synced records only.
#[derive(Clone)]
pub struct Reader(pub(crate) Arc<dyn Read>);

impl Reader {
    /// The body at `place`, verified.
    ///
    /// # Errors
    /// [`ReadError`]; never a body that differs from what was appended.
    pub fn read(&self, place: Place) -> Result<Vec<u8>, ReadError> {
        self.0.read(place)
    }

    /// Where the records with this key lie, by sequence.
    ///
    /// # Errors
    /// [`ReadError`]. Damage in one record's header hides no other record: it is passed over.
    pub fn find(&self, key: u128) -> Result<Vec<(Sequence, Place)>, ReadError> {
        self.0.find(key)
    }

    /// Records from `from` on, in order, until their bodies are more than `bytes_max` (at least
    /// one, if there is one). Begins with the oldest one left if `from` was given back.
    ///
    /// # Errors
    /// [`ReadError`]. At a damaged record it gives what lies before; asked from there it says
    /// so, and asked from the sequence after that it goes on.
    pub fn scan(
        &self,
        from: Sequence,
        bytes_max: usize,
    ) -> Result<Vec<(Sequence, Place, Vec<u8>)>, ReadError> {
        self.0.scan(from, bytes_max)
    }
}

/// What a work is about, for whoever chooses the thread that runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkKind {
    /// Write and sync the group: what callers wait for.
    Write,
    /// Make the next segment.
    Prepare,
    /// Write a sealed segment's key index.
    Index,
    /// Write a snapshot.
    Snapshot,
    /// Put a written snapshot in the place of the old one.
    Install,
    /// Remove a segment that nobody needs.
    Remove,
    /// Ask how much space is free.
    Probe,
}

/// A piece of work for the disk. Run it on any thread and bring back what it came to.
pub struct Work(pub(crate) crate::file::Job);

impl Work {
    /// What it is about.
    #[must_use]
    pub fn kind(&self) -> WorkKind {
        self.0.kind()
    }

    /// Does the I/O.
    #[must_use]
    pub fn run(self) -> Done {
        Done(self.0.run())
    }
}

/// What a work came to, for [`Journal::done`].
pub struct Done(pub(crate) crate::file::Came);
