//! Rule files: a directory of JSON files, read as one set, checked wholly, put in force wholly or not at all.
//!
//! [`load`] depends on nothing but the directory's content and a [`Context`], so that `busbar rules check`
//! says before a commit what the server would say after it. It makes every check of the API's and points at
//! the byte. What depends on the state (does the bus exist, is the name taken by the API) is the core's to say.
//!
//! | room | holds |
//! | --- | --- |
//! | `read` | one file's JSON into rules, with every refusal |
//! | [`documents`] | what stands in the folders beside `rules`, and the rules that it needs |
//! | [`schemas`] | what documents look like: the tables of rules and targets, a JSON Schema for each kind |
//! | [`lint`] | warnings about patterns, for who asks |
//! | [`keeper`] | the first load, and a look at the directory ten times a second |
//!
//! A set is a set: a file that cannot be read refuses all of them, since half a set would route events
//! nowhere without a word.

pub mod documents;
pub mod keeper;
pub mod lint;
mod read;
pub mod schemas;

pub use read::redacted;

use crate::annex::Text;
use crate::diagnostic::{Diagnostic, Severity, did_you_mean};
use bus_core::document::{Kind, Rule, Webhook};
use bus_core::name::{BusName, Home, QueueName, RuleName, TargetId};
use documents::{DESTINATIONS, TRIGGERS};
use lifecycle::documents::Documents;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use targets::egress::Egress;

/// Largest rule file, in bytes. A larger one is refused: it is something else by mistake.
pub const FILE_BYTES_MAX: u64 = 16 << 20;
/// Most files of one set.
pub const FILES_MAX: usize = 10_000;

/// What became of the newest look at the rule files.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// Files read.
    pub files: usize,
    /// Rules in force that come from files.
    pub rules: usize,
    /// When the set in force was loaded, epoch milliseconds.
    pub loaded_ms: i64,
    /// Why the files as they are now are not in force; `None` if they are.
    pub fault: Option<String>,
}

/// What the checks depend on besides the files.
#[derive(Debug, Clone)]
pub struct Context {
    /// Account and region: what our ARNs name.
    pub home: Home,
    /// Which URLs a webhook may have.
    pub egress: Egress,
    /// Patterns beyond AWS's wildcard complexity are refused.
    pub complexity: bool,
    /// Placeholders without a map are accepted.
    pub placeholders: bool,
}

/// A file's text. What looks like a secret is starred out, byte for byte, since diagnostics go to logs.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file, below the directory that was named to us.
    pub file: String,
    /// Its text.
    pub text: Arc<str>,
}

/// Where a rule is written.
#[derive(Debug, Clone)]
pub struct Written {
    source: Source,
    name: Range<usize>,
    bus: Option<Range<usize>>,
    pattern: Range<usize>,
    /// Codes of the lint that the rule switches off.
    allowed: BTreeSet<&'static str>,
}

impl Written {
    /// A fault of the rule as a whole, under its name.
    #[must_use]
    pub fn fault(&self, message: String, help: Option<String>) -> Diagnostic {
        self.diagnostic("rule::refused", self.name.clone(), message, help)
    }

    /// A fault of the bus that it names.
    #[must_use]
    pub fn bus_fault(&self, message: String, help: Option<String>) -> Diagnostic {
        let span = self.bus.clone().unwrap_or_else(|| self.name.clone());
        self.diagnostic("rule::bus", span, message, help)
    }

    fn diagnostic(
        &self,
        code: &'static str,
        span: Range<usize>,
        message: String,
        help: Option<String>,
    ) -> Diagnostic {
        Diagnostic {
            code,
            severity: Severity::Error,
            file: self.source.file.clone(),
            text: Arc::clone(&self.source.text),
            span,
            message,
            help,
        }
    }
}

/// A set of files that holds together.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// Its rules, in the order of files and text.
    pub rules: Vec<Rule>,
    /// Where each of them is written.
    pub written: Vec<Written>,
    /// Every queue that a target or a dead-letter config names; sorted.
    pub queues: Vec<QueueName>,
    /// What is likely to be regretted.
    pub warnings: Vec<Diagnostic>,
    /// Files read.
    pub files: usize,
    /// Rules that the documents need: which events fire, where notifications go.
    pub internal: Vec<Rule>,
    /// What decisions go by.
    pub documents: Documents,
    /// The same as it is written.
    pub texts: Vec<Text>,
}

/// Why there is no set.
#[derive(Debug, Clone)]
pub enum LoadError {
    /// There is no such directory.
    Missing(PathBuf),
    /// What is there cannot be taken.
    Faults(Vec<Diagnostic>),
}

