//! Every storage operation fails once (T2), every part of an image is damaged (T3), and the
//! disk runs full (F6, F7).
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use journal::disk::Disk;
use journal::file::{self, FileJournal, OpenError, Options};
use journal::sim::{Fault, SimDisk};
use journal::{
    AppendError, Journal, Place, ReadError, Record, Replay, Room, SegmentId, Sequence, Stamp,
};

const DIR: &str = "d";

#[derive(Default)]
struct Told(BTreeMap<Sequence, (Place, Vec<u8>)>);

impl Replay for Told {
    fn snapshot(&mut self, position: Sequence, chunk: &[u8]) -> Result<(), String> {
        assert_eq!(chunk, position.to_le_bytes());
        Ok(())
    }

    fn record(
        &mut self,
        _: &Stamp,
        sequence: Sequence,
        place: Place,
        body: &[u8],
    ) -> Result<(), String> {
        self.0.insert(sequence, (place, body.to_vec()));
        Ok(())
    }
}

fn options(accept_data_loss: bool) -> Options {
    Options {
        segment_bytes: 16 << 10,
        free_bytes_min: 0,
        segments_spare_max: 0,
        accept_data_loss,
        ..Options::default()
    }
}

fn open(disk: &SimDisk, accept: bool, told: &mut Told) -> Result<FileJournal, OpenError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    file::open(disk, Path::new(DIR), &options(accept), told)
}

/// The body of a record follows from its sequence, so that an invented one is seen.
fn body(sequence: Sequence) -> Vec<u8> {
    let length = (sequence * 37 % 300) as usize;
    let numbers = (0..length).map(|at| (at as u64 ^ sequence).to_le_bytes()[0]);
    numbers.chain(sequence.to_le_bytes()).collect()
}

fn append(journal: &mut FileJournal, room: Room, clock: u64) -> Result<(), AppendError> {
    let first = journal.next();
    let bodies = [body(first), body(first + 1)];
    let keys = [u128::from(first % 3)];
    let records = bodies.each_ref().map(|body| Record { keys: &keys, body });
    let stamp = Stamp {
        running_ms: clock,
        ..Stamp::default()
    };
    journal.append(&stamp, &records, room).map(drop)
}

/// Runs what is due; `false` once the journal failed.
fn settle(journal: &mut FileJournal, idle: bool) -> bool {
    let stamp = Stamp::default();
    while let Some(work) = journal.take_work(idle.then_some(&stamp)) {
        if journal.done(work.run()).is_err() {
            return false;
        }
    }
    true
}

/// A fixed life: several segments, a snapshot, a freeing, an index. Gives the highest sequence
/// that was reported synced.
fn live(disk: &SimDisk) -> Sequence {
    let Ok(mut journal) = open(disk, false, &mut Told::default()) else {
        return 0;
    };
    let mut clock = 0;
    for round in 0..70 {
        clock += 300;
        match append(&mut journal, Room::Ordinary, clock) {
            Ok(()) | Err(AppendError::NotReady | AppendError::Full) => {}
            Err(error) => panic!("{error}"),
        }
        if round == 40 {
            let position = journal.next() - 1;
            let chunk = std::iter::once(position.to_le_bytes().to_vec());
            let _ = journal.snapshot(position, Box::new(chunk));
        }
        if round % 3 == 0 && !settle(&mut journal, false) {
            return journal.synced();
        }
        if round == 50 {
            let _ = journal.free(journal.segments()[0].id);
        }
    }
    settle(&mut journal, true);
    journal.synced()
}

fn check(sequence: Sequence, told: &[u8]) {
    assert_eq!(told, body(sequence), "record {sequence} was invented");
}

fn each_operation_fails(fault: Fault) {
    for for_good in [false, true] {
        let mut at = 0;
        loop {
            let disk = SimDisk::new();
            disk.fail(fault, at, for_good);
            let synced = live(&disk);
            let came_to_pass = disk.heal();
            for cut in [false, true] {
                if cut {
                    // The first start after the fault has made durable what it told.
                    let mut random = at;
                    disk.power_cut(&mut || {
                        random = random.wrapping_mul(6_364_136_223_846_793_005) + 1;
                        random >> 33
                    });
                } else {
                    disk.kill();
                }
                let mut told = Told::default();
                let journal = open(&disk, false, &mut told).unwrap();
                assert!(synced < journal.next(), "{fault:?} at {at}");
                for (sequence, (_, body)) in &told.0 {
                    check(*sequence, body);
                }
                let last = told.0.keys().last().copied().unwrap_or(0);
                assert!(synced <= last.max(journal.snapshot_position()) + 1);
            }
            if !came_to_pass {
                break;
            }
            at += 1;
        }
        assert!(at > 0, "{fault:?} hits nothing");
    }
}

#[test]
fn each_operation_may_fail_with_an_input_output_error() {
    each_operation_fails(Fault::Eio);
}

#[test]
fn each_operation_may_find_the_disk_full() {
    each_operation_fails(Fault::Enospc);
}

