//! One rule file's JSON into rules, with every refusal and its place.
//!
//! The reader goes on after a fault where it can, so that one look shows all of them; a rule with a fault is
//! left out of what it returns, and with a fault the set is refused anyway.

use super::{Context, Source, Written, schemas};
use crate::diagnostic::{Diagnostic, Severity, char_boundary, did_you_mean};
use crate::dispatcher::SECRET_OF_ENVIRONMENT;
use crate::shapers;
use bus_core::document::{
    DeadLetterConfig, InputTransformer, Kind, Origin, RetryPolicy, Rule, RuleState, Schedule,
    Target, Webhook,
};
use bus_core::limits::{AGE_SECONDS_MAX, AGE_SECONDS_MIN, RETRIES_DEFAULT, TARGETS_MAX};
use bus_core::name::{Arn, BusName, LogName, NameError, QueueName, RuleName, TargetId};
use lifecycle::condition::Dialect;
use lifecycle::documents::shape::{Member, REMARKS, pattern_help};
use lifecycle::documents::{self, Code, Trigger, json_help, span_of, target};
use rule_engine::json::{self, Node, NodeKind};
use rule_engine::lint::CODES;
use rule_engine::pattern::{COMPLEXITY_MAX, Options, Pattern};
use rule_engine::shape::InputError;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use targets::sign::Secret;
use targets::webhook::check_header;

/// Levels of a rule file: a pattern's own, and the list, rule and members around it.
const DEPTH_MAX: usize = rule_engine::pattern::DEPTH_MAX + 12;
/// Source of these bounds: eventbridge-api.md 5.1, 6.1.
const PATTERN_CHARACTERS_MAX: usize = 4_096;
const DESCRIPTION_CHARACTERS_MAX: usize = 512;
const ARN_CHARACTERS_MAX: usize = 1_600;
const INPUT_CHARACTERS_MAX: usize = 8_192;
const PATH_CHARACTERS_MAX: usize = 256;
const GROUP_CHARACTERS_MAX: usize = 100;
/// Headers of one webhook.
const HEADERS_MAX: usize = 50;

/// What a file says.
#[derive(Default)]
pub struct Read {
    pub rules: Vec<(Rule, Written)>,
    /// Rules that are triggers, with the place of each.
    pub triggers: Vec<(Trigger, Source, Range<usize>)>,
    pub queues: BTreeSet<QueueName>,
    pub faults: Vec<Diagnostic>,
    pub warnings: Vec<Diagnostic>,
    /// Webhooks named by ARN, and the fault if there is none.
    pub webhooks_named: Vec<(Kind, Diagnostic)>,
    /// Destinations named by ARN, and the fault if there is none.
    pub destinations_named: Vec<(String, Diagnostic)>,
}

/// A destination: what `api-destination/NAME` means.
pub struct Destination {
    pub name: String,
    pub webhook: Webhook,
    /// The fault if it is the second of its name.
    pub duplicate: Diagnostic,
}

/// Reads a file of a destination.
pub fn destination(
    path: &Path,
    text: &str,
    context: &Context,
) -> (Option<Destination>, Vec<Diagnostic>) {
    let source = Source {
        file: path.display().to_string(),
        text: redacted(text).into(),
    };
    let diagnostic = |code, pointer: &str, message, help| Diagnostic {
        code,
        severity: Severity::Error,
        file: source.file.clone(),
        text: source.text.clone(),
        span: span_of(text, pointer).unwrap_or(0..0),
        message,
        help,
    };
    let options = Options {
        complexity_limit: None,
    };
    let document = match documents::Destination::read(text, &options) {
        Ok(document) => document,
        Err(faults) => {
            let told = |fault: documents::Fault| Diagnostic {
                span: fault.span.unwrap_or(0..0),
                ..diagnostic(fault.code.as_str(), "", fault.message, Some(fault.help))
            };
            return (None, faults.into_iter().map(told).collect());
        }
    };
    let mut faults = Vec::new();
    if let Err(refusal) = context.egress.check_url(&document.url) {
        let message = refusal.to_string();
        let help = refusal.help();
        faults.push(diagnostic("webhook::url", "/Url", message, Some(help)));
    }
    for (name, value) in &document.headers {
        if let Err(error) = check_header(name, value) {
            let message = format!("header `{name}`: {error}");
            faults.push(diagnostic("webhook::header", "/Headers", message, None));
        }
    }
    let written = document.secret.as_deref();
    let written = written.filter(|text| !text.starts_with(SECRET_OF_ENVIRONMENT));
    if let Some(Err(error)) = written.map(Secret::parse) {
        let message = error.to_string();
        faults.push(diagnostic("webhook::secret", "/Secret", message, None));
    }
    let duplicate = diagnostic(
        "destination::duplicate",
        "/Name",
        format!("a second destination `{}`", document.name),
        Some("a destination's name is one of a kind: rename one of them".into()),
    );
    let destination = Destination {
        name: document.name,
        webhook: Webhook {
            url: document.url,
            method: Some(document.method),
            headers: document.headers,
            secret: document.secret,
        },
        duplicate,
    };
    (faults.is_empty().then_some(destination), faults)
}

