//! Queues as their owners see them: URLs, making, listing, changing, emptying, taking away.
//!
//! Source: sqs-api.md 1.5, 2.1 to 2.4.

use super::attributes;
use super::errors::{Kind, Refused};
use super::handles::{mac, same_mac};
use super::wire::Members;
use super::{Call, Output};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bus_core::core::{Answer, Control, Input, Refusal};
use bus_core::document::{Queue, same_attribute};
use bus_core::name::{Home, QueueName};
use serde_json::{Value, json};

/// Names of one `ListQueues` answer.
const LIST_MAX: usize = 1_000;
/// Tags of one queue.
const TAGS_MAX: usize = 50;
/// Characters of a tag's key, from 1.
const TAG_KEY_MAX: usize = 128;
/// Characters of a tag's value, from 0.
const TAG_VALUE_MAX: usize = 256;

/// A queue that a call is about.
pub struct Here {
    /// Its number: what the core knows it by.
    pub number: u32,
    /// Its settings.
    pub document: Queue,
    /// Its messages by where they stand.
    pub counts: attributes::Counts,
}

/// The name in a queue URL, if it can be one of ours. Scheme and host are not looked at: clients move
/// between names, ports, containers and proxies.
///
/// # Errors
/// `InvalidAddress` for a text in no known form; `QueueDoesNotExist` for another account or region.
pub fn name_in_url(url: &str, home: &Home) -> Result<String, Refused> {
    let unknown = || {
        let text = format!("The address {url} is not valid for this endpoint.");
        Refused::new(Kind::Address, text)
    };
    let path = match url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"))
    {
        Some(rest) => &rest[rest.find('/').ok_or_else(unknown)?..],
        None => url,
    };
    let Some(path) = path.strip_prefix('/') else {
        // A bare name.
        let stem = path.strip_suffix(".fifo").unwrap_or(path);
        return match QueueName::parse(stem) {
            Ok(_) => Ok(path.to_owned()),
            Err(_) => Err(unknown()),
        };
    };
    let path = percent_decoded(path.strip_suffix('/').unwrap_or(path)).ok_or_else(unknown)?;
    let parts: Vec<&str> = path.split('/').collect();
    let (region, account, name) = match parts[..] {
        [account, name] => (None, account, name),
        ["queue", region, account, name] => (Some(region), account, name),
        _ => return Err(unknown()),
    };
    if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) || name.is_empty() {
        return Err(unknown());
    }
    if account != home.account || region.is_some_and(|region| region != home.region) {
        return Err(Refused::no_queue());
    }
    Ok(name.to_owned())
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        if *first != b'%' {
            out.push(*first);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2)?;
        out.push(u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?);
        rest = behind;
    }
    String::from_utf8(out).ok()
}

/// Whether a path is in one of the forms of a queue URL.
#[must_use]
pub fn is_queue_path(path: &str) -> bool {
    path.starts_with('/')
        && name_in_url(path, &Home::default()).map_or_else(|r| r.kind == Kind::NoQueue, |_| true)
}

impl Call<'_> {
    /// The queue of the member `QueueUrl`.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn queue(&self, url: Option<&str>) -> Result<Here, Refused> {
        let url = url.ok_or_else(|| Refused::missing("QueueUrl"))?;
        let name = name_in_url(url, &self.doors.bus.identity().home)?;
        self.queue_named(name).await?.ok_or_else(Refused::no_queue)
    }

    async fn queue_named(&self, name: String) -> Result<Option<Here>, Refused> {
        let now = self.doors.bus.now().running_ms;
        let here = self.doors.bus.look(move |core, _| {
            core.state().queue(&name).map(|queue| Here {
                number: queue.number,
                document: queue.document.clone(),
                counts: queue.counts(now),
            })
        });
        Ok(here.await?)
    }

    /// The URL that is handed out: reachable by who asks.
    fn url(&self, name: &str) -> String {
        let account = &self.doors.bus.identity().home.account;
        if let Some(public) = &self.doors.config.public_url {
            return format!("{}/{account}/{name}", public.trim_end_matches('/'));
        }
        let listen = self.doors.config.listen.to_string();
        let host = self.request.header("host").unwrap_or(&listen);
        format!("http://{host}/{account}/{name}")
    }

    async fn control(&self, control: Control) -> Result<Result<(), Refusal>, Refused> {
        let asked = self
            .doors
            .bus
            .ask(move |request| Input::Control { request, control });
        match asked.await? {
            Answer::Done => Ok(Ok(())),
            Answer::Refused(refusal) => Ok(Err(refusal)),
            _ => Err(Refused::unavailable()),
        }
    }
}

