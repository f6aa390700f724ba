//! `busbar inventory`: what the bus knows about objects, seen and written from outside.

use super::client::{Client, Endpoint, encode};
use super::put::read_input;
use super::table::{self, plain};
use super::{Failure, NO, Outcome};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, BufReader};

/// Objects that are put at the same time. The server syncs them together.
const PUTS: usize = 32;
/// Lines read before they are put: one object twice keeps its order, since its lines go one way.
const LINES: usize = 4_096;
/// Refused lines that are told one by one.
const TOLD_MAX: usize = 20;

#[derive(Subcommand)]
pub enum Command {
    /// List the objects of a type.
    List(List),
    /// Print one object.
    Get(Get),
    /// Write one object; what it does not name is removed.
    Put(Put),
    /// Write many objects from a file of one a line.
    Load(Load),
}

#[derive(Args)]
pub struct List {
    /// Type of the objects.
    #[arg(value_name = "TYPE")]
    kind: String,
    /// Most objects to list.
    #[arg(long, default_value_t = 1_000)]
    max: usize,
    #[command(flatten)]
    endpoint: Endpoint,
}

#[derive(Args)]
pub struct Get {
    /// The object.
    #[arg(value_name = "TYPE/ID")]
    object: String,
    #[command(flatten)]
    endpoint: Endpoint,
}

#[derive(Args)]
pub struct Put {
    /// The object, as a file of JSON or `-`; with its type and id.
    file: String,
    #[command(flatten)]
    endpoint: Endpoint,
}

#[derive(Args)]
pub struct Load {
    /// File of objects, one a line, or `-`; each with its type and id.
    file: String,
    #[command(flatten)]
    endpoint: Endpoint,
}

impl Command {
    pub fn run(self, json: bool) -> Outcome {
        match self {
            Self::List(command) => command.run(json),
            Self::Get(command) => command.run(json),
            Self::Put(command) => command.run(json),
            Self::Load(command) => command.run(json),
        }
    }
}

