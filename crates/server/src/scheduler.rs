//! Fires the schedules of rules and monitors: sleeps until the next tick of any. A rule's event is put as
//! callers put theirs; a monitor's scan is a task of its own.
//!
//! Each tick of a rule is stored in one block with its event, and the core stores none twice, so what is planned here
//! may be lost or out of date: it is read again from the state. Times are wall clock; nobody tells us when
//! that jumps, so no sleep is longer than a second. Ticks that passed while nobody looked are made up for by
//! the last of them alone. Source: eventbridge-api.md 9.2, 9.3; certificate-lifecycle.md MON-2, MON-3.
//!
//! Start at [`Scheduler::turn`].

use crate::bus::{Bus, Unavailable};
use crate::decisions::{Decisions, Scanning};
use crate::intake::draw_seed;
use crate::metrics::Metrics;
use crate::router::TooManyDeliveries;
use bus_core::core::{Answer, Input, event_id};
use bus_core::document::{self, Tick};
use bus_core::envelope::{Envelope, format_seconds};
use bus_core::name::{BusName, RuleName};
use bus_core::record::{Event, Record, event_key};
use lifecycle::moment;
use lifecycle::scan;
use lifecycle::schedule::Schedule;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Ticks that are stored with one sync.
const BATCH_MAX: usize = 500;
/// Longest sleep, in milliseconds: the wall clock may have jumped meanwhile.
const SLEEP_MS_MAX: i64 = 1_000;
/// Pause before what could not be stored is tried again, in milliseconds.
const PAUSE_MS: i64 = 50;
/// A tick that is found so late while the server runs was not missed, in milliseconds.
const LATE_MS_MAX: i64 = 60_000;
/// Missed ticks of one schedule are counted up to here.
const MISSED_MAX: usize = 10_000;
const MINUTE_MS: i64 = 60_000;

/// What a rule's schedule is planned to do.
#[derive(Debug)]
struct Planned {
    place: document::Schedule,
    schedule: Schedule,
    next: Option<i64>,
}

/// The next tick of each scheduled rule. Bounds: one entry for each.
#[derive(Debug, Default)]
struct Plan {
    rules: BTreeMap<RuleName, Planned>,
    order: BTreeSet<(i64, RuleName)>,
}

/// The ticks of one rule that have come.
#[derive(Debug, PartialEq, Eq)]
struct Due {
    tick: Tick,
    /// How many came before it.
    passed_over: usize,
}

impl Plan {
    /// Plans a rule as its document says; `None` if it is gone or off.
    fn set(&mut self, name: &RuleName, place: Option<&document::Schedule>) {
        let old = self.rules.remove(name).and_then(|planned| planned.next);
        if let Some(next) = old {
            self.order.remove(&(next, name.clone()));
        }
        let Some(place) = place else {
            return;
        };
        // The doors have checked it; only another version of this program takes another one.
        let Ok(schedule) = Schedule::parse(&place.expression) else {
            tracing::error!(rule = %name, expression = place.expression, "a stored schedule is not understood; it does not fire");
            return;
        };
        let next = schedule.next(place.done_ms, place.anchor_ms);
        self.order.extend(next.map(|next| (next, name.clone())));
        let planned = Planned {
            place: place.clone(),
            schedule,
            next,
        };
        self.rules.insert(name.clone(), planned);
    }

    /// Goes on behind a tick.
    fn done(&mut self, tick: &Tick) {
        if let Some(planned) = self.rules.get(&tick.rule) {
            let mut place = planned.place.clone();
            place.done_ms = tick.at_ms;
            self.set(&tick.rule, Some(&place));
        }
    }

    /// When the first tick is due.
    fn next(&self) -> Option<i64> {
        self.order.first().map(|(at, _)| *at)
    }

    /// The last tick so far of each rule that has one, the oldest first, at most [`BATCH_MAX`].
    fn due(&self, now_ms: i64) -> Vec<Due> {
        let come = self.order.iter().take_while(|(next, _)| *next <= now_ms);
        let come = come.take(BATCH_MAX).map(|(next, name)| {
            let planned = &self.rules[name];
            let (schedule, anchor) = (&planned.schedule, planned.place.anchor_ms);
            let last = schedule.latest(planned.place.done_ms, now_ms, anchor);
            let at_ms = last.unwrap_or(*next);
            let before = std::iter::successors(Some(*next), |tick| schedule.next(*tick, anchor));
            let tick = Tick {
                rule: name.clone(),
                expression: planned.place.expression.clone(),
                at_ms,
            };
            Due {
                tick,
                passed_over: before
                    .take_while(|tick| *tick < at_ms)
                    .take(MISSED_MAX)
                    .count(),
            }
        });
        come.collect()
    }
}

