//! `tidegate setup`: asks for what a gateway needs, tries each answer, and writes the configuration and its secrets.
//!
//! # Constraints
//! - **Nothing is changed before the person has seen it and agreed** (or said `--yes`): until then the answers and secrets are in
//!   memory. Ctrl-C, `q` and the end of the input leave everything as it was; only what a killed run left goes at once.
//! - **Secrets** come from the terminal unseen, from files or from standard input; they go into files of their own with mode 0600 and
//!   nowhere else: not into the configuration, the output, a command line or a log.
//! - **What is there stays**: comments, order and every key that no answer is about ([`edit`]).
//! - A bad test is shown with its next step. The answer may be kept all the same: a gateway is set up in the office, where its SIM has
//!   no line. What the configuration would refuse is never written.
//! - Every question has a flag ([`flags`]). Without a terminal a missing answer is an error that names it.
//!
//! # How it works
//! For each topic ([`answers::Topic`]): the flags' answers, else the questions ([`dialogue`]); a draft with them is judged as the service
//! would judge it and tried by the probes of `check` ([`prove`]). Then the draft is shown, written ([`write`]), the service started or
//! told ([`service`]), and all is checked once more.

mod answers;
mod dialogue;
mod diff;
mod edit;
mod flags;
mod prove;
mod service;
mod terminal;
mod write;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tidegate::code::Code;
use tidegate::config::{self, LoadError};
use tidegate::language::{Language, Message};
use tidegate::message;
use tokio::signal::unix::{SignalKind, signal};

use self::answers::{Answers, Draft, Topic};
use self::dialogue::Questions;
use self::edit::{EditError, Text};
pub(super) use self::flags::Args;
use self::prove::{Found, Proof};
use self::service::Written;
use self::terminal::Terminal;
use self::write::{Batch, Belongs};
use super::check;
use super::{Coded, Failure, print};

/// Exit code when all was written and the check at the end found something bad, or the service did not take it.
const WRITTEN_BUT_BAD: u8 = 5;

/// Exit code after Ctrl-C, as shells have it (128 + SIGINT).
const INTERRUPTED: u8 = 130;

/// What a new file begins with: comments.
const HEAD: Message = message!(
    "# Tidegate's configuration, by `tidegate setup`, which changes it too. Every key there is, with its default and what it \
     is for:\n# tidegate config default. After a change by hand: tidegate check, then systemctl reload tidegate."
);

/// What the file begins with that the package installs: a text that is not true any more once setup has run.
const PACKAGED: &str = "# Tidegate is not configured yet";

/// Why nothing was written.
#[derive(Debug)]
enum Refusal {
    NotToml { path: PathBuf, why: Message },
    Missing(String),
    Bad,
    Wrong,
    NotAgreed,
    Meanwhile(PathBuf),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let (said, code) = match refusal {
            Refusal::NotToml { path, why } => (
                message!(
                    "setup cannot change {path}, for it is no TOML: {why}; correct it, see `tidegate check`",
                    path = path.display(),
                    why = why
                ),
                Code::ConfigWrong,
            ),
            Refusal::Missing(flags) => (
                message!("not answered: {flags}; give these flags, or run this in a terminal", flags = flags),
                Code::SetupUnanswered,
            ),
            Refusal::Bad => (
                message!(
                    "something is bad, see above, and nothing was changed; correct it, or write it all the same with --keep-bad"
                ),
                Code::SetupBad,
            ),
            Refusal::Wrong => (
                message!(
                    "the answers make no configuration that can be used, and nothing was changed; correct what is said above"
                ),
                Code::ConfigWrong,
            ),
            Refusal::NotAgreed => {
                (message!("nothing was changed; without a terminal --yes has it written"), Code::SetupUnanswered)
            }
            Refusal::Meanwhile(path) => (
                message!(
                    "somebody else has changed {path} meanwhile, and nothing was changed here; run this again",
                    path = path.display()
                ),
                Code::ChangedMeanwhile,
            ),
        };
        Coded::new(said, Some(code)).into()
    }
}

