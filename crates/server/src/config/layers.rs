//! Where settings come from: defaults < `busbar.toml` < environment < flags.
//!
//! One table, [`SETTINGS`], says of each key what it holds and which member of [`Config`] it is; file,
//! environment, flags, `busbar config show` and the test of `docs/configuration.md` all read it. A key
//! that is not in it is an error in the file (a mistyped setting must not be silently without effect), and
//! a warning in the environment, where others put names too.
//!
//! Start at [`load`].

use super::Config;
use crate::diagnostic::{Diagnostic, Severity, did_you_mean, nearest};
use bus_core::name::QueueName;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use toml::de::{DeTable, DeValue};

/// What a setting holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Text, a path, an address.
    Text(String),
    /// A whole number.
    Number(u64),
    /// `true` or `false`.
    Switch(bool),
    /// Several texts; in the environment parted by commas.
    List(Vec<String>),
}

impl Value {
    /// As `busbar.toml` writes it.
    #[must_use]
    pub fn to_toml(&self) -> String {
        match self {
            Self::Text(text) => toml::Value::from(text.clone()).to_string(),
            Self::Number(number) => number.to_string(),
            Self::Switch(on) => on.to_string(),
            Self::List(texts) => toml::Value::from(texts.clone()).to_string(),
        }
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Text(text) => text.clone().into(),
            Self::Number(number) => (*number).into(),
            Self::Switch(on) => (*on).into(),
            Self::List(texts) => texts.clone().into(),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Form {
    Text,
    Number(u64, u64),
    Switch,
    List,
}

/// A key of `busbar.toml`.
pub struct Setting {
    /// As it is written: `http.header_seconds`.
    pub key: &'static str,
    form: Form,
    get: fn(&Config) -> Value,
    set: fn(&mut Config, Value) -> Result<(), String>,
}

impl Setting {
    /// Its name in the environment: `BUSBAR_HTTP_HEADER_SECONDS`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("BUSBAR_{}", self.key.to_uppercase().replace('.', "_"))
    }

    /// Its value.
    #[must_use]
    pub fn value(&self, config: &Config) -> Value {
        (self.get)(config)
    }

    fn put(&self, config: &mut Config, value: Value) -> Result<(), String> {
        match (self.form, &value) {
            (Form::Number(min, max), Value::Number(number)) if !(min..=max).contains(number) => {
                return Err(format!("{number} is not within {min} to {max}"));
            }
            (Form::Text, Value::Text(_))
            | (Form::Number(..), Value::Number(_))
            | (Form::Switch, Value::Switch(_))
            | (Form::List, Value::List(_)) => {}
            _ => return Err(format!("{} is wanted", self.form.words())),
        }
        (self.set)(config, value)
    }

    fn read(&self, text: &str) -> Result<Value, String> {
        let wanted = || format!("`{text}`: {} is wanted", self.form.words());
        match self.form {
            Form::Text => Ok(Value::Text(text.into())),
            Form::Number(..) => text.parse().map(Value::Number).map_err(|_| wanted()),
            Form::Switch => text.parse().map(Value::Switch).map_err(|_| wanted()),
            Form::List => Ok(Value::List(
                text.split(',')
                    .map(str::trim)
                    .filter(|t| !t.is_empty())
                    .map(Into::into)
                    .collect(),
            )),
        }
    }
}

impl Form {
    fn words(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Number(..) => "a whole number",
            Self::Switch => "true or false",
            Self::List => "a list of texts",
        }
    }
}

/// A setting of a plain text member.
macro_rules! text {
    ($key:literal, $get:expr, $set:expr) => {
        Setting {
            key: $key,
            form: Form::Text,
            get: |config| Value::Text($get(config)),
            set: |config, value| match value {
                Value::Text(text) => $set(config, text),
                _ => unreachable!("the form was checked"),
            },
        }
    };
}