#[test]
fn each_read_and_write_may_be_interrupted() {
    each_operation_fails(Fault::Eintr);
}

#[test]
fn each_write_may_be_short() {
    each_operation_fails(Fault::ShortWrite);
}

#[test]
fn each_sync_may_fail() {
    each_operation_fails(Fault::SyncEio);
}

#[test]
fn each_rename_may_fail() {
    each_operation_fails(Fault::RenameEio);
}

#[test]
fn a_failed_sync_is_final() {
    let disk = SimDisk::new();
    let mut journal = open(&disk, false, &mut Told::default()).unwrap();
    append(&mut journal, Room::Ordinary, 0).unwrap();
    disk.fail(Fault::SyncEio, 0, false);
    assert!(!settle(&mut journal, false));
    assert!(disk.heal());
    assert_eq!(journal.synced(), 0);
    let refused = append(&mut journal, Room::Reserve, 0);
    assert_eq!(refused, Err(AppendError::Failed));
    assert!(journal.take_work(None).is_none());
}

#[test]
fn a_full_disk_refuses_what_comes_lets_drain_and_recovers() {
    let disk = SimDisk::new();
    disk.set_free_bytes(5 * (16 << 10));
    let mut journal = open(&disk, false, &mut Told::default()).unwrap();
    let mut clock = 0;
    let fill = |journal: &mut FileJournal, room, clock: &mut u64| {
        for _ in 0..1000 {
            *clock += 100;
            match append(journal, room, *clock) {
                Ok(()) => {}
                Err(AppendError::NotReady) => {}
                Err(error) => return error,
            }
            assert!(settle(journal, false));
        }
        panic!("never full");
    };
    assert_eq!(
        fill(&mut journal, Room::Ordinary, &mut clock),
        AppendError::Full
    );
    let ordinary = journal.next();
    // The reserve still takes a segment's worth, and is then full as well.
    assert_eq!(
        fill(&mut journal, Room::Reserve, &mut clock),
        AppendError::Full
    );
    assert!(ordinary + 30 < journal.next());
    assert_eq!(journal.synced(), journal.next() - 1);
    disk.set_free_bytes(1 << 30);
    for _ in 0..30 {
        clock += 100;
        let _ = append(&mut journal, Room::Ordinary, clock);
        assert!(settle(&mut journal, false));
    }
    append(&mut journal, Room::Ordinary, clock).unwrap();
}

#[test]
fn under_the_mark_of_free_space_only_draining_goes_on() {
    let disk = SimDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let options = Options {
        free_bytes_min: 1 << 20,
        ..options(false)
    };
    let opened = file::open(shared, Path::new(DIR), &options, &mut Told::default());
    let mut journal = opened.unwrap();
    append(&mut journal, Room::Ordinary, 0).unwrap();
    disk.set_free_bytes(1 << 20);
    append(&mut journal, Room::Ordinary, 2000).unwrap();
    assert!(settle(&mut journal, false));
    assert!(journal.disk_low());
    let refused = append(&mut journal, Room::Ordinary, 2000);
    assert_eq!(refused, Err(AppendError::Full));
    append(&mut journal, Room::Reserve, 2000).unwrap();
    disk.set_free_bytes(1 << 30);
    append(&mut journal, Room::Reserve, 4000).unwrap();
    assert!(settle(&mut journal, false));
    append(&mut journal, Room::Ordinary, 4000).unwrap();
}

/// An image of a life that ended quietly, and how far it was synced.
fn image() -> (BTreeMap<PathBuf, Vec<u8>>, Sequence, Told) {
    let disk = SimDisk::new();
    let synced = live(&disk);
    let mut told = Told::default();
    let image = disk.image();
    open(&SimDisk::from_image(image.clone()), false, &mut told).unwrap();
    (image, synced, told)
}

/// Opens a damaged image in all ways. No panic, nothing invented, nothing synced lost silently.
fn sweep(damaged: BTreeMap<PathBuf, Vec<u8>>, synced: Sequence, good: &Told, what: &str) {
    let mut told = Told::default();
    match open(&SimDisk::from_image(damaged.clone()), false, &mut told) {
        Ok(journal) => {
            assert!(synced < journal.next(), "{what}: synced records are gone");
            for (sequence, (place, body)) in &good.0 {
                let told = told.0.get(sequence);
                assert_eq!(told.map(|told| &told.1), Some(body), "{what}: {sequence}");
                match journal.reader().read(*place) {
                    Ok(read) => assert_eq!(&read, body, "{what}"),
                    Err(error) => panic!("{what}: {error}"),
                }
            }
            let reader = journal.reader();
            for segment in journal.segments() {
                let found = reader.scan(segment.first, usize::MAX);
                for (sequence, _, body) in found.unwrap_or_default() {
                    check(sequence, &body);
                }
            }
            for key in 0..3 {
                for (sequence, place) in reader.find(key).unwrap() {
                    match reader.read(place) {
                        Ok(body) => check(sequence, &body),
                        Err(ReadError::Damaged { .. }) => {}
                        Err(error) => panic!("{what}: {error}"),
                    }
                }
            }
        }
        Err(OpenError::Damaged { .. }) => {
            let disk: Arc<dyn Disk> = Arc::new(SimDisk::from_image(damaged.clone()));
            assert!(!file::check(&disk, Path::new(DIR)).is_empty(), "{what}");
        }
        Err(error) => panic!("{what}: {error}"),
    }
    let mut told = Told::default();
    if let Ok(journal) = open(&SimDisk::from_image(damaged), true, &mut told) {
        for (sequence, (_, body)) in &told.0 {
            check(*sequence, body);
        }
        assert!(synced < journal.next() || journal.lost() > 0, "{what}");
    }
}