/// Sets up.
pub(super) fn run(args: &Args, language: Language) -> Result<(), Failure> {
    let path = std::path::absolute(&args.config)?;
    let given = args.answers()?;
    let (old, fresh, start) = begin(&path, language)?;
    let place = path.parent().unwrap_or(Path::new("/")).to_path_buf();
    write::writable(&place).map_err(|source| write::cannot(&path, source))?;
    let writing = Arc::new(Mutex::new(false));
    heed_interrupts(&writing, language);
    let mut terminal = Terminal::find(language);
    let mut draft = Draft::new(start, place.join("secrets"));
    for left in write::remove_left_over(&path, draft.folder()) {
        let said = message!("removed {file}, which a setup that was cut off had left", file = left.display());
        print(&format!("{}\n", said.text(language)))?;
    }
    let mut bad = false;
    let proof = Proof { name: path.display().to_string(), language, tests: !args.no_tests };
    if terminal.is_none() {
        complete(&draft, &given, fresh)?;
    }
    proof.others(&draft)?;
    if let Some(terminal) = &terminal {
        terminal.say(&message!("Enter takes what stands in brackets; q or Ctrl-C ends, and nothing is changed."))?;
    }
    for topic in Topic::ALL {
        match &mut terminal {
            Some(terminal) => converse(topic, terminal, &mut draft, &given, fresh, &proof)?,
            None => bad |= obey(topic, &mut draft, &given, &proof)?,
        }
    }
    let config = draft.config(&proof.name).map_err(|errors| Failure { code: super::FAILED, ..errors.into() })?;
    if bad && !args.keep_bad {
        return Err(Refusal::Bad.into());
    }
    let new = draft.text.as_str().to_owned();
    show(&path, &old, &new, &draft, language)?;
    if old == new && draft.secrets.is_empty() {
        print(&format!("{}\n", message!("Nothing changes.").text(language)))?;
    } else {
        match (&mut terminal, args.yes) {
            (_, true) => {}
            (Some(terminal), false) => {
                if !terminal.agree(&message!("Write it (y/n)?"), true)? {
                    terminal.say(&message!("nothing was changed"))?;
                    return Err(Failure::said(super::FAILED));
                }
            }
            (None, false) => return Err(Refusal::NotAgreed.into()),
        }
        let mut done = writing.lock().unwrap_or_else(PoisonError::into_inner);
        put(&path, &old, &new, &draft)?;
        *done = true;
        drop(done);
        print(&format!("{}\n", message!("written: {path}", path = path.display()).text(language)))?;
    }
    let written = Written { text: &new, secrets: !draft.secrets.is_empty(), socket: &config.control.socket };
    let told = service::tell(args, terminal.as_mut(), written, language)?;
    finish(args, terminal.as_mut(), path, language)?;
    if told { Ok(()) } else { Err(Failure::said(WRITTEN_BUT_BAD)) }
}

/// Checks all, with a test event if that is agreed.
fn finish(args: &Args, terminal: Option<&mut Terminal>, path: PathBuf, language: Language) -> Result<(), Failure> {
    if args.no_tests && !args.test_event {
        return Ok(());
    }
    let event = match terminal {
        _ if args.test_event => true,
        Some(terminal) if !args.yes => terminal.agree_still(
            &message!(
                "Send one test event to Flux (y/n)? A flow runs for it, and it counts as one of the month's events"
            ),
            false,
        )?,
        _ => false,
    };
    print("\n")?;
    let checked = check::run(&check::Args::after_setup(path, event), language);
    checked.map_err(|failure| Failure { code: WRITTEN_BUT_BAD, ..failure })
}

/// Whether the flags, with what the file says, answer all.
fn complete(draft: &Draft, given: &Answers, fresh: bool) -> Result<(), Failure> {
    let mut whole = draft.clone();
    let mut missing = Vec::new();
    for topic in Topic::ALL {
        whole.apply(topic, given).map_err(EditError::words)?;
        missing.extend(whole.missing(topic, given, fresh));
    }
    if missing.is_empty() { Ok(()) } else { Err(Refusal::Missing(missing.join(", ")).into()) }
}

/// The file as it is, whether there is no configuration in it yet, and what to begin with.
fn begin(path: &Path, language: Language) -> Result<(String, bool, Text), Failure> {
    let old = match config::read_text(path) {
        Ok(text) => text,
        Err(LoadError::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error.into()),
    };
    let not_toml = |why| Refusal::NotToml { path: path.to_path_buf(), why };
    let text = Text::new(&old).map_err(not_toml)?;
    let fresh = text.is_bare();
    let start = if fresh && (old.trim().is_empty() || old.starts_with(PACKAGED)) {
        Text::new(&(HEAD.text(language) + "\n")).map_err(not_toml)?
    } else {
        text
    };
    Ok((old, fresh, start))
}

