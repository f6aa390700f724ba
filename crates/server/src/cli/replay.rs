//! `busbar replay`: recorded events put in order, and where each of them went.
//!
//! Events are known by file and line, never by id: an id may occur again, in one file and in an earlier
//! replay. Of the occurrences of an id that the server tells, those of this replay are the newest, in order.

use super::client::{Client, Endpoint, encode};
use super::put;
use super::table::{self, plain};
use super::{Failure, NO, Outcome};
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Pause between two looks at what is still under way.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Args)]
pub struct Replay {
    /// Files of envelopes, one a line, or folders of `*.jsonl`.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The bus.
    #[arg(long, default_value = "default")]
    bus: String,
    /// Compare with this file, `{"FILE.jsonl": {"LINE": ["RULE/TARGET", …]}}`, and fail if anything differs.
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// Seconds to wait until every delivery has ended or lies in its queue.
    #[arg(long, default_value_t = 60, value_name = "S", value_parser = clap::value_parser!(u64).range(0..=86_400))]
    wait: u64,
    #[command(flatten)]
    endpoint: Endpoint,
}

/// A line of a file.
struct Line {
    file: String,
    number: usize,
    event: Box<RawValue>,
    id: String,
    /// Why it was not put.
    refused: Option<String>,
    deliveries: Vec<Delivery>,
    /// All deliveries have ended or lie in their queues.
    ended: bool,
}

impl AsRef<RawValue> for Line {
    fn as_ref(&self) -> &RawValue {
        &self.event
    }
}

struct Delivery {
    rule: String,
    target: String,
    state: String,
    why: String,
}

type Expected = BTreeMap<String, BTreeMap<String, Vec<String>>>;

impl Replay {
    pub fn run(self, json: bool) -> Outcome {
        let client = self.endpoint.client()?;
        let expected = self.expect.as_deref().map(read_expected).transpose()?;
        let mut lines = read_lines(&self.paths)?;
        self.put(&client, &mut lines)?;
        self.wait(&client, &mut lines)?;
        let differences = expected.map(|expected| {
            let whole = self.paths.iter().any(|path| path.is_dir());
            compare(&lines, &expected, whole)
        });
        show(&lines, json);
        let unfinished = lines
            .iter()
            .filter(|l| !l.ended && l.refused.is_none())
            .count();
        let refused = lines.iter().filter(|l| l.refused.is_some()).count();
        match &differences {
            Some(differences) if json => {
                say!("{}", serde_json::json!({"differences": differences}));
            }
            Some(differences) => {
                for difference in differences {
                    say!("differs: {difference}");
                }
                if differences.is_empty() {
                    say!("{} events went where they were expected", lines.len());
                }
            }
            None => {}
        }
        if unfinished > 0 {
            eprintln!(
                "{unfinished} events were still under way after {} s (--wait S waits longer)",
                self.wait
            );
        }
        let good = unfinished == 0 && refused == 0 && differences.is_none_or(|d| d.is_empty());
        Ok(if good { 0 } else { NO })
    }

