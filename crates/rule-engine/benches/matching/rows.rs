//! The rows: which rules against which events, and how many matches there must be.
//!
//! The files, and where the totals come from, are described in `benches/data/SPEC.md`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

/// Rules in the sets of `bus`.
const BUS: [usize; 5] = [1, 100, 10_000, 100_000, 1_000_000];
/// Events in each file of `bus`.
const BUS_EVENTS: u64 = 10_000;
/// Matches of `mix` and `mixq`, for each of [`BUS`]. Source: SPEC.md, section 4.
const MIX: [u64; 5] = [1_711, 1_032, 826, 1_330, 6_505];
const MIXQ: [u64; 5] = [4, 1_019, 993, 1_321, 4_701];

/// Matches of each category of `lots`. Source: SPEC.md, section 2.
const LOTS: [(&str, u64); 17] = [
    ("exact", 9),
    ("wildcard", 3_430),
    ("prefix", 39_249),
    ("prefix-ignore-case", 39_249),
    ("suffix", 61_112),
    ("suffix-ignore-case", 61_112),
    ("equals-ignore-case", 131_748),
    ("numeric", 301_935),
    ("anything-but", 727_979),
    ("anything-but-ignore-case", 727_979),
    ("anything-but-prefix", 727_491),
    ("anything-but-suffix", 719_376),
    ("anything-but-wildcard", 1_061_910),
    ("complex-arrays", 302_699),
    ("partial-combo", 4_305_928),
    ("combo", 4_608_627),
    ("arrays-four", 2_970),
];

/// Rules in the sets of `hard` that have one field.
const HARD: [usize; 4] = [10, 100, 1_000, 10_000];
/// Their matches. `anything-but` follows from the construction; the others were counted by the
/// plain matcher.
const HARD_VALUES: [(&str, [u64; 4]); 4] = [
    ("wild", [5, 45, 383, 4_125]),
    ("anything-but", [10_000, 100_000, 1_000_000, 10_000_000]),
    ("range", [47, 483, 4_880, 50_032]),
    ("prefix", [6, 962, 6_540, 66_708]),
];
/// The other sets of `hard`, their matches, and whether their events can be made twice as large.
const HARD_SHAPES: [(&str, u64, bool); 8] = [
    ("stars", 0, true),
    ("array", 0, true),
    ("array3", 0, true),
    ("siblings", 0, true),
    ("array-live", 10, true),
    ("stars-live", 10, true),
    ("needle", 10, true),
    ("deep", 0, false),
];

/// One line of the answer.
pub struct Row {
    /// As `uniq-100/one`: the set, then the events.
    pub name: String,
    /// The file of rules.
    pub rules: String,
    /// Which of its rules; `None`: all.
    pub category: Option<&'static str>,
    /// The file of events.
    pub events: String,
    /// 2: each event is blown up to about twice its size before it is used.
    pub times: usize,
    /// Matches over one pass.
    pub matches: u64,
}

impl Row {
    /// True when `selector` is the name, or what stands before its slash, or the first word.
    pub fn is_selected_by(&self, selector: &str) -> bool {
        let set = self.name.split('/').next();
        let family = self.name.split(['/', '-']).next();
        self.name == selector || set == Some(selector) || family == Some(selector)
    }

    /// True when the same rule set serves both.
    pub fn shares_rules_with(&self, other: &Row) -> bool {
        self.rules == other.rules && self.category == other.category
    }
}

