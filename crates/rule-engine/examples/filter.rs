//! Reads JSON lines `{"p": pattern text, "e": event text or absent}` and prints one verdict for
//! each, as `fixtures/patterns/reference.py` does: the two can be compared line by line.

use std::io::{self, BufRead, Write};

use rule_engine::{Pattern, RuleSet, oracle};

fn main() -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let case: serde_json::Value = serde_json::from_str(&line?)?;
        let pattern = case["p"].as_str().unwrap_or_default();
        // A name in a refusal may hold a line feed.
        let verdict = verdict(pattern, case["e"].as_str()).replace('\n', "\\n");
        writeln!(out, "{verdict}")?;
    }
    out.flush()
}

fn verdict(pattern: &str, event: Option<&str>) -> String {
    let pattern = match Pattern::parse(pattern) {
        Ok(pattern) => pattern,
        Err(error) => return format!("INVALID {error}"),
    };
    let Some(event) = event else {
        return "VALID".to_owned();
    };
    let Ok(matched) = oracle::matches(&pattern, event.as_bytes()) else {
        return "EVENT-INVALID".to_owned();
    };
    let mut set = RuleSet::new();
    set.add(0, &pattern);
    let mut ids = Vec::new();
    set.matches(event.as_bytes(), &mut ids);
    match (matched, !ids.is_empty()) {
        (true, true) => "MATCH".to_owned(),
        (false, false) => "no".to_owned(),
        (oracle, set) => format!("oracle {oracle}, rule set {set}"),
    }
}