/// Asks about a topic until its answers are right, or kept although their test is bad.
fn converse(
    topic: Topic,
    terminal: &mut Terminal,
    draft: &mut Draft,
    given: &Answers,
    fresh: bool,
    proof: &Proof,
) -> Result<(), Failure> {
    let (mut answers, mut before, mut offered) = (given.clone(), Answers::default(), draft.clone());
    // What the flags answer is not asked, unless something about it is missing or turned out wrong.
    let mut asks = !answers.about(topic);
    loop {
        let mut tried = draft.clone();
        tried.apply(topic, &answers).map_err(EditError::words)?;
        if asks || !tried.missing(topic, &answers, fresh).is_empty() {
            Terminal::show("\n")?;
            let questions = Questions { topic, terminal, proof, draft, offered: &offered, before: &before, answers };
            answers = questions.ask()?;
            tried = draft.clone();
            tried.apply(topic, &answers).map_err(EditError::words)?;
        }
        let found = loop {
            let found = proof.judge(topic, &tried, &answers)?;
            if !found.refused.is_empty() || !found.bad {
                break found;
            }
            let ways =
                [message!("correct the answer"), message!("keep it all the same"), message!("test it once more")];
            match terminal.choose(&message!("That is not good yet."), &ways, Some(0))? {
                0 => break found,
                1 => break Found::default(),
                _ => {}
            }
        };
        if found.refused.is_empty() && !found.bad {
            *draft = tried;
            return Ok(());
        }
        asks = true;
        if found.bad {
            before = std::mem::take(&mut answers);
            answers = before.good_part(found.good_listener, found.good_broker);
            offered = tried;
            continue;
        }
        let known: Vec<bool> = found.refused.iter().filter_map(|key| answers.forget(key)).collect();
        match known.contains(&true) {
            true => {}
            // What is wrong stood in the file, and can be answered otherwise.
            false if !known.is_empty() => answers = Answers::default(),
            false => return Err(Refusal::Wrong.into()),
        }
    }
}

/// Takes the flags' answers about a topic; says whether their test is bad.
fn obey(topic: Topic, draft: &mut Draft, given: &Answers, proof: &Proof) -> Result<bool, Failure> {
    draft.apply(topic, given).map_err(EditError::words)?;
    if !given.about(topic) {
        return Ok(false);
    }
    let found = proof.judge(topic, draft, given)?;
    if found.refused.is_empty() { Ok(found.bad) } else { Err(Refusal::Wrong.into()) }
}

/// Shows what will be written.
fn show(path: &Path, old: &str, new: &str, draft: &Draft, language: Language) -> Result<(), Failure> {
    let mut text = String::from("\n");
    if old != new {
        let head = if old.is_empty() {
            message!("{path} will be:", path = path.display())
        } else {
            message!("{path} will change:", path = path.display())
        };
        text.extend([head.text(language), "\n\n".into(), diff::diff(old, new), "\n".into()]);
    }
    for file in draft.secrets.keys() {
        let path = file.display();
        let said = if draft.kept.contains(file) {
            message!(
                "{path} will keep what stands in the configuration now and is a secret, for its owner alone (mode 0600)",
                path = path
            )
        } else {
            message!("{path} will hold a secret, for its owner alone (mode 0600)", path = path)
        };
        text.extend([said.text(language), "\n".into()]);
    }
    print(&text)
}

/// Writes the secrets and the configuration: all or nothing.
fn put(path: &Path, old: &str, new: &str, draft: &Draft) -> Result<(), Failure> {
    let now = if path.exists() { config::read_text(path)? } else { String::new() };
    if now != old {
        return Err(Refusal::Meanwhile(path.to_path_buf()).into());
    }
    let owner = service::owner_of_secrets(draft.folder());
    let mut batch = Batch::default();
    if !draft.secrets.is_empty() {
        batch.folder(draft.folder(), Belongs { to: owner, mode: 0o700 })?;
    }
    for (file, secret) in &draft.secrets {
        let line = format!("{}\n", secret.expose());
        batch.file(file, line.as_bytes(), Belongs { to: owner, mode: 0o600 })?;
    }
    if old != new {
        if let Some(folder) = path.parent() {
            batch.folder(folder, Belongs { to: None, mode: 0o755 })?;
        }
        // It holds no secret, and the service's user must read it.
        batch.file(path, new.as_bytes(), Belongs::as_there(path, 0o644))?;
    }
    Ok(batch.commit()?)
}

/// Has Ctrl-C end at once, but not between the first and the last file that is written.
fn heed_interrupts(writing: &Arc<Mutex<bool>>, language: Language) {
    let writing = Arc::clone(writing);
    let (ready, heeded) = std::sync::mpsc::channel::<()>();
    // Without this thread Ctrl-C ends the process all the same, only without a word.
    let _ = std::thread::Builder::new().name("interrupts".into()).spawn(move || {
        let heard = check::probe::block_on(async move {
            let interrupts = signal(SignalKind::interrupt());
            drop(ready);
            interrupts.ok()?.recv().await
        });
        if heard.flatten().is_some() {
            let written = writing.lock().unwrap_or_else(PoisonError::into_inner);
            if !*written {
                let _ = print(&format!("\n{}\n", message!("stopped; nothing was changed").text(language)));
            }
            std::process::exit(INTERRUPTED.into());
        }
    });
    // The first question comes when Ctrl-C is heeded, or cannot be: nothing is ever sent here.
    let _ = heeded.recv();
}
