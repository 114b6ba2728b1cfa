//! Every transition by name: what was told, what is told or how much time passes, and which stance is shown before and after.

use super::*;

/// What happens.
#[derive(Debug, Clone)]
enum Do {
    Tell(Input),
    /// So many ms pass.
    Pass(u64),
}

use Do::{Pass, Tell};

struct Row {
    name: &'static str,
    given: Vec<Do>,
    before: Stance,
    step: Do,
    after: Stance,
}

fn row(name: &'static str, given: impl Into<Vec<Do>>, before: Stance, step: Do, after: Stance) -> Row {
    Row { name, given: given.into(), before, step, after }
}

/// Longer than the way back takes, both its parts.
const BACK: u64 = 25 * MINUTE;

fn at_once(content: Content) -> Do {
    Tell(notice("n1", START, content))
}

fn later(content: Content) -> Do {
    Tell(notice("n1", START + 1, content))
}

/// What answers made is withdrawn, by a notice that was issued so much later than the start.
fn withdrawn(after: u64) -> Do {
    Tell(notice("answers", START + after, Content::Withdrawn))
}

fn restriction(until_ms: Option<u64>) -> Content {
    let limits = vec![Bound::RateUp(std::num::NonZeroU64::new(64_000).expect("not 0"))];
    Content::Restriction { from_ms: 0, until_ms, limits }
}

fn terms() -> Content {
    Content::TermsChanged { version: "2027-01".into(), effective_ms: START + HOUR, url: String::new() }
}

fn accept(version: &str) -> Do {
    Tell(Input::AcceptTerms { version: version.into() })
}

