//! Names and ARNs: checked once at the door, remembered by the type.
//!
//! Source of all bounds: eventbridge-api.md 15.1, sqs-api.md 2.1.

use serde::{Deserialize, Serialize};

/// Why a text is no name of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No character at all.
    #[error("empty")]
    Empty,
    /// More than the bound.
    #[error("longer than {0} characters")]
    Long(usize),
    /// A character outside the set.
    #[error("character outside the allowed set")]
    Character,
}

fn check(text: &str, max: usize, extra: &[u8]) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if !text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || extra.contains(&b))
    {
        return Err(NameError::Character);
    }
    if text.len() > max {
        return Err(NameError::Long(max));
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $max:literal, $extra:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Box<str>);

        impl $type {
            /// Takes `text` if it is such a name.
            ///
            /// # Errors
            /// [`NameError`] says which bound it breaks.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                check(text, $max, $extra)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(&text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0.into()
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// Name of a bus: 1 to 256 of `A-Z a-z 0-9 . - _`. (AWS also has `/`, for partner buses only.)
    BusName, 256, b".-_"
}
name! {
    /// Name of a rule: 1 to 64 of `A-Z a-z 0-9 . - _`.
    RuleName, 64, b".-_"
}
name! {
    /// Id of a target in its rule: 1 to 64 of `A-Z a-z 0-9 . - _`.
    TargetId, 64, b".-_"
}
name! {
    /// Name of a standard queue: 1 to 80 of `A-Z a-z 0-9 - _`.
    QueueName, 80, b"-_"
}
name! {
    /// Name of a log: 1 to 512 of `A-Z a-z 0-9 . - _ / #`.
    LogName, 512, b".-_/#"
}

impl BusName {
    /// The bus that always exists.
    #[must_use]
    pub fn default_bus() -> Self {
        Self("default".into())
    }

    /// The bus of rules that no event is put to and no pattern reaches: what decisions hand over to. It is
    /// in no list of buses, and nobody can make one of this name.
    #[must_use]
    pub fn internal() -> Self {
        Self("busbar.internal".into())
    }
}

/// Account and region of this server: what its ARNs are made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Home {
    /// Twelve digits.
    pub account: String,
    /// As AWS writes regions: `us-east-1`.
    pub region: String,
}

impl Default for Home {
    fn default() -> Self {
        Self {
            account: "000000000000".into(),
            region: "us-east-1".into(),
        }
    }
}

impl Home {
    fn arn(&self, service: &str, resource: std::fmt::Arguments<'_>) -> String {
        format!(
            "arn:aws:{service}:{}:{}:{resource}",
            self.region, self.account
        )
    }

    /// ARN of a bus.
    #[must_use]
    pub fn bus_arn(&self, bus: &str) -> String {
        self.arn("events", format_args!("event-bus/{bus}"))
    }

    /// ARN of a rule; the default bus is not named in it.
    #[must_use]
    pub fn rule_arn(&self, bus: &str, rule: &str) -> String {
        match bus {
            "default" => self.arn("events", format_args!("rule/{rule}")),
            bus => self.arn("events", format_args!("rule/{bus}/{rule}")),
        }
    }

    /// ARN of a queue.
    #[must_use]
    pub fn queue_arn(&self, queue: &str) -> String {
        self.arn("sqs", format_args!("{queue}"))
    }

    /// ARN of a log.
    #[must_use]
    pub fn log_arn(&self, log: &str) -> String {
        self.arn("logs", format_args!("log-group:{log}"))
    }

    /// ARN of a webhook that a rule file writes in shorthand.
    #[must_use]
    pub fn webhook_arn(&self, bus: &str, rule: &str, target: &str) -> String {
        match bus {
            "default" => self.arn("events", format_args!("webhook/{rule}/{target}")),
            bus => self.arn("events", format_args!("webhook/{bus}/{rule}/{target}")),
        }
    }

    /// ARN of a destination that a document of operators describes.
    #[must_use]
    pub fn destination_arn(&self, name: &str) -> String {
        self.arn("events", format_args!("api-destination/{name}"))
    }

    /// Whether an ARN names this account and region.
    #[must_use]
    pub fn owns(&self, arn: &Arn<'_>) -> bool {
        arn.region == self.region && arn.account == self.account
    }
}

/// The six parts of an ARN. `resource` may hold `:` and `/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arn<'a> {
    /// `sqs`, `events`, `lambda`…
    pub service: &'a str,
    /// May be empty.
    pub region: &'a str,
    /// Twelve digits or empty.
    pub account: &'a str,
    /// All behind the fifth colon; not empty.
    pub resource: &'a str,
}

impl<'a> Arn<'a> {
    /// Splits a text in ARN form; `None` if it is none. Source: eventbridge-api.md 15.2.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        if parts.next()? != "arn" {
            return None;
        }
        let partition = parts.next()?;
        if partition != "aws" && !partition.starts_with("aws-") {
            return None;
        }
        let (service, region, account) = (parts.next()?, parts.next()?, parts.next()?);
        let resource = parts.next()?;
        let account_fits = account.is_empty()
            || (account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()));
        if service.is_empty() || resource.is_empty() || !account_fits {
            return None;
        }
        Some(Self {
            service,
            region,
            account,
            resource,
        })
    }

    /// The queue that this ARN names.
    #[must_use]
    pub fn queue(&self) -> Option<QueueName> {
        (self.service == "sqs").then(|| QueueName::parse(self.resource).ok())?
    }

    /// The log that this ARN names, `:*` behind it or not.
    #[must_use]
    pub fn log(&self) -> Option<LogName> {
        let name = self.resource.strip_prefix("log-group:")?;
        (self.service == "logs")
            .then(|| LogName::parse(name.strip_suffix(":*").unwrap_or(name)).ok())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_to_its_set_and_length() {
        assert!(RuleName::parse("a.b-c_D9").is_ok());
        assert_eq!(RuleName::parse(""), Err(NameError::Empty));
        assert_eq!(RuleName::parse("a b"), Err(NameError::Character));
        assert_eq!(RuleName::parse(&"x".repeat(65)), Err(NameError::Long(64)));
        assert_eq!(QueueName::parse("a.fifo"), Err(NameError::Character));
    }

    #[test]
    fn an_arn_says_what_it_names() {
        let arn = Arn::parse("arn:aws:sqs:us-east-1:000000000000:orders").unwrap();
        assert_eq!(arn.queue().unwrap().as_str(), "orders");
        assert!(Home::default().owns(&arn));
        let arn =
            Arn::parse("arn:aws:logs:us-east-1:000000000000:log-group:/aws/events/x:*").unwrap();
        assert_eq!(arn.log().unwrap().as_str(), "/aws/events/x");
        assert_eq!(Arn::parse("arn:aws:sqs:us-east-1:12:orders"), None);
        assert_eq!(Arn::parse("orders"), None);
    }
}
