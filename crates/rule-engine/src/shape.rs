//! What a target is sent: `Input`, `InputPath` and `InputTransformer` of EventBridge.
//!
//! An input is compiled once per version of a target and then applied to each event's envelope.
//! Values are slices of the envelope, never parsed and printed again: a number keeps its text, a
//! string its escapes. That is exact, and most of what is sent is one copy of what was put.
//!
//! The whole work on an event is one pass over it for all paths together (`path::find`), one over
//! each value found, and one over what comes out; nothing recurses, so the depth of an event
//! costs no stack.
//!
//! Left to others: the constraints of the API's model that know nothing of shaping (8,192
//! characters of template, 256 of a path; the door of the API), and what becomes of an event
//! that can't be shaped (the dispatcher).
//!
//! Start at [`Shaper::compile`] and [`Shaper::shape`].
//! Source: EventBridge user guide, "Input transformation"; API reference, `PutTargets`.

mod error;
mod json;
mod path;
mod template;
mod time;

use std::borrow::Cow;
use std::sync::Arc;

pub use error::{InputError, Place, Warning};
use path::Path;
use template::Template;

/// Most entries of an `InputPathsMap`. Source: the API's model.
pub const PATHS_MAX: usize = 100;
/// Longest key of an `InputPathsMap`, in characters. Source: the API's model.
pub const KEY_CHARACTERS_MAX: usize = 256;

/// What a target's three input members say.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// None of the three: the envelope, byte for byte.
    Whole,
    /// `Input`: one JSON text, sent byte for byte. Empty: as [`Input::Whole`].
    Constant(&'a str),
    /// `InputPath`: what the path finds, or `{}`. Empty: always `{}`.
    Path(&'a str),
    /// `InputTransformer`.
    Transformer {
        /// `InputPathsMap`: name and path. Of a doubled name the last counts. No map: empty.
        paths: &'a [(String, String)],
        /// `InputTemplate`.
        template: &'a str,
    },
}

/// Where an operator chose AWS's way over ours.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// `aws_exact.placeholders`: without an `InputPathsMap`, unknown placeholders are accepted and
    /// stay in the text.
    pub unknown_placeholders_accepted: bool,
}

/// What an input may tell besides the event, and the bound on what comes out.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// For `<aws.events.rule-name>`.
    pub rule_name: &'a str,
    /// For `<aws.events.rule-arn>`.
    pub rule_arn: &'a str,
    /// When the bus accepted the event, in milliseconds since 1970.
    pub ingestion_ms: i64,
    /// Most bytes a transformer may put together. The caller's bound, kept here because 8,192
    /// characters of `<a>` can ask for gigabytes.
    pub bytes_max: usize,
}

/// Why an event gives no input. Neither is worth another attempt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unshaped {
    /// The template gave no JSON: a dead letter `INVALID_JSON` with this text.
    #[error("Invalid input for target.")]
    NotJson {
        /// The text that came out; it is the dead letter's body.
        body: Vec<u8>,
    },
    /// More than [`Context::bytes_max`]; nothing was put together.
    #[error("the input has {bytes} bytes, the bound is {bytes_max}")]
    TooLarge {
        /// What it would have been.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
}

/// A checked input, ready to shape events. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Shaper(Arc<Plan>);

#[derive(Debug)]
enum Plan {
    Whole,
    Constant(Box<[u8]>),
    Path(Path),
    Template(Template),
}

impl Shaper {
    /// Checks an input and makes it ready. `target_id` goes into the texts.
    ///
    /// # Errors
    /// [`InputError`], whose text is AWS's; the first fault in AWS's order of checks.
    pub fn compile(
        input: &Input<'_>,
        target_id: &str,
        options: &Options,
    ) -> Result<Self, InputError> {
        let plan = match *input {
            Input::Whole | Input::Constant("") => Plan::Whole,
            Input::Constant(text) => match json::check_text(text.as_bytes()) {
                Ok(()) => Plan::Constant(text.as_bytes().into()),
                Err(offset) => {
                    return Err(InputError::Constant {
                        target_id: target_id.to_owned(),
                        place: Place::new(text, offset),
                    });
                }
            },
            Input::Path("") => Plan::Constant(b"{}".as_slice().into()),
            Input::Path(path) => match Path::parse(path) {
                Some(path) if path.is_root() => Plan::Whole,
                Some(path) => Plan::Path(path),
                None => {
                    return Err(InputError::Path {
                        target_id: target_id.to_owned(),
                        path: path.to_owned(),
                    });
                }
            },
            Input::Transformer { paths, template } => {
                Plan::Template(Template::compile(paths, template, target_id, options)?)
            }
        };
        Ok(Self(Arc::new(plan)))
    }

    /// Makes the input out of an event.
    ///
    /// `envelope` is the whole event, JSON that was validated when it was accepted. What is sent
    /// as it stands is borrowed; what a template puts together is owned.
    /// Linear in the sizes of envelope and input: a template costs its output, not more.
    ///
    /// # Errors
    /// [`Unshaped`], for templates alone.
    pub fn shape<'e>(
        &'e self,
        envelope: &'e [u8],
        context: &Context<'_>,
    ) -> Result<Cow<'e, [u8]>, Unshaped> {
        match &*self.0 {
            Plan::Whole => Ok(Cow::Borrowed(envelope)),
            Plan::Constant(text) => Ok(Cow::Borrowed(text)),
            Plan::Path(path) => {
                let found = path::find(std::slice::from_ref(path), envelope);
                Ok(match found[0].json() {
                    None => Cow::Borrowed(b"{}"),
                    Some(text) if *text == *b"null" => Cow::Borrowed(b"{}"),
                    Some(text) => text,
                })
            }
            Plan::Template(template) => template.shape(envelope, context),
        }
    }

    /// Whether the input is the envelope itself, byte for byte.
    pub fn is_whole(&self) -> bool {
        matches!(*self.0, Plan::Whole)
    }

    /// What is allowed and likely to be regretted.
    pub fn warnings(&self) -> &[Warning] {
        match &*self.0 {
            Plan::Template(template) => template.warnings(),
            Plan::Whole | Plan::Constant(_) | Plan::Path(_) => &[],
        }
    }
}
