//! The provider's status page: maintenances that are announced or under way, and incidents.
//!
//! # Constraints
//! - It is asked seldom: every [`Settings::every`] at the most, give or take a fifth, more seldom while it fails or asks for it
//!   (`Retry-After`), and not at all while the stance forbids it.
//! - **It does not eat the line.** A page is 5 to 50 KB. Asked every five minutes for the whole of it that would be 45 to 430 MB
//!   a month, more than all telemetry of most gateways. So questions are conditional (`If-None-Match`, `If-Modified-Since`),
//!   and each makes the next one wait until [`Settings::bytes_per_day`] has grown by what it cost on the wire: see
//!   `wait_for`. Once in [`LONGEST_WAIT`] it is asked in any case.
//! - While a maintenance that concerns this gateway is near or under way it is asked every [`Settings::every`], whatever that
//!   costs, for no longer than [`NEAR_AT_MOST`] after its beginning: its end may be told early, and telemetry does not need the
//!   line meanwhile.
//! - Nothing waits for it, and what it said last stands until it says something else: a page that cannot be reached withdraws
//!   no maintenance.
//! - Nothing it says is trusted further than it can be used: answers are bounded in size ([`ANSWER_BYTES`]) and time
//!   ([`PATIENCE`]) and read tolerantly (`document`). What is under way by its word can make a gateway wait, never send more.
//!
//! # On the wire
//! `GET <base>/api/v2/summary.json`, as `ask` has it. Where there is none (404), or it is too long, three smaller documents are
//! asked for instead (`PARTS`), as long as they are there. Measured on loopback (TLS 1.3, two small certificates, answers
//! with few headers): 2.6 KB beside the page itself for the first question, 1.9 KB for one that is answered with 304 on a
//! resumed session. A public chain and a content network's headers add some 3 KB to the first and 1.5 KB to each.
//!
//! # Recovery
//! Nothing is kept on disk: what follows from a page is the machine's to keep.

mod document;

use std::time::{Duration, Instant, SystemTime};

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use tidegate_protocol::stance::Leave;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

pub use super::ask::Problem;
use super::ask::{
    AskError, Asked, JITTER, Question, Reply, ask, jittered, next_wait, random, until_allowed, until_forbidden,
};
use super::input::Input;
use super::page::{Page, Progress};
use super::reach::{self, Contact, Reach};
use crate::answer::retry_after;
use crate::chain::chain;
use crate::code::Code;
use crate::glob::Glob;
use crate::language::{IntoValue as _, Message, Value};
use crate::message;
use crate::shape::wire::Wire;
use crate::shown;
pub use document::{Document, NoPage};

/// Bytes of an answer's body that are taken. The summary of a page with 80 components and five incidents has 60 KB; some with
/// hundreds of components have more, and their parts are asked for instead.
pub const ANSWER_BYTES: usize = 256 * 1024;

/// How long connecting, asking and the answer may take together: 256 KiB at 32 kbit/s take 66 s.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// However dear it is, it is asked once in so long.
pub const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// So long before a maintenance begins it is near.
pub const NEAR: Duration = Duration::from_secs(900);

/// So long after its beginning, or its announced end if that is later, it counts as near while it is said to go on.
pub const NEAR_AT_MOST: Duration = Duration::from_secs(6 * 3600);

/// The first question comes at random within this time after the start. Power comes back to many gateways at once, and the
/// page is not the line's own like the metadata service.
pub const SPREAD: Duration = Duration::from_secs(20);

/// Longest value of a validator that is kept and repeated; real ones have 40 bytes.
const VALIDATOR: usize = 256;

const WHOLE: &[&str] = &["/api/v2/summary.json"];

/// What is asked for where there is no summary. Groups of components are not told there, so a component then counts by its own
/// name alone.
const PARTS: &[&str] = &[
    "/api/v2/scheduled-maintenances/active.json",
    "/api/v2/scheduled-maintenances/upcoming.json",
    "/api/v2/incidents/unresolved.json",
];

/// Which page to ask, for what, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Base URL without a trailing slash, `http` or `https`: `https://status.soracom.io`.
    pub url: String,
    /// What concerns this gateway: patterns for the names of components.
    pub components: Vec<Glob>,
    /// How often at the most.
    pub every: Duration,
    /// Bytes on the wire that it may cost in a day; see `wait_for`.
    pub bytes_per_day: u64,
}