fn empty() -> Output {
    Output::Whole(json!({}))
}

/// `CreateQueue`.
///
/// # Errors
/// [`Refused`].
pub async fn create(call: &Call<'_>, members: &Members<'_>) -> Result<Output, Refused> {
    let name = members.text("QueueName")?;
    let given = members.text_map("Attributes")?.unwrap_or_default();
    let tags = members.text_map("tags")?.unwrap_or_default();
    let name = name.ok_or_else(|| Refused::missing("QueueName"))?;
    let name = new_name(name, &given)?;
    let checked = attributes::check(&given, None)?;
    check_tags(name.as_str(), &tags)?;
    let mut queue = Queue::new(name.clone(), call.doors.bus.now().wall_ms);
    queue.attributes = checked.iter().cloned().collect();
    queue.tags = tags
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    match call.control(Control::CreateQueue(queue)).await? {
        Ok(()) => Ok(Output::Whole(json!({"QueueUrl": call.url(name.as_str())}))),
        Err(Refusal::QueueDiffers(differing)) => {
            let old = call.queue_named(name.as_str().to_owned()).await?;
            let first = old.and_then(|old| first_differing(&old.document, &checked));
            Err(Refusal::QueueDiffers(first.unwrap_or(differing)).into())
        }
        Err(refusal) => Err(refusal.into()),
    }
}

/// The text names the first one in the order of the request, which a document does not keep.
fn first_differing(old: &Queue, given: &[(String, String)]) -> Option<String> {
    let differing = given
        .iter()
        .find(|(name, value)| !same_attribute(name, attributes::current(old, name), value));
    differing.map(|(name, _)| name.clone())
}

fn new_name(name: &str, given: &[(&str, &str)]) -> Result<QueueName, Refused> {
    let fifo = given
        .iter()
        .any(|(name, value)| *name == "FifoQueue" && value.eq_ignore_ascii_case("true"));
    if fifo {
        let stem = name.strip_suffix(".fifo");
        let fits = name.len() <= 80 && stem.is_some_and(|stem| QueueName::parse(stem).is_ok());
        return Err(Refused::new(
            Kind::Value,
            if fits {
                "FIFO queues come with a later version of Busbar."
            } else {
                "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, \
                 must end with .fifo suffix and be 1 to 80 in length"
            },
        ));
    }
    QueueName::parse(name).map_err(|_| {
        Refused::new(
            Kind::Value,
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
        )
    })
}

fn check_tags(queue: &str, tags: &[(&str, &str)]) -> Result<(), Refused> {
    let refuse = |text: String| Err(Refused::new(Kind::Value, text));
    if TAGS_MAX < tags.len() {
        return refuse(format!("Too many tags added for queue {queue}."));
    }
    for (key, value) in tags {
        if !(1..=TAG_KEY_MAX).contains(&key.chars().count()) {
            return refuse("Tag keys must be between 1 and 128 characters in length.".into());
        }
        if TAG_VALUE_MAX < value.chars().count() {
            return refuse("Tag values must be between 0 and 256 characters in length.".into());
        }
    }
    Ok(())
}

