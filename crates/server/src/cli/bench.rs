//! `busbar bench`: figures of this machine. What is measured, and how, is [`crate::bench`].

use super::{Failure, NO, Outcome};
use crate::bench::{self, Figure, Plan};
use clap::Args;
use std::path::PathBuf;

/// Measure what the bus costs on this machine: a server of its own, on folders that are removed.
#[derive(Args)]
pub struct Bench {
    /// Events of each put run.
    #[arg(long, default_value_t = 100_000)]
    events: usize,
    /// Bytes of each event's detail.
    #[arg(long, default_value_t = 1_000)]
    size: usize,
    /// Connections of the put runs.
    #[arg(long, value_delimiter = ',', default_value = "1,16")]
    connections: Vec<usize>,
    /// Events of the webhook run, at 500 a second.
    #[arg(long, default_value_t = 5_000)]
    webhook_events: usize,
    /// Pending deliveries of the start run; 0 leaves it out.
    #[arg(long, default_value_t = 100_000)]
    pending: usize,
    /// Measure events of an object in three groups while so many groups have a trigger, and nothing else.
    #[arg(long, default_value_t = 0, value_name = "N")]
    triggers: usize,
    /// Measure scans over so many objects, and nothing else.
    #[arg(long, default_value_t = 0, value_name = "N")]
    objects: usize,
    /// Where the data folders are made; the disk that is measured.
    #[arg(long, default_value = "busbar-bench")]
    dir: PathBuf,
}

impl Bench {
    /// Entries of each call: the most that `PutEvents` takes.
    const BATCH: usize = bus_core::limits::PUT_ENTRIES_MAX;

    pub fn run(self, json: bool) -> Outcome {
        if self.connections.contains(&0) || self.events < Self::BATCH {
            return Err(Failure::usage(
                "at least one connection and ten events are wanted",
            ));
        }
        if self.dir.exists() {
            let dir = self.dir.display();
            return Err(Failure::usage(format!(
                "{dir} is there already; name another with --dir"
            )));
        }
        std::fs::create_dir_all(&self.dir).map_err(|e| Failure::new(NO, e))?;
        let plan = Plan {
            events: self.events,
            batch: Self::BATCH,
            size: self.size,
            connections: self.connections,
            webhook_events: self.webhook_events,
            pending: self.pending,
            triggers: self.triggers,
            objects: self.objects,
            dir: self.dir.clone(),
        };
        let done = bench::run(&plan, &mut |figure| tell(&figure, json));
        // What was measured is told; a folder that stays is only untidy.
        let _ = std::fs::remove_dir_all(&self.dir);
        done.map_err(|e| Failure::new(NO, e))?;
        Ok(0)
    }
}

fn tell(figure: &Figure, json: bool) {
    let Figure { what, value, unit } = figure;
    if json {
        say!(
            "{}",
            serde_json::json!({"what": what, "value": value, "unit": unit})
        );
    } else {
        say!("{what:<72} {value:>12.2} {unit}");
    }
}
