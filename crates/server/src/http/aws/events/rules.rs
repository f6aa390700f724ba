//! Rules: made, shown, listed, taken away, turned on and off.
//!
//! A rule of a file shows itself like any other and is changed in its file alone.
//! Source: eventbridge-api.md 5.

use super::members::Object;
use super::paging::{List, Paging};
use super::{Fault, ask, bus_of, hint_at_force, no_rule, rules_of};
use crate::http::Doors;
use crate::http::aws::constraints::{ARN, BUS_NAME_OR_ARN, Constraints, DESCRIPTION, NAME, Text};
use bus_core::core::Control;
use bus_core::document::{Origin, Rule, RuleState, Schedule};
use bus_core::name::{BusName, Home, RuleName};
use rule_engine::Diagnostic;
use rule_engine::pattern::{COMPLEXITY_MAX, Options, Pattern};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Who a rule of a file says it is managed by.
const MANAGED_BY: &str = "busbar.rules-file";
/// Characters of a pattern. Source: the API's model.
pub(super) const PATTERN: Text = Text::of(0, 4096);
const SCHEDULE: Text = Text::of(0, 256);

/// A call that names a rule.
struct Named<'b> {
    rule: Option<Cow<'b, str>>,
    bus: Option<Cow<'b, str>>,
}

impl<'b> Named<'b> {
    fn of(call: &Object<'b>) -> Result<Self, Fault> {
        Ok(Self {
            rule: call.text("Name")?,
            bus: call.text("EventBusName")?,
        })
    }

    fn check(&self, constraints: &mut Constraints) {
        constraints.required_text("name", self.rule.as_deref(), &NAME);
        constraints.text("eventBusName", self.bus.as_deref(), &BUS_NAME_OR_ARN);
    }

    /// After the model's checks.
    fn resolve(&self, doors: &Doors) -> Result<(BusName, RuleName), Fault> {
        Ok((
            bus_of(doors, self.bus.as_deref())?,
            rule_name(self.rule.as_deref()),
        ))
    }
}

/// A rule's name that the model's checks have passed.
pub(super) fn rule_name(checked: Option<&str>) -> RuleName {
    RuleName::parse(checked.unwrap_or_default()).expect("the model's checks are the name's")
}

/// `PutRule`.
pub(super) async fn put(doors: &Doors, call: &Object<'_>) -> Result<Value, Fault> {
    let named = Named::of(call)?;
    let schedule = call.text("ScheduleExpression")?;
    let pattern = call.text("EventPattern")?;
    let state = call.text("State")?;
    let description = call.text("Description")?;
    let role = call.text("RoleArn")?;
    let tags = Tags::of(call)?;

    let mut constraints = Constraints::default();
    constraints.required_text("name", named.rule.as_deref(), &NAME);
    constraints.text("scheduleExpression", schedule.as_deref(), &SCHEDULE);
    constraints.text("eventPattern", pattern.as_deref(), &PATTERN);
    let states = [
        RuleState::Enabled,
        RuleState::Disabled,
        RuleState::EnabledWithCloudTrail,
    ];
    constraints.one_of("state", state.as_deref(), &states.map(RuleState::as_str));
    constraints.text("description", description.as_deref(), &DESCRIPTION);
    constraints.text("roleArn", role.as_deref(), &ARN);
    tags.check(&mut constraints);
    constraints.text("eventBusName", named.bus.as_deref(), &BUS_NAME_OR_ARN);
    constraints.finish().map_err(Fault::validation)?;

    let bus = bus_of(doors, named.bus.as_deref());
    let state = state
        .and_then(|text| RuleState::parse(&text))
        .unwrap_or(RuleState::Enabled);
    let on_default = bus.as_ref().is_ok_and(|bus| *bus == BusName::default_bus());
    check_schedule(pattern.as_deref(), schedule.as_deref(), on_default, state)?;
    if let Some(text) = pattern.as_deref().filter(|text| !text.is_empty()) {
        parse_pattern(doors, text)?;
    }
    let bus = bus?;
    tags.check_doubled()?;
    let rule = Rule {
        name: rule_name(named.rule.as_deref()),
        bus,
        description: description.map(Cow::into_owned),
        pattern: pattern.map(Cow::into_owned),
        schedule: schedule
            .filter(|text| !text.is_empty())
            .map(|text| Schedule::new(text.into_owned(), 0)),
        state,
        role_arn: role.map(Cow::into_owned),
        origin: Origin::Api,
        targets: BTreeMap::new(),
    };
    let home = &doors.bus.identity().home;
    let arn = home.rule_arn(rule.bus.as_str(), rule.name.as_str());
    ask(doors, Control::PutRule(rule)).await?;
    Ok(json!({ "RuleArn": arn }))
}

