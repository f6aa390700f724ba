//! Buses: made, shown, listed, taken away. Source: eventbridge-api.md 4.

use super::members::Object;
use super::paging::{List, Paging};
use super::rules::Tags;
use super::{Fault, ask, bus_of, targets};
use crate::http::Doors;
use crate::http::aws::constraints::{
    ARN, BUS_NAME, BUS_NAME_OR_ARN, Constraints, DESCRIPTION, Text, letters,
};
use bus_core::core::Control;
use bus_core::document::Bus;
use bus_core::name::{BusName, Home};
use serde_json::{Map, Number, Value, json};
use std::ops::Bound;

const EVENT_SOURCE: Text = Text::like(1, 256, r"aws\.partner(/[\.\-_A-Za-z0-9]+){2,}", |value| {
    let parts = value.strip_prefix("aws.partner/").unwrap_or_default();
    2 <= parts.split('/').count() && parts.split('/').all(|part| letters(part, b"._-"))
});
const KMS_KEY: Text = Text::like(0, 2048, r"^[a-zA-Z0-9_\-/:]*$", |value| {
    value.is_empty() || letters(value, b"_-/:")
});

/// `CreateEventBus`.
pub(super) async fn create(doors: &Doors, call: &Object<'_>) -> Result<Value, Fault> {
    let name = call.text("Name")?;
    let source = call.text("EventSourceName")?;
    let description = call.text("Description")?;
    let key = call.text("KmsKeyIdentifier")?;
    let dead_letters = call.object("DeadLetterConfig")?;
    let dead_letter_arn = match &dead_letters {
        Some(config) => config.text("Arn")?,
        None => None,
    };
    let log = call.object("LogConfig")?;
    let (include, level) = match &log {
        Some(log) => (log.text("IncludeDetail")?, log.text("Level")?),
        None => (None, None),
    };
    let tags = Tags::of(call)?;

    let mut constraints = Constraints::default();
    constraints.required_text("name", name.as_deref(), &BUS_NAME);
    constraints.text("eventSourceName", source.as_deref(), &EVENT_SOURCE);
    constraints.text("description", description.as_deref(), &DESCRIPTION);
    constraints.text("kmsKeyIdentifier", key.as_deref(), &KMS_KEY);
    constraints.text("deadLetterConfig.arn", dead_letter_arn.as_deref(), &ARN);
    constraints.one_of(
        "logConfig.includeDetail",
        include.as_deref(),
        &["NONE", "FULL"],
    );
    let levels = ["OFF", "ERROR", "INFO", "TRACE"];
    constraints.one_of("logConfig.level", level.as_deref(), &levels);
    tags.check(&mut constraints);
    constraints.finish().map_err(Fault::validation)?;

    if let Some(source) = source {
        let message = format!("Event source {source} does not exist.");
        return Err(Fault::not_found(message));
    }
    let name = BusName::parse(name.as_deref().unwrap_or_default())
        .map_err(|_| Fault::validation("Event bus name must not contain '/'."))?;
    if let Some(arn) = &dead_letter_arn {
        targets::check_dead_letter_arn(arn)?;
    }
    tags.check_doubled()?;
    let mut shown = Map::new();
    if let Some(key) = key {
        shown.insert("KmsKeyIdentifier".into(), key.as_ref().into());
    }
    let mut log = Map::new();
    let members = [("IncludeDetail", include), ("Level", level)];
    for (name, value) in members {
        if let Some(value) = value {
            log.insert(name.into(), value.as_ref().into());
        }
    }
    if call.raw("LogConfig").is_some() {
        shown.insert("LogConfig".into(), log.into());
    }
    let now = doors.bus.now().wall_ms;
    let bus = Bus {
        name,
        description: description.map(Into::into),
        dead_letter_arn: dead_letter_arn.map(Into::into),
        shown,
        created_ms: now,
        modified_ms: now,
    };
    let mut answer = Map::new();
    let arn = doors.bus.identity().home.bus_arn(bus.name.as_str());
    answer.insert("EventBusArn".into(), arn.into());
    show_settings(&bus, &mut answer);
    ask(doors, Control::CreateBus(bus)).await?;
    Ok(answer.into())
}

/// `DeleteEventBus`.
pub(super) async fn delete(doors: &Doors, call: &Object<'_>) -> Result<Value, Fault> {
    let name = call.text("Name")?;
    let mut constraints = Constraints::default();
    constraints.required_text("name", name.as_deref(), &BUS_NAME);
    constraints.finish().map_err(Fault::validation)?;
    // A name that cannot be one of ours is of a bus that is gone already.
    if let Ok(name) = BusName::parse(name.as_deref().unwrap_or_default()) {
        ask(doors, Control::DeleteBus(name)).await?;
    }
    Ok(json!({}))
}

