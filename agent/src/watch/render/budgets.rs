//! Budgets for people: what was used, what is left and until when, what holds lanes, and what the backlog will cost.

use std::fmt::Write as _;

use super::super::status::{BudgetStatus, BudgetsStatus, DrainStatus};
use super::{line, number, plain, size, span, time, title};

/// The section of `status`.
pub(super) fn section(out: &mut String, budgets: &BudgetsStatus, now_ms: u64) {
    if budgets.budgets.is_empty() && budgets.held.is_empty() {
        return;
    }
    title(out, "Budgets");
    for budget in &budgets.budgets {
        line(out, &plain(&budget.kind), &one(budget));
        if budget.told {
            line(
                out,
                "",
                "! the provider says that the quota is used up: see the account's usage in the SORACOM console",
            );
        }
    }
    for held in &budgets.held {
        let until = match held.until_ms {
            Some(until) => format!("until {} (in {})", time(until), span(until.saturating_sub(now_ms))),
            None => "until when is not known".to_owned(),
        };
        line(
            out,
            "held",
            &format!("lane {}: {} ({}), {until}", plain(&held.lane), plain(&held.reason), plain(&held.limit)),
        );
    }
    if let Some(drain) = &budgets.drain {
        line(out, "backlog", &cost(drain));
    }
}

fn one(budget: &BudgetStatus) -> String {
    let amount = |count| if budget.unit == "bytes" { size(count) } else { number(count) };
    let (Some(whole), Some(left)) = (budget.amount, budget.left) else {
        return format!("{} used, not limited", amount(budget.used));
    };
    let mut text = format!("{} of {} used, {} left", amount(budget.used), amount(whole), amount(left));
    if budget.reserved > 0 {
        let _ = write!(text, " ({} of them kept for lanes that go first)", amount(budget.reserved));
    }
    if let Some(ends) = budget.ends_ms {
        let _ = write!(text, "; until {}", time(ends));
    } else if budget.kind.ends_with("month") || budget.kind.ends_with("day") {
        text += "; begins anew once the clock is known to be right";
    }
    match budget.runs_out_ms {
        Some(at) => {
            let _ = write!(text, "; used up on {} at this pace", time(at));
        }
        None if budget.ends_ms.is_some() && left > 0 => text += "; lasts at this pace",
        None => {}
    }
    text
}

fn cost(drain: &DrainStatus) -> String {
    let mut text = format!(
        "{} records wait: some {} on the wire, {} events",
        number(drain.records),
        size(drain.bytes),
        number(drain.events)
    );
    if let Some(share) = drain.month_thousandths {
        let _ = write!(text, ", {}.{} % of the month", share / 10, share % 10);
    }
    match drain.time_ms {
        Some(time) => {
            let _ = write!(text, ", {} at the least", span(time));
        }
        None => text += "; the month has not so much left",
    }
    text
}
