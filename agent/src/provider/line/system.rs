//! What the kernel says of routes and interfaces: small files of `/proc` and `/sys`, read when a connection failed.
//!
//! # Format
//! `/proc/net/route` (IPv4): a head line, then `Iface Destination Gateway Flags …`, numbers in hexadecimal, the mask in the
//! eighth column. `/proc/net/ipv6_route`: destination, its prefix length, …, flags in the ninth column, the interface in the
//! tenth. `/sys/class/net/<name>/operstate` holds a word (RFC 2863), `carrier` 0 or 1; reading the latter fails while the
//! interface is down.

use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Bytes of a file that are read: some 500 routes.
const MOST: u64 = 64 * 1024;

/// Interfaces that are looked at.
const INTERFACES: usize = 64;

/// The route can be used (`RTF_UP`).
const UP: u32 = 0x1;

/// It leads nowhere, on purpose (`RTF_REJECT`).
const REJECT: u32 = 0x200;

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// `operstate`: `up`, `down`, `dormant`, `lowerlayerdown`, `unknown` and so on; empty if it cannot be read. Modems and
    /// tunnels mostly say `unknown`.
    pub operstate: String,
    /// Whether it has a carrier, if that can be told.
    pub carrier: Option<bool>,
}

impl Interface {
    /// Whether nothing can go through it.
    pub fn is_down(&self) -> bool {
        self.carrier == Some(false) || matches!(self.operstate.as_str(), "down" | "lowerlayerdown" | "notpresent")
    }

    /// Its state in words.
    pub fn state(&self) -> String {
        let carrier = match self.carrier {
            Some(true) => ", carrier",
            Some(false) => ", no carrier",
            None => "",
        };
        let operstate = if self.operstate.is_empty() { "state not known" } else { &self.operstate };
        format!("{operstate}{carrier}")
    }
}

/// What the system says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links {
    /// The interfaces that default routes lead through, each once; `None` if that cannot be told.
    pub default_routes: Option<Vec<String>>,
    /// The interfaces but the loopback, by name.
    pub interfaces: Vec<Interface>,
    /// Whether these are all.
    pub listed: bool,
}

/// Where the system says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct System {
    proc: PathBuf,
    sys: PathBuf,
}

impl Default for System {
    fn default() -> Self {
        Self { proc: "/proc/net".into(), sys: "/sys/class/net".into() }
    }
}

impl System {
    /// What it says now. Reads a handful of small files that are no files: it does not wait for any disk.
    pub fn look(&self) -> Links {
        let of_v4 = read(&self.proc.join("route")).map(|text| routes_v4(&text));
        let of_v6 = read(&self.proc.join("ipv6_route")).map(|text| routes_v6(&text));
        let default_routes = match (of_v4, of_v6) {
            // Without IPv6 there is no such file.
            (None, None) => None,
            (of_v4, of_v6) => {
                let mut all: Vec<String> = of_v4.into_iter().chain(of_v6).flatten().collect();
                all.sort_unstable();
                all.dedup();
                Some(all)
            }
        };
        let (interfaces, listed) = self.interfaces();
        Links { default_routes, interfaces, listed }
    }

    fn interfaces(&self) -> (Vec<Interface>, bool) {
        let Ok(folder) = std::fs::read_dir(&self.sys) else { return (Vec::new(), false) };
        let mut found = Vec::new();
        for entry in folder.flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            // Beside interfaces there may be files, such as bonding_masters.
            if name == "lo" || !entry.path().is_dir() {
                continue;
            }
            if found.len() == INTERFACES {
                return (found, false);
            }
            let word = |file: &str| read(&entry.path().join(file)).map(|text| text.trim().to_owned());
            let carrier = word("carrier").and_then(|text| match text.as_str() {
                "1" => Some(true),
                "0" => Some(false),
                _ => None,
            });
            found.push(Interface { name, operstate: word("operstate").unwrap_or_default(), carrier });
        }
        found.sort_by(|one, other| one.name.cmp(&other.name));
        (found, true)
    }
}

fn read(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(MOST).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn usable(flags: &str) -> bool {
    u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & UP != 0 && flags & REJECT == 0)
}

/// The interfaces that IPv4's default routes lead through.
fn routes_v4(text: &str) -> Vec<String> {
    let default = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, destination, flags, mask) = (words.first()?, words.get(1)?, words.get(3)?, words.get(7)?);
        let all = |word: &str| word.len() == 8 && word.bytes().all(|byte| byte == b'0');
        (all(destination) && all(mask) && usable(flags)).then(|| (*name).to_owned())
    };
    text.lines().skip(1).filter_map(default).collect()
}

/// The interfaces that IPv6's default routes lead through. The kernel lists one through `lo` that rejects everything.
fn routes_v6(text: &str) -> Vec<String> {
    let default = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (destination, prefix, flags, name) = (words.first()?, words.get(1)?, words.get(8)?, words.get(9)?);
        let all = destination.len() == 32 && destination.bytes().all(|byte| byte == b'0') && *prefix == "00";
        (all && usable(flags) && *name != "lo").then(|| (*name).to_owned())
    };
    text.lines().filter_map(default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
        wwan0\t00000000\t0100000A\t0003\t0\t0\t700\t00000000\t0\t0\t0\n\
        eth0\t0000A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n\
        eth1\t00000000\t0100A8C0\t0002\t0\t0\t100\t00000000\t0\t0\t0\n\
        eth2\t00000000\t0100A8C0\t0201\t0\t0\t100\t00000000\t0\t0\t0\n\
        half\t00000000\n";

    const V6: &str = "\
        00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003 wlan0\n\
        fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001 eth0\n\
        00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200 lo\n\
        junk\n";

    #[test]
    fn default_routes_are_those_that_are_up_and_lead_somewhere() {
        assert_eq!(routes_v4(V4), ["wwan0"]);
        assert_eq!(routes_v6(V6), ["wlan0"]);
        for text in ["", "\n", "x y z", "\u{0}\u{0}"] {
            assert_eq!((routes_v4(text), routes_v6(text)), (vec![], vec![]));
        }
    }

    #[test]
    fn what_the_system_says_is_read_and_what_it_does_not_say_is_not_known() {
        let folder = tempfile::tempdir().expect("a folder");
        let system = System { proc: folder.path().join("proc"), sys: folder.path().join("sys") };
        assert_eq!(system.look(), Links::default());
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        };
        write("proc/route", V4);
        write("proc/ipv6_route", V6);
        write("sys/wwan0/operstate", "unknown\n");
        write("sys/wwan0/carrier", "1\n");
        write("sys/eth0/operstate", "down\n");
        write("sys/lo/operstate", "unknown\n");
        write("sys/bonding_masters", "");
        let links = system.look();
        assert_eq!(links.default_routes.as_deref(), Some(&["wlan0".to_owned(), "wwan0".to_owned()][..]));
        let interface = |name: &str, operstate: &str, carrier| Interface {
            name: name.into(),
            operstate: operstate.into(),
            carrier,
        };
        assert_eq!(links.interfaces, [interface("eth0", "down", None), interface("wwan0", "unknown", Some(true))]);
        assert!(links.listed && links.interfaces[0].is_down() && !links.interfaces[1].is_down());
        assert_eq!(links.interfaces[1].state(), "unknown, carrier");
        // This machine says something, too.
        assert!(System::default().look().default_routes.is_some());
    }
}