/// Reads a file.
pub fn file(path: &Path, text: &str, context: &Context) -> Read {
    let source = Source {
        file: path.display().to_string(),
        text: redacted(text).into(),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut reader = Reader {
        text,
        source,
        file: format!("rules/{name}"),
        context,
        read: Read::default(),
    };
    reader.file();
    reader.read
}

/// Stars out the text of every `"Secret"`, byte for byte so that places stay, also where the rest is no JSON.
pub fn redacted(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let mut from = 0;
    while let Some(found) = text[from..].find("\"Secret\"") {
        let mut at = from + found + "\"Secret\"".len();
        from = at;
        while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\r' | b'\n' | b':')) {
            at += 1;
        }
        if bytes.get(at) != Some(&b'"') {
            continue;
        }
        at += 1;
        while !matches!(bytes.get(at), None | Some(b'"' | b'\n')) {
            let width = if bytes[at] == b'\\' { 2 } else { 1 };
            for _ in 0..width {
                if at < bytes.len() && bytes[at] != b'\n' {
                    bytes[at] = b'*';
                    at += 1;
                }
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

struct Reader<'a> {
    text: &'a str,
    source: Source,
    /// As `rules/FILE.json`.
    file: String,
    context: &'a Context,
    read: Read,
}

/// A fault was noted; what it stood in has no value.
struct Noted;

type Take<T> = Result<T, Noted>;
type Members<'n, 't> = BTreeMap<&'n str, &'n json::Member<'t>>;

impl Reader<'_> {
    fn file(&mut self) {
        let text = self.text;
        let root = match json::parse(text, DEPTH_MAX) {
            Ok(root) => root,
            Err(error) => {
                let rest = &text[char_boundary(text, error.offset)..];
                let length = rest.chars().next().map_or(0, char::len_utf8);
                let help = json_help(text, error.offset).map(Into::into);
                self.fault(
                    "json::syntax",
                    error.offset..error.offset + length,
                    format!("not a JSON text: {}", error.kind),
                    help,
                );
                return;
            }
        };
        match &root.kind {
            NodeKind::Object(_) => self.rule(&root),
            NodeKind::Array(items) => items.iter().for_each(|item| self.rule(item)),
            _ => {
                let _ = self.fault(
                    "rule::shape",
                    span(&root),
                    "a rule file holds one rule (an object) or a list of rules".into(),
                    None,
                );
            }
        }
    }

    /// Reads one rule. The faults of a trigger have the codes of operator documents, each is told once.
    fn rule(&mut self, node: &Node<'_>) {
        let before = self.read.faults.len();
        self.rule_of(node);
        let NodeKind::Object(members) = &node.kind else {
            return;
        };
        if !members
            .iter()
            .any(|it| it.name == "Trigger" || it.name == "Actions")
        {
            return;
        }
        // Of two readers' words the one that knows a way out.
        let mut told = BTreeMap::<_, Diagnostic>::new();
        for mut fault in self.read.faults.split_off(before) {
            fault.code = code_of_document(fault.code);
            let known = told.get(&(fault.span.start, fault.code));
            if known.is_none_or(|known| known.help.is_none()) {
                told.insert((fault.span.start, fault.code), fault);
            }
        }
        self.read.faults.extend(told.into_values());
    }

    fn rule_of(&mut self, node: &Node<'_>) {
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

    fn targets(
        &mut self,
        members: &Members<'_, '_>,
        bus: &BusName,
        rule: &RuleName,
    ) -> Take<BTreeMap<TargetId, Target>> {
        let mut targets = BTreeMap::new();
        let Some(member) = members.get("Targets") else {
            return Ok(targets);
        };
        let NodeKind::Array(items) = &member.value.kind else {
            return Err(self.fault(
                "target::shape",
                span(&member.value),
                "Targets is a list of targets".into(),
                Some("write them in [ ]".into()),
            ));
        };
        if TARGETS_MAX < items.len() {
            return Err(self.fault(
                "target::count",
                member.name_start..member.name_end,
                format!(
                    "the rule has {} targets, the bound is {TARGETS_MAX}",
                    items.len()
                ),
                Some("write a second rule with the same pattern".into()),
            ));
        }
        let mut noted = false;
        for item in items {
            match self.target(item, bus, rule) {
                Ok((id_span, target)) => {
                    let id = target.id.clone();
                    if targets.insert(id.clone(), target).is_some() {
                        self.fault(
                            "target::duplicate",
                            id_span,
                            format!("a second target `{id}` of this rule"),
                            Some("an Id is one of a kind in its rule".into()),
                        );
                        noted = true;
                    }
                }
                Err(Noted) => noted = true,
            }
        }
        if noted { Err(Noted) } else { Ok(targets) }
    }

    fn target(
        &mut self,
        node: &Node<'_>,
        bus: &BusName,
        rule: &RuleName,
    ) -> Take<(Range<usize>, Target)> {
        let members = self.members(node, "a target", &schemas::TARGET_MEMBERS)?;
        let id_node = self.required(&members, node, "Id", "a target")?;
        let text = self.text_of("Id", id_node)?;
        let id = TargetId::parse(text).map_err(|e| {
            self.bad_name(
                "target::id",
                span(id_node),
                "target",
                text,
                e,
                "64 of A-Z a-z 0-9 . - _",
            )
        })?;
        let (arn, webhook) = self.destination(&members, node, bus, rule, &id)?;
        let mut target = Target::new(id, arn);
        target.webhook = webhook;
        let input = self.input(&members, &mut target);
        let retry = self.retry(&members);
        let dead_letter = self.dead_letter(&members);
        let shown = self.shown(&members);
        input?;
        target.retry_policy = retry?;
        target.dead_letter_config = dead_letter?;
        target.shown = shown?;
        Ok((span(id_node), target))
    }

    fn destination(
        &mut self,
        members: &Members<'_, '_>,
        node: &Node<'_>,
        bus: &BusName,
        rule: &RuleName,
        id: &TargetId,
    ) -> Take<(String, Option<Webhook>)> {
        let given: Vec<_> = ["Arn", "Queue", "Log", "Webhook"]
            .into_iter()
            .filter_map(|name| members.get(name))
            .collect();
        let member = match given.as_slice() {
            [one] => *one,
            [] => {
                return Err(self.fault(
                    "target::destination",
                    first(node),
                    "a target needs one of Arn, Queue, Log, Webhook".into(),
                    Some("such as \"Queue\": {\"Name\": \"orders\"}".into()),
                ));
            }
            [_, second, ..] => {
                return Err(self.fault(
                    "target::destination",
                    second.name_start..second.name_end,
                    "a target has only one of Arn, Queue, Log, Webhook".into(),
                    Some("write a second target".into()),
                ));
            }
        };
        let home = &self.context.home;
        match &*member.name {
            "Queue" => {
                let queue = self.queue_name(&member.value)?;
                let arn = home.queue_arn(queue.as_str());
                self.read.queues.insert(queue);
                Ok((arn, None))
            }
            "Log" => {
                let (text, place) = self.only_name(&member.value, "Log")?;
                let log = LogName::parse(&text).map_err(|e| {
                    self.bad_name(
                        "target::log",
                        place,
                        "log",
                        &text,
                        e,
                        "512 of A-Z a-z 0-9 . - _ / #",
                    )
                })?;
                Ok((home.log_arn(log.as_str()), None))
            }
            "Webhook" => {
                let webhook = self.webhook(&member.value)?;
                let arn = home.webhook_arn(bus.as_str(), rule.as_str(), id.as_str());
                Ok((arn, Some(webhook)))
            }
            _ => Ok((self.target_arn(&member.value)?, None)),
        }
    }

    fn queue_name(&mut self, node: &Node<'_>) -> Take<QueueName> {
        let (text, place) = self.only_name(node, "Queue")?;
        QueueName::parse(&text).map_err(|e| {
            if text.ends_with(".fifo") {
                return self.fifo("target::queue", place);
            }
            self.bad_name(
                "target::queue",
                place,
                "queue",
                &text,
                e,
                "80 of A-Z a-z 0-9 - _",
            )
        })
    }

    fn fifo(&mut self, code: &'static str, place: Range<usize>) -> Noted {
        self.fault(
            code,
            place,
            "FIFO queues come with a later version".into(),
            Some("name a standard queue, without `.fifo`".into()),
        )
    }

    /// `{"Name": "…"}`.
    fn only_name(&mut self, node: &Node<'_>, what: &str) -> Take<(String, Range<usize>)> {
        let members = self.members(node, what, &schemas::ONLY_NAME)?;
        let name = self.required(&members, node, "Name", what)?;
        Ok((self.text_of("Name", name)?.to_owned(), span(name)))
    }

    fn target_arn(&mut self, node: &Node<'_>) -> Take<String> {
        let text = self
            .bounded_text("Arn", node, 1, ARN_CHARACTERS_MAX)?
            .to_owned();
        let arn = self.arn("target::arn", node, &text)?;
        if ["sqs", "logs", "events"].contains(&arn.service) {
            self.ours("target::arn", node, &arn)?;
        }
        match Kind::of(&text, &self.context.home) {
            Kind::Queue(queue) => {
                self.read.queues.insert(queue);
            }
            Kind::Log(_) => {}
            kind @ Kind::Webhook(..) => {
                let fault = self.diagnostic(
                    "target::arn",
                    span(node),
                    "no webhook of these files has this ARN".into(),
                    Some("it names BUS, RULE and Id of a target with a Webhook; BUS is left out for `default`".into()),
                );
                self.read.webhooks_named.push((kind, fault));
            }
            Kind::Internal => {
                let message = "this target is the bus's own".into();
                return Err(self.fault("target::arn", span(node), message, None));
            }
            Kind::Destination(name) => {
                let fault = self.diagnostic(
                    "target::arn",
                    span(node),
                    format!("there is no destination `{name}`"),
                    None,
                );
                self.read.destinations_named.push((name, fault));
            }
            Kind::Unknown if arn.service == "sqs" && arn.resource.ends_with(".fifo") => {
                return Err(self.fifo("target::arn", span(node)));
            }
            Kind::Unknown if ["sqs", "logs"].contains(&arn.service) => {
                let message = format!("`{}` names no queue or log", arn.resource);
                let help = format!(
                    "such as {} or {}",
                    self.context.home.queue_arn("orders"),
                    self.context.home.log_arn("audit")
                );
                return Err(self.fault("target::arn", span(node), message, Some(help)));
            }
            Kind::Unknown => {
                let message = match arn.service {
                    "events" => "event buses as targets come with a later version".into(),
                    service => format!("Targets of service {service} are not available on Busbar."),
                };
                let help = "use a Queue, a Log or a Webhook";
                return Err(self.fault("target::arn", span(node), message, Some(help.into())));
            }
        }
        Ok(text)
    }

    fn webhook(&mut self, node: &Node<'_>) -> Take<Webhook> {
        let members = self.members(node, "Webhook", &schemas::WEBHOOK)?;
        let url_node = self.required(&members, node, "Url", "Webhook")?;
        let url = self.text_of("Url", url_node)?.to_owned();
        let mut noted = false;
        if let Err(refusal) = self.context.egress.check_url(&url) {
            let message = refusal.to_string();
            let help = refusal.help();
            let help = help
                .strip_prefix(&message)
                .map(|rest| rest.trim_start_matches([':', ';', ' ']).to_owned());
            let help = help.filter(|help| !help.is_empty());
            self.fault("webhook::url", span(url_node), message, help);
            noted = true;
        }
        let method = match members.get("Method") {
            None => None,
            Some(member) => {
                let text = self.text_of("Method", &member.value)?;
                if !["POST", "PUT"].contains(&text) {
                    self.fault(
                        "webhook::method",
                        span(&member.value),
                        format!("`{text}` is no method of a webhook"),
                        Some("POST or PUT".into()),
                    );
                    noted = true;
                }
                Some(text.to_owned())
            }
        };
        let headers = match members.get("Headers") {
            None => Ok(BTreeMap::new()),
            Some(member) => self.headers(&member.value),
        };
        let secret = match members.get("Secret") {
            None => None,
            Some(member) => {
                let text = self.text_of("Secret", &member.value)?;
                if let Err(error) = Secret::parse(text) {
                    self.fault(
                        "webhook::secret",
                        span(&member.value),
                        error.to_string(),
                        None,
                    );
                    noted = true;
                }
                Some(text.to_owned())
            }
        };
        let headers = headers?;
        if noted {
            return Err(Noted);
        }
        Ok(Webhook {
            url,
            method,
            headers,
            secret,
        })
    }

    fn headers(&mut self, node: &Node<'_>) -> Take<BTreeMap<String, String>> {
        let members = self.any_members(node, "Headers")?;
        let mut headers = BTreeMap::new();
        if HEADERS_MAX < members.len() {
            return Err(self.fault(
                "webhook::header",
                first(node),
                format!("{} headers, the bound is {HEADERS_MAX}", members.len()),
                None,
            ));
        }
        let mut noted = false;
        for (name, member) in members {
            let value = self.text_of(name, &member.value)?;
            match check_header(name, value) {
                Ok(_) => {
                    headers.insert(name.to_owned(), value.to_owned());
                }
                Err(error) => {
                    let place = match error {
                        targets::webhook::HeaderError::Value => span(&member.value),
                        _ => member.name_start..member.name_end,
                    };
                    self.fault(
                        "webhook::header",
                        place,
                        format!("header `{name}`: {error}"),
                        None,
                    );
                    noted = true;
                }
            }
        }
        if noted { Err(Noted) } else { Ok(headers) }
    }

    fn input(&mut self, members: &Members<'_, '_>, target: &mut Target) -> Take<()> {
        let given: Vec<_> = ["Input", "InputPath", "InputTransformer"]
            .into_iter()
            .filter_map(|name| members.get(name))
            .collect();
        let member = match given.as_slice() {
            [] => return Ok(()),
            [one] => *one,
            [_, second, ..] => {
                return Err(self.fault(
                    "target::input",
                    second.name_start..second.name_end,
                    format!(
                        "Only one of Input, InputPath, or InputTransformer must be provided for target {}.",
                        target.id
                    ),
                    None,
                ));
            }
        };
        let value = &member.value;
        // Where offsets of the shaper's faults lie.
        let mut text_node = value;
        match &*member.name {
            "Input" => {
                if !matches!(value.kind, NodeKind::String(_)) {
                    let escaped =
                        serde_json::to_string(&self.text[span(value)]).unwrap_or_default();
                    return Err(self.fault(
                        "target::input",
                        span(value),
                        "Input is a string that holds one JSON text".into(),
                        (escaped.len() <= 200).then(|| format!("write it as {escaped}")),
                    ));
                }
                let text = self.bounded_text("Input", value, 0, INPUT_CHARACTERS_MAX)?;
                target.input = Some(text.to_owned());
            }
            "InputPath" => {
                let text = self.bounded_text("InputPath", value, 0, PATH_CHARACTERS_MAX)?;
                target.input_path = Some(text.to_owned());
            }
            _ => {
                let inner = self.members(value, "InputTransformer", &target::TRANSFORMER)?;
                text_node = self.required(&inner, value, "InputTemplate", "InputTransformer")?;
                let template =
                    self.bounded_text("InputTemplate", text_node, 0, INPUT_CHARACTERS_MAX)?;
                let mut paths = Map::new();
                if let Some(map) = inner.get("InputPathsMap") {
                    for (name, path) in self.any_members(&map.value, "InputPathsMap")? {
                        let text = self.bounded_text(name, &path.value, 0, PATH_CHARACTERS_MAX)?;
                        paths.insert(name.to_owned(), text.into());
                    }
                }
                target.input_transformer = Some(InputTransformer {
                    input_paths_map: paths,
                    input_template: template.to_owned(),
                });
            }
        }
        match shapers::compile(target, self.context.placeholders) {
            Ok(shaper) => {
                for warning in shaper.warnings() {
                    let at = warning.offset_in_template();
                    let place = self.inside(text_node, at..at + 1);
                    let mut diagnostic =
                        self.diagnostic("input::warning", place, warning.to_string(), None);
                    diagnostic.severity = Severity::Warning;
                    self.read.warnings.push(diagnostic);
                }
                Ok(())
            }
            Err(error) => {
                let place = match (&error, error.offset_in_template()) {
                    (_, Some(at)) => self.inside(text_node, at..at + 1),
                    (InputError::Path { path, .. }, None) => path_place(value, path),
                    _ => span(value),
                };
                let message = match &error {
                    InputError::TemplateEmpty => "InputTemplate is empty".into(),
                    InputError::Key { .. } => {
                        "a name of InputPathsMap has 1 to 256 of A-Z a-z 0-9 _ -".into()
                    }
                    InputError::PathsCount { .. } => "InputPathsMap has at most 100 entries".into(),
                    error => error.to_string(),
                };
                Err(self.fault(
                    "target::input",
                    place,
                    message,
                    error.help().map(Into::into),
                ))
            }
        }
    }

    fn retry(&mut self, members: &Members<'_, '_>) -> Take<Option<RetryPolicy>> {
        let Some(member) = members.get("RetryPolicy") else {
            return Ok(None);
        };
        let inner = self.members(&member.value, "RetryPolicy", &target::RETRY)?;
        let attempts = self.whole_number(&inner, "MaximumRetryAttempts", 0, RETRIES_DEFAULT);
        let age = self.whole_number(
            &inner,
            "MaximumEventAgeInSeconds",
            AGE_SECONDS_MIN,
            AGE_SECONDS_MAX,
        );
        Ok(Some(RetryPolicy {
            maximum_retry_attempts: attempts?,
            maximum_event_age_in_seconds: age?,
        }))
    }

    fn dead_letter(&mut self, members: &Members<'_, '_>) -> Take<Option<DeadLetterConfig>> {
        let Some(member) = members.get("DeadLetterConfig") else {
            return Ok(None);
        };
        let inner = self.members(&member.value, "DeadLetterConfig", &target::DEAD_LETTER)?;
        let Some(arn_member) = inner.get("Arn") else {
            return Ok(Some(DeadLetterConfig { arn: None }));
        };
        let node = &arn_member.value;
        let text = self
            .bounded_text("Arn", node, 1, ARN_CHARACTERS_MAX)?
            .to_owned();
        let queue = Arn::parse(&text).and_then(|arn| arn.queue());
        let Some(queue) = queue else {
            let help = format!("such as {}", self.context.home.queue_arn("my-dead-letters"));
            return Err(self.fault(
                "target::dead_letter",
                span(node),
                "Parameter DeadLetterConfig.Arn is not valid. Reason: The dead-letter queue must be a standard SQS queue.".into(),
                Some(help),
            ));
        };
        let arn = self.arn("target::dead_letter", node, &text)?;
        self.ours("target::dead_letter", node, &arn)?;
        self.read.queues.insert(queue);
        Ok(Some(DeadLetterConfig { arn: Some(text) }))
    }

    /// Members that are stored and shown.
    fn shown(&mut self, members: &Members<'_, '_>) -> Take<Map<String, Value>> {
        let mut shown = Map::new();
        if let Some(role) = self.optional_text(members, "RoleArn", 1, ARN_CHARACTERS_MAX)? {
            shown.insert("RoleArn".into(), role.into());
        }
        if let Some(member) = members.get("SqsParameters") {
            let inner = self.members(&member.value, "SqsParameters", &target::SQS)?;
            self.optional_text(&inner, "MessageGroupId", 0, GROUP_CHARACTERS_MAX)?;
            shown.insert("SqsParameters".into(), self.value(&member.value));
        }
        if let Some(member) = members.get("HttpParameters") {
            let inner = self.members(&member.value, "HttpParameters", &target::HTTP)?;
            if let Some(values) = inner.get("PathParameterValues") {
                let NodeKind::Array(items) = &values.value.kind else {
                    return Err(self.kind(
                        &values.value,
                        "PathParameterValues",
                        "a list of strings",
                    ));
                };
                for item in items {
                    self.text_of("an item of PathParameterValues", item)?;
                }
            }
            for name in ["HeaderParameters", "QueryStringParameters"] {
                if let Some(map) = inner.get(name) {
                    for (key, value) in self.any_members(&map.value, name)? {
                        self.bounded_text(key, &value.value, 0, 512)?;
                    }
                }
            }
            shown.insert("HttpParameters".into(), self.value(&member.value));
        }
        Ok(shown)
    }

    fn value(&self, node: &Node<'_>) -> Value {
        serde_json::from_str(&self.text[span(node)]).expect("it was parsed before")
    }

    // What follows knows JSON, not rules.

    fn members<'n, 't>(
        &mut self,
        node: &'n Node<'t>,
        what: &str,
        known: &[Member],
    ) -> Take<Members<'n, 't>> {
        let members = self.any_members(node, what)?;
        let known: Vec<&str> = known.iter().chain(&REMARKS).map(|it| it.name).collect();
        let mut noted = false;
        for (name, member) in &members {
            if !known.contains(name) {
                self.fault(
                    "rule::unknown_member",
                    member.name_start..member.name_end,
                    format!("unknown member `{name}` of {what}"),
                    Some(did_you_mean(name, &known)),
                );
                noted = true;
            }
        }
        if noted { Err(Noted) } else { Ok(members) }
    }

    fn any_members<'n, 't>(&mut self, node: &'n Node<'t>, what: &str) -> Take<Members<'n, 't>> {
        let NodeKind::Object(list) = &node.kind else {
            return Err(self.kind(node, what, "an object"));
        };
        let mut members = Members::new();
        let mut noted = false;
        for member in list {
            if members.insert(&*member.name, member).is_some() {
                self.fault(
                    "rule::duplicate_member",
                    member.name_start..member.name_end,
                    format!("a second `{}`", member.name),
                    Some("a member may stand only once".into()),
                );
                noted = true;
            }
        }
        if noted { Err(Noted) } else { Ok(members) }
    }

    fn required<'n, 't>(
        &mut self,
        members: &Members<'n, 't>,
        node: &Node<'_>,
        name: &str,
        what: &str,
    ) -> Take<&'n Node<'t>> {
        members.get(name).map(|m| &m.value).ok_or_else(|| {
            self.fault(
                "rule::missing_member",
                first(node),
                format!("`{name}` is missing in {what}"),
                None,
            )
        })
    }

    fn text_of<'n>(&mut self, name: &str, node: &'n Node<'_>) -> Take<&'n str> {
        match &node.kind {
            NodeKind::String(text) => Ok(text),
            _ => Err(self.kind(node, name, "a string")),
        }
    }

    fn bounded_text<'n>(
        &mut self,
        name: &str,
        node: &'n Node<'_>,
        min: usize,
        max: usize,
    ) -> Take<&'n str> {
        let text = self.text_of(name, node)?;
        let characters = text.chars().count();
        if (min..=max).contains(&characters) {
            return Ok(text);
        }
        Err(self.fault(
            "rule::length",
            span(node),
            format!("`{name}` has {characters} characters; {min} to {max} are allowed"),
            None,
        ))
    }

    fn optional_text(
        &mut self,
        members: &Members<'_, '_>,
        name: &str,
        min: usize,
        max: usize,
    ) -> Take<Option<String>> {
        match members.get(name) {
            None => Ok(None),
            Some(member) => {
                let text = self.bounded_text(name, &member.value, min, max)?;
                Ok(Some(text.to_owned()))
            }
        }
    }

    fn whole_number(
        &mut self,
        members: &Members<'_, '_>,
        name: &str,
        min: u32,
        max: u32,
    ) -> Take<Option<u32>> {
        let Some(member) = members.get(name) else {
            return Ok(None);
        };
        let number = match &member.value.kind {
            NodeKind::Number(text) => text.parse::<u32>().ok(),
            _ => None,
        };
        match number {
            Some(number) if (min..=max).contains(&number) => Ok(Some(number)),
            _ => Err(self.fault(
                "rule::number",
                span(&member.value),
                format!("`{name}` is a whole number from {min} to {max}"),
                None,
            )),
        }
    }

    fn arn<'t>(&mut self, code: &'static str, node: &Node<'_>, text: &'t str) -> Take<Arn<'t>> {
        Arn::parse(text).ok_or_else(|| {
            self.fault(
                code,
                span(node),
                "Parameter ARN is not valid. Reason: Provided Arn is not in correct format.".into(),
                Some(
                    "arn:aws:SERVICE:REGION:ACCOUNT:RESOURCE, the account of twelve digits".into(),
                ),
            )
        })
    }

    fn ours(&mut self, code: &'static str, node: &Node<'_>, arn: &Arn<'_>) -> Take<()> {
        let home = &self.context.home;
        if home.owns(arn) {
            return Ok(());
        }
        let (account, region) = (arn.account, arn.region);
        let mut flags = Vec::new();
        if account != home.account {
            flags.push(format!("--account {account}"));
        }
        if region != home.region {
            flags.push(format!("--region {region}"));
        }
        let message = format!(
            "this ARN is of account {account} and region {region}; this server is {} in {}",
            home.account, home.region
        );
        let help = format!("change the ARN, or start busbar with {}", flags.join(" "));
        Err(self.fault(code, span(node), message, Some(help)))
    }

    fn bad_name(
        &mut self,
        code: &'static str,
        place: Range<usize>,
        what: &str,
        text: &str,
        error: NameError,
        allowed: &str,
    ) -> Noted {
        self.fault(
            code,
            place,
            format!("`{text}` is no name of a {what}: {error}"),
            Some(format!("1 to {allowed}")),
        )
    }

    fn kind(&mut self, node: &Node<'_>, name: &str, wanted: &str) -> Noted {
        let found = match &node.kind {
            NodeKind::Object(_) => "an object",
            NodeKind::Array(_) => "a list",
            NodeKind::String(_) => "a string",
            NodeKind::Number(_) => "a number",
            NodeKind::True | NodeKind::False => "a boolean",
            NodeKind::Null => "null",
        };
        self.fault(
            "rule::kind",
            span(node),
            format!("{name} is {wanted}, not {found}"),
            None,
        )
    }

    /// Bytes of the file that hold `inside` of the text of a string.
    fn inside(&self, node: &Node<'_>, inside: Range<usize>) -> Range<usize> {
        if !matches!(node.kind, NodeKind::String(_)) {
            return span(node);
        }
        inside_string(self.text, &span(node), inside)
    }

    fn diagnostic(
        &self,
        code: &'static str,
        place: Range<usize>,
        message: String,
        help: Option<String>,
    ) -> Diagnostic {
        Diagnostic {
            code,
            severity: Severity::Error,
            file: self.source.file.clone(),
            text: self.source.text.clone(),
            span: place,
            message,
            help,
        }
    }

    fn fault(
        &mut self,
        code: &'static str,
        place: Range<usize>,
        message: String,
        help: Option<String>,
    ) -> Noted {
        let fault = self.diagnostic(code, place, message, help);
        self.read.faults.push(fault);
        Noted
    }
}