macro_rules! number {
    ($key:literal, $min:expr, $max:expr, $get:expr, $set:expr) => {
        Setting {
            key: $key,
            form: Form::Number($min, $max),
            get: |config| Value::Number($get(config)),
            set: |config, value| match value {
                Value::Number(number) => {
                    $set(config, number);
                    Ok(())
                }
                _ => unreachable!("the form was checked"),
            },
        }
    };
}

macro_rules! switch {
    ($key:literal, $member:ident) => {
        Setting {
            key: $key,
            form: Form::Switch,
            get: |config| Value::Switch(config.$member),
            set: |config, value| match value {
                Value::Switch(on) => {
                    config.$member = on;
                    Ok(())
                }
                _ => unreachable!("the form was checked"),
            },
        }
    };
}

macro_rules! list {
    ($key:literal, $member:ident) => {
        Setting {
            key: $key,
            form: Form::List,
            get: |config| Value::List(config.$member.clone()),
            set: |config, value| match value {
                Value::List(texts) => {
                    config.$member = texts;
                    Ok(())
                }
                _ => unreachable!("the form was checked"),
            },
        }
    };
}

macro_rules! seconds {
    ($key:literal, $member:ident) => {
        number!(
            $key,
            1,
            3_600,
            |c: &Config| c.$member.as_secs(),
            |c: &mut Config, n| c.$member = Duration::from_secs(n)
        )
    };
}

