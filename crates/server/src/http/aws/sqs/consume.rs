//! What a consumer does with a handle: delete a message, or change when it is visible again.
//!
//! Source: sqs-api.md 2.7 to 2.9.

use super::batch::{self, Failed};
use super::errors::Refused;
use super::handles;
use super::queues::Here;
use super::wire::{Json, Members};
use super::{Call, Output};
use bus_core::core::{Answer, Handle, HandleRefusal, Input};
use bus_core::limits::VISIBILITY_SECONDS_MAX;
use serde_json::{Map, json};

/// A handle as it came, with the seconds that it is to be hidden; none = the queue's own.
struct Entry<'a> {
    id: Option<&'a str>,
    handle: Option<&'a str>,
    seconds: Option<i32>,
}

impl<'a> Entry<'a> {
    fn read(members: &'a Members<'_>) -> Result<Self, Refused> {
        Ok(Self {
            id: members.text("Id")?,
            handle: members.text("ReceiptHandle")?,
            seconds: members.integer("VisibilityTimeout")?,
        })
    }

    fn read_all(members: &'a Members<'_>) -> Result<Vec<Self>, Refused> {
        let items = members.list("Entries")?.unwrap_or_default();
        let entries = items.iter().map(Json::members);
        entries.map(|members| Self::read(members?)).collect()
    }

    fn text(&self) -> &'a str {
        self.handle.unwrap_or("")
    }

    fn handle(&self, call: &Call<'_>) -> Result<Handle, Refused> {
        let text = self
            .handle
            .ok_or_else(|| Refused::missing("ReceiptHandle"))?;
        handles::read(&call.doors.bus.identity().secret, text)
    }

    fn seconds(&self) -> Result<Option<u64>, Refused> {
        let Some(given) = self.seconds else {
            return Ok(None);
        };
        seconds(given).map(Some)
    }
}

/// A `VisibilityTimeout` within its bounds.
///
/// # Errors
/// It is not.
pub fn seconds(given: i32) -> Result<u64, Refused> {
    let fits = u64::try_from(given).ok();
    fits.filter(|s| *s <= VISIBILITY_SECONDS_MAX)
        .ok_or_else(|| {
            let reason = "Must be between 0 and 43200, if provided.";
            Refused::value(given, "VisibilityTimeout", reason)
        })
}

/// What the core says of a handle, in this door's words.
fn verdict(
    verdict: Result<(), HandleRefusal>,
    entry: &Entry<'_>,
    here: &Here,
) -> Result<(), Refused> {
    let text = entry.text();
    verdict.map_err(|refusal| match refusal {
        HandleRefusal::Foreign => handles::foreign(text),
        HandleRefusal::Unavailable => Refused::value(
            text,
            "ReceiptHandle",
            "Message does not exist or is not available for visibility timeout change.",
        ),
        HandleRefusal::TooLong => {
            let own = here.document.visibility_seconds();
            let given = entry.seconds.map_or(own.to_string(), |s| s.to_string());
            let reason =
                "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]";
            Refused::value(given, "VisibilityTimeout", reason)
        }
        HandleRefusal::Full => Refused::unavailable(),
    })
}

type Verdicts = Vec<Result<(), HandleRefusal>>;

async fn ask(
    call: &Call<'_>,
    input: impl FnOnce(u64) -> Input + Send + 'static,
) -> Result<Verdicts, Refused> {
    match call.doors.bus.ask(input).await? {
        Answer::Handles(verdicts) => Ok(verdicts),
        Answer::Refused(refusal) => Err(refusal.into()),
        _ => Err(Refused::unavailable()),
    }
}

async fn ask_delete(
    call: &Call<'_>,
    queue: u32,
    handles: Vec<Handle>,
) -> Result<Verdicts, Refused> {
    ask(call, move |request| Input::Delete {
        request,
        queue,
        handles,
    })
    .await
}

async fn ask_visibility(
    call: &Call<'_>,
    queue: u32,
    handles: Vec<(Handle, Option<u64>)>,
) -> Result<Verdicts, Refused> {
    ask(call, move |request| Input::Visibility {
        request,
        queue,
        handles,
    })
    .await
}