#[allow(clippy::too_many_lines, reason = "a table has as many rows as there are transitions")]
fn from_notices() -> Vec<Row> {
    use Stance::{Ended, Maintenance, Open, Quota, Restricted, Suspended, Yield};
    let window = works(START + HOUR, START + 2 * HOUR);
    let emergency = |until_ms| Content::Emergency { from_ms: 0, until_ms };
    let suspension = || Content::Suspension { from_ms: 0, cause: Breach::Unpaid };
    let end = |at_ms| Content::End { at_ms };
    let both = [at_once(window.clone()), Pass(HOUR)];
    vec![
        row("a maintenance is announced", [], Open, at_once(window.clone()), Open),
        row("an announced maintenance begins", [at_once(window.clone())], Open, Pass(HOUR), Maintenance),
        row("it is over, and this gateway's moment has not come", both.clone(), Maintenance, Pass(HOUR), Maintenance),
        row(
            "it is over, and this gateway comes back slowly",
            both.clone(),
            Maintenance,
            Pass(HOUR + 10 * MINUTE),
            Restricted,
        ),
        row("it is over, and all is as before", both.clone(), Maintenance, Pass(HOUR + BACK), Open),
        row("a maintenance is withdrawn ahead", [at_once(window.clone())], Open, later(Content::Withdrawn), Open),
        row(
            "a withdrawn maintenance does not begin",
            [at_once(window.clone()), later(Content::Withdrawn)],
            Open,
            Pass(HOUR),
            Open,
        ),
        row("it is withdrawn while it holds", both.clone(), Maintenance, later(Content::Withdrawn), Maintenance),
        row(
            "and this gateway comes back slowly",
            [&both[..], &[later(Content::Withdrawn)]].concat(),
            Maintenance,
            Pass(10 * MINUTE),
            Restricted,
        ),
        row(
            "it is amended to last longer",
            both.clone(),
            Maintenance,
            later(works(START + HOUR, START + 9 * HOUR)),
            Maintenance,
        ),
        row(
            "and does",
            [&both[..], &[later(works(START + HOUR, START + 9 * HOUR))]].concat(),
            Maintenance,
            Pass(7 * HOUR),
            Maintenance,
        ),
        row("it is amended to be over", both.clone(), Maintenance, later(works(START, START + HOUR)), Maintenance),
        row(
            "and gateways come back",
            [&both[..], &[later(works(START, START + HOUR))]].concat(),
            Maintenance,
            Pass(10 * MINUTE),
            Restricted,
        ),
        row(
            "it is amended to be later",
            both.clone(),
            Maintenance,
            later(works(START + 3 * HOUR, START + 4 * HOUR)),
            Maintenance,
        ),
        row(
            "a maintenance in the past changes nothing",
            [],
            Open,
            at_once(works(START - 2 * HOUR, START - HOUR)),
            Open,
        ),
        row(
            "one that ends before it begins changes nothing",
            [at_once(works(START + HOUR, START))],
            Open,
            Pass(HOUR),
            Open,
        ),
        row(
            "an accepted record does not end it",
            both.clone(),
            Maintenance,
            Tell(answer(Means::Accepted)),
            Maintenance,
        ),
        row("an emergency begins at once", [], Open, at_once(emergency(None)), Yield),
        row("an emergency ends", [at_once(emergency(Some(START + HOUR)))], Yield, Pass(HOUR + BACK), Open),
        row(
            "an emergency is withdrawn",
            [at_once(emergency(None)), later(Content::Withdrawn)],
            Yield,
            Pass(BACK),
            Open,
        ),
        row("a restriction begins", [], Open, at_once(restriction(None)), Restricted),
        row("a restriction ends", [at_once(restriction(Some(START + HOUR)))], Restricted, Pass(HOUR), Open),
        row("a restriction is withdrawn", [at_once(restriction(None))], Restricted, later(Content::Withdrawn), Open),
        row("a suspension by notice", [], Open, at_once(suspension()), Suspended),
        row(
            "an accepted probe does not end it",
            [at_once(suspension())],
            Suspended,
            Tell(answer(Means::Accepted)),
            Suspended,
        ),
        row("it stands for years", [at_once(suspension())], Suspended, Pass(1_000 * DAY), Suspended),
        row("it is withdrawn", [at_once(suspension()), later(Content::Withdrawn)], Suspended, Pass(BACK), Open),
        row(
            "a suspension becomes an information",
            [at_once(suspension()), later(Content::Information)],
            Suspended,
            Pass(BACK),
            Open,
        ),
        row("a suspension becomes an end", [at_once(suspension())], Suspended, later(end(START)), Ended),
        row("a quota by notice", [], Open, at_once(Content::Quota { until_ms: START + DAY }), Quota),
        row("a quota ends", [at_once(Content::Quota { until_ms: START + DAY })], Quota, Pass(DAY + BACK), Open),
        row("an end is announced", [], Open, at_once(end(START + DAY)), Open),
        row("an end comes", [at_once(end(START + DAY))], Open, Pass(DAY), Ended),
        row("it is for good", [at_once(end(START))], Ended, Pass(3_000 * DAY), Ended),
        row("no answer ends it", [at_once(end(START))], Ended, Tell(answer(Means::Accepted)), Ended),
        row(
            "no other endpoint ends it",
            [at_once(end(START)), Tell(Input::Endpoint { fingerprint: 1 })],
            Ended,
            Tell(Input::Endpoint { fingerprint: 2 }),
            Ended,
        ),
        row("an end is put off", [at_once(end(START)), later(end(START + DAY))], Ended, Pass(BACK), Open),
        row("an end is withdrawn", [at_once(end(START)), later(Content::Withdrawn)], Ended, Pass(BACK), Open),
        row("an information changes nothing", [], Open, at_once(Content::Information), Open),
        row("an unknown kind changes nothing", [], Open, at_once(Content::Unknown { kind: "eclipse".into() }), Open),
        row(
            "not even what stood under its id",
            [at_once(suspension())],
            Suspended,
            later(Content::Unknown { kind: "eclipse".into() }),
            Suspended,
        ),
        row(
            "a repeat changes nothing",
            [at_once(end(START)), later(Content::Withdrawn), Pass(BACK)],
            Open,
            later(Content::Withdrawn),
            Open,
        ),
        row(
            "an earlier one that comes later changes nothing",
            [later(Content::Withdrawn)],
            Open,
            at_once(end(START)),
            Open,
        ),
        row(
            "an identifier that changes stops nothing",
            [],
            Open,
            at_once(Content::Identity { effective_ms: START }),
            Open,
        ),
        row(
            "of two the first shown is the worse",
            [Tell(notice("n2", START, suspension()))],
            Suspended,
            at_once(end(START)),
            Ended,
        ),
        row(
            "when one lifts the other remains",
            [Tell(notice("n2", START, suspension())), at_once(end(START))],
            Ended,
            later(Content::Withdrawn),
            Ended,
        ),
        row(
            "and is shown",
            [Tell(notice("n2", START, suspension())), at_once(end(START)), later(Content::Withdrawn)],
            Ended,
            Pass(BACK),
            Suspended,
        ),
    ]
}

