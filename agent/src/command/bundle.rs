//! `tidegate support-bundle`: one archive of what somebody who helps must know, without secrets and without payloads.
//!
//! # Constraints
//! - **Nothing confidential leaves** (terms 3.5(3), 7.1): no payload is read, secrets are [taken out](secrets) of every file,
//!   addresses of interfaces are not asked for. Names of devices and topics are in it where the status shows them.
//! - It is made whether or not the service runs; what could not be had stands in it, with the reason.
//! - Bounded: [`MAX_FILE`] a file, [`MAX_ALL`] in all before it is packed; of a log the newest is kept.
//! - For its owner alone (0600), never in the place of another file.

mod facts;
mod forms;
mod secrets;

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use tidegate::chain::said;
use tidegate::clock::now_ms;
use tidegate::code::Code;
use tidegate::config;
use tidegate::config::kept::Places;
use tidegate::gateway;
use tidegate::language::{IntoValue as _, Language, Message, Value, system};
use tidegate::message;
use tidegate::outage;
use tidegate::outage::report;
use tidegate::provider::question::{Ask, End};
use tidegate::store;
use tidegate::store::disk::OsDisk;
use tidegate::store::look::{self, Look};
use tidegate::watch::control;
use tidegate::watch::render::{self, size};

use super::service::Agent;
use super::{Coded, Failure, print};
use secrets::Secrets;

/// Longest file in a bundle, in bytes: a week of warnings has some 100 KB, a full status 10 KB.
const MAX_FILE: usize = 4 * 1024 * 1024;

/// Bytes of all files together: what a mail still takes, if nothing could be compressed.
const MAX_ALL: usize = 10 * 1024 * 1024;

/// Where secrets are by convention: the package's folder for them, and where systemd shows them to the service.
const CREDENTIALS: [&str; 2] = ["/etc/tidegate/secrets", "/run/credentials/tidegate.service"];

/// Which agent, and where to.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Secrets are taken out, payloads are never read. Look at it before you send it: tar -xzf FILE\n\
                  Run it as root (sudo), so that the log can be read and each secret be looked for."
)]
pub(super) struct Args {
    /// Write the archive to this file, which must not exist [default: tidegate-support-TIME.tar.gz in this folder]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    agent: Agent,
}

/// A file of the bundle.
struct Item {
    name: &'static str,
    about: Message,
    text: String,
}

/// What is put together.
#[derive(Default)]
struct Bundle {
    items: Vec<Item>,
    /// What could not be had, and why.
    missing: Vec<(&'static str, Value)>,
    /// The configuration could not be read, so that nobody knows what is secret.
    blind: bool,
    bytes: usize,
}

impl Bundle {
    /// Adds what was found, without secrets; or says why there is nothing.
    fn add(&mut self, secrets: &Secrets, name: &'static str, about: Message, found: Result<String, Value>) {
        match found {
            Ok(text) => self.add_clean(name, about, secrets.take_out(&newest(text))),
            Err(why) => self.missing.push((name, why)),
        }
    }

    /// Adds what holds no secrets any more.
    fn add_clean(&mut self, name: &'static str, about: Message, text: String) {
        if self.bytes + text.len() > MAX_ALL {
            let size = size(text.len() as u64);
            let why = message!("{size} would make the bundle too large", size = size);
            return self.missing.push((name, why.into_value()));
        }
        self.bytes += text.len();
        self.items.push(Item { name, about, text });
    }