/// `GetQueueUrl`.
///
/// # Errors
/// [`Refused`].
pub async fn url(call: &Call<'_>, members: &Members<'_>) -> Result<Output, Refused> {
    let name = members.text("QueueName")?;
    let owner = members.text("QueueOwnerAWSAccountId")?;
    let name = name.ok_or_else(|| Refused::missing("QueueName"))?;
    let ours = owner.is_none_or(|owner| owner == call.doors.bus.identity().home.account);
    let here = call.queue_named(name.to_owned()).await?;
    let here = here.filter(|_| ours).ok_or_else(Refused::no_queue)?;
    let url = call.url(here.document.name.as_str());
    Ok(Output::Whole(json!({ "QueueUrl": url })))
}

/// `ListQueues`.
///
/// # Errors
/// [`Refused`].
pub async fn list(call: &Call<'_>, members: &Members<'_>) -> Result<Output, Refused> {
    let prefix = members.text("QueueNamePrefix")?.unwrap_or("").to_owned();
    let most = members.integer("MaxResults")?;
    let token = members.text("NextToken")?;
    let bound = match most {
        None => LIST_MAX,
        Some(n) => usize::try_from(n)
            .ok()
            .filter(|n| (1..=LIST_MAX).contains(n))
            .ok_or_else(|| {
                let reason = "MaxResults must be an integer between 1 and 1000.";
                Refused::value(n, "MaxResults", reason)
            })?,
    };
    let secret = &call.doors.bus.identity().secret;
    let after = token.map(|token| read_token(secret, token)).transpose()?;
    let names = call.doors.bus.look(move |core, _| {
        let mut names: Vec<String> = core
            .state()
            .queues()
            .map(|queue| queue.document.name.as_str())
            .filter(|name| name.starts_with(&prefix))
            .filter(|name| after.as_deref().is_none_or(|after| after < *name))
            .map(str::to_owned)
            .collect();
        names.sort_unstable();
        names.truncate(bound + 1);
        names
    });
    let mut names = names.await?;
    let more = bound < names.len();
    names.truncate(bound);
    let mut answer = serde_json::Map::new();
    if let Some(last) = names.last() {
        let urls: Vec<String> = names.iter().map(|name| call.url(name)).collect();
        answer.insert("QueueUrls".into(), json!(urls));
        // Who did not ask for pages gets no token. Source: sqs-api.md 2.3.
        if more && most.is_some() {
            answer.insert("NextToken".into(), json!(write_token(secret, last)));
        }
    }
    Ok(Output::Whole(Value::Object(answer)))
}

