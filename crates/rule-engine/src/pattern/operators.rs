//! The items of a leaf: literals and operators, each with its refusals in the service's order.
//!
//! The order of the checks is part of the contract: an operator's own operand is looked at
//! before a second member beside it is noticed (event-patterns.md 5.2).

use super::error::{PatternError, Reason};
use super::{Extension, fault};
use crate::address::{self, Address, Block};
use crate::fold::Folded;
use crate::json::{Member, Node, NodeKind};
use crate::matcher::{Bound, Matcher, Range, TextMatcher};
use crate::number::comparable;
use crate::wildcard::{Wildcard, WildcardFault};

/// Reads one item of a leaf; an operator over a list gives one matcher.
pub(crate) fn item(
    matchers: &mut Vec<Matcher>,
    node: &Node<'_>,
    path: &str,
    extension: &mut dyn Extension,
) -> Result<(), PatternError> {
    matchers.push(match &node.kind {
        NodeKind::Object(members) => operator(node, members, path, extension)?,
        NodeKind::Array(_) => return Err(fault(Reason::ArrayInLeaf, node, path)),
        NodeKind::String(text) => Matcher::Text(match Address::parse(text) {
            Some(address) => TextMatcher::Address(address),
            None => TextMatcher::Exactly((**text).into()),
        }),
        NodeKind::Number(text) => Matcher::Number((*text).into(), comparable(text)),
        NodeKind::True => Matcher::True,
        NodeKind::False => Matcher::False,
        NodeKind::Null => Matcher::Null,
    });
    Ok(())
}