    /// The list of what is inside and what is not.
    fn contents(&self, secrets: &Secrets, language: Language) -> String {
        let mut out = message!(
            "What is inside. Secrets were replaced by {mark}; payloads were not read. Names of devices, topics, hosts and \
             limits are in it: look at it before you send it.",
            mark = secrets::MARK
        )
        .text(language);
        let blind = message!(
            "What cannot be found: a secret in free words, in a comment or in the log, that no key of the configuration and no \
             file of secrets names, and one of fewer than {count} characters. Look for those yourself.",
            count = forms::SHORTEST
        );
        out.extend(["\n", &blind.text(language), "\n\n"]);
        for item in &self.items {
            let about = item.about.text(language);
            out.extend(["  ", item.name, " (", &size(item.text.len() as u64), "): ", &about, "\n"]);
        }
        if !self.missing.is_empty() {
            out.extend(["\n", &message!("What could not be had:").text(language), "\n"]);
        }
        for (name, why) in &self.missing {
            out.extend(["  ", name, ": ", &secrets.take_out(&why.text(language)), "\n"]);
        }
        if self.blind {
            let text = message!(
                "The configuration could not be read: the secrets in it, and in files that it names elsewhere, were not looked \
                 for, neither in the log nor in the other files. Run this as root (sudo), or look for them yourself before you \
                 send it."
            );
            out.extend(["\n", &text.text(language), "\n"]);
        }
        if !secrets.unread.is_empty() {
            let text = message!(
                "These files may hold secrets and could not be read, so that their values were not looked for (sudo?):"
            );
            out.extend(["\n", &text.text(language), "\n"]);
        }
        for (path, why) in &secrets.unread {
            out.extend(["  ", &path.display().to_string(), ": ", &why.text(language), "\n"]);
        }
        out
    }
}

/// The end of a text that is too long: in a log, the newest.
fn newest(text: String) -> String {
    let Some(over) = text.len().checked_sub(MAX_FILE) else { return text };
    let from =
        text.bytes().enumerate().skip(over).find(|(_, byte)| *byte == b'\n').map_or(text.len(), |(at, _)| at + 1);
    format!("… {} left out …\n{}", size(from as u64), &text[from..])
}

/// Gathers, writes and says what is inside.
pub(super) fn run(args: &Args, language: Language) -> Result<(), Failure> {
    let now = now_ms();
    let path = args.output.clone().unwrap_or_else(|| {
        let time: String = render::time(now).chars().filter(char::is_ascii_digit).collect();
        format!("tidegate-support-{time}.tar.gz").into()
    });
    // Made first: whoever may not write here learns it before the logs are read.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let file = file.map_err(|error| {
        let text = message!(
            "cannot make {file} (it must not exist yet; name another with --output): {error}",
            file = path.display(),
            error = system::said(&error)
        );
        Coded::new(text, Some(Code::CannotWrite))
    })?;
    let (bundle, secrets) = gather(&args.agent, language);
    let contents = bundle.contents(&secrets, language);
    if let Err(error) = pack(&bundle, &contents, file, now / 1000) {
        // What is half written is of no use.
        let _ = fs::remove_file(&path);
        let text = message!("cannot write {file}: {error}", file = path.display(), error = system::said(&error));
        return Err(Coded::new(text, Some(Code::CannotWrite)).into());
    }
    let bytes = fs::metadata(&path).map_or(0, |about| about.len());
    let done = message!(
        "{file}, {size}, for its owner alone. To look at it: tar -xzf {file}",
        file = path.display(),
        size = size(bytes)
    );
    print(&(contents + "\n" + &done.text(language) + "\n"))
}

fn gather(agent: &Agent, language: Language) -> (Bundle, Secrets) {
    let (mut bundle, mut secrets) = (Bundle::default(), Secrets::default());
    let config = agent.config_file();
    let systemd = std::env::var_os("STATE_DIRECTORY");
    let text = config::text(config).map_err(|error| said(&error));
    let kept = Places::new(config, None, systemd.as_deref()).find(&OsDisk).kept.map(|(kept, _)| kept.text);
    let mut folders: Vec<PathBuf> = CREDENTIALS.iter().map(PathBuf::from).collect();
    folders.extend(std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from));
    // Where setup keeps what stood inline, beside the configuration that it changed.
    folders.extend(config.parent().map(|folder| folder.join("secrets")));
    for folder in &folders {
        secrets.add_folder(folder);
    }
    if let Err(error) = &text {
        // What stands in it cannot be looked for.
        bundle.blind = true;
        secrets.unread.insert(config.to_owned(), error.clone());
    }
    folders.extend(config.parent().map(Path::to_owned));
    for text in text.iter().chain(&kept) {
        secrets.add_configuration(text, &folders);
    }
    bundle.add(&secrets, "versions.txt", message!("Tidegate, kernel, system, systemd"), Ok(facts::versions()));
    let store = config::store_place(config).map_or_else(|_| config::kept::STATE.into(), |(folder, _)| folder);
    bundle.add(&secrets, "machine.txt", message!("memory, disk, interfaces, clock"), Ok(facts::machine(&store)));
    configuration(&mut bundle, &secrets, config, text, kept);
    of_service(&mut bundle, &secrets, agent, &store, language);
    of_store(&mut bundle, &secrets, &store);
    bundle.add(&secrets, "unit.txt", message!("what systemd says of the service"), facts::unit());
    bundle.add(&secrets, "log.txt", message!("the service's log of the last 7 days"), facts::log());
    (bundle, secrets)
}