/// Reads a directory of rule files.
///
/// # Errors
/// [`LoadError`], with every fault that could be told at once.
pub fn load(dir: &Path, context: &Context) -> Result<Loaded, LoadError> {
    load_files(&find(dir)?, context).map_err(LoadError::Faults)
}

/// Reads a directory of rule files and documents that came by the API as one set. `absent` says that there need
/// be no directory.
///
/// # Errors
/// [`LoadError`], with every fault that could be told at once.
pub fn load_with(
    dir: &Path,
    by_api: &[Text],
    absent: bool,
    context: &Context,
) -> Result<Loaded, LoadError> {
    let files = match find(dir) {
        Err(LoadError::Missing(_)) if absent => Vec::new(),
        found => found?,
    };
    load_all(&files, by_api, context).map_err(LoadError::Faults)
}

/// Reads these files as one set.
///
/// # Errors
/// Every fault that could be told at once, in the order of files and text.
pub fn load_files(files: &[PathBuf], context: &Context) -> Result<Loaded, Vec<Diagnostic>> {
    load_all(files, &[], context)
}

fn load_all(
    files: &[PathBuf],
    by_api: &[Text],
    context: &Context,
) -> Result<Loaded, Vec<Diagnostic>> {
    let mut set = Set::default();
    for path in files {
        match read_text(path) {
            Ok(text) => set.read(
                Text {
                    folder: folder(path).unwrap_or(TRIGGERS).to_owned(),
                    name: String::new(),
                    file: path.display().to_string(),
                    text,
                    by_api: false,
                },
                context,
            ),
            Err(fault) => set.faults.push(*fault),
        }
    }
    for text in by_api {
        set.read(text.clone(), context);
    }
    set.check_webhooks();
    let destinations = set.check_destinations();
    let ready = std::mem::take(&mut set.documents).ready(context, &destinations);
    let ready = ready.unwrap_or_else(|faults| {
        set.faults.extend(faults);
        documents::Ready::default()
    });
    set.queues.extend(ready.queues);
    if !set.faults.is_empty() {
        // Faults of the set were found after those of its files.
        let place = |fault: &Diagnostic| files.iter().position(|f| *f == *Path::new(&fault.file));
        set.faults
            .sort_by_cached_key(|fault| (place(fault), fault.span.start));
        return Err(set.faults);
    }
    let mut loaded = set.loaded;
    loaded.files = files.len();
    (loaded.internal, loaded.documents, loaded.texts) =
        (ready.internal, ready.documents, ready.texts);
    loaded.queues = set.queues.into_iter().collect();
    Ok(loaded)
}

#[derive(Default)]
struct Set {
    loaded: Loaded,
    faults: Vec<Diagnostic>,
    queues: BTreeSet<QueueName>,
    documents: documents::Reading,
    by_name: BTreeMap<(BusName, RuleName), usize>,
    webhooks: BTreeSet<(BusName, RuleName, TargetId)>,
    webhooks_named: Vec<(Kind, Diagnostic)>,
    destinations_named: Vec<(String, Diagnostic)>,
    destinations_written: Vec<read::Destination>,
}

impl Set {
    fn read(&mut self, mut text: Text, context: &Context) {
        let path = Path::new(&text.file);
        match text.folder.as_str() {
            DESTINATIONS => {
                let (destination, faults) = read::destination(path, &text.text, context);
                self.faults.extend(faults);
                if let Some(destination) = destination {
                    text.name.clone_from(&destination.name);
                    self.destinations_written.push(destination);
                    self.documents.keep(text);
                }
            }
            TRIGGERS => {
                let read = read::file(path, &text.text, context);
                self.documents.add_triggers(&read, &text);
                self.add(read);
            }
            _ => self.documents.add(text),
        }
    }

    fn add(&mut self, read: read::Read) {
        self.faults.extend(read.faults);
        self.queues.extend(read.queues);
        self.loaded.warnings.extend(read.warnings);
        self.webhooks_named.extend(read.webhooks_named);
        self.destinations_named.extend(read.destinations_named);
        for (rule, written) in read.rules {
            let key = (rule.bus.clone(), rule.name.clone());
            if let Some(first) = self.by_name.get(&key) {
                let first = &self.loaded.written[*first];
                let (line, _) =
                    rule_engine::json::line_column(first.source.text.as_bytes(), first.name.start);
                let message = format!(
                    "a second rule `{}` on bus `{}`: the first is in {}, line {line}",
                    rule.name, rule.bus, first.source.file
                );
                let help = "a rule's name is one of a kind on its bus: rename one of them".into();
                let mut fault = written.fault(message, Some(help));
                fault.code = "rule::duplicate";
                self.faults.push(fault);
                continue;
            }
            for target in rule.targets.values() {
                if target.webhook.is_some() {
                    let (bus, name) = key.clone();
                    self.webhooks.insert((bus, name, target.id.clone()));
                }
            }
            self.by_name.insert(key, self.loaded.rules.len());
            self.loaded.rules.push(rule);
            self.loaded.written.push(written);
        }
    }

