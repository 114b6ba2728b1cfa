//! Which hardware this is: what tells a store that its card was put into another gateway, or that its image was
//! restored on one.
//!
//! Two gateways that run from copies of one card would number their records alike. So the store notes on which hardware
//! it was written, and draws a new epoch where it finds itself on other hardware.
//!
//! Constraints:
//! - Serial numbers are personal to a device: what is handed on is a fingerprint of each (64 bits of BLAKE2s with a text
//!   of its own in front), from which the number cannot be read, and which is worth nothing elsewhere. (A serial number
//!   of few digits can be found by trying them all; that takes the store's own files.)
//! - What does not tell gateways apart is refused: the texts that boards carry where the maker wrote nothing
//!   (`To be filled by O.E.M.`), addresses that were drawn at random or given by hand, which a copied configuration
//!   would give to the copy too.
//! - What can be read may change with the rights of the reader (the system's UUID is root's alone), so each source has a
//!   key of its own, and only like is compared with like.
//! - What cannot be read is not judged: Tidegate starts all the same, and says so once.
//!
//! How it works: [`identity`] reads the configured [`Source`] below a root folder (`/`, in tests another) and answers
//! words of the form `key=fingerprint`, one for each number found. They go into
//! [`store::Options::hardware`](crate::store::Options); the store compares them key by key.
//!
//! | key | file | where |
//! |---|---|---|
//! | `board/device-tree` | `/sys/firmware/devicetree/base/serial-number`, `/proc/device-tree/serial-number` | Arm boards |
//! | `board/cpu` | the line `Serial` of `/proc/cpuinfo` | Raspberry Pi |
//! | `board/system-uuid` | `/sys/class/dmi/id/product_uuid` | PCs, virtual machines |
//! | `board/baseboard` | `/sys/class/dmi/id/board_serial` | PCs |
//! | `board/system` | `/sys/class/dmi/id/product_serial` | PCs |
//! | `network/<interface>` | `/sys/class/net/<interface>/address` | anywhere |
//!
//! Sources: the Devicetree Specification, 2.3 (`serial-number`); the kernel's `Documentation/ABI/testing/sysfs-class-net`
//! (`address`, `addr_assign_type`) and `sysfs-devices-dmi`; for the placeholders, SMBIOS tables in the field.

use blake2::{Blake2s256, Digest};
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

/// Bytes read of one file at most: `/proc/cpuinfo` of a board of 16 cores has 6 KiB.
const READ_LIMIT: u64 = 64 * 1024;

/// Longest number that is taken for one, in characters; the longest in the field are UUIDs of 36.
const LONGEST: usize = 256;

/// Shortest number that can tell gateways apart, in letters and digits.
const SHORTEST: usize = 4;

/// Longest name of a network interface (IFNAMSIZ less the final zero).
const INTERFACE_LIMIT: usize = 15;

/// What a fingerprint is made of besides the number, so that it is no use to look one up elsewhere.
const DOMAIN: &[u8] = b"tidegate hardware fingerprint 1\0";

/// Texts that stand where the maker wrote no number, in lower case. What is told by its form (all the same digit, all
/// digits in order) is not listed.
const PLACEHOLDERS: &[&str] = &[
    "to be filled by o.e.m.",
    "to be filled by o.e.m",
    "tobefilledbyo.e.m.",
    "default string",
    "default",
    "system serial number",
    "base board serial number",
    "board serial number",
    "chassis serial number",
    "serial number",
    "not specified",
    "not applicable",
    "not available",
    "not defined",
    "unspecified",
    "undefined",
    "invalid",
    "unknown",
    "none",
    "n/a",
    "empty",
    "o.e.m.",
    "oem",
    "sernum0",
    "123456789abcdef",
    // AMI's and others' unset UUIDs.
    "03000200-0400-0500-0006-000700080009",
    "00020003-0004-0005-0006-000700080009",
    "12345678-1234-5678-90ab-cddeefaabbcc",
    "fefefefe-fefe-fefe-fefe-fefefefefefe",
];

/// By what the hardware is told, as `[store] hardware` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Source {
    /// The board's serial number.
    #[default]
    Board,
    /// The permanent address of a network interface, for boards without a serial number.
    Network(String),
    /// By nothing: a copied card is not noticed.
    None,
}

/// A value that names no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// None of the three forms.
    #[error(
        "{0:?} is no way to tell the hardware: write \"board\" (its serial number), \"network:eth0\" (the address of that \
         interface) or \"none\""
    )]
    Unknown(String),
    /// A name that no interface can have.
    #[error(
        "{0:?} cannot be a network interface: write \"network:\" and its name as `ip link` shows it, such as \
         \"network:eth0\""
    )]
    Interface(String),
}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        match text {
            "board" => return Ok(Self::Board),
            "none" => return Ok(Self::None),
            _ => {}
        }
        let shown = || text.chars().take(64).collect::<String>();
        let name = text.strip_prefix("network:").ok_or_else(|| SourceError::Unknown(shown()))?;
        let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'/' && byte != b'=';
        let known = !name.is_empty() && name.len() <= INTERFACE_LIMIT && name.bytes().all(plain);
        if known && name != "." && name != ".." {
            Ok(Self::Network(name.to_owned()))
        } else {
            Err(SourceError::Interface(shown()))
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Board => f.write_str("board"),
            Self::Network(name) => write!(f, "network:{name}"),
            Self::None => f.write_str("none"),
        }
    }
}

