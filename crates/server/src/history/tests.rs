//! The history over firings that real decisions made.

use super::*;
use journal::memory::MemoryJournal;
use journal::{Journal as _, Record, Room, Stamp};
use lifecycle::history::{ObjectRow, Status};
use lifecycle::moment;
use std::collections::BTreeSet;

#[path = "../../../../tests/support/firings.rs"]
mod made;

pub(crate) use made::firings;

/// Longest wait for the disk.
const BOUND: Duration = Duration::from_secs(60);

const FOR_EVER: Keep = Keep {
    age_ms: None,
    firings: None,
    now: || 0,
};

/// A journal with nothing in it.
fn nothing() -> Source {
    Source {
        reader: MemoryJournal::new().reader(),
        rows: |_| None,
    }
}

fn all_records() -> Vec<Vec<Row>> {
    let rows = firings().into_iter().map(Row::Firing);
    rows.map(|it| vec![it]).collect()
}

pub(crate) fn hand_over(history: &History, position: u64, rows: Vec<Row>) {
    history.record(position, rows, history.coming());
}

/// Feeds the records from `from` on; they have every other number, from 2.
fn feed(history: &History, records: &[Vec<Row>], from: u64) {
    for (number, rows) in (1..).zip(records) {
        if from <= number * 2 {
            hand_over(history, number * 2, rows.clone());
        }
    }
}

fn open_at(path: &Path, keep: Keep) -> History {
    let history = History::open(path, keep, nothing()).unwrap();
    history.settle(BOUND);
    history
}

fn open(dir: &tempfile::TempDir) -> History {
    open_at(&dir.path().join("h.sqlite"), FOR_EVER)
}

fn filled() -> (tempfile::TempDir, History) {
    let dir = tempfile::tempdir().unwrap();
    let history = open(&dir);
    feed(&history, &all_records(), 1);
    history.settle(BOUND);
    (dir, history)
}

/// All firings that a query finds, page by page.
fn found(history: &History, query: Query) -> Vec<FiringRow> {
    let mut query = query;
    let mut found = Vec::new();
    loop {
        let page = history.find(&query).unwrap();
        assert!(page.firings.len() <= query.limit);
        found.extend(page.firings.into_iter().map(|it| it.row));
        match page.cursor {
            Some(cursor) => query.cursor = Some(cursor),
            None => return found,
        }
    }
}

fn newest_first() -> Vec<FiringRow> {
    let mut all = firings();
    all.reverse();
    all.sort_by_key(|it| std::cmp::Reverse(moment::parse(&it.started_at).unwrap()));
    all
}

fn some(limit: usize) -> Query {
    Query {
        limit,
        ..Query::default()
    }
}

#[track_caller]
fn check(history: &History, query: Query, wanted: impl Fn(&FiringRow) -> bool) {
    let mut expected = newest_first();
    expected.retain(wanted);
    assert!(!expected.is_empty(), "the fixtures have such firings");
    for limit in [1, 3, 1_000] {
        let query = Query {
            limit,
            ..query.clone()
        };
        assert_eq!(found(history, query), expected, "limit {limit}");
    }
}

#[test]
fn every_way_of_looking_up_finds_what_was_decided() {
    let (_dir, history) = filled();
    check(&history, Query::default(), |_| true);
    let all = firings();
    let events: BTreeSet<&String> = all.iter().map(|it| &it.event).collect();
    assert!(5 < events.len());
    for event in events {
        let query = Query {
            event: Some(event.clone()),
            ..Query::default()
        };
        check(&history, query, |it| it.event == *event);
    }
    for row in all.iter().flat_map(|it| &it.objects) {
        let of_object = |it: &FiringRow| it.objects.iter().any(|o| o.object == row.object);
        let query = Query {
            object: Some(row.object.clone()),
            ..Query::default()
        };
        check(&history, query.clone(), of_object);
        for evaluation in &row.evaluations {
            let looked = |o: &ObjectRow| {
                o.evaluations
                    .iter()
                    .any(|e| e.trigger == evaluation.trigger)
            };
            let by_trigger = Query {
                trigger: Some(evaluation.trigger.clone()),
                ..Query::default()
            };
            check(&history, by_trigger, |it| it.objects.iter().any(looked));
            let both = Query {
                trigger: Some(evaluation.trigger.clone()),
                ..query.clone()
            };
            check(&history, both, |it| {
                it.objects
                    .iter()
                    .any(|o| o.object == row.object && looked(o))
            });
        }
    }
    for status in [Status::Finished, Status::Failed, Status::Duplicate] {
        let query = Query {
            status: Some(status),
            ..Query::default()
        };
        check(&history, query, |it| it.status == status);
    }
    let middle = &newest_first()[10].started_at;
    let middle = moment::parse(middle).unwrap();
    let at = |it: &FiringRow| moment::parse(&it.started_at).unwrap();
    let from = Query {
        from: Some(middle),
        event: Some(newest_first()[0].event.clone()),
        ..Query::default()
    };
    let event = from.event.clone().unwrap();
    check(&history, from, |it| middle <= at(it) && it.event == event);
    let to = Query {
        to: Some(middle),
        ..Query::default()
    };
    check(&history, to, |it| at(it) < middle);
    for firing in &all {
        let found = history.firing(&firing.firing).unwrap().unwrap();
        assert_eq!(found.row, *firing);
        assert_eq!(
            (found.evaluated, found.matched, found.ignored),
            firing.counts()
        );
    }
    assert_eq!(history.firing("f-999").unwrap(), None);
    let bad = Query {
        cursor: Some("x".into()),
        ..some(1)
    };
    assert!(matches!(history.find(&bad), Err(HistoryError::Cursor)));
    history.close();
}

