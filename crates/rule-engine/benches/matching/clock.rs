//! What is read while something runs: processor time, wall time, resident memory.
//!
//! Processor time is the unit of nearly every figure, as neighbours on a shared machine stretch
//! the wall clock at will. They still cost cache: compare what was read in turn.

use std::fs;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A figure is the median of this many readings.
pub const ROUNDS: usize = 5;

/// Processor time of this process so far, all threads together.
pub fn cpu() -> Duration {
    read(ClockId::ProcessCPUTime)
}

/// Time since some moment in the past; it only grows.
pub fn wall() -> Duration {
    read(ClockId::Monotonic)
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).expect("these clocks start at zero");
    Duration::new(
        seconds,
        u32::try_from(time.tv_nsec).expect("less than a second"),
    )
}

/// Resident memory of this process in bytes; 0 where Linux's `/proc` is absent.
pub fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// The middle one of some readings, the lower of two.
pub fn median<T: Copy + PartialOrd>(readings: &mut [T]) -> T {
    readings.sort_by(|a, b| a.partial_cmp(b).expect("no reading is NaN"));
    readings[(readings.len() - 1) / 2]
}
