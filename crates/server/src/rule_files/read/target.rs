//! A rule's targets: where each leads, and how it is tried.

use super::members::{Members, Noted, Take};
use super::place::{first, span};
use super::{ARN_CHARACTERS_MAX, GROUP_CHARACTERS_MAX, HEADERS_MAX, Reader};
use crate::rule_files::schemas;
use bus_core::document::{DeadLetterConfig, Kind, RetryPolicy, Target, Webhook};
use bus_core::limits::{AGE_SECONDS_MAX, AGE_SECONDS_MIN, RETRIES_DEFAULT, TARGETS_MAX};
use bus_core::name::{Arn, BusName, LogName, QueueName, RuleName, TargetId};
use lifecycle::documents::target;
use rule_engine::json::{Node, NodeKind};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use targets::sign::Secret;
use targets::webhook::check_header;

impl Reader<'_> {
    pub(super) fn targets(
        &mut self,
        members: &Members<'_, '_>,
        bus: &BusName,
        rule: &RuleName,
    ) -> Take<BTreeMap<TargetId, Arc<Target>>> {
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
                    if targets.insert(id.clone(), Arc::new(target)).is_some() {
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
}
