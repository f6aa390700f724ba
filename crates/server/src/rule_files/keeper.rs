//! Keeps the rules in force what the files say.
//!
//! Looks at names, sizes and times of the directory ten times a second, and loads when nothing has moved for
//! 300 ms: editors write, rename, delete and create in their own orders, and a checkout of a branch takes a
//! while. Notification by the system would say it sooner, but differs between systems and says nothing on
//! network file systems and many container mounts; a listing is right everywhere.
//!
//! On any fault the last good set stays in force, in memory and in the journal. Where nobody knows how much of
//! a change was written, rules and documents may be of two sets: then it is loaded again, or the last good set
//! is, until one is in force as a whole.

use super::{Context, LoadError, Loaded, Status};
use crate::annex::Text;
use crate::bus::{Bus, Unavailable};
use crate::clock::instant;
use crate::decisions::{Adopted, Decisions};
use crate::diagnostic::Diagnostic;
use arc_swap::ArcSwap;
use bus_core::core::{Answer, Control, Refusal};
use bus_core::document::Origin;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot, watch};

/// Pause between two looks, and how many times as long as a look it is at least: thousands of files take one
/// a while.
const LOOK: Duration = Duration::from_millis(100);
const PAUSE_TIMES: u32 = 20;
/// Looks without a change before the files are loaded.
const QUIET_LOOKS: u32 = 3;
/// Looks before a set is offered again that only the state refused: the bus it names may be made meanwhile.
const AGAIN_LOOKS: u32 = 20;

/// What is told when nobody knows how much of a change was written.
const UNSURE: &str = "the journal does not take the change";
/// Changes by the API that wait.
const EDITS_MAX: usize = 64;

/// What a listing tells of a file; another file, another content.
type Mark = (u64, Option<SystemTime>, u64);
type Listing = BTreeMap<PathBuf, Mark>;

/// Why the files are not in force.
enum Fault {
    /// There is no directory.
    Missing(PathBuf),
    /// The files themselves.
    Files(Vec<Diagnostic>),
    /// The state says no: the same files may be taken later.
    State(Vec<Diagnostic>, String),
    /// Nobody knows how much of it was written.
    Unsure,
}

/// A change of the documents that come by the API.
struct Edit {
    folder: &'static str,
    /// What it replaces or takes away; of a trigger `BUS/NAME`.
    name: String,
    /// Its new text; without it, it goes.
    text: Option<String>,
    answer: oneshot::Sender<Result<(), EditError>>,
}

/// Why a document was not changed.
#[derive(Debug)]
pub enum EditError {
    /// The whole set would have these faults.
    Faults(Vec<Diagnostic>),
    /// The state says no, or nothing can be stored.
    State(String),
}

/// Where documents come in by the API. Cheap to clone.
#[derive(Clone)]
pub struct Edits(mpsc::Sender<Edit>);

impl Edits {
    /// Puts a document, or takes it away; the whole set is checked and put in force with it.
    ///
    /// # Errors
    /// [`EditError`]; then nothing has changed.
    pub async fn edit(
        &self,
        folder: &'static str,
        name: String,
        text: Option<String>,
    ) -> Result<(), EditError> {
        let (answer, answered) = oneshot::channel();
        let edit = Edit {
            folder,
            name,
            text,
            answer,
        };
        let stopping = || EditError::State("the server is stopping".into());
        self.0.send(edit).await.map_err(|_| stopping())?;
        answered.await.unwrap_or_else(|_| Err(stopping()))
    }
}

/// The owner of the rule files.
pub struct Keeper {
    bus: Bus,
    decisions: Decisions,
    dir: PathBuf,
    context: Context,
    status: Arc<ArcSwap<Status>>,
    seen: Listing,
    again: bool,
    /// Whether what is in force may be of two sets.
    unsure: bool,
    /// The last set that was put in force in this life.
    good: Option<(Control, Adopted)>,
    /// What came by the API and is in force.
    by_api: Vec<Text>,
    /// Whether files are in force: then a directory that is gone takes nothing away.
    has_files: bool,
    edits: mpsc::Receiver<Edit>,
}

impl Keeper {
    /// For the files of `dir`.
    #[must_use]
    pub fn new(
        bus: Bus,
        decisions: Decisions,
        dir: PathBuf,
        context: Context,
        status: Arc<ArcSwap<Status>>,
    ) -> (Self, Edits) {
        let (edits, waiting) = mpsc::channel(EDITS_MAX);
        let keeper = Self {
            bus,
            decisions,
            dir,
            context,
            status,
            seen: Listing::new(),
            again: false,
            unsure: false,
            good: None,
            by_api: Vec::new(),
            has_files: false,
            edits: waiting,
        };
        (keeper, Edits(edits))
    }

