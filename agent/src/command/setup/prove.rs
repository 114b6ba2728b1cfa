//! Judges answers: by the configuration's own rules, and by the probes of `check`.

use std::cell::Cell;

use tidegate::language::Language;
use tidegate::message;

use super::answers::{Answers, Draft, Topic};
use super::diff::masked;
use crate::command::check::finding::{Finding, Outcome};
use crate::command::check::probe::runner::Runner;
use crate::command::check::probe::unit::Unit;
use crate::command::check::{probe, report};
use crate::command::{FAILED, Failure, print};

/// How answers are judged.
#[derive(Debug)]
pub(super) struct Proof {
    /// The file's name, for messages.
    pub(super) name: String,
    pub(super) language: Language,
    /// Whether the probes are to be used.
    pub(super) tests: bool,
}

/// What was found of a topic's answers; all of it was shown.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The keys for whose values the configuration would be refused.
    pub(super) refused: Vec<String>,
    /// A test is bad.
    pub(super) bad: bool,
    /// The test of where devices connect here is good.
    pub(super) good_listener: bool,
    /// The test of the broker is good.
    pub(super) good_broker: bool,
}

impl Proof {
    /// Judges a draft for what it says of a topic.
    pub(super) fn judge(&self, topic: Topic, draft: &Draft, answers: &Answers) -> Result<Found, Failure> {
        let refused = self.refused(draft, &|key| topic.has(key))?;
        let Some(config) = draft.trial(&self.name).ok().filter(|_| refused.is_empty()) else {
            return Ok(Found { refused, ..Found::default() });
        };
        if !answers.about(topic) {
            return Ok(Found::default());
        }
        let mut failed = None;
        let bad = Cell::new(false);
        let mut tell = |finding: Finding| {
            bad.set(bad.get() || finding.result == Outcome::Bad);
            if failed.is_none() {
                failed = print(&report::line(self.language, &finding)).err();
            }
        };
        let warnings = config.warnings.iter().filter(|warning| topic.has(&warning.key));
        warnings.for_each(|warning| tell(probe::configuration::warned(warning)));
        if !self.tests {
            return failed.map_or(Ok(Found::default()), Err);
        }
        let mut found = Found::default();
        let service = probe::service::look(&config.control.socket, &mut |_| {});
        match topic {
            Topic::Gateway => {}
            Topic::Limits => {
                let runner = Runner::find(&Unit::ask(), service.as_ref());
                probe::terms::look(&config, &runner, &mut tell);
            }
            Topic::Devices => {
                if let Some(listener) = &config.collect.listener {
                    let unit = Unit::ask();
                    let runner = Runner::find(&unit, service.as_ref());
                    probe::listener::look(listener, &unit, &runner, service.as_ref(), &mut tell);
                    found.good_listener = !bad.get();
                }
                let before = bad.replace(false);
                if let Some(broker) = &config.collect.broker {
                    let right = probe::clock::is_right(&config.clock);
                    probe::broker::look(broker, right, service.as_ref(), &mut tell);
                    found.good_broker = !bad.get();
                }
                bad.set(bad.get() || before);
            }
            Topic::Line => probe::line::look(config.forward.interface.as_deref(), &mut tell),
            Topic::Flux => {
                let right = probe::clock::is_right(&config.clock);
                probe::flux::look(&config.forward, right, service.as_ref(), &mut tell);
            }
        }
        found.bad = bad.get();
        failed.map_or(Ok(found), Err)
    }

    /// Refuses a draft for what no topic is about and no answer can make right, before anything is asked.
    pub(super) fn others(&self, draft: &Draft) -> Result<(), Failure> {
        let Err(mut errors) = draft.trial(&self.name) else { return Ok(()) };
        errors.problems.retain(|problem| Topic::ALL.iter().all(|topic| !topic.has(&problem.key)));
        if errors.problems.is_empty() { Ok(()) } else { Err(Failure { code: FAILED, ..errors.into() }) }
    }

    /// Those of some keys for whose values the configuration would be refused; what is wrong was shown.
    pub(super) fn refused(&self, draft: &Draft, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<String>, Failure> {
        let Err(errors) = draft.trial(&self.name) else { return Ok(Vec::new()) };
        let mut refused = Vec::new();
        for problem in errors.problems.into_iter().filter(|problem| wanted(&problem.key)) {
            let (found, advice) = (&problem.found, &problem.advice);
            let what = message!("{key}: {found}; {advice}", key = &problem.key, found = found, advice = advice);
            let why = masked(&what.text(self.language));
            print(&format!("{}\n", message!("not usable: {why}", why = why).text(self.language)))?;
            refused.push(problem.key);
        }
        Ok(refused)
    }
}