/// The wildcards of a leaf that was read without a fault, for the count of its complexity.
pub(crate) fn wildcards<'n>(items: &'n [Node<'_>]) -> Vec<&'n str> {
    let mut found = Vec::new();
    for item in items {
        let mut member = first_member(item);
        if let Some(outer) = member
            && outer.name == "anything-but"
        {
            member = first_member(&outer.value);
        }
        let Some(member) = member.filter(|member| member.name == "wildcard") else {
            continue;
        };
        let operands = match &member.value.kind {
            NodeKind::Array(items) => items.as_slice(),
            _ => std::slice::from_ref(&member.value),
        };
        for operand in operands {
            if let NodeKind::String(text) = &operand.kind {
                found.push(&**text);
            }
        }
    }
    found
}

fn first_member<'n, 't>(node: &'n Node<'t>) -> Option<&'n Member<'t>> {
    match &node.kind {
        NodeKind::Object(members) => members.first(),
        _ => None,
    }
}

fn operator(
    node: &Node<'_>,
    members: &[Member<'_>],
    path: &str,
    extension: &mut dyn Extension,
) -> Result<Matcher, PatternError> {
    let Some(member) = members.first() else {
        return Err(fault(Reason::NoOperator, node, path));
    };
    let operand = &member.value;
    let text = |reason: Reason| string(operand, reason, path);
    let matcher = match &*member.name {
        "exactly" => Matcher::Text(TextMatcher::Exactly(text(Reason::ExactlyNotString)?.into())),
        "prefix" => Matcher::Text(prefix(operand, path)?),
        "suffix" => Matcher::Text(suffix(operand, path)?),
        "numeric" => Matcher::Numeric(numeric(operand, path)?),
        "anything-but" => anything_but(operand, path, extension)?,
        "exists" => match operand.kind {
            NodeKind::True => Matcher::Exists,
            NodeKind::False => Matcher::Absent,
            _ => return Err(fault(Reason::ExistsNotBoolean, operand, path)),
        },
        "cidr" => Matcher::Text(cidr(operand, path)?),
        "equals-ignore-case" => {
            let text = text(Reason::IgnoreCaseNotString)?;
            Matcher::Text(TextMatcher::EqualsIgnoreCase(Folded::new(text)))
        }
        "wildcard" => {
            let text = text(Reason::WildcardNotString)?;
            Matcher::Text(TextMatcher::Wildcard(wildcard(operand, text, path)?))
        }
        unknown => {
            let operator = unknown.to_owned();
            let span = member.name_start..member.name_end;
            match added(extension, member, false, path)? {
                Some(matcher) => matcher,
                None => {
                    return Err(PatternError::new(
                        Reason::UnknownOperator { operator },
                        span,
                        path,
                    ));
                }
            }
        }
    };
    let reason = match &*member.name {
        "numeric" | "anything-but" => Reason::TooManyElements,
        _ => Reason::SecondOperator,
    };
    only(members, reason, path)?;
    Ok(matcher)
}

/// A filter of the caller's own; `None` when it has none of this name.
fn added(
    extension: &mut dyn Extension,
    member: &Member<'_>,
    negated: bool,
    path: &str,
) -> Result<Option<Matcher>, PatternError> {
    let read = extension.read(&member.name, &member.value, negated);
    match read.transpose() {
        Ok(filter) => Ok(filter.map(|filter| Matcher::Added { filter, negated })),
        Err(text) => Err(fault(Reason::Added { text }, &member.value, path)),
    }
}

/// Refuses a second member, at its name.
fn only(members: &[Member<'_>], reason: Reason, path: &str) -> Result<(), PatternError> {
    match members.get(1) {
        None => Ok(()),
        Some(second) => {
            let span = second.name_start..second.name_end;
            Err(PatternError::new(reason, span, path))
        }
    }
}

fn string<'n>(node: &'n Node<'_>, reason: Reason, path: &str) -> Result<&'n str, PatternError> {
    match &node.kind {
        NodeKind::String(text) => Ok(text),
        _ => Err(fault(reason, node, path)),
    }
}

fn prefix(operand: &Node<'_>, path: &str) -> Result<TextMatcher, PatternError> {
    let NodeKind::Object(members) = &operand.kind else {
        let text = string(operand, Reason::PrefixNotString, path)?;
        return Ok(TextMatcher::Prefix(text.into()));
    };
    let unknown = |operator| Reason::PrefixUnknown { operator };
    let folded = ignore_case(operand, members, Reason::PrefixEmpty, unknown, path)?;
    Ok(TextMatcher::PrefixIgnoreCase(folded))
}

fn suffix(operand: &Node<'_>, path: &str) -> Result<TextMatcher, PatternError> {
    let NodeKind::Object(members) = &operand.kind else {
        let text = string(operand, Reason::SuffixNotString, path)?;
        return Ok(TextMatcher::Suffix(text.into()));
    };
    let unknown = |operator| Reason::SuffixUnknown { operator };
    let folded = ignore_case(operand, members, Reason::SuffixEmpty, unknown, path)?;
    Ok(TextMatcher::SuffixIgnoreCase(folded))
}

fn ignore_case(
    operand: &Node<'_>,
    members: &[Member<'_>],
    empty: Reason,
    unknown: impl Fn(String) -> Reason,
    path: &str,
) -> Result<Folded, PatternError> {
    let Some(member) = members.first() else {
        return Err(fault(empty, operand, path));
    };
    if member.name != "equals-ignore-case" {
        let span = member.name_start..member.name_end;
        return Err(PatternError::new(
            unknown(member.name.to_string()),
            span,
            path,
        ));
    }
    let text = string(&member.value, Reason::IgnoreCaseNotString, path)?;
    only(members, Reason::SecondOperator, path)?;
    Ok(Folded::new(text))
}

fn wildcard(operand: &Node<'_>, text: &str, path: &str) -> Result<Wildcard, PatternError> {
    Wildcard::parse(text).map_err(|error| {
        let reason = match error {
            WildcardFault::Run { at } => Reason::WildcardRun { at },
            WildcardFault::Escape { at } => Reason::WildcardEscape { at },
        };
        fault(reason, operand, path)
    })
}

fn number(text: &str, node: &Node<'_>, path: &str) -> Result<f64, PatternError> {
    comparable(text).ok_or_else(|| {
        let number = text.to_owned();
        fault(Reason::NotComparable { number }, node, path)
    })
}

fn numeric(operand: &Node<'_>, path: &str) -> Result<Range, PatternError> {
    let NodeKind::Array(items) = &operand.kind else {
        return Err(fault(Reason::NumericNotArray, operand, path));
    };
    // A fault of an item that is missing lies at the closing bracket.
    let refuse = |reason: Reason, at: usize| match items.get(at) {
        Some(item) => fault(reason, item, path),
        None => PatternError::new(reason, operand.end - 1..operand.end, path),
    };
    let operator = match items.first() {
        Some(Node {
            kind: NodeKind::String(text),
            ..
        }) => &**text,
        other => {
            let found = token(other);
            return Err(refuse(Reason::NumericMember { found }, 0));
        }
    };
    if !["=", "<", "<=", ">", ">="].contains(&operator) {
        let found = operator.to_owned();
        return Err(refuse(Reason::NumericOperator { found }, 0));
    }
    let operand_of = |at: usize, operator: &str| match items.get(at) {
        Some(Node {
            kind: NodeKind::Number(text),
            ..
        }) => Ok(*text),
        _ => {
            let operator = if operator == "=" { "equals" } else { operator };
            let operator = operator.to_owned();
            Err(refuse(Reason::NumericOperand { operator }, at))
        }
    };
    let first = operand_of(1, operator)?;
    if ["=", "<", "<="].contains(&operator) {
        if 2 < items.len() {
            return Err(refuse(Reason::TooManyElements, 2));
        }
        let bound = Bound {
            number: number(first, &items[1], path)?,
            inclusive: operator != "<",
        };
        return Ok(Range {
            bottom: (operator == "=").then_some(bound),
            top: Some(bound),
        });
    }
    let inclusive = operator == ">=";
    let operator = match items.get(2) {
        None => {
            let number = number(first, &items[1], path)?;
            return Ok(Range {
                bottom: Some(Bound { number, inclusive }),
                top: None,
            });
        }
        Some(Node {
            kind: NodeKind::String(text),
            ..
        }) => &**text,
        other => {
            let found = token(other);
            return Err(refuse(Reason::NumericTopValue { found }, 2));
        }
    };
    if !["<", "<="].contains(&operator) {
        let found = operator.to_owned();
        return Err(refuse(Reason::NumericTopOperator { found }, 2));
    }
    let second = operand_of(3, operator)?;
    if 4 < items.len() {
        return Err(refuse(Reason::NumericTooMany, 4));
    }
    let bottom = Bound {
        number: number(first, &items[1], path)?,
        inclusive,
    };
    let top = Bound {
        number: number(second, &items[3], path)?,
        inclusive: operator == "<=",
    };
    if top.number <= bottom.number {
        return Err(fault(Reason::NumericBottom, operand, path));
    }
    Ok(Range {
        bottom: Some(bottom),
        top: Some(top),
    })
}

/// A value as the service's parser names it in its texts.
fn token(node: Option<&Node<'_>>) -> String {
    match node.map(|node| &node.kind) {
        None => "]".to_owned(),
        Some(NodeKind::Object(_)) => "{".to_owned(),
        Some(NodeKind::Array(_)) => "[".to_owned(),
        Some(NodeKind::String(text)) => text.to_string(),
        Some(NodeKind::Number(text)) => (*text).to_owned(),
        Some(NodeKind::True) => "true".to_owned(),
        Some(NodeKind::False) => "false".to_owned(),
        Some(NodeKind::Null) => "null".to_owned(),
    }
}

fn anything_but(
    operand: &Node<'_>,
    path: &str,
    extension: &mut dyn Extension,
) -> Result<Matcher, PatternError> {
    let NodeKind::Object(members) = &operand.kind else {
        return anything_but_values(operand, list(operand, path)?, path);
    };
    let Some(member) = members.first() else {
        return Err(fault(Reason::AnythingButEmpty, operand, path));
    };
    let operator = &*member.name;
    let wrong = match operator {
        "prefix" | "suffix" => Reason::AnythingButAffixNotString,
        "equals-ignore-case" => Reason::AnythingButIgnoreCase,
        "wildcard" => Reason::WildcardNotString,
        unknown => {
            if let Some(matcher) = added(extension, member, true, path)? {
                only(members, Reason::TooManyElements, path)?;
                return Ok(matcher);
            }
            let operator = unknown.to_owned();
            let span = member.name_start..member.name_end;
            return Err(PatternError::new(
                Reason::AnythingButUnknown { operator },
                span,
                path,
            ));
        }
    };
    let items = list(&member.value, path)?;
    let mut texts = Vec::new();
    for item in items {
        let text = string(item, wrong.clone(), path)?;
        if text.is_empty() && ["prefix", "suffix"].contains(&operator) {
            return Err(fault(Reason::AnythingButAffixEmpty, item, path));
        }
        texts.push(text);
    }
    // Only now, as the service does: a later item that is no string is noticed first.
    let mut matchers = Vec::new();
    for (item, text) in items.iter().zip(texts) {
        matchers.push(match operator {
            "prefix" => TextMatcher::Prefix(text.into()),
            "suffix" => TextMatcher::Suffix(text.into()),
            "equals-ignore-case" => TextMatcher::EqualsIgnoreCase(Folded::new(text)),
            _ => TextMatcher::Wildcard(wildcard(item, text, path)?),
        });
    }
    if matchers.is_empty() {
        return Err(fault(Reason::EmptyArray, &member.value, path));
    }
    only(members, Reason::TooManyElements, path)?;
    Ok(Matcher::AnythingBut(matchers.into()))
}

/// What `anything-but` lists: the items of an array, or a single string or number.
fn list<'n, 't>(node: &'n Node<'t>, path: &str) -> Result<&'n [Node<'t>], PatternError> {
    match &node.kind {
        NodeKind::Array(items) => Ok(items),
        NodeKind::String(_) | NodeKind::Number(_) => Ok(std::slice::from_ref(node)),
        _ => Err(fault(Reason::AnythingButValue, node, path)),
    }
}

fn anything_but_values(
    operand: &Node<'_>,
    items: &[Node<'_>],
    path: &str,
) -> Result<Matcher, PatternError> {
    let mut texts = Vec::new();
    let mut numbers = Vec::new();
    for item in items {
        match &item.kind {
            NodeKind::String(text) => texts.push(TextMatcher::Exactly((**text).into())),
            NodeKind::Number(text) => numbers.push(number(text, item, path)?),
            _ => return Err(fault(Reason::AnythingButItem, item, path)),
        }
    }
    if texts.is_empty() == numbers.is_empty() {
        return Err(fault(Reason::AnythingButMixed, operand, path));
    }
    if numbers.is_empty() {
        Ok(Matcher::AnythingBut(texts.into()))
    } else {
        Ok(Matcher::AnythingButNumbers(numbers.into()))
    }
}

fn cidr(operand: &Node<'_>, path: &str) -> Result<TextMatcher, PatternError> {
    let text = string(operand, Reason::CidrNotString, path)?;
    let refuse = |reason: Reason| fault(reason, operand, path);
    let mut parts: Vec<&str> = text.split('/').collect();
    // The service's library drops empty parts at the end: `10.0.0.0/24/` is taken.
    while parts.last() == Some(&"") {
        parts.pop();
    }
    let [address, mask] = parts.as_slice() else {
        return Err(refuse(Reason::CidrShape));
    };
    let digits = mask.strip_prefix(['+', '-']).unwrap_or(mask);
    // Nine digits are more than any mask has, and fit the number.
    if digits.is_empty() || 9 < digits.len() || !digits.bytes().all(|it| it.is_ascii_digit()) {
        return Err(refuse(Reason::CidrMask));
    }
    let bits: u32 = digits.parse().expect("at most nine digits");
    if mask.starts_with('-') && bits != 0 {
        return Err(refuse(Reason::CidrMaskNegative));
    }
    let named = || (*address).to_owned();
    if !address::shaped(address) {
        return Err(refuse(Reason::AddressShape { address: named() }));
    }
    let Some(network) = Address::parse(address) else {
        return Err(refuse(Reason::AddressInvalid { address: named() }));
    };
    match Block::new(network, bits) {
        Ok(block) => Ok(TextMatcher::Block(block)),
        Err((family, width)) => Err(refuse(Reason::CidrMaskLong { family, width })),
    }
}
