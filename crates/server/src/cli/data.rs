//! `busbar data check`: every record of a data directory read and verified. Changes nothing.

use super::config::Settings;
use super::{Failure, NO, Outcome, USAGE};
use clap::{Args, Subcommand};
use journal::disk::{Disk, OsDisk};
use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Subcommand)]
pub enum Command {
    /// Verify all segments, indexes and the snapshot of a data directory that no server has open.
    Check(Check),
}

#[derive(Args)]
pub struct Check {
    /// The data directory [default: that of the settings, busbar-data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Command {
    pub fn run(self, json: bool) -> Outcome {
        let Self::Check(check) = self;
        let data = match check.data {
            Some(data) => data,
            None => Settings::default().load_or_fail(USAGE, json)?.config.data,
        };
        let shown = data.display();
        let lock = File::open(data.join("lock")).map_err(|e| {
            Failure::usage(format!(
                "{shown} is no data directory of busbar, its `lock` cannot be opened: {e}"
            ))
        })?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::usage(format!(
                    "{shown} is in use by a running busbar: stop it first, or check a copy"
                )));
            }
            Err(TryLockError::Error(e)) => {
                return Err(Failure::usage(format!("{shown} cannot be locked: {e}")));
            }
        }
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        let findings = journal::file::check(&disk, &data.join("journal").join("p0"));
        for finding in &findings {
            if json {
                say!(
                    "{}",
                    serde_json::json!({
                        "file": finding.file, "offset": finding.offset,
                        "detail": finding.detail, "loss": finding.loss,
                    })
                );
            } else {
                let fate = if finding.loss {
                    "records may be lost"
                } else {
                    "the next start mends it"
                };
                say!(
                    "{}:{}: {} ({fate})",
                    finding.file,
                    finding.offset,
                    finding.detail
                );
            }
        }
        if findings.is_empty() && !json {
            say!("{shown}: good");
        }
        Ok(if findings.is_empty() { 0 } else { NO })
    }
}
