//! What may leave: gathers the documents of limits, has them merged, and hands the result on.
//!
//! ```text
//! configuration ── [limits] ─────────────┐
//! terms file ────────────────────────────┤
//! SIM ── provider::metadata ── class ────┼─▶ shape::limits ─▶ watch channel ─▶ the door, budgets, status
//! answers ── forward ── rate limit ──────┤
//! notices, a stop's end ── stance ───────┤
//! default: the Developer plan's events ──┘
//! ```
//!
//! # Constraints
//! - It starts: a terms file that is missing or wrong is said, in the log and in `status`, and stops nothing. The last one
//!   that was good stays in force, over restarts and power cuts too, until another is good or none is configured.
//! - A start never makes the gateway faster: the speed class that was told last holds until another is told (`kept`).
//! - What changes takes effect at once: a reload, another speed class, a limit that an answer tells or that has ended.

mod kept;
mod words;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tidegate_protocol::terms::{Bound, Kind, Limit, Provider, Source, Terms};
use tokio::sync::watch as channel;
use tokio_util::sync::CancellationToken;

use super::{Rooms, Shared};
use crate::clock::Clock as _;
use crate::code::Code;
use crate::config::{self, Config, terms};
use crate::forward::{LEAST_BYTES, RateLimit};
use crate::language::Message;
use crate::language::bound::bound;
use crate::message;
use crate::provider::metadata::{self, Line};
use crate::shape::limits::{Binding, Limits};
use crate::shape::wire::Wire;
use crate::store::Store;
use crate::watch::{LimitSource, LimitStatus, SimStatus, TermsFileStatus, TermsStatus};

/// Everything that limits what may leave, as it stands.
#[derive(Debug)]
pub(super) struct Desk {
    file: Mutex<File>,
    settings: channel::Sender<Option<metadata::Settings>>,
    line: channel::Sender<Line>,
    told: channel::Sender<Option<RateLimit>>,
    limits: channel::Sender<Arc<Limits>>,
}

/// The contract's terms file.
#[derive(Debug, Default)]
struct File {
    /// The last one that was good, its text and its path.
    terms: Option<Terms>,
    text: Option<String>,
    path: Option<String>,
    /// When it was read, if that was before the start (ms since the Unix epoch).
    kept_ms: Option<u64>,
    /// Why the one that is configured now cannot be used.
    error: Option<Vec<Message>>,
}

impl File {
    /// Reads what the configuration names.
    fn read(&mut self, path: Option<&Path>) {
        let Some(path) = path else {
            *self = Self::default();
            return;
        };
        match terms::load_text(path) {
            Ok((read, text)) => {
                if read.unknown_count > 0 {
                    let (count, first) = (read.unknown_count, read.unknown.join(", "));
                    tracing::warn!(
                        "{}: {count} keys are not known to this version and have no effect: {first}",
                        path.display()
                    );
                }
                let path = Some(path.display().to_string());
                *self = Self { terms: Some(read), text: Some(text), path, kept_ms: None, error: None };
            }
            Err(error) => {
                let kept = if self.terms.is_some() { "the one before stays in force" } else { "none is in force" };
                tracing::error!(code = %Code::TermsFile, "{error} ({kept})");
                self.error = Some(error.lines());
            }
        }
    }
}

fn settings(config: &Config) -> Option<metadata::Settings> {
    let metadata = &config.provider.metadata;
    metadata.enabled.then(|| metadata::Settings { url: metadata.url.clone(), every: metadata.every })
}

impl Desk {
    /// Reads the terms file and merges what files say. `source`: the configuration's path.
    pub(super) fn new(config: &Config, source: &str) -> Self {
        let mut file = File::default();
        file.read(config.provider.terms.as_deref());
        let limits = Limits::merge(&of_files(&config.limits, file.terms.as_ref(), source));
        report(&Limits::default(), &limits);
        Self {
            file: Mutex::new(file),
            settings: channel::Sender::new(settings(config)),
            line: channel::Sender::new(Line::default()),
            told: channel::Sender::new(None),
            limits: channel::Sender::new(Arc::new(limits)),
        }
    }

    /// What may leave, now and from now on.
    pub(super) fn subscribe(&self) -> channel::Receiver<Arc<Limits>> {
        self.limits.subscribe()
    }

