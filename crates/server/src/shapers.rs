//! Input shaping by target version: compiled once, used by intake, dispatcher and receives.

use bus_core::name::Home;
use bus_core::outcome::{Code, Failure};
use bus_core::state::Version;
use dashmap::DashMap;
use rule_engine::shape::{Context, Input, InputError, Options, Shaper, Unshaped};
use std::borrow::Cow;

/// Size of an input after shaping, in bytes. Source: eventbridge-api.md 17.
pub const SHAPED_BYTES_MAX: usize = 1 << 20;
/// Compiled shapers kept; at the bound all are forgotten and made again when they are needed.
const SHAPERS_MAX: usize = 10_000;

/// Why an event has no input for a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotShaped {
    /// As a dead letter shows it.
    pub failure: Failure,
    /// What came out, for the dead letter's body.
    pub body: Vec<u8>,
}

/// Compiles the input members of a target.
///
/// # Errors
/// [`InputError`], whose text is AWS's.
pub fn compile(
    target: &bus_core::document::Target,
    unknown_placeholders_accepted: bool,
) -> Result<Shaper, InputError> {
    let options = Options {
        unknown_placeholders_accepted,
    };
    let id = target.id.as_str();
    if let Some(transformer) = &target.input_transformer {
        let paths: Vec<(String, String)> = transformer
            .input_paths_map
            .iter()
            .map(|(name, path)| (name.clone(), path.as_str().unwrap_or_default().to_owned()))
            .collect();
        return Shaper::compile(
            &Input::Transformer {
                paths: &paths,
                template: &transformer.input_template,
            },
            id,
            &options,
        );
    }
    let input = match (&target.input, &target.input_path) {
        (Some(text), _) if !text.is_empty() => Input::Constant(text),
        (_, Some(path)) => Input::Path(path),
        _ => Input::Whole,
    };
    Shaper::compile(&input, id, &options)
}

/// Compiled shapers by version.
#[derive(Debug)]
pub struct Shapers {
    home: Home,
    by_version: DashMap<u32, Shaper>,
}

impl Shapers {
    /// None yet.
    #[must_use]
    pub fn new(home: Home) -> Self {
        Self {
            home,
            by_version: DashMap::new(),
        }
    }

    /// What a version's target is sent of an event; `None` = the envelope itself.
    ///
    /// # Errors
    /// [`NotShaped`], which no further try would change (F36).
    pub fn shape(
        &self,
        version: &Version,
        envelope: &[u8],
        accepted_ms: i64,
    ) -> Result<Option<Vec<u8>>, NotShaped> {
        if !version.target.shapes() {
            return Ok(None);
        }
        let shaper = self.shaper(version)?;
        let rule_arn = self
            .home
            .rule_arn(version.bus.as_str(), version.rule.as_str());
        let context = Context {
            rule_name: version.rule.as_str(),
            rule_arn: &rule_arn,
            ingestion_ms: accepted_ms,
            bytes_max: SHAPED_BYTES_MAX,
        };
        match shaper.shape(envelope, &context) {
            Ok(Cow::Borrowed(slice)) if slice.len() == envelope.len() => Ok(None),
            Ok(shaped) => Ok(Some(shaped.into_owned())),
            Err(unshaped) => {
                let code = match unshaped {
                    Unshaped::NotJson { .. } => Code::InvalidJson,
                    _ => Code::InvalidParameter,
                };
                let failure = Failure::new(code, &unshaped.to_string());
                let body = match unshaped {
                    Unshaped::NotJson { body } => body,
                    _ => Vec::new(),
                };
                Err(NotShaped { failure, body })
            }
        }
    }

    fn shaper(&self, version: &Version) -> Result<Shaper, NotShaped> {
        if let Some(shaper) = self.by_version.get(&version.number) {
            return Ok(shaper.clone());
        }
        // It was compiled before it was stored; leniently here, so that a changed switch does not lose it.
        let shaper = compile(&version.target, true).map_err(|error| NotShaped {
            failure: Failure::new(Code::InvalidParameter, &error.to_string()),
            body: Vec::new(),
        })?;
        if SHAPERS_MAX <= self.by_version.len() {
            self.by_version.clear();
        }
        self.by_version.insert(version.number, shaper.clone());
        Ok(shaper)
    }
}
