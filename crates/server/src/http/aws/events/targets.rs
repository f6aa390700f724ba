//! Targets of a rule: put, removed, listed, found by ARN.
//!
//! A whole call is checked, row by row of eventbridge-api.md 6.2, before anything is stored. Targets of a kind
//! that is not available fail alone (`FailedEntries`); the others of the call are stored.

use super::members::Object;
use super::paging::{List, Paging};
use super::rules::{find, rule_name};
use super::{Fault, ask, bus_of, hint_at_force, rules_of};
use crate::http::Doors;
use crate::http::aws::constraints::{ARN, BUS_NAME_OR_ARN, Constraints, NAME, Text};
use bus_core::core::{Answer, Control, TargetRefusal};
use bus_core::document::{DeadLetterConfig, InputTransformer, Kind, RetryPolicy, Target};
use bus_core::limits::{AGE_SECONDS_MAX, AGE_SECONDS_MIN, RETRIES_DEFAULT};
use bus_core::name::{Arn, BusName, Home, RuleName, TargetId};
use rule_engine::shape::{Input, Options, Shaper};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Targets of one `PutTargets`, ids of one `RemoveTargets`. Source: the API's model.
const PER_CALL: (usize, usize) = (1, 100);
const INPUT: Text = Text::of(0, 8192);
const INPUT_PATH: Text = Text::of(0, 256);
/// An empty template is told by the shaper.
const TEMPLATE: Text = Text::of(0, 8192);
const GROUP_ID: Text = Text::of(0, 100);
const HTTP_TEXT: Text = Text::of(0, 512);
const PATH_PARAMETER: Text = Text::like(0, usize::MAX, r"^(?!\s*$).+", |value| {
    !value.trim().is_empty()
});
/// Members that are stored and shown as they are.
const SHOWN: [&str; 9] = [
    "KinesisParameters",
    "RunCommandParameters",
    "EcsParameters",
    "BatchParameters",
    "SqsParameters",
    "HttpParameters",
    "RedshiftDataParameters",
    "SageMakerPipelineParameters",
    "AppSyncParameters",
];

type GivenText<'b> = Option<Cow<'b, str>>;

/// A target as it was put, its types read.
struct Given<'b> {
    id: GivenText<'b>,
    arn: GivenText<'b>,
    role: GivenText<'b>,
    input: GivenText<'b>,
    path: GivenText<'b>,
    transformer: Option<Transformer<'b>>,
    dead_letters: Option<GivenText<'b>>,
    retry: Option<[Option<i64>; 2]>,
    group: GivenText<'b>,
    http: HttpParameters<'b>,
    shown: Map<String, Value>,
}

struct Transformer<'b> {
    /// Names and paths, and whether there is a map at all.
    paths: Vec<(String, String)>,
    template: GivenText<'b>,
}

#[derive(Default)]
struct HttpParameters<'b> {
    path: Vec<Cow<'b, str>>,
    headers: Vec<(String, String)>,
    query: Vec<(String, String)>,
}

impl<'b> Given<'b> {
    fn of(target: &Object<'b>) -> Result<Self, Fault> {
        let mut shown = Map::new();
        for name in SHOWN {
            if let Some(value) = target.value(name)? {
                shown.insert(name.into(), value);
            }
        }
        let transformer = match target.object("InputTransformer")? {
            None => None,
            Some(transformer) => Some(Transformer {
                paths: map(&transformer, "InputPathsMap")?,
                template: transformer.text("InputTemplate")?,
            }),
        };
        let dead_letters = match target.object("DeadLetterConfig")? {
            None => None,
            Some(config) => Some(config.text("Arn")?),
        };
        let retry = match target.object("RetryPolicy")? {
            None => None,
            Some(policy) => Some([
                policy.integer("MaximumRetryAttempts")?,
                policy.integer("MaximumEventAgeInSeconds")?,
            ]),
        };
        let group = match target.object("SqsParameters")? {
            None => None,
            Some(parameters) => parameters.text("MessageGroupId")?,
        };
        let http = match target.object("HttpParameters")? {
            None => HttpParameters::default(),
            Some(parameters) => HttpParameters {
                path: parameters.texts("PathParameterValues")?.unwrap_or_default(),
                headers: map(&parameters, "HeaderParameters")?,
                query: map(&parameters, "QueryStringParameters")?,
            },
        };
        Ok(Self {
            id: target.text("Id")?,
            arn: target.text("Arn")?,
            role: target.text("RoleArn")?,
            input: target.text("Input")?,
            path: target.text("InputPath")?,
            transformer,
            dead_letters,
            retry,
            group,
            http,
            shown,
        })
    }

