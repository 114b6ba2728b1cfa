//! Taking in what is announced: signed notices, and what the status page says.
//!
//! Of a notice's id the revision issued last stands, whatever order they come in. What ends before its time, because it
//! is withdrawn, amended, or the page says so or does not list it any more, leaves a way back behind: a whole fleet
//! learns of that within minutes.
//!
//! What is over is remembered until its notice expires, so that nobody can bring it again. Room is limited all the same: what
//! of it is forgotten before that raises a bar ([`State::let_go`](super::state::State)), and what is not known and was issued
//! no later is refused. So a notice delayed behind more than [`ITEMS`] others may have to be issued anew, and none can be
//! replayed.

use tidegate_protocol::notice::{Content, Notice};
use tidegate_protocol::stance::Telemetry;

use super::bounds::KeptBound;
use super::item::{Item, Origin, Phase, Said};
use super::settings::{OnTermsChange, Span};
use super::state::{ACCEPTED, ID_BYTES, INCIDENTS, ITEMS, STATE_BYTES, WHY_BYTES};
use super::words;
use super::{Machine, Scribe, cut};
use crate::language::{IntoValue as _, Message};
use crate::message;
use crate::provider::page::{Page, Planned, Progress};

/// The id under which a signed notice withdraws what answers of Flux made, as every other ground is withdrawn under its own.
/// Without it a mistaken 410, which nothing that is sent can find out, would have to be mended at each gateway.
pub(super) const ANSWERS: &str = "answers";

/// How a notice's content is kept: what of it matters, and its text.
fn said(content: &Content, why: &str) -> Option<(Said, String)> {
    let plain = |said| Some((said, why.to_owned()));
    match content {
        Content::Maintenance { from_ms, until_ms, cause, resume_s } => {
            let said = Said::Maintenance { from: *from_ms, until: *until_ms, resume_s: *resume_s };
            Some((said, words::join(words::interruption(*cause), why.into_value()).to_string()))
        }
        Content::Emergency { from_ms, until_ms } => plain(Said::Emergency { from: *from_ms, until: *until_ms }),
        Content::Restriction { from_ms, until_ms, limits } => {
            let limits = limits.iter().map(KeptBound::of).collect();
            plain(Said::Restriction { from: *from_ms, until: *until_ms, limits })
        }
        Content::Suspension { from_ms, cause } => {
            plain(Said::Suspension { from: *from_ms, breach: words::breach_number(*cause) })
        }
        Content::Quota { until_ms } => plain(Said::Quota { until: *until_ms }),
        Content::End { at_ms } => plain(Said::End { at: *at_ms }),
        Content::TermsChanged { version, effective_ms, url } => {
            let mut version = version.clone();
            cut(&mut version, ID_BYTES);
            let why = words::join(why.into_value(), url.into_value());
            let text = words::join(format!("version {version}").into_value(), why);
            Some((Said::Terms { version, from: *effective_ms, accepted: false }, text.to_string()))
        }
        Content::Identity { effective_ms } => plain(Said::Identity { from: *effective_ms }),
        Content::Information | Content::Withdrawn => plain(Said::Gone),
        Content::Unknown { .. } => None,
    }
}

