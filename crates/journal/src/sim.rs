//! A disk in memory that behaves as badly as a disk may.
//!
//! Each file has two images: what programs see, and what survives a power cut. A write touches
//! the first only; [`File::sync_data`] copies. [`SimDisk::power_cut`] keeps any subset of the
//! 512-byte sectors not yet synced and any subset of the names not yet synced, and ends all open
//! handles. [`SimDisk::fail`] makes an operation fail. A failed sync forgets what was to be
//! written, as Linux does: asked again it succeeds, and the bytes are lost all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::disk::{Disk, File};

/// What a disk writes at once or not at all.
const SECTOR: usize = 512;

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Any operation: input/output error.
    Eio,
    /// What needs space: no space left.
    Enospc,
    /// Reads and writes: interrupted, nothing done.
    Eintr,
    /// Writes: only the first half is taken.
    ShortWrite,
    /// Syncs of contents and names: input/output error, and contents are forgotten.
    SyncEio,
    /// Renames: input/output error.
    RenameEio,
}

/// Which operation is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Create,
    Open,
    Read,
    Write,
    Sync,
    SyncDir,
    Rename,
    Remove,
    Other,
}

impl Fault {
    /// The operation is one that this fault can hit.
    fn hits(self, operation: Operation) -> bool {
        match self {
            Fault::Eio => true,
            Fault::Enospc => matches!(operation, Operation::Create | Operation::Write),
            Fault::Eintr => matches!(operation, Operation::Read | Operation::Write),
            Fault::ShortWrite => operation == Operation::Write,
            Fault::SyncEio => matches!(operation, Operation::Sync | Operation::SyncDir),
            Fault::RenameEio => operation == Operation::Rename,
        }
    }
}