    /// Loads the files before the server is ready, and lets firings be decided, by the documents of the journal
    /// if need be. Where those cannot be read either, firings wait until files are loaded.
    ///
    /// # Errors
    /// The faults of the files, if no earlier good set is in the journal to run on.
    pub async fn start(&mut self) -> Result<(), Vec<Diagnostic>> {
        let (kept, in_files) = self.rules_of_files().await.unwrap_or_default();
        self.status.store(Arc::new(Status {
            rules: kept,
            ..Status::default()
        }));
        self.seen = listing(&self.dir);
        let texts = self.decisions.look(|kept| kept.in_force.texts.clone());
        self.has_files = 0 < in_files || texts.iter().any(|it| !it.by_api);
        let again = super::documents::again(&texts);
        self.by_api = texts.into_iter().filter(|it| it.by_api).collect();
        match self.load().await {
            Ok(()) => return Ok(()),
            Err(Fault::Missing(dir)) if kept == 0 => {
                tracing::info!(dir = %dir.display(), "there is no directory of rule files; serving without");
            }
            Err(Fault::Files(faults)) if kept == 0 => return Err(faults),
            Err(Fault::State(faults, _)) if kept == 0 && !faults.is_empty() => return Err(faults),
            Err(fault) => self.tell(fault),
        }
        match again {
            Ok(documents) => self.decisions.resume(documents),
            Err(faults) => tracing::error!(
                at = lines(&faults),
                "this version does not read the documents that the journal has: firings wait until the files are mended"
            ),
        }
        Ok(())
    }

    /// Looks at the files until told to stop.
    pub async fn watch(mut self, mut stopped: watch::Receiver<bool>) {
        let mut changed = false;
        let mut quiet = 0;
        let mut pause = LOOK;
        loop {
            tokio::select! {
                _ = stopped.changed() => return,
                Some(edit) = self.edits.recv() => {
                    self.take(edit).await;
                    continue;
                }
                () = tokio::time::sleep(pause) => {}
            }
            let dir = self.dir.clone();
            let look = move || {
                let began = instant();
                (listing(&dir), began.elapsed())
            };
            let Ok((now, took)) = tokio::task::spawn_blocking(look).await else {
                return;
            };
            pause = LOOK.max(took * PAUSE_TIMES);
            if now == self.seen {
                quiet += 1;
            } else {
                self.seen = now;
                changed = true;
                quiet = 0;
            }
            let due =
                (changed && QUIET_LOOKS <= quiet) || (self.is_pending() && AGAIN_LOOKS <= quiet);
            if due {
                changed = false;
                quiet = 0;
                if let Err(fault) = self.load().await {
                    self.tell(fault);
                }
            }
        }
    }

    /// Rules that are not of the events API, and how many of them are ordinary.
    async fn rules_of_files(&self) -> Result<(usize, usize), Unavailable> {
        self.bus
            .look(|core, _| {
                let state = core.state();
                let buses = state.buses().keys();
                let rules = buses
                    .filter_map(|bus| state.rules(bus.as_str()))
                    .flat_map(BTreeMap::values)
                    .filter(|rule| rule.origin != Origin::Api);
                let ordinary = rules.clone().filter(|rule| rule.is_ordinary());
                (rules.count(), ordinary.count())
            })
            .await
    }

    /// Whether the files are to be loaded although they have not changed.
    fn is_pending(&self) -> bool {
        self.again || self.unsure
    }

    async fn load(&mut self) -> Result<(), Fault> {
        self.again = false;
        let loaded = self.load_with(self.by_api.clone()).await;
        if self.unsure && loaded.is_err() {
            self.restore().await;
        }
        loaded
    }

    /// Puts the last good set in force again, all of it.
    async fn restore(&mut self) {
        if let Some((control, adopted)) = self.good.clone() {
            let answer = self.decisions.load(control, adopted).await;
            self.unsure = !matches!(answer, Ok(Answer::Done));
        }
    }

    /// Takes a change by the API.
    async fn take(&mut self, edit: Edit) {
        let mut by_api = self.by_api.clone();
        by_api.retain(|it| (it.folder.as_str(), &it.name) != (edit.folder, &edit.name));
        by_api.extend(edit.text.map(|text| Text {
            folder: edit.folder.to_owned(),
            file: format!("api/{}/{}.json", edit.folder, edit.name),
            name: edit.name,
            text,
            by_api: true,
        }));
        let (again, loaded) = (self.again, self.load_with(by_api).await);
        // What is refused is the caller's to mend, and not tried again. What is unsure is, without it.
        self.again = again;
        let told = loaded.map_err(|fault| match fault {
            Fault::Files(faults) => EditError::Faults(faults),
            Fault::State(faults, text) if faults.is_empty() => EditError::State(text),
            Fault::State(faults, _) => EditError::Faults(faults),
            Fault::Unsure => EditError::State(UNSURE.into()),
            Fault::Missing(dir) => {
                EditError::State(format!("the directory {} is gone", dir.display()))
            }
        });
        // The caller may have gone.
        let _ = edit.answer.send(told);
    }

