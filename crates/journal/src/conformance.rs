//! The promises that all engines keep, as tests over any of them: begin at [`all`].
//!
//! What only an engine on a disk can promise (crashes, faults, damage) is in `tests/`.

use crate::contract::{FreeError, Journal, ReadError, Record, Room, SegmentId, Stamp};

/// Makes an empty journal.
pub type Make<'a> = &'a mut dyn FnMut() -> Box<dyn Journal>;

/// Runs all work that is due, on this thread.
///
/// # Panics
/// If a work fails.
pub fn settle(journal: &mut dyn Journal) {
    while let Some(work) = journal.take_work(None) {
        let done = work.run();
        journal.done(done).expect("the disk is good");
    }
}

/// Appends one record, waiting while the journal is not ready.
///
/// # Panics
/// If the journal refuses.
pub fn append(journal: &mut dyn Journal, keys: &[u128], body: &[u8]) -> crate::Appended {
    loop {
        let record = Record { keys, body };
        match journal.append(&Stamp::default(), &[record], Room::Ordinary) {
            Ok(appended) => return appended,
            Err(crate::AppendError::NotReady) => settle(journal),
            Err(error) => panic!("could not append: {error}"),
        }
    }
}

/// All promises, one after the other.
///
/// # Panics
/// If one is not kept.
pub fn all(make: Make<'_>) {
    sequences_begin_at_one_and_have_no_gaps(&mut *make());
    what_was_appended_is_read_back(&mut *make());
    a_scan_goes_in_order_and_stops_at_its_bound(&mut *make());
    a_key_finds_all_its_records(&mut *make());
    a_needed_segment_is_not_freed(&mut *make());
    a_freed_segment_is_gone(&mut *make());
    a_snapshot_shortens_the_tail(&mut *make());
}

fn sequences_begin_at_one_and_have_no_gaps(journal: &mut dyn Journal) {
    assert_eq!(journal.next(), 1);
    assert_eq!(journal.synced(), 0);
    let records = [b"a", b"b", b"c"].map(|body| Record { keys: &[], body });
    let stamp = Stamp::default();
    let appended = journal.append(&stamp, &records, Room::Ordinary);
    assert_eq!(appended.expect("there is room").first, 1);
    let appended = append(journal, &[], b"d");
    assert_eq!(appended.first, 4);
    assert_eq!(journal.next(), 5);
    settle(journal);
    assert_eq!(journal.synced(), 4);
}

fn what_was_appended_is_read_back(journal: &mut dyn Journal) {
    let bodies: Vec<Vec<u8>> = (0..200_usize)
        .map(|size| vec![u8::try_from(size).expect("small"); size * 7])
        .collect();
    let appended = bodies.iter().map(|body| append(journal, &[1, 2], body));
    let places: Vec<_> = appended.map(|appended| appended.places[0]).collect();
    settle(journal);
    let reader = journal.reader();
    for (place, body) in places.iter().zip(&bodies) {
        assert_eq!(place.length as usize, body.len());
        assert_eq!(&reader.read(*place).expect("it is there"), body);
    }
}

fn a_scan_goes_in_order_and_stops_at_its_bound(journal: &mut dyn Journal) {
    let count = 3000;
    for number in 1..=count {
        append(journal, &[], format!("{number:0100}").as_bytes());
    }
    settle(journal);
    let reader = journal.reader();
    let mut next = 1;
    while next <= count {
        let found = reader.scan(next, 1000).expect("it reads");
        assert!(!found.is_empty());
        assert!(found.len() <= 12);
        for (sequence, place, body) in found {
            assert_eq!(sequence, next);
            assert_eq!(body, format!("{sequence:0100}").as_bytes());
            assert_eq!(reader.read(place).expect("it reads"), body);
            next += 1;
        }
    }
    assert!(reader.scan(next, 1000).expect("it reads").is_empty());
}

fn a_key_finds_all_its_records(journal: &mut dyn Journal) {
    let count: u64 = 3000;
    for number in 1..=count {
        let keys = [u128::from(number % 7), u128::from(number) << 64];
        append(journal, &keys, &number.to_le_bytes());
    }
    settle(journal);
    let reader = journal.reader();
    for remainder in 0..7 {
        let found = reader.find(u128::from(remainder)).expect("it reads");
        let wanted: Vec<_> = (1..=count).filter(|n| n % 7 == remainder).collect();
        let sequences: Vec<_> = found.iter().map(|(sequence, _)| *sequence).collect();
        assert_eq!(sequences, wanted);
        for (sequence, place) in found {
            let body = reader.read(place).expect("it reads");
            assert_eq!(body, sequence.to_le_bytes());
        }
    }
    let one = reader.find(u128::from(count) << 64).expect("it reads");
    assert_eq!(one.len(), 1);
    assert!(reader.find(9).expect("it reads").is_empty());
}

/// Appends until `count` segments are sealed.
fn seal(journal: &mut dyn Journal, count: usize) {
    while journal.segments().len() <= count {
        append(journal, &[3], &[7; 500]);
    }
    settle(journal);
}

fn take_snapshot(journal: &mut dyn Journal) {
    let position = journal.next() - 1;
    let chunks = [b"one".to_vec(), b"two".to_vec()].into_iter();
    let begun = journal.snapshot(position, Box::new(chunks));
    begun.expect("none is running");
    settle(journal);
    assert_eq!(journal.snapshot_position(), position);
}

fn a_needed_segment_is_not_freed(journal: &mut dyn Journal) {
    seal(journal, 1);
    let segments = journal.segments();
    assert_eq!(journal.free(segments[0].id), Err(FreeError::Needed));
    assert_eq!(journal.free(segments[1].id), Err(FreeError::Needed));
    assert_eq!(journal.free(SegmentId(999)), Err(FreeError::Unknown));
}

fn a_freed_segment_is_gone(journal: &mut dyn Journal) {
    let first = append(journal, &[5], b"first");
    seal(journal, 3);
    take_snapshot(journal);
    let segments = journal.segments();
    journal.free(segments[0].id).expect("it is covered");
    assert_eq!(journal.free(segments[0].id), Err(FreeError::Unknown));
    settle(journal);
    assert_eq!(journal.segments().len(), segments.len() - 1);
    let reader = journal.reader();
    let read = reader.read(first.places[0]);
    assert!(matches!(read, Err(ReadError::Gone)));
    assert!(reader.find(5).expect("it reads").is_empty());
    let found = reader.scan(1, 10).expect("it reads");
    assert_eq!(found[0].0, segments[1].first);
    // Its file is used again, and still nobody takes the old bytes for new ones.
    seal(journal, 8);
    assert!(matches!(reader.read(first.places[0]), Err(ReadError::Gone)));
}

fn a_snapshot_shortens_the_tail(journal: &mut dyn Journal) {
    append(journal, &[], b"before");
    settle(journal);
    assert_eq!(journal.tail_records(), 1);
    take_snapshot(journal);
    assert_eq!(journal.tail_records(), 0);
    append(journal, &[], b"after");
    assert_eq!(journal.tail_records(), 1);
    assert!(journal.tail_bytes() > 0);
}