/// Stands for "after this name", so that paging is stable while queues change.
fn write_token(secret: &[u8; 32], name: &str) -> String {
    let mut bytes = mac(secret, "queues", name.as_bytes()).to_vec();
    bytes.extend_from_slice(name.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn read_token(secret: &[u8; 32], token: &str) -> Result<String, Refused> {
    let read = || {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (given, name) = bytes.split_at_checked(8)?;
        let ours = same_mac(given, &mac(secret, "queues", name));
        ours.then(|| String::from_utf8(name.to_vec()).ok())?
    };
    read().ok_or_else(|| Refused::new(Kind::Value, "Invalid or expired next token."))
}

/// `GetQueueAttributes`.
///
/// # Errors
/// [`Refused`].
pub async fn get_attributes(call: &Call<'_>, members: &Members<'_>) -> Result<Output, Refused> {
    let url = members.text("QueueUrl")?;
    let names = members.texts("AttributeNames")?;
    let here = call.queue(url).await?;
    if let Some(unknown) = names.iter().find(|name| !attributes::is_known(name)) {
        return Err(attributes::unknown(unknown));
    }
    let home = &call.doors.bus.identity().home;
    let shown = attributes::shown(&here.document, here.counts, home, &names);
    if shown.is_empty() {
        return Ok(empty());
    }
    Ok(Output::Whole(json!({ "Attributes": shown })))
}

/// `SetQueueAttributes`: all or nothing.
///
/// # Errors
/// [`Refused`].
pub async fn set_attributes(call: &Call<'_>, members: &Members<'_>) -> Result<Output, Refused> {
    let url = members.text("QueueUrl")?;
    let given = members.text_map("Attributes")?;
    if url.is_none() {
        return Err(Refused::missing("QueueUrl"));
    }
    let given = given.ok_or_else(|| Refused::missing("Attributes"))?;
    let here = call.queue(url).await?;
    let mut checked = attributes::check(&given, Some(&here.document))?;
    for (name, value) in &mut checked {
        // Its default takes it away. Source: sqs-api.md 2.2.
        if name == "KmsDataKeyReusePeriodSeconds" && value == "300" {
            value.clear();
        }
    }
    let attributes = checked.into_iter().collect();
    let control = Control::SetQueueAttributes(here.document.name, attributes);
    call.control(control).await??;
    Ok(empty())
}

/// `DeleteQueue`.
///
/// # Errors
/// [`Refused`].
pub async fn delete(call: &Call<'_>, members: &Members<'_>) -> Result<Output, Refused> {
    let here = call.queue(members.text("QueueUrl")?).await?;
    call.control(Control::DeleteQueue(here.document.name))
        .await??;
    Ok(empty())
}

/// `PurgeQueue`.
///
/// # Errors
/// [`Refused`].
pub async fn purge(call: &Call<'_>, members: &Members<'_>) -> Result<Output, Refused> {
    let here = call.queue(members.text("QueueUrl")?).await?;
    let name = here.document.name;
    match call.control(Control::PurgeQueue(name.clone())).await? {
        Ok(()) => Ok(empty()),
        Err(Refusal::PurgeInProgress) => Err(Refused::new(
            Kind::Purging,
            format!("Only one PurgeQueue operation on {name} is allowed every 60 seconds."),
        )),
        Err(refusal) => Err(refusal.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_url(url: &str, expected: Result<&str, Kind>) {
        let found = name_in_url(url, &Home::default());
        assert_eq!(
            found.as_deref().map_err(|refused| refused.kind),
            expected,
            "{url}"
        );
    }

    #[test]
    fn a_queue_url_has_several_forms() {
        for url in [
            "http://127.0.0.1:4100/000000000000/orders",
            "https://any.host/000000000000/orders/",
            "http://h/queue/us-east-1/000000000000/orders",
            "/000000000000/orders",
            "/000000000000/ord%65rs",
            "orders",
        ] {
            check_url(url, Ok("orders"));
        }
        check_url("pay.fifo", Ok("pay.fifo"));
    }

    #[test]
    fn a_url_of_another_account_or_region_names_no_queue() {
        check_url("/111122223333/orders", Err(Kind::NoQueue));
        check_url("/queue/eu-west-1/000000000000/orders", Err(Kind::NoQueue));
    }

    #[test]
    fn a_text_in_no_form_is_no_address() {
        for url in [
            "",
            "/",
            "http://h",
            "http://h/",
            "http://h/orders",
            "/12/orders",
            "/000000000000/",
            "/000000000000/a/b",
            "/000000000000/%6",
            "a b",
            "ftp://h/000000000000/orders",
        ] {
            check_url(url, Err(Kind::Address));
        }
    }

    #[test]
    fn a_fifo_queue_needs_its_suffix_and_comes_later() {
        let text = |name: &str| new_name(name, &[("FifoQueue", "True")]).unwrap_err().text;
        assert!(text("pay").starts_with("The name of a FIFO queue"));
        assert!(text(&format!("{}.fifo", "x".repeat(76))).starts_with("The name of a FIFO queue"));
        assert!(text("pay.fifo").starts_with("FIFO queues come with a later version"));
        assert!(new_name("pay.fifo", &[]).is_err());
        assert!(new_name(&"q".repeat(80), &[]).is_ok());
        assert!(new_name(&"q".repeat(81), &[]).is_err());
    }

    #[test]
    fn a_page_token_of_another_server_is_refused() {
        let token = write_token(&[1; 32], "orders");
        assert_eq!(read_token(&[1; 32], &token).as_deref(), Ok("orders"));
        assert!(read_token(&[2; 32], &token).is_err());
        assert!(read_token(&[1; 32], "garbage").is_err());
        assert!(read_token(&[1; 32], "").is_err());
    }
}
