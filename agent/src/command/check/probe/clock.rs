//! Whether the clock is known to be right, judged as the service judges it.

use tidegate::clock::now_ms;
use tidegate::clock::synchronised::{ThisMachine, TimeServices as _};
use tidegate::code::Code;
use tidegate::config::Clock;
use tidegate::message;
use tidegate::watch::Status;
use tidegate::watch::render::time;

use super::block_on;
use crate::command::check::Tell;
use crate::command::check::finding::{Finding, Id};

/// 2026-01-01 in ms since the Unix epoch, before this program was written: a clock that shows less is wrong for certain.
const BEFORE_THIS_PROGRAM: u64 = 1_767_225_600_000;

/// Looks for the marker, asks timedated, and takes the service's word; five seconds at most.
pub(in crate::command) fn look(clock: &Clock, service: Option<&Status>, tell: Tell<'_>) {
    let told = service.filter(|status| status.clock.trusted).map(|status| status.clock.source.clone());
    tell(judge(now_ms(), is_right(clock), told, service.map(|status| status.clock.correction_ms)));
}

/// Whether the system says that the clock is right.
pub(in crate::command) fn is_right(clock: &Clock) -> bool {
    ThisMachine.has_marker(&clock.synchronised_marker)
        || (clock.timedated && block_on(ThisMachine.timedated()).unwrap_or_default())
}

/// `told`: who told the service what time it is. `off_ms`: by how much the service then corrects the clock.
fn judge(now_ms: u64, right: bool, told: Option<String>, off_ms: Option<i64>) -> Finding {
    let what = Id::Clock.of(message!("clock"));
    let shows = time(now_ms);
    let set_it =
        || message!("connect it to a time server (timedatectl set-ntp true), or let it reach Flux over TLS once");
    match (right, told) {
        (true, _) => Finding::good(what, message!("synchronised: {time}", time = shows)),
        (false, Some(source)) if off_ms.is_none_or(|off| off.unsigned_abs() < 60_000) => {
            Finding::good(what, message!("right by {source}: {time}", source = source, time = shows))
        }
        (false, Some(source)) => Finding::attention(
            what,
            message!(
                "it shows {time} and is off by {seconds} s by {source}; records get the right time all the same",
                time = shows,
                seconds = off_ms.unwrap_or_default() / 1000,
                source = source,
            ),
            Code::Clock,
            message!("let the system set it: timedatectl set-ntp true"),
        ),
        (false, None) if now_ms < BEFORE_THIS_PROGRAM => Finding::bad(
            what,
            message!("it shows {time}, which is long past; certificates cannot be judged so", time = shows),
            Code::Clock,
            set_it(),
        ),
        (false, None) => Finding::attention(
            what,
            message!("it shows {time}, and nothing on this machine says that this is right", time = shows),
            Code::Clock,
            set_it(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::check::finding::Outcome;

    #[test]
    fn a_clock_is_bad_only_if_it_is_wrong_for_certain() {
        let now = BEFORE_THIS_PROGRAM + 1;
        let result = |now, right, told: Option<&str>, off| judge(now, right, told.map(str::to_owned), off).result;
        assert_eq!(result(now, true, None, None), Outcome::Good);
        assert_eq!(result(now, false, None, None), Outcome::Attention);
        assert_eq!(result(5_000, false, None, None), Outcome::Bad);
        assert_eq!(result(now, false, Some("flux"), Some(-59_999)), Outcome::Good);
        assert_eq!(result(5_000, false, Some("flux"), Some(now.cast_signed())), Outcome::Attention);
    }
}
