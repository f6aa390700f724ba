//! The tables of the history: what is written, how it is found, what goes.
//!
//! `firing` has a row a firing, `object` a row a subject with all that was decided for it as JSON, and
//! `evaluation` a row a trigger that was looked at. The latter two carry the time of their firing, so that
//! each way of looking up reads its own index, newest first, and stops at the limit.

use super::{HistoryError, Keep, Row};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lifecycle::history::{FiringRow, ObjectRow, Status};
use lifecycle::moment;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, params};
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// Number of the form of the tables, in `PRAGMA user_version`.
pub const VERSION: i64 = 1;
/// Largest file that is checked as a whole at open, in bytes; what is damaged in larger ones is seen when
/// it is read.
const CHECKED_BYTES_MAX: u64 = 64 << 20;
/// Firings removed in one transaction.
const SWEEP_MAX: i64 = 500;
/// Bytes of decisions on one page: the page ends with the firing that passes it.
const PAGE_BYTES_MAX: usize = 8 << 20;
/// How long a reader or writer waits for the other's lock.
const BUSY: Duration = Duration::from_secs(5);

const TABLES: &str = "
CREATE TABLE covered (position INTEGER NOT NULL);
INSERT INTO covered VALUES (0);
CREATE TABLE firing (
  firing INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  started INTEGER NOT NULL,
  event TEXT NOT NULL,
  event_id TEXT NOT NULL,
  bus TEXT NOT NULL,
  started_at TEXT NOT NULL,
  finished_at TEXT,
  status TEXT NOT NULL,
  detail_valid INTEGER NOT NULL,
  message TEXT
);
CREATE INDEX firing_started ON firing (started);
CREATE INDEX firing_event ON firing (event, started);
CREATE INDEX firing_event_id ON firing (event_id, started);
CREATE INDEX firing_status ON firing (status, started);
CREATE TABLE object (
  firing INTEGER NOT NULL REFERENCES firing ON DELETE CASCADE,
  place INTEGER NOT NULL,
  object TEXT NOT NULL,
  started INTEGER NOT NULL,
  decided TEXT NOT NULL,
  PRIMARY KEY (firing, place)
) WITHOUT ROWID;
CREATE INDEX object_object ON object (object, started, firing);
CREATE TABLE evaluation (
  trigger_name TEXT NOT NULL,
  started INTEGER NOT NULL,
  firing INTEGER NOT NULL,
  place INTEGER NOT NULL,
  PRIMARY KEY (trigger_name, started, firing, place),
  FOREIGN KEY (firing, place) REFERENCES object ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX evaluation_object ON evaluation (firing, place);
";

/// What is looked for; all that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Name of the event type.
    pub event: Option<String>,
    /// Id of the event.
    pub event_id: Option<String>,
    /// A subject, `type/id`.
    pub object: Option<String>,
    /// A trigger that was looked at, for that subject if one is given.
    pub trigger: Option<String>,
    /// What became of it.
    pub status: Option<Status>,
    /// Began at this moment or later, epoch milliseconds.
    pub from: Option<i64>,
    /// Began before this moment.
    pub to: Option<i64>,
    /// Firings of one page, at least 1.
    pub limit: usize,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

/// A firing as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// Subjects done.
    pub evaluated: usize,
    /// Those for which some trigger that acts matched.
    pub matched: usize,
    /// Those for which some ignore trigger matched.
    pub ignored: usize,
    /// All of it.
    #[serde(flatten)]
    pub row: FiringRow,
}

/// One page of firings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Page {
    /// Newest first.
    pub firings: Vec<Found>,
    /// Where to go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// SQLite could not.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// A row is not as it was written.
    #[error(transparent)]
    Row(#[from] serde_json::Error),
    /// The cursor is none.
    #[error("not a cursor")]
    Cursor,
}

