//! The outage ledger for people.

use super::super::status::OutageStatus;
use super::{coded, number, plain, span, time, told};
use crate::language::sheet::Sheet;
use crate::language::{IntoValue as _, Value};
use crate::message;

/// The section of `status`. Nothing where there is nothing to say.
pub(super) fn section(out: &mut Sheet, outage: &OutageStatus) {
    if outage.since_ms.is_none() && outage.month == 0 && !outage.alarm && outage.problem.is_none() {
        return;
    }
    out.title(message!("Outages"));
    if outage.alarm {
        let text = message!("! nothing was delivered for the set time while records wait");
        out.line(message!("ALARM"), coded(text, &outage.code));
    }
    if let Some(since) = outage.since_ms {
        let text = message!(
            "since {time}: {proved} proved by {attempts} failed attempts, class {class}",
            time = time(since),
            proved = span(outage.proved_ms),
            attempts = outage.attempts,
            class = class(&outage.class)
        );
        out.line(message!("now"), text);
    }
    let text = message!(
        "{count}, the longest that can be claimed {longest} (`tidegate outages` shows them)",
        count = number(outage.month),
        longest = span(outage.month_longest_ms)
    );
    out.line(message!("this month"), text);
    if let Some(problem) = &outage.problem {
        let code = if outage.alarm { "" } else { &outage.code };
        out.line("", coded(format!("! {}", told(out, problem, outage.problem_message.as_ref())), code));
    }
}

/// Whose side an outage is, by the ledger's word.
pub fn class(word: &str) -> Value {
    let known = match word {
        "own-line" => message!("own-line"),
        "announced" => message!("announced"),
        "provider" => message!("provider"),
        "unknown" => message!("unknown"),
        other => return plain(other).into_value(),
    };
    known.into_value()
}
