//! What is in force when files, journal or disk are not as they should be.

use super::*;
use crate::bus::{Nobody, Options};
use crate::config::Config;
use crate::rule_files::tests::context;
use crate::store;
use bus_core::core::Settings;

/// A bus without doors whose journal takes blocks of 4 MiB, and a folder of files.
struct Stage {
    dir: tempfile::TempDir,
    bus: Bus,
    decisions: Decisions,
}

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            data: dir.path().join("data"),
            disk_reserve_bytes: 4 << 20,
            disk_free_bytes_min: 0,
            ..Config::default()
        };
        let options = Options {
            core: Settings::default(),
            trail: config.trail,
            trail_bytes: config.trail_bytes,
        };
        let store = store::open(&config).unwrap();
        let (bus, _) = Bus::start(store, options, |_| Box::new(Nobody)).unwrap();
        let decisions = Decisions::start(&bus, &tokio::runtime::Handle::current());
        let stage = Self {
            dir,
            bus,
            decisions,
        };
        stage.write("rules/a.json", RULE);
        stage
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn keeper(&self) -> Keeper {
        let (keeper, _) = Keeper::new(
            self.bus.clone(),
            self.decisions.clone(),
            self.dir.path().join("rules"),
            context(),
            Arc::default(),
        );
        keeper
    }

    /// Rules in force, and documents.
    async fn in_force(&self, keeper: &Keeper) -> (usize, usize) {
        let (rules, _) = keeper.rules_of_files().await.unwrap();
        (rules, self.decisions.look(|it| it.in_force.texts.len()))
    }
}

const RULE: &str = r#"{"Name":"a","EventPattern":{"source":["a"]}}"#;

/// A document that makes a rule.
fn catalogue() -> String {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    let name = "certificate-lifecycle/operator/catalogue/discovery-finished.json";
    std::fs::read_to_string(fixtures.join(name)).unwrap()
}

fn edit(text: String) -> (Edit, oneshot::Receiver<Result<(), EditError>>) {
    let (answer, answered) = oneshot::channel();
    let edit = Edit {
        folder: "catalogue",
        name: "discovery-finished".into(),
        text: Some(text),
        answer,
    };
    (edit, answered)
}

#[tokio::test]
async fn a_change_of_which_only_the_rules_were_written_is_undone_as_soon_as_it_can_be() {
    let stage = Stage::new();
    let mut keeper = stage.keeper();
    keeper.start().await.unwrap();
    assert_eq!(stage.in_force(&keeper).await, (1, 0));
    // Its rule is written, and then its text is larger than the journal takes.
    let large = format!("{}{}", catalogue(), " ".repeat(5 << 20));
    let (change, answered) = edit(large);
    keeper.take(change).await;
    assert!(answered.await.unwrap().is_err());
    assert_eq!(stage.in_force(&keeper).await, (2, 0), "half of it");
    assert!(keeper.is_pending());
    // The files are no help, and no reason to leave it so.
    stage.write("rules/b.json", "{");
    assert!(keeper.load().await.is_err());
    assert_eq!(stage.in_force(&keeper).await, (1, 0));
    assert!(!keeper.is_pending());
    stage.bus.stop().await;
}

#[tokio::test]
async fn a_change_that_is_refused_is_not_tried_again() {
    let stage = Stage::new();
    let mut keeper = stage.keeper();
    keeper.start().await.unwrap();
    let (change, answered) = edit("{".into());
    keeper.take(change).await;
    assert!(answered.await.unwrap().is_err());
    assert!(!keeper.is_pending());
    let (change, answered) = edit(catalogue());
    keeper.take(change).await;
    answered.await.unwrap().unwrap();
    assert_eq!(stage.in_force(&keeper).await, (2, 1));
    stage.bus.stop().await;
}

#[tokio::test]
async fn firings_wait_while_nothing_says_how_to_decide() {
    let stage = Stage::new();
    let mut keeper = stage.keeper();
    keeper.start().await.unwrap();
    assert!(stage.decisions.is_open());
    // Another version writes what this one does not read, and ends.
    let (control, mut adopted) = keeper.good.clone().unwrap();
    adopted.texts.push(Text {
        folder: "catalogue".into(),
        name: "later".into(),
        file: "catalogue/later.json".into(),
        text: "{".into(),
        by_api: false,
    });
    stage.decisions.load(control, adopted).await.unwrap();
    let runtime = tokio::runtime::Handle::current();
    let next = Stage {
        decisions: Decisions::start(&stage.bus, &runtime),
        ..stage
    };
    next.write("rules/b.json", "{");
    let mut keeper = next.keeper();
    keeper.start().await.unwrap();
    assert!(!next.decisions.is_open());
    assert!(keeper.status.load().fault.is_some());
    std::fs::remove_file(next.dir.path().join("rules/b.json")).unwrap();
    keeper
        .load()
        .await
        .unwrap_or_else(|_| panic!("they are mended"));
    assert!(next.decisions.is_open());
    next.bus.stop().await;
}

#[tokio::test]
async fn firings_are_decided_by_the_documents_of_the_journal_while_the_files_are_faulty() {
    let stage = Stage::new();
    let mut keeper = stage.keeper();
    keeper.start().await.unwrap();
    let (change, answered) = edit(catalogue());
    keeper.take(change).await;
    answered.await.unwrap().unwrap();
    let runtime = tokio::runtime::Handle::current();
    let next = Stage {
        decisions: Decisions::start(&stage.bus, &runtime),
        ..stage
    };
    next.write("rules/b.json", "{");
    next.keeper().start().await.unwrap();
    assert!(next.decisions.is_open());
    let documents = next.decisions.documents();
    assert!(documents.entry("discovery-finished").is_some());
    next.bus.stop().await;
}