/// Opens the file to write to it, making the tables if it is new.
pub fn open(path: &Path) -> Result<Connection, HistoryError> {
    let of = |error| HistoryError::of(path, error);
    let mut connection = Connection::open(path).map_err(of)?;
    connection.busy_timeout(BUSY).map_err(of)?;
    // FULL: the journal frees what is covered, so covered must be on the disk.
    let settings =
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;";
    connection.execute_batch(settings).map_err(of)?;
    let version = connection.query_row("PRAGMA user_version", [], |row| row.get(0));
    match version.map_err(of)? {
        VERSION => {}
        0 if is_empty(&connection).map_err(of)? => {
            let transaction = connection.transaction().map_err(of)?;
            transaction.execute_batch(TABLES).map_err(of)?;
            transaction
                .pragma_update(None, "user_version", VERSION)
                .map_err(of)?;
            transaction.commit().map_err(of)?;
        }
        found => {
            return Err(HistoryError::Version {
                path: path.to_path_buf(),
                found,
            });
        }
    }
    if std::fs::metadata(path).is_ok_and(|file| file.len() <= CHECKED_BYTES_MAX) {
        let found: String = connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(of)?;
        if found != "ok" {
            return Err(HistoryError::Damaged {
                path: path.to_path_buf(),
                detail: found,
            });
        }
    }
    Ok(connection)
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| {
        row.get(0)
    })
}

/// Opens the file to read from it.
pub fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let reader = Connection::open_with_flags(path, flags)?;
    reader.busy_timeout(BUSY)?;
    Ok(reader)
}

/// The position up to which the tables are complete.
pub fn covered(connection: &Connection) -> rusqlite::Result<u64> {
    let position: i64 =
        connection.query_row("SELECT position FROM covered", [], |row| row.get(0))?;
    Ok(u64::try_from(position).unwrap_or(0))
}

// ---- writing -------------------------------------------------------------------------------------------

/// Writes the records behind `covered` in one transaction, and gives the position that is covered then.
pub fn write(
    connection: &mut Connection,
    mut covered: u64,
    records: &[(u64, Vec<Row>)],
) -> rusqlite::Result<u64> {
    let transaction = connection.transaction()?;
    for (position, rows) in records {
        if *position <= covered {
            continue;
        }
        for row in rows {
            put(&transaction, row)?;
        }
        covered = *position;
    }
    let position = i64::try_from(covered).unwrap_or(i64::MAX);
    transaction
        .prepare_cached("UPDATE covered SET position = ?1")?
        .execute([position])?;
    transaction.commit()?;
    Ok(covered)
}

fn put(transaction: &Transaction<'_>, row: &Row) -> rusqlite::Result<()> {
    match row {
        Row::Firing(row) => {
            let started = moment::parse(&row.started_at).unwrap_or(0);
            let mut insert = transaction.prepare_cached(
                "INSERT INTO firing (id, started, event, event_id, bus, started_at, finished_at, status, \
                 detail_valid, message) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) \
                 ON CONFLICT (id) DO UPDATE SET finished_at = ?7, status = ?8, detail_valid = ?9, message = ?10",
            )?;
            insert.execute(params![
                row.firing,
                started,
                row.event,
                row.event_id,
                row.bus,
                row.started_at,
                row.finished_at,
                status_name(row.status),
                row.detail_valid,
                row.message,
            ])?;
            for object in &row.objects {
                put_object(transaction, &row.firing, object)?;
            }
        }
        Row::GaveUp {
            firing,
            object,
            trigger,
            action,
            profile,
            channel,
            why,
        } => change(transaction, firing, object, |row| {
            for evaluation in row
                .evaluations
                .iter_mut()
                .filter(|it| it.trigger == *trigger)
            {
                evaluation.gave_up(*action, profile, channel, why);
            }
        })?,
        Row::TargetFailed {
            firing,
            object,
            trigger,
            target,
            why,
        } => change(transaction, firing, object, |row| {
            for evaluation in row
                .evaluations
                .iter_mut()
                .filter(|it| it.trigger == *trigger)
            {
                evaluation.target_failed(target, why);
            }
        })?,
    }
    Ok(())
}