#[allow(clippy::too_many_lines, reason = "a table has as many rows as there are transitions")]
fn from_answers() -> Vec<Row> {
    use Stance::{Ended, Maintenance, Open, Quota, Restricted, Suspended};
    let told = |means| Tell(answer(means));
    let long = || Tell(waiting(Means::Maintenance, Some(HOUR)));
    let refused = [told(Means::Unreachable), Pass(20 * SECOND), told(Means::Unreachable), Pass(20 * SECOND)];
    let busy = [told(Means::Maintenance), Pass(20 * SECOND), told(Means::Maintenance), Pass(20 * SECOND)];
    let down = [&refused[..], &[told(Means::Unreachable)]].concat();
    let elsewhere = || [Tell(Input::Endpoint { fingerprint: 1 }), told(Means::Accepted)];
    let moved = Tell(Input::Endpoint { fingerprint: 2 });
    vec![
        row("accepted", [], Open, told(Means::Accepted), Open),
        row("poison", [], Open, told(Means::Poison), Open),
        row("transient", [], Open, told(Means::Transient), Open),
        row("misconfigured", [], Open, told(Means::Misconfigured), Open),
        row("the own line", [], Open, told(Means::OwnLine), Open),
        row("429", [], Open, told(Means::Throttled), Restricted),
        row("and no more of them", [told(Means::Throttled)], Restricted, Pass(HOUR), Open),
        row("503 with a long wait", [], Open, long(), Maintenance),
        row("503 with a short wait", [], Open, Tell(waiting(Means::Maintenance, Some(MINUTE))), Open),
        row("503 without a time", [], Open, told(Means::Maintenance), Open),
        row("three of them in half a minute", busy.clone(), Open, told(Means::Maintenance), Maintenance),
        row(
            "one that is accepted in between",
            [&busy[..], &[told(Means::Accepted)]].concat(),
            Open,
            told(Means::Maintenance),
            Open,
        ),
        row("its wait is over, and nothing was tried", [long()], Maintenance, Pass(2 * HOUR), Maintenance),
        row("a probe is accepted", [long(), Pass(2 * HOUR)], Maintenance, told(Means::Accepted), Restricted),
        row("503 on the way back", [long(), Pass(2 * HOUR), told(Means::Accepted)], Restricted, long(), Maintenance),
        row("and all is as before", [long(), Pass(2 * HOUR), told(Means::Accepted)], Restricted, Pass(BACK), Open),
        row(
            "a probe is refused for its content",
            [long(), Pass(2 * HOUR)],
            Maintenance,
            told(Means::Poison),
            Restricted,
        ),
        row("a probe meets the own line", [long()], Maintenance, told(Means::OwnLine), Maintenance),
        row("one refused connection", [], Open, told(Means::Unreachable), Open),
        row("three in half a minute", refused.clone(), Open, told(Means::Unreachable), Maintenance),
        row(
            "three at once are a cut session",
            [told(Means::Unreachable), told(Means::Unreachable)],
            Open,
            told(Means::Unreachable),
            Open,
        ),
        row(
            "one accepted in between",
            [&refused[..], &[told(Means::Accepted)]].concat(),
            Open,
            told(Means::Unreachable),
            Open,
        ),
        row(
            "the own line in between",
            [&refused[..], &[told(Means::OwnLine)]].concat(),
            Open,
            told(Means::Unreachable),
            Open,
        ),
        row("it was the own line after all", down.clone(), Maintenance, told(Means::OwnLine), Restricted),
        row(
            "an answer that says so stands",
            [&down[..], &[told(Means::Maintenance)]].concat(),
            Maintenance,
            told(Means::OwnLine),
            Maintenance,
        ),
        row("it can be reached", down.clone(), Maintenance, told(Means::Accepted), Restricted),
        row("it suspends", down, Maintenance, told(Means::Suspended), Suspended),
        row("403 where it had accepted", [], Open, told(Means::Suspended), Suspended),
        row("403 again", [told(Means::Suspended)], Suspended, told(Means::Suspended), Suspended),
        row("suspended, and then 503", [told(Means::Suspended)], Suspended, long(), Suspended),
        row(
            "suspended, and then no connection",
            [told(Means::Suspended)],
            Suspended,
            told(Means::Unreachable),
            Suspended,
        ),
        row("suspended, and then 429", [told(Means::Suspended)], Suspended, told(Means::Throttled), Suspended),
        row("suspended, and accepted", [told(Means::Suspended)], Suspended, told(Means::Accepted), Restricted),
        row("suspended, and judged again", [told(Means::Suspended)], Suspended, told(Means::Poison), Restricted),
        row("suspended, and then the quota", [told(Means::Suspended)], Suspended, told(Means::Quota), Quota),
        row("suspended for years", [told(Means::Suspended)], Suspended, Pass(1_000 * DAY), Suspended),
        row("402", [], Open, told(Means::Quota), Quota),
        row("the month ends", [told(Means::Quota)], Quota, Pass(13 * DAY), Open),
        row("the quota is raised", [told(Means::Quota)], Quota, told(Means::Accepted), Restricted),
        row("the answer says until when", [Tell(waiting(Means::Quota, Some(HOUR)))], Quota, Pass(HOUR + BACK), Open),
        row("410 where it had accepted", [], Open, told(Means::Ended), Ended),
        row("no late answer ends that", [told(Means::Ended)], Ended, told(Means::Accepted), Ended),
        row("nor does a reload", [told(Means::Ended)], Ended, Tell(Input::TryNow), Ended),
        row("nor resuming", [told(Means::Ended)], Ended, Tell(Input::Resume), Ended),
        row(
            "a notice that withdraws it does, at a moment of its own",
            [told(Means::Ended)],
            Ended,
            withdrawn(1),
            Ended,
        ),
        row("and then slowly", [told(Means::Ended), withdrawn(1)], Ended, Pass(10 * MINUTE), Restricted),
        row("and all is as before", [told(Means::Ended), withdrawn(1)], Ended, Pass(BACK), Open),
        row("one that was issued before it does not", [told(Means::Ended)], Ended, withdrawn(0), Ended),
        row("nor one of another id", [told(Means::Ended)], Ended, later(Content::Withdrawn), Ended),
        row(
            "a later 410 is not withdrawn by the same notice",
            [told(Means::Ended), withdrawn(1), Pass(BACK), told(Means::Ended)],
            Ended,
            withdrawn(1),
            Ended,
        ),
        row(
            "a later notice does that",
            [told(Means::Ended), withdrawn(1), Pass(BACK), told(Means::Ended), withdrawn(BACK + 1)],
            Ended,
            Pass(BACK),
            Open,
        ),
        row("it withdraws a suspension, too", [told(Means::Suspended), withdrawn(1)], Suspended, Pass(BACK), Open),
        row("where no answer stops anything it does nothing", [], Open, withdrawn(1), Open),
        row(
            "403 where nothing was ever accepted",
            [Tell(Input::Endpoint { fingerprint: 1 }), moved.clone()],
            Open,
            told(Means::Suspended),
            Open,
        ),
        row(
            "410 where nothing was ever accepted",
            [Tell(Input::Endpoint { fingerprint: 1 }), moved.clone()],
            Open,
            told(Means::Ended),
            Open,
        ),
        row(
            "another endpoint ends a suspension",
            [&elsewhere()[..], &[told(Means::Suspended)]].concat(),
            Suspended,
            moved.clone(),
            Open,
        ),
        row("and an end", [&elsewhere()[..], &[told(Means::Ended)]].concat(), Ended, moved.clone(), Open),
        row("and a throttle", [&elsewhere()[..], &[told(Means::Throttled)]].concat(), Restricted, moved, Open),
        row(
            "the same endpoint ends nothing",
            [&elsewhere()[..], &[told(Means::Suspended)]].concat(),
            Suspended,
            Tell(Input::Endpoint { fingerprint: 1 }),
            Suspended,
        ),
    ]
}

