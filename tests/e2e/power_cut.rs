//! Power cuts in the middle of a load, by shutting a file system down without a flush.
//!
//! The data directory lies on an ext4 image behind a loop device; what was acknowledged is noted in
//! this process. Each cycle: cut, kill, unmount, mount again (the file system's journal is replayed),
//! start. Between cut and kill the server still talks, as no machine without power does; what it says
//! then does not count (`Power` in `load.rs` tells why). The checker is that of `crash.rs`. Needs
//! `root` and `loop`; `BUSBAR_POWER_CYCLES` sets how often (default 3).
//!
//! A test of durability is worth something only if it fails when the sync is taken out:
//! `BUSBAR_MUTANT_BINARY` names a binary built with `tests/mutants/no-sync.patch`, and the second
//! test wants the loss to be seen.

#[allow(dead_code, reason = "each test uses its part of the support")]
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use support::load::{Plan, Power, Report, Run};
use support::{Options, python, repository, require, wait_until};

/// Size of the image. Sparse; above the 1 GiB of free space under which the server takes no events.
const IMAGE_BYTES: u64 = 4 << 30;

/// An ext4 file system on a loop device, in a temporary folder of its own. Dropped: unmounted, detached.
struct Disk {
    device: String,
    mount: PathBuf,
    _home: tempfile::TempDir,
}

impl Disk {
    fn new() -> Disk {
        let home = tempfile::tempdir().expect("a temporary folder");
        let image = home.path().join("disk.img");
        let file = fs::File::create(&image).expect("the temporary folder is writable");
        file.set_len(IMAGE_BYTES).expect("a sparse file");
        let mount = home.path().join("disk");
        fs::create_dir(&mount).expect("the temporary folder is writable");
        let device = run("losetup", &["-f", "--show", text(&image)])
            .trim()
            .to_string();
        run("mkfs.ext4", &["-q", "-F", &device]);
        run("mount", &[&device, text(&mount)]);
        Disk {
            device,
            mount,
            _home: home,
        }
    }

    /// Starts what will cut the power, and waits until nothing but the call itself is left to do.
    fn fuse(&self) -> Fuse {
        let mut process = Command::new(python())
            .arg(repository("tests/e2e/cut_power.py"))
            .arg(&self.mount)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python can be run");
        let mut ready = [0];
        let said = process.stdout.as_mut().expect("stdout is piped");
        said.read_exact(&mut ready)
            .expect("the script says that it is ready");
        Fuse(process)
    }

    /// What a machine does when it comes up again.
    fn mount_again(&self) {
        // Busy until the kernel has let go of the killed process's files.
        wait_until(
            Duration::from_secs(20),
            "the cut file system can be unmounted",
            || {
                Command::new("umount")
                    .arg(&self.mount)
                    .output()
                    .is_ok_and(|output| output.status.success())
            },
        );
        run("mount", &[&self.device, text(&self.mount)]);
    }
}

/// A power cut that waits for its moment. The time between the last answer that counts and the cut
/// has to be short, and an interpreter starts slowly.
struct Fuse(Child);

impl Fuse {
    /// All that is not synced is gone; every call after it fails.
    fn cut(mut self, power: &Power) {
        power.off();
        drop(self.0.stdin.take());
        let status = self.0.wait().expect("our own child can be awaited");
        assert!(status.success(), "cut_power.py: {status}");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.mount).output();
        let _ = Command::new("losetup").args(["-d", &self.device]).output();
    }
}

#[track_caller]
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .expect("the program can be run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

/// Cuts the power `cycles` times under load.
///
/// # Errors
/// The text of a server that does not come up again after a cut.
fn cut_under_load(binary: Option<PathBuf>, cycles: u64, idle: Duration) -> Result<Report, String> {
    let disk = Disk::new();
    let options = Options {
        data: Some(disk.mount.join("data")),
        binary,
        ..Options::default()
    };
    let plan = Plan {
        rate: 1_000,
        producers: 4,
        // The queue keeps all that was acknowledged until the end, so that a loss cannot hide behind
        // a message that was received before the cut.
        consume: false,
        // What a sync may take here while other work shares the disk.
        window: Duration::from_millis(1_500),
        drain: Duration::from_secs(180),
        idle,
    };
    let mut run = Run::start(&options, plan);
    for cycle in 1..=cycles {
        let time = Duration::from_millis(fastrand::u64(400..1_500));
        let before = run.acked();
        let (fuse, power) = (disk.fuse(), run.power());
        run.crash(time, |server| {
            fuse.cut(&power);
            server.kill9();
            disk.mount_again();
        })
        .map_err(|fault| format!("cycle {cycle}: {fault}"))?;
        assert!(
            before < run.acked(),
            "cycle {cycle}: nothing was acknowledged within {time:?}"
        );
    }
    Ok(run.finish())
}

/// Is there what a power cut needs?
fn able(test: &str) -> bool {
    require(test, "root").is_some() && require(test, "loop").is_some()
}

#[test]
fn nothing_acknowledged_is_lost_by_a_power_cut() {
    if !able("nothing_acknowledged_is_lost_by_a_power_cut") {
        return;
    }
    let cycles = std::env::var("BUSBAR_POWER_CYCLES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(3);
    let report = cut_under_load(None, cycles, Duration::from_secs(30))
        .unwrap_or_else(|fault| panic!("{fault}"));
    println!("{}", report.line());
    assert!(report.faults.is_empty(), "{}", report.told());
}

#[test]
fn a_server_that_does_not_sync_is_caught() {
    let Some(mutant) = std::env::var_os("BUSBAR_MUTANT_BINARY") else {
        println!("skipped: a_server_that_does_not_sync_is_caught: BUSBAR_MUTANT_BINARY is not set");
        return;
    };
    if !able("a_server_that_does_not_sync_is_caught") {
        return;
    }
    match cut_under_load(Some(PathBuf::from(mutant)), 2, Duration::from_secs(10)) {
        // It came up the first time, or `Run::start` had panicked: what it found after the cut, it
        // could not use.
        Err(fault) => println!("caught: {fault}"),
        Ok(report) => {
            println!("{}", report.told());
            let caught = report
                .faults
                .iter()
                .any(|fault| fault.starts_with("lost: "));
            assert!(
                caught,
                "a server without its sync lost nothing in two power cuts: the test proves nothing"
            );
        }
    }
}
