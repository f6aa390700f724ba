//! `busbar config show`, and the flags that all commands with settings share.

use super::{Failure, Outcome, USAGE, colours};
use crate::config::layers::{self, Flag, LayerError, Layered, SETTINGS, Value};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Flags that set what `busbar.toml` can set too.
#[derive(Args, Default)]
pub struct Settings {
    /// File of settings [default: ./busbar.toml if it is there].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where everything durable lies [default: busbar-data].
    #[arg(long, value_name = "DIR")]
    pub data: Option<String>,
    /// Where rule files lie [default: rules].
    #[arg(long, value_name = "DIR")]
    pub rules: Option<String>,
    /// Where producers and consumers connect; port 0 takes a free one [default: 127.0.0.1:4100].
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Where operators connect [default: 127.0.0.1:4101].
    #[arg(long, value_name = "ADDR")]
    pub operator_listen: Option<String>,
    /// Account of all ARNs, twelve digits [default: 000000000000].
    #[arg(long, value_name = "ID")]
    pub account: Option<String>,
    /// Region of all ARNs [default: us-east-1].
    #[arg(long, value_name = "NAME")]
    pub region: Option<String>,
    /// A host or a range of addresses that webhooks may reach besides public ones; may be repeated.
    #[arg(long, value_name = "CIDR|HOST")]
    pub egress_allow: Vec<String>,
    /// Write what log targets get to standard output too.
    #[arg(long)]
    pub log_stdout: bool,
}

impl Settings {
    /// Puts the layers together.
    pub fn load(&self) -> Result<Layered, LayerError> {
        let mut flags: Vec<Flag> = Vec::new();
        let texts = [
            ("--data", "data", &self.data),
            ("--rules", "rules", &self.rules),
            ("--listen", "listen", &self.listen),
            (
                "--operator-listen",
                "operator_listen",
                &self.operator_listen,
            ),
            ("--account", "account", &self.account),
            ("--region", "region", &self.region),
        ];
        for (flag, key, text) in texts {
            if let Some(text) = text {
                flags.push((flag, key, Value::Text(text.clone())));
            }
        }
        if !self.egress_allow.is_empty() {
            let list = Value::List(self.egress_allow.clone());
            flags.push(("--egress-allow", "egress.allow", list));
        }
        if self.log_stdout {
            flags.push(("--log-stdout", "log.stdout", Value::Switch(true)));
        }
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        layers::load(self.config.as_deref(), environment, flags)
    }

    /// The same for a command; faults are printed with a caret.
    pub fn load_or_fail(&self, code: u8, json: bool) -> Result<Layered, Failure> {
        self.load().map_err(|error| {
            if let (LayerError::File(faults), false) = (&error, json) {
                for fault in faults {
                    eprintln!("{}", fault.report(colours(&std::io::stderr())));
                }
                let text = "the settings cannot be taken; `busbar config show` prints every key";
                return Failure::new(code, anyhow::anyhow!(text));
            }
            Failure::new(code, error)
        })
    }
}

#[derive(Subcommand)]
pub enum Command {
    /// Print each setting with its value and where it came from.
    Show(Settings),
}

impl Command {
    pub fn run(self, json: bool) -> Outcome {
        let Self::Show(settings) = self;
        let layered = settings.load_or_fail(USAGE, json)?;
        for warning in &layered.warnings {
            eprintln!("busbar: {warning}");
        }
        if json {
            let all: serde_json::Map<_, _> = SETTINGS
                .iter()
                .map(|setting| {
                    let value = setting.value(&layered.config).to_json();
                    let origin = layered.origin(setting.key).to_string();
                    let shown = serde_json::json!({"value": value, "from": origin});
                    (setting.key.to_owned(), shown)
                })
                .collect();
            say!("{}", serde_json::Value::from(all));
        } else {
            let rows: Vec<(String, String)> = SETTINGS
                .iter()
                .map(|setting| {
                    let value = setting.value(&layered.config).to_toml();
                    let origin = layered.origin(setting.key).to_string();
                    (format!("{} = {value}", setting.key), origin)
                })
                .collect();
            let width = rows.iter().map(|(left, _)| left.chars().count()).max();
            for (left, origin) in rows {
                say!("{left:width$}  # {origin}", width = width.unwrap_or(0));
            }
        }
        Ok(0)
    }
}
