//! A clock and a boot of an agent's own, where a test needs others than this machine's: a month that is about to end, a
//! gateway that starts in 1980, one that was switched off and on.
//!
//! The wall clock is another one by libfaketime, which takes the place of the C library's functions in the real binary. The
//! uptime comes from a time namespace and the boot's id from a file in the place of the kernel's; both need root, and the
//! uptime Linux 6.3, where a program enters its time namespace by `exec`.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::tools;

/// 1980, where many a gateway without a clock battery starts, in seconds since the Unix epoch. Not 1970: the certificates that
/// these tests make are valid from 1975 on, and here it is not them that is looked at.
pub const IN_1980: u64 = 315_532_900;

/// How long ago the system was booted where a test says that it was, in seconds.
const UPTIME_S: u64 = 2;

/// Puts the boot's id in the place of the kernel's and becomes what follows, if the uptime is the namespace's.
const BOOT: &str = r#"mount --bind "$0" /proc/sys/kernel/random/boot_id || exit 1
read -r up _ </proc/uptime
[ "${up%.*}" -lt 120 ] || { echo "this test needs Linux 6.3: the uptime is ${up} s, not the namespace's" >&2; exit 1; }
exec "$@""#;

/// What an agent is to see of time.
#[derive(Debug)]
pub struct Elsewhen {
    off_by_s: i64,
    boot: Option<tempfile::NamedTempFile>,
}

impl Elsewhen {
    /// Its wall clock shows this time now, in seconds since the Unix epoch, and goes on from there; the same over restarts.
    #[must_use]
    pub fn at(wall_s: u64) -> Self {
        let signed = |seconds: u64| i64::try_from(seconds).expect("a time within some billion years");
        Self { off_by_s: signed(wall_s) - signed(now_s()), boot: None }
    }

    /// The system was booted two seconds ago, for the time of this number.
    #[must_use]
    pub fn booted(self, number: u32) -> Self {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        writeln!(file, "{number:08x}-0000-4000-8000-000000000000").expect("written");
        Self { boot: Some(file), ..self }
    }

    /// The command within which the agent sees that, as long as this lives: see [`Setup::within`](crate::agent::Setup::within).
    #[must_use]
    pub fn within(&self) -> Vec<String> {
        let tool = |name, package| tools::find(name, package).display().to_string();
        let mut words = Vec::new();
        if let Some(boot) = &self.boot {
            let offset = i128::from(UPTIME_S) - i128::from(uptime_s());
            words.extend([tool("unshare", "util-linux"), "-m".into(), "--time".into(), "--boottime".into()]);
            words.extend([
                offset.to_string(),
                "sh".into(),
                "-c".into(),
                BOOT.into(),
                boot.path().display().to_string(),
            ]);
        }
        words.extend([tool("env", "coreutils"), format!("LD_PRELOAD={}", library().display())]);
        words.extend([format!("FAKETIME={:+}", self.off_by_s), "FAKETIME_DONT_FAKE_MONOTONIC=1".into()]);
        words.push("NO_FAKE_STAT=1".into());
        words
    }
}

/// The time, in seconds since the Unix epoch.
#[must_use]
pub fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn uptime_s() -> u64 {
    let text = std::fs::read_to_string("/proc/uptime").expect("the kernel tells its uptime");
    text.split('.').next().and_then(|seconds| seconds.parse().ok()).expect("seconds")
}

/// Where Debian puts the library: below the folder of the machine's architecture.
fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let found = folders.map(|folder| folder.path().join("faketime/libfaketime.so.1")).find(|file| file.is_file());
    found.expect("this test needs libfaketime: apt-get install libfaketime")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn run(within: &[String], command: &[&str]) -> String {
        let output = Command::new(&within[0]).args(&within[1..]).args(command).output().expect("it starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    #[test]
    fn a_program_sees_the_clock_and_the_boot_that_are_its_own() {
        let year: u64 = run(&Elsewhen::at(IN_1980).within(), &["date", "-u", "+%Y"]).parse().expect("a year");
        assert_eq!(year, 1980);
        let later = run(&Elsewhen::at(1_801_407_590).within(), &["date", "-u", "+%Y-%m-%dT%H"]);
        assert_eq!(later, "2027-01-31T14");
        let booted = Elsewhen::at(IN_1980).booted(7);
        let both = run(&booted.within(), &["sh", "-c", "cat /proc/sys/kernel/random/boot_id /proc/uptime"]);
        let (boot, uptime) = both.split_once('\n').expect("two lines");
        assert_eq!(boot, "00000007-0000-4000-8000-000000000000");
        // As the offset is in whole seconds, and the program takes a moment to start.
        let seconds: u64 = uptime.split('.').next().and_then(|it| it.parse().ok()).expect("seconds");
        assert!((UPTIME_S..UPTIME_S + 30).contains(&seconds), "{uptime}");
    }
}