#[allow(clippy::too_many_lines, reason = "a table has as many rows as there are transitions")]
fn from_the_page_the_sim_and_the_operator() -> Vec<Row> {
    use Progress::{Completed, InProgress, Scheduled};
    use Stance::{Ended, Held, Maintenance, Open, Restricted, Suspended};
    let page = |progress| Tell(planned(START + HOUR, START + 2 * HOUR, progress));
    let nothing = || Tell(Input::Page { page: Page::default(), now_ms: None });
    let line = |status, expiry| Tell(sim(status, expiry));
    let incident = Incident { id: "i1".into(), name: "Flux".into(), impact: "critical".into(), since_ms: None };
    let begun = || vec![page(Scheduled), Pass(HOUR), page(InProgress)];
    let over = || [begun(), vec![Pass(HOUR)]].concat();
    vec![
        row("the page announces", [], Open, page(Scheduled), Open),
        row("its window begins", [page(Scheduled)], Open, Pass(HOUR), Maintenance),
        row("it is said to be under way early", [page(Scheduled)], Open, page(InProgress), Maintenance),
        row("it is not listed any more, ahead", [page(Scheduled), nothing()], Open, Pass(HOUR), Open),
        row("it is completed early", begun(), Maintenance, page(Completed), Maintenance),
        row(
            "and gateways come back",
            [begun(), vec![page(Completed)]].concat(),
            Maintenance,
            Pass(10 * MINUTE),
            Restricted,
        ),
        row(
            "it is not listed any more",
            [begun(), vec![nothing()]].concat(),
            Maintenance,
            Pass(10 * MINUTE),
            Restricted,
        ),
        row(
            "its end passes and the page was not read again",
            begun(),
            Maintenance,
            Pass(2 * HOUR + 11 * MINUTE),
            Restricted,
        ),
        row("it is late", over(), Maintenance, page(InProgress), Maintenance),
        row(
            "it is late, and a probe is accepted",
            [over(), vec![page(InProgress)]].concat(),
            Maintenance,
            Tell(answer(Means::Accepted)),
            Restricted,
        ),
        row(
            "the page's word no longer shuts then",
            [over(), vec![Tell(answer(Means::Accepted))]].concat(),
            Restricted,
            page(InProgress),
            Restricted,
        ),
        row(
            "it is moved ahead",
            [page(Scheduled), Tell(planned(START + 5 * HOUR, START + 6 * HOUR, Scheduled))],
            Open,
            Pass(HOUR),
            Open,
        ),
        row(
            "an incident stops nothing",
            [],
            Open,
            Tell(Input::Page { page: Page { incidents: vec![incident], ..Page::default() }, now_ms: None }),
            Open,
        ),
        row("the SIM is suspended", [line("active", None)], Open, line("suspended", None), Suspended),
        row("the SIM is inactive", [], Open, line("inactive", None), Suspended),
        row("the SIM is terminated", [], Open, line("terminated", None), Suspended),
        row("the SIM is active again", [line("suspended", None)], Suspended, line("active", None), Open),
        row("Flux accepts over it", [line("suspended", None)], Suspended, Tell(answer(Means::Accepted)), Open),
        row("an unknown status", [], Open, line("hibernating", None), Open),
        row("the SIM's expiry is told", [], Open, line("active", Some((START + DAY, "suspend"))), Open),
        row("it comes", [line("active", Some((START + DAY, "suspend")))], Open, Pass(DAY), Suspended),
        row(
            "it is to terminate, and comes",
            [line("active", Some((START + DAY, "terminate")))],
            Open,
            Pass(DAY),
            Ended,
        ),
        row(
            "it is to do nothing, and comes",
            [line("active", Some((START + DAY, "doNothing")))],
            Open,
            Pass(DAY),
            Open,
        ),
        row(
            "it is put off",
            [line("active", Some((START + DAY, "suspend"))), line("active", Some((START + 9 * DAY, "suspend")))],
            Open,
            Pass(DAY),
            Open,
        ),
        row(
            "the line outlives it",
            [line("active", Some((START + DAY, "suspend"))), Pass(DAY)],
            Suspended,
            line("active", Some((START + DAY, "suspend"))),
            Open,
        ),
        row(
            "a reload does not make a SIM's status forgotten",
            [line("suspended", None)],
            Suspended,
            Tell(Input::TryNow),
            Suspended,
        ),
        row(
            "a SIM was exchanged",
            [line("suspended", None), Tell(Input::TryNow)],
            Suspended,
            Tell(answer(Means::Accepted)),
            Open,
        ),
        row(
            "a line that has ended is tried again",
            [line("active", Some((START + DAY, "terminate"))), Pass(DAY)],
            Ended,
            Tell(Input::TryNow),
            Suspended,
        ),
        row(
            "and has ended",
            [line("active", Some((START + DAY, "terminate"))), Pass(DAY), Tell(Input::TryNow)],
            Suspended,
            line("terminated", Some((START + DAY, "terminate"))),
            Ended,
        ),
        row("the operator holds", [], Open, Tell(hold(None)), Held),
        row("and resumes", [Tell(hold(None))], Held, Tell(Input::Resume), Open),
        row("the operator's time passes", [Tell(hold(Some(HOUR)))], Held, Pass(HOUR), Open),
        row(
            "resuming lifts nothing else",
            [at_once(Content::End { at_ms: START }), Tell(hold(None))],
            Ended,
            Tell(Input::Resume),
            Ended,
        ),
        row("try again now lifts no hold", [Tell(hold(None))], Held, Tell(Input::TryNow), Held),
        row(
            "what time the provider says it is",
            [],
            Open,
            Tell(Input::ProviderTime { now_ms: START, error_ms: 600 }),
            Open,
        ),
    ]
}