    async fn load_with(&mut self, by_api: Vec<Text>) -> Result<(), Fault> {
        let (dir, context) = (self.dir.clone(), self.context.clone());
        let absent = !self.has_files && !by_api.is_empty();
        let texts = by_api.clone();
        let read = move || super::load_with(&dir, &texts, absent, &context);
        let loaded = tokio::task::spawn_blocking(read)
            .await
            .expect("reading rule files does not panic")
            .map_err(|error| match error {
                LoadError::Missing(dir) => Fault::Missing(dir),
                LoadError::Faults(faults) => Fault::Files(faults),
            })?;
        for warning in &loaded.warnings {
            tracing::warn!(code = warning.code, "{}", warning.line());
        }
        let (mut rules, queues) = (loaded.rules.clone(), loaded.queues.clone());
        rules.extend(loaded.internal.iter().cloned());
        let adopted = Adopted {
            documents: loaded.documents.clone(),
            texts: loaded.texts.clone(),
        };
        let control = Control::LoadFiles(rules, queues);
        let set = (control, adopted);
        let answer = self.decisions.load(set.0.clone(), set.1.clone()).await;
        match answer {
            Ok(Answer::Done) => {
                self.unsure = false;
                self.good = Some(set);
                self.by_api = by_api;
                self.has_files = 0 < loaded.files;
                tracing::info!(
                    files = loaded.files,
                    rules = loaded.rules.len(),
                    dir = %self.dir.display(),
                    "rule files are in force"
                );
                self.status.store(Arc::new(Status {
                    files: loaded.files,
                    rules: loaded.rules.len(),
                    loaded_ms: self.bus.now().wall_ms,
                    fault: None,
                }));
                Ok(())
            }
            Ok(Answer::Refused(refusal)) => {
                self.again = true;
                let text = refusal.to_string();
                Err(Fault::State(explain(&refusal, &loaded), text))
            }
            Ok(_) | Err(Unavailable) => {
                self.again = true;
                self.unsure = true;
                Err(Fault::Unsure)
            }
        }
    }

    /// Says that the last good set stays, once for each fault.
    fn tell(&self, fault: Fault) {
        let (text, faults) = match fault {
            Fault::Missing(dir) => {
                let text = format!("the directory {} is gone", dir.display());
                (text, Vec::new())
            }
            Fault::Files(faults) => (lines(&faults), faults),
            Fault::State(faults, text) if faults.is_empty() => (text, faults),
            Fault::State(faults, _) => (lines(&faults), faults),
            Fault::Unsure => (UNSURE.to_owned(), Vec::new()),
        };
        let status = self.status.load();
        if status.fault.as_ref() == Some(&text) {
            return;
        }
        let reports: String = faults.iter().map(|fault| fault.report(false)).collect();
        let reports = if reports.is_empty() { &text } else { &reports };
        tracing::error!(
            rules = status.rules,
            at = text,
            "the rule files as they are now are not in force, the last good set is\n{reports}"
        );
        self.status.store(Arc::new(Status {
            fault: Some(text),
            ..Status::clone(&status)
        }));
    }
}

fn lines(faults: &[Diagnostic]) -> String {
    let lines: Vec<String> = faults.iter().map(Diagnostic::line).collect();
    lines.join("; ")
}

/// What the state refused, at its place in the files.
fn explain(refusal: &Refusal, loaded: &Loaded) -> Vec<Diagnostic> {
    let rules = loaded.rules.iter().zip(&loaded.written);
    match refusal {
        Refusal::NoBus(name) => rules
            .filter(|(rule, _)| rule.bus.as_str() == name)
            .map(|(_, written)| {
                written.bus_fault(
                    format!("Event bus {name} does not exist."),
                    Some(format!(
                        "make it first, with CreateEventBus and the name {name}"
                    )),
                )
            })
            .collect(),
        Refusal::RuleOfApi { rule, bus, .. } => rules
            .filter(|(r, _)| r.name.as_str() == rule && r.bus.as_str() == bus)
            .map(|(_, written)| {
                written.fault(
                    format!("rule `{rule}` on bus `{bus}` exists already, made by the API"),
                    Some("delete it there, or rename this one".into()),
                )
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// What a look sees. What cannot be read is left out here and told by the load.
fn listing(dir: &Path) -> Listing {
    use std::os::unix::fs::MetadataExt as _;
    let mut listing = Listing::new();
    let mut add = |path: PathBuf| {
        let mark = match std::fs::metadata(&path) {
            Ok(data) => (data.len(), data.modified().ok(), data.ino()),
            Err(_) => (0, None, 0),
        };
        listing.insert(path, mark);
    };
    match super::find(dir) {
        Ok(files) => files.into_iter().for_each(&mut add),
        // Missing and unreadable differ from each other and from empty.
        Err(LoadError::Missing(dir)) => add(dir.join("missing")),
        Err(LoadError::Faults(_)) => add(dir.join("unreadable")),
    }
    listing
}

#[cfg(test)]
mod tests;
