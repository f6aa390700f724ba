use super::*;
use crate::bus::{Nobody, Options};
use crate::config::Config;
use crate::store;
use bus_core::core::{Control, Receive, Settings};
use bus_core::document::{Origin, Rule, RuleState, Target};
use bus_core::name::{Home, QueueName, TargetId};
use std::thread::JoinHandle;

const HOUR_MS: i64 = 60 * MINUTE_MS;
/// Any moment at which a minute begins.
const T: i64 = 1_795_435_200_000;

fn plan(expression: &str) -> (RuleName, Plan) {
    let name = RuleName::parse("r").unwrap();
    let mut plan = Plan::default();
    plan.set(&name, Some(&document::Schedule::new(expression.into(), T)));
    (name, plan)
}

/// The tick that a plan has at `now`, with what it passes over.
fn due(plan: &Plan, now_ms: i64) -> Option<(i64, usize)> {
    let due = plan.due(now_ms);
    assert!(due.len() < 2);
    due.first().map(|due| (due.tick.at_ms - T, due.passed_over))
}

#[test]
fn the_last_tick_is_due_and_the_others_are_counted() {
    let (_, mut plan) = plan("rate(5 minutes)");
    assert_eq!(plan.next(), Some(T + 5 * MINUTE_MS));
    assert_eq!(due(&plan, T + 5 * MINUTE_MS - 1), None);
    assert_eq!(due(&plan, T + 5 * MINUTE_MS), Some((5 * MINUTE_MS, 0)));
    assert_eq!(due(&plan, T + HOUR_MS + 1), Some((HOUR_MS, 11)));
    let tick = plan.due(T + HOUR_MS).remove(0).tick;
    plan.done(&tick);
    assert_eq!(due(&plan, T + HOUR_MS), None);
    // Not again when the clock goes back, and not before its time when it goes on.
    assert_eq!(due(&plan, T + 5 * MINUTE_MS), None);
    assert_eq!(plan.next(), Some(T + HOUR_MS + 5 * MINUTE_MS));
}

#[test]
fn a_calendar_is_followed_to_its_end() {
    let (name, mut plan) = plan("cron(0 0 1 1 ? 2002)");
    assert_eq!(plan.next(), None);
    let place = document::Schedule::new("cron(0/15 * * * ? *)".into(), T);
    plan.set(&name, Some(&place));
    assert_eq!(due(&plan, T + 50 * MINUTE_MS), Some((45 * MINUTE_MS, 2)));
    plan.set(&name, None);
    assert_eq!(plan.next(), None);
    assert!(plan.rules.is_empty());
}

/// A bus without doors, and time that the test keeps.
struct Stage {
    dir: tempfile::TempDir,
    bus: Bus,
    core: JoinHandle<i32>,
    metrics: Arc<Metrics>,
}

fn start(dir: &std::path::Path) -> (Bus, JoinHandle<i32>) {
    let config = Config {
        data: dir.to_path_buf(),
        disk_reserve_bytes: 4 << 20,
        disk_free_bytes_min: 0,
        ..Config::default()
    };
    let options = Options {
        core: Settings::default(),
        trail: config.trail,
        trail_bytes: config.trail_bytes,
    };
    Bus::start(store::open(&config).unwrap(), options, |_| Box::new(Nobody)).unwrap()
}

