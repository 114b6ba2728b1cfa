//! Which configuration is live: chosen at the start, kept once it has worked, replaced by a reload.
//!
//! # Constraints
//! - **A bad file never keeps the gateway from starting** if any configuration of that file has worked before: one that
//!   cannot be read, is wrong anywhere, or names what is not there is reported, and the one that was kept is used. So it
//!   is with a file that reads well and with which the gateway does not come up (an address that is not this machine's, a
//!   port that is taken, a store's folder that cannot be made) where the one that was kept differs from it.
//! - **A reload is all or nothing.** Everything that can fail is judged first: the file with all the files that it names,
//!   the rules, the endpoint under both identities, passwords and certificates. Only then is anything applied.
//! - **Kept is what was accepted and worked**: read without a mistake, and the gateway came up with it: the control
//!   socket and the metrics page served, the store open, the listener bound. After a reload: if nothing in it waits for a
//!   restart.
//! - It is told at the first line which one is live, and why not the file.
//!
//! # How it works
//! [`Start`] is made of the file and of what is kept ([`kept`]), before anything runs. `gateway::serve` tries it, and asks
//! [`Start::falls_back`] when that fails. A [`Keeper`] writes what has worked; while the disk does not take it, it tries
//! again every [`KEEP_AGAIN`].

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::watch as channel;

use super::{GatewayError, Rooms, Shared, date, identity, inbox, lane_names, limits, options, page, stance};
use crate::chain::{chain, said};
use crate::clock::{Clock as _, Stamp};
use crate::code::Code;
use crate::config::kept::{self, Kept, Places};
use crate::config::{self, Config, LoadError};
use crate::language::{Language, Message, Value};
use crate::message;
use crate::store::StoreError;
use crate::store::disk::OsDisk;
use crate::watch;
use crate::watch::render::time;

/// How long to wait before keeping is tried again: a disk that is full for now, for one. Nothing depends on it until the
/// next start.
const KEEP_AGAIN: Duration = Duration::from_secs(60);

/// The configuration in force, and what the last reload said.
#[derive(Debug, Clone)]
pub(super) struct Loaded {
    pub(super) config: Arc<Config>,
    pub(super) origin: Origin,
    pub(super) at: Stamp,
    pub(super) needs_restart: Vec<&'static str>,
    /// Why the file is not used, if it is not.
    pub(super) error: Option<Why>,
}

/// Why a file is not used: a line for each thing that is wrong with it, behind a heading if there are several.
#[derive(Debug, Clone)]
pub(super) struct Why(pub(super) Vec<Value>);

impl Why {
    fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        Self(vec![said(error)])
    }
}

/// In English, for the log and for programs.
impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Value::to_string).collect();
        f.write_str(&lines.join("\n  "))
    }
}

/// Where a configuration comes from.
#[derive(Debug, Clone, Default)]
pub(super) struct Origin {
    /// What it was read from, for people.
    pub(super) source: String,
    /// The file that is to be read.
    pub(super) file: String,
    /// Its text; empty if it is none of a file's.
    pub(super) text: String,
    /// When it was kept, if it is the kept one.
    pub(super) kept_ms: Option<u64>,
}

/// A configuration, and where it comes from.
#[derive(Debug, Clone)]
pub(super) struct Chosen {
    pub(super) config: Config,
    pub(super) origin: Origin,
    /// Why it is not the file's.
    pub(super) refused: Option<Why>,
    /// It is given up for the kept one if its store cannot be opened at once: the kept one's is elsewhere.
    pub(super) impatient: bool,
}

impl Chosen {
    /// One that no file says.
    pub(super) fn unkept(config: Config, source: &str) -> Self {
        let origin = Origin { source: source.into(), file: source.into(), ..Origin::default() };
        Self { config, origin, refused: None, impatient: false }
    }

    fn of_file(config: Config, text: String, places: &Places) -> Self {
        let file = places.source().display().to_string();
        let origin = Origin { source: file.clone(), file, text, kept_ms: None };
        Self { config, origin, refused: None, impatient: false }
    }

    fn of_kept(kept: Kept, path: &std::path::Path, places: &Places) -> Result<Self, config::Errors> {
        let source = path.display().to_string();
        let config = config::parse(&kept.text, &source)?;
        let file = places.source().display().to_string();
        let origin = Origin { source, file, text: kept.text, kept_ms: Some(kept.kept_ms) };
        Ok(Self { config, origin, refused: None, impatient: false })
    }
}

/// Neither the configuration file nor what was kept of it can be used.
#[derive(Debug)]
pub struct StartError {
    file: LoadError,
    kept: Box<Unkept>,
}

/// Why nothing that was kept can be used.
#[derive(Debug)]
struct Unkept {
    why: Message,
    /// What could not be read while it was looked for.
    problems: Vec<kept::KeptError>,
    /// What is wrong with what was found.
    errors: Option<config::Errors>,
}

impl Unkept {
    /// Nothing was kept, as far as can be seen: no gateway ever ran with the file.
    fn is_none_at_all(&self) -> bool {
        self.problems.is_empty() && self.errors.is_none()
    }
}