/// Every key, in the order in which the documents name them.
pub static SETTINGS: &[Setting] = &[
    text!(
        "data",
        |c: &Config| c.data.display().to_string(),
        |c: &mut Config, t: String| not_empty(&t).map(|()| c.data = PathBuf::from(t))
    ),
    text!(
        "rules",
        |c: &Config| c.rules.display().to_string(),
        |c: &mut Config, t: String| not_empty(&t).map(|()| c.rules = PathBuf::from(t))
    ),
    text!(
        "listen",
        |c: &Config| c.listen.to_string(),
        |c: &mut Config, t: String| address(&t).map(|a| c.listen = a)
    ),
    text!(
        "operator_listen",
        |c: &Config| c.operator_listen.to_string(),
        |c: &mut Config, t: String| address(&t).map(|a| c.operator_listen = a)
    ),
    text!(
        "account",
        |c: &Config| c.home.account.clone(),
        |c: &mut Config, t: String| {
            if t.len() == 12 && t.bytes().all(|b| b.is_ascii_digit()) {
                c.home.account = t;
                Ok(())
            } else {
                Err(format!("`{t}`: an account has twelve digits"))
            }
        }
    ),
    text!(
        "region",
        |c: &Config| c.home.region.clone(),
        |c: &mut Config, t: String| {
            let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            if !t.is_empty() && t.len() <= 64 && t.bytes().all(fits) {
                c.home.region = t;
                Ok(())
            } else {
                Err(format!(
                    "`{t}`: a region is written as `us-east-1`, of a-z 0-9 -"
                ))
            }
        }
    ),
    list!("hosts", hosts),
    text!(
        "public_url",
        |c: &Config| c.public_url.clone().unwrap_or_default(),
        |c: &mut Config, t: String| public_url(&t).map(|u| c.public_url = u)
    ),
    list!("egress.allow", egress_allow),
    text!(
        "delivery.default_dlq",
        |c: &Config| c.default_dlq.clone(),
        |c: &mut Config, t: String| {
            if !t.is_empty() {
                QueueName::parse(&t).map_err(|e| {
                    format!(
                        "`{t}` is no name of a queue (1 to 80 of A-Z a-z 0-9 - _, or empty for none): {e}"
                    )
                })?;
            }
            c.default_dlq = t;
            Ok(())
        }
    ),
    number!(
        "delivery.retire_seconds",
        0,
        7 * 86_400,
        |c: &Config| c.retire_seconds,
        |c: &mut Config, n| c.retire_seconds = n
    ),
    number!(
        "queue.purge_interval_seconds",
        0,
        86_400,
        |c: &Config| c.purge_interval_seconds,
        |c: &mut Config, n| c.purge_interval_seconds = n
    ),
    number!(
        "disk.free_bytes_min",
        0,
        1 << 60,
        |c: &Config| c.disk_free_bytes_min,
        |c: &mut Config, n| c.disk_free_bytes_min = n
    ),
    number!(
        "disk.reserve_bytes",
        16 << 20,
        1 << 30,
        |c: &Config| u64::from(c.disk_reserve_bytes),
        |c: &mut Config, n| c.disk_reserve_bytes = u32::try_from(n).expect("at most 1 GiB")
    ),
    number!(
        "trail.hours",
        0,
        24 * 365,
        |c: &Config| c.trail.as_secs() / 3_600,
        |c: &mut Config, n| c.trail = Duration::from_secs(n * 3_600)
    ),
    number!(
        "trail.bytes",
        0,
        1 << 60,
        |c: &Config| c.trail_bytes,
        |c: &mut Config, n| c.trail_bytes = n
    ),
    number!(
        "history.days",
        0,
        366_000,
        |c: &Config| c.history_days,
        |c: &mut Config, n| c.history_days = n
    ),
    number!(
        "history.firings_max",
        0,
        1 << 60,
        |c: &Config| c.history_firings_max,
        |c: &mut Config, n| c.history_firings_max = n
    ),
    number!(
        "limits.put_events_bytes",
        1_024,
        16 << 20,
        |c: &Config| c.put_bytes_max as u64,
        |c: &mut Config, n| c.put_bytes_max = usize::try_from(n).expect("at most 16 MiB")
    ),
    number!(
        "limits.body_bytes",
        1_024,
        64 << 20,
        |c: &Config| c.body_bytes_max as u64,
        |c: &mut Config, n| c.body_bytes_max = usize::try_from(n).expect("at most 64 MiB")
    ),
    seconds!("http.header_seconds", header_timeout),
    seconds!("http.body_seconds", body_timeout),
    seconds!("http.idle_seconds", idle_timeout),
    number!(
        "http.connections_max",
        1,
        1_000_000,
        |c: &Config| c.connections_max as u64,
        |c: &mut Config, n| c.connections_max = usize::try_from(n).expect("at most a million")
    ),
    number!(
        "webhook.response_seconds",
        1,
        30,
        |c: &Config| c.response_seconds,
        |c: &mut Config, n| c.response_seconds = n
    ),
    number!(
        "schedules.catch_up",
        0,
        365 * 86_400,
        |c: &Config| c.schedules_catch_up_seconds,
        |c: &mut Config, n| c.schedules_catch_up_seconds = n
    ),
    switch!("log.stdout", log_stdout),
    text!(
        "aws_exact.unknown_bus",
        |c: &Config| if c.aws_unknown_bus {
            "accept"
        } else {
            "refuse"
        }
        .to_owned(),
        |c: &mut Config, t: String| match t.as_str() {
            "accept" => {
                c.aws_unknown_bus = true;
                Ok(())
            }
            "refuse" => {
                c.aws_unknown_bus = false;
                Ok(())
            }
            _ => Err(format!("`{t}`: \"accept\" or \"refuse\" is wanted")),
        }
    ),
    switch!("aws_exact.placeholders", aws_placeholders),
    switch!("aws_exact.complexity", aws_complexity),
    switch!("aws_exact.quotas", aws_quotas),
    switch!(
        "aws_exact.queue_deleted_recently",
        aws_queue_deleted_recently
    ),
];

fn not_empty(text: &str) -> Result<(), String> {
    if text.is_empty() {
        Err("a directory is wanted".into())
    } else {
        Ok(())
    }
}

fn address(text: &str) -> Result<std::net::SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("`{text}`: an address and a port are wanted, such as 127.0.0.1:4100 or [::1]:4100")
    })
}

