//! From an event to its deliveries: which rules match it, and which targets they have.
//!
//! Matching happens in the tasks that read requests, in parallel, against an immutable [`Routing`] that is
//! replaced whole when rules change. The core owns the [`Router`], which makes the next one.

use crate::shapers::Shapers;
use bus_core::document::{Kind, Rule};
use bus_core::limits::DELIVERIES_MAX;
use bus_core::name::{BusName, RuleName};
use bus_core::state::{MUST_WAIT, RuleKey, State, Version};
use rule_engine::pattern::{Options, Pattern};
use rule_engine::rule_set::RuleSet;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Everything that intake needs to know of the rules, as they were at one moment.
#[derive(Debug, Clone, Default)]
pub struct Routing {
    buses: HashMap<BusName, Arc<BusRoutes>>,
    /// Targets of documents' rules without a pattern, which decisions hand over to. By bus and name of the rule.
    handed: Arc<HashMap<RuleKey, Vec<Arc<Version>>>>,
}

#[derive(Debug, Clone, Default)]
struct BusRoutes {
    set: RuleSet<u32>,
    rules: Routes,
    scheduled: HashMap<RuleName, u32>,
}

#[derive(Debug)]
struct Route {
    name: RuleName,
    targets: Vec<Arc<Version>>,
}

/// The routes of rules by number, in pages that are shared with the [`Routing`] before: a change
/// copies one page, not all.
#[derive(Debug, Clone, Default)]
struct Routes {
    pages: Vec<Arc<Vec<Option<Arc<Route>>>>>,
}

impl Routes {
    const PAGE: usize = 256;

    /// The route of a rule that is in the set.
    fn of(&self, number: u32) -> &Route {
        let page = &self.pages[number as usize / Self::PAGE];
        let route = page[number as usize % Self::PAGE].as_deref();
        route.expect("each rule of the set has a route")
    }

    fn set(&mut self, number: u32, route: Option<Route>) {
        let (page, place) = (number as usize / Self::PAGE, number as usize % Self::PAGE);
        if self.pages.len() <= page {
            self.pages
                .resize_with(page + 1, || Arc::new(vec![None; Self::PAGE]));
        }
        Arc::make_mut(&mut self.pages[page])[place] = route.map(Arc::new);
    }
}

/// An event matched more targets than one event may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyDeliveries;

/// What an event will be sent to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routed {
    /// Versions of the targets; [`MUST_WAIT`] is set in those whose input could not be shaped.
    pub deliveries: Vec<u32>,
    /// Rules that matched.
    pub rules: usize,
}

impl Routing {
    /// Whether a bus exists.
    #[must_use]
    pub fn has_bus(&self, bus: &str) -> bool {
        self.buses.contains_key(bus)
    }

    /// The deliveries of an event on a bus; a bus that does not exist has none.
    ///
    /// # Errors
    /// [`TooManyDeliveries`].
    pub fn route(
        &self,
        bus: &str,
        envelope: &[u8],
        shapers: &Shapers,
        accepted_ms: i64,
    ) -> Result<Routed, TooManyDeliveries> {
        let Some(routes) = self.buses.get(bus) else {
            return Ok(Routed::default());
        };
        let mut ids = Vec::new();
        routes.set.matches(envelope, &mut ids);
        routes.deliver(&ids, envelope, shapers, accepted_ms)
    }

    /// The deliveries of the event of a schedule: its own rule gets it whatever its pattern, others if they
    /// match. `None` if the rule has no schedule any more, or is off.
    /// Source: eventbridge-api.md 9.2.
    ///
    /// # Errors
    /// [`TooManyDeliveries`].
    pub fn route_tick(
        &self,
        rule: &RuleName,
        envelope: &[u8],
        shapers: &Shapers,
        accepted_ms: i64,
    ) -> Result<Option<Routed>, TooManyDeliveries> {
        let routes = self.buses.get(BusName::default_bus().as_str());
        let Some((routes, own)) = routes.and_then(|it| Some((it, *it.scheduled.get(rule)?))) else {
            return Ok(None);
        };
        let mut ids = Vec::new();
        routes.set.matches(envelope, &mut ids);
        if !ids.contains(&own) {
            ids.push(own);
        }
        let routed = routes.deliver(&ids, envelope, shapers, accepted_ms);
        routed.map(Some)
    }

    /// A target of a rule that no event is matched against.
    #[must_use]
    pub fn handed(&self, bus: &BusName, rule: &RuleName, id: &str) -> Option<&Arc<Version>> {
        let targets = self.handed.get(&(bus.clone(), rule.clone()))?;
        targets.iter().find(|it| it.target.id.as_str() == id)
    }

    /// Names of the rules that match an event, for people.
    #[must_use]
    pub fn matching(&self, bus: &str, envelope: &[u8]) -> Vec<RuleName> {
        let Some(routes) = self.buses.get(bus) else {
            return Vec::new();
        };
        let mut ids = Vec::new();
        routes.set.matches(envelope, &mut ids);
        ids.iter()
            .map(|id| routes.rules.of(*id).name.clone())
            .collect()
    }
}

