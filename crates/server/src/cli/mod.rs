//! The command line: what a person at a terminal, or a script, asks of busbar.
//!
//! `serve` is the server; `config`, `rules`, `jsonschema`, `test-pattern` and `data` work on files alone, and `explain`
//! where it is told to; all others are clients of a running server. One room each. Every command prints text for people, or JSON with `--json`,
//! on standard output; what went wrong goes to standard error, and the exit code says which kind it was.

/// `println!` for who may stop reading: `busbar status | head` ends quietly.
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::say(format_args!($($text)*)) };
}

mod bench;
mod client;
mod config;
mod data;
mod dlq;
mod event;
mod explain;
mod history;
mod inventory;
mod jsonschema;
mod monitor;
mod pattern;
mod put;
mod queue;
mod replay;
mod rules;
mod serve;
mod status;
mod table;
mod tail;
mod trigger;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Nothing matched, an expectation failed, some part failed.
pub const NO: u8 = 1;
/// The command line or what it names cannot be taken.
pub const USAGE: u8 = 2;
/// The server cannot be reached.
pub const UNREACHABLE: u8 = 3;

/// An event bus in one binary, with the API of Amazon EventBridge.
#[derive(Parser)]
#[command(name = "busbar", version, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 ok, 1 no match or a part failed, 2 bad input, 3 server not reachable; \
                        those of `serve` are in docs/command-line.md."
)]
struct Cli {
    /// Print JSON for programs.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server.
    Serve(serve::Serve),
    /// Put events on a bus, from a file, standard input or the command line.
    Put(put::Put),
    /// Follow a bus live.
    Tail(tail::Tail),
    /// Tell whether a pattern matches an event; no server needed.
    TestPattern(pattern::TestPattern),
    /// Tell why an event matches a rule or does not, or which rules come nearest.
    Explain(explain::Explain),
    /// Put recorded events in order and show where each one goes.
    Replay(replay::Replay),
    /// Read queues.
    #[command(subcommand)]
    Queue(queue::Command),
    /// Show targets and queues, and what waits for them.
    Status(status::Status),
    /// Tell the story of an event: rules matched, attempts, where it ended.
    Event(event::Event),
    /// Show what triggers did, or tell the story of one firing.
    History(history::History),
    /// Look at dead letters and bring them back.
    #[command(subcommand)]
    Dlq(dlq::Command),
    /// Look at a data directory.
    #[command(subcommand)]
    Data(data::Command),
    /// Show the settings and where each comes from.
    #[command(subcommand)]
    Config(config::Command),
    /// Work on rule files.
    #[command(subcommand)]
    Rules(rules::Command),
    /// Read and write what the bus knows about objects.
    #[command(subcommand)]
    Inventory(inventory::Command),
    /// Scan the inventory by hand.
    #[command(subcommand)]
    Monitor(monitor::Command),
    /// Try triggers.
    #[command(subcommand)]
    Trigger(trigger::Command),
    /// Print the JSON Schema of a kind of operator document.
    #[command(name = "jsonschema")]
    JsonSchema(jsonschema::JsonSchema),
    /// Measure what the bus costs on this machine.
    Bench(bench::Bench),
}

/// Runs what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.json;
    let done = match cli.command {
        Command::Serve(command) => command.run(json),
        Command::Put(command) => command.run(json),
        Command::Tail(command) => command.run(json),
        Command::TestPattern(command) => command.run(json),
        Command::Explain(command) => command.run(json),
        Command::Replay(command) => command.run(json),
        Command::Queue(command) => command.run(json),
        Command::Status(command) => command.run(json),
        Command::Event(command) => command.run(json),
        Command::History(command) => command.run(json),
        Command::Dlq(command) => command.run(json),
        Command::Data(command) => command.run(json),
        Command::Config(command) => command.run(json),
        Command::Rules(command) => command.run(json),
        Command::Inventory(command) => command.run(json),
        Command::Monitor(command) => command.run(json),
        Command::Trigger(command) => command.run(json),
        Command::JsonSchema(command) => command.run(json),
        Command::Bench(command) => command.run(json),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.print(json);
            ExitCode::from(failure.code)
        }
    }
}

/// Why a command ends early.
struct Failure {
    code: u8,
    error: anyhow::Error,
}

type Outcome = Result<u8, Failure>;

impl Failure {
    fn new(code: u8, error: impl Into<anyhow::Error>) -> Self {
        Self {
            code,
            error: error.into(),
        }
    }

    fn usage(text: impl std::fmt::Display) -> Self {
        Self::new(USAGE, anyhow::anyhow!("{text}"))
    }

    fn print(&self, json: bool) {
        if json {
            let text = format!("{:#}", self.error);
            eprintln!(
                "{}",
                serde_json::json!({"error": text, "exit_code": self.code})
            );
        } else {
            eprintln!("busbar: {:#}", self.error);
        }
    }
}

/// Writes a line to standard output. If nobody reads it any more, there is nothing left to do.
fn say(text: std::fmt::Arguments<'_>) {
    use std::io::Write as _;
    if writeln!(std::io::stdout(), "{text}").is_err() {
        std::process::exit(0);
    }
}

/// Whether colours may be used on a stream.
fn colours(stream: &impl std::io::IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}
