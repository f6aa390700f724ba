//! `busbar serve`: the server as a process. Settings, logs, the ready line, signals, the exit code.

use super::config::Settings;
use super::{Failure, Outcome, colours};
use crate::config::Config;
use crate::history::HistoryError;
use crate::serve::{ServeError, Server};
use crate::store::StoreError;
use clap::Args;
use journal::file::OpenError;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Pause between two looks whether the core still runs.
const LOOK: Duration = Duration::from_millis(100);
/// Pause between two warnings that everybody may put events.
const WARN: Duration = Duration::from_secs(60);
/// Exit code after a second signal: as a shell shows a process that was interrupted.
const INTERRUPTED: i32 = 130;
/// Exit code of a setting that cannot be taken, after `sysexits.h`.
const CONFIG: u8 = 78;

#[derive(Args)]
pub struct Serve {
    #[command(flatten)]
    settings: Settings,
    /// Serve addresses that are not loopback although no key is configured: anyone who reaches them may put
    /// events and read queues.
    #[arg(long)]
    insecure_no_auth: bool,
    /// Start although records of the journal are damaged, without them.
    #[arg(long)]
    accept_data_loss: bool,
}

impl Serve {
    pub fn run(self, json: bool) -> Outcome {
        settle_heap();
        start_logs(json);
        let layered = self.settings.load_or_fail(CONFIG, json)?;
        for warning in &layered.warnings {
            tracing::warn!("{warning}");
        }
        let mut config = layered.config;
        config.insecure_no_auth = self.insecure_no_auth;
        config.accept_data_loss = self.accept_data_loss;
        let runtime = tokio::runtime::Runtime::new().map_err(|e| {
            Failure::new(71, anyhow::Error::from(e).context("cannot start threads"))
        })?;
        let code = runtime.block_on(serve(config, json))?;
        // What still blocks (a look at a slow file system) does not hold up the end.
        runtime.shutdown_background();
        Ok(code)
    }
}

/// glibc's heap setting, read by it before `main`: free memory at the heap's end above this goes back, in bytes.
const HEAP: (&str, &str) = ("MALLOC_TRIM_THRESHOLD_", "131072");

/// Starts this program anew with a heap that gives memory back, unless the operator has set it.
///
/// glibc raises its own threshold for that with the largest block that was ever freed, so a backlog that has
/// gone stays in the process: 10 MB after 100,000 events, 5 MB with the threshold fixed (tests/e2e/memory.rs).
/// It takes settings from the environment alone. Other allocators of the field were larger from the start.
fn settle_heap() {
    use std::os::unix::process::CommandExt;
    if !cfg!(target_env = "gnu") || std::env::var_os(HEAP.0).is_some() {
        return;
    }
    if let Ok(program) = std::env::current_exe() {
        // The same process goes on in the new image; this returns only if it could not be done, and then the
        // server runs on as it is.
        let _ = std::process::Command::new(program)
            .args(std::env::args_os().skip(1))
            .env(HEAP.0, HEAP.1)
            .exec();
    }
}

/// Logs go to standard error, so that standard output stays for the ready line and for log targets.
fn start_logs(json: bool) {
    let filter = ["BUSBAR_LOG", "RUST_LOG"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()))
        .map_or_else(|| EnvFilter::new("info"), EnvFilter::new);
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second subscriber in one process is a test's own; the first one stays.
    let _ = if json {
        logs.json().flatten_event(true).try_init()
    } else {
        logs.with_target(false)
            .with_ansi(colours(&std::io::stderr()))
            .try_init()
    };
}

async fn serve(config: Config, json: bool) -> Outcome {
    let insecure = config.insecure_no_auth;
    let data = config.data.clone();
    // Before anything is opened: a signal during a long recovery must not be lost.
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return Err(Failure::new(
            71,
            anyhow::anyhow!("cannot listen for signals"),
        ));
    };
    let server = tokio::select! {
        started = Server::start(config) => started.map_err(|error| explain(error, json))?,
        _ = terminate.recv() => return Ok(0),
        _ = interrupt.recv() => return Ok(0),
    };
    print_ready(&server, &data, json);
    let mut look = tokio::time::interval(LOOK);
    let mut warn = tokio::time::interval(WARN);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = look.tick() => {
                if server.has_failed() {
                    break;
                }
            }
            _ = warn.tick() => {
                if insecure {
                    tracing::warn!(
                        api = %server.api,
                        "--insecure-no-auth: anyone who reaches this address may put events and read queues"
                    );
                }
            }
        }
    }
    if server.has_failed() {
        tracing::error!(
            "the journal failed; nothing that was answered is lost, start again to recover"
        );
    } else {
        tracing::info!("stopping");
    }
    let code = tokio::select! {
        code = server.stop() => code,
        _ = terminate.recv() => std::process::exit(INTERRUPTED),
        _ = interrupt.recv() => std::process::exit(INTERRUPTED),
    };
    Ok(u8::try_from(code).unwrap_or(70))
}