#[test]
fn what_is_fed_twice_is_there_once() {
    let (dir, history) = filled();
    let last = all_records().len() as u64 * 2;
    assert_eq!(history.covered(), last);
    feed(&history, &all_records(), 1);
    // A change that is not repeatable by itself: were it taken twice, there would be two records.
    let change = change_of(&firings());
    hand_over(&history, last + 1, vec![change.clone()]);
    hand_over(&history, last + 1, vec![change.clone()]);
    history.close();
    assert_eq!(history.covered(), last + 1);

    let history = open(&dir);
    assert_eq!(history.covered(), last + 1);
    hand_over(&history, last + 1, vec![change]);
    assert_eq!(found(&history, some(7)).len(), firings().len());
    let (firing, object, trigger) = notified(&firings());
    let after = history.firing(&firing).unwrap().unwrap().row;
    let row = after.objects.iter().find(|it| it.object == object).unwrap();
    let evaluation = row.evaluations.iter().find(|it| it.trigger == trigger);
    let failed = evaluation.unwrap().records.iter();
    assert_eq!(failed.filter(|it| it.at == "lost").count(), 1);
    history.close();
}

/// Firing, object and trigger of the first notification that was sent.
fn notified(firings: &[FiringRow]) -> (String, String, String) {
    let mut all = firings.iter().flat_map(|firing| {
        firing.objects.iter().flat_map(move |object| {
            let mut evaluations = object.evaluations.iter();
            let told = evaluations.find(|it| !it.told.is_empty());
            told.map(|it| {
                (
                    firing.firing.clone(),
                    object.object.clone(),
                    it.trigger.clone(),
                )
            })
        })
    });
    all.next().unwrap()
}

fn change_of(firings: &[FiringRow]) -> Row {
    let (firing, object, trigger) = notified(firings);
    Row::TargetFailed {
        firing,
        object,
        trigger,
        target: "lost".into(),
        why: "410".into(),
    }
}

#[test]
fn a_channel_that_gives_up_later_changes_what_was_kept() {
    let (_dir, history) = filled();
    let all = firings();
    let (firing, object, trigger) = notified(&all);
    let row = all.iter().find(|it| it.firing == firing).unwrap();
    let mut expected = row.clone();
    let object_row = expected
        .objects
        .iter_mut()
        .find(|it| it.object == object)
        .unwrap();
    let mut evaluations = object_row.evaluations.iter_mut();
    let evaluation = evaluations.find(|it| it.trigger == trigger).unwrap();
    assert_eq!(evaluation.notification_sent, Some(true));
    let mut position = history_end();
    for told in evaluation.told.clone() {
        for channel in &told.channels {
            evaluation.gave_up(told.action, &told.profile, channel, "400");
            position += 1;
            let row = Row::GaveUp {
                firing: firing.clone(),
                object: object.clone(),
                trigger: trigger.clone(),
                action: told.action,
                profile: told.profile.clone(),
                channel: channel.clone(),
                why: "400".into(),
            };
            hand_over(&history, position, vec![row]);
        }
    }
    assert_eq!(evaluation.notification_sent, Some(false));
    assert_eq!(history.firing(&firing).unwrap().unwrap().row, expected);
    history.close();
}

