//! What a folder lies on: the file system, and the device below it.
//!
//! # Format
//! `/proc/self/mountinfo` (`proc_pid_mountinfo(5)`): `id parent major:minor root mount-point options … - type source options`, with
//! spaces and the like in octal (`\040`). `/sys/dev/block/<major>:<minor>` is a link whose path names the device and what it
//! hangs on; `device/type` of an `mmcblk` is `SD` or `MMC`.

use std::path::{Path, PathBuf};
use tidegate::language::{IntoValue as _, Value};
use tidegate::message;

/// What it lies on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::command) struct Medium {
    /// The file system's type: `ext4`, `tmpfs`, `nfs4` and so on.
    pub(in crate::command) kind: String,
    /// The device, and what it is where that can be told: `mmcblk0p2, SD card`; else what the file system is of.
    pub(in crate::command) device: Value,
    /// Where it is mounted.
    pub(in crate::command) mounted_at: PathBuf,
    /// Whether it may be read only.
    pub(in crate::command) read_only: bool,
    /// What becomes of it.
    pub(in crate::command) lasting: Lasting,
}

/// Whether what is written there survives a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Lasting {
    /// It does, as far as the medium is honest.
    Yes,
    /// It is memory.
    Memory,
    /// It is on another machine.
    Network,
    /// It has no journal of its own: a power cut may damage it.
    Fragile,
    /// It is a layer over another, of which nothing can be seen from here.
    Unknown,
}

/// Finds it; `None` if the system does not say. `folder` must be there.
pub(in crate::command) fn of(folder: &Path) -> Option<Medium> {
    let folder = folder.canonicalize().ok()?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    find(&folder, &mounts, &|number| device(Path::new("/sys"), number), &Path::is_dir)
}

fn find(
    folder: &Path,
    mounts: &str,
    device: &dyn Fn(&str) -> Option<Value>,
    is_here: &dyn Fn(&Path) -> bool,
) -> Option<Medium> {
    // Of mounts on one point the last is on top.
    let mounts: Vec<Mount> = mounts.lines().filter_map(Mount::parse).collect();
    let mount = mounts
        .iter()
        .filter(|mount| folder.starts_with(&mount.point))
        .max_by_key(|mount| mount.point.as_os_str().len())?;
    let mut lasting = match mount.kind.as_str() {
        "tmpfs" | "ramfs" | "zram" => Lasting::Memory,
        "nfs" | "nfs4" | "cifs" | "smb3" | "9p" | "ceph" | "fuse.sshfs" | "fuse.glusterfs" | "afs" => Lasting::Network,
        "vfat" | "msdos" | "exfat" => Lasting::Fragile,
        "overlay" => Lasting::Unknown,
        _ => Lasting::Yes,
    };
    if lasting == Lasting::Unknown {
        // What is written goes to the upper layer.
        let upper = mount.options.split(',').find_map(|option| option.strip_prefix("upperdir=")).map(PathBuf::from);
        // In a container its path may be another view's, in which the same name lies on something else.
        let below = upper.filter(|upper| upper.is_absolute() && is_here(upper)).and_then(|upper| {
            let of = mounts.iter().filter(|other| other.kind != "overlay" && upper.starts_with(&other.point));
            let of = of.max_by_key(|other| other.point.as_os_str().len())?;
            // The root of another's view of the files says nothing.
            (of.point != Path::new("/")).then(|| of.kind.clone())
        });
        lasting = match below.as_deref() {
            Some("tmpfs" | "ramfs") => Lasting::Memory,
            Some(_) => Lasting::Yes,
            None => Lasting::Unknown,
        };
    }
    Some(Medium {
        kind: mount.kind.clone(),
        device: device(&mount.device).unwrap_or_else(|| (&mount.source).into_value()),
        mounted_at: mount.point.clone(),
        read_only: mount.read_only,
        lasting,
    })
}

#[derive(Debug)]
struct Mount {
    device: String,
    point: PathBuf,
    kind: String,
    source: String,
    options: String,
    read_only: bool,
}

impl Mount {
    fn parse(line: &str) -> Option<Self> {
        let (own, file_system) = line.split_once(" - ")?;
        let own: Vec<&str> = own.split(' ').collect();
        let mut words = file_system.split(' ');
        let (kind, source) = (words.next()?, words.next()?);
        let options = words.next().unwrap_or_default();
        let is_read_only = |options: &str| options.split(',').any(|option| option == "ro");
        Some(Self {
            device: (*own.get(2)?).to_owned(),
            point: unescape(own.get(4)?).into(),
            kind: kind.to_owned(),
            source: unescape(source),
            read_only: is_read_only(own.get(5)?) || is_read_only(options),
            options: unescape(options),
        })
    }
}