impl BusRoutes {
    fn deliver(
        &self,
        ids: &[u32],
        envelope: &[u8],
        shapers: &Shapers,
        accepted_ms: i64,
    ) -> Result<Routed, TooManyDeliveries> {
        let mut deliveries = Vec::new();
        for id in ids {
            for version in &self.rules.of(*id).targets {
                deliveries.push(delivery(version, envelope, shapers, accepted_ms));
            }
        }
        if DELIVERIES_MAX < deliveries.len() {
            return Err(TooManyDeliveries);
        }
        Ok(Routed {
            deliveries,
            rules: ids.len(),
        })
    }

    fn remove(&mut self, number: u32, name: &RuleName) {
        self.set.remove(number);
        self.rules.set(number, None);
        self.scheduled.remove(name);
    }
}

/// A delivery as a record names it. A queue's message is shaped at each read, so it must be known now that
/// it can be.
#[must_use]
pub fn delivery(version: &Version, input: &[u8], shapers: &Shapers, accepted_ms: i64) -> u32 {
    let waits = matches!(version.kind, Kind::Queue(_))
        && version.target.shapes()
        && shapers.shape(version, input, accepted_ms).is_err();
    version.number | if waits { MUST_WAIT } else { 0 }
}

/// Makes the next [`Routing`] from what has changed.
#[derive(Debug, Default)]
pub struct Router {
    routing: Routing,
    numbers: BTreeMap<RuleKey, u32>,
    next: u32,
    /// Numbers of rules that are gone.
    free: Vec<u32>,
}

impl Router {
    /// All rules of a state.
    #[must_use]
    pub fn new(state: &State) -> Self {
        let mut router = Self::default();
        let internal = BusName::internal();
        let all: Vec<RuleKey> = state
            .buses()
            .keys()
            .chain([&internal])
            .flat_map(|bus| {
                state
                    .rules(bus.as_str())
                    .into_iter()
                    .flatten()
                    .map(|(name, _)| (bus.clone(), name.clone()))
            })
            .collect();
        router.update(state, &all);
        router
    }

    /// Takes over what `state` says of these rules, and of the buses.
    pub fn update(&mut self, state: &State, changed: &[RuleKey]) {
        self.routing
            .buses
            .retain(|bus, _| state.buses().contains_key(bus));
        for bus in state.buses().keys() {
            if !self.routing.buses.contains_key(bus) {
                self.routing.buses.insert(bus.clone(), Arc::default());
            }
        }
        for key in changed {
            self.hand(state, key);
            let Some(routes) = self.routing.buses.get_mut(&key.0) else {
                continue;
            };
            let routes = Arc::make_mut(routes);
            let number = *self.numbers.entry(key.clone()).or_insert_with(|| {
                self.free.pop().unwrap_or_else(|| {
                    self.next += 1;
                    self.next
                })
            });
            match state
                .rule(key.0.as_str(), key.1.as_str())
                .filter(|rule| rule.is_on())
            {
                Some(rule) => set_rule(routes, number, state, rule),
                None => {
                    routes.remove(number, &key.1);
                    if state.rule(key.0.as_str(), key.1.as_str()).is_none() {
                        self.numbers.remove(key);
                        self.free.push(number);
                    }
                }
            }
        }
    }

    /// Takes over a rule that no event is matched against.
    fn hand(&mut self, state: &State, key: &RuleKey) {
        let rule = state.rule(key.0.as_str(), key.1.as_str());
        let targets = rule
            .filter(|rule| !rule.is_ordinary() && rule.pattern.is_none())
            .map(|rule| current_targets(state, rule));
        match targets.filter(|targets| !targets.is_empty()) {
            Some(targets) => {
                Arc::make_mut(&mut self.routing.handed).insert(key.clone(), targets);
            }
            None if self.routing.handed.contains_key(key) => {
                Arc::make_mut(&mut self.routing.handed).remove(key);
            }
            None => {}
        }
    }

    /// The rules as they are now.
    #[must_use]
    pub fn routing(&self) -> Arc<Routing> {
        Arc::new(self.routing.clone())
    }
}

fn set_rule(routes: &mut BusRoutes, number: u32, state: &State, rule: &Rule) {
    // A stored pattern was accepted under the limits of its time; it is not judged again.
    let options = Options {
        complexity_limit: None,
    };
    let pattern = rule.pattern.as_deref().filter(|text| !text.is_empty());
    let pattern = pattern.and_then(|text| Pattern::parse_with(text, &options).ok());
    if pattern.is_none() || rule.schedule.is_none() {
        routes.remove(number, &rule.name);
    }
    if let Some(pattern) = &pattern {
        routes.set.replace(number, pattern);
    }
    if rule.schedule.is_some() {
        routes.scheduled.insert(rule.name.clone(), number);
    } else if pattern.is_none() {
        return;
    }
    let targets = current_targets(state, rule);
    let name = rule.name.clone();
    routes.rules.set(number, Some(Route { name, targets }));
}

fn current_targets(state: &State, rule: &Rule) -> Vec<Arc<Version>> {
    let ids = rule.targets.keys();
    ids.filter_map(|id| state.current_version(&rule.bus, &rule.name, id).cloned())
        .collect()
}
