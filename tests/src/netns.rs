//! Two network namespaces with a wire between them, so that what really leaves a gateway can be weighed.
//!
//! In one of them, the *near* one, the agent runs; in the other, the *far* one, whoever it talks to. Between them is a
//! veth pair without segmentation offload, so that each packet is counted as it would go over a line. It speaks IPv4 or
//! IPv6, and nobody on it talks unasked: neighbours are told, not looked for. Both counters and captures are the kernel's
//! own, taken at the near end. On a *long* wire each end leads into a third namespace, where `delay.py` keeps every frame
//! for half of the round trip.
//! Needs root, `ip` and `tc` (Debian's iproute2), `tcpdump`, for offloads `ethtool`, and for long wires `python3`.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{tools, wait};

/// The ends' IPv4 addresses, the near one's first; every pair has the same, since no two know of each other.
pub const FOUR: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 77, 0, 1), Ipv4Addr::new(10, 77, 0, 2)];

/// The ends' IPv6 addresses, likewise.
pub const SIX: [Ipv6Addr; 2] = [Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1), Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2)];

/// The interface at both ends.
const INTERFACE: &str = "wire0";

/// The interfaces between them on a long wire.
const TO_NEAR: &str = "near0";
const TO_FAR: &str = "far0";

/// The ends' Ethernet addresses.
const MACS: [&str; 2] = ["02:00:00:00:00:01", "02:00:00:00:00:02"];

/// Bytes of an Ethernet header, which the interface counts and a line does not.
const ETHERNET: u64 = 14;

/// Bytes of each packet that a capture keeps: enough for its length and addresses.
const KEPT: &str = "96";

/// What an interface has counted, Ethernet headers taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Bytes sent by the near end.
    pub sent: u64,
    /// Bytes received by it.
    pub received: u64,
}

/// A namespace, by name.
#[derive(Debug, Clone)]
pub struct Space(String);

impl Space {
    /// Makes `command` run in it; the command's process becomes the program.
    #[must_use]
    pub fn within(&self) -> Vec<String> {
        let ip = tools::find("ip", "iproute2").display().to_string();
        [&*ip, "netns", "exec", &self.0].map(str::to_owned).into()
    }

    /// A command that runs in it.
    fn command(&self, program: &Path) -> Command {
        let words = self.within();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(program);
        command
    }

    /// No interface that is made in it from now on speaks IPv6.
    #[track_caller]
    fn forbid_six(&self) {
        for scope in ["all", "default"] {
            let sysctl = format!("echo 1 > /proc/sys/net/ipv6/conf/{scope}/disable_ipv6 2>/dev/null || true");
            tools::run(self.command(Path::new("/bin/sh")).args(["-c", &sysctl]));
        }
    }

    /// Has an interface handle each packet as a line carries it: none of several segments, checksums filled in.
    #[track_caller]
    fn as_on_a_line(&self, interface: &str) {
        let offloads = ["tso", "off", "gso", "off", "gro", "off", "tx", "off"];
        tools::run(self.command(&tools::find("ethtool", "ethtool")).args(["-K", interface]).args(offloads));
    }

    /// Moves the calling thread into it for good; sockets made from then on are of this namespace.
    #[track_caller]
    pub fn enter(&self) {
        let path = Path::new("/run/netns").join(&self.0);
        let file = File::open(&path).unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()));
        move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(LinkNameSpaceType::Network))
            .unwrap_or_else(|error| panic!("cannot enter {}: {error}", path.display()));
    }

    /// Runs `work` on a thread of its own within it.
    #[track_caller]
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter();
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// The two namespaces; dropping it removes them and all that is in them.
#[derive(Debug)]
pub struct Pair {
    /// Where the agent runs.
    pub near: Space,
    /// Where its counterpart runs.
    pub far: Space,
    /// The addresses of both.
    ends: [IpAddr; 2],
    way: Option<Way>,
}

/// What lies between the ends of a long wire.
#[derive(Debug)]
struct Way {
    space: Space,
    carrier: Option<Child>,
}

impl Pair {
    /// A pair with IPv4 on a wire that takes no time.
    #[track_caller]
    #[must_use]
    pub fn make() -> Self {
        Self::of(FOUR.map(IpAddr::from), None)
    }

    /// A pair with IPv6 alone.
    #[track_caller]
    #[must_use]
    pub fn make_six() -> Self {
        Self::of(SIX.map(IpAddr::from), None)
    }

    /// A pair with IPv4 on a wire that a packet and its answer need so long for.
    #[track_caller]
    #[must_use]
    pub fn make_long(round_trip: Duration) -> Self {
        Self::of(FOUR.map(IpAddr::from), Some(round_trip))
    }