    fn put(&self, client: &Client, lines: &mut [Line]) -> Result<(), Failure> {
        let bar = bar(lines.len(), "put");
        let sizes: Vec<usize> = put::groups(lines).iter().map(|group| group.len()).collect();
        let mut rest = lines;
        for size in sizes {
            let (group, behind) = rest.split_at_mut(size);
            rest = behind;
            let results = put::put(client, &self.bus, group, true)?;
            for (line, result) in group.iter_mut().zip(results) {
                line.refused = put::error_of(&result);
                if let Some(id) = put::id_of(&result) {
                    id.clone_into(&mut line.id);
                }
            }
            bar.inc(size as u64);
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Asks for the trails until all is at rest.
    fn wait(&self, client: &Client, lines: &mut [Line]) -> Result<(), Failure> {
        let bar = bar(lines.len(), "delivered");
        let started = crate::clock::instant();
        let mut by_id: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (at, line) in lines.iter().enumerate() {
            if line.refused.is_none() {
                by_id.entry(line.id.clone()).or_default().push(at);
            }
        }
        loop {
            let mut ended = Vec::new();
            for (id, at) in &by_id {
                let trail = client.get(&format!("/v1/events/{}", encode(id)))?;
                if take_trail(&trail, at, lines) {
                    bar.inc(at.len() as u64);
                    ended.push(id.clone());
                }
            }
            for id in ended {
                by_id.remove(&id);
            }
            if by_id.is_empty() || Duration::from_secs(self.wait) <= started.elapsed() {
                bar.finish_and_clear();
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// Takes what a trail says over into the lines of its id; whether all of them are at rest.
fn take_trail(trail: &Value, at: &[usize], lines: &mut [Line]) -> bool {
    let occurrences = trail["occurrences"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let Some(first) = occurrences.len().checked_sub(at.len()) else {
        return false;
    };
    let mut all = true;
    for (at, occurrence) in at.iter().zip(&occurrences[first..]) {
        let line = &mut lines[*at];
        let deliveries = occurrence["deliveries"].as_array();
        line.deliveries = deliveries.into_iter().flatten().map(delivery).collect();
        line.ended = line.deliveries.iter().all(|d| d.state != "pending");
        all &= line.ended;
    }
    all
}

fn delivery(value: &Value) -> Delivery {
    let text = |value: &Value| plain(value.as_str().unwrap_or_default());
    let letter = &value["dead_letter"];
    let last = value["attempts"].as_array().and_then(|a| a.last());
    let why = match (letter, last) {
        (Value::Null, Some(last)) if last["outcome"] != "delivered" => {
            format!("{} {}", text(&last["code"]), text(&last["text"]))
        }
        (Value::Null, _) => String::new(),
        (letter, _) => format!("{} {}", text(&letter["code"]), text(&letter["text"])),
    };
    Delivery {
        rule: text(&value["rule"]),
        target: text(&value["target"]),
        state: text(&value["state"]),
        why: why.trim().to_owned(),
    }
}

fn bar(length: usize, what: &'static str) -> ProgressBar {
    // Drawn on a terminal only.
    let bar = ProgressBar::with_draw_target(Some(length as u64), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(what);
    bar
}

fn read_lines(paths: &[PathBuf]) -> Result<Vec<Line>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let unreadable = |e| Failure::usage(format!("cannot read {}: {e}", path.display()));
            let mut found = Vec::new();
            for entry in std::fs::read_dir(path).map_err(unreadable)? {
                let entry = entry.map_err(unreadable)?.path();
                if entry.extension().is_some_and(|e| e == "jsonl") {
                    found.push(entry);
                }
            }
            found.sort();
            files.extend(found);
        } else {
            files.push(path.clone());
        }
    }
    let mut names = BTreeSet::new();
    let mut lines = Vec::new();
    for path in files {
        let file = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if !names.insert(file.clone()) {
            return Err(Failure::usage(format!(
                "two files are named {file}: events are told apart by file name and line"
            )));
        }
        let text = std::fs::read_to_string(&path)
            .map_err(|e| Failure::usage(format!("cannot read {}: {e}", path.display())))?;
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let event: Box<RawValue> = serde_json::from_str(line).map_err(|e| {
                Failure::usage(format!(
                    "{}:{}:{}: not a JSON text: {e}",
                    path.display(),
                    number + 1,
                    e.column()
                ))
            })?;
            lines.push(Line {
                file: file.clone(),
                number: number + 1,
                event,
                id: String::new(),
                refused: None,
                deliveries: Vec::new(),
                ended: false,
            });
        }
    }
    if lines.is_empty() {
        return Err(Failure::usage("there is no event in what was named"));
    }
    Ok(lines)
}

fn read_expected(path: &Path) -> Result<Expected, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failure::usage(format!("cannot read {}: {e}", path.display())))?;
    serde_json::from_str(&text).map_err(|e| {
        Failure::usage(format!(
            "{}:{}:{}: {e}; the form is {{\"FILE.jsonl\": {{\"LINE\": [\"RULE/TARGET\"]}}}}",
            path.display(),
            e.line(),
            e.column()
        ))
    })
}

/// Every way in which the lines went elsewhere than expected. `whole`: files that were not replayed count.
fn compare(lines: &[Line], expected: &Expected, whole: bool) -> Vec<String> {
    let mut differences = Vec::new();
    let mut seen: BTreeSet<(&str, String)> = BTreeSet::new();
    for line in lines {
        let place = format!("{}:{}", line.file, line.number);
        let number = line.number.to_string();
        let wanted = expected.get(&line.file).and_then(|file| file.get(&number));
        seen.insert((&line.file, number));
        let Some(wanted) = wanted else {
            differences.push(format!("{place}: nothing is expected of this line"));
            continue;
        };
        if let Some(why) = &line.refused {
            differences.push(format!("{place}: not put: {why}"));
            continue;
        }
        let wanted: BTreeSet<&str> = wanted.iter().map(String::as_str).collect();
        let names: Vec<String> = line
            .deliveries
            .iter()
            .map(|d| format!("{}/{}", d.rule, d.target))
            .collect();
        let found: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        for missing in wanted.difference(&found) {
            differences.push(format!("{place}: did not go to {missing}"));
        }
        for extra in found.difference(&wanted) {
            differences.push(format!("{place}: went to {extra}, which is not expected"));
        }
        for (delivery, name) in line.deliveries.iter().zip(&names) {
            if !["delivered", "in queue"].contains(&delivery.state.as_str()) {
                differences.push(format!(
                    "{place}: {name} is {} {}",
                    delivery.state, delivery.why
                ));
            }
        }
    }
    for (file, numbers) in expected {
        if !whole && !lines.iter().any(|line| line.file == *file) {
            continue;
        }
        for number in numbers.keys() {
            if !seen.contains(&(file.as_str(), number.clone())) {
                differences.push(format!(
                    "{file}:{number}: expected, and there is no such line"
                ));
            }
        }
    }
    differences
}

fn show(lines: &[Line], json: bool) {
    let mut rows = Vec::new();
    for line in lines {
        if json {
            let deliveries: Vec<Value> = line
                .deliveries
                .iter()
                .map(|d| {
                    serde_json::json!({"rule": d.rule, "target": d.target, "outcome": d.state, "why": d.why})
                })
                .collect();
            say!(
                "{}",
                serde_json::json!({
                    "file": line.file, "line": line.number, "id": line.id, "error": line.refused,
                    "deliveries": deliveries,
                })
            );
            continue;
        }
        let place = format!("{}:{}", line.file, line.number);
        if let Some(why) = &line.refused {
            let outcome = format!("not put: {}", plain(why));
            rows.push(vec![place, "-".into(), "-".into(), outcome]);
            continue;
        }
        if line.deliveries.is_empty() {
            let outcome = if line.ended {
                "matched no rule"
            } else {
                "not seen yet"
            };
            rows.push(vec![place.clone(), "-".into(), "-".into(), outcome.into()]);
        }
        for d in &line.deliveries {
            let outcome = format!("{} {}", d.state, d.why);
            rows.push(vec![
                place.clone(),
                d.rule.clone(),
                d.target.clone(),
                outcome,
            ]);
        }
    }
    if !json {
        table::print(&["EVENT", "RULE", "TARGET", "OUTCOME"], &rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn line(number: usize, event: &str) -> Line {
        Line {
            file: "a.jsonl".into(),
            number,
            event: serde_json::from_str(event).unwrap(),
            id: "same".into(),
            refused: None,
            deliveries: Vec::new(),
            ended: false,
        }
    }

    fn occurrence(target: &str, state: &str) -> Value {
        json!({"deliveries": [{"rule": "r", "target": target, "state": state, "attempts": []}]})
    }

    #[test]
    fn the_newest_occurrences_of_an_id_are_those_of_this_replay() {
        let mut lines = vec![line(1, "{}"), line(2, "{}")];
        let trail = json!({"occurrences": [
            occurrence("old", "delivered"), occurrence("first", "delivered"), occurrence("second", "pending"),
        ]});
        assert!(!take_trail(&trail, &[0, 1], &mut lines));
        assert_eq!(lines[0].deliveries[0].target, "first");
        assert_eq!(lines[1].deliveries[0].target, "second");
        assert!(lines[0].ended && !lines[1].ended);
        assert!(!take_trail(
            &json!({"occurrences": []}),
            &[0, 1],
            &mut lines
        ));
    }

    #[test]
    fn every_difference_is_told() {
        let mut lines = vec![line(1, "{}"), line(2, "{}"), line(3, "{}")];
        let trail = json!({"occurrences": [
            occurrence("x", "delivered"), occurrence("y", "in queue"), occurrence("z", "dead-lettered"),
        ]});
        take_trail(&trail, &[0, 1, 2], &mut lines);
        let expected: Expected = serde_json::from_value(json!({
            "a.jsonl": {"1": ["r/x"], "2": ["r/w"], "3": ["r/z"], "4": []}, "b.jsonl": {"1": []},
        }))
        .unwrap();
        assert_eq!(
            compare(&lines, &expected, true),
            [
                "a.jsonl:2: did not go to r/w",
                "a.jsonl:2: went to r/y, which is not expected",
                "a.jsonl:3: r/z is dead-lettered ",
                "a.jsonl:4: expected, and there is no such line",
                "b.jsonl:1: expected, and there is no such line",
            ]
        );
        assert_eq!(compare(&lines, &expected, false).len(), 4);
    }
}
