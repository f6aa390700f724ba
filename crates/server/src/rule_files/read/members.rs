//! What the reader knows of JSON: members, their kinds and bounds. Faults are noted here.

use super::Reader;
use super::place::{first, inside_string, span};
use crate::diagnostic::{Diagnostic, Severity, did_you_mean};
use bus_core::name::{Arn, NameError};
use lifecycle::documents::shape::{Member, REMARKS};
use rule_engine::json::{self, Node, NodeKind};
use std::collections::BTreeMap;
use std::ops::Range;

/// A fault was noted; what it stood in has no value.
pub(super) struct Noted;

pub(super) type Take<T> = Result<T, Noted>;
pub(super) type Members<'n, 't> = BTreeMap<&'n str, &'n json::Member<'t>>;

impl Reader<'_> {
    pub(super) fn members<'n, 't>(
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

    pub(super) fn any_members<'n, 't>(
        &mut self,
        node: &'n Node<'t>,
        what: &str,
    ) -> Take<Members<'n, 't>> {
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

    pub(super) fn required<'n, 't>(
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

    pub(super) fn text_of<'n>(&mut self, name: &str, node: &'n Node<'_>) -> Take<&'n str> {
        match &node.kind {
            NodeKind::String(text) => Ok(text),
            _ => Err(self.kind(node, name, "a string")),
        }
    }

    pub(super) fn bounded_text<'n>(
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

    pub(super) fn optional_text(
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

    pub(super) fn whole_number(
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

    pub(super) fn arn<'t>(
        &mut self,
        code: &'static str,
        node: &Node<'_>,
        text: &'t str,
    ) -> Take<Arn<'t>> {
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

    pub(super) fn ours(&mut self, code: &'static str, node: &Node<'_>, arn: &Arn<'_>) -> Take<()> {
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

    pub(super) fn bad_name(
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

    pub(super) fn kind(&mut self, node: &Node<'_>, name: &str, wanted: &str) -> Noted {
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
    pub(super) fn inside(&self, node: &Node<'_>, inside: Range<usize>) -> Range<usize> {
        if !matches!(node.kind, NodeKind::String(_)) {
            return span(node);
        }
        inside_string(self.text, &span(node), inside)
    }

    pub(super) fn diagnostic(
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

    pub(super) fn fault(
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