    /// An ARN of a webhook must name one of this set.
    fn check_webhooks(&mut self) {
        for (kind, fault) in std::mem::take(&mut self.webhooks_named) {
            let Kind::Webhook(bus, rule, target) = kind else {
                unreachable!("collected for webhooks")
            };
            if !self.webhooks.contains(&(bus, rule, target)) {
                self.faults.push(fault);
            }
        }
    }
}

impl Set {
    /// The destinations; each that a target names must be one of them.
    fn check_destinations(&mut self) -> BTreeMap<String, Webhook> {
        let mut webhooks = BTreeMap::new();
        for written in std::mem::take(&mut self.destinations_written) {
            match webhooks.entry(written.name) {
                Entry::Vacant(entry) => drop(entry.insert(written.webhook)),
                Entry::Occupied(_) => self.faults.push(written.duplicate),
            }
        }
        let names: Vec<&str> = webhooks.keys().map(String::as_str).collect();
        for (name, mut fault) in std::mem::take(&mut self.destinations_named) {
            if !webhooks.contains_key(&name) {
                fault.help = Some(if names.is_empty() {
                    format!("write it as {DESTINATIONS}/{name}.json beside the rules")
                } else {
                    did_you_mean(&name, &names)
                });
                self.faults.push(fault);
            }
        }
        webhooks
    }
}

fn beside_rules() -> impl Iterator<Item = &'static str> {
    documents::FOLDERS.into_iter().chain([DESTINATIONS])
}

/// The folder of a file that holds no rules.
fn folder(path: &Path) -> Option<&'static str> {
    let name = path.parent()?.file_name()?;
    beside_rules().find(|it| name == *it)
}

/// The files of a directory, rules first, by folder and name. Rules stand in the directory itself, in its
/// folder `rules`, or in both.
///
/// # Errors
/// [`LoadError`].
pub fn find(dir: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let (mut files, folders) = list(dir)?;
    let known = [TRIGGERS].into_iter().chain(beside_rules());
    for folder in known.filter(|it| folders.contains(*it)) {
        files.extend(list(&dir.join(folder))?.0);
    }
    if FILES_MAX < files.len() {
        let text = format!("{} rule files, the bound is {FILES_MAX}", files.len());
        return Err(LoadError::Faults(vec![about(dir, "files::count", text)]));
    }
    Ok(files)
}

/// The `*.json` files and the folders of a directory. Names that begin with a dot are those of editors.
fn list(dir: &Path) -> Result<(Vec<PathBuf>, BTreeSet<String>), LoadError> {
    let fault = |e: &std::io::Error| {
        let text = format!("the directory cannot be read: {e}");
        LoadError::Faults(vec![about(dir, "files::unreadable", text)])
    };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return Err(LoadError::Missing(dir.to_path_buf()));
        }
        Err(e) => return Err(fault(&e)),
    };
    let (mut files, mut folders) = (Vec::new(), BTreeSet::new());
    for entry in entries {
        let entry = entry.map_err(|e| fault(&e))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        if path.is_dir() {
            folders.insert(name);
        } else if name.ends_with(".json") && !name.starts_with('.') {
            files.push(path);
        }
    }
    files.sort();
    Ok((files, folders))
}

fn read_text(path: &Path) -> Result<String, Box<Diagnostic>> {
    let unreadable = |e: std::io::Error| {
        let text = format!("cannot be read: {e}");
        Box::new(about(path, "files::unreadable", text))
    };
    let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
    if FILE_BYTES_MAX < bytes {
        let text = format!("{bytes} bytes, a rule file has at most {FILE_BYTES_MAX}");
        return Err(Box::new(about(path, "files::size", text)));
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(&e.as_bytes()[..at]).into_owned();
        let mut fault = about(path, "json::utf8", "not UTF-8".into());
        fault.help = Some("save the file as UTF-8".into());
        fault.text = read::redacted(&text).into();
        fault.span = at..at;
        Box::new(fault)
    })
}

fn about(path: &Path, code: &'static str, message: String) -> Diagnostic {
    Diagnostic {
        code,
        severity: Severity::Error,
        file: path.display().to_string(),
        text: "".into(),
        span: 0..0,
        message,
        help: None,
    }
}

#[cfg(test)]
mod tests;