#[test]
fn a_flipped_bit_is_found_or_harmless() {
    let (image, synced, good) = image();
    let every = std::env::var("JOURNAL_EVERY").map_or(16, |every| every.parse().unwrap());
    for (path, bytes) in &image {
        // Segments end in zeros that nothing reads but the search for headers: fewer there.
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 512;
        let mut bit = 3;
        while bit < bytes.len() * 8 {
            let mut damaged = image.clone();
            damaged.get_mut(path).unwrap()[bit / 8] ^= 1 << (bit % 8);
            sweep(damaged, synced, &good, &format!("{path:?} bit {bit}"));
            bit += if bit / 8 < used { every + 1 } else { 4096 };
        }
    }
}

#[test]
fn a_truncated_file_is_found_or_harmless() {
    let (image, synced, good) = image();
    let every = std::env::var("JOURNAL_EVERY").map_or(16, |every| every.parse().unwrap());
    for (path, bytes) in &image {
        for length in (0..bytes.len()).step_by(every) {
            let mut damaged = image.clone();
            damaged.get_mut(path).unwrap().truncate(length);
            sweep(damaged, synced, &good, &format!("{path:?} at {length}"));
        }
    }
}

#[test]
fn a_missing_file_is_found_or_harmless() {
    let (image, synced, good) = image();
    for path in image.keys() {
        let mut damaged = image.clone();
        damaged.remove(path);
        sweep(damaged, synced, &good, &format!("{path:?} missing"));
    }
}

#[test]
fn a_whole_journal_has_no_findings() {
    let (image, ..) = image();
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::from_image(image));
    assert_eq!(file::check(&disk, Path::new(DIR)), []);
}

#[test]
fn a_damaged_body_is_refused_when_read_and_hides_no_other() {
    let disk = SimDisk::new();
    let mut journal = open(&disk, false, &mut Told::default()).unwrap();
    for _ in 0..2 {
        append(&mut journal, Room::Ordinary, 0).unwrap();
    }
    assert!(settle(&mut journal, true));
    let found = journal.reader().scan(1, usize::MAX).unwrap();
    let (_, place, _) = found[1];
    let path = Path::new(DIR).join("0000000000000001.segment");
    let file = disk.open(&path).unwrap();
    file.write_at(&[0xff; 2], u64::from(place.offset) + 60)
        .unwrap();
    let reader = journal.reader();
    assert!(matches!(
        reader.read(place),
        Err(ReadError::Damaged { offset, .. }) if offset == u64::from(place.offset)
    ));
    let (sequence, other, _) = found[2];
    check(sequence, &reader.read(other).unwrap());
    assert_eq!(place.segment, SegmentId(1));
}

#[test]
fn damage_below_the_synced_position_is_refused_or_skipped_and_counted() {
    let disk = SimDisk::new();
    let mut journal = open(&disk, false, &mut Told::default()).unwrap();
    for _ in 0..3 {
        append(&mut journal, Room::Ordinary, 0).unwrap();
    }
    assert!(settle(&mut journal, true));
    let found = journal.reader().scan(1, usize::MAX).unwrap();
    let (_, place, _) = found[2];
    let path = Path::new(DIR).join("0000000000000001.segment");
    let file = disk.open(&path).unwrap();
    file.write_at(&[0xff; 2], u64::from(place.offset) + 60)
        .unwrap();
    disk.kill();
    match open(&disk, false, &mut Told::default()) {
        Err(OpenError::Damaged { file, offset, .. }) => {
            assert_eq!(file, "0000000000000001.segment");
            assert!(offset <= u64::from(place.offset));
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("damage was not seen"),
    }
    let mut told = Told::default();
    let journal = open(&disk, true, &mut told).unwrap();
    assert_eq!(journal.lost(), 1);
    assert_eq!(told.0.keys().copied().collect::<Vec<_>>(), [1, 2, 4, 5, 6]);
    let reader = journal.reader();
    let sequences = |from| -> Vec<_> {
        let found = reader.scan(from, usize::MAX).unwrap();
        found.iter().map(|(sequence, ..)| *sequence).collect()
    };
    assert_eq!(sequences(1), [1, 2]);
    assert!(matches!(reader.scan(3, 1), Err(ReadError::Damaged { .. })));
    assert_eq!(sequences(4), [4, 5, 6]);
}
