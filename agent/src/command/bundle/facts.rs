//! What a bundle says of the machine: from files of the system, and from its programs, each within a time and a size.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use tidegate::language::{IntoValue as _, Value};
use tidegate::message;
use tidegate::program::{Environment, Keep, Program};
use tidegate::watch::render::size;

/// How long a program may take. `journalctl` on a card with months of logs takes some seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// Lines and days of the log that are asked for: the newest.
const LOG: [&str; 8] = [
    "--unit=tidegate",
    "--since=-7d",
    "--lines=20000",
    "--no-pager",
    "--output=short-iso",
    "--quiet",
    "--utc",
    "--all",
];

/// Bytes that are kept of a program's output at most: of a log the newest, which are about what went wrong.
const MAX_OUTPUT: usize = 16 * 1024 * 1024;

/// Versions: of Tidegate, the kernel, the system and systemd, and what machine it is.
pub(super) fn versions() -> String {
    let name = rustix::system::uname();
    let mut out = String::new();
    let _ = writeln!(out, "tidegate {} ({})", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    let kernel = [name.sysname(), name.release(), name.version(), name.machine()];
    let kernel: Vec<_> = kernel.iter().map(|part| part.to_string_lossy()).collect();
    let _ = writeln!(out, "kernel {}", kernel.join(" "));
    for (what, file) in [("model", "/proc/device-tree/model"), ("up for, idle for (s)", "/proc/uptime")] {
        if let Ok(text) = fs::read_to_string(file) {
            let _ = writeln!(out, "{what} {}", text.trim_end_matches(['\0', '\n']));
        }
    }
    match output("systemctl", &["--version"]) {
        Ok(text) => out.extend([text.lines().next().unwrap_or_default(), "\n"]),
        Err(error) => out.extend(["systemd: ", &error.to_string(), "\n"]),
    }
    out.extend(["\n", &fs::read_to_string("/etc/os-release").unwrap_or_else(|error| format!("os-release: {error}\n"))]);
    out
}

/// Memory, disk, clock and interfaces. Interfaces without their addresses: those tell who the customer is.
pub(super) fn machine(store: &Path) -> String {
    let mut out = String::from("Memory\n");
    match fs::read_to_string("/proc/meminfo") {
        Ok(text) => text.lines().take(3).for_each(|line| out.extend(["  ", line, "\n"])),
        Err(error) => out.extend(["  ", &error.to_string(), "\n"]),
    }
    let _ = writeln!(out, "\nFile system of {}", store.display());
    match store.ancestors().find(|folder| folder.exists()).map(rustix::fs::statvfs) {
        Some(Ok(found)) => {
            let bytes = |blocks: u64| size(blocks.saturating_mul(found.f_frsize));
            let _ = writeln!(out, "  {} of {} free", bytes(found.f_bavail), bytes(found.f_blocks));
            let _ = writeln!(out, "  {} of {} inodes free", found.f_favail, found.f_files);
        }
        Some(Err(error)) => out.extend(["  ", &error.to_string(), "\n"]),
        None => out.push_str("  not there\n"),
    }
    if let Some(mount) = mount_of(store) {
        let _ = writeln!(out, "  {mount}");
    }
    out.push_str("\nInterfaces (addresses are left out)\n");
    let mut names: Vec<_> = fs::read_dir("/sys/class/net").into_iter().flatten().flatten().collect();
    names.sort_by_key(std::fs::DirEntry::file_name);
    for entry in names.iter().take(64) {
        let of = |name: &str| fs::read_to_string(entry.path().join(name)).unwrap_or_default().trim().to_owned();
        let name = entry.file_name();
        let _ = writeln!(out, "  {} {}, mtu {}", name.to_string_lossy(), of("operstate"), of("mtu"));
    }
    out.push_str("\nClock\n");
    match output("timedatectl", &["show"]) {
        Ok(text) => text.lines().for_each(|line| out.extend(["  ", line, "\n"])),
        Err(error) => out.extend(["  ", &error.to_string(), "\n"]),
    }
    out
}

/// Device, type and options of the mount that a folder is on.
fn mount_of(folder: &Path) -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let folder = folder.ancestors().find_map(|at| at.canonicalize().ok())?;
    let on = |line: &&str| line.split(' ').nth(1).is_some_and(|place| folder.starts_with(place));
    let line = mounts.lines().filter(on).max_by_key(|line| line.split(' ').nth(1).map(str::len))?;
    Some(line.to_owned())
}

/// What systemd says of the service.
pub(super) fn unit() -> Result<String, Value> {
    output("systemctl", &["show", "tidegate.service", "--no-pager"]).map(|text| {
        let wanted = |line: &&str| !line.starts_with("Environment");
        text.lines().filter(wanted).fold(String::new(), |out, line| out + line + "\n")
    })
}

/// The service's log of the last days.
pub(super) fn log() -> Result<String, Value> {
    let text = output("journalctl", &LOG)?;
    if text.trim().is_empty() {
        Err(message!("journalctl has no entry of tidegate.service of the last 7 days").into_value())
    } else {
        Ok(text)
    }
}

/// What a program prints, within [`PATIENCE`] and [`MAX_OUTPUT`]. Text, in English.
fn output(program: &str, arguments: &[&str]) -> Result<String, Value> {
    let asked = Program {
        name: program,
        arguments,
        environment: Environment::Inherited,
        time: PATIENCE,
        bytes: MAX_OUTPUT,
        keep: Keep::Last,
    };
    let ended = asked.run_alone().map_err(|error| error.message())?;
    if !ended.status.success() && ended.output.is_empty() {
        return Err(format!("{program}: {}", ended.status).into_value());
    }
    Ok(String::from_utf8_lossy(&ended.output).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_asked_and_those_that_are_not_there_are_said() {
        assert_eq!(output("printf", &["a b"]), Ok("a b".into()));
        assert!(
            output("no-such-program-here", &[])
                .is_err_and(|error| error.to_string().starts_with("no-such-program-here: "))
        );
        assert!(output("false", &[]).is_err());
    }

    #[test]
    fn facts_tell_version_and_disk() {
        assert!(versions().contains("kernel Linux"));
        let text = machine(&std::env::temp_dir());
        assert!(text.contains(" free\n") && text.contains("inodes free"), "{text}");
    }
}