impl StartError {
    /// The code whose page says what to do.
    pub fn code(&self) -> Code {
        self.file.code()
    }

    /// It in a language: what is wrong with the file, and where what was kept of it was looked for.
    pub fn text(&self, language: Language) -> String {
        let mut text = format!("{}\n{}", self.file.text(language), self.kept.why.text(language));
        for error in &self.kept.problems {
            text.extend(["\n  ", &said(error).text(language)]);
        }
        if let Some(errors) = &self.kept.errors {
            text.extend([": ", &errors.text(language)]);
        }
        text
    }

    /// Whether nothing is configured yet, so that waiting changes nothing.
    pub fn is_unconfigured(&self) -> bool {
        self.kept.is_none_at_all() && matches!(self.file, LoadError::NotConfigured { .. })
    }
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text(Language::English))
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.file.source()
    }
}

/// What a gateway is started with: the configuration file's, or what was kept of it.
#[derive(Debug)]
pub struct Start {
    places: Places,
    chosen: Chosen,
    fallback: Option<Chosen>,
}

impl Start {
    /// Reads the configuration file, and what was kept of it.
    ///
    /// # Errors
    /// [`StartError`] if neither can be used; it says what is wrong with both.
    pub fn choose(places: Places) -> Result<Self, StartError> {
        let name = places.source().display().to_string();
        let read = config::text(places.source())
            .and_then(|text| Ok((config::parse(&text, &name)?, text)))
            .map(|(config, text)| Chosen::of_file(config, text, &places));
        match read {
            Ok(mut chosen) => {
                let kept = places.find(&OsDisk).kept.filter(|(kept, _)| kept.text != chosen.origin.text);
                let fallback = kept.and_then(|(kept, path)| Chosen::of_kept(kept, &path, &places).ok());
                let elsewhere = |one: &Chosen| one.config.store.path != chosen.config.store.path;
                chosen.impatient = fallback.as_ref().is_some_and(elsewhere);
                Ok(Self { places, chosen, fallback })
            }
            Err(error) => {
                let chosen = match kept_one(&places) {
                    Ok(chosen) => chosen,
                    Err(kept) => return Err(StartError { file: error, kept: Box::new(kept) }),
                };
                Ok(Self {
                    places,
                    chosen: Chosen { refused: Some(Why(error.passed_over())), ..chosen },
                    fallback: None,
                })
            }
        }
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.chosen.config
    }

    /// What it was read from.
    pub fn source(&self) -> &str {
        &self.chosen.origin.source
    }

    /// Says in the log which one is used, if it is not the file's.
    pub(super) fn tell(&self) {
        let Chosen { origin, refused: Some(why), .. } = &self.chosen else { return };
        let (kept, path) = (origin.kept_ms.map_or_else(String::new, time), &origin.source);
        let (file, code) = (&origin.file, Code::ConfigKept);
        tracing::error!(%code, "{file} cannot be used; running with what was kept on {kept} in {path} ({code}): {why}");
    }

    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    pub(super) fn chosen(&self) -> Chosen {
        self.chosen.clone()
    }

    /// The gateway has come up with it: from now on nothing else is tried.
    pub(super) fn came_up(&mut self) {
        self.fallback = None;
    }

    /// Whether to try the kept configuration now that the gateway has not come up with the file's.
    pub(super) fn falls_back(&mut self, error: &GatewayError) -> bool {
        let others = matches!(error, GatewayError::Process(_) | GatewayError::Ended { .. })
            || matches!(error, GatewayError::Store(StoreError::Locked { .. }));
        let Some(fallback) = self.fallback.take().filter(|_| !others) else { return false };
        self.chosen = Chosen { refused: Some(Why::of(error)), ..fallback };
        true
    }
}

/// What is kept, or why it cannot be used.
fn kept_one(places: &Places) -> Result<Chosen, Unkept> {
    let found = places.find(&OsDisk);
    let Some((kept, path)) = found.kept else {
        let folders: Vec<String> = found.looked.iter().map(|folder| folder.display().to_string()).collect();
        let why = message!(
            "no configuration of it that worked was found in {folders}: correct the file or, if this gateway ran before, name its \
             state directory or its store's folder (--state)",
            folders = folders.join(", ")
        );
        return Err(Unkept { why, problems: found.problems, errors: None });
    };
    let kept_ms = kept.kept_ms;
    Chosen::of_kept(kept, &path, places).map_err(|errors| {
        let why = message!("what was kept of it on {time} cannot be used either", time = time(kept_ms));
        Unkept { why, problems: Vec::new(), errors: Some(errors) }
    })
}

