//! The log target: JSON lines in files, one sync per batch.
//!
//! A delivery to a log counts once its line is synced, so [`LogFiles::append`] returns only then.
//! A batch that fails is cut back, so that a line never counts twice because of us and a torn one
//! is never followed by another. A torn tail that a crash left behind never counted: it is cut
//! off when the file is opened, and the delivery that it belonged to is attempted again.
//!
//! The calls block; run them on a blocking thread, one at a time (`&mut self`). Files are never
//! deleted by us, only put aside under a number when they are full. Whoever asks for a copy on
//! stdout accepts that a reader who stops reading there stops the logs.
//!
//! Source: eventbridge-api.md 6.3 and 8.1; F18. Start at [`LogFiles::append`].

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::json::is_json;
use crate::limits::{LOG_BYTES_MAX, LOG_FILES_OPEN_MAX, LOG_NAME_BYTES_MAX};

/// How logs are written.
#[derive(Debug, Clone, Copy)]
pub struct LogOptions {
    /// Every line goes to stdout as well, after its sync.
    pub stdout: bool,
    /// Size at which a file is put aside; a batch is never divided.
    pub rotate_bytes: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            stdout: false,
            rotate_bytes: LOG_BYTES_MAX,
        }
    }
}

/// One line, its newline included. Made by [`line()`] alone, so that a line is a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line(Vec<u8>);

impl Line {
    /// The bytes as they are written.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The log files of one folder.
#[derive(Debug)]
pub struct LogFiles {
    dir: PathBuf,
    options: LogOptions,
    open: HashMap<String, Open>,
    /// Counts appends: which file was used longest ago.
    uses: u64,
}

#[derive(Debug)]
struct Open {
    file: File,
    bytes: u64,
    used: u64,
    /// False until the directory entry is synced.
    entry_synced: bool,
}

impl LogFiles {
    /// Opens the folder, making it if need be.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(dir: &Path, options: LogOptions) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
            options,
            open: HashMap::new(),
            uses: 0,
        })
    }

    /// Writes `lines` to the log `name` and syncs once. When it returns, they are durable.
    ///
    /// # Errors
    /// What the file system says. None of the lines counts then: they were cut off again, or are
    /// when the file is next opened as far as they are torn. Whole lines may stay where even the
    /// cut failed, and then occur again.
    pub fn append(&mut self, name: &str, lines: &[Line]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let batch: Vec<u8> = lines
            .iter()
            .flat_map(|line| line.0.iter().copied())
            .collect();
        let name = file_name(name);
        self.make_room(&name, batch.len() as u64)?;
        let open = self
            .open
            .get_mut(&name)
            .expect("make_room has opened the file");
        self.uses += 1;
        open.used = self.uses;
        let result = open.append(&batch, &self.dir);
        if result.is_err() {
            // A page whose sync failed may be clean in memory and absent on disk. Cutting it off
            // makes the next write bring it anew; the handle goes, so that nothing is assumed.
            if let Some(open) = self.open.remove(&name) {
                let _ = open.file.set_len(open.bytes);
            }
        }
        result?;
        if self.options.stdout {
            // The line is durable in its file: a closed stdout is no failure of the delivery.
            let _ = io::stdout().lock().write_all(&batch);
        }
        Ok(())
    }

    /// After it the file is open and takes `bytes` more.
    fn make_room(&mut self, name: &str, bytes: u64) -> io::Result<()> {
        if !self.open.contains_key(name) {
            self.close_one_at_bound();
            let open = Open::at(&self.dir.join(name))?;
            self.open.insert(name.to_owned(), open);
        }
        let full = self
            .open
            .get(name)
            .is_some_and(|open| 0 < open.bytes && self.options.rotate_bytes < open.bytes + bytes);
        if full {
            self.open.remove(name);
            self.put_aside(name)?;
            let open = Open::at(&self.dir.join(name))?;
            self.open.insert(name.to_owned(), open);
        }
        Ok(())
    }

    /// Renames the file to the next free number. Nothing is overwritten.
    fn put_aside(&self, name: &str) -> io::Result<()> {
        let stem = name.strip_suffix(".jsonl").unwrap_or(name);
        let mut last = 0_u64;
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?.file_name();
            let number = entry
                .to_str()
                .and_then(|e| {
                    e.strip_prefix(stem)?
                        .strip_prefix('.')?
                        .strip_suffix(".jsonl")
                })
                .and_then(|number| number.parse().ok());
            last = last.max(number.unwrap_or(0));
        }
        let aside = self.dir.join(format!("{stem}.{}.jsonl", last + 1));
        fs::rename(self.dir.join(name), aside)?;
        sync_dir(&self.dir)
    }

    fn close_one_at_bound(&mut self) {
        if self.open.len() < LOG_FILES_OPEN_MAX {
            return;
        }
        let oldest = self.open.iter().min_by_key(|(_, open)| open.used);
        if let Some(name) = oldest.map(|(name, _)| name.clone()) {
            self.open.remove(&name);
        }
    }
}