fn rule(name: &str, pattern: Option<&str>, schedule: Option<&str>, queue: &str) -> Rule {
    let arn = Home::default().queue_arn(queue);
    let target = Target::new(TargetId::parse("q").unwrap(), arn);
    Rule {
        name: RuleName::parse(name).unwrap(),
        bus: BusName::default_bus(),
        description: None,
        pattern: pattern.map(Into::into),
        schedule: schedule.map(|text| document::Schedule::new(text.into(), 0)),
        state: RuleState::Enabled,
        role_arn: None,
        origin: Origin::File("rules/a.json".into()),
        targets: BTreeMap::from([(target.id.clone(), target.into())]),
    }
}

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (bus, core) = start(dir.path());
        let metrics = Arc::default();
        Self {
            dir,
            bus,
            core,
            metrics,
        }
    }

    async fn restart(self) -> Self {
        self.bus.stop().await;
        let core = self.core;
        tokio::task::spawn_blocking(move || core.join().unwrap())
            .await
            .unwrap();
        let (bus, core) = start(self.dir.path());
        Self { bus, core, ..self }
    }

    async fn load(&self, rules: Vec<Rule>) {
        let queues = ["q", "other"].map(|name| QueueName::parse(name).unwrap());
        let control = Control::LoadFiles(rules, queues.into());
        let answer = self.bus.ask(|request| Input::Control { request, control });
        assert!(matches!(answer.await.unwrap(), Answer::Done));
    }

    /// What a rate counts from.
    async fn anchor(&self, rule: &'static str) -> i64 {
        let look = self.bus.look(move |core, _| {
            let rule = core.state().rule("default", rule).unwrap();
            rule.schedule.as_ref().unwrap().anchor_ms
        });
        look.await.unwrap()
    }

    async fn scheduler(&self, catch_up_ms: i64) -> Scheduler {
        let metrics = Arc::clone(&self.metrics);
        let started = Scheduler::start(self.bus.clone(), None, metrics, catch_up_ms);
        started.await.unwrap()
    }

    /// Takes all messages of a queue: their envelopes.
    async fn take(&self, queue: &'static str) -> Vec<serde_json::Value> {
        let number = self
            .bus
            .look(move |core, _| core.state().queue(queue).unwrap().number)
            .await
            .unwrap();
        let receive = Receive {
            queue: number,
            most: 10,
            wait_ms: 0,
            visibility_seconds: Some(40_000),
            try_key: None,
        };
        let input = |request| Input::Receive { request, receive };
        let Answer::Messages(given) = self.bus.ask(input).await.unwrap() else {
            panic!("no messages")
        };
        let read = |place| {
            let record = self.bus.read_blocking(place).unwrap();
            let record = Record::decode(&record).unwrap();
            serde_json::from_slice(record.event().unwrap().envelope).unwrap()
        };
        given.into_iter().map(|one| read(one.place)).collect()
    }
}