    /// What the model says, for the target at place `n` (from 1) of the call.
    fn check(&self, n: usize, constraints: &mut Constraints) {
        let at = |name: &'static str| format!("targets.{n}.member.{name}");
        constraints.required_text(at("id"), self.id.as_deref(), &NAME);
        constraints.required_text(at("arn"), self.arn.as_deref(), &ARN);
        constraints.text(at("roleArn"), self.role.as_deref(), &ARN);
        constraints.text(at("input"), self.input.as_deref(), &INPUT);
        constraints.text(at("inputPath"), self.path.as_deref(), &INPUT_PATH);
        if let Some(transformer) = &self.transformer {
            transformer.check(n, constraints);
        }
        constraints.text(
            at("sqsParameters.messageGroupId"),
            self.group.as_deref(),
            &GROUP_ID,
        );
        for value in &self.http.path {
            let path = at("httpParameters.pathParameterValues");
            constraints.text(path, Some(value), &PATH_PARAMETER);
        }
        let maps = [
            ("httpParameters.headerParameters", &self.http.headers),
            ("httpParameters.queryStringParameters", &self.http.query),
        ];
        for (name, map) in maps {
            for (key, value) in map {
                let path = format_args!("targets.{n}.member.{name}.{key}.member");
                constraints.text(path, Some(value), &HTTP_TEXT);
            }
        }
        let arn = self.dead_letters.as_ref().and_then(Option::as_deref);
        constraints.text(at("deadLetterConfig.arn"), arn, &ARN);
        let [retries, age] = self.retry.unwrap_or_default();
        let path = at("retryPolicy.maximumRetryAttempts");
        constraints.range(path, retries, 0, RETRIES_DEFAULT.into());
        let path = at("retryPolicy.maximumEventAgeInSeconds");
        constraints.range(path, age, AGE_SECONDS_MIN.into(), AGE_SECONDS_MAX.into());
    }

    fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_default()
    }

    fn arn(&self) -> &str {
        self.arn.as_deref().unwrap_or_default()
    }

    /// How many of the three input members say something. An empty `Input` does not (7.1).
    fn inputs(&self) -> usize {
        usize::from(self.input.as_deref().is_some_and(|text| !text.is_empty()))
            + usize::from(self.path.is_some())
            + usize::from(self.transformer.is_some())
    }

    /// The document, after the model's checks.
    fn into_target(self) -> Target {
        let id = TargetId::parse(self.id()).expect("the model's checks are the id's");
        let mut shown = self.shown;
        if let Some(role) = self.role {
            shown.insert("RoleArn".into(), role.into_owned().into());
        }
        // The ranges were checked, and they are those of a `u32`.
        let number = |value: Option<i64>| value.and_then(|value| u32::try_from(value).ok());
        Target {
            input: self.input.map(Cow::into_owned),
            input_path: self.path.map(Cow::into_owned),
            input_transformer: self.transformer.map(|transformer| InputTransformer {
                input_paths_map: transformer
                    .paths
                    .into_iter()
                    .map(|(name, path)| (name, path.into()))
                    .collect(),
                input_template: transformer.template.unwrap_or_default().into_owned(),
            }),
            retry_policy: self.retry.map(|[retries, age]| RetryPolicy {
                maximum_retry_attempts: number(retries),
                maximum_event_age_in_seconds: number(age),
            }),
            dead_letter_config: self.dead_letters.map(|arn| DeadLetterConfig {
                arn: arn.map(Cow::into_owned),
            }),
            shown,
            ..Target::new(id, self.arn.unwrap_or_default().into_owned())
        }
    }
}

