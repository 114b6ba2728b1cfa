//! What is counted, and how it is shown.

use std::fmt::Write as _;

use super::service::{Answer, Service};
use super::{MINUTE, SECOND, Scenario};

/// Bins that the period after the return is cut into.
const BINS: u64 = 100;

/// A course over time: counts by the second.
#[derive(Debug, Clone, Default)]
pub struct Course(Vec<u32>);

impl Course {
    fn count(&mut self, at: u64) {
        let second = (at / SECOND) as usize;
        if self.0.len() <= second {
            self.0.resize(second + 1, 0);
        }
        self.0[second] += 1;
    }

    /// So many a second in the mean, between two times in ms, a whole number of seconds apart.
    pub fn rate(&self, from: u64, until: u64) -> f64 {
        let (from, until) = ((from / SECOND) as usize, (until / SECOND) as usize);
        let sum: u64 = self.0.iter().take(until).skip(from).map(|count| u64::from(*count)).sum();
        sum as f64 / (until - from).max(1) as f64
    }
}

/// What a run comes to.
#[derive(Debug, Clone)]
pub struct Figures {
    scenario: Scenario,
    gateways: u32,
    /// Connections that were opened or tried.
    pub connections: Course,
    /// Events that were accepted.
    pub events: Course,
    /// What was refused.
    pub refused: Course,
    bins: Vec<u32>,
    longest: u64,
    returned: u32,
}

impl Figures {
    pub(super) fn new(scenario: Scenario, gateways: u32) -> Self {
        let course = Course::default;
        let bins = vec![0; BINS as usize];
        let (connections, events, refused) = (course(), course(), course());
        Self { scenario, gateways, connections, events, refused, bins, longest: 0, returned: 0 }
    }

    pub(super) fn sent(&mut self, at: u64, connects: bool, answer: Answer) {
        if connects {
            self.connections.count(at);
        }
        match answer {
            Answer::Accepted => self.events.count(at),
            Answer::Unreachable | Answer::Throttled(_) => self.refused.count(at),
        }
    }

    /// A gateway's first record is accepted after the end.
    pub(super) fn came_back(&mut self, at: u64) {
        let after = at - self.scenario.span().1;
        self.longest = self.longest.max(after);
        self.returned += 1;
        if let Some(bin) = self.bins.get_mut((after * BINS / self.scenario.period()) as usize) {
            *bin += 1;
        }
    }

    /// Gateways that came back.
    pub fn returned(&self) -> u32 {
        self.returned
    }

    /// The longest that a gateway took to come back, in ms.
    pub fn longest_wait(&self) -> u64 {
        self.longest
    }

    /// Of the first connections after the end: the fullest bin of a hundredth of the period over the mean of all.
    pub fn peak_over_mean(&self) -> f64 {
        let most = self.bins.iter().max().copied().unwrap_or_default();
        f64::from(most) * BINS as f64 / f64::from(self.gateways)
    }

    /// What was refused in all.
    pub fn refused_in_all(&self) -> u64 {
        self.refused.0.iter().map(|count| u64::from(*count)).sum()
    }

    /// Of what the account may send while it is throttled, so much was sent.
    pub fn used(&self) -> f64 {
        let (from, until) = self.scenario.span();
        self.events.rate(from, until) * 60.0 / Service::per_minute(self.gateways) as f64
    }
}

/// Both fleets beside each other, by the minute where something happens and else more coarsely.
pub fn table(scenario: Scenario, ours: &Figures, alone: &Figures) -> String {
    let mut text = format!(
        "{:>8} | {:>32} | {:>32}\n{:>8} | {:>10} {:>10} {:>10} | {:>10} {:>10} {:>10}\n",
        scenario.name(),
        "Tidegate, a second",
        "back-off alone, a second",
        "min",
        "connects",
        "events",
        "refused",
        "connects",
        "events",
        "refused"
    );
    let (from, until) = scenario.span();
    let mut at = 0;
    while at < scenario.length() {
        let near = |edge: u64| (edge..edge + 5 * MINUTE).contains(&at);
        let step = if near(from) || near(until) { MINUTE } else { 5 * MINUTE };
        let end = (at + step).min(scenario.length());
        let _ = write!(text, "{:>8}", at / MINUTE);
        for figures in [ours, alone] {
            let _ = write!(text, " |");
            for course in [&figures.connections, &figures.events, &figures.refused] {
                let _ = write!(text, " {:>10.1}", course.rate(at, end));
            }
        }
        text.push('\n');
        at = end;
    }
    text
}

/// What it comes to, in a few lines.
pub fn summary(scenario: Scenario, ours: &Figures, alone: &Figures) -> String {
    let mut text = String::new();
    for (name, figures) in [("Tidegate", ours), ("back-off alone", alone)] {
        let _ = match scenario {
            Scenario::Throttled => writeln!(
                text,
                "{name}: refused {} times, used {:.0} % of what the account may",
                figures.refused_in_all(),
                figures.used() * 100.0
            ),
            _ => writeln!(
                text,
                "{name}: peak over mean of first connections {:.2}, the last after {} s, refused {} times, back {} of {}",
                figures.peak_over_mean(),
                figures.longest_wait() / SECOND,
                figures.refused_in_all(),
                figures.returned(),
                figures.gateways
            ),
        };
    }
    text
}