/// Rows 1 to 4 of 5.1, in their order.
fn check_schedule(
    pattern: Option<&str>,
    schedule: Option<&str>,
    on_default: bool,
    state: RuleState,
) -> Result<(), Fault> {
    let text = schedule.unwrap_or_default();
    let fault = if pattern.unwrap_or_default().is_empty() && text.is_empty() {
        "Parameter(s) EventPattern or ScheduleExpression must be specified."
    } else if !text.is_empty() && lifecycle::schedule::Schedule::parse(text).is_err() {
        "Parameter ScheduleExpression is not valid."
    } else if schedule.is_some() && !on_default {
        "ScheduleExpression is supported only on the default event bus."
    } else if !text.is_empty() && state == RuleState::EnabledWithCloudTrail {
        "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS rule state is not supported with scheduled rule expressions."
    } else {
        return Ok(());
    };
    Err(Fault::validation(fault))
}

/// Reads a pattern as the service does. The first line of a refusal is the service's, what follows is ours:
/// clients compare no more than the first.
pub(super) fn parse_pattern(doors: &Doors, text: &str) -> Result<Pattern, Fault> {
    let options = Options {
        complexity_limit: doors.config.aws_complexity.then_some(COMPLEXITY_MAX),
    };
    Pattern::parse_with(text, &options).map_err(|error| {
        let told = Diagnostic::from(&error).told(text);
        Fault::bad(
            "InvalidEventPatternException",
            format!("Event pattern is not valid. Reason: {told}"),
        )
    })
}

/// `DescribeRule`.
pub(super) async fn describe(doors: &Doors, call: &Object<'_>) -> Result<Value, Fault> {
    let named = Named::of(call)?;
    let mut constraints = Constraints::default();
    named.check(&mut constraints);
    constraints.finish().map_err(Fault::validation)?;
    let (bus, name) = named.resolve(doors)?;
    let rule = find(doors, bus, name).await?;
    let home = &doors.bus.identity().home;
    let mut shown = show(&rule, home);
    shown.insert("CreatedBy".into(), home.account.clone().into());
    Ok(shown.into())
}

/// A rule as it is now.
pub(super) async fn find(doors: &Doors, bus: BusName, name: RuleName) -> Result<Arc<Rule>, Fault> {
    let look = doors.bus.look(move |core, _| {
        let rules = rules_of(core.state(), &bus, Bound::Included(name.as_str()));
        let mut rules = rules.ok_or_else(|| Fault::no_bus(bus.as_str()))?;
        let rule = rules.next().filter(|rule| rule.name == name);
        rule.cloned()
            .ok_or_else(|| no_rule(name.as_str(), bus.as_str()))
    });
    look.await?
}

/// A rule in the members that `ListRules` shows.
fn show(rule: &Rule, home: &Home) -> Map<String, Value> {
    let mut shown = Map::new();
    let mut put = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            shown.insert(name.into(), value.into());
        }
    };
    let arn = home.rule_arn(rule.bus.as_str(), rule.name.as_str());
    put("Name", Some(rule.name.as_str()));
    put("Arn", Some(&arn));
    put("EventPattern", rule.pattern.as_deref());
    let schedule = rule.schedule.as_ref();
    put(
        "ScheduleExpression",
        schedule.map(|schedule| &*schedule.expression),
    );
    put("State", Some(rule.state.as_str()));
    put("Description", rule.description.as_deref());
    put("RoleArn", rule.role_arn.as_deref());
    put(
        "ManagedBy",
        (rule.origin != Origin::Api).then_some(MANAGED_BY),
    );
    put("EventBusName", Some(rule.bus.as_str()));
    shown
}

/// `ListRules`.
pub(super) async fn list(doors: &Doors, call: &Object<'_>) -> Result<Value, Fault> {
    let prefix = call.text("NamePrefix")?;
    let bus = call.text("EventBusName")?;
    let paging = Paging::of(call)?;
    let mut constraints = Constraints::default();
    constraints.text("namePrefix", prefix.as_deref(), &NAME);
    constraints.text("eventBusName", bus.as_deref(), &BUS_NAME_OR_ARN);
    paging.check(&mut constraints);
    constraints.finish().map_err(Fault::validation)?;
    let bus = bus_of(doors, bus.as_deref())?;
    let prefix = prefix.unwrap_or_default().into_owned();
    let identity = doors.bus.identity();
    let list = List {
        secret: &identity.secret,
        operation: "ListRules",
        filter: &[bus.as_str(), &prefix],
    };
    let page = paging.page(&list)?;
    let (of, begins) = (bus.clone(), prefix.clone());
    let look = doors.bus.look(move |core, _| {
        // Names are in byte order, so that what begins with the prefix stands together.
        let from = match &page.after {
            Some(after) => Bound::Excluded(after.as_str()),
            None => Bound::Included(begins.as_str()),
        };
        let rules = rules_of(core.state(), &of, from)?.cloned();
        let fits = |rule: &Arc<Rule>| rule.name.as_str().starts_with(&begins);
        let found: Vec<Arc<Rule>> = rules.take_while(fits).take(page.limit + 1).collect();
        Some((found, page.limit))
    });
    let (mut found, limit) = look.await?.ok_or_else(|| Fault::no_bus(bus.as_str()))?;
    let more = limit < found.len();
    found.truncate(limit);
    let rules: Vec<_> = found
        .iter()
        .map(|rule| show(rule, &identity.home))
        .collect();
    let mut answer = json!({ "Rules": rules });
    if let Some(last) = found.last().filter(|_| more) {
        answer["NextToken"] = list.token(last.name.as_str()).into();
    }
    Ok(answer)
}

