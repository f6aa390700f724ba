//! This program once more, as a process of its own.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::engine::Reading;
use crate::rows::Row;

/// Adds the rules of a row in a new process, which prints what that cost.
///
/// # Errors
/// It cannot be started, or fails.
pub fn add(row: &Row) -> Result<(), String> {
    let status = this_program()?.args(["--add", &row.name]).status();
    match status.map_err(|error| error.to_string())?.success() {
        true => Ok(()),
        false => Err(format!("the rules of {} cannot be added", row.name)),
    }
}

fn this_program() -> Result<Command, String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.arg("--bench");
    Ok(command)
}

/// A child; it ends when it is dropped.
pub struct Worker {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts it on a row and waits until its rules are added.
    ///
    /// # Errors
    /// It cannot be started, or has no good answer.
    pub fn start(row: &Row, threads: u32) -> Result<Worker, String> {
        let mut child = this_program()?
            .args(["--turns", "busbar", &row.name, &threads.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let answers = BufReader::new(child.stdout.take().expect("it was piped"));
        let mut worker = Worker { child, answers };
        let first = worker.line()?;
        match first.starts_with("added ") {
            true => Ok(worker),
            false => Err("a worker ended early".to_owned()),
        }
    }

    /// Asks for one reading; [`answer`](Worker::answer) must follow.
    ///
    /// # Errors
    /// The process has ended.
    pub fn ask(&mut self) -> Result<(), String> {
        let mut questions = self.child.stdin.as_ref().expect("it was piped");
        questions
            .write_all(b"\n")
            .map_err(|error| error.to_string())
    }

    /// Waits for the reading that was asked for.
    ///
    /// # Errors
    /// The process has ended.
    pub fn answer(&mut self) -> Result<Reading, String> {
        let line = self.line()?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, _, _, events, _, ns_per_event, _] = words[..] else {
            return Err("a worker ended early".to_owned());
        };
        Ok(Reading {
            events: events.parse().expect("as this program prints it"),
            ns_per_event: ns_per_event.parse().expect("as this program prints it"),
        })
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        let read = self.answers.read_line(&mut line);
        read.map_err(|error| error.to_string())?;
        Ok(line)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The end of its input is the word to go.
        drop(self.child.stdin.take());
        // It is gone either way.
        let _ = self.child.wait();
    }
}