/// What certificate-lifecycle.md 6.5 calls a fault of a rule.
fn code_of_document(code: &'static str) -> &'static str {
    let code_of_ours = match code {
        "rule::missing_member" => Code::MemberMissing,
        "rule::unknown_member" | "rule::duplicate_member" => Code::MemberUnknown,
        "rule::kind" | "rule::state" | "target::shape" => Code::MemberType,
        "rule::name" | "target::id" => Code::NameMalformed,
        other => return other,
    };
    code_of_ours.as_str()
}

fn span(node: &Node<'_>) -> Range<usize> {
    node.start..node.end
}

/// The bracket that opens an object: where something is missing in it.
fn first(node: &Node<'_>) -> Range<usize> {
    node.start..node.start + 1
}

/// Bytes of a file that hold `inside` of the pattern that is written at `place`, as object or string.
pub(super) fn inside_pattern(
    text: &str,
    place: &Range<usize>,
    inside: Range<usize>,
) -> Range<usize> {
    if text[place.clone()].starts_with('"') {
        return inside_string(text, place, inside);
    }
    place.start + inside.start..place.start + inside.end
}

/// Bytes of a file that hold `inside` of what the JSON string at `place` means.
fn inside_string(text: &str, place: &Range<usize>, inside: Range<usize>) -> Range<usize> {
    let raw = &text[place.start + 1..place.end - 1];
    let start = place.start + 1 + raw_offset(raw, inside.start);
    let end = place.start + 1 + raw_offset(raw, inside.end);
    start..end.max(start)
}

/// Where in the raw text of a JSON string the byte `offset` of its meaning is written.
fn raw_offset(raw: &str, offset: usize) -> usize {
    let (mut at, mut meant) = (0, 0);
    while meant < offset && at < raw.len() {
        let rest = &raw[at..];
        let (width, bytes) = match rest.strip_prefix("\\u") {
            Some(hex) => {
                let code = u32::from_str_radix(hex.get(..4).unwrap_or("0"), 16).unwrap_or(0);
                // The two halves of a pair are one character of four bytes.
                match char::from_u32(code) {
                    Some(character) => (6, character.len_utf8()),
                    None => (12, 4),
                }
            }
            None if rest.starts_with('\\') => (2, 1),
            None => {
                let width = rest.chars().next().map_or(1, char::len_utf8);
                (width, width)
            }
        };
        at += width;
        meant += bytes;
    }
    at.min(raw.len())
}

/// Where a path that was refused is written: a value of the map, or the `InputPath` itself.
fn path_place(node: &Node<'_>, path: &str) -> Range<usize> {
    let found = |n: &Node<'_>| match &n.kind {
        NodeKind::String(text) if text == path => Some(span(n)),
        _ => None,
    };
    let in_map = match &node.kind {
        NodeKind::Object(members) => members
            .iter()
            .filter(|m| m.name == "InputPathsMap")
            .find_map(|m| match &m.value.kind {
                NodeKind::Object(paths) => paths.iter().find_map(|p| found(&p.value)),
                _ => None,
            }),
        _ => None,
    };
    in_map.unwrap_or(span(node))
}