impl List {
    fn run(self, json: bool) -> Outcome {
        let client = self.endpoint.client()?;
        let mut rows = Vec::new();
        let (mut left, mut cursor) = (self.max, None::<String>);
        while left > 0 {
            let mut path = format!(
                "/v1/inventory/{}?limit={}",
                encode(&self.kind),
                left.min(1_000)
            );
            if let Some(cursor) = &cursor {
                path.push_str(&format!("&cursor={}", encode(cursor)));
            }
            let page = client.get(&path)?;
            for object in page["objects"].as_array().into_iter().flatten() {
                left -= 1;
                match json {
                    true => say!("{object}"),
                    false => rows.push(row(object)),
                }
            }
            cursor = page["cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        if !json && rows.is_empty() {
            say!("no objects of type {}", plain(&self.kind));
        } else if !json {
            table::print(&["ID", "OWNER", "UPDATED", "ATTRIBUTES"], &rows);
        }
        if cursor.is_some() {
            eprintln!("there are more: --max {} shows twice as many", self.max * 2);
        }
        Ok(0)
    }
}

fn row(object: &Value) -> Vec<String> {
    let text = |value: &Value| plain(value.as_str().unwrap_or_default());
    let owner = match &object["owner"] {
        Value::Null => "-".to_owned(),
        owner => format!("{}/{}", text(&owner["type"]), text(&owner["id"])),
    };
    let attributes = object["attributes"].to_string();
    let mut short: String = attributes.chars().take(80).collect();
    if short.len() < attributes.len() {
        short.push('…');
    }
    vec![
        text(&object["id"]),
        owner,
        text(&object["updatedAt"]),
        plain(&short),
    ]
}

impl Get {
    fn run(self, json: bool) -> Outcome {
        let (kind, id) = self.object.split_once('/').ok_or_else(|| {
            Failure::usage(format!("`{}` is no object: TYPE/ID is wanted", self.object))
        })?;
        let object = self.endpoint.client()?.get(&address(kind, id))?;
        match json {
            true => say!("{object}"),
            false => say!("{object:#}"),
        }
        Ok(0)
    }
}

impl Put {
    fn run(self, json: bool) -> Outcome {
        let text = read_input(&self.file)?;
        let object: Value = serde_json::from_str(&text)
            .map_err(|e| Failure::usage(format!("{} is no JSON: {e}", self.file)))?;
        let written = put(&self.endpoint.client()?, &object, &text)?;
        match json {
            true => say!("{written}"),
            false => say!("{written:#}"),
        }
        Ok(0)
    }
}

fn address(kind: &str, id: &str) -> String {
    format!("/v1/inventory/{}/{}", encode(kind), encode(id))
}

fn put(client: &Client, object: &Value, text: &str) -> Result<Value, Failure> {
    let given = object["type"].as_str().zip(object["id"].as_str());
    let (kind, id) = given.ok_or_else(|| {
        Failure::usage(
            "an object needs its type and id: {\"type\": \"certificate\", \"id\": \"…\"}",
        )
    })?;
    client.put(&address(kind, id), text)
}

impl Load {
    fn run(self, json: bool) -> Outcome {
        let client = self.endpoint.client()?;
        let unreadable = |e: io::Error| Failure::usage(format!("cannot read {}: {e}", self.file));
        let (lines, bytes): (Box<dyn BufRead>, u64) = if self.file == "-" {
            (Box::new(io::stdin().lock()), 0)
        } else {
            let file = File::open(&self.file).map_err(unreadable)?;
            let bytes = file.metadata().map_err(unreadable)?.len();
            (Box::new(BufReader::new(file)), bytes)
        };
        let bar = bar(bytes);
        let (mut number, mut written, mut refused) = (0, 0, 0);
        let mut lines = lines.lines();
        loop {
            let mut some: Vec<(usize, String)> = Vec::new();
            for line in lines.by_ref().take(LINES) {
                let line = line.map_err(unreadable)?;
                number += 1;
                bar.inc(line.len() as u64 + 1);
                if !line.trim().is_empty() {
                    some.push((number, line));
                } else {
                    some.push((number, String::new()));
                }
            }
            if some.is_empty() {
                break;
            }
            some.retain(|(_, line)| !line.is_empty());
            let count = some.len();
            let faults = put_all(&client, some)?;
            written += count - faults.len();
            for (line, fault) in faults {
                refused += 1;
                if refused <= TOLD_MAX {
                    let text = format!("{}:{line}: {:#}", self.file, fault.error);
                    bar.suspend(|| eprintln!("{text}"));
                }
            }
            bar.set_message(format!("{written} objects"));
        }
        bar.finish_and_clear();
        if TOLD_MAX < refused {
            eprintln!("and {} more", refused - TOLD_MAX);
        }
        match json {
            true => say!(
                "{}",
                serde_json::json!({"written": written, "refused": refused})
            ),
            false => say!("{written} objects written, {refused} refused"),
        }
        Ok(if refused == 0 { 0 } else { NO })
    }
}

/// Puts objects, some at a time, those of one object in order. What is refused is given back by line.
fn put_all(client: &Client, lines: Vec<(usize, String)>) -> Result<Vec<(usize, Failure)>, Failure> {
    let mut ways: Vec<Vec<(usize, String)>> = (0..PUTS).map(|_| Vec::new()).collect();
    for (number, line) in lines {
        let object: Value = serde_json::from_str(&line).unwrap_or_default();
        let mut hasher = DefaultHasher::new();
        (object["type"].as_str(), object["id"].as_str()).hash(&mut hasher);
        ways[hasher.finish() as usize % PUTS].push((number, line));
    }
    let done: Vec<Result<Vec<(usize, Failure)>, Failure>> = std::thread::scope(|scope| {
        let work = |way: Vec<(usize, String)>| {
            let mut faults = Vec::new();
            for (number, line) in way {
                let read = serde_json::from_str::<Value>(&line)
                    .map_err(|e| Failure::usage(format!("no JSON: {e}")));
                match read.and_then(|object| put(client, &object, &line)) {
                    Ok(_) => {}
                    // Without a server the other lines have no better luck.
                    Err(fault) if fault.code == super::UNREACHABLE => return Err(fault),
                    Err(fault) => faults.push((number, fault)),
                }
            }
            Ok(faults)
        };
        let threads: Vec<_> = ways
            .into_iter()
            .map(|way| scope.spawn(move || work(way)))
            .collect();
        let ended = threads
            .into_iter()
            .map(|it| it.join().expect("it does not panic"));
        ended.collect()
    });
    let mut faults = Vec::new();
    for some in done {
        faults.extend(some?);
    }
    faults.sort_by_key(|(number, _)| *number);
    Ok(faults)
}

/// Progress by bytes, on a terminal only.
fn bar(bytes: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
    let style = "{wide_bar} {percent}% {msg} {eta}";
    bar.set_style(ProgressStyle::with_template(style).expect("a template of ours"));
    bar
}