fn history_end() -> u64 {
    all_records().len() as u64 * 2
}

/// The files as a killed process leaves them: copied while the writer has them open.
#[test]
fn after_a_kill_at_any_moment_the_rest_is_fed_and_nothing_is_twice_or_missing() {
    let records = all_records();
    for killed in [0, 1, records.len() / 3, records.len() / 2, records.len()] {
        let dir = tempfile::tempdir().unwrap();
        let history = open(&dir);
        feed(&history, &records[..killed], 1);
        history.settle(BOUND);
        let survivor = tempfile::tempdir().unwrap();
        for name in ["h.sqlite", "h.sqlite-wal"] {
            let from = dir.path().join(name);
            std::fs::copy(from, survivor.path().join(name)).unwrap();
        }
        // What the first one writes from now on is lost with its process.
        feed(&history, &records, 1);
        history.close();
        let history = open(&survivor);
        assert_eq!(history.covered(), killed as u64 * 2);
        let again = history.covered().saturating_sub(4);
        feed(&history, &records, again);
        assert_eq!(
            found(&history, some(5)),
            newest_first(),
            "killed after {killed}"
        );
        history.close();
    }
}

#[test]
fn a_subject_that_is_done_anew_keeps_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(&dir);
    let all = firings();
    let mut firing = all
        .iter()
        .find(|it| !it.objects.is_empty())
        .unwrap()
        .clone();
    let mut second = firing.objects[0].clone();
    second.object = "thing/2".into();
    firing.objects.push(second);
    hand_over(&history, 1, vec![Row::Firing(firing.clone())]);
    firing.objects[0].matched = !firing.objects[0].matched;
    firing.objects[0].evaluations.clear();
    hand_over(&history, 2, vec![Row::Firing(firing.clone())]);
    assert_eq!(history.firing(&firing.firing).unwrap().unwrap().row, firing);
    history.close();
}

#[test]
fn what_is_too_old_or_too_many_goes_with_all_its_rows() {
    let (dir, history) = filled();
    history.close();
    let newest = newest_first();
    let times: Vec<i64> = newest
        .iter()
        .map(|it| moment::parse(&it.started_at).unwrap())
        .collect();
    let path = dir.path().join("h.sqlite");
    let mut connection = table::open(&path).unwrap();
    let sweep = |connection: &mut Connection, keep: &Keep| {
        while table::sweep(connection, keep).unwrap() {}
    };
    let read = |connection: &Connection| {
        let page = table::find(connection, &some(1_000)).unwrap();
        page.firings
            .into_iter()
            .map(|it| it.row)
            .collect::<Vec<_>>()
    };
    sweep(&mut connection, &FOR_EVER);
    assert_eq!(read(&connection), newest);
    let noon: fn() -> i64 = || moment::parse("2025-07-02T12:00:00Z").unwrap();
    let middle = times[times.len() / 2];
    let keep = Keep {
        age_ms: Some(noon() - middle),
        firings: None,
        now: noon,
    };
    sweep(&mut connection, &keep);
    let kept: Vec<FiringRow> = newest
        .into_iter()
        .zip(times)
        .filter(|(_, at)| middle <= *at)
        .map(|(it, _)| it)
        .collect();
    assert!(3 < kept.len() && kept.len() < firings().len());
    assert_eq!(read(&connection), kept);
    let keep = Keep {
        firings: Some(3),
        ..FOR_EVER
    };
    sweep(&mut connection, &keep);
    assert_eq!(read(&connection), kept[..3]);
    let keep = Keep {
        firings: Some(0),
        ..FOR_EVER
    };
    sweep(&mut connection, &keep);
    for name in ["firing", "object", "evaluation"] {
        let sql = format!("SELECT count(*) FROM {name}");
        let left: i64 = connection.query_row(&sql, [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0, "{name}");
    }
    drop(connection);
    // What has gone does not come back when it is fed again.
    let history = open(&dir);
    feed(&history, &all_records(), 1);
    assert_eq!(found(&history, some(5)), []);
    history.close();
}

#[test]
fn a_running_history_removes_what_is_too_old() {
    let (dir, history) = filled();
    history.close();
    let keep = Keep {
        age_ms: Some(1),
        firings: None,
        now: crate::clock::wall_ms,
    };
    let history = open_at(&dir.path().join("h.sqlite"), keep);
    let mut looks = 0;
    while !found(&history, some(5)).is_empty() {
        looks += 1;
        assert!(looks < 1_000);
        std::thread::sleep(Duration::from_millis(10));
    }
    history.close();
}

#[test]
fn what_could_not_be_written_is_not_covered_by_what_comes_after_it() {
    let (dir, history) = filled();
    let covered = history.covered();
    let other = Connection::open(dir.path().join("h.sqlite")).unwrap();
    // A batch that fails, and others behind it that would not.
    let fail = "CREATE TRIGGER no BEFORE UPDATE ON covered WHEN new.position < 10000 \
                BEGIN SELECT raise(ABORT, 'full'); END";
    other.execute_batch(fail).unwrap();
    hand_over(&history, covered + 1, vec![change_of(&firings())]);
    history.settle(Duration::from_millis(200));
    hand_over(&history, 10_000, Vec::new());
    history.close();
    assert_eq!(history.covered(), covered);
    other.execute_batch("DROP TRIGGER no").unwrap();
    let history = open(&dir);
    assert_eq!(history.covered(), covered);
    history.close();
}

#[test]
fn a_damaged_file_is_told_at_open() {
    let (dir, history) = filled();
    history.close();
    let path = dir.path().join("h.sqlite");
    let good = std::fs::read(&path).unwrap();
    assert!(16_384 < good.len(), "several pages");
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        History::open(&path, FOR_EVER, nothing())
            .err()
            .map(|it| it.exit_code())
    };
    let mut header = good.clone();
    header[..16].fill(b'x');
    assert_eq!(refused(&header), Some(74));
    let mut inside = good.clone();
    inside[8_192..12_288].fill(0xa5);
    assert_eq!(refused(&inside), Some(74));
    assert_eq!(refused(&good[..good.len() / 2]), Some(74));
    assert_eq!(refused(&good), None);
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 9).unwrap();
    drop(connection);
    let error = History::open(&path, FOR_EVER, nothing()).err().unwrap();
    assert_eq!(error.exit_code(), 76);
    let nowhere = History::open(&dir.path().join("no/h.sqlite"), FOR_EVER, nothing());
    assert_eq!(nowhere.err().unwrap().exit_code(), 73);
}