/// What is known of the page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// What it said last.
    pub page: Page,
    /// When it last answered with something that could be read, or that nothing has changed.
    pub answered: Option<Instant>,
    /// Why the last question was not answered, if it was not.
    pub problem: Option<Problem>,
    /// Questions that were not answered since the last that was.
    pub failures: u32,
    /// Whom the questions met, whatever was answered.
    pub contact: Contact,
    /// Entries of the last answer that could not be read.
    pub skipped: u32,
    /// Questions so far, and bytes that they cost on the wire.
    pub asked: u64,
    /// Of these, answers that nothing has changed.
    pub unchanged: u64,
    /// Bytes on the wire, both directions.
    pub bytes: u64,
}

/// Why nothing was told.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    NoAnswer(AskError),
    #[error("HTTP {status}{message}")]
    Refused { status: u16, message: String, wait: Option<Duration> },
    #[error(transparent)]
    NoPage(NoPage),
}

impl Failure {
    /// Who was met, if anybody was asked.
    fn reach(&self, proved: bool) -> Option<Reach> {
        match self {
            Self::NoAnswer(error) => reach::of_error(error, proved),
            Self::Refused { status, .. } => Some(reach::of_status(*status, proved)),
            Self::NoPage(_) => Some(reach::of_status(200, proved)),
        }
    }

    /// It with its causes, for people in their language; what came from outside is cut and escaped.
    fn said(&self) -> Value {
        match self {
            Self::NoAnswer(error) => error.said(),
            Self::Refused { status, message, .. } => format!("HTTP {status}{message}").into_value(),
            Self::NoPage(NoPage::Nonsense(_)) => message!("the answer is not a JSON object").into_value(),
            Self::NoPage(NoPage::NoLists) => {
                message!("the answer has neither incidents nor scheduled_maintenances").into_value()
            }
        }
    }

    fn advice(&self) -> Message {
        match self {
            Self::NoAnswer(AskError::Url) => message!("correct [provider.statuspage] url"),
            Self::NoAnswer(AskError::Unreachable(_) | AskError::Broke(_) | AskError::Late(_)) => {
                message!(
                    "nothing, if the line is down; if this line does not lead to the page, name another interface in \
                 [provider.statuspage], or write enabled = false"
                )
            }
            Self::Refused { status: 429 | 500..=599, .. } => message!("nothing: it is asked again, more seldom"),
            Self::Refused { .. } | Self::NoAnswer(AskError::TooLong(_)) | Self::NoPage(_) => {
                message!("see that [provider.statuspage] url leads to the provider's status page")
            }
        }
    }

    /// Whether the summary's parts may do instead.
    fn is_without_summary(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. } | Self::NoAnswer(AskError::TooLong(_)))
    }
}

/// Asks until `stop`. What was read goes to `told`, and the time if the page proved who it is; how it stands is in
/// `standing`. While there are no `settings` nothing is asked and nothing known; while `leave` does not allow it, nothing is
/// asked, and what is known stays.
pub async fn run(
    mut settings: watch::Receiver<Option<Settings>>,
    mut leave: watch::Receiver<Leave>,
    wire: Wire,
    standing: watch::Sender<Standing>,
    told: mpsc::Sender<Input>,
    stop: CancellationToken,
) {
    let mut wait = SPREAD.mul_f64(random());
    let mut reader: Option<Reader> = None;
    loop {
        let now = settings.borrow_and_update().clone();
        if reader.as_ref().map(|reader| &reader.settings) != now.as_ref() {
            if reader.as_ref().map(|reader| &reader.settings.url) != now.as_ref().map(|settings| &settings.url) {
                standing.send_replace(Standing::default());
            }
            reader = now.map(Reader::new);
        }
        let turn = async {
            let Some(reader) = &mut reader else { return std::future::pending().await };
            tokio::time::sleep(wait).await;
            let mut forbids = leave.clone();
            until_allowed(&mut leave).await;
            let news = tokio::select! {
                // What is forbidden meanwhile is broken off, and asked anew when it is allowed again.
                () = until_forbidden(&mut forbids) => return Duration::ZERO,
                news = reader.ask(&wire) => news,
            };
            if let Some((now_ms, error_ms)) = news.time {
                // Without anybody who listens it is of no use, and no reason to end.
                let _ = told.send(Input::ProviderTime { now_ms, error_ms }).await;
            }
            if news.result.is_ok() {
                let _ = told.send(Input::Page { page: reader.page.clone(), now_ms: reader.now_ms() }).await;
            }
            let named = match &news.result {
                Err(Failure::Refused { wait, .. }) => *wait,
                _ => None,
            };
            let unreachable = matches!(news.result, Err(Failure::NoAnswer(AskError::Unreachable(_))));
            let (cost, time) = (news.bytes, reader.now_ms());
            let met = match &news.result {
                Ok(_) => Some(Reach::Host),
                Err(failure) => failure.reach(reach::is_proved(&reader.settings.url)),
            };
            standing.send_modify(|standing| {
                standing.contact.note(met, Instant::now());
                note(standing, news, &reader.page, Instant::now());
            });
            let standing = standing.borrow();
            let near = time.is_some_and(|now| is_near(&reader.page, now));
            let wait = jittered(wait_for(&reader.settings, cost, near), random());
            if standing.failures == 0 {
                return wait;
            }
            let never = unreachable && standing.answered.is_none();
            let again = next_wait(reader.settings.every, standing.failures, never, random());
            // Never before the time that was asked for.
            let named = named.unwrap_or_default().mul_f64(1.0 + JITTER * random());
            if never { again } else { again.max(wait).max(named) }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            changed = settings.changed() => match changed {
                // Asked at once: whoever changes whom to ask wants to see what it says.
                Ok(()) => wait = Duration::ZERO,
                Err(_) => return,
            },
            next = turn => wait = next,
        }
    }
}