/// `DescribeEventBus`.
pub(super) async fn describe(doors: &Doors, call: &Object<'_>) -> Result<Value, Fault> {
    let name = call.text("Name")?;
    let mut constraints = Constraints::default();
    constraints.text("name", name.as_deref(), &BUS_NAME_OR_ARN);
    constraints.finish().map_err(Fault::validation)?;
    let name = bus_of(doors, name.as_deref())?;
    let looked = name.clone();
    let look = doors
        .bus
        .look(move |core, _| core.state().buses().get(&looked).cloned());
    let bus = look.await?.ok_or_else(|| Fault::no_bus(name.as_str()))?;
    let mut answer = show(&bus, &doors.bus.identity().home);
    show_settings(&bus, &mut answer);
    Ok(answer.into())
}

/// `ListEventBuses`.
pub(super) async fn list(doors: &Doors, call: &Object<'_>) -> Result<Value, Fault> {
    let prefix = call.text("NamePrefix")?;
    let paging = Paging::of(call)?;
    let mut constraints = Constraints::default();
    constraints.text("namePrefix", prefix.as_deref(), &BUS_NAME);
    paging.check(&mut constraints);
    constraints.finish().map_err(Fault::validation)?;
    let prefix = prefix.unwrap_or_default().into_owned();
    let identity = doors.bus.identity();
    let list = List {
        secret: &identity.secret,
        operation: "ListEventBuses",
        filter: &[&prefix],
    };
    let page = paging.page(&list)?;
    let begins = prefix.clone();
    let look = doors.bus.look(move |core, _| {
        let from = match &page.after {
            Some(after) => Bound::Excluded(after.as_str()),
            None => Bound::Included(begins.as_str()),
        };
        let buses = core
            .state()
            .buses()
            .range::<str, _>((from, Bound::Unbounded));
        let buses = buses.map(|(_, bus)| bus.clone());
        let fits = |bus: &Bus| bus.name.as_str().starts_with(&begins);
        let found: Vec<Bus> = buses.take_while(fits).take(page.limit + 1).collect();
        (found, page.limit)
    });
    let (mut found, limit) = look.await?;
    let more = limit < found.len();
    found.truncate(limit);
    let buses: Vec<_> = found.iter().map(|bus| show(bus, &identity.home)).collect();
    let mut answer = json!({ "EventBuses": buses });
    if let Some(last) = found.last().filter(|_| more) {
        answer["NextToken"] = list.token(last.name.as_str()).into();
    }
    Ok(answer)
}

/// A bus in the members that `ListEventBuses` shows.
fn show(bus: &Bus, home: &Home) -> Map<String, Value> {
    let mut shown = Map::new();
    shown.insert("Name".into(), bus.name.as_str().into());
    shown.insert("Arn".into(), home.bus_arn(bus.name.as_str()).into());
    if let Some(description) = &bus.description {
        shown.insert("Description".into(), description.as_str().into());
    }
    shown.insert("CreationTime".into(), seconds(bus.created_ms));
    shown.insert("LastModifiedTime".into(), seconds(bus.modified_ms));
    shown
}

/// The members that both the making of a bus and `DescribeEventBus` show.
fn show_settings(bus: &Bus, shown: &mut Map<String, Value>) {
    if let Some(description) = &bus.description {
        shown.insert("Description".into(), description.as_str().into());
    }
    if let Some(arn) = &bus.dead_letter_arn {
        shown.insert("DeadLetterConfig".into(), json!({ "Arn": arn }));
    }
    shown.extend(bus.shown.clone());
}

/// Epoch seconds with milliseconds behind the point.
fn seconds(millis: i64) -> Value {
    let text = format!("{}.{:03}", millis.div_euclid(1000), millis.rem_euclid(1000));
    text.parse::<Number>().map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_shown_with_its_milliseconds() {
        assert_eq!(seconds(1_789_300_633_978).to_string(), "1789300633.978");
        assert_eq!(seconds(1_789_300_633_005).to_string(), "1789300633.005");
    }

    #[test]
    fn a_partner_source_has_two_parts() {
        let form = EVENT_SOURCE.form.unwrap();
        assert!((form.fits)("aws.partner/example.com/orders"));
        assert!(!(form.fits)("aws.partner/orders"));
        assert!(!(form.fits)("orders"));
    }
}