#[test]
fn a_file_that_is_damaged_while_it_is_written_is_set_aside_and_made_again() {
    let mut journal = Journalled::new();
    let dir = tempfile::tempdir().unwrap();
    let history = journal.open(&dir);
    (0..50).for_each(|_| {
        let (position, rows) = journal.fire();
        hand_over(&history, position, rows);
    });
    assert_eq!(count(&history), 50);
    // The pages of the index that each firing is written to; the log is emptied, so that they are read.
    let path = dir.path().join("h.sqlite");
    let other = Connection::open(&path).unwrap();
    let empty = "PRAGMA wal_checkpoint(TRUNCATE)";
    other.query_row(empty, [], |_| Ok(())).unwrap();
    let page = "SELECT rootpage FROM sqlite_schema WHERE name = 'firing_event_id'";
    let page: i64 = other.query_row(page, [], |row| row.get(0)).unwrap();
    let schema = "UPDATE covered SET position = position";
    other.execute_batch(schema).unwrap();
    other.query_row(empty, [], |_| Ok(())).unwrap();
    drop(other);
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(
        &file,
        &[0xa5; 4_096],
        (page.unsigned_abs() - 1) * 4_096,
    )
    .unwrap();
    for _ in 0..50 {
        let (position, rows) = journal.fire();
        hand_over(&history, position, rows);
    }
    assert_eq!((count(&history), history.damaged()), (100, 1));
    assert_eq!(history.needed_behind(), u64::MAX, "no segment is pinned");
    assert!(dir.path().join("h.sqlite.damaged").exists());
    // From here on it is handed over.
    let (position, rows) = journal.fire();
    hand_over(&history, position, rows);
    assert_eq!(count(&history), 101);
    history.close();
    let history = journal.open(&dir);
    assert_eq!((count(&history), history.damaged()), (101, 0));
    history.close();
}

#[test]
fn a_complaint_is_made_once_a_minute() {
    let now = instant();
    assert!(is_due(None, now));
    assert!(!is_due(Some(now), now + COMPLAIN - AGAIN));
    assert!(is_due(Some(now), now + COMPLAIN));
}

/// A journal with a record for each of so many firings, and others between them.
struct Journalled {
    journal: MemoryJournal,
    one: FiringRow,
}

impl Journalled {
    fn new() -> Self {
        let journal = MemoryJournal::new();
        let one = firings().remove(0);
        Self { journal, one }
    }