fn public_url(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let url = url::Url::parse(text).map_err(|e| format!("`{text}` is no URL: {e}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() || url.path() != "/" {
        return Err(format!(
            "`{text}`: scheme and host are wanted, such as https://bus.example.com"
        ));
    }
    Ok(Some(text.trim_end_matches('/').to_owned()))
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// A line of a file.
    File(PathBuf, usize),
    /// A variable.
    Environment(String),
    /// The command line.
    Flag(String),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The file could not be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// What it says cannot be taken.
    #[error("{}", .0.first().map(Diagnostic::line).unwrap_or_default())]
    File(Vec<Diagnostic>),
    /// A variable or a flag cannot be taken.
    #[error("{origin}: {why}")]
    Value {
        /// Which.
        origin: Origin,
        /// What is wrong.
        why: String,
    },
}

/// The settings and where they come from.
#[derive(Debug, Clone)]
pub struct Layered {
    /// The settings.
    pub config: Config,
    /// By key; what is absent has its default.
    pub origins: BTreeMap<&'static str, Origin>,
    /// Sentences for the operator.
    pub warnings: Vec<String>,
}

impl Layered {
    /// Where a key's value comes from.
    #[must_use]
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }
}

/// A value of the command line: the flag, the key, the value.
pub type Flag = (&'static str, &'static str, Value);

/// Puts the layers together. `file`: given by a flag; without one `./busbar.toml` if it is there.
///
/// # Errors
/// [`LayerError`]; of a file all faults at once.
pub fn load(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
    flags: Vec<Flag>,
) -> Result<Layered, LayerError> {
    let mut layered = Layered {
        config: Config::default(),
        origins: BTreeMap::new(),
        warnings: Vec::new(),
    };
    let path = file.unwrap_or(Path::new("busbar.toml"));
    match std::fs::read_to_string(path) {
        Ok(text) => read_file(&mut layered, path, &text).map_err(LayerError::File)?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && file.is_none() => {}
        Err(source) => {
            return Err(LayerError::Unreadable {
                path: path.to_path_buf(),
                source,
            });
        }
    }
    read_environment(&mut layered, environment)?;
    for (flag, key, value) in flags {
        let setting = setting(key).expect("flags name settings");
        let origin = Origin::Flag(flag.into());
        setting
            .put(&mut layered.config, value)
            .map_err(|why| LayerError::Value {
                origin: origin.clone(),
                why,
            })?;
        layered.origins.insert(setting.key, origin);
    }
    Ok(layered)
}

fn setting(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

fn read_environment(
    layered: &mut Layered,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<(), LayerError> {
    let variables: Vec<String> = SETTINGS.iter().map(Setting::variable).collect();
    let bare: Vec<&str> = variables.iter().map(|v| &v["BUSBAR_".len()..]).collect();
    let mut given: Vec<(String, String)> = environment
        .filter(|(name, _)| name.starts_with("BUSBAR_"))
        .collect();
    given.sort();
    for (name, text) in given {
        let origin = Origin::Environment(name.clone());
        let Some(at) = variables.iter().position(|variable| *variable == name) else {
            if !["BUSBAR_LOG", "BUSBAR_ENDPOINT", "BUSBAR_REQUIRE"].contains(&name.as_str())
                && let Some(meant) = nearest(&name["BUSBAR_".len()..], &bare)
            {
                layered.warnings.push(format!(
                    "the environment variable {name} is not known and was ignored; did you mean BUSBAR_{meant}?"
                ));
            }
            continue;
        };
        let setting = &SETTINGS[at];
        setting
            .read(&text)
            .and_then(|value| setting.put(&mut layered.config, value))
            .map_err(|why| LayerError::Value {
                origin: origin.clone(),
                why,
            })?;
        layered.origins.insert(setting.key, origin);
    }
    Ok(())
}

fn read_file(layered: &mut Layered, path: &Path, text: &str) -> Result<(), Vec<Diagnostic>> {
    let source: Arc<str> = text.into();
    let fault = |code, span, message, help| Diagnostic {
        code,
        severity: Severity::Error,
        file: path.display().to_string(),
        text: Arc::clone(&source),
        span,
        message,
        help,
    };
    let table = DeTable::parse(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        vec![fault("config::toml", span, error.message().into(), None)]
    })?;
    let mut found = Vec::new();
    flatten("", table.get_ref(), &mut found);
    let mut faults = Vec::new();
    for (key, name_span, value) in found {
        let Some(setting) = setting(&key) else {
            let known: Vec<&str> = SETTINGS.iter().map(|s| s.key).collect();
            faults.push(fault(
                "config::unknown_key",
                name_span,
                format!("unknown key `{key}`"),
                Some(match nearest(&key, &known) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => did_you_mean_table(&key, &known),
                }),
            ));
            continue;
        };
        let (line, _) = rule_engine::json::line_column(text.as_bytes(), name_span.start);
        let put = from_toml(value.get_ref())
            .ok_or_else(|| format!("{} is wanted", setting.form.words()))
            .and_then(|value| setting.put(&mut layered.config, value));
        match put {
            Ok(()) => {
                let origin = Origin::File(path.to_path_buf(), line);
                layered.origins.insert(setting.key, origin);
            }
            Err(why) => faults.push(fault(
                "config::value",
                value.span(),
                format!("`{key}`: {why}"),
                None,
            )),
        }
    }
    if faults.is_empty() {
        Ok(())
    } else {
        faults.sort_by_key(|fault| fault.span.start);
        Err(faults)
    }
}