impl Open {
    fn at(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)?;
        let found = file.metadata()?.len();
        let bytes = whole_lines(&mut file, found)?;
        if bytes < found {
            file.set_len(bytes)?;
        }
        Ok(Self {
            file,
            bytes,
            used: 0,
            // A file that was found may be one whose entry a crash beat us to sync.
            entry_synced: false,
        })
    }

    fn append(&mut self, batch: &[u8], dir: &Path) -> io::Result<()> {
        self.file.write_all(batch)?;
        self.file.sync_data()?;
        if !self.entry_synced {
            sync_dir(dir)?;
            self.entry_synced = true;
        }
        self.bytes += batch.len() as u64;
        Ok(())
    }
}

/// Length up to and with the last newline, read from the end.
fn whole_lines(file: &mut File, bytes: u64) -> io::Result<u64> {
    let mut piece = vec![0_u8; 64 * 1024];
    let mut end = bytes;
    while 0 < end {
        let size = end.min(piece.len() as u64);
        let piece = &mut piece[..size as usize];
        file.seek(SeekFrom::Start(end - size))?;
        file.read_exact(piece)?;
        if let Some(at) = piece.iter().rposition(|&b| b == b'\n') {
            return Ok(end - size + at as u64 + 1);
        }
        end -= size;
    }
    Ok(0)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The file of a log: every byte outside `[A-Za-z0-9._-]` as `%XX`, and `.jsonl`.
///
/// Two names never share a file. So that no name is taken for a file put aside (`a.1.jsonl` is
/// the first one of `a`), the dot before a last part of digits is written `%2E`; a name of dots
/// alone is only dots and an ending, no way out of the folder. A long name keeps its beginning,
/// and ends in `~` and a digest.
#[must_use]
pub fn file_name(name: &str) -> String {
    let digits = |tail: &str| !tail.is_empty() && tail.bytes().all(|b| b.is_ascii_digit());
    let numbered = name.rfind('.').filter(|&dot| digits(&name[dot + 1..]));
    let mut file = String::with_capacity(name.len() + 6);
    for (at, byte) in name.bytes().enumerate() {
        match byte {
            b'.' if numbered == Some(at) => file.push_str("%2E"),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' => {
                file.push(char::from(byte));
            }
            _ => file.push_str(&format!("%{byte:02X}")),
        }
    }
    if LOG_NAME_BYTES_MAX < file.len() {
        let digest = Sha256::digest(name.as_bytes());
        file.truncate(LOG_NAME_BYTES_MAX - 33);
        file.push('~');
        for byte in &digest[..16] {
            file.push_str(&format!("{byte:02x}"));
        }
    }
    file.push_str(".jsonl");
    file
}

/// The line of one delivery.
///
/// Shape: `{"time":…,"event_id":…,"rule":…,"target":…,"input":…}` and a newline. The input stands
/// as it is where it is JSON (raw CR and LF between its tokens become blanks), else as a string;
/// bytes that are no UTF-8 are replaced there.
#[must_use]
pub fn line(time_rfc3339: &str, event_id: &str, rule: &str, target: &str, input: &[u8]) -> Line {
    let mut line = Vec::with_capacity(input.len() + 256);
    for (key, text) in [
        ("{\"time\":", time_rfc3339),
        (",\"event_id\":", event_id),
        (",\"rule\":", rule),
        (",\"target\":", target),
    ] {
        line.extend_from_slice(key.as_bytes());
        push_string(&mut line, text);
    }
    line.extend_from_slice(b",\"input\":");
    if is_json(input) {
        // In JSON, a raw CR or LF can only stand between tokens.
        line.extend(input.iter().map(|&b| match b {
            b'\r' | b'\n' => b' ',
            _ => b,
        }));
    } else {
        push_string(&mut line, &String::from_utf8_lossy(input));
    }
    line.extend_from_slice(b"}\n");
    Line(line)
}