fn from_changed_terms() -> Vec<Row> {
    use Stance::{Held, Open};
    vec![
        row("changed terms are announced", [], Open, at_once(terms()), Open),
        row("their date comes", [at_once(terms())], Open, Pass(HOUR), Held),
        row("a person accepts them", [at_once(terms()), Pass(HOUR)], Held, accept("2027-01"), Open),
        row("a person accepts others", [at_once(terms()), Pass(HOUR)], Held, accept("2026-01"), Held),
        row("a person accepted them ahead", [at_once(terms()), accept("2027-01")], Open, Pass(HOUR), Open),
        row("before they were announced", [accept("2027-01"), at_once(terms())], Open, Pass(HOUR), Open),
        row("resuming does not accept", [at_once(terms()), Pass(HOUR)], Held, Tell(Input::Resume), Held),
        row("they are withdrawn", [at_once(terms()), Pass(HOUR), later(Content::Withdrawn)], Held, Pass(BACK), Open),
    ]
}

fn check(rows: Vec<Row>, settings: &Settings) {
    for Row { name, given, before, step, after } in rows {
        let mut bench = Bench::fresh(settings.clone());
        bench.tell(answer(Means::Accepted));
        let go = |bench: &mut Bench, step: Do| match step {
            Tell(input) => bench.tell(input),
            Pass(ms) => bench.run(ms),
        };
        for step in given {
            go(&mut bench, step);
        }
        assert_eq!(bench.stance(), before, "{name}: before; {:#?}", bench.view());
        let other = {
            bench.restart();
            bench.clone()
        };
        go(&mut bench, step.clone());
        assert_eq!(bench.stance(), after, "{name}: after; {:#?}", bench.view());
        // A stance that is shown has a reason, and a person who reads it knows what to do.
        for ground in bench.view().grounds {
            assert!(!ground.advice.is_empty() && !ground.source.is_empty(), "{name}: {ground:?}");
        }
        // The same step from the same place, in one go.
        let mut other = other;
        match step {
            Tell(input) => other.tell(input),
            Pass(ms) => other.pass(ms),
        }
        assert_eq!(other.stance(), after, "{name}: in one go");
    }
}

#[test]
fn every_transition_from_notices() {
    check(from_notices(), &settings());
}

#[test]
fn every_transition_from_answers() {
    check(from_answers(), &settings());
}

#[test]
fn every_transition_from_the_page_the_sim_and_the_operator() {
    check(from_the_page_the_sim_and_the_operator(), &settings());
}

#[test]
fn every_transition_from_changed_terms_that_hold() {
    let holds = Settings { on_terms_change: OnTermsChange::Hold, ..settings() };
    check(from_changed_terms(), &holds);
}

#[test]
fn changed_terms_stop_nothing_where_sending_on_is_consent() {
    let step = at_once(terms());
    check(vec![row("their date comes", [step], Stance::Open, Pass(2 * HOUR), Stance::Open)], &settings());
}