/// Number and start of a firing; `None` when it was too old and is gone.
fn number_of(transaction: &Transaction<'_>, firing: &str) -> rusqlite::Result<Option<(i64, i64)>> {
    transaction
        .prepare_cached("SELECT firing, started FROM firing WHERE id = ?1")?
        .query_row([firing], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

/// Puts a subject behind those of its firing, or in its own place: one that is done anew was not finished.
fn put_object(
    transaction: &Transaction<'_>,
    firing: &str,
    row: &ObjectRow,
) -> rusqlite::Result<()> {
    let Some((number, started)) = number_of(transaction, firing)? else {
        return Ok(());
    };
    let place: i64 = transaction
        .prepare_cached(
            "SELECT coalesce((SELECT place FROM object WHERE object = ?2 AND started = ?3 AND firing = ?1), \
             (SELECT max(place) + 1 FROM object WHERE firing = ?1), 0)",
        )?
        .query_row(params![number, row.object, started], |row| row.get(0))?;
    transaction
        .prepare_cached("DELETE FROM object WHERE firing = ?1 AND place = ?2")?
        .execute([number, place])?;
    transaction
        .prepare_cached(
            "INSERT INTO object (firing, place, object, started, decided) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![number, place, row.object, started, decided(row)])?;
    let mut insert = transaction.prepare_cached(
        "INSERT OR IGNORE INTO evaluation (trigger_name, started, firing, place) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for evaluation in &row.evaluations {
        insert.execute(params![evaluation.trigger, started, number, place])?;
    }
    Ok(())
}

/// Changes what was decided for one subject, if it is still there.
fn change(
    transaction: &Transaction<'_>,
    firing: &str,
    object: &str,
    change: impl FnOnce(&mut ObjectRow),
) -> rusqlite::Result<()> {
    let Some((number, started)) = number_of(transaction, firing)? else {
        return Ok(());
    };
    let found: Option<(i64, String)> = transaction
        .prepare_cached(
            "SELECT place, decided FROM object WHERE object = ?1 AND started = ?2 AND firing = ?3",
        )?
        .query_row(params![object, started, number], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let Some((place, text)) = found else {
        return Ok(());
    };
    let Ok(mut row) = serde_json::from_str(&text) else {
        // Damage that a reader is told of; the writer goes on.
        return Ok(());
    };
    change(&mut row);
    transaction
        .prepare_cached("UPDATE object SET decided = ?3 WHERE firing = ?1 AND place = ?2")?
        .execute(params![number, place, decided(&row)])?;
    Ok(())
}

fn decided(row: &ObjectRow) -> String {
    serde_json::to_string(row).expect("plain values")
}

/// A status as it is written and asked for.
fn status_name(status: Status) -> &'static str {
    match status {
        Status::InProgress => "in-progress",
        Status::Finished => "finished",
        Status::Failed => "failed",
        Status::Duplicate => "duplicate",
    }
}

// ---- reading -------------------------------------------------------------------------------------------

/// Finds a page of firings, newest first.
pub fn find(connection: &Connection, query: &Query) -> Result<Page, ReadError> {
    // All of it sees one state of the tables.
    let snapshot = connection.unchecked_transaction()?;
    let mut wanted: Vec<String> = Vec::new();
    let mut values: Vec<rusqlite::types::Value> = Vec::new();
    let mut want = |condition: &str, value: rusqlite::types::Value| {
        values.push(value);
        wanted.push(condition.replace('?', &format!("?{}", values.len())));
    };
    let by = match (&query.object, &query.trigger) {
        (Some(_), _) => "object",
        (None, Some(_)) => "evaluation",
        (None, None) => "firing",
    };
    if let Some(object) = &query.object {
        want("d.object = ?", object.clone().into());
    }
    match (&query.trigger, by) {
        (Some(trigger), "object") => want(
            "EXISTS (SELECT 1 FROM evaluation e WHERE e.trigger_name = ? AND e.started = d.started \
             AND e.firing = d.firing AND e.place = d.place)",
            trigger.clone().into(),
        ),
        (Some(trigger), _) => want("d.trigger_name = ?", trigger.clone().into()),
        (None, _) => {}
    }
    let firing = if by == "firing" { "d" } else { "f" };
    if let Some(event) = &query.event {
        want(&format!("{firing}.event = ?"), event.clone().into());
    }
    if let Some(id) = &query.event_id {
        want(&format!("{firing}.event_id = ?"), id.clone().into());
    }
    if let Some(status) = query.status {
        let name = status_name(status).to_owned();
        want(&format!("{firing}.status = ?"), name.into());
    }
    if let Some(from) = query.from {
        want("? <= d.started", from.into());
    }
    if let Some(to) = query.to {
        want("d.started < ?", to.into());
    }
    if let Some(cursor) = &query.cursor {
        let (started, number) = parse_cursor(cursor).ok_or(ReadError::Cursor)?;
        wanted.push(format!("(d.started, d.firing) < ({started}, {number})"));
    }
    let join = match by {
        "firing" => "",
        // The order of a CROSS JOIN stays as written.
        _ => " CROSS JOIN firing f ON f.firing = d.firing",
    };
    let condition = match wanted.is_empty() {
        true => String::new(),
        false => format!(" WHERE {}", wanted.join(" AND ")),
    };
    let limit = query.limit.max(1);
    let sql = format!(
        "SELECT DISTINCT d.started, d.firing FROM {by} d{join}{condition} \
         ORDER BY d.started DESC, d.firing DESC LIMIT {}",
        limit + 1
    );
    let mut statement = snapshot.prepare(&sql)?;
    let mut places = statement
        .query_map(rusqlite::params_from_iter(values), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<rusqlite::Result<Vec<(i64, i64)>>>()?
        .into_iter();
    let mut page = Page {
        firings: Vec::new(),
        cursor: None,
    };
    let mut bytes = 0;
    let mut last = None;
    while page.firings.len() < limit && bytes < PAGE_BYTES_MAX {
        let Some((started, number)) = places.next() else {
            break;
        };
        let (found, size) = whole(&snapshot, number)?;
        page.firings.push(found);
        bytes += size;
        last = Some((started, number));
    }
    if places.next().is_some() {
        page.cursor = last.map(|(started, number)| cursor(started, number));
    }
    Ok(page)
}

/// Finds one firing.
pub fn firing(connection: &Connection, id: &str) -> Result<Option<Found>, ReadError> {
    let snapshot = connection.unchecked_transaction()?;
    let number = snapshot
        .prepare_cached("SELECT firing FROM firing WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    Ok(match number {
        Some(number) => Some(whole(&snapshot, number)?.0),
        None => None,
    })
}

/// A firing with its subjects, and how many bytes those are.
fn whole(connection: &Connection, number: i64) -> Result<(Found, usize), ReadError> {
    let mut statement = connection.prepare_cached(
        "SELECT id, event, event_id, bus, started_at, finished_at, status, detail_valid, message \
         FROM firing WHERE firing = ?1",
    )?;
    let (mut row, status) = statement.query_row([number], |row| {
        let firing = FiringRow {
            firing: row.get(0)?,
            event: row.get(1)?,
            event_id: row.get(2)?,
            bus: row.get(3)?,
            started_at: row.get(4)?,
            finished_at: row.get(5)?,
            status: Status::InProgress,
            detail_valid: row.get(7)?,
            message: row.get(8)?,
            objects: Vec::new(),
        };
        Ok((firing, row.get::<_, String>(6)?))
    })?;
    row.status = serde_json::from_value(status.into())?;
    let mut statement =
        connection.prepare_cached("SELECT decided FROM object WHERE firing = ?1 ORDER BY place")?;
    let mut bytes = 0;
    for text in statement.query_map([number], |row| row.get::<_, String>(0))? {
        let text = text?;
        bytes += text.len();
        row.objects.push(serde_json::from_str(&text)?);
    }
    let (evaluated, matched, ignored) = row.counts();
    let found = Found {
        evaluated,
        matched,
        ignored,
        row,
    };
    Ok((found, bytes))
}

fn cursor(started: i64, number: i64) -> String {
    URL_SAFE_NO_PAD.encode(format!("{started}/{number}"))
}

fn parse_cursor(text: &str) -> Option<(i64, i64)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let (started, number) = text.split_once('/')?;
    Some((started.parse().ok()?, number.parse().ok()?))
}

// ---- retention -----------------------------------------------------------------------------------------

/// Removes firings that are too old or too many; true if there may be more of them.
pub fn sweep(connection: &mut Connection, keep: &Keep) -> rusqlite::Result<bool> {
    let mut removed = 0;
    if let Some(age) = keep.age_ms {
        let before = (keep.now)().saturating_sub(age);
        removed += connection.execute(
            "DELETE FROM firing WHERE firing IN \
             (SELECT firing FROM firing WHERE started < ?1 ORDER BY started LIMIT ?2)",
            [before, SWEEP_MAX],
        )?;
    }
    if let Some(most) = keep.firings {
        let there: i64 =
            connection.query_row("SELECT count(*) FROM firing", [], |row| row.get(0))?;
        let over = there.saturating_sub(i64::try_from(most).unwrap_or(i64::MAX));
        removed += connection.execute(
            "DELETE FROM firing WHERE firing IN \
             (SELECT firing FROM firing ORDER BY started, firing LIMIT ?1)",
            [over.clamp(0, SWEEP_MAX)],
        )?;
    }
    Ok(0 < removed)
}