impl Machine {
    pub(super) fn notice(&mut self, notice: Notice, key: &str, via: &str, log: &mut Scribe) {
        let Notice { mut id, issued_ms, expires_ms, content, why, .. } = notice;
        cut(&mut id, ID_BYTES);
        self.state.time.at_least(issued_ms);
        log.at = self.state.time.moment();
        let source = format!("notice {id}, key {key} ({via})");
        let known = self.state.item(Origin::Notice, &id).map(|item| item.issued);
        if known.is_some_and(|known| known >= issued_ms) {
            let did = if known == Some(issued_ms) {
                message!("nothing: it is known")
            } else {
                message!("nothing: a later one stands")
            };
            log.entry(content.kind(), &id, &source, &why, &did);
            return;
        }
        if known.is_none() && issued_ms <= self.state.let_go {
            log.entry(content.kind(), &id, &source, &why, &words::forgotten());
            return;
        }
        let Some((mut said, mut why)) = said(&content, &why) else {
            // One that this version understands stays as it is.
            log.entry(
                content.kind(),
                &id,
                &source,
                &why,
                &message!("nothing: this version does not know what it means"),
            );
            return;
        };
        cut(&mut why, WHY_BYTES);
        if let Said::Terms { version, accepted, .. } = &mut said {
            *accepted = self.state.accepted_terms.contains(version);
        }
        let mut key = key.to_owned();
        cut(&mut key, ID_BYTES);
        let answers = (content == Content::Withdrawn && id == ANSWERS).then(|| self.withdraw_answers(issued_ms, log));
        let new = Item {
            origin: Origin::Notice,
            id: id.clone(),
            key,
            issued: issued_ms,
            expires: expires_ms,
            received: log.at.date,
            why,
            said,
            logged: Phase::None,
            odd: false,
        };
        if let Some(did) = answers {
            log.entry(content.kind(), &id, &source, words::why(&new), &did);
            self.put(new, None, known.is_some(), log);
        } else {
            self.put(new, Some((content.kind(), source)), known.is_some(), log);
        }
        self.make_room(log);
    }

    /// Whoever signs notices says that what answers made no longer holds, as of `issued_ms`. Says what follows.
    fn withdraw_answers(&mut self, issued_ms: u64, log: &Scribe) -> Message {
        let at = log.at;
        let Some(told) = &self.state.answers else {
            return message!("nothing: no answer of Flux stops this gateway");
        };
        if issued_ms <= at.date_of(told.set) {
            return message!("nothing: it was issued before the answer that stops this gateway");
        }
        let stance = told.kind.stance();
        self.state.answers = None;
        // It is for many gateways, as a mistaken answer was.
        let period = super::ways(&self.settings).span.resume;
        self.come_back(ANSWERS.into(), stance, period, log);
        words::back()
    }

    /// Puts something in the place of what had its id.
    fn put(&mut self, mut new: Item, told: Option<(&str, String)>, amends: bool, log: &mut Scribe) {
        let ways = super::ways(&self.settings);
        let at = log.at;
        let before = self.state.items.iter().position(|item| item.is(new.origin, &new.id));
        let old = before.map(|index| self.state.items.remove(index));
        let stops = |item: &Item| item.said.stance().filter(|stance| stance.leave().telemetry < Telemetry::All);
        let held = old.as_ref().filter(|old| old.phase(&ways, at).holds());
        let lifted = held.and_then(stops).filter(|_| !(stops(&new).is_some() && new.phase(&ways, at).holds()));
        let phase = new.phase(&ways, at);
        new.logged = phase;
        // So long any revision may be brought again.
        new.expires = new.expires.max(old.as_ref().map_or(0, |old| old.expires));
        if let Some((what, source)) = told {
            let did = match lifted {
                Some(_) => words::back(),
                None if what == Content::Withdrawn.kind() && !amends => words::not_known(),
                None => self.does(&new, phase, amends),
            };
            let course = new.course(&ways);
            log.dated(what, &new.id, &source, words::why(&new), &did, course, new.said.stance());
        }
        if let (Some(stance), Some(old)) = (lifted, old) {
            self.come_back(new.id.clone(), stance, old.period(&ways), log);
        }
        self.state.items.push(new);
        self.dirty = true;
    }

    /// What the agent does about something that was just taken in.
    fn does(&self, item: &Item, phase: Phase, amends: bool) -> Message {
        match (&item.said, phase) {
            (Said::Gone, _) if amends => message!("what it said no longer holds"),
            (Said::Gone, _) => message!("nothing: it is for people to know"),
            (Said::Terms { .. }, Phase::None) if self.settings.on_terms_change == OnTermsChange::Continue => {
                message!("nothing: sending on is consent; [terms] on_change = \"hold\" would hold")
            }
            (Said::Terms { .. }, Phase::None) => message!("nothing: they are accepted"),
            (_, Phase::None | Phase::Past) => message!("nothing: it is over"),
            (_, Phase::Ahead) => message!("it is noted, and shown ahead"),
            (_, Phase::Waits | Phase::Ramps) => words::back(),
            (said, Phase::Holds | Phase::Overrun) => words::begins(said),
        }
    }