/// Fires schedules.
pub struct Scheduler {
    bus: Bus,
    /// Where monitors are; without it they wait for ticks by hand.
    monitors: Option<Decisions>,
    /// The last tick of each monitor that came while a scan still ran.
    dropped: BTreeMap<String, i64>,
    metrics: Arc<Metrics>,
    catch_up_ms: i64,
    began_ms: i64,
    plan: Plan,
    /// Rules that are to be looked at again.
    changed: BTreeSet<RuleName>,
}

impl Scheduler {
    /// Plans every schedule that the state has. Missed ticks no older than `catch_up_ms` are made up for.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn start(
        bus: Bus,
        monitors: Option<Decisions>,
        metrics: Arc<Metrics>,
        catch_up_ms: i64,
    ) -> Result<Self, Unavailable> {
        let all = |core: &bus_core::core::Core, _: &_| {
            let rules = core.state().scheduled();
            rules.map(|rule| rule.name.clone()).collect()
        };
        let changed = bus.look(all).await?;
        let began_ms = bus.now().wall_ms;
        Ok(Self {
            bus,
            monitors,
            dropped: BTreeMap::new(),
            metrics,
            catch_up_ms,
            began_ms,
            plan: Plan::default(),
            changed,
        })
    }

    /// Fires what is due until told to stop.
    pub async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        loop {
            let now_ms = self.bus.now().wall_ms;
            let sleep_ms = match self.turn(now_ms).await {
                Ok(Some(next)) => (next - now_ms).clamp(0, SLEEP_MS_MAX),
                Ok(None) => SLEEP_MS_MAX,
                // Storage is told of elsewhere; the ticks are still due.
                Err(Unavailable) => PAUSE_MS,
            };
            tokio::select! {
                _ = stopped.changed() => return,
                names = self.bus.rescheduled() => self.changed.extend(names),
                () = tokio::time::sleep(Duration::from_millis(sleep_ms.unsigned_abs())) => {}
            }
        }
    }

    /// Takes over what has changed and fires what is due at `now_ms`, at most one batch. Tells when the next
    /// tick is due.
    ///
    /// # Errors
    /// [`Unavailable`]; what is due stays due.
    pub async fn turn(&mut self, now_ms: i64) -> Result<Option<i64>, Unavailable> {
        // A clock that was set back has not stopped us.
        self.began_ms = self.began_ms.min(now_ms);
        self.read_changed().await?;
        let due = self.plan.due(now_ms);
        if !due.is_empty() {
            self.fire(now_ms, due).await?;
        }
        let again = (!self.changed.is_empty()).then_some(now_ms + PAUSE_MS);
        let scan = self.scan(now_ms);
        let next = self.plan.next().into_iter().chain(again).chain(scan);
        Ok(next.min())
    }

    /// Begins the scans that are due, and tells when the next one is. Monitors are few: all are looked at.
    fn scan(&mut self, now_ms: i64) -> Option<i64> {
        let decisions = self.monitors.as_ref()?;
        let documents = decisions.documents();
        let mut next = None;
        for monitor in documents.monitors().filter(|it| it.enabled) {
            let name = monitor.name.as_str();
            let (mut place, since) = decisions.look(|kept| {
                let since = kept.in_force.since.get(name).copied();
                (kept.state.scans(name), since.unwrap_or(now_ms))
            });
            place.done = place.done.max(self.dropped.get(name).copied());
            if let Some(running) = decisions.scanning(name) {
                let after = place.done.max(Some(running)).max(Some(since));
                let latest = monitor
                    .schedule
                    .latest(after.unwrap_or(since), now_ms, since);
                if let Some(tick) = latest {
                    tracing::warn!(
                        monitor = name,
                        tick,
                        "dropped: the scan before it still runs"
                    );
                    self.metrics.monitor_ticks_dropped.add(1);
                    self.dropped.insert(name.to_owned(), tick);
                }
                continue;
            }
            match scan::due(monitor, &place, since, now_ms) {
                Some(tick) => match decisions.begin(name, tick) {
                    Ok(scanning) => drop(tokio::spawn(run_scan(scanning, name.to_owned()))),
                    Err(error) => tracing::warn!(monitor = name, tick, %error, "not scanned"),
                },
                None => {
                    let after = place.done.unwrap_or(since).max(since);
                    next = next
                        .into_iter()
                        .chain(monitor.schedule.next(after, since))
                        .min();
                }
            }
        }
        next
    }

    async fn read_changed(&mut self) -> Result<(), Unavailable> {
        if self.changed.is_empty() {
            return Ok(());
        }
        let names = self.changed.clone();
        let look = self.bus.look(move |core, _| {
            let read = |name: RuleName| {
                let rule = core
                    .state()
                    .rule(BusName::default_bus().as_str(), name.as_str());
                let rule = rule.filter(|rule| rule.is_on());
                (name, rule.and_then(|rule| rule.schedule.clone()))
            };
            names.into_iter().map(read).collect::<Vec<_>>()
        });
        for (name, place) in look.await? {
            self.plan.set(&name, place.as_ref());
        }
        self.changed.clear();
        Ok(())
    }

    /// Whether a tick is still worth an event: it came while we ran, or is not too old to be made up for.
    fn is_wanted(&self, tick: &Tick, now_ms: i64) -> bool {
        let late_ms = now_ms - tick.at_ms;
        let on_time = self.began_ms <= tick.at_ms && late_ms < LATE_MS_MAX;
        on_time || (0 < self.catch_up_ms && late_ms <= self.catch_up_ms)
    }

    async fn fire(&mut self, now_ms: i64, due: Vec<Due>) -> Result<(), Unavailable> {
        let (matched_running, routing) = self.bus.routing();
        let (seed, bus) = (draw_seed(), BusName::default_bus());
        let (mut events, mut ticks, mut missed) = (Vec::new(), Vec::new(), 0);
        for (n, Due { tick, passed_over }) in due.into_iter().enumerate() {
            if !self.is_wanted(&tick, now_ms) {
                self.metrics.schedule_missed.add(passed_over as u64 + 1);
                self.plan.done(&tick);
                continue;
            }
            let id = event_id(seed, n).to_string();
            let envelope = self.envelope(&id, &tick);
            let shapers = self.bus.shapers();
            match routing.route_tick(&tick.rule, &envelope, shapers, now_ms) {
                Ok(Some(routed)) => {
                    let event = Event {
                        accepted_ms: now_ms,
                        id: &id,
                        bus: bus.as_str(),
                        trace: "",
                        envelope: &envelope,
                    };
                    let deliveries = routed.deliveries;
                    let record = Record::Event { deliveries, event }.encode();
                    events.push((event_key(&id), record));
                    ticks.push(tick);
                    missed += passed_over as u64;
                }
                // It has just changed; what is planned is out of date.
                Ok(None) => drop(self.changed.insert(tick.rule)),
                Err(TooManyDeliveries) => {
                    tracing::error!(rule = %tick.rule, "the event of a schedule matches more targets than one event may have; it is not put");
                    self.metrics.schedule_missed.add(passed_over as u64 + 1);
                    self.plan.done(&tick);
                }
            }
        }
        if ticks.is_empty() {
            return Ok(());
        }
        let stored = ticks.clone();
        let put = move |request| Input::Put {
            request,
            events,
            idempotency: None,
            matched_running,
            ticks,
        };
        match self.bus.ask(put).await? {
            Answer::Stored(_) => {
                self.metrics.scheduled_events.add(stored.len() as u64);
                self.metrics.schedule_missed.add(missed);
                stored.iter().for_each(|tick| self.plan.done(tick));
                Ok(())
            }
            Answer::MatchAgain => {
                self.changed.extend(stored.into_iter().map(|it| it.rule));
                Ok(())
            }
            _ => Err(Unavailable),
        }
    }

    /// The event of a tick. Its time is the minute of the tick.
    fn envelope(&self, id: &str, tick: &Tick) -> Vec<u8> {
        let home = &self.bus.identity().home;
        let rule_arn = home.rule_arn(BusName::default_bus().as_str(), tick.rule.as_str());
        let minute = tick.at_ms - tick.at_ms.rem_euclid(MINUTE_MS);
        let time = format_seconds(minute / 1000).expect("schedules end with the year 2199");
        Envelope {
            id,
            detail_type: "Scheduled Event",
            source: "aws.events",
            account: &home.account,
            time: &time,
            region: &home.region,
            resources: &[&rule_arn],
            detail: "{}",
        }
        .to_json()
    }
}

async fn run_scan(scanning: Scanning, monitor: String) {
    match scanning.run().await {
        Ok(scan::Done { progress, closed }) => tracing::info!(
            monitor,
            tick = moment::format(progress.tick),
            selected = progress.selected,
            emitted = progress.emitted,
            left_out = progress.left_out,
            closed = closed.len(),
            "scanned"
        ),
        // Storage is told of elsewhere, and the tick is still due.
        Err(error) => tracing::warn!(monitor, %error, "not scanned"),
    }
}

#[cfg(test)]
mod tests;