fn configuration(
    bundle: &mut Bundle,
    secrets: &Secrets,
    path: &Path,
    text: Result<String, Value>,
    kept: Option<String>,
) {
    match text {
        Ok(text) => {
            let judged = match config::parse(&text, &path.display().to_string()) {
                Ok(_) => "no mistake was found\n".to_owned(),
                Err(errors) => format!("{errors}\n"),
            };
            bundle.add_clean("configuration.toml", message!("the configuration"), secrets.configuration(&text));
            bundle.add(secrets, "configuration.check.txt", message!("what is wrong with it"), Ok(judged));
        }
        Err(why) => bundle.missing.push(("configuration.toml", why)),
    }
    let about = message!("the configuration that worked last");
    match kept {
        Some(text) => bundle.add_clean("configuration.kept.toml", about, secrets.configuration(&text)),
        None => bundle
            .missing
            .push(("configuration.kept.toml", message!("none is kept, or it may not be read").into_value())),
    }
}

/// What the running service says; notices also without it.
fn of_service(bundle: &mut Bundle, secrets: &Secrets, agent: &Agent, store: &Path, language: Language) {
    let socket = agent.socket().map_err(|failure| said(&*failure.error));
    match socket.and_then(|socket| control::ask(&socket).map_err(|error| said(&error))) {
        Ok(status) => {
            let text = render::human(&status, language);
            bundle.add(secrets, "status.txt", message!("what `tidegate status` shows"), Ok(text));
            bundle.add(secrets, "status.json", message!("the same for programs"), json(&status));
        }
        Err(why) => bundle.missing.push(("status.txt", why)),
    }
    let entries = match agent.ask(&Ask::Notices) {
        Ok(End::Notices { entries }) => Ok(entries),
        _ => gateway::notices_of(store).map_err(|error| said(&error)),
    };
    let notices = entries.and_then(|entries| json(&entries));
    bundle.add(secrets, "notices.json", message!("notices, and what was done"), notices);
}

/// What the files of the store say.
fn of_store(bundle: &mut Bundle, secrets: &Secrets, store: &Path) {
    let outages = match outage::look(store) {
        Ok(Some(found)) => json(&report::rows(&found.tally, None)),
        Ok(None) => Err(message!("there is no ledger").into_value()),
        Err(error) => Err(said(&error)),
    };
    bundle.add(secrets, "outages.json", message!("time in which Flux could not be used"), outages);
    let status = Look::open(store).map_err(|error| said(&error)).and_then(|look| {
        let end = look.answer(&look::Ask::Status, &mut |_| std::ops::ControlFlow::Continue(()));
        match end.map_err(|error| said(&error))? {
            look::End::Status(status) => json(&status),
            _ => Err(message!("the store answered something else").into_value()),
        }
    });
    bundle.add(secrets, "buffer.json", message!("what waits in each lane"), status);
    let heads = store::heads(&OsDisk, store).map_err(|error| said(&error));
    let lines = heads.and_then(|heads| heads.iter().map(line).collect::<Result<String, Value>>());
    bundle.add(secrets, "segments.jsonl", message!("the heads of the journal's segments"), lines);
}

fn line(value: &impl Serialize) -> Result<String, Value> {
    serde_json::to_string(value).map(|text| text + "\n").map_err(|error| said(&error))
}

fn json(value: &impl Serialize) -> Result<String, Value> {
    serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(|error| said(&error))
}

fn pack(bundle: &Bundle, contents: &str, file: fs::File, time_s: u64) -> std::io::Result<()> {
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    let all = bundle.items.iter().map(|item| (item.name, item.text.as_str()));
    for (name, text) in [("CONTENTS.txt", contents)].into_iter().chain(all) {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(time_s);
        archive.append_data(&mut header, Path::new("tidegate-support").join(name), text.as_bytes())?;
    }
    let mut file = archive.into_inner()?.finish()?;
    file.flush()?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_log_that_is_too_long_the_newest_lines_are_kept() {
        let text = "0123456\n".repeat(MAX_FILE / 8 + 10);
        let kept = newest(text);
        assert!(kept.len() <= MAX_FILE + 64 && kept.contains("left out") && kept.ends_with("\n0123456\n"));
        assert_eq!(newest("short".into()), "short");
    }

    #[test]
    fn what_would_make_it_too_large_is_left_out_and_said() {
        let (mut bundle, secrets) = (Bundle::default(), Secrets::default());
        for name in ["a", "b", "c"] {
            bundle.add_clean(name, message!("the configuration"), "x\n".repeat(MAX_FILE / 2));
        }
        assert_eq!(bundle.items.len(), 2);
        let contents = bundle.contents(&secrets, Language::English);
        assert!(contents.contains("too large") && contents.contains("  a (4.0 MiB)"), "{contents}");
    }
}