#[derive(Debug, Clone)]
enum NameChange {
    Create(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

#[derive(Debug, Default, Clone)]
struct Inode {
    seen: Vec<u8>,
    durable: Vec<u8>,
    unsynced: BTreeSet<usize>,
}

impl Inode {
    fn touch(&mut self, from: usize, to: usize) {
        self.unsynced.extend(from / SECTOR..to.div_ceil(SECTOR));
    }
}

#[derive(Debug)]
struct Plan {
    fault: Fault,
    at: u64,
    for_good: bool,
}

#[derive(Debug, Default)]
struct Inner {
    inodes: BTreeMap<u64, Inode>,
    inode_next: u64,
    names: BTreeMap<PathBuf, u64>,
    names_durable: BTreeMap<PathBuf, u64>,
    changes: Vec<NameChange>,
    power: u64,
    operations: u64,
    plan: Option<Plan>,
    free_bytes: u64,
}

impl Inner {
    /// Counts an operation and says how it fails, if it does.
    fn fault(&mut self, operation: Operation) -> Option<Fault> {
        let plan = self.plan.as_ref();
        let hit = plan.is_some_and(|plan| plan.fault.hits(operation));
        if !hit {
            return None;
        }
        let plan = plan.expect("it hit");
        let number = self.operations;
        self.operations += 1;
        let due = number == plan.at || (plan.for_good && number > plan.at);
        due.then_some(plan.fault)
    }

    fn check(&mut self, operation: Operation) -> io::Result<()> {
        match self.fault(operation) {
            None | Some(Fault::ShortWrite) => Ok(()),
            Some(Fault::Enospc) => Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::Eintr) => Err(io::ErrorKind::Interrupted.into()),
            Some(_) => Err(io::Error::other("simulated input/output error")),
        }
    }

    fn used(&self) -> u64 {
        let seen = self
            .names
            .values()
            .map(|inode| self.inodes[inode].seen.len());
        seen.map(|length| length as u64).sum()
    }
}

/// The disk. A clone is the same disk.
#[derive(Debug, Clone)]
pub struct SimDisk(Arc<Mutex<Inner>>);

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl SimDisk {
    /// An empty disk of 1 TiB.
    #[must_use]
    pub fn new() -> Self {
        let inner = Inner {
            free_bytes: 1 << 40,
            ..Inner::default()
        };
        Self(Arc::new(Mutex::new(inner)))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no panic while the disk is held")
    }

    /// Cuts the power: keeps any subset of what was not synced, by `random`. Handles from before
    /// give errors from now on, and faults are over.
    pub fn power_cut(&self, random: &mut dyn FnMut() -> u64) {
        let mut inner = self.inner();
        let changes = std::mem::take(&mut inner.changes);
        // Journalled file systems keep names in order; others need not. Try both.
        let in_order = random().is_multiple_of(2);
        let kept = (random() % (changes.len() as u64 + 1)) as usize;
        for (number, change) in changes.into_iter().enumerate() {
            let keep = if in_order {
                number < kept
            } else {
                random().is_multiple_of(2)
            };
            if keep {
                apply(&mut inner.names_durable, change);
            }
        }
        // Three moods: all kept, nothing kept, or any subset.
        let mood = random() % 4;
        for inode in inner.inodes.values_mut() {
            cut_inode(inode, mood, random);
        }
        inner.names = inner.names_durable.clone();
        let live: BTreeSet<u64> = inner.names.values().copied().collect();
        inner.inodes.retain(|inode, _| live.contains(inode));
        inner.power += 1;
        inner.plan = None;
    }

    /// Kills the process: all that was written is still there, handles are ended.
    pub fn kill(&self) {
        let mut inner = self.inner();
        inner.power += 1;
        inner.plan = None;
    }

    /// Makes the operation number `at` (from 0, of those that `fault` can hit, counted from now)
    /// fail; with `for_good` each one after it too.
    pub fn fail(&self, fault: Fault, at: u64, for_good: bool) {
        let mut inner = self.inner();
        inner.operations = 0;
        inner.plan = Some(Plan {
            fault,
            at,
            for_good,
        });
    }

    /// Ends the faults and says whether the one asked for came to pass.
    pub fn heal(&self) -> bool {
        let mut inner = self.inner();
        let plan = inner.plan.take();
        plan.is_some_and(|plan| plan.at < inner.operations)
    }

    /// Sets how much may be allocated in all from now on.
    pub fn set_free_bytes(&self, bytes: u64) {
        self.inner().free_bytes = bytes;
    }

    /// The names and contents that programs see, for damage tests.
    #[must_use]
    pub fn image(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let inner = self.inner();
        let names = inner.names.iter();
        names
            .map(|(path, inode)| (path.clone(), inner.inodes[inode].seen.clone()))
            .collect()
    }

    /// A disk that holds these files, all durable.
    #[must_use]
    pub fn from_image(image: BTreeMap<PathBuf, Vec<u8>>) -> Self {
        let disk = Self::new();
        let mut inner = disk.inner();
        for (number, (path, bytes)) in image.into_iter().enumerate() {
            let inode = Inode {
                durable: bytes.clone(),
                seen: bytes,
                unsynced: BTreeSet::new(),
            };
            inner.inodes.insert(number as u64, inode);
            inner.names.insert(path.clone(), number as u64);
            inner.names_durable.insert(path, number as u64);
            inner.inode_next = number as u64 + 1;
        }
        drop(inner);
        disk
    }
}

fn apply(names: &mut BTreeMap<PathBuf, u64>, change: NameChange) {
    match change {
        NameChange::Create(path, inode) => {
            names.insert(path, inode);
        }
        NameChange::Rename(from, to) => {
            if let Some(inode) = names.remove(&from) {
                names.insert(to, inode);
            }
        }
        NameChange::Remove(path) => {
            names.remove(&path);
        }
    }
}

fn cut_inode(inode: &mut Inode, mood: u64, random: &mut dyn FnMut() -> u64) {
    let mut keep = || match mood {
        0 => true,
        1 => false,
        _ => random().is_multiple_of(2),
    };
    if inode.durable.len() != inode.seen.len() && keep() {
        inode.durable.resize(inode.seen.len(), 0);
    }
    for sector in std::mem::take(&mut inode.unsynced) {
        let from = sector * SECTOR;
        let to = (from + SECTOR)
            .min(inode.seen.len())
            .min(inode.durable.len());
        if from < to && keep() {
            inode.durable[from..to].copy_from_slice(&inode.seen[from..to]);
        }
    }
    inode.seen.clone_from(&inode.durable);
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut inner = self.inner();
        inner.check(Operation::Create)?;
        if inner.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = inner.inode_next;
        inner.inode_next += 1;
        inner.inodes.insert(inode, Inode::default());
        inner.names.insert(path.to_owned(), inode);
        let change = NameChange::Create(path.to_owned(), inode);
        inner.changes.push(change);
        Ok(self.handle(inode, inner.power))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut inner = self.inner();
        inner.check(Operation::Open)?;
        let inode = inner.names.get(path).copied();
        let inode = inode.ok_or(io::ErrorKind::NotFound)?;
        Ok(self.handle(inode, inner.power))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        inner.check(Operation::Rename)?;
        let inode = inner.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        inner.names.insert(to.to_owned(), inode);
        let change = NameChange::Rename(from.to_owned(), to.to_owned());
        inner.changes.push(change);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        inner.check(Operation::Remove)?;
        inner.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        inner.changes.push(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut inner = self.inner();
        // Names are not forgotten when this fails, as contents are: they stay to be synced.
        inner.check(Operation::SyncDir)?;
        for change in std::mem::take(&mut inner.changes) {
            apply(&mut inner.names_durable, change);
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut inner = self.inner();
        inner.check(Operation::Other)?;
        let within = inner.names.keys().filter(|path| path.parent() == Some(dir));
        let names = within.filter_map(|path| path.file_name());
        Ok(names
            .map(|name| name.to_string_lossy().into_owned())
            .collect())
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        let mut inner = self.inner();
        inner.check(Operation::Other)?;
        Ok(inner.free_bytes.saturating_sub(inner.used()))
    }
}

impl SimDisk {
    fn handle(&self, inode: u64, power: u64) -> Arc<dyn File> {
        Arc::new(SimFile {
            disk: self.clone(),
            inode,
            power,
        })
    }
}

struct SimFile {
    disk: SimDisk,
    inode: u64,
    power: u64,
}

impl SimFile {
    fn with<T>(
        &self,
        operation: Operation,
        action: impl FnOnce(&mut Inode, Option<Fault>) -> T,
    ) -> io::Result<T> {
        let mut inner = self.disk.inner();
        if inner.power != self.power {
            return Err(io::Error::other("the power was cut"));
        }
        let fault = inner.fault(operation);
        let inode = inner.inodes.get_mut(&self.inode);
        let inode = inode.expect("an inode lives until the power is cut");
        match fault {
            None | Some(Fault::ShortWrite) => Ok(action(inode, fault)),
            Some(Fault::Enospc) => Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::Eintr) => Err(io::ErrorKind::Interrupted.into()),
            Some(_) => {
                if operation == Operation::Sync {
                    inode.unsynced.clear();
                }
                Err(io::Error::other("simulated input/output error"))
            }
        }
    }
}

impl File for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(Operation::Read, |inode, _| {
            let from = inode.seen.len().min(offset as usize);
            let read = buffer.len().min(inode.seen.len() - from);
            buffer[..read].copy_from_slice(&inode.seen[from..from + read]);
            read
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.with(Operation::Write, |inode, fault| {
            let short = fault == Some(Fault::ShortWrite);
            let taken = if short {
                bytes.len().div_ceil(2)
            } else {
                bytes.len()
            };
            let from = offset as usize;
            if inode.seen.len() < from + taken {
                inode.seen.resize(from + taken, 0);
            }
            inode.seen[from..from + taken].copy_from_slice(&bytes[..taken]);
            inode.touch(from, from + taken);
            taken
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(Operation::Sync, |inode, _| {
            let Inode {
                seen,
                durable,
                unsynced,
            } = inode;
            durable.resize(seen.len(), 0);
            for sector in std::mem::take(unsynced) {
                let to = seen.len().min((sector + 1) * SECTOR);
                if let Some(bytes) = seen.get(sector * SECTOR..to) {
                    durable[sector * SECTOR..to].copy_from_slice(bytes);
                }
            }
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.with(Operation::Other, |inode, _| inode.seen.len() as u64)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let full = {
            let inner = self.disk.inner();
            inner.free_bytes < inner.used() + length
        };
        if full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.with(Operation::Create, |inode, _| {
            if inode.seen.len() < length as usize {
                inode.seen.resize(length as usize, 0);
            }
        })
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.with(Operation::Other, |inode, _| {
            inode.seen.resize(length as usize, 0);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_cut_loses_what_was_not_synced_and_keeps_what_was() {
        let disk = SimDisk::new();
        let dir = Path::new("d");
        let kept = disk.create(&dir.join("kept")).unwrap();
        kept.write_at(b"one", 0).unwrap();
        kept.sync_data().unwrap();
        disk.sync_dir(dir).unwrap();
        kept.write_at(b"two", 0).unwrap();
        disk.create(&dir.join("lost")).unwrap();
        disk.power_cut(&mut || 1);
        assert_eq!(disk.list(dir).unwrap(), ["kept"]);
        assert_eq!(disk.image()[&dir.join("kept")], b"one");
        assert!(kept.sync_data().is_err());
    }

    #[test]
    fn a_failed_sync_succeeds_when_asked_again_and_has_lost_the_bytes() {
        let disk = SimDisk::new();
        let file = disk.create(Path::new("d/f")).unwrap();
        disk.sync_dir(Path::new("d")).unwrap();
        disk.fail(Fault::SyncEio, 0, false);
        file.write_at(b"one", 0).unwrap();
        assert!(file.sync_data().is_err());
        assert!(disk.heal());
        disk.power_cut(&mut || 1);
        assert_eq!(disk.image()[Path::new("d/f")], b"");
    }
}