    #[track_caller]
    fn of(ends: [IpAddr; 2], round_trip: Option<Duration>) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = |end: &str| Space(format!("tidegate-{}-{number}-{end}", std::process::id()));
        let way = round_trip.map(|_| Way { space: name("way"), carrier: None });
        let mut pair = Self { near: name("near"), far: name("far"), ends, way };
        for space in pair.spaces() {
            ip(&["netns", "add", &space.0]);
            // Before an interface is there, so that none ever has an address of its own making.
            if space.0.ends_with("way") || ends[0].is_ipv4() {
                space.forbid_six();
            }
            ip(&["-n", &space.0, "link", "set", "lo", "up"]);
        }
        let veth = |one: &Space, other: &Space, name: &str| {
            ip(&["link", "add", INTERFACE, "netns", &one.0, "type", "veth", "peer", "name", name, "netns", &other.0]);
        };
        match &pair.way {
            None => veth(&pair.near, &pair.far, INTERFACE),
            Some(Way { space, .. }) => {
                for (end, name) in [(&pair.near, TO_NEAR), (&pair.far, TO_FAR)] {
                    veth(end, space, name);
                    space.as_on_a_line(name);
                    ip(&["-n", &space.0, "link", "set", name, "up"]);
                }
            }
        }
        let sides = [(&pair.near, ends[0], MACS[0]), (&pair.far, ends[1], MACS[1])];
        for (space, address, mac) in sides {
            space.as_on_a_line(INTERFACE);
            ip(&["-n", &space.0, "link", "set", INTERFACE, "address", mac, "arp", "off", "addrgenmode", "none"]);
            let length = if address.is_ipv4() { 24 } else { 64 };
            ip(&["-n", &space.0, "address", "add", &format!("{address}/{length}"), "dev", INTERFACE, "nodad"]);
            ip(&["-n", &space.0, "link", "set", INTERFACE, "up"]);
        }
        pair.introduce();
        if let (Some(way), Some(round_trip)) = (&mut pair.way, round_trip) {
            way.carry(round_trip / 2);
        }
        pair
    }

    /// Each end knows the other, so that nobody has to ask: that is no part of what is weighed.
    #[track_caller]
    fn introduce(&self) {
        for (space, other) in [(&self.near, 1), (&self.far, 0)] {
            let (address, dev) = (self.ends[other].to_string(), ["dev", INTERFACE, "nud", "permanent"]);
            ip(&[&["-n", &*space.0, "neigh", "replace", &address, "lladdr", MACS[other]][..], &dev].concat());
        }
    }

    /// Takes the near end's interface down, as a modem that has lost its network does.
    #[track_caller]
    pub fn cut(&self) {
        ip(&["-n", &self.near.0, "link", "set", INTERFACE, "down"]);
    }

    /// Takes it up again.
    #[track_caller]
    pub fn mend(&self) {
        ip(&["-n", &self.near.0, "link", "set", INTERFACE, "up"]);
        self.introduce();
    }

    /// All its namespaces.
    fn spaces(&self) -> impl Iterator<Item = &Space> {
        [&self.near, &self.far].into_iter().chain(self.way.as_ref().map(|way| &way.space))
    }

    /// The far end's address.
    #[must_use]
    pub fn far_address(&self) -> IpAddr {
        self.ends[1]
    }

    /// What has passed the near end, with what waits before it in the queue of a narrowed path.
    #[track_caller]
    #[must_use]
    pub fn counted(&self) -> Counted {
        let output =
            tools::run(Command::new(ip_path()).args(["-n", &self.near.0, "-s", "-j", "link", "show", INTERFACE]));
        let links: serde_json::Value = serde_json::from_slice(&output.stdout).expect("ip writes JSON");
        let number = |way: &str, what: &str| {
            let value = links.pointer(&format!("/0/stats64/{way}/{what}")).and_then(serde_json::Value::as_u64);
            value.unwrap_or_else(|| panic!("no {way} {what} in {links}"))
        };
        let less_headers = |way: &str| number(way, "bytes") - ETHERNET * number(way, "packets");
        Counted { sent: less_headers("tx") + self.queued(), received: less_headers("rx") }
    }

    fn queued(&self) -> u64 {
        let tc = tools::find("tc", "iproute2");
        let output =
            tools::run(Command::new(tc).args(["-n", &self.near.0, "-s", "-j", "qdisc", "show", "dev", INTERFACE]));
        let queues: serde_json::Value = serde_json::from_slice(&output.stdout).expect("tc writes JSON");
        let number = |what: &str| queues[0][what].as_u64().unwrap_or(0);
        number("backlog") - ETHERNET * number("qlen")
    }

    /// Narrows what the near end may send to so many bit/s, with a queue for a second; packets wait rather than being
    /// dropped.
    #[track_caller]
    pub fn narrow(&self, bits_per_second: u64) {
        let rate = format!("{bits_per_second}bit");
        tools::run(Command::new(tools::find("tc", "iproute2")).args(["-n", &self.near.0]).args([
            "qdisc", "replace", "dev", INTERFACE, "root", "tbf", "rate", &rate, "burst", "3200", "latency", "1s",
        ]));
    }

    /// Captures what passes the near end until the capture is finished.
    #[track_caller]
    #[must_use]
    pub fn capture(&self, folder: &Path) -> Capture {
        let file = folder.join("capture.pcap");
        let said = folder.join("tcpdump.log");
        let log = File::create(&said).expect("a log for tcpdump");
        let child = self
            .near
            .command(&tools::find("tcpdump", "tcpdump"))
            .args(["-i", INTERFACE, "-s", KEPT, "-B", "16384", "--immediate-mode", "-U", "-Z", "root", "-w"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("tcpdump starts");
        let capture = Capture { child: Some(child), file, near: self.ends[0] };
        wait::until("tcpdump listens", wait::BOUND, || {
            std::fs::read_to_string(&said).is_ok_and(|said| said.contains("listening on"))
        });
        capture
    }
}

impl Way {
    /// Starts what carries frames, each after this time.
    #[track_caller]
    fn carry(&mut self, delay: Duration) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("delay.py");
        let mut child = self
            .space
            .command(&tools::python())
            .arg(script)
            .args([TO_NEAR, TO_FAR, &delay.as_millis().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let mut said = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        self.carrier = Some(child);
        BufReader::new(stdout).read_line(&mut said).expect("it says something");
        assert_eq!(said.trim(), "ready", "frames are carried");
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        if let Some(mut child) = self.carrier.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for space in self.spaces() {
            let _ = Command::new("ip").args(["netns", "delete", &space.0]).stderr(Stdio::null()).status();
        }
    }
}

fn ip_path() -> PathBuf {
    tools::find("ip", "iproute2")
}

#[track_caller]
fn ip(arguments: &[&str]) {
    tools::run(Command::new(ip_path()).args(arguments));
}

/// A packet that was captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// When, by the kernel's clock.
    pub at: Duration,
    /// Bytes without the Ethernet header.
    pub bytes: u64,
    /// Sent by the near end.
    pub sent: bool,
}

/// A capture under way.
#[derive(Debug)]
pub struct Capture {
    child: Option<Child>,
    file: PathBuf,
    near: IpAddr,
}

impl Capture {
    /// Ends it and gives the IP packets between the two ends in order of time.
    #[track_caller]
    #[must_use]
    pub fn finish(mut self) -> Vec<Packet> {
        self.stop();
        let bytes = std::fs::read(&self.file).expect("a capture");
        packets(&bytes, self.near)
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            tools::signal(&child, Signal::INT);
            tools::wait_for_end(&mut child, "tcpdump", wait::BOUND);
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Reads a capture file: a head of 24 bytes, and for each packet one of 16 and what was kept of it, in this machine's
/// byte order, with microseconds (the format's magic number says both).
#[track_caller]
fn packets(bytes: &[u8], near: IpAddr) -> Vec<Packet> {
    let number = |at: usize| {
        let four: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_ne_bytes(four))
    };
    assert_eq!(number(0), Some(0xa1b2_c3d4), "a capture with microseconds, of this machine");
    let (mut at, mut found) = (24, Vec::new());
    while let (Some(seconds), Some(micros), Some(kept), Some(length)) =
        (number(at), number(at + 4), number(at + 8), number(at + 12))
    {
        let Some(frame) = bytes.get(at + 16..at + 16 + kept as usize) else { break };
        at += 16 + kept as usize;
        let Some(source) = source(frame) else { continue };
        found.push(Packet {
            at: Duration::new(seconds.into(), micros * 1000),
            bytes: u64::from(length) - ETHERNET,
            sent: source == near,
        });
    }
    found.sort_by_key(|packet| packet.at);
    found
}

/// Who sent an IP packet in an Ethernet frame; `None` if there is something else in it.
fn source(frame: &[u8]) -> Option<IpAddr> {
    match frame.get(12..14)? {
        [0x08, 0x00] => Some(<[u8; 4]>::try_from(frame.get(26..30)?).ok()?.into()),
        [0x86, 0xdd] => Some(<[u8; 16]>::try_from(frame.get(22..38)?).ok()?.into()),
        _ => None,
    }
}

/// The most bytes that packets have within any window of this length.
#[must_use]
pub fn most_within(packets: &[Packet], window: Duration) -> u64 {
    let (mut first, mut sum, mut most) = (0, 0, 0);
    for packet in packets {
        sum += packet.bytes;
        while packets[first].at + window < packet.at {
            sum -= packets[first].bytes;
            first += 1;
        }
        most = most.max(sum);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_within_a_window_is_found_wherever_it_lies() {
        let packet = |millis, bytes| Packet { at: Duration::from_millis(millis), bytes, sent: true };
        let packets = [packet(0, 10), packet(900, 10), packet(1_000, 5), packet(1_001, 1), packet(5_000, 20)];
        assert_eq!(most_within(&packets, Duration::from_secs(1)), 25);
        assert_eq!(most_within(&packets, Duration::from_secs(10)), 46);
        assert_eq!(most_within(&[], Duration::from_secs(1)), 0);
    }
}