/// All rows; those that share a rule set stand together.
pub fn all() -> Vec<Row> {
    let mut rows = Vec::new();
    for (index, n) in BUS.into_iter().enumerate() {
        let mut row = |set: &str, events: &str, matches| {
            rows.push(Row {
                name: format!("{set}-{n}/{events}"),
                rules: format!("bus-rules-{set}-{n}.jsonl"),
                category: None,
                events: match events {
                    "small" => "bus-events-small.jsonl".to_owned(),
                    _ => format!("bus-events-{events}-{n}.jsonl"),
                },
                times: 1,
                matches,
            });
        };
        row("uniq", "one", BUS_EVENTS);
        row("uniq", "zero", 0);
        row("uniq", "small", 0);
        if 100 <= n {
            row("fan", "hundred", 100 * BUS_EVENTS);
        }
        row("mix", "mixed", MIX[index]);
        row("mixq", "mixed", MIXQ[index]);
    }
    for (category, matches) in LOTS {
        let shape = match category {
            "arrays-four" => "arrays",
            _ => "objects",
        };
        rows.push(Row {
            name: format!("lots/{category}"),
            rules: "lots-rules.jsonl".to_owned(),
            category: Some(category),
            events: format!("lots-{shape}.jsonl"),
            times: 1,
            matches,
        });
    }
    let mut hard = |set: &str, events: &str, times, matches| {
        let family = if times == 1 { "hard" } else { "hard2" };
        rows.push(Row {
            name: format!("{family}/{set}"),
            rules: format!("hard-rules-{set}.jsonl"),
            category: None,
            events: format!("hard-events-{events}.jsonl"),
            times,
            matches,
        });
    };
    for (kind, totals) in HARD_VALUES {
        for (n, matches) in HARD.into_iter().zip(totals) {
            hard(&format!("{kind}-{n}"), "values", 1, matches);
        }
    }
    for (shape, matches, can_double) in HARD_SHAPES {
        hard(shape, shape, 1, matches);
        if can_double {
            hard(shape, shape, 2, matches);
        }
    }
    rows
}

/// Where the files are: `BUSBAR_BENCH_DATA`, or `target/bench-data`.
pub fn folder() -> PathBuf {
    match env::var_os("BUSBAR_BENCH_DATA") {
        Some(folder) => folder.into(),
        None => repository().join("target/bench-data"),
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Reads a file of [`folder`]. One of the small ones is made first when it is not there.
///
/// # Errors
/// What is missing and how to come by it.
pub fn read(name: &str) -> Result<Vec<u8>, String> {
    let path = folder().join(name);
    if !path.exists() {
        make_small(name);
    }
    fs::read(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            format!(
                "{} is not there; `just bench-data` makes it",
                path.display()
            )
        }
        _ => format!("{}: {error}", path.display()),
    })
}

/// Makes the small files of one kind, if `name` is one of them. Whether that went well shows
/// when the file is read.
fn make_small(name: &str) {
    let arguments: &[&str] = match name.split(['-', '.']).collect::<Vec<_>>()[..] {
        ["hard", ..] => &["hard"],
        ["bus", .., "1" | "100" | "small", _] => &["bus", "--rules", "1,100"],
        _ => return,
    };
    let made = Command::new("python3")
        .arg(repository().join("benches/data/gen.py"))
        .args(arguments)
        .arg(folder())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("python3 could not make the small files");
    }
}

/// The text of each pattern of a file, in its order; of one category, or all.
pub fn patterns<'t>(
    text: &'t str,
    category: Option<&'static str>,
) -> impl Iterator<Item = &'t str> {
    let head = category.map(|category| format!("{{\"category\":\"{category}\","));
    text.lines()
        .filter(move |line| head.as_ref().is_none_or(|head| line.starts_with(&**head)))
        .map(|line| {
            let (_, pattern) = line
                .split_once("\"pattern\":")
                .expect("as gen.py writes it");
            pattern.strip_suffix('}').expect("as gen.py writes it")
        })
}

/// The events of a file, each about `times` as large as it is there.
///
/// Shape: arrays in `detail` get their elements `times` times, and the letters that a text there
/// begins with become `times` as many. The matches stay what they are.
pub fn events(text: &[u8], times: usize) -> Vec<Vec<u8>> {
    let lines = text.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.is_empty());
    if times == 1 {
        return lines.map(<[u8]>::to_vec).collect();
    }
    lines.map(|line| blown_up(line, times)).collect()
}

fn blown_up(event: &[u8], times: usize) -> Vec<u8> {
    let mut event: serde_json::Value = serde_json::from_slice(event).expect("gen.py writes JSON");
    let detail = event["detail"].as_object_mut().expect("so it is in `hard`");
    for (_, value) in detail.iter_mut() {
        match value {
            serde_json::Value::Array(elements) => {
                let blown_up = elements.len() * times;
                *elements = elements.iter().cycle().take(blown_up).cloned().collect();
            }
            serde_json::Value::String(text) => {
                let letters = text.bytes().take_while(|byte| *byte == b'a').count();
                text.insert_str(0, &"a".repeat(letters * (times - 1)));
            }
            _ => {}
        }
    }
    event.to_string().into_bytes()
}
