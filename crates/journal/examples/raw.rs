//! What the file engine carries on this disk: batches of ten records of 1 KB, appended by one
//! thread while another writes and syncs. `raw [DIR] [SECONDS]`.
#![allow(clippy::disallowed_methods, reason = "a stopwatch")]
#![allow(clippy::unwrap_used, reason = "an example")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use journal::disk::OsDisk;
use journal::file::{self, Options};
use journal::{AppendError, Done, Journal, Place, Record, Replay, Room, Sequence, Stamp, Work};

#[derive(Default)]
struct Count(u64);

impl Replay for Count {
    fn snapshot(&mut self, _: Sequence, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn record(&mut self, _: &Stamp, _: Sequence, _: Place, _: &[u8]) -> Result<(), String> {
        self.0 += 1;
        Ok(())
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().unwrap_or_else(|| "raw.data".to_owned()));
    let seconds = arguments.next().map_or(3, |text| text.parse().unwrap());
    std::fs::create_dir_all(&dir).unwrap();
    let begun = Instant::now();
    let mut count = Count::default();
    let mut journal = file::open(Arc::new(OsDisk), &dir, &Options::default(), &mut count).unwrap();
    println!("opened with {} records in {:?}", count.0, begun.elapsed());

    let (to_disk, works) = sync_channel::<Work>(8);
    let (from_disk, dones) = sync_channel::<Done>(8);
    let disk = std::thread::spawn(move || {
        for work in works {
            from_disk.send(work.run()).unwrap();
        }
    });
    let body = vec![b'x'; 1000];
    let keys = [1, 2, 3];
    let record = Record {
        keys: &keys,
        body: &body,
    };
    let batch = [record; 10];
    let begun = Instant::now();
    let mut busy = Duration::ZERO;
    while begun.elapsed() < Duration::from_secs(seconds) {
        let mut wait = false;
        // As many callers as wait for one sync.
        let start = Instant::now();
        for _ in 0..64 {
            match journal.append(&Stamp::default(), &batch, Room::Ordinary) {
                Ok(_) => {}
                Err(AppendError::NotReady) => wait = true,
                Err(error) => panic!("{error}"),
            }
        }
        busy += start.elapsed();
        while let Some(work) = journal.take_work(None) {
            to_disk.send(work).unwrap();
        }
        let done = if wait {
            dones.recv().ok()
        } else {
            dones.try_recv().ok()
        };
        if let Some(done) = done {
            journal.done(done).unwrap();
        }
    }
    let synced = journal.synced();
    println!(
        "{:.0} records/s synced, {:.2} µs of append per record",
        synced.saturating_sub(count.0) as f64 / begun.elapsed().as_secs_f64(),
        busy.as_secs_f64() * 1e6 / journal.next() as f64,
    );
    drop(to_disk);
    disk.join().unwrap();
}
