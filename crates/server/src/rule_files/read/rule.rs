//! A rule's own members: name, bus, pattern, schedule, and what a trigger adds.

use super::members::{Members, Noted, Take};
use super::place::{first, inside_pattern, span};
use super::{ARN_CHARACTERS_MAX, DESCRIPTION_CHARACTERS_MAX, PATTERN_CHARACTERS_MAX, Reader};
use crate::diagnostic::{Severity, did_you_mean};
use crate::rule_files::{Written, schemas};
use bus_core::document::{Origin, Rule, RuleState, Schedule};
use bus_core::name::{BusName, RuleName};
use lifecycle::condition::Dialect;
use lifecycle::documents::Trigger;
use lifecycle::documents::shape::pattern_help;
use rule_engine::json::{Node, NodeKind};
use rule_engine::lint::CODES;
use rule_engine::pattern::{COMPLEXITY_MAX, Options, Pattern};
use std::collections::BTreeSet;

impl Reader<'_> {
    pub(super) fn rule_of(&mut self, node: &Node<'_>) {
        let faults = self.read.faults.len();
        let Ok(members) = self.members(node, "a rule", &schemas::RULE_MEMBERS) else {
            return;
        };
        let name = self.name(&members, node);
        let bus = self.bus(&members);
        let trigger = self.trigger(&members, node);
        let pattern = match trigger {
            Ok(false) => self.pattern(&members, node),
            // Events fire by their type, and what fires is looked at by the trigger's own condition.
            Ok(true) => Ok(None),
            Err(Noted) => Err(Noted),
        };
        let description =
            self.optional_text(&members, "Description", 0, DESCRIPTION_CHARACTERS_MAX);
        let role_arn = self.optional_text(&members, "RoleArn", 1, ARN_CHARACTERS_MAX);
        let state = self.state(&members);
        let on = |bus: &BusName| *bus == BusName::default_bus();
        let schedule = self.schedule(&members, bus.as_ref().is_ok_and(on), &state);
        let allowed = self.allowed(&members);
        let (Ok(name), Ok(bus)) = (name, bus) else {
            return;
        };
        let targets = self.targets(&members, &bus, &name);
        let (Ok(pattern), Ok(description), Ok(role_arn), Ok(state), Ok(allowed), Ok(targets)) =
            (pattern, description, role_arn, state, allowed, targets)
        else {
            return;
        };
        let Ok(schedule) = schedule else {
            return;
        };
        if faults < self.read.faults.len() {
            return;
        }
        let written = Written {
            source: self.source.clone(),
            name: members.get("Name").map_or(span(node), |m| span(&m.value)),
            bus: members.get("EventBusName").map(|m| span(&m.value)),
            pattern: members
                .get("EventPattern")
                .map_or(span(node), |m| span(&m.value)),
            allowed,
        };
        if targets.is_empty() && !matches!(trigger, Ok(true)) {
            let mut warning = written.fault(
                format!("rule `{name}` has no target: what it matches goes nowhere"),
                Some(
                    "add one to Targets, such as {\"Id\":\"log\",\"Log\":{\"Name\":\"events\"}}"
                        .into(),
                ),
            );
            warning.code = "rule::no_target";
            warning.severity = Severity::Warning;
            self.read.warnings.push(warning);
        }
        let file = self.file.clone();
        let rule = Rule {
            name,
            bus,
            description,
            pattern,
            schedule,
            state,
            role_arn,
            origin: match trigger {
                Ok(true) => Origin::Document(file),
                _ => Origin::File(file),
            },
            targets,
        };
        self.read.rules.push((rule, written));
    }

    /// Reads the trigger's part of a rule; false if it has none.
    fn trigger(&mut self, members: &Members<'_, '_>, node: &Node<'_>) -> Take<bool> {
        if !members.contains_key("Trigger") && !members.contains_key("Actions") {
            return Ok(false);
        }
        let place = span(node);
        let options = Options {
            complexity_limit: self.context.complexity.then_some(COMPLEXITY_MAX),
        };
        match Trigger::read(&self.text[place.clone()], &options) {
            Ok(Some(trigger)) => {
                let source = self.source.clone();
                self.read.triggers.push((trigger, source, place));
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(faults) => {
                for fault in faults {
                    let at = fault.span.unwrap_or(0..1);
                    let at = place.start + at.start..place.start + at.end;
                    self.fault(fault.code.as_str(), at, fault.message, Some(fault.help));
                }
                Err(Noted)
            }
        }
    }

    fn name(&mut self, members: &Members<'_, '_>, node: &Node<'_>) -> Take<RuleName> {
        let member = self.required(members, node, "Name", "a rule")?;
        let text = self.text_of("Name", member)?;
        RuleName::parse(text).map_err(|e| {
            self.bad_name(
                "rule::name",
                span(member),
                "rule",
                text,
                e,
                "64 of A-Z a-z 0-9 . - _",
            )
        })
    }

    fn bus(&mut self, members: &Members<'_, '_>) -> Take<BusName> {
        let Some(member) = members.get("EventBusName") else {
            return Ok(BusName::default_bus());
        };
        let node = &member.value;
        let text = self.text_of("EventBusName", node)?;
        let name = if text.starts_with("arn:") {
            let arn = self.arn("rule::bus", node, text)?;
            self.ours("rule::bus", node, &arn)?;
            match arn.resource.strip_prefix("event-bus/") {
                Some(name) if arn.service == "events" => name,
                _ => {
                    return Err(self.fault(
                        "rule::bus",
                        span(node),
                        "this ARN names no event bus".into(),
                        Some(format!("such as {}", self.context.home.bus_arn("default"))),
                    ));
                }
            }
        } else {
            text
        };
        BusName::parse(name).map_err(|e| {
            self.bad_name(
                "rule::bus",
                span(node),
                "bus",
                name,
                e,
                "256 of A-Z a-z 0-9 . - _",
            )
        })
    }

    fn state(&mut self, members: &Members<'_, '_>) -> Take<RuleState> {
        let Some(member) = members.get("State") else {
            return Ok(RuleState::Enabled);
        };
        let text = self.text_of("State", &member.value)?;
        RuleState::parse(text).ok_or_else(|| {
            let known = [
                "ENABLED",
                "DISABLED",
                "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS",
            ];
            self.fault(
                "rule::state",
                span(&member.value),
                format!("`{text}` is no state of a rule"),
                Some(did_you_mean(text, &known)),
            )
        })
    }

    /// The codes of warnings that the rule's author has seen and wants no more of.
    fn allowed(&mut self, members: &Members<'_, '_>) -> Take<BTreeSet<&'static str>> {
        let mut allowed = BTreeSet::new();
        let Some(lint) = members.get("Lint") else {
            return Ok(allowed);
        };
        let lint = self.members(&lint.value, "Lint", &schemas::LINT)?;
        let Some(allow) = lint.get("Allow") else {
            return Ok(allowed);
        };
        let NodeKind::Array(items) = &allow.value.kind else {
            return Err(self.kind(&allow.value, "Allow", "a list of codes"));
        };
        for item in items {
            let text = self.text_of("an item of Allow", item)?;
            match CODES.into_iter().find(|code| *code == text) {
                Some(code) => allowed.insert(code),
                None => {
                    return Err(self.fault(
                        "rule::lint",
                        span(item),
                        format!("`{text}` is no warning of `busbar rules lint`"),
                        Some(did_you_mean(text, &CODES)),
                    ));
                }
            };
        }
        Ok(allowed)
    }

    /// When the rule fires by the clock. Its place is the core's to give.
    fn schedule(
        &mut self,
        members: &Members<'_, '_>,
        on_default: bool,
        state: &Take<RuleState>,
    ) -> Take<Option<Schedule>> {
        let Some(member) = members.get("ScheduleExpression") else {
            return Ok(None);
        };
        let text = self.text_of("ScheduleExpression", &member.value)?;
        let refused = match lifecycle::schedule::Schedule::parse(text) {
            Err(error) => Some((error.to_string(), error.why)),
            Ok(_) if !on_default => Some((
                "ScheduleExpression is supported only on the default event bus.".into(),
                "take EventBusName away".into(),
            )),
            Ok(_) if matches!(state, Ok(RuleState::EnabledWithCloudTrail)) => Some((
                "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS rule state is not supported with scheduled rule expressions.".into(),
                "write ENABLED".into(),
            )),
            Ok(_) => None,
        };
        match refused {
            Some((message, help)) => {
                Err(self.fault("rule::schedule", span(&member.value), message, Some(help)))
            }
            None => Ok(Some(Schedule::new(text.to_owned(), 0))),
        }
    }

    /// The pattern's text: an object's own bytes, or what a string holds. A rule with a schedule may do
    /// without.
    fn pattern(&mut self, members: &Members<'_, '_>, node: &Node<'_>) -> Take<Option<String>> {
        let missing = "Parameter(s) EventPattern or ScheduleExpression must be specified.";
        let help = "add \"EventPattern\": {\"source\": [\"my.app\"]}, or {\"source\": [{\"prefix\": \"\"}]} for everything";
        let Some(member) = members.get("EventPattern") else {
            if members.contains_key("ScheduleExpression") {
                return Ok(None);
            }
            return Err(self.fault(
                "rule::no_pattern",
                first(node),
                missing.into(),
                Some(help.into()),
            ));
        };
        let value = &member.value;
        let text = match &value.kind {
            NodeKind::Object(_) => self.text[span(value)].to_owned(),
            NodeKind::String(text) => text.to_string(),
            _ => {
                return Err(self.fault(
                    "rule::pattern",
                    span(value),
                    "EventPattern is an object, or a string that holds one".into(),
                    Some(help.into()),
                ));
            }
        };
        if text.is_empty() {
            return Err(self.fault(
                "rule::no_pattern",
                span(value),
                missing.into(),
                Some(help.into()),
            ));
        }
        let characters = text.chars().count();
        if PATTERN_CHARACTERS_MAX < characters {
            return Err(self.fault(
                "rule::pattern_length",
                span(value),
                format!(
                    "the pattern has {characters} characters, the bound is {PATTERN_CHARACTERS_MAX}"
                ),
                Some("write several rules instead, or take blanks out".into()),
            ));
        }
        let options = Options {
            complexity_limit: self.context.complexity.then_some(COMPLEXITY_MAX),
        };
        if let Err(error) = Pattern::parse_with(&text, &options) {
            let place = inside_pattern(self.text, &span(value), error.span());
            let fault = rule_engine::Diagnostic::from(&error);
            let message = format!("Event pattern is not valid. Reason: {}", fault.message);
            let help = pattern_help(&error, Dialect::Plain);
            return Err(self.fault(fault.code, place, message, Some(help)));
        }
        Ok(Some(text))
    }
}