/// The keys of the same table, if it is one of ours.
fn did_you_mean_table(key: &str, known: &[&str]) -> String {
    let table = key.split_once('.').map(|(table, _)| table);
    let same: Vec<&str> = known
        .iter()
        .filter(|k| table.is_some() && k.split_once('.').map(|(table, _)| table) == table)
        .copied()
        .collect();
    if same.is_empty() {
        "`busbar config show` prints every key".into()
    } else {
        did_you_mean(key, &same)
    }
}

type Found<'t, 'v> = (
    String,
    std::ops::Range<usize>,
    &'v toml::Spanned<DeValue<'t>>,
);

/// Every leaf with its dotted key. A table in a list is a leaf, and no setting.
fn flatten<'t, 'v>(prefix: &str, table: &'v DeTable<'t>, found: &mut Vec<Found<'t, 'v>>) {
    for (name, value) in table {
        let key = match prefix {
            "" => name.get_ref().to_string(),
            _ => format!("{prefix}.{}", name.get_ref()),
        };
        match value.get_ref() {
            DeValue::Table(inner) => flatten(&key, inner, found),
            _ => found.push((key, name.span(), value)),
        }
    }
}

fn from_toml(value: &DeValue<'_>) -> Option<Value> {
    match value {
        DeValue::String(text) => Some(Value::Text(text.to_string())),
        DeValue::Boolean(on) => Some(Value::Switch(*on)),
        DeValue::Integer(number) => {
            u64::from_str_radix(&number.as_str().replace('_', ""), number.radix())
                .ok()
                .map(Value::Number)
        }
        DeValue::Array(items) => items
            .iter()
            .map(|item| match item.get_ref() {
                DeValue::String(text) => Some(text.to_string()),
                _ => None,
            })
            .collect::<Option<Vec<String>>>()
            .map(Value::List),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(
        text: &str,
        environment: &[(&str, &str)],
        flags: Vec<Flag>,
    ) -> Result<Layered, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("busbar.toml");
        std::fs::write(&path, text).unwrap();
        let environment = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        load(Some(&path), environment, flags).map_err(|e| match e {
            LayerError::File(faults) => faults
                .iter()
                .map(|d| {
                    let (line, column) = d.place();
                    format!(
                        "{line}:{column}: {} ({})",
                        d.message,
                        d.help.clone().unwrap_or_default()
                    )
                })
                .collect::<Vec<_>>()
                .join("\n"),
            e => e.to_string(),
        })
    }

    #[test]
    fn a_later_layer_wins() {
        let text = "region = \"eu-west-1\"\n[http]\nheader_seconds = 5\nbody_seconds = 6\nidle_seconds = 7\n";
        let layered = layers(
            text,
            &[
                ("BUSBAR_HTTP_BODY_SECONDS", "8"),
                ("BUSBAR_HTTP_IDLE_SECONDS", "9"),
            ],
            vec![("--listen", "listen", Value::Text("127.0.0.1:0".into()))],
        )
        .unwrap();
        assert_eq!(layered.config.home.region, "eu-west-1");
        assert_eq!(layered.config.header_timeout, Duration::from_secs(5));
        assert_eq!(layered.config.body_timeout, Duration::from_secs(8));
        assert_eq!(layered.config.idle_timeout, Duration::from_secs(9));
        assert_eq!(layered.config.listen.port(), 0);
        assert!(matches!(
            layered.origin("http.header_seconds"),
            Origin::File(_, 3)
        ));
        assert_eq!(
            layered.origin("http.body_seconds").to_string(),
            "environment BUSBAR_HTTP_BODY_SECONDS"
        );
        assert_eq!(layered.origin("listen").to_string(), "flag --listen");
        assert_eq!(layered.origin("data"), Origin::Default);
    }

    #[test]
    fn every_setting_takes_what_it_shows() {
        let config = Config::default();
        let mut text = String::new();
        for setting in SETTINGS {
            text.push_str(&format!(
                "{} = {}\n",
                setting.key,
                setting.value(&config).to_toml()
            ));
        }
        let layered = layers(&text, &[], Vec::new()).unwrap();
        for setting in SETTINGS {
            assert_eq!(
                setting.value(&layered.config),
                setting.value(&config),
                "{}",
                setting.key
            );
        }
    }

    #[test]
    fn faults_of_the_file_are_named_with_their_place() {
        let check = |text: &str, expected: &str| {
            assert_eq!(layers(text, &[], Vec::new()).unwrap_err(), expected);
        };
        check(
            "data = \"x\"\nlisen = \"127.0.0.1:1\"\n",
            "2:1: unknown key `lisen` (did you mean `listen`?)",
        );
        check(
            "[http]\nheader_secs = 1\n",
            "2:1: unknown key `http.header_secs` (did you mean `http.header_seconds`?)",
        );
        check(
            "account = \"12\"\n",
            "1:11: `account`: `12`: an account has twelve digits ()",
        );
        check(
            "[webhook]\nresponse_seconds = 31\n",
            "2:20: `webhook.response_seconds`: 31 is not within 1 to 30 ()",
        );
        check(
            "http.idle_seconds = \"1\"\n",
            "1:21: `http.idle_seconds`: a whole number is wanted ()",
        );
        assert!(
            layers("a = \n", &[], Vec::new())
                .unwrap_err()
                .starts_with("1:")
        );
    }

    #[test]
    fn faults_of_the_environment_are_named() {
        let error = layers("", &[("BUSBAR_LOG_STDOUT", "yes")], Vec::new()).unwrap_err();
        assert_eq!(
            error,
            "environment BUSBAR_LOG_STDOUT: `yes`: true or false is wanted"
        );
        let layered = layers(
            "",
            &[("BUSBAR_LISEN", "x"), ("BUSBAR_PORT", "y")],
            Vec::new(),
        )
        .unwrap();
        assert_eq!(layered.warnings.len(), 1);
        assert!(layered.warnings[0].ends_with("did you mean BUSBAR_LISTEN?"));
    }

    #[test]
    fn the_document_lists_every_key_with_its_default() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        let text = std::fs::read_to_string(path).unwrap();
        let settings = text.split("## Settings").nth(1).unwrap();
        let settings = settings.split("\n## ").next().unwrap();
        let listed: Vec<(String, String)> = settings
            .lines()
            .filter(|line| line.starts_with("| `"))
            .map(|line| {
                let mut cells = line.split('`');
                let key = cells.nth(1).unwrap().to_owned();
                (key, cells.nth(1).unwrap().to_owned())
            })
            .collect();
        let config = Config::default();
        let known: Vec<(String, String)> = SETTINGS
            .iter()
            .map(|setting| (setting.key.to_owned(), setting.value(&config).to_toml()))
            .collect();
        assert_eq!(listed, known);
    }
}