/// How long until the next question, after one that was answered and cost so many bytes. A page of 26 KB in all at 1 MB a
/// day: 37 min; one that has not changed, 3.4 KB: 4 min 54 s, so [`Settings::every`] decides.
fn wait_for(settings: &Settings, bytes: u64, near: bool) -> Duration {
    if near {
        return settings.every;
    }
    let day = 86_400.0;
    let earned = Duration::from_secs_f64((bytes as f64 / settings.bytes_per_day.max(1) as f64 * day).min(day));
    earned.max(settings.every).min(LONGEST_WAIT.max(settings.every))
}

/// Whether a maintenance begins soon, or is under way.
fn is_near(page: &Page, now_ms: u64) -> bool {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    page.maintenances.iter().any(|it| {
        let soon = it.from_ms <= now_ms.saturating_add(ms(NEAR));
        let last = it.until_ms.unwrap_or(it.from_ms).saturating_add(ms(NEAR_AT_MOST));
        it.progress != Progress::Completed && soon && now_ms <= last
    })
}

/// Enters what came of a question, and logs it if it is news.
fn note(standing: &mut Standing, news: News, page: &Page, now: Instant) {
    standing.asked += 1;
    standing.bytes = standing.bytes.saturating_add(news.bytes);
    match news.result {
        Ok(read) => {
            if standing.problem.take().is_some() {
                tracing::info!("the status page answers again");
            }
            standing.unchanged += u64::from(read.is_none());
            if let Some(skipped) = read {
                if skipped > 0 && standing.skipped == 0 {
                    tracing::warn!(entries = skipped, "entries of the status page could not be read");
                }
                standing.skipped = skipped;
            }
            if standing.page != *page {
                let (maintenances, incidents) = (page.maintenances.len(), page.incidents.len());
                tracing::info!(maintenances, incidents, "the status page has changed");
                standing.page.clone_from(page);
            }
            (standing.answered, standing.failures) = (Some(now), 0);
        }
        Err(error) => {
            let (reason, said, advice) = (shown::shown(&chain(&error), shown::MESSAGE), error.said(), error.advice());
            if standing.problem.as_ref().is_none_or(|known| known.reason != reason) {
                tracing::warn!(code = %Code::StatusPage, reason, "the status page cannot be read; {advice}");
            }
            standing.problem = Some(Problem { reason, said, advice });
            standing.failures = standing.failures.saturating_add(1);
        }
    }
}

/// Asks once whether there is such a page, for a person's examination: for the smallest of its documents, and for the summary
/// only where that is not there.
///
/// # Errors
/// Why nothing could be read, in words.
pub async fn ask_once(url: &str, wire: &Wire) -> Result<(), Value> {
    let mut said = String::new();
    for path in [PARTS[0], WHOLE[0]] {
        let question = Question {
            method: hyper::Method::GET,
            base: url,
            path,
            headers: Vec::new(),
            most: ANSWER_BYTES,
            patience: PATIENCE,
        };
        let reply = ask(&question, wire).await.result.map_err(|error| error.said())?;
        match reply.status {
            200..=299 => {
                let read = Document::read(&reply.body, &[]);
                return read.map(|_| ()).map_err(|error| Failure::NoPage(error).said());
            }
            404 => said = format!("HTTP 404{}", reply.message()),
            status => return Err(format!("HTTP {status}{}", reply.message()).into_value()),
        }
    }
    Err(said.into_value())
}

/// What came of asking.
struct News {
    /// How many entries could not be read; `None` if nothing has changed.
    result: Result<Option<u32>, Failure>,
    /// The time, if it was proved, and by how much it may be wrong, in ms.
    time: Option<(u64, u64)>,
    bytes: u64,
}