/// Takes the changed file into use, or says why not; then nothing has changed.
pub(super) fn reload(shared: &Arc<Shared>, file: &std::path::Path) {
    match try_reload(shared, file) {
        Ok(changes) => {
            for warning in &shared.loaded().config.warnings {
                tracing::warn!("{}: {warning}", file.display());
            }
            tracing::info!(applied = ?changes.applied, needs_restart = ?changes.needs_restart, "configuration read again");
            if !changes.needs_restart.is_empty() {
                let (keys, code) = (changes.needs_restart.join(", "), Code::RestartNeeded);
                tracing::warn!(%code, "restart Tidegate for these to take effect ({code}): {keys}");
            }
        }
        Err(error) => {
            let code = Code::ReloadRefused;
            tracing::error!(%code, "the changed configuration is not used, the one before stays in force ({code}): {error}");
            shared.loaded.lock().unwrap_or_else(PoisonError::into_inner).error = Some(error);
        }
    }
}

fn try_reload(shared: &Arc<Shared>, file: &std::path::Path) -> Result<config::Changes, Why> {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let name = file.display().to_string();
    let text = config::text(&file).map_err(|error| Why(error.passed_over()))?;
    let config = config::parse(&text, &name).map_err(|errors| Why(LoadError::Wrong(errors).passed_over()))?;
    let running = shared.loaded().config;
    let mut changes = config::changes(&running, &config);
    for key in config::stale(&config) {
        if !changes.needs_restart.contains(&key) {
            changes.needs_restart.push(key);
        }
    }
    let config = options::in_force(config, &running);
    let rules = options::rules(&config).map_err(|error| Why::of(&error))?;
    let configured: Vec<String> = config.lanes.iter().map(|lane| lane.name.clone()).collect();
    identity::judge(&config, &configured).map_err(|error| Why::of(&error))?;
    if let Rooms::Running { store, forward, credentials, .. } = &*shared.rooms() {
        // A renewed certificate or a changed password stands behind the same path, so no key tells.
        let fresh = credentials.as_ref().map(|it| it.read().map(|fresh| (it, fresh))).transpose();
        let fresh = fresh.map_err(|error| Why::of(&error))?;
        // The endpoint's options are handed over even if they are the same: a reload is also how an operator says
        // "try again now" after mending something on the other side. The last that can fail, and the first that holds.
        forward.reload(identity::forward(shared, &config, &lane_names(store))).map_err(|error| Why::of(&error))?;
        if let Some((credentials, fresh)) = fresh {
            credentials.take(fresh);
        }
    }
    shared.rules.send_replace(rules);
    if let Err(error) = watch::log::set_level(config.log.level.filter()) {
        tracing::warn!("the log level stays as it is: {}", chain(&error));
    }
    let mut loaded = shared.loaded.lock().unwrap_or_else(PoisonError::into_inner);
    *loaded = Loaded {
        config: Arc::new(config),
        origin: Origin { source: name.clone(), file: name, text, kept_ms: None },
        at: shared.clock.now(),
        needs_restart: changes.needs_restart.clone(),
        error: None,
    };
    drop(loaded);
    limits::reload(shared);
    stance::reload(shared);
    page::reload(shared);
    date::reload(shared);
    inbox::reload(shared);
    Ok(changes)
}

/// Writes what has worked.
#[derive(Debug)]
pub(super) struct Keeper {
    places: Places,
    to_keep: channel::Sender<Option<(PathBuf, Kept)>>,
}

impl Keeper {
    /// One that has nothing to write yet. It ends when it is dropped.
    pub(super) fn new(places: Places) -> Self {
        let (to_keep, asked) = channel::channel(None);
        tokio::spawn(keep(asked));
        Self { places, to_keep }
    }

    /// Keeps the configuration that is live, if it has worked as a whole. Not to be called before the gateway is up.
    pub(super) fn keep(&self, shared: &Shared) {
        let Loaded { config, origin, needs_restart, .. } = shared.loaded();
        if origin.kept_ms.is_some() || origin.text.is_empty() || !needs_restart.is_empty() {
            return;
        }
        let now = shared.clock.now();
        let source = self.places.source().display().to_string();
        let kept = Kept { text: origin.text, source, kept_ms: now.wall_ms, trusted: now.trusted };
        let home = self.places.home(&config.store.path).to_owned();
        self.to_keep.send_replace(Some((home, kept)));
    }
}

/// Writes what is asked for, one after another, until nobody can ask any more.
async fn keep(mut asked: channel::Receiver<Option<(PathBuf, Kept)>>) {
    let mut said = false;
    loop {
        let next = asked.borrow_and_update().clone();
        let mut again = false;
        if let Some((home, kept)) = next {
            let path = kept::file(&home);
            let tried = tokio::task::spawn_blocking(move || kept::write(&OsDisk, &home, &kept)).await;
            match tried {
                Ok(Ok(true)) => tracing::info!("this configuration works: it is kept in {}", path.display()),
                Ok(Ok(false)) => {}
                Ok(Err(error)) => {
                    if !said {
                        let why = chain(&error);
                        tracing::warn!("this configuration works and cannot be kept yet; trying again: {why}");
                    }
                    again = true;
                }
                // The runtime goes down.
                Err(_) => return,
            }
            said = again;
        }
        tokio::select! {
            changed = asked.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(KEEP_AGAIN), if again => {}
        }
    }
}