/// `DeleteRule`.
pub(super) async fn delete(doors: &Doors, call: &Object<'_>) -> Result<Value, Fault> {
    let named = Named::of(call)?;
    let forced = call.boolean("Force")?.unwrap_or(false);
    let mut constraints = Constraints::default();
    named.check(&mut constraints);
    constraints.finish().map_err(Fault::validation)?;
    let (bus, name) = named.resolve(doors)?;
    let asked = ask(doors, Control::DeleteRule(bus, name)).await;
    asked.map_err(|fault| hint_at_force(fault, forced))?;
    Ok(json!({}))
}

/// `EnableRule`.
pub(super) async fn enable(doors: &Doors, call: &Object<'_>) -> Result<Value, Fault> {
    set_state(doors, call, RuleState::Enabled).await
}

/// `DisableRule`.
pub(super) async fn disable(doors: &Doors, call: &Object<'_>) -> Result<Value, Fault> {
    set_state(doors, call, RuleState::Disabled).await
}

async fn set_state(doors: &Doors, call: &Object<'_>, state: RuleState) -> Result<Value, Fault> {
    let named = Named::of(call)?;
    let mut constraints = Constraints::default();
    named.check(&mut constraints);
    constraints.finish().map_err(Fault::validation)?;
    let (bus, name) = named.resolve(doors)?;
    ask(doors, Control::SetRuleState(bus, name, state)).await?;
    Ok(json!({}))
}

/// Tags of a call: checked, and not kept before tags are built.
pub(super) struct Tags<'b>(Vec<[Option<Cow<'b, str>>; 2]>);

impl<'b> Tags<'b> {
    pub(super) fn of(call: &Object<'b>) -> Result<Self, Fault> {
        let tags = call.objects("Tags")?.unwrap_or_default();
        let read = |tag: &Object<'b>| Ok([tag.text("Key")?, tag.text("Value")?]);
        Ok(Self(tags.iter().map(read).collect::<Result<_, Fault>>()?))
    }

    pub(super) fn check(&self, constraints: &mut Constraints) {
        for (n, [key, value]) in (1..).zip(&self.0) {
            let path = format_args!("tags.{n}.member.key");
            constraints.required_text(path, key.as_deref(), &Text::of(1, 128));
            let path = format_args!("tags.{n}.member.value");
            constraints.required_text(path, value.as_deref(), &Text::of(0, 256));
        }
    }

    pub(super) fn check_doubled(&self) -> Result<(), Fault> {
        let mut keys: Vec<&str> = self
            .0
            .iter()
            .filter_map(|[key, _]| key.as_deref())
            .collect();
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            let message = "Invalid parameter: Duplicated keys are not allowed.";
            return Err(Fault::validation(message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: Option<&str>, schedule: Option<&str>, on_default: bool, expected: &str) {
        let fault = check_schedule(pattern, schedule, on_default, RuleState::Enabled);
        assert_eq!(fault.unwrap_err().message, expected);
    }

    #[test]
    fn a_schedule_is_looked_at_in_the_order_of_the_service() {
        let missing = "Parameter(s) EventPattern or ScheduleExpression must be specified.";
        check(None, None, true, missing);
        check(Some(""), Some(""), false, missing);
        check(
            None,
            Some("x"),
            false,
            "Parameter ScheduleExpression is not valid.",
        );
        let elsewhere = "ScheduleExpression is supported only on the default event bus.";
        check(None, Some("rate(1 day)"), false, elsewhere);
        check(Some("{}"), Some(""), false, elsewhere);
        assert!(check_schedule(Some("{}"), Some("rate(1 day)"), true, RuleState::Enabled).is_ok());
        assert!(check_schedule(Some("{}"), Some(""), true, RuleState::Enabled).is_ok());
    }
}