/// Asks one page, and remembers what it said.
struct Reader {
    settings: Settings,
    /// What is asked for now, and what is kept of each.
    paths: &'static [&'static str],
    kept: Vec<Option<Kept>>,
    page: Page,
    /// What time the page said it was, and when it said so; also over plain HTTP: it decides
    /// how often to ask, and dates what this page announces.
    time: Option<(u64, tokio::time::Instant)>,
}

/// The last answer to one question.
struct Kept {
    document: Document,
    validators: Vec<(HeaderName, HeaderValue)>,
}

impl Reader {
    fn new(settings: Settings) -> Self {
        Self { settings, paths: WHOLE, kept: vec![None], page: Page::default(), time: None }
    }

    fn now_ms(&self) -> Option<u64> {
        let (now_ms, at) = self.time?;
        Some(now_ms.saturating_add(u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX)))
    }

    /// Asks for all documents that make the page; where there is no summary, for its parts.
    async fn ask(&mut self, wire: &Wire) -> News {
        let first = self.ask_all(wire).await;
        let missing = matches!(&first.result, Err(failure) if failure.is_without_summary());
        if !missing {
            return first;
        }
        self.paths = if self.paths == WHOLE { PARTS } else { WHOLE };
        self.kept = self.paths.iter().map(|_| None).collect();
        let second = self.ask_all(wire).await;
        if matches!(&second.result, Err(failure) if failure.is_without_summary()) {
            // There is neither: begin with the summary next time, and say what became of that.
            self.paths = WHOLE;
            self.kept = vec![None];
            return News { bytes: first.bytes + second.bytes, ..first };
        }
        News { bytes: first.bytes + second.bytes, ..second }
    }

    /// Asks for each document there is to ask for; the page is what all of them together say.
    async fn ask_all(&mut self, wire: &Wire) -> News {
        let mut news = News { result: Ok(None), time: None, bytes: 0 };
        let mut read = Vec::new();
        for (index, path) in self.paths.iter().enumerate() {
            let question = Question {
                method: hyper::Method::GET,
                base: &self.settings.url,
                path,
                headers: self.kept[index].as_ref().map_or_else(Vec::new, |kept| kept.validators.clone()),
                most: ANSWER_BYTES,
                patience: PATIENCE,
            };
            let conditional = !question.headers.is_empty();
            let Asked { result, bytes } = ask(&question, wire).await;
            news.bytes += bytes;
            let taken = result.map_err(Failure::NoAnswer).and_then(|reply| {
                news.time = reply.now_ms.map(|now_ms| (now_ms, reply.error_ms)).or(news.time);
                if let Some(now_ms) = reply.time {
                    self.time = Some((now_ms, tokio::time::Instant::now()));
                }
                take(&reply, conditional, &self.settings.components)
            });
            match taken {
                Ok(kept) => read.push(kept),
                Err(failure) => return News { result: Err(failure), ..news },
            }
        }
        // All of them were answered: a page is never half of one time and half of another.
        let mut skipped = None;
        for (kept, read) in self.kept.iter_mut().zip(read) {
            if let Some(read) = read {
                skipped = Some(skipped.unwrap_or(0) + read.document.skipped);
                *kept = Some(read);
            }
        }
        if skipped.is_some() {
            self.assemble();
        }
        news.result = Ok(skipped);
        news
    }

    /// Puts the page together from what is kept of its documents. Of what none of them speaks, nothing changes.
    fn assemble(&mut self) {
        let mut all = Document::default();
        for document in self.kept.iter().flatten().map(|kept| &kept.document) {
            all.add(document);
        }
        all.onto(&mut self.page);
    }
}

/// What an answer says; `None` if it is that nothing has changed.
fn take(reply: &Reply, conditional: bool, components: &[Glob]) -> Result<Option<Kept>, Failure> {
    match reply.status {
        200 => {
            let document = Document::read(&reply.body, components).map_err(Failure::NoPage)?;
            Ok(Some(Kept { document, validators: validators(&reply.headers) }))
        }
        304 if conditional => Ok(None),
        status => {
            let named = retry_after(&reply.headers, SystemTime::now());
            let wait = named.filter(|_| matches!(status, 429 | 503)).map(|wait| wait.min(LONGEST_WAIT));
            Err(Failure::Refused { status, message: reply.message(), wait })
        }
    }
}

/// The headers that make the next question conditional.
fn validators(headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let pairs = [(header::ETAG, header::IF_NONE_MATCH), (header::LAST_MODIFIED, header::IF_MODIFIED_SINCE)];
    let value = |name| headers.get(name).filter(|value| value.len() <= VALIDATOR).cloned();
    pairs.into_iter().filter_map(|(given, asked)| Some((asked, value(given)?))).collect()
}

#[cfg(test)]
mod tests;