#[tokio::test]
async fn a_tick_fires_once_also_across_restarts() {
    let stage = Stage::new();
    let beside = r#"{"source":["aws.events"],"resources":[{"suffix":":rule/every"}]}"#;
    let rules = || {
        vec![
            // Its own pattern does not match its event, and it gets it all the same.
            rule(
                "every",
                Some(r#"{"source":["x"]}"#),
                Some("rate(1 minute)"),
                "q",
            ),
            rule("beside", Some(beside), None, "other"),
        ]
    };
    stage.load(rules()).await;
    let anchor = stage.anchor("every").await;
    let mut scheduler = stage.scheduler(HOUR_MS).await;
    let first = anchor + MINUTE_MS;
    assert_eq!(scheduler.turn(anchor).await, Ok(Some(first)));
    assert_eq!(stage.take("q").await.len(), 0);
    assert_eq!(scheduler.turn(first).await, Ok(Some(first + MINUTE_MS)));
    let minute = first - first.rem_euclid(MINUTE_MS);
    let events = stage.take("q").await;
    assert_eq!(
        events,
        [serde_json::json!({
            "version": "0", "id": events[0]["id"], "detail-type": "Scheduled Event", "source": "aws.events",
            "account": "000000000000", "time": format_seconds(minute / 1000).unwrap(), "region": "us-east-1",
            "resources": ["arn:aws:events:us-east-1:000000000000:rule/every"], "detail": {},
        })]
    );
    assert_eq!(stage.take("other").await, events);
    scheduler.turn(first + 1).await.unwrap();
    // A second scheduler that knows nothing of the first: the core knows.
    let mut late = stage.scheduler(HOUR_MS).await;
    late.turn(first + 2).await.unwrap();
    assert_eq!(stage.take("q").await.len(), 0);

    let stage = stage.restart().await;
    stage.load(rules()).await;
    assert_eq!(stage.anchor("every").await, anchor);
    let mut scheduler = stage.scheduler(HOUR_MS).await;
    scheduler.turn(first + 3).await.unwrap();
    assert_eq!(stage.take("q").await.len(), 0);
    assert_eq!(stage.metrics.schedule_missed.get(), 0);

    // Ten minutes later: one event, for the last tick, and nine that are counted.
    scheduler.turn(first + 10 * MINUTE_MS).await.unwrap();
    assert_eq!(stage.take("q").await.len(), 1);
    assert_eq!(stage.metrics.schedule_missed.get(), 9);
    assert_eq!(stage.metrics.scheduled_events.get(), 2);
    assert_eq!(stage.metrics.events_put.get(), 0);
}

#[tokio::test]
async fn what_was_missed_too_long_ago_is_not_made_up_for() {
    let stage = Stage::new();
    stage
        .load(vec![rule("r", None, Some("rate(2 hours)"), "q")])
        .await;
    let anchor = stage.anchor("r").await;
    let missed = anchor + 2 * HOUR_MS;
    let mut scheduler = stage.scheduler(HOUR_MS).await;
    scheduler.turn(missed + HOUR_MS + 1).await.unwrap();
    assert_eq!(stage.take("q").await.len(), 0);
    assert_eq!(stage.metrics.schedule_missed.get(), 1);
    // 0 makes up for nothing, yet what comes while the server runs is fired.
    let mut never = stage.scheduler(0).await;
    never.turn(missed + MINUTE_MS).await.unwrap();
    assert_eq!(stage.take("q").await.len(), 0);
    never.turn(missed + 2 * HOUR_MS + 59_999).await.unwrap();
    assert_eq!(stage.take("q").await.len(), 1);
    // An older clock fires nothing again.
    let mut back = stage.scheduler(HOUR_MS).await;
    back.turn(missed + 1).await.unwrap();
    assert_eq!(stage.take("q").await.len(), 0);
}

#[tokio::test]
async fn a_rule_that_is_changed_counts_anew_and_one_that_is_off_does_not_fire() {
    let stage = Stage::new();
    let with = |expression: &str, state| Rule {
        state,
        ..rule("r", None, Some(expression), "q")
    };
    stage
        .load(vec![with("rate(1 minute)", RuleState::Enabled)])
        .await;
    let first = stage.anchor("r").await;
    let mut scheduler = stage.scheduler(HOUR_MS).await;
    scheduler.turn(first).await.unwrap();

    stage
        .load(vec![with("rate(1 minute)", RuleState::Disabled)])
        .await;
    // It is told of the change, and the core would not take the tick anyway.
    let told = stage.bus.rescheduled().await;
    assert_eq!(
        told.into_iter().collect::<Vec<_>>(),
        [RuleName::parse("r").unwrap()]
    );
    scheduler.turn(first + MINUTE_MS).await.unwrap();
    assert_eq!(scheduler.turn(first + MINUTE_MS).await, Ok(None));
    assert_eq!(stage.take("q").await.len(), 0);

    tokio::time::sleep(Duration::from_millis(5)).await;
    stage
        .load(vec![with("rate(1 minute)", RuleState::Enabled)])
        .await;
    let second = stage.anchor("r").await;
    assert!(first < second);
    tokio::time::sleep(Duration::from_millis(5)).await;
    stage
        .load(vec![with("rate(7 minutes)", RuleState::Enabled)])
        .await;
    let third = stage.anchor("r").await;
    assert!(second < third);
    scheduler.changed.extend(stage.bus.rescheduled().await);
    let next = scheduler.turn(third + 7 * MINUTE_MS - 1).await;
    assert_eq!(next, Ok(Some(third + 7 * MINUTE_MS)));
    assert_eq!(stage.take("q").await.len(), 0);
    scheduler.turn(third + 7 * MINUTE_MS).await.unwrap();
    assert_eq!(stage.take("q").await.len(), 1);
    // The same again is no change.
    stage
        .load(vec![with("rate(7 minutes)", RuleState::Enabled)])
        .await;
    assert_eq!(stage.anchor("r").await, third);
}