/// Why the hardware cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    /// No file has a number that would do.
    #[error(
        "this board shows no serial number that would tell it from others: name a network interface with an address of \
         its own, [store] hardware = \"network:eth0\", or \"none\""
    )]
    Board,
    /// The interface is not there or cannot be read.
    #[error("cannot read the address of the network interface {interface}")]
    Interface {
        /// Its name.
        interface: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It has an address that was not given to it by its maker.
    #[error(
        "the address of the network interface {interface} is not its maker's ({why}), so it does not tell this gateway from \
         others"
    )]
    Address {
        /// Its name.
        interface: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// The hardware below `root` (`/`, but in tests), as words of the form `key=fingerprint`; `None` for [`Source::None`].
///
/// # Errors
/// When nothing is found that would tell this gateway from another. The store is then not judged by it.
pub fn identity(source: &Source, root: &Path) -> Result<Option<String>, Unknown> {
    match source {
        Source::None => Ok(None),
        Source::Board => {
            let words: Vec<String> =
                board(root).into_iter().map(|(key, number)| word(&format!("board/{key}"), &number)).collect();
            if words.is_empty() { Err(Unknown::Board) } else { Ok(Some(words.join(" "))) }
        }
        Source::Network(name) => network(name, root).map(|address| Some(word(&format!("network/{name}"), &address))),
    }
}

/// What was logged last by [`this`].
static LOGGED: Mutex<Option<String>> = Mutex::new(None);

/// The hardware that this runs on. What cannot be told is logged, once for each cause: while the store cannot be opened
/// it is asked each second.
pub fn this(source: &Source) -> Option<String> {
    identity(source, Path::new("/")).unwrap_or_else(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        if is_news(&LOGGED, format!("{error} {}", cause.as_deref().unwrap_or_default())) {
            tracing::info!(%error, cause, "it is not judged whether the store was copied from another gateway");
        }
        None
    })
}

/// Whether a text is another one than the last.
fn is_news(last: &Mutex<Option<String>>, text: String) -> bool {
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    let news = last.as_ref() != Some(&text);
    *last = Some(text);
    news
}

/// The numbers of the board, each with its key.
fn board(root: &Path) -> Vec<(&'static str, String)> {
    let file = |path: &str| read(&root.join(path)).ok().and_then(|text| number(&text));
    let tree = || file("sys/firmware/devicetree/base/serial-number").or_else(|| file("proc/device-tree/serial-number"));
    let cpu = || read(&root.join("proc/cpuinfo")).ok().and_then(|text| number(cpu_serial(&text)?));
    let dmi = |name: &str| file(&format!("sys/class/dmi/id/{name}"));
    let found = [
        ("device-tree", tree()),
        ("cpu", cpu()),
        ("system-uuid", dmi("product_uuid")),
        ("baseboard", dmi("board_serial")),
        ("system", dmi("product_serial")),
    ];
    found.into_iter().filter_map(|(key, number)| Some((key, number?))).collect()
}

/// The value of the line `Serial` of `/proc/cpuinfo`.
fn cpu_serial(text: &str) -> Option<&str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == "Serial").then_some(value)
    })
}

/// A number as it is compared: without what surrounds it, in lower case; `None` if it would not tell boards apart.
fn number(text: &str) -> Option<String> {
    let trimmed = text.trim_matches(|one: char| one.is_whitespace() || one.is_control());
    let number = trimmed.to_ascii_lowercase();
    if number.len() > LONGEST || PLACEHOLDERS.contains(&number.as_str()) {
        return None;
    }
    let signs: Vec<char> = number.chars().filter(char::is_ascii_alphanumeric).collect();
    let first = *signs.first()?;
    let all_the_same = signs.iter().all(|sign| *sign == first);
    let counted = "01234567890123456789".contains(&signs.iter().collect::<String>());
    (signs.len() >= SHORTEST && !all_the_same && !counted).then_some(number)
}

/// The permanent address of an interface.
fn network(name: &str, root: &Path) -> Result<String, Unknown> {
    let folder: PathBuf = root.join("sys/class/net").join(name);
    let failed = |source| Unknown::Interface { interface: name.to_owned(), source };
    let text = read(&folder.join("address")).map_err(failed)?;
    let assigned = read(&folder.join("addr_assign_type")).map_err(failed)?;
    let wrong = |why| Err(Unknown::Address { interface: name.to_owned(), why });
    match assigned.trim() {
        "0" => {}
        "1" => return wrong("it was drawn at random"),
        "2" => return wrong("it is another interface's"),
        _ => return wrong("it was given to it by configuration"),
    }
    let Some(address) = parse_address(text.trim()) else { return wrong("it is no Ethernet address") };
    if address == [0; 6] || address == [0xff; 6] {
        return wrong("it is empty");
    }
    // IEEE 802: the lowest bit of the first octet is for groups, the next for addresses that no maker has given out.
    if address[0] & 0b01 != 0 {
        return wrong("it is a group's");
    }
    if address[0] & 0b10 != 0 {
        return wrong("it is locally administered");
    }
    Ok(text.trim().to_ascii_lowercase())
}

fn parse_address(text: &str) -> Option<[u8; 6]> {
    let mut address = [0; 6];
    let mut parts = text.split(':');
    for octet in &mut address {
        let part = parts.next().filter(|part| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        *octet = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(address)
}

/// A file's text; what is not UTF-8 in it is replaced.
fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(READ_LIMIT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `key=fingerprint`. The key goes into the fingerprint, so that one number found in two places has two.
fn word(key: &str, number: &str) -> String {
    let mut hash = Blake2s256::new();
    hash.update(DOMAIN);
    hash.update(key.as_bytes());
    hash.update(b"\0");
    hash.update(number.as_bytes());
    let digest = hash.finalize();
    digest.iter().take(8).fold(format!("{key}="), |word, byte| word + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests;