fn print_ready(server: &Server, data: &std::path::Path, json: bool) {
    let mut out = std::io::stdout().lock();
    let (api, operator) = (server.api, server.operator);
    // Who started us may have closed our standard output; that is no reason to stop.
    let _ = if json {
        let line = serde_json::json!({
            "event": "ready",
            "api": format!("http://{api}"),
            "operator": format!("http://{operator}"),
            "data": data.display().to_string(),
        });
        writeln!(out, "{line}")
    } else {
        let home = &server.doors.config.home;
        let endpoint = match api.port() {
            4100 if api.ip().is_loopback() => String::new(),
            _ => format!(" --endpoint http://{api}"),
        };
        writeln!(
            out,
            "busbar is ready\n\
             \x20 API        http://{api}\n\
             \x20 operators  http://{operator}\n\
             \x20 data       {}\n\
             \x20 rules      {} ({} in force)\n\
             \n\
             Put a first event, and see where it goes:\n\
             \x20 busbar put{endpoint} --source demo.acm-pca --detail-type 'ACM Private CA Creation' --detail '{{\"result\":\"failure\"}}'\n\
             \x20 busbar tail{endpoint}\n\
             The same with the AWS CLI (any credentials will do):\n\
             \x20 AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x aws events put-events --region {} --endpoint-url http://{api} \
             --entries '[{{\"Source\":\"demo.acm-pca\",\"DetailType\":\"ACM Private CA Creation\",\"Detail\":\"{{\\\"result\\\":\\\"failure\\\"}}\"}}]'",
            data.display(),
            server.doors.config.rules.display(),
            server.doors.files.load().rules,
            home.region,
        )
    };
    let _ = out.flush();
}

/// What happened, where, and what to try.
fn explain(error: ServeError, json: bool) -> Failure {
    let code = error.exit_code();
    if let ServeError::Rules(faults) = &error {
        for fault in faults {
            if json {
                eprintln!("{}", fault.to_json());
            } else {
                let colours = colours(&std::io::stderr()) && std::io::stderr().is_terminal();
                eprint!("{}", fault.report(colours));
            }
        }
    }
    let hint = match &error {
        ServeError::Store(StoreError::Unwritable { .. }) => {
            "make the directory writable for this user, or name another with --data DIR"
        }
        ServeError::Store(StoreError::Locked(_)) => {
            "stop the other one first, or name another directory with --data DIR"
        }
        ServeError::Store(
            StoreError::Format { .. } | StoreError::Journal(OpenError::Replay(_)),
        ) => "start the busbar that wrote it, or name another directory with --data DIR",
        ServeError::Store(StoreError::Journal(_)) => {
            "look at it with `busbar data check --data DIR`, restore the directory from a copy, or start without the \
             damaged records with --accept-data-loss"
        }
        ServeError::Store(StoreError::History(HistoryError::Unusable { .. })) => {
            "make it and its directory writable for this user, and look for room on the disk"
        }
        ServeError::Store(StoreError::History(HistoryError::Version { .. })) => {
            "start the busbar that wrote it, or move it away: what the journal still has is then shown"
        }
        ServeError::Store(StoreError::History(_)) => {
            "restore it and its -wal file from a copy, or move both away: what the journal still has is then \
             shown, and nothing else is lost, since no decision reads it"
        }
        ServeError::Unavailable(_) => {
            "the disk took not even the start record: look for room and for errors of the disk"
        }
        ServeError::Listen { .. } => {
            "another process may have the port: name another with --listen ADDR or --operator-listen ADDR, port 0 takes a free one"
        }
        ServeError::Rules(_) => "mend the files; `busbar rules check DIR` says when they are good",
        ServeError::Config(_) => "`busbar config show` says where each setting comes from",
    };
    let error = anyhow::Error::from(error);
    Failure::new(code, anyhow::anyhow!("{error:#}; {hint}"))
}