    pub(super) fn page(&mut self, page: &Page, now_ms: Option<u64>, log: &mut Scribe) {
        self.date_page(page, now_ms);
        log.at = self.state.time.moment();
        let listed: Vec<String> = page.maintenances.iter().map(|planned| planned.id.clone()).collect();
        for planned in &page.maintenances {
            self.planned(planned.clone(), log);
        }
        let gone = |item: &Item| item.origin == Origin::Page && !listed.contains(&item.id);
        let gone: Vec<Item> = self.state.items.iter().filter(|item| gone(item)).cloned().collect();
        for item in gone {
            self.end_planned(&item.id, message!("not listed any more"), log);
        }
        self.incidents(page, log);
        self.make_room(log);
    }

    /// Dates the page by what it says: its own windows, and nothing else (`time`).
    fn date_page(&mut self, page: &Page, now_ms: Option<u64>) {
        if now_ms.is_some_and(|now_ms| self.state.time.page_said(now_ms)) {
            return;
        }
        let under_way = page.maintenances.iter().filter(|planned| planned.progress == Progress::InProgress);
        if let Some(begun) = under_way.map(|planned| planned.from_ms).max() {
            self.state.time.page_at_least(begun);
        }
    }

    fn planned(&mut self, planned: Planned, log: &mut Scribe) {
        let Planned { mut id, name, from_ms, until_ms, progress } = planned;
        cut(&mut id, ID_BYTES);
        let date = log.at.page;
        let known = self.state.item(Origin::Page, &id).cloned();
        if progress == Progress::Completed {
            if known.is_some() {
                self.end_planned(&id, message!("completed"), log);
            }
            return;
        }
        let mut why = name;
        cut(&mut why, WHY_BYTES);
        let window = (from_ms, until_ms);
        let same = known.as_ref().and_then(|item| match &item.said {
            Said::Planned { from, until, seen, passed } if (*from, *until) == window => Some((*seen, *passed)),
            _ => None,
        });
        let under_way = progress == Progress::InProgress;
        let seen = if under_way { Some(date) } else { None };
        if let Some((before, passed)) = same {
            // The same window, perhaps further on. Once begun it is not taken for not begun.
            let (seen, why) = (seen.or(before), why.clone());
            if let Some(item) = self.state.item(Origin::Page, &id) {
                self.dirty |= before.is_some() != seen.is_some();
                item.said = Said::Planned { from: from_ms, until: until_ms, seen, passed };
                item.why = why;
            }
            return;
        }
        let amends = known.is_some();
        let said = Said::Planned { from: from_ms, until: until_ms, seen, passed: false };
        let new = Item {
            origin: Origin::Page,
            id,
            key: String::new(),
            issued: 0,
            expires: 0,
            received: date,
            why,
            said,
            logged: Phase::None,
            odd: false,
        };
        let told = Some(("maintenance", words::PAGE.to_owned()));
        self.put(new, told, amends, log);
    }

    /// The page says that a maintenance is over.
    fn end_planned(&mut self, id: &str, why: Message, log: &mut Scribe) {
        let ways = super::ways(&self.settings);
        let Some(index) = self.state.items.iter().position(|item| item.is(Origin::Page, id)) else { return };
        let phase = self.state.items[index].phase(&ways, log.at);
        if matches!(phase, Phase::Waits | Phase::Ramps) {
            // It ended at its time, and this gateway is on its way back.
            return;
        }
        let item = self.state.items.remove(index);
        self.dirty = true;
        let held = phase.holds();
        if phase != Phase::Past && phase != Phase::None {
            let did = if held { words::back() } else { message!("nothing: it had not begun") };
            log.entry("maintenance", id, words::PAGE, words::join((&item.why).into_value(), why.into_value()), &did);
        }
        if let (true, Some(stance)) = (held, item.said.stance()) {
            self.come_back(item.id.clone(), stance, item.period(&ways), log);
        }
    }