impl Transformer<'_> {
    fn check(&self, n: usize, constraints: &mut Constraints) {
        let path = format!("targets.{n}.member.inputTransformer");
        for (name, value) in &self.paths {
            let path = format_args!("{path}.inputPathsMap.{name}.member");
            constraints.text(path, Some(value), &INPUT_PATH);
        }
        let path = format!("{path}.inputTemplate");
        constraints.required(&path, self.template.as_deref());
        constraints.text(&path, self.template.as_deref(), &TEMPLATE);
        let input = Input::Transformer {
            paths: &self.paths,
            template: self.template.as_deref().unwrap_or("{}"),
        };
        // Only its faults of the model are looked at here, in which no id stands.
        let compiled = Shaper::compile(&input, "", &Options::default());
        let clause = compiled.err().and_then(|error| error.constraint(n));
        if let Some(clause) = clause {
            constraints.clause(clause);
        }
    }
}

/// A map of strings; of a doubled key, which no call can have, nothing is said here.
fn map(object: &Object<'_>, name: &str) -> Result<Vec<(String, String)>, Fault> {
    let Some(map) = object.object(name)? else {
        return Ok(Vec::new());
    };
    let names: Vec<String> = map.all().map(|(name, _)| name.to_owned()).collect();
    let read = |name: String| {
        let text = map.text(&name)?.unwrap_or_default().into_owned();
        Ok((name, text))
    };
    names.into_iter().map(read).collect()
}

/// `PutTargets`.
pub(super) async fn put(doors: &Doors, call: &Object<'_>) -> Result<Value, Fault> {
    let rule = call.text("Rule")?;
    let bus = call.text("EventBusName")?;
    let given = match call.objects("Targets")? {
        None => None,
        Some(targets) => Some(
            targets
                .iter()
                .map(Given::of)
                .collect::<Result<Vec<_>, _>>()?,
        ),
    };
    let mut constraints = Constraints::default();
    constraints.required_text("rule", rule.as_deref(), &NAME);
    constraints.text("eventBusName", bus.as_deref(), &BUS_NAME_OR_ARN);
    constraints.required("targets", given.as_ref());
    let given = given.unwrap_or_default();
    let count = call.raw("Targets").map(|_| given.len());
    constraints.list("targets", count, PER_CALL, || shown(&given));
    for (n, target) in (1..).zip(&given) {
        target.check(n, &mut constraints);
    }
    constraints.finish().map_err(Fault::validation)?;

    let home = &doors.bus.identity().home;
    let bus = bus_of(doors, bus.as_deref());
    check_meaning(doors, home, bus.as_ref().ok(), &given)?;
    let (bus, rule) = (bus?, rule_name(rule.as_deref()));
    // Of a doubled id the last one counts.
    let ids: Vec<String> = given.iter().map(|target| target.id().to_owned()).collect();
    let mut failed: BTreeMap<String, (&'static str, String)> = BTreeMap::new();
    let mut targets = Vec::new();
    let mut arns = BTreeMap::new();
    for (n, target) in given.into_iter().enumerate() {
        if ids[n + 1..].contains(&ids[n]) {
            continue;
        }
        arns.insert(ids[n].clone(), target.arn().to_owned());
        match unavailable(target.arn(), home) {
            Some(text) => {
                failed.insert(ids[n].clone(), ("UnsupportedTargetException", text));
            }
            None => targets.push(target.into_target()),
        }
    }
    let answer = ask(doors, Control::PutTargets(bus, rule, targets)).await?;
    if let Answer::Targets(refused) = answer {
        for (id, TargetRefusal::NoWebhook) in refused {
            let arn = arns.get(&id).map_or("", String::as_str);
            let text = match Kind::of(arn, home) {
                Kind::Webhook(_, rule, target) => {
                    format!("Webhook {rule}/{target} does not exist.")
                }
                Kind::Destination(name) => format!("API destination {name} does not exist."),
                _ => "Webhook does not exist.".to_owned(),
            };
            failed.insert(id, ("ResourceNotFoundException", text));
        }
    }
    let mut entries = Vec::new();
    for id in ids {
        if let Some((code, text)) = failed.remove(&id) {
            entries.push(json!({ "TargetId": id, "ErrorCode": code, "ErrorMessage": text }));
        }
    }
    Ok(json!({ "FailedEntryCount": entries.len(), "FailedEntries": entries }))
}

/// Rows 2 to 10 of 6.2, each over all targets.
fn check_meaning(
    doors: &Doors,
    home: &Home,
    bus: Option<&BusName>,
    given: &[Given<'_>],
) -> Result<(), Fault> {
    let all = |wrong: &dyn Fn(&Given<'_>) -> Option<String>| match given.iter().find_map(wrong) {
        Some(text) => Err(Fault::validation(text)),
        None => Ok(()),
    };
    all(&|target| {
        let text = "Parameter ARN is not valid. Reason: Provided Arn is not in correct format.";
        Arn::parse(target.arn()).is_none().then(|| text.into())
    })?;
    all(&|target| {
        let text = format!(
            "Only one of Input, InputPath, or InputTransformer must be provided for target {}.",
            target.id()
        );
        (1 < target.inputs()).then_some(text)
    })?;
    all(&|target| {
        let input = match (&target.input, &target.path, &target.transformer) {
            (_, _, Some(transformer)) => Input::Transformer {
                paths: &transformer.paths,
                template: transformer.template.as_deref().unwrap_or_default(),
            },
            (_, Some(path), _) => Input::Path(path),
            (Some(text), _, _) => Input::Constant(text),
            _ => return None,
        };
        let options = Options {
            unknown_placeholders_accepted: doors.config.aws_placeholders,
        };
        let compiled = Shaper::compile(&input, target.id(), &options);
        compiled.err().map(|error| error.to_string())
    })?;
    all(&|target| {
        let arn = Arn::parse(target.arn())?;
        let ordered = arn.service == "sqs" && arn.resource.ends_with(".fifo");
        let text = format!(
            "Parameter(s) SqsParameters must be specified for target: {}.",
            target.id()
        );
        (ordered && !target.shown.contains_key("SqsParameters")).then_some(text)
    })?;
    all(&|target| {
        let text =
            "Parameter ARN is not valid. Reason: Event bus can not be a target of its own rule.";
        let own = bus.is_some_and(|bus| bus_target(target.arn(), home) == Some(bus.as_str()));
        own.then(|| text.into())
    })?;
    all(&|target| {
        let arn = Arn::parse(target.arn())?;
        let is_bus = arn.service == "events" && arn.resource.starts_with("event-bus/");
        let text = format!(
            "Input, InputPath and InputTransformer are not supported for target {}.",
            target.id()
        );
        (is_bus && 0 < target.inputs()).then_some(text)
    })?;
    for target in given {
        if let Some(Some(arn)) = &target.dead_letters {
            check_dead_letter_arn(arn)?;
        }
    }
    Ok(())
}

/// Row 10: form only, since a queue that is not there yet is no error.
pub(super) fn check_dead_letter_arn(arn: &str) -> Result<(), Fault> {
    match Arn::parse(arn).and_then(|arn| arn.queue()) {
        Some(_) => Ok(()),
        None => Err(Fault::validation(
            "Parameter DeadLetterConfig.Arn is not valid. Reason: The dead-letter queue must be a standard SQS queue.",
        )),
    }
}

/// The bus of this server that an ARN names.
fn bus_target<'a>(arn: &'a str, home: &Home) -> Option<&'a str> {
    let arn = Arn::parse(arn).filter(|arn| arn.service == "events" && home.owns(arn))?;
    arn.resource.strip_prefix("event-bus/")
}

