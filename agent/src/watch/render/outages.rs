//! The outage ledger for people.

use super::super::status::OutageStatus;
use super::{line, plain, span, time, title};

/// The section of `status`. Nothing where there is nothing to say.
pub(super) fn section(out: &mut String, outage: &OutageStatus) {
    if outage.since_ms.is_none() && outage.month == 0 && !outage.alarm && outage.problem.is_none() {
        return;
    }
    title(out, "Outages");
    if outage.alarm {
        line(out, "ALARM", "! nothing was delivered for the set time while records wait");
    }
    if let Some(since) = outage.since_ms {
        let (proved, attempts) = (span(outage.proved_ms), outage.attempts);
        let class = plain(&outage.class);
        let text = format!("since {}: {proved} proved by {attempts} failed attempts, class {class}", time(since));
        line(out, "now", &text);
    }
    let longest = span(outage.month_longest_ms);
    let text = format!("{}, the longest that can be claimed {longest} (`tidegate outages` shows them)", outage.month);
    line(out, "this month", &text);
    if let Some(problem) = &outage.problem {
        line(out, "", &format!("! {}", plain(problem)));
    }
}