/// `DeleteMessage`.
///
/// # Errors
/// [`Refused`].
pub async fn delete(call: &Call<'_>, members: &Members<'_>) -> Result<Output, Refused> {
    let url = members.text("QueueUrl")?;
    let entry = Entry::read(members)?;
    if url.is_some() && entry.handle.is_none() {
        return Err(Refused::missing("ReceiptHandle"));
    }
    let here = call.queue(url).await?;
    let handle = entry.handle(call)?;
    let verdicts = ask_delete(call, here.number, vec![handle]).await?;
    one_verdict(&verdicts, &entry, &here)
}

/// `ChangeMessageVisibility`.
///
/// # Errors
/// [`Refused`].
pub async fn visibility(call: &Call<'_>, members: &Members<'_>) -> Result<Output, Refused> {
    let url = members.text("QueueUrl")?;
    let entry = Entry::read(members)?;
    if url.is_some() && entry.handle.is_none() {
        return Err(Refused::missing("ReceiptHandle"));
    }
    if url.is_some() && entry.seconds.is_none() {
        return Err(Refused::missing("VisibilityTimeout"));
    }
    let here = call.queue(url).await?;
    let seconds = entry.seconds()?;
    let handle = entry.handle(call)?;
    let verdicts = ask_visibility(call, here.number, vec![(handle, seconds)]).await?;
    one_verdict(&verdicts, &entry, &here)
}

fn one_verdict(
    verdicts: &[Result<(), HandleRefusal>],
    entry: &Entry<'_>,
    here: &Here,
) -> Result<Output, Refused> {
    let first = *verdicts.first().ok_or_else(Refused::unavailable)?;
    verdict(first, entry, here)?;
    Ok(Output::Whole(json!({})))
}

/// `DeleteMessageBatch`.
///
/// # Errors
/// [`Refused`], of the whole request.
pub async fn delete_batch(call: &Call<'_>, members: &Members<'_>) -> Result<Output, Refused> {
    let url = members.text("QueueUrl")?;
    let entries = Entry::read_all(members)?;
    let here = call.queue(url).await?;
    batch::check("DeleteMessage", entries.iter().map(|entry| entry.id))?;
    let read = entries.iter().map(|entry| entry.handle(call));
    let (good, failed) = divide(read);
    let (places, handles): (Vec<usize>, Vec<Handle>) = good.into_iter().unzip();
    let verdicts = match handles.is_empty() {
        true => Vec::new(),
        false => ask_delete(call, here.number, handles).await?,
    };
    Ok(told(&entries, &here, failed, &places, verdicts))
}

/// `ChangeMessageVisibilityBatch`.
///
/// # Errors
/// [`Refused`], of the whole request.
pub async fn visibility_batch(call: &Call<'_>, members: &Members<'_>) -> Result<Output, Refused> {
    let url = members.text("QueueUrl")?;
    let entries = Entry::read_all(members)?;
    let here = call.queue(url).await?;
    batch::check(
        "ChangeMessageVisibility",
        entries.iter().map(|entry| entry.id),
    )?;
    let read = entries.iter().map(|entry| {
        let seconds = entry.seconds()?;
        Ok((entry.handle(call)?, seconds))
    });
    let (good, failed) = divide(read);
    let (places, handles): (Vec<usize>, Vec<_>) = good.into_iter().unzip();
    let verdicts = match handles.is_empty() {
        true => Vec::new(),
        false => ask_visibility(call, here.number, handles).await?,
    };
    Ok(told(&entries, &here, failed, &places, verdicts))
}

fn divide<T>(read: impl Iterator<Item = Result<T, Refused>>) -> (Vec<(usize, T)>, Vec<Failed>) {
    let (mut good, mut failed) = (Vec::new(), Vec::new());
    for (n, one) in read.enumerate() {
        match one {
            Ok(one) => good.push((n, one)),
            Err(refused) => failed.push(Failed::new(n, &refused)),
        }
    }
    (good, failed)
}

fn told(
    entries: &[Entry<'_>],
    here: &Here,
    mut failed: Vec<Failed>,
    places: &[usize],
    verdicts: Verdicts,
) -> Output {
    assert_eq!(places.len(), verdicts.len());
    for (n, one) in places.iter().zip(verdicts) {
        if let Err(refused) = verdict(one, &entries[*n], here) {
            failed.push(Failed::new(*n, &refused));
        }
    }
    batch::answer(entries.iter().map(|entry| entry.id), &failed, |_| {
        Map::new()
    })
}
