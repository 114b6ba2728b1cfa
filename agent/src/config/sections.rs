//! Asks for every key with its type, range and default. A key that is wrong is entered in the book and its default used
//! from then on, so that reading goes on and finds the other mistakes.

mod answers;
mod clock;
mod collect;
mod forward;
pub(super) mod limits;
mod notices;
mod stance;
mod statuspage;
mod store;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeTable;

use super::address;
use super::error::Errors;
use super::model::{
    Config, Control, FieldRule, Gateway, Kind, Limits, Log, LogLevel, LogTarget, Metrics, Notices, Provider,
};
use super::reader::{Book, Document, Section, Value, found_text};
use super::surroundings::{Content, Disk, Surroundings};
use super::syntax;
use super::{DEFAULT_SOCKET, Secret};
use crate::language::Message;
use crate::message;

/// Longest gateway id: it stands in every event, so each byte is paid for again and again.
const MAX_ID: usize = 64;

/// Longest path of the control socket: `sun_path` has 107 bytes (unix(7)), and the socket is first made beside its
/// place as a dot and a process id, which may be 7 bytes longer than a name of one.
const MAX_SOCKET_PATH: usize = 100;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const DAY: Duration = Duration::from_secs(86_400);

/// Reads a configuration; also hands back the book, whose list of keys a test needs.
pub(super) fn read(text: &str, source_name: &str, surroundings: &dyn Surroundings) -> (Result<Config, Errors>, Book) {
    let (tree, faults) = DeTable::parse_recoverable(text);
    let doc = Document::new(text, surroundings);
    let mut config = document(&doc, tree.get_ref());
    enter(&faults, &doc);
    let mut book = doc.close();
    if !faults.is_empty() {
        keep_what_is_certain(&mut book);
    }
    config.warnings.clone_from(&book.warnings);
    let result = if book.problems.is_empty() {
        Ok(config)
    } else {
        Err(Errors { source_name: source_name.to_owned(), problems: book.problems.clone() })
    };
    (result, book)
}

/// Reads `[control]` alone.
pub(super) fn control_socket(text: &str, source_name: &str) -> Result<PathBuf, Errors> {
    let (tree, _) = DeTable::parse_recoverable(text);
    let doc = Document::new(text, &Disk);
    let control = control(&Section::root(&doc, tree.get_ref()));
    let problems = doc.close().problems;
    if problems.is_empty() { Ok(control.socket) } else { Err(Errors { source_name: source_name.to_owned(), problems }) }
}

/// The store's folder, if the text says one that can be meant, whatever is wrong with the rest of it.
pub(super) fn store_path(text: &str) -> Option<PathBuf> {
    let (tree, _) = DeTable::parse_recoverable(text);
    let doc = Document::new(text, &Disk);
    let path = Section::root(&doc, tree.get_ref()).glance(&["store", "path"]).map(PathBuf::from);
    path.filter(|path| path.is_absolute())
}

/// The store's folder and its byte limit, whatever else is wrong with the text.
pub(super) fn store_place(text: &str, source_name: &str) -> Result<(PathBuf, u64), Errors> {
    let (tree, _) = DeTable::parse_recoverable(text);
    let doc = Document::new(text, &Disk);
    let store = store::store(&Section::root(&doc, tree.get_ref()));
    let problems = doc.close().problems;
    if problems.is_empty() {
        Ok((store.path, store.max_size))
    } else {
        Err(Errors { source_name: source_name.to_owned(), problems })
    }
}

/// `[limits]` and `[provider]`, whatever else is wrong with the keys.
pub(super) fn limits_and_provider(text: &str, source_name: &str) -> Result<(Limits, Provider), Errors> {
    part(text, source_name, |root| (limits::limits(root), limits::provider(root, is_unified(root), false)))
}

/// `[[collect.fields]]` and the key to pseudonyms, whatever else is wrong with the keys.
pub(super) fn fields(text: &str, source_name: &str) -> Result<(Vec<FieldRule>, Option<Secret>), Errors> {
    part(text, source_name, |root| collect::fields(&root.section("collect")))
}

/// The gateway's id and `[provider.notices]`, whatever else is wrong with the keys.
pub(super) fn gateway_and_notices(text: &str, source_name: &str) -> Result<(String, Notices), Errors> {
    part(text, source_name, |root| (gateway(root).id, notices::notices(root.section("provider").section("notices"))))
}