    /// Incidents are for people to know; nothing is done about them, because what they do to this gateway its own requests show.
    fn incidents(&mut self, page: &Page, log: &mut Scribe) {
        let mut known = Vec::new();
        for incident in page.incidents.iter().take(INCIDENTS) {
            let mut id = incident.id.clone();
            cut(&mut id, ID_BYTES);
            if !self.state.incidents.contains(&id) {
                let text = words::join((&incident.impact).into_value(), (&incident.name).into_value());
                log.entry("incident", &id, words::PAGE, text, &message!("nothing: it is for people to know"));
            }
            known.push(id);
        }
        for id in self.state.incidents.iter().filter(|id| !known.contains(id)) {
            log.entry("incident", id, words::PAGE, message!("not listed any more"), &message!("nothing"));
        }
        if known != self.state.incidents {
            self.state.incidents = known;
            self.dirty = true;
        }
    }

    /// The versions of terms that something waits for, or will, where a person accepts another one that nobody asked for:
    /// a slip of the pen. Nothing then comes of [`Input::AcceptTerms`](crate::provider::input::Input::AcceptTerms).
    pub fn asked_instead(&self, version: &str) -> Vec<String> {
        let mut version = version.to_owned();
        cut(&mut version, ID_BYTES);
        let asked = self.state.items.iter().filter_map(|item| match &item.said {
            Said::Terms { version, accepted, .. } => Some((version, *accepted)),
            _ => None,
        });
        let known = self.state.accepted_terms.contains(&version) || asked.clone().any(|(asked, _)| *asked == version);
        if known || self.settings.on_terms_change != OnTermsChange::Hold {
            return Vec::new();
        }
        let mut open: Vec<String> = asked.filter(|(_, accepted)| !accepted).map(|(asked, _)| asked.clone()).collect();
        open.sort_unstable();
        open.dedup();
        open
    }

    pub(super) fn accept_terms(&mut self, version: &str, log: &mut Scribe) {
        if !self.asked_instead(version).is_empty() {
            return;
        }
        let (ways, at) = (super::ways(&self.settings), log.at);
        let mut version = version.to_owned();
        cut(&mut version, ID_BYTES);
        let (mut waited, mut announced) = (false, false);
        for item in &mut self.state.items {
            let holds = item.phase(&ways, at) == Phase::Holds;
            if let Said::Terms { version: asked, accepted, .. } = &mut item.said {
                if *asked == version {
                    waited |= holds;
                    announced |= !*accepted;
                    *accepted = true;
                    item.logged = Phase::None;
                }
            }
        }
        let known = self.state.accepted_terms.contains(&version);
        self.state.accepted_terms.retain(|one| *one != version);
        self.state.accepted_terms.insert(0, version.clone());
        self.state.accepted_terms.truncate(ACCEPTED);
        self.dirty = true;
        let did = if waited {
            message!("what waited for it goes on")
        } else if announced {
            message!("noted: nothing waits for it")
        } else if known {
            message!("nothing: they were accepted before")
        } else {
            message!("noted: no notice asked for it yet")
        };
        log.entry("terms_accepted", &version, words::OPERATOR, "", &did);
    }

