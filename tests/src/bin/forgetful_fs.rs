//! A file system in memory that forgets what was not synced, on command: see [`tidegate_tests::forgetful`].
//!
//! `forgetful-fs MOUNTPOINT SEED SYNC_MICROSECONDS` mounts, then obeys its standard input, line by line:
//! `cut all`, `cut tail` or `cut part` (answered `lost SECTORS TORN NAMES`), `mount` (answered `mounted`). It unmounts and ends
//! when its input does.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{BufRead, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fuser::{BackgroundSession, Config, MountOption};
use rustix::mount::{UnmountFlags, unmount};
use tidegate_tests::forgetful::{Loss, Medium, Powered};
use tidegate_tests::rng::Rng;

/// Threads that answer: as many syncs can be under way at once, for they sleep.
const THREADS: usize = 8;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [at, seed, sync_takes] = &arguments[..] else {
        return Err("usage: forgetful-fs MOUNTPOINT SEED SYNC_MICROSECONDS".into());
    };
    let (at, sync_takes) = (Path::new(at), Duration::from_micros(sync_takes.parse()?));
    let medium = Arc::new(Mutex::new(Medium::new(Rng::from_seed(seed.parse()?))));
    let mut powered = Powered::new(Arc::clone(&medium), sync_takes);
    let mut mounted = Mounted::new(at, &powered)?;
    say("mounted")?;
    for order in std::io::stdin().lock().lines() {
        match order?.as_str() {
            "cut all" => say(&format!("lost {}", powered.cut(Loss::All)))?,
            "cut tail" => say(&format!("lost {}", powered.cut(Loss::Tail)))?,
            "cut part" => say(&format!("lost {}", powered.cut(Loss::Part)))?,
            "mount" => {
                drop(mounted);
                powered = Powered::new(Arc::clone(&medium), sync_takes);
                mounted = Mounted::new(at, &powered)?;
                say("mounted")?;
            }
            other => return Err(format!("no such order: {other:?}").into()),
        }
    }
    Ok(())
}

fn say(answer: &str) -> std::io::Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{answer}")?;
    output.flush()
}

/// A mount that goes with its owner, whoever still has files open there.
struct Mounted<'a> {
    at: &'a Path,
    session: Option<BackgroundSession>,
}

impl<'a> Mounted<'a> {
    fn new(at: &'a Path, powered: &Powered) -> Result<Self, String> {
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::FSName("forgetful".into()),
            MountOption::DefaultPermissions,
            MountOption::NoSuid,
            MountOption::NoDev,
        ];
        config.n_threads = Some(THREADS);
        let session = fuser::spawn_mount(powered.clone(), at, &config).map_err(|error| {
            format!("cannot mount FUSE at {}: {error}; it needs /dev/fuse (modprobe fuse) and root", at.display())
        })?;
        Ok(Self { at, session: Some(session) })
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        if let Err(error) = unmount(self.at, UnmountFlags::DETACH) {
            eprintln!("cannot unmount {}: {error}", self.at.display());
        }
        // Its own attempt finds nothing mounted; it must come before the next mount, not after.
        drop(self.session.take());
    }
}