/// Octal as the kernel writes what would separate words: space, tab, newline, backslash.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// The device of a number, and what it is.
fn device(sys: &Path, number: &str) -> Option<Value> {
    let path = std::fs::canonicalize(sys.join("dev/block").join(number)).ok()?;
    let name = path.file_name()?.to_str()?.to_owned();
    let whole = if path.join("partition").exists() { path.parent()?.to_path_buf() } else { path.clone() };
    let word =
        |file: &str| std::fs::read_to_string(whole.join(file)).map(|text| text.trim().to_owned()).unwrap_or_default();
    let base = whole.file_name()?.to_str()?;
    let what = if base.starts_with("mmcblk") {
        match word("device/type").as_str() {
            "SD" => message!("SD card").into_value(),
            "MMC" => "eMMC".into_value(),
            _ => message!("card").into_value(),
        }
    } else if base.starts_with("zram") {
        message!("memory").into_value()
    } else if base.starts_with("nvme") {
        "NVMe".into_value()
    } else if path.to_string_lossy().contains("/usb") {
        "USB".into_value()
    } else if base.starts_with("loop") || base.starts_with("dm-") {
        return Some(name.into_value());
    } else if word("queue/rotational") == "1" {
        message!("disk").into_value()
    } else {
        message!("solid state").into_value()
    };
    Some(message!("{name}, {what}", name = name, what = what).into_value())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
        22 1 179:2 / / rw,noatime shared:1 - ext4 /dev/root rw\n\
        30 22 0:26 / /run rw,nosuid - tmpfs tmpfs rw,size=188676k\n\
        31 22 179:1 / /boot/firmware rw - vfat /dev/mmcblk0p1 rw\n\
        40 22 0:50 / /mnt/nas\\040one rw - nfs4 nas:/export rw\n\
        41 22 8:1 / /mnt/old ro - ext4 /dev/sda1 ro\n\
        42 22 0:60 / /ram rw - overlay overlay rw,lowerdir=/,upperdir=/run/rw/up,workdir=/run/rw/w\n\
        43 22 0:61 / /box rw - overlay overlay rw,lowerdir=/x,upperdir=/var/lib/box/up\n\
        44 22 0:62 / /mnt/old/new rw - tmpfs none rw\n\
        45 22 8:2 / /mnt/old/new rw - ext4 /dev/sda2 rw\n";

    #[test]
    fn a_folder_is_on_the_nearest_mount_and_its_medium_lasts_or_not() {
        let none = |_: &str| None;
        let of = |path: &str| {
            let medium = find(Path::new(path), MOUNTS, &none, &|_| true).expect("it is on something");
            (medium.kind, medium.lasting, medium.read_only)
        };
        assert_eq!(of("/var/lib/tidegate"), ("ext4".into(), Lasting::Yes, false));
        assert_eq!(of("/run/tidegate"), ("tmpfs".into(), Lasting::Memory, false));
        assert_eq!(of("/boot/firmware/x"), ("vfat".into(), Lasting::Fragile, false));
        assert_eq!(of("/mnt/nas one/x"), ("nfs4".into(), Lasting::Network, false));
        assert_eq!(of("/mnt/old"), ("ext4".into(), Lasting::Yes, true));
        assert_eq!(of("/mnt/old/new"), ("ext4".into(), Lasting::Yes, false), "the last on a point is on top");
        assert_eq!(of("/ram/x"), ("overlay".into(), Lasting::Memory, false));
        assert_eq!(of("/box"), ("overlay".into(), Lasting::Unknown, false));
        let elsewhere = find(Path::new("/ram/x"), MOUNTS, &none, &|_| false).expect("it is on something");
        assert_eq!(elsewhere.lasting, Lasting::Unknown, "the path is of another view");
    }

    #[test]
    fn a_device_is_told_by_what_it_hangs_on() {
        let sys = tempfile::tempdir().expect("a folder");
        let disk = sys.path().join("devices/mmc0/block/mmcblk0");
        std::fs::create_dir_all(disk.join("mmcblk0p2")).expect("folders");
        std::fs::create_dir_all(disk.join("device")).expect("folders");
        std::fs::write(disk.join("mmcblk0p2/partition"), "2").expect("a file");
        std::fs::write(disk.join("device/type"), "SD\n").expect("a file");
        std::fs::create_dir_all(sys.path().join("dev/block")).expect("folders");
        std::os::unix::fs::symlink(disk.join("mmcblk0p2"), sys.path().join("dev/block/179:2")).expect("a link");
        assert_eq!(device(sys.path(), "179:2").map(|it| it.to_string()).as_deref(), Some("mmcblk0p2, SD card"));
        assert_eq!(device(sys.path(), "1:1"), None);
    }
}