    /// Drops what is least harmful while there is too much, and says so.
    pub(super) fn make_room(&mut self, log: &mut Scribe) {
        let ways = super::ways(&self.settings);
        let at = log.at;
        while self.state.items.len() > ITEMS || (self.state.items.len() > 1 && self.state.encode().len() > STATE_BYTES)
        {
            let least = self.state.items.iter().enumerate().min_by_key(|(_, item)| item.weight(&ways, at));
            let Some(index) = least.map(|(index, _)| index) else { return };
            let item = self.state.items.remove(index);
            // What is not over may as well come again: nobody has taken it back.
            let over = matches!(item.phase(&ways, at), Phase::None | Phase::Past);
            if item.origin == Origin::Notice && over && at.date <= item.expires {
                self.state.let_go = self.state.let_go.max(item.issued);
            }
            if !matches!(item.said, Said::Gone | Said::Return { .. }) && item.phase(&ways, at) < Phase::Past {
                let source = words::source(&item).to_string();
                log.entry(
                    "dropped",
                    &item.id,
                    &source,
                    words::why(&item),
                    &message!("forgotten: more is announced than can be kept"),
                );
            }
        }
        if self.state.encode().len() > STATE_BYTES {
            // One notice alone is larger than all that is kept.
            if let Some(item) = self.state.items.pop() {
                let source = words::source(&item).to_string();
                log.entry(
                    "dropped",
                    &item.id,
                    &source,
                    words::why(&item),
                    &message!("forgotten: it is larger than all that can be kept"),
                );
            }
        }
    }
}

impl Item {
    /// How much harm it would do to forget it; the least goes first. What holds weighs more than what is to come, and of
    /// that the nearest most; then the stance that is shown first. Of what is over that goes first whose notice has
    /// expired, and then what was issued earliest, which raises the bar least.
    fn weight(&self, ways: &super::item::Ways<'_>, at: super::time::Moment) -> (u8, u8, u64, u64) {
        let phase = self.phase(ways, at);
        let course = match phase {
            Phase::None | Phase::Past => 0,
            Phase::Ramps => 1,
            Phase::Ahead => 2,
            Phase::Waits => 3,
            Phase::Holds | Phase::Overrun => 4,
        };
        let stance = self.said.stance().map_or(0, |stance| 8 - (stance as u8).min(7));
        if course == 0 {
            return (0, u8::from(at.date <= self.expires), self.issued, 0);
        }
        let from = self.course(ways).map_or(u64::MAX, |course| course.from);
        (course, stance, u64::MAX - from, self.issued)
    }
}

impl Machine {
    /// What time alone changes of what was announced: it is logged, and what is long over is forgotten.
    pub(super) fn turn_items(&mut self, log: &mut Scribe) {
        let ways = super::ways(&self.settings);
        let at = log.at;
        for item in &mut self.state.items {
            let phase = item.phase(&ways, at);
            if phase == item.logged {
                continue;
            }
            self.dirty = true;
            let before = std::mem::replace(&mut item.logged, phase);
            let did = match phase {
                Phase::Holds => words::begins(&item.said),
                Phase::Overrun => {
                    message!("its end has passed and it is still said to be under way: one event shows whether it is")
                }
                Phase::Waits => words::back(),
                Phase::Ramps => message!("sending goes on, slowly at first"),
                Phase::Past if matches!(before, Phase::Holds | Phase::Overrun) => message!("over"),
                // The end of the way back is no news.
                Phase::Past | Phase::None | Phase::Ahead => continue,
            };
            let source = words::source(item).to_string();
            let (course, stance) = (item.course(&ways), item.said.stance());
            log.dated(item.said.kind(), &item.id, &source, words::why(item), &did, course, stance);
        }
        let before = self.state.items.len();
        self.state.items.retain(|item| {
            let (over, date) = (matches!(item.phase(&ways, at), Phase::Past | Phase::None), item.date(at));
            match item.origin {
                Origin::Return => !over,
                // As long as the page lists it, it is known to be over.
                Origin::Page => !over || date < item.received.saturating_add(30 * Span::MOST_RESUME_MS),
                // A revision that was issued earlier may be brought until then.
                Origin::Notice => {
                    !over || date <= item.expires || item.course(&ways).is_some_and(|one| one.end.is_none())
                }
            }
        });
        self.dirty |= before != self.state.items.len();
    }
}
