//! `busbar jsonschema`: what operator documents look like, for editors and other programs.

use super::{Failure, Outcome, table};
use crate::diagnostic::did_you_mean;
use crate::rule_files::schemas::KINDS;
use clap::Args;
use serde_json::{Map, Value};

#[derive(Args)]
pub struct JsonSchema {
    /// The kind of document [default: list the kinds; with --json, the schemas of all].
    #[arg(value_name = "KIND")]
    kind: Option<String>,
}

impl JsonSchema {
    pub fn run(self, json: bool) -> Outcome {
        let Some(name) = self.kind else {
            if json {
                let all = KINDS
                    .iter()
                    .map(|kind| (kind.name.to_owned(), kind.schema()));
                say!("{}", Value::from(all.collect::<Map<_, _>>()));
            } else {
                let row = |kind: &crate::rule_files::schemas::Kind| {
                    vec![kind.name.to_owned(), kind.what.to_owned()]
                };
                let rows: Vec<Vec<String>> = KINDS.iter().map(row).collect();
                table::print(&["KIND", "DOCUMENT"], &rows);
            }
            return Ok(0);
        };
        let Some(kind) = KINDS.iter().find(|kind| kind.name == name) else {
            let names = KINDS.map(|kind| kind.name);
            let help = did_you_mean(&name, &names);
            return Err(Failure::usage(format!(
                "no documents of kind `{name}`: {help}"
            )));
        };
        say!("{:#}", kind.schema());
        Ok(0)
    }
}