    /// What is known of the line, now and from now on.
    pub(super) fn line(&self) -> channel::Receiver<Line> {
        self.line.subscribe()
    }

    fn file(&self) -> MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The documents that do not need the agent to run.
fn of_files(limits: &config::Limits, file: Option<&Terms>, source: &str) -> Vec<Terms> {
    let mut documents = vec![terms::of_operator(limits, source), terms::defaults()];
    documents.extend(file.cloned());
    documents
}

/// What the SIM's speed class comes to: a rate for either direction. A class that the table does not have counts as the
/// slowest that it has.
fn of_class(class: &str, table: &[config::SpeedClass]) -> Terms {
    let found = table.iter().find(|one| one.name == class);
    let rate = found.or_else(|| table.iter().min_by_key(|one| one.rate)).map(|one| one.rate);
    let source = || Source::Provider(Provider::SpeedClass { class: class.to_owned(), known: found.is_some() });
    let limits = rate.into_iter().flat_map(|rate| [Bound::RateUp(rate), Bound::RateDown(rate)]);
    Terms::new(limits.map(|bound| Limit::new(bound, source())))
}

/// What an answer told of the rate limit, as long as it holds: each request is an event.
fn of_answer(told: RateLimit, now: Instant) -> Option<Terms> {
    let source = Source::Provider(Provider::RateLimitHeader);
    (told.until > now).then(|| Terms::new([Limit::new(Bound::EventsPerMinute(told.per_minute), source)]))
}

/// Merges all documents as they stand and hands on what comes out, if it is another; says when one of them ends.
fn publish(shared: &Shared, now: Instant) -> Option<Instant> {
    let desk = &shared.limits;
    // Held until the end: of two at a time, the later one must see and hand on what the earlier one did.
    let file = desk.file();
    let loaded = shared.loaded();
    let mut documents = of_files(&loaded.config.limits, file.terms.as_ref(), &loaded.origin.source);
    if let Some(class) = &desk.line.borrow().told.speed_class {
        documents.push(of_class(class, &loaded.config.provider.speed_classes));
    }
    documents.push(shared.stance.view().limits.clone());
    let told = *desk.told.borrow();
    let answer = told.and_then(|told| of_answer(told, now));
    let ends = answer.is_some().then_some(told).flatten().map(|told| told.until);
    documents.extend(answer);
    let merged = Limits::merge(&documents);
    desk.limits.send_if_modified(|limits| {
        if **limits == merged {
            return false;
        }
        report(limits, &merged);
        *limits = Arc::new(merged);
        true
    });
    shared.wire.set_pace(desk.limits.borrow().pace());
    ends
}

/// Logs what binds now and did not before.
fn report(before: &Limits, now: &Limits) {
    for binding in now.bindings() {
        if before.of(binding.bound.kind()).is_some_and(|was| was.bound == binding.bound && was.by == binding.by) {
            continue;
        }
        // A rate-limit header comes and goes with every request.
        let passing = binding.by.iter().all(|limit| limit.source == Source::Provider(Provider::RateLimitHeader));
        let (limit, source) = (format!("{} {}", binding.bound.kind().key(), binding.bound), who(binding));
        if passing {
            tracing::debug!(limit, source, "limit");
        } else {
            tracing::info!(limit, source, "limit");
        }
        if let Some(problem) = problem(binding, now) {
            tracing::warn!("{problem}");
        }
    }
    for gone in before.bindings().iter().filter(|was| now.of(was.bound.kind()).is_none()) {
        tracing::debug!(limit = gone.bound.kind().key(), "no limit any more");
    }
}

/// Who says what binds.
fn who(binding: &Binding) -> String {
    let sources: Vec<String> = binding.by.iter().map(|limit| limit.source.to_string()).collect();
    sources.join(" and ")
}

/// What is wrong with limits that are each right.
fn problem(binding: &Binding, limits: &Limits) -> Option<Message> {
    let key = binding.bound.kind().key();
    let too_small = |bytes: Option<u64>| {
        let bytes = bytes.filter(|bytes| *bytes < LEAST_BYTES)?;
        Some(message!(
            "{key} leaves this gateway {bytes} bytes, and one ordinary request needs room for {least}: nothing leaves \
             under it; see {who}",
            key = key,
            bytes = bytes,
            least = LEAST_BYTES,
            who = words::sources(binding)
        ))
    };
    match &binding.bound {
        Bound::Windows(windows) => windows.is_never().then(|| {
            message!(
                "the windows never open together, so lanes that wait for them never leave: see {who}",
                who = words::sources(binding)
            )
        }),
        Bound::BytesPerMonth(_) => too_small(limits.bytes_per_month()),
        Bound::BytesPerDay(bytes) | Bound::BytesPerHour(bytes) => too_small(Some(bytes.get())),
        Bound::EventsPerMonth(_) if limits.events_per_month() == Some(0) => Some(message!(
            "{key} leaves this gateway no event, because its share is {share}: nothing leaves; see {who}",
            key = key,
            share = limits.share().to_string(),
            who = words::sources(binding)
        )),
        _ => None,
    }
}

/// Merges anew: the machine says other limits.
pub(super) fn renew(shared: &Shared) {
    publish(shared, Instant::now());
}

/// Takes a reloaded configuration into use, reads its terms file again and asks the metadata service anew.
pub(super) fn reload(shared: &Shared) {
    let config = shared.loaded().config;
    shared.limits.file().read(config.provider.terms.as_deref());
    if let Rooms::Running { store, .. } = &*shared.rooms() {
        kept::note_terms(&shared.limits, store, shared.clock.now().wall_ms);
    }
    // Also if they are the same: a reload is how an operator says "try again now".
    shared.limits.settings.send_replace(settings(&config));
    publish(shared, Instant::now());
}

pub(super) use kept::remember;

/// Asks the metadata service, and merges anew whenever something that limits changes, until `stop`. Once the store is open
/// ([`remember`]): before, nothing knows what of the budgets is used.
pub(super) async fn keep(shared: Arc<Shared>, store: Store, wire: Wire, stop: CancellationToken) {
    let desk = &shared.limits;
    let poller = metadata::run(desk.settings.subscribe(), shared.stance.leave(), wire, desk.line.clone(), stop.clone());
    let merger = async {
        let (mut line, mut told) = (desk.line.subscribe(), desk.told.subscribe());
        loop {
            let ends = publish(&shared, Instant::now());
            kept::note_line(&shared, &store);
            tokio::select! {
                () = stop.cancelled() => return,
                Ok(()) = line.changed() => {}
                Ok(()) = told.changed() => {}
                () = until(ends) => {}
            }
        }
    };
    tokio::join!(poller, merger);
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Hands on what the forwarder's answers say of the rate limit, until `stop`.
pub(super) async fn follow(
    shared: Arc<Shared>,
    mut told: channel::Receiver<Option<RateLimit>>,
    stop: CancellationToken,
) {
    let follow = async {
        while told.changed().await.is_ok() {
            shared.limits.told.send_replace(*told.borrow_and_update());
        }
    };
    let _ = stop.run_until_cancelled(follow).await;
}

/// What `status` shows of it.
pub(super) fn status(shared: &Shared) -> TermsStatus {
    let desk = &shared.limits;
    let config = shared.loaded().config;
    let limits = Arc::clone(&desk.limits.borrow());
    let metadata = &config.provider.metadata;
    let sim = metadata.enabled.then(|| sim(&desk.line.borrow(), &metadata.url));
    let file = desk.file();
    let file = config.provider.terms.as_deref().map(|path| TermsFileStatus {
        kept_ms: file.kept_ms,
        ..file_status(path, file.terms.as_ref(), file.error.as_deref())
    });
    TermsStatus { sim, file, provider_known: true, ..shown(&limits, config.limits.calendar) }
}

/// What the files of a gateway that does not run say; what the provider says is not known then. `source`: the
/// configuration's path.
pub fn limits_of_files(limits: &config::Limits, provider: &config::Provider, source: &str) -> TermsStatus {
    let read = provider.terms.as_deref().map(|path| (path, terms::load(path)));
    let (file, status) = match read {
        None => (None, None),
        Some((path, Ok(terms))) => {
            let status = file_status(path, Some(&terms), None);
            (Some(terms), Some(status))
        }
        Some((path, Err(error))) => (None, Some(file_status(path, None, Some(&error.lines())))),
    };
    let merged = Limits::merge(&of_files(limits, file.as_ref(), source));
    TermsStatus { file: status, provider_known: false, ..shown(&merged, limits.calendar) }
}

fn file_status(path: &Path, terms: Option<&Terms>, error: Option<&[Message]>) -> TermsFileStatus {
    let mut status = TermsFileStatus {
        path: path.display().to_string(),
        in_force: terms.is_some(),
        error: error.map(|lines| lines.iter().map(Message::to_string).collect::<Vec<_>>().join("\n  ")),
        error_lines: error.unwrap_or_default().to_vec(),
        ..TermsFileStatus::default()
    };
    if let Some(terms) = terms {
        status.title.clone_from(&terms.title);
        status.version.clone_from(&terms.version);
        status.unknown.clone_from(&terms.unknown);
        status.unknown_count = terms.unknown_count as u64;
    }
    status
}

fn sim(line: &Line, url: &str) -> SimStatus {
    let told = &line.told;
    SimStatus {
        url: url.to_owned(),
        speed_class: told.speed_class.clone(),
        status: told.status.clone(),
        expiry_ms: told.expiry.as_ref().map(|expiry| expiry.at_ms),
        expiry_action: told.expiry.as_ref().map_or_else(String::new, |expiry| expiry.action.clone()),
        told_before_ms: line.kept_ms,
        answered_ago_ms: line.answered.map(|at| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX)),
        failures: line.failures.into(),
        problem: line.problem.as_ref().map_or_else(String::new, |problem| problem.reason.clone()),
        problem_message: line.problem.as_ref().and_then(|problem| problem.said.clone().into_message()),
        advice: line.problem.as_ref().map_or_else(String::new, |problem| problem.advice.to_string()),
        advice_message: line.problem.as_ref().map(|problem| problem.advice.clone()),
        code: String::new(),
    }
}

fn shown(limits: &Limits, calendar: config::Calendar) -> TermsStatus {
    let problems: Vec<Message> = limits.bindings().iter().filter_map(|binding| problem(binding, limits)).collect();
    TermsStatus {
        limits: limits.bindings().iter().map(|binding| limit_status(binding, limits)).collect(),
        unlimited: Kind::ALL
            .into_iter()
            .filter(|kind| limits.of(*kind).is_none())
            .map(|kind| kind.key().to_owned())
            .collect(),
        problems: problems.iter().map(Message::to_string).collect(),
        problem_messages: problems,
        calendar: calendar.as_str().to_owned(),
        ..TermsStatus::default()
    }
}

fn limit_status(binding: &Binding, limits: &Limits) -> LimitStatus {
    let kind = binding.bound.kind();
    LimitStatus {
        kind: kind.key().to_owned(),
        value: binding.bound.to_string(),
        value_message: bound(&binding.bound),
        number: binding.bound.number(),
        unit: unit(kind).to_owned(),
        part: match kind {
            Kind::EventsPerMonth => limits.events_per_month(),
            Kind::BytesPerMonth => limits.bytes_per_month(),
            _ => None,
        },
        by: binding.by.iter().map(limit_source).collect(),
        overruled: binding.others.iter().map(limit_source).collect(),
    }
}

fn limit_source(limit: &Limit) -> LimitSource {
    let who = match &limit.source {
        Source::Terms { .. } => "terms",
        Source::Provider(_) => "provider",
        Source::Operator { .. } => "operator",
        Source::Default { .. } => "default",
    };
    LimitSource {
        value: limit.bound.to_string(),
        value_message: bound(&limit.bound),
        number: limit.bound.number(),
        who: who.to_owned(),
        source: limit.source.to_string(),
        source_message: Some(words::source(&limit.source)),
        clause: limit.clause.to_string(),
    }
}

/// The unit of a kind's number.
fn unit(kind: Kind) -> &'static str {
    match kind {
        Kind::RateUp | Kind::RateDown => "bit/s",
        Kind::Burst | Kind::BytesPerHour | Kind::BytesPerDay | Kind::BytesPerMonth => "bytes",
        Kind::EventsPerMinute | Kind::EventsPerDay | Kind::EventsPerMonth => "events",
        Kind::Share => "millionths",
        Kind::Windows => "",
    }
}

#[cfg(test)]
mod tests;
