//! Budgets for people: what was used, what is left and until when, what holds lanes, and what the backlog will cost.

use super::super::status::{BudgetStatus, BudgetsStatus, DrainStatus};
use super::{coded, number, plain, size, span, time, told};
use crate::language::sheet::Sheet;
use crate::message;

/// The section of `status`.
pub(super) fn section(out: &mut Sheet, budgets: &BudgetsStatus, now_ms: u64) {
    if budgets.budgets.is_empty() && budgets.held.is_empty() {
        return;
    }
    out.title(message!("Budgets"));
    for budget in &budgets.budgets {
        let text = one(out, budget);
        out.line(plain(&budget.kind), text);
        if budget.told {
            let text = message!(
                "! the provider says that the quota is used up: see the account's usage in the SORACOM console"
            );
            out.line("", text);
        }
    }
    for held in &budgets.held {
        let until = if let Some(until) = held.until_ms {
            let wait = span(until.saturating_sub(now_ms));
            message!("until {time} (in {span})", time = time(until), span = wait)
        } else {
            message!("until when is not known")
        };
        let text = message!(
            "lane {lane}: {reason} ({limit}), {until}",
            lane = plain(&held.lane),
            reason = told(out, &held.reason, held.reason_message.as_ref()),
            limit = plain(&held.limit),
            until = until
        );
        out.line(message!("held"), coded(text, &held.code));
    }
    if let Some(drain) = &budgets.drain {
        let text = cost(out, drain);
        out.line(message!("backlog"), text);
    }
}

fn one(out: &Sheet, budget: &BudgetStatus) -> String {
    let amount = |count| if budget.unit == "bytes" { size(count) } else { number(count) };
    let used = amount(budget.used);
    let (Some(whole), Some(left)) = (budget.amount, budget.left) else {
        return out.say(message!("{used} used, not limited", used = used));
    };
    let mut text = out.say(message!(
        "{used} of {amount} used, {left} left",
        used = used,
        amount = amount(whole),
        left = amount(left)
    ));
    if budget.reserved > 0 {
        let reserved = amount(budget.reserved);
        text += &out.say(message!(" ({amount} of them kept for lanes that go first)", amount = reserved));
    }
    if let Some(ends) = budget.ends_ms {
        text += &out.say(message!("; until {time}", time = time(ends)));
    } else if budget.kind.ends_with("month") || budget.kind.ends_with("day") {
        text += &out.say(message!("; begins anew once the clock is known to be right"));
    }
    match budget.runs_out_ms {
        Some(at) => text += &out.say(message!("; used up on {time} at this pace", time = time(at))),
        None if budget.ends_ms.is_some() && left > 0 => text += &out.say(message!("; lasts at this pace")),
        None => {}
    }
    text
}

fn cost(out: &Sheet, drain: &DrainStatus) -> String {
    let mut text = out.say(message!(
        "{records} records wait: some {size} on the wire, {events} events",
        records = number(drain.records),
        size = size(drain.bytes),
        events = number(drain.events)
    ));
    if let Some(share) = drain.month_thousandths {
        let share = format!("{}.{}", share / 10, share % 10);
        text += &out.say(message!(", {share} % of the month", share = share));
    }
    text + &match drain.time_ms {
        Some(time) => out.say(message!(", {span} at the least", span = span(time))),
        None => out.say(message!("; the month has not so much left")),
    }
}