    fn source(&self) -> Source {
        Source {
            reader: self.journal.reader(),
            rows: |body| serde_json::from_slice(body).ok(),
        }
    }

    fn append(&mut self, keys: &[u128], body: &[u8]) -> u64 {
        let record = Record { keys, body };
        let appended = self
            .journal
            .append(&Stamp::default(), &[record], Room::Ordinary);
        appended.unwrap().first
    }

    /// Another firing: its position and rows.
    fn fire(&mut self) -> (u64, Vec<Row>) {
        let firing = format!("f-{}", self.journal.next());
        let rows = vec![Row::Firing(FiringRow {
            firing,
            ..self.one.clone()
        })];
        self.append(&[7], b"something else");
        let body = serde_json::to_vec(&rows).unwrap();
        (self.append(&[KEY], &body), rows)
    }

    fn open(&self, dir: &tempfile::TempDir) -> History {
        History::open(&dir.path().join("h.sqlite"), FOR_EVER, self.source()).unwrap()
    }
}

fn count(history: &History) -> usize {
    history.settle(BOUND);
    found(history, some(1_000)).len()
}

#[test]
fn what_the_journal_still_has_is_read_from_it() {
    let mut journal = Journalled::new();
    let last = (0..50).map(|_| journal.fire().0).last().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let history = journal.open(&dir);
    assert_eq!(count(&history), 50);
    assert_eq!(
        (history.covered(), history.needed_behind()),
        (last, u64::MAX)
    );
    history.close();
    for name in ["h.sqlite", "h.sqlite-wal", "h.sqlite-shm"] {
        let _ = std::fs::remove_file(dir.path().join(name));
    }
    journal.fire();
    let history = journal.open(&dir);
    assert_eq!(count(&history), 51);
    // From here on it is handed over.
    let (position, rows) = journal.fire();
    hand_over(&history, position, rows);
    assert_eq!(count(&history), 52);
    history.close();
}

#[test]
fn what_it_has_no_room_for_it_reads_later_and_nobody_waits() {
    const MANY: usize = WAITING_MAX + BATCH_MAX + 500;
    let mut journal = Journalled::new();
    journal.one.objects.clear();
    let dir = tempfile::tempdir().unwrap();
    let history = journal.open(&dir);
    assert_eq!(count(&history), 0);
    let other = Connection::open(dir.path().join("h.sqlite")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    for _ in 0..MANY {
        let (position, rows) = journal.fire();
        hand_over(&history, position, rows);
    }
    assert_eq!(*lock(&history.shared.lag), Lag::BEHIND);
    assert_eq!(history.needed_behind(), 0, "the journal keeps all of it");
    // One more that nobody is sure of comes when all of that has been read.
    history.unsure();
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(count(&history), MANY);
    let last = history.covered();
    assert_eq!(history.needed_behind(), last, "one may come");
    journal.fire();
    let (position, rows) = journal.fire();
    hand_over(&history, position, rows);
    assert_eq!(count(&history), MANY + 2);
    assert_eq!(history.needed_behind(), u64::MAX);
    history.close();
}

#[test]
fn a_record_that_nobody_is_sure_of_is_found_with_the_next() {
    let mut journal = Journalled::new();
    let dir = tempfile::tempdir().unwrap();
    let history = journal.open(&dir);
    assert_eq!(count(&history), 0);
    journal.fire();
    history.unsure();
    assert_eq!(history.needed_behind(), 0);
    let (position, rows) = journal.fire();
    hand_over(&history, position, rows);
    assert_eq!(count(&history), 2);
    assert_eq!(history.needed_behind(), u64::MAX);
    history.close();
}

#[test]
fn retention_follows_the_clock_of_firings_at_once() {
    static NOW: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(0);
    let mut journal = Journalled::new();
    journal.fire();
    let began = moment::parse(&journal.one.started_at).unwrap();
    NOW.store(began, Ordering::SeqCst);
    let keep = Keep {
        age_ms: Some(moment::DAY_MS),
        firings: None,
        now: || NOW.load(Ordering::SeqCst),
    };
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(&dir.path().join("h.sqlite"), keep, journal.source()).unwrap();
    assert_eq!(count(&history), 1);
    NOW.store(began + moment::DAY_MS, Ordering::SeqCst);
    assert_eq!(count(&history), 1);
    NOW.store(began + moment::DAY_MS + SWEEP_MS, Ordering::SeqCst);
    assert_eq!(count(&history), 0);
    history.close();
}
