//! `busbar rules check` and `busbar rules lint`: what is wrong with rule files, and what may be regretted,
//! without a server.

use super::config::Settings;
use super::{Failure, NO, Outcome, USAGE, colours};
use crate::config::Config;
use crate::diagnostic::{Diagnostic, Severity};
use crate::rule_files::{self, Context, LoadError, Loaded};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};
use targets::egress::{Egress, EgressSettings};

#[derive(Subcommand)]
pub enum Command {
    /// Check rule files as `serve` would, and point at every fault.
    Check(Files),
    /// Point at what is allowed and probably not meant: patterns that match nothing or everything, and more.
    Lint(Files),
}

#[derive(Args)]
pub struct Files {
    /// A directory of rule files, or files [default: the directory of the settings, ./rules].
    #[arg(value_name = "DIR|FILE")]
    paths: Vec<PathBuf>,
    /// File of settings [default: ./busbar.toml if it is there].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Account of our ARNs.
    #[arg(long, value_name = "ID")]
    account: Option<String>,
    /// Region of our ARNs.
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// A host or a range of addresses that webhooks may reach; may be repeated.
    #[arg(long, value_name = "CIDR|HOST")]
    egress_allow: Vec<String>,
}

impl Command {
    pub fn run(self, json: bool) -> Outcome {
        match self {
            Self::Check(files) => check(files.load(json)?, json),
            Self::Lint(files) => lint(files.load(json)?, json),
        }
    }
}

type Read = Result<Loaded, Vec<Diagnostic>>;

impl Files {
    fn load(self, json: bool) -> Result<Read, Failure> {
        let settings = Settings {
            config: self.config,
            account: self.account,
            region: self.region,
            egress_allow: self.egress_allow,
            ..Settings::default()
        };
        let config = settings.load_or_fail(USAGE, json)?.config;
        let context = context(&config)?;
        let mut paths = self.paths;
        if paths.is_empty() {
            paths.push(config.rules);
        }
        Ok(load(&paths, &context))
    }
}

fn check(read: Read, json: bool) -> Outcome {
    match read {
        Ok(loaded) => {
            let targets: usize = loaded.rules.iter().map(|rule| rule.targets.len()).sum();
            if json {
                say!(
                    "{}",
                    serde_json::json!({
                        "ok": true, "files": loaded.files, "rules": loaded.rules.len(), "targets": targets,
                        "queues": loaded.queues, "diagnostics": values(&loaded.warnings),
                    })
                );
            } else {
                show(&loaded.warnings);
                say!(
                    "{} in {}, {}: good{}",
                    count(loaded.rules.len(), "rule"),
                    count(loaded.files, "file"),
                    count(targets, "target"),
                    match loaded.warnings.len() {
                        0 => String::new(),
                        n => format!(", {}", count(n, "warning")),
                    }
                );
            }
            Ok(0)
        }
        Err(faults) => {
            faulty(&faults, json);
            Ok(NO)
        }
    }
}

fn lint(read: Read, json: bool) -> Outcome {
    let loaded = match read {
        Ok(loaded) => loaded,
        Err(faults) => {
            faulty(&faults, json);
            return Ok(USAGE);
        }
    };
    let warnings = rule_files::lint::lint(&loaded);
    if json {
        say!(
            "{}",
            serde_json::json!({
                "ok": warnings.is_empty(), "files": loaded.files, "rules": loaded.rules.len(),
                "diagnostics": values(&warnings),
            })
        );
    } else {
        show(&warnings);
        say!(
            "{} in {}: {}",
            count(loaded.rules.len(), "rule"),
            count(loaded.files, "file"),
            match warnings.len() {
                0 => "no warning".to_owned(),
                n => count(n, "warning"),
            }
        );
    }
    Ok(if warnings.is_empty() { 0 } else { NO })
}

/// Tells why the files are no set.
fn faulty(faults: &[Diagnostic], json: bool) {
    if json {
        say!(
            "{}",
            serde_json::json!({ "ok": false, "diagnostics": values(faults) })
        );
        return;
    }
    show(faults);
    let errors = faults
        .iter()
        .filter(|f| f.severity == Severity::Error)
        .count();
    eprintln!(
        "{}: a server would keep its last good set",
        count(errors, "fault")
    );
}

/// What the checks of rule files depend on.
pub fn context(config: &Config) -> Result<Context, Failure> {
    let egress = Egress::new(&EgressSettings {
        allow: config.egress_allow.clone(),
        loopback_allowed: config.listen.ip().is_loopback(),
        http_allowed: false,
        own: vec![config.listen, config.operator_listen],
    })
    .map_err(|e| Failure::usage(format!("egress.allow: {e}")))?;
    Ok(Context {
        home: config.home.clone(),
        egress,
        complexity: config.aws_complexity,
        placeholders: config.aws_placeholders,
    })
}

/// Reads directories of rule files, and files.
pub fn load(paths: &[PathBuf], context: &Context) -> Result<Loaded, Vec<Diagnostic>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let found = rule_files::find(path).map_err(|error| match error {
                LoadError::Missing(dir) => vec![missing(&dir)],
                LoadError::Faults(faults) => faults,
            })?;
            files.extend(found);
        } else if path.exists() {
            files.push(path.clone());
        } else {
            return Err(vec![missing(path)]);
        }
    }
    rule_files::load_files(&files, context)
}

fn missing(path: &Path) -> Diagnostic {
    Diagnostic {
        code: "files::missing",
        severity: Severity::Error,
        file: path.display().to_string(),
        text: "".into(),
        span: 0..0,
        message: "there is no such file or directory".into(),
        help: None,
    }
}

fn show(diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        eprintln!("{}", diagnostic.report(colours(&std::io::stderr())));
    }
}

fn values(diagnostics: &[Diagnostic]) -> Vec<serde_json::Value> {
    diagnostics.iter().map(Diagnostic::to_json).collect()
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