fn push_string(line: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(line, text).expect("a string can be written to memory");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(input: &[u8]) -> Line {
        line("2026-01-02T03:04:05Z", "e\"1", "r", "t", input)
    }

    fn logs(dir: &Path, rotate_bytes: u64) -> LogFiles {
        let options = LogOptions {
            stdout: false,
            rotate_bytes,
        };
        LogFiles::open(dir, options).unwrap()
    }

    #[test]
    fn a_line_holds_json_as_it_is_and_the_rest_as_text() {
        let check = |input: &[u8], expected: &str| {
            let expected = format!(
                "{{\"time\":\"2026-01-02T03:04:05Z\",\"event_id\":\"e\\\"1\",\"rule\":\"r\",\
                 \"target\":\"t\",\"input\":{expected}}}\n"
            );
            assert_eq!(String::from_utf8_lossy(of(input).as_bytes()), expected);
        };
        check(b"{\"a\": 1.50}", "{\"a\": 1.50}");
        check(b"{\r\n\"a\":\n1}", "{  \"a\": 1}");
        check(b"\"hello\"", "\"hello\"");
        check(b"hello\nworld", "\"hello\\nworld\"");
        check(b"", "\"\"");
        check(b"\xff", "\"\u{fffd}\"");
    }

    #[test]
    fn two_names_are_two_files_inside_the_folder() {
        let long = "é".repeat(200);
        let other = format!("{}x", "é".repeat(200));
        let table = [
            ("audit", "audit.jsonl"),
            ("a/b", "a%2Fb.jsonl"),
            ("a_b", "a_b.jsonl"),
            ("/aws/events/x", "%2Faws%2Fevents%2Fx.jsonl"),
            ("..", "...jsonl"),
            ("../x", "..%2Fx.jsonl"),
            ("a%2Fb", "a%252Fb.jsonl"),
            ("a.1", "a%2E1.jsonl"),
            ("a.1.b", "a.1.b.jsonl"),
            ("é", "%C3%A9.jsonl"),
            ("", ".jsonl"),
        ];
        for (name, file) in table {
            assert_eq!(file_name(name), file);
        }
        assert_ne!(file_name(&long), file_name(&other));
        assert!(file_name(&long).len() <= LOG_NAME_BYTES_MAX + 6);
    }

    #[test]
    fn batches_are_appended_also_after_a_new_start() {
        let dir = tempfile::tempdir().unwrap();
        logs(dir.path(), 1000)
            .append("a/b", &[of(b"1"), of(b"2")])
            .unwrap();
        logs(dir.path(), 1000).append("a/b", &[of(b"3")]).unwrap();
        logs(dir.path(), 1000).append("a/b", &[]).unwrap();
        let text = fs::read_to_string(dir.path().join("a%2Fb.jsonl")).unwrap();
        assert_eq!(text.lines().count(), 3);
    }

    #[test]
    fn a_torn_tail_is_cut_off_when_the_file_is_opened() {
        for (found, kept) in [
            ("{\"torn", ""),
            ("{\"a\":1}\n{\"torn", "{\"a\":1}\n"),
            (&format!("{{}}\n{}", "x".repeat(200_000)), "{}\n"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("a.jsonl");
            fs::write(&path, found).unwrap();
            logs(dir.path(), 1_000_000)
                .append("a", &[of(b"1")])
                .unwrap();
            let text = fs::read(&path).unwrap();
            assert_eq!(text, [kept.as_bytes(), of(b"1").as_bytes()].concat());
        }
    }

    #[test]
    fn a_full_file_is_put_aside_under_the_next_number() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = logs(dir.path(), 100);
        for _ in 0..3 {
            files.append("a", &[of(b"1")]).unwrap();
        }
        drop(files);
        logs(dir.path(), 100).append("a", &[of(b"1")]).unwrap();
        logs(dir.path(), 100).append("a.1", &[of(b"1")]).unwrap();
        let mut names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(
            names,
            [
                "a%2E1.jsonl",
                "a.1.jsonl",
                "a.2.jsonl",
                "a.3.jsonl",
                "a.jsonl"
            ]
        );
    }

    #[test]
    fn more_logs_than_handles_are_written_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = logs(dir.path(), 1000);
        for round in 0..2 {
            for n in 0..LOG_FILES_OPEN_MAX + 5 {
                files.append(&format!("log{n}"), &[of(b"1")]).unwrap();
            }
            assert_eq!(files.open.len(), LOG_FILES_OPEN_MAX, "round {round}");
        }
        let text = fs::read_to_string(dir.path().join("log0.jsonl")).unwrap();
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn a_batch_that_fails_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = logs(dir.path(), 1000);
        files.append("a", &[of(b"1")]).unwrap();
        // The line is written when the sync of a folder that is gone fails.
        let path = dir.path().join("a.jsonl");
        files.open.get_mut("a.jsonl").unwrap().entry_synced = false;
        files.dir = dir.path().join("gone");
        assert!(files.append("a", &[of(b"2")]).is_err());
        files.dir = dir.path().to_owned();
        assert_eq!(fs::read(&path).unwrap(), of(b"1").as_bytes());
        files.append("a", &[of(b"2")]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
    }
}
