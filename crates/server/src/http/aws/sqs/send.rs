//! `SendMessage` and `SendMessageBatch`: checked one by one, stored as one group.
//!
//! A message is durable before the answer. A repeated try of a call gets the first answer again and stores
//! nothing: its ids are made from where the messages stand, its digests from the request, which is the same.
//! Source: sqs-api.md 1.7, 2.5; reliability-security.md 1, rule 8.

use super::batch::{self, Failed};
use super::entry::{Entry, Triple};
use super::errors::{Kind, Refused};
use super::md5;
use super::wire::{Json, Members};
use super::{Call, Output};
use bus_core::core::{Answer, Idempotency, Input, message_id};
use bus_core::document::Queue;
use bus_core::limits::PUT_BYTES_MAX;
use bus_core::record::{Key, Message, Record};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// `SendMessage`.
///
/// # Errors
/// [`Refused`].
pub async fn one(call: &Call<'_>, members: &Members<'_>) -> Result<Output, Refused> {
    let url = members.text("QueueUrl")?;
    let entry = Entry::read(members)?;
    let here = call.queue(url).await?;
    entry.check(&here.document, false)?;
    let records = vec![encode(call, &entry, here.number, &here.document)];
    let stored = store(call, here.number, records, Vec::new()).await?;
    Ok(Output::Whole(Value::Object(sent(
        call,
        &entry,
        stored.first,
    ))))
}

/// `SendMessageBatch`.
///
/// # Errors
/// [`Refused`], of the whole request.
pub async fn batch(call: &Call<'_>, members: &Members<'_>) -> Result<Output, Refused> {
    let url = members.text("QueueUrl")?;
    let items = members.list("Entries")?.unwrap_or_default();
    let entries = items.iter().map(Json::members);
    let entries = entries.map(|members| Entry::read(members?));
    let entries: Vec<Entry<'_>> = entries.collect::<Result<_, _>>()?;
    let here = call.queue(url).await?;
    batch::check("SendMessage", entries.iter().map(|entry| entry.id))?;
    let bytes: usize = entries.iter().map(Entry::size).sum();
    if PUT_BYTES_MAX < bytes {
        return Err(Refused::new(
            Kind::BatchLong,
            format!(
                "Batch requests cannot be longer than {PUT_BYTES_MAX} bytes. You have sent {bytes} bytes."
            ),
        ));
    }
    let (mut records, mut failed) = (Vec::new(), Vec::new());
    for (n, entry) in entries.iter().enumerate() {
        match entry.check(&here.document, true) {
            Ok(()) => records.push(encode(call, entry, here.number, &here.document)),
            Err(refused) => failed.push(Failed::new(n, &refused)),
        }
    }
    let stored = match records.is_empty() {
        true => Stored { first: 0, failed },
        false => store(call, here.number, records, failed).await?,
    };
    let mut next = stored.first;
    Ok(batch::answer(
        entries.iter().map(|entry| entry.id),
        &stored.failed,
        |n| {
            next += 1;
            sent(call, &entries[n], next - 1)
        },
    ))
}

fn sent(call: &Call<'_>, entry: &Entry<'_>, sequence: u64) -> Map<String, Value> {
    let key = Key { sequence, index: 0 };
    let id = message_id(&call.doors.bus.identity().secret, key);
    let mut answer = Map::new();
    answer.insert("MessageId".into(), json!(id.to_string()));
    let body = md5::of_body(entry.body().as_bytes());
    answer.insert("MD5OfMessageBody".into(), json!(body));
    let mut digest = |name: &str, attributes: Vec<Triple<'_>>| {
        if let Some(digest) = md5::of_attributes(&attributes) {
            answer.insert(name.into(), json!(digest));
        }
    };
    digest("MD5OfMessageAttributes", entry.attributes());
    digest("MD5OfMessageSystemAttributes", entry.system());
    answer
}

fn encode(call: &Call<'_>, entry: &Entry<'_>, queue: u32, document: &Queue) -> Vec<u8> {
    let now = call.doors.bus.now().wall_ms;
    let own = entry.delay.and_then(|delay| u64::try_from(delay).ok());
    let delay = own.unwrap_or(document.delay_seconds());
    let account = &call.doors.bus.identity().home.account;
    let trace = entry.trace();
    let record = Record::Send {
        queue,
        visible_ms: match delay {
            0 => 0,
            delay => now + (delay * 1000).cast_signed(),
        },
        message: Message {
            sent_ms: now,
            sender: call.access_key().unwrap_or(account),
            trace: trace
                .or(call.request.header("x-amzn-trace-id"))
                .unwrap_or(""),
            group: entry.group.unwrap_or(""),
            attributes: entry.attributes(),
            body: entry.body().as_bytes(),
        },
    };
    record.encode()
}

struct Stored {
    /// Number of the first message.
    first: u64,
    /// Entries that are not among them.
    failed: Vec<Failed>,
}

async fn store(
    call: &Call<'_>,
    queue: u32,
    messages: Vec<Vec<u8>>,
    failed: Vec<Failed>,
) -> Result<Stored, Refused> {
    let idempotency = call.invocation().map(|invocation| {
        let hash = Sha256::new()
            .chain_update(b"send\0")
            .chain_update(call.access_key().unwrap_or(""))
            .chain_update([0])
            .chain_update(invocation)
            .chain_update([0])
            .chain_update(&call.request.body)
            .finalize();
        Idempotency {
            key: u128::from_le_bytes(hash[..16].try_into().expect("a SHA-256 has 32 bytes")),
            // The body is in the key: another body is another call.
            body: 0,
            seed: 0,
            rest: Failed::encode(&failed),
        }
    });
    let asked = call.doors.bus.ask(move |request| Input::Send {
        request,
        queue,
        messages,
        idempotency,
    });
    match asked.await? {
        Answer::Stored(first) => Ok(Stored { first, failed }),
        Answer::Kept { seed, rest } => Ok(Stored {
            first: u64::try_from(seed).map_err(|_| Refused::unavailable())?,
            failed: Failed::decode(&rest).ok_or_else(Refused::unavailable)?,
        }),
        Answer::Refused(refusal) => Err(refusal.into()),
        _ => Err(Refused::unavailable()),
    }
}
