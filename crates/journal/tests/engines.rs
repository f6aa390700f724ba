//! All engines keep the promises of the conformance suite.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::sync::Arc;

use journal::disk::{Disk, OsDisk};
use journal::file::{self, Options};
use journal::memory::MemoryJournal;
use journal::sim::SimDisk;
use journal::{Journal, Place, Replay, Sequence, Stamp, conformance};

struct Nobody;

impl Replay for Nobody {
    fn snapshot(&mut self, _: Sequence, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn record(&mut self, _: &Stamp, _: Sequence, _: Place, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

fn options() -> Options {
    Options {
        segment_bytes: 64 << 10,
        free_bytes_min: 0,
        ..Options::default()
    }
}

fn open(disk: Arc<dyn Disk>, dir: &Path) -> Box<dyn Journal> {
    Box::new(file::open(disk, dir, &options(), &mut Nobody).unwrap())
}

#[test]
fn the_memory_engine_conforms() {
    conformance::all(&mut || Box::new(MemoryJournal::new()));
}

#[test]
fn the_file_engine_conforms_on_a_simulated_disk() {
    conformance::all(&mut || open(Arc::new(SimDisk::new()), Path::new("d")));
}

#[test]
fn the_file_engine_conforms_on_a_real_disk() {
    let mut folders = Vec::new();
    conformance::all(&mut || {
        let folder = tempfile::tempdir().unwrap();
        let journal = open(Arc::new(OsDisk), folder.path());
        folders.push(folder);
        journal
    });
}