/// Why a target's ARN cannot be delivered to; `None` if it can. Source: eventbridge-api.md 6.3, 15.2.
fn unavailable(arn: &str, home: &Home) -> Option<String> {
    // The bus's own target is for itself.
    if !matches!(Kind::of(arn, home), Kind::Unknown | Kind::Internal) {
        return None;
    }
    let parsed = Arn::parse(arn)?;
    let service = parsed.service;
    let of_events = |kind| service == "events" && parsed.resource.starts_with(kind);
    let ours = matches!(service, "sqs" | "logs")
        || ["event-bus/", "api-destination/", "webhook/"]
            .into_iter()
            .any(of_events);
    Some(if !ours {
        format!(
            "Targets of service {service} are not available on Busbar. Map the ARN to a webhook in [target-map] of busbar.toml, or use an SQS, log group, event bus or API destination target."
        )
    } else if !home.owns(&parsed) {
        "Target ARN is in another account or region.".into()
    } else if of_events("event-bus/") {
        "Event bus targets come with a later version of Busbar.".into()
    } else if parsed.resource.ends_with(".fifo") {
        "FIFO queue targets come with a later version of Busbar.".into()
    } else {
        format!("Target ARN {arn} names nothing that can be here.")
    })
}

fn shown(given: &[Given<'_>]) -> String {
    let show = |target: &Given<'_>| format!("Target(id={}, arn={})", target.id(), target.arn());
    let targets: Vec<String> = given.iter().map(show).collect();
    format!("[{}]", targets.join(", "))
}

/// `RemoveTargets`.
pub(super) async fn remove(doors: &Doors, call: &Object<'_>) -> Result<Value, Fault> {
    let rule = call.text("Rule")?;
    let bus = call.text("EventBusName")?;
    let ids = call.texts("Ids")?;
    let forced = call.boolean("Force")?.unwrap_or(false);
    let mut constraints = Constraints::default();
    constraints.required_text("rule", rule.as_deref(), &NAME);
    constraints.text("eventBusName", bus.as_deref(), &BUS_NAME_OR_ARN);
    constraints.required("ids", ids.as_ref());
    let count = ids.as_ref().map(Vec::len);
    let ids = ids.unwrap_or_default();
    constraints.list("ids", count, PER_CALL, || format!("[{}]", ids.join(", ")));
    // An element of a list of texts has no place of its own in AWS's words but the list's.
    for (n, id) in (1..).zip(&ids) {
        constraints.text(format_args!("ids.{n}.member"), Some(id), &NAME);
    }
    constraints.finish().map_err(Fault::validation)?;
    let bus = bus_of(doors, bus.as_deref())?;
    let ids = ids
        .iter()
        .map(|id| TargetId::parse(id).expect("the model's checks are the id's"))
        .collect();
    let control = Control::RemoveTargets(bus, rule_name(rule.as_deref()), ids);
    let asked = ask(doors, control).await;
    asked.map_err(|fault| hint_at_force(fault, forced))?;
    Ok(json!({ "FailedEntryCount": 0, "FailedEntries": [] }))
}

/// `ListTargetsByRule`.
pub(super) async fn list(doors: &Doors, call: &Object<'_>) -> Result<Value, Fault> {
    let rule = call.text("Rule")?;
    let bus = call.text("EventBusName")?;
    let paging = Paging::of(call)?;
    let mut constraints = Constraints::default();
    constraints.required_text("rule", rule.as_deref(), &NAME);
    constraints.text("eventBusName", bus.as_deref(), &BUS_NAME_OR_ARN);
    paging.check(&mut constraints);
    constraints.finish().map_err(Fault::validation)?;
    let (bus, rule) = (bus_of(doors, bus.as_deref())?, rule_name(rule.as_deref()));
    let list = List {
        secret: &doors.bus.identity().secret,
        operation: "ListTargetsByRule",
        filter: &[bus.as_str(), rule.as_str()],
    };
    let page = paging.page(&list)?;
    let rule = find(doors, bus.clone(), rule.clone()).await?;
    let from = match &page.after {
        Some(after) => Bound::Excluded(after.as_str()),
        None => Bound::Unbounded,
    };
    let mut found: Vec<&Target> = rule
        .targets
        .range::<str, _>((from, Bound::Unbounded))
        .map(|(_, target)| &**target)
        .take(page.limit + 1)
        .collect();
    let more = page.limit < found.len();
    found.truncate(page.limit);
    let targets: Vec<Value> = found.iter().copied().map(show).collect();
    let mut answer = json!({ "Targets": targets });
    if let Some(last) = found.last().filter(|_| more) {
        answer["NextToken"] = list.token(last.id.as_str()).into();
    }
    Ok(answer)
}

/// A target as it was put. What a webhook of a rule file holds does not show here (6.6).
fn show(target: &Target) -> Value {
    let shown = Target {
        webhook: None,
        ..target.clone()
    };
    serde_json::to_value(shown).expect("documents are plain values")
}

/// `ListRuleNamesByTarget`.
pub(super) async fn rule_names(doors: &Doors, call: &Object<'_>) -> Result<Value, Fault> {
    let target = call.text("TargetArn")?;
    let bus = call.text("EventBusName")?;
    let paging = Paging::of(call)?;
    let mut constraints = Constraints::default();
    constraints.required_text("targetArn", target.as_deref(), &ARN);
    constraints.text("eventBusName", bus.as_deref(), &BUS_NAME_OR_ARN);
    paging.check(&mut constraints);
    constraints.finish().map_err(Fault::validation)?;
    let bus = bus_of(doors, bus.as_deref())?;
    let target = target.unwrap_or_default().into_owned();
    let list = List {
        secret: &doors.bus.identity().secret,
        operation: "ListRuleNamesByTarget",
        filter: &[bus.as_str(), &target],
    };
    let page = paging.page(&list)?;
    let (of, arn) = (bus.clone(), target.clone());
    let look = doors.bus.look(move |core, _| {
        let from = match &page.after {
            Some(after) => Bound::Excluded(after.as_str()),
            None => Bound::Unbounded,
        };
        let rules = rules_of(core.state(), &of, from)?;
        let named = rules.filter(|rule| rule.targets.values().any(|one| one.arn == arn));
        let names: Vec<RuleName> = named
            .map(|rule| rule.name.clone())
            .take(page.limit + 1)
            .collect();
        Some((names, page.limit))
    });
    let (mut names, limit) = look.await?.ok_or_else(|| Fault::no_bus(bus.as_str()))?;
    let more = limit < names.len();
    names.truncate(limit);
    let texts: Vec<&str> = names.iter().map(RuleName::as_str).collect();
    let mut answer = json!({ "RuleNames": texts });
    if let Some(last) = names.last().filter(|_| more) {
        answer["NextToken"] = list.token(last.as_str()).into();
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(arn: &str, expected: Option<&str>) {
        let found = unavailable(arn, &Home::default());
        match expected {
            None => assert_eq!(found, None),
            Some(expected) => assert!(found.unwrap().contains(expected), "{arn}"),
        }
    }

    #[test]
    fn an_arn_says_whether_it_can_be_a_target() {
        check("arn:aws:sqs:us-east-1:000000000000:q", None);
        check(
            "arn:aws:logs:us-east-1:000000000000:log-group:/aws/events/x:*",
            None,
        );
        check("arn:aws:events:us-east-1:000000000000:webhook/r/t", None);
        check("arn:aws:lambda:us-east-1:1:function:f", None);
        check(
            "arn:aws:lambda:us-east-1:000000000000:function:f",
            Some("service lambda are not"),
        );
        check(
            "arn:aws:sqs:eu-west-1:000000000000:q",
            Some("another account or region"),
        );
        check(
            "arn:aws:events:us-east-1:000000000000:event-bus/o",
            Some("later version"),
        );
        check(
            "arn:aws:events:us-east-1:000000000000:api-destination/d",
            None,
        );
        check(
            "arn:aws:sqs:us-east-1:000000000000:q.fifo",
            Some("later version"),
        );
    }

    #[test]
    fn the_model_counts_targets_and_names_their_places() {
        let body = br#"{"Targets":[{"Id":"!","Arn":""},{"Id":"r","Arn":"a","RetryPolicy":{"MaximumEventAgeInSeconds":1},"InputTransformer":{"InputTemplate":""}}]}"#;
        let call = Object::of_body(body).unwrap();
        let mut constraints = Constraints::default();
        for (n, target) in (1..).zip(call.objects("Targets").unwrap().unwrap()) {
            Given::of(&target).unwrap().check(n, &mut constraints);
        }
        assert_eq!(
            constraints.finish().unwrap_err(),
            r"4 validation errors detected: Value '!' at 'targets.1.member.id' failed to satisfy constraint: Member must satisfy regular expression pattern: [\.\-_A-Za-z0-9]+; Value '' at 'targets.1.member.arn' failed to satisfy constraint: Member must have length greater than or equal to 1; Value '' at 'targets.2.member.inputTransformer.inputTemplate' failed to satisfy constraint: Member must have length greater than or equal to 1; Value '1' at 'targets.2.member.retryPolicy.maximumEventAgeInSeconds' failed to satisfy constraint: Member must have value greater than or equal to 60"
        );
    }

    #[test]
    fn a_webhook_does_not_show_where_it_leads() {
        let file = r#"{"Id":"w","Arn":"a","Webhook":{"Url":"https://example.com/","Secret":"s"},"RoleArn":"r"}"#;
        let target: Target = serde_json::from_str(file).unwrap();
        assert_eq!(
            show(&target),
            json!({ "Id": "w", "Arn": "a", "RoleArn": "r" })
        );
    }
}