/// What `read` takes out of the text. One that is no TOML is a mistake here, too: what it was meant to say is not known, and would be
/// shown as the defaults.
fn part<T>(text: &str, source_name: &str, read: impl FnOnce(&Section<'_>) -> T) -> Result<T, Errors> {
    let (tree, faults) = DeTable::parse_recoverable(text);
    let doc = Document::new(text, &Disk);
    let found = read(&Section::root(&doc, tree.get_ref()));
    enter(&faults, &doc);
    let mut book = doc.close();
    if !faults.is_empty() {
        keep_what_is_certain(&mut book);
    }
    let problems = book.problems;
    if problems.is_empty() { Ok(found) } else { Err(Errors { source_name: source_name.to_owned(), problems }) }
}

/// Enters what is no TOML.
fn enter(faults: &[toml::de::Error], doc: &Document<'_>) {
    for fault in faults {
        doc.problem(
            Some(fault.span().map_or(0, |span| span.start)),
            "",
            syntax::said(fault),
            message!(
                "correct this line (text stands in double quotes, a table's name in brackets on a line of its own)"
            ),
        );
    }
}

/// Whether the endpoint is the Unified Endpoint, whatever else is wrong with it.
fn is_unified(root: &Section<'_>) -> bool {
    root.glance(&["forward", "flux", "kind"]) == Some(Kind::Unified.as_str())
}

/// Drops what may only follow from a mistake in the TOML itself: all that is missing, what stands on the same line,
/// and what stands behind it, unless the mistake is a key written twice, which misleads nothing that follows.
fn keep_what_is_certain(book: &mut Book) {
    let syntax: Vec<(usize, bool)> = book
        .problems
        .iter()
        .filter(|problem| problem.found.to_string().starts_with("not TOML"))
        .map(|problem| (problem.line, problem.found.to_string().contains("duplicate key")))
        .collect();
    let end = syntax.iter().filter(|(_, twice)| !twice).map(|(line, _)| *line).min().unwrap_or(usize::MAX);
    book.problems.retain(|problem| {
        let found = problem.found.to_string();
        found.starts_with("not TOML")
            || (found != "missing"
                && problem.line > 0
                && problem.line < end
                && !syntax.iter().any(|(line, _)| *line == problem.line))
    });
}

fn document(doc: &Document<'_>, tree: &DeTable<'_>) -> Config {
    // The tree borrows from the text; shortening its lifetime to that of the borrow lets a Section hold both.
    let root = Section::root(doc, tree);
    let gateway = gateway(&root);
    let store = store::store(&root);
    let lanes = store::lanes(&root, store.max_size);
    let limits = limits::limits(&root);
    let forward = forward::forward(&root, limits::monthly_events(&limits));
    let origin = forward.target.origin();
    limits::judge_together(&root, &limits, &origin);
    let at_soracom = address::is_soracom(&origin);
    let config = Config {
        collect: collect::collect(&root, &gateway.id, &lanes),
        store,
        lanes,
        forward,
        provider: limits::provider(&root, is_unified(&root), at_soracom),
        limits,
        clock: clock::clock(&root),
        alarm: super::alarm::alarm(&root),
        control: control(&root),
        metrics: metrics(&root),
        log: log(&root),
        gateway,
        warnings: Vec::new(),
    };
    root.finish();
    config
}

fn gateway(root: &Section<'_>) -> Gateway {
    const ADVICE: Message = message!(
        "write id = \"…\": 1 to 64 of A-Z, a-z, 0-9, `.`, `_`, `-`, beginning with a letter or digit, \
                          unlike any other gateway's: it stands in every event"
    );
    let section = root.section("gateway");
    let mut id = String::new();
    match section.text("id", ADVICE) {
        Some((text, value)) => {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
            if begins && text.len() <= MAX_ID && text.chars().all(plain) {
                text.clone_into(&mut id);
            } else {
                value.problem(found_text(text), ADVICE);
            }
        }
        None if section.has("id") => {}
        None => section.missing("id", ADVICE),
    }
    section.finish();
    Gateway { id }
}

fn control(root: &Section<'_>) -> Control {
    let section = root.section("control");
    let mut socket = PathBuf::from(DEFAULT_SOCKET);
    if let Some((path, value)) = section.path("socket") {
        if path.as_os_str().len() > MAX_SOCKET_PATH {
            value.problem(
                message!("the path has {count} bytes", count = path.as_os_str().len()),
                message!(
                    "write one of at most {most} bytes, for the system limits a socket's path",
                    most = MAX_SOCKET_PATH
                ),
            );
        }
        socket = path;
    }
    section.finish();
    Control { socket }
}

fn metrics(root: &Section<'_>) -> Metrics {
    let section = root.section("metrics");
    let mut bind = None;
    if let Some((text, value)) = section.text("bind", message!("write \"127.0.0.1:9464\"")) {
        match address::socket_address(text, 9464) {
            Ok(address) if address.ip().is_loopback() => {
                warn_of_any_port(address, &value);
                bind = Some(address);
            }
            Ok(address) => value.problem(
                message!("{address} can be reached from outside this machine", address = address),
                message!("write \"127.0.0.1:{port}\": the page has no password and no TLS; let a collector on the gateway or an \
                     SSH tunnel fetch it", port = address.port()),
            ),
            Err(advice) => value.problem(found_text(text), advice),
        }
    }
    section.finish();
    Metrics { bind }
}

/// Port 0 asks the system for any port that is free, which is for tests.
fn warn_of_any_port(address: SocketAddr, value: &Value<'_>) {
    if address.port() == 0 {
        value.warn(
            message!("port 0 is another port at every start, so nobody knows where to connect"),
            message!("write a port"),
        );
    }
}

fn log(root: &Section<'_>) -> Log {
    let section = root.section("log");
    let levels = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    let targets = [("stderr", LogTarget::Stderr), ("journald", LogTarget::Journald)];
    let log = Log {
        level: section.word("level", &levels).unwrap_or(LogLevel::Info),
        target: section.word("target", &targets).unwrap_or(LogTarget::Stderr),
    };
    section.finish();
    log
}

/// A certificate and its key, which only work together.
fn pair(section: &Section<'_>, one: &'static str, other: &'static str) -> Option<(PathBuf, PathBuf)> {
    match (section.file(one, Content::Certificates), section.file(other, Content::Key)) {
        (Some((certificate, _)), Some(key)) => {
            section.belongs(&certificate, &key);
            Some((certificate, key.0))
        }
        (Some((_, value)), None) if !section.has(other) => {
            value.problem(message!("stands alone"), message!("write {other} too, or remove this", other = other));
            None
        }
        (None, Some((_, value))) if !section.has(one) => {
            value.problem(message!("stands alone"), message!("write {one} too, or remove this", one = one));
            None
        }
        _ => None,
    }
}
