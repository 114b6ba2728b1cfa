//! What holds whatever is told, in whatever order, whatever the clock shows, and wherever it is restarted.

use proptest::prelude::*;
use tidegate_protocol::stance::Leave;

use super::*;

const IDS: [&str; 5] = ["n0", "n1", "n2", "n3", "answers"];

#[derive(Debug, Clone)]
enum Op {
    Tell(Input),
    /// As [`Bench::run`].
    Run(u64),
    /// In one step.
    Pass(u64),
    /// The wall clock is set by so much.
    Set(i64),
    Trust(bool),
    Restart,
    /// The power is off for so long, and the clock then shows something.
    Reboot(u64, u64),
}

fn some_time() -> impl Strategy<Value = u64> {
    prop_oneof![
        1 => Just(0),
        8 => (0..6 * DAY).prop_map(|ms| START - 3 * DAY + ms),
        1 => any::<u64>(),
    ]
}

fn some_span() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..10 * MINUTE, 4 => 0..5 * HOUR, 2 => 0..3 * DAY, 1 => 0..400 * DAY]
}

fn some_limits() -> impl Strategy<Value = Vec<Bound>> {
    let number = (1_u64..100).prop_map(|number| std::num::NonZeroU64::new(number).expect("not 0"));
    prop_oneof![
        number.clone().prop_map(|number| vec![Bound::RateUp(number)]),
        number.prop_map(|number| vec![Bound::EventsPerMinute(number), Bound::RateUp(number)]),
    ]
}

fn some_content() -> impl Strategy<Value = Content> {
    let until = || proptest::option::of(some_time());
    prop_oneof![
        3 => (some_time(), some_time(), proptest::option::of(0_u32..4_000)).prop_map(|(from_ms, until_ms, resume_s)| {
            Content::Maintenance { from_ms, until_ms, cause: Interruption::Upstream, resume_s }
        }),
        1 => (some_time(), until()).prop_map(|(from_ms, until_ms)| Content::Emergency { from_ms, until_ms }),
        1 => (some_time(), until(), some_limits())
            .prop_map(|(from_ms, until_ms, limits)| Content::Restriction { from_ms, until_ms, limits }),
        1 => some_time().prop_map(|from_ms| Content::Suspension { from_ms, cause: Breach::Card }),
        1 => some_time().prop_map(|until_ms| Content::Quota { until_ms }),
        1 => some_time().prop_map(|at_ms| Content::End { at_ms }),
        1 => some_time().prop_map(|effective_ms| Content::TermsChanged { version: "v2".into(), effective_ms, url: "u".into() }),
        1 => some_time().prop_map(|effective_ms| Content::Identity { effective_ms }),
        1 => Just(Content::Information),
        2 => Just(Content::Withdrawn),
        1 => Just(Content::Unknown { kind: "eclipse".into() }),
    ]
}

fn some_page() -> impl Strategy<Value = Page> {
    let progress = prop_oneof![Just(Progress::Scheduled), Just(Progress::InProgress), Just(Progress::Completed)];
    let one = (0..3_u8, some_time(), proptest::option::of(some_time()), progress).prop_map(
        |(id, from_ms, until_ms, progress)| Planned {
            id: format!("p{id}"),
            name: "Flux".into(),
            from_ms,
            until_ms,
            progress,
        },
    );
    proptest::collection::vec(one, 0..3).prop_map(|maintenances| Page { maintenances, incidents: Vec::new() })
}

fn some_input() -> impl Strategy<Value = Input> {
    use Means::{
        Accepted, Ended, Maintenance, Misconfigured, OwnLine, Poison, Quota, Suspended, Throttled, Transient,
        Unreachable,
    };
    let means = proptest::sample::select(vec![
        Accepted,
        Throttled,
        Maintenance,
        Suspended,
        Suspended,
        Quota,
        Ended,
        Misconfigured,
        Poison,
        Transient,
        OwnLine,
        Unreachable,
        Unreachable,
    ]);
    let answers =
        (means, any::<bool>(), proptest::option::of(some_span()), any::<bool>(), proptest::option::of(0_u32..5_000))
            .prop_map(|(means, by_rule, wait_ms, probe, per_minute)| {
                Input::Answer(Answer { means, by_rule, wait_ms, reason: "r".into(), probe, per_minute })
            });
    let actions = proptest::sample::select(vec!["suspend", "terminate", "doNothing", "deleteSession", "new"]);
    let statuses = proptest::sample::select(vec!["active", "suspended", "inactive", "terminated", "ready", "new"]);
    let sims =
        (proptest::option::of(statuses), proptest::option::of((some_time(), actions))).prop_map(|(status, expiry)| {
            Input::Sim { status: status.map(str::to_owned), expiry: expiry.map(|(at, action)| (at, action.to_owned())) }
        });
    prop_oneof![
        8 => answers,
        6 => (proptest::sample::select(IDS.to_vec()), some_time(), some_content())
            .prop_map(|(id, issued, content)| notice(id, issued.min(START + 9 * DAY), content)),
        3 => (some_page(), proptest::option::of(some_time())).prop_map(|(page, now_ms)| Input::Page { page, now_ms }),
        2 => sims,
        1 => proptest::option::of(some_span()).prop_map(hold),
        1 => Just(Input::Resume),
        1 => Just(Input::AcceptTerms { version: "v2".into() }),
        1 => some_time().prop_map(|now_ms| Input::ProviderTime { now_ms, error_ms: 600 }),
        1 => (0..3_u64).prop_map(|fingerprint| Input::Endpoint { fingerprint }),
        1 => Just(Input::TryNow),
    ]
}

fn some_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => some_input().prop_map(Op::Tell),
        4 => some_span().prop_map(|ms| Op::Run(ms.min(3 * HOUR))),
        4 => some_span().prop_map(Op::Pass),
        1 => (-259_200_000_i64..259_200_000).prop_map(Op::Set),
        1 => any::<bool>().prop_map(Op::Trust),
        2 => Just(Op::Restart),
        1 => (some_span(), some_time()).prop_map(|(off, shown)| Op::Reboot(off, shown)),
    ]
}

/// What is counted along the way.
#[derive(Debug, Clone)]
struct Watched {
    bench: Bench,
    /// Time that passed in truth.
    real: u64,
    /// Since when (real) it is suspended or without quota without a break, the probes by then, and what may hasten them.
    rarely: Option<(u64, u64)>,
    /// Probes that the operator asked for, and boots.
    hastened: u64,
}

impl Watched {
    fn new(holds: bool) -> Self {
        let on_terms_change = if holds { OnTermsChange::Hold } else { OnTermsChange::Continue };
        let mut bench = Bench::fresh(Settings { on_terms_change, ..settings() });
        bench.tell(answer(Means::Accepted));
        Self { bench, real: 0, rarely: None, hastened: 0 }
    }

    fn go(&mut self, op: &Op) {
        self.step(op);
        self.look();
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Tell(input) => {
                self.hastened += u64::from(*input == Input::TryNow);
                self.bench.tell(input.clone());
            }
            Op::Run(ms) => {
                let mut left = *ms;
                while left > 0 {
                    let wake = self.bench.machine.wake_in_ms(&self.bench.now).unwrap_or(left);
                    assert!(wake > 0, "asked to be woken at once");
                    let step = wake.clamp(1, left);
                    self.looks_the_same_until(step);
                    self.bench.pass(step);
                    self.bench.machine.kept();
                    self.real += step;
                    left -= step;
                    self.look();
                }
            }
            Op::Pass(ms) => {
                self.bench.pass(*ms);
                self.real += ms;
            }
            Op::Set(by) => self.bench.now.wall_ms = self.bench.now.wall_ms.saturating_add_signed(*by),
            Op::Trust(trusted) => self.bench.now.trusted = *trusted,
            Op::Restart => self.bench.restart(),
            Op::Reboot(off, shown) => {
                let now = self.bench.now;
                self.bench.now = Stamp { wall_ms: (*shown).min(1 << 50), uptime_ms: 20_000, boot: now.boot + 1, ..now };
                self.bench.restart();
                self.real += off + 20_000;
                self.hastened += 1;
            }
        }
    }

    /// Nothing changes before the machine asks to be woken.
    fn looks_the_same_until(&self, step: u64) {
        let mut then = self.bench.now;
        (then.wall_ms, then.uptime_ms) = (then.wall_ms + step - 1, then.uptime_ms + step - 1);
        let (now, later) = (self.bench.view(), self.bench.machine.view(&then));
        // The clock may come to be believed meanwhile, and then all dates move.
        let mut time = self.bench.machine.state.time;
        let before = {
            time.note(&self.bench.now);
            time.moment()
        };
        let after = {
            time.note(&then);
            time.moment()
        };
        if after.date.checked_sub(before.date) == Some(step - 1) {
            assert_eq!(now.leave, later.leave, "{now:#?} {later:#?}");
            assert_eq!(now.limits, later.limits, "{now:#?} {later:#?}");
            assert_eq!(now.grounds.len(), later.grounds.len(), "{now:#?} {later:#?}");
        }
    }

    fn look(&mut self) {
        let Self { bench, .. } = self;
        let view = bench.view();
        let bytes = bench.machine.encode();
        assert!(bytes.len() <= STATE_BYTES, "{} bytes", bytes.len());
        let restored = Machine::restore(&bytes, bench.machine.settings.clone());
        assert_eq!(restored.view(&bench.now), view, "after a restart");
        assert_eq!(restored.delivered(), bench.machine.delivered());
        let leave = view.grounds.iter().fold(Leave::ALL, |leave, ground| leave.and(ground.stance.leave()));
        assert_eq!(view.leave, leave);
        assert!(view.grounds.is_sorted_by_key(|ground| ground.stance));
        assert!(view.grounds.len() <= 70 && view.ahead.len() <= 70);
        assert!(view.probe_at_ms.is_none() || leave.probe && leave.telemetry == Telemetry::Nothing, "{view:#?}");
        assert!(
            view.limits.limits().is_empty() || view.grounds.iter().any(|ground| ground.stance == Stance::Restricted)
        );
        assert!(view.rest_until_ms.is_none_or(|rest| rest <= bench.now.uptime_ms + DAY), "{view:#?}");
        self.look_at_probes(&view);
    }

    fn look_at_probes(&mut self, view: &View) {
        let rarely = view.grounds.iter().any(|ground| matches!(ground.stance, Stance::Suspended | Stance::Quota));
        if !rarely {
            self.rarely = None;
            self.hastened = 0;
            return;
        }
        if self.rarely.is_some_and(|(_, before)| before > view.probe) {
            // It is another machine: its bytes were changed.
            self.rarely = None;
        }
        let (since, before) = *self.rarely.get_or_insert((self.real, view.probe));
        // One may be due when it begins: what makes it rare may have held before, behind something else.
        let most = (self.real - since) / HOUR + 1 + self.hastened;
        assert!(view.probe - before <= most, "{} probes in {} ms", view.probe - before, self.real - since);
    }
}

/// Everything that shuts is taken back, and the clock is right.
fn take_all_back(bench: &mut Bench) {
    bench.now.trusted = true;
    bench.now.wall_ms = START + 500 * DAY;
    for id in IDS {
        bench.tell(notice(id, START + 400 * DAY, Content::Withdrawn));
    }
    // A clock that was wrong has to stand for an hour, and a hold may last for a year.
    bench.run(2 * HOUR);
    bench.tell(Input::Page { page: Page::default(), now_ms: None });
    bench.tell(sim("active", None));
    bench.tell(Input::Resume);
    bench.tell(Input::AcceptTerms { version: "v2".into() });
    bench.tell(Input::Endpoint { fingerprint: 100 });
    bench.tell(Input::Endpoint { fingerprint: 101 });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn only_rare_probes_leave_while_suspended_nothing_when_ended_and_a_restart_changes_nothing(
        holds: bool, ops in proptest::collection::vec(some_op(), 1..25),
    ) {
        let mut watched = Watched::new(holds);
        for op in &ops {
            let before = watched.bench.view();
            watched.go(op);
            let after = watched.bench.view();
            let ended = |view: &View| view.grounds.iter().any(|ground| ground.stance == Stance::Ended);
            if ended(&after) {
                prop_assert_eq!((after.leave.telemetry, after.leave.probe), (Telemetry::Nothing, false));
                prop_assert!(!after.may_probe);
            }
            let one_step = !matches!(op, Op::Run(_));
            prop_assert!(!(one_step && ended(&before) && ended(&after)) || before.probe == after.probe);
            prop_assert!(!one_step || after.probe <= before.probe + 1);
        }
    }

    #[test]
    fn nothing_stays_shut_after_everything_that_shut_it_is_over(
        holds: bool, ops in proptest::collection::vec(some_op(), 1..25),
    ) {
        let mut watched = Watched::new(holds);
        for op in &ops {
            watched.go(op);
        }
        let mut bench = watched.bench;
        take_all_back(&mut bench);
        // The longest period that a notice may name, and the ramp.
        bench.run(DAY + HOUR);
        let view = bench.view();
        prop_assert!(view.grounds.is_empty(), "{:#?}", view.grounds);
        prop_assert_eq!(view.leave, Leave::ALL);
        prop_assert!(view.limits.limits().is_empty());
        prop_assert_eq!(view.rest_until_ms, None);
    }

    #[test]
    fn what_an_answer_asks_to_wait_is_over_after_so_long_whatever_comes_between(
        throttled: bool, wait in some_span(), boots in proptest::collection::vec((0..3 * HOUR, any::<bool>()), 0..6),
    ) {
        let mut bench = Bench::new();
        let (means, most) = if throttled { (Means::Throttled, HOUR) } else { (Means::Maintenance, DAY) };
        bench.tell(waiting(means, Some(wait)));
        let mut left = wait.min(most);
        for (boot, (uptime, restart)) in boots.iter().enumerate() {
            if *restart {
                bench.restart();
            } else {
                // A power cut, after which no clock is right: time goes on by uptime.
                bench.now = Stamp { wall_ms: 0, uptime_ms: 0, boot: boot as u32 + 2, trusted: false };
                bench.restart();
            }
            bench.pass(*uptime);
            left = left.saturating_sub(*uptime);
            let rest = bench.view().rest_until_ms.map(|rest| rest - bench.now.uptime_ms);
            prop_assert_eq!(rest, (left > 0).then_some(left));
        }
    }

    #[test]
    fn windows_end_by_themselves_whatever_the_clock_does(
        windows in proptest::collection::vec((0..3 * DAY, 0..DAY), 1..6), boots in proptest::collection::vec(0..5 * HOUR, 0..20),
    ) {
        let mut bench = Bench::new();
        for (index, (from, length)) in windows.iter().enumerate() {
            bench.tell(notice(&format!("w{index}"), START, works(START + from, START + from + length)));
        }
        // Power cuts, after which no clock is right for good.
        for (boot, uptime) in boots.iter().enumerate() {
            bench.now = Stamp { wall_ms: 0, uptime_ms: 0, boot: boot as u32 + 2, trusted: false };
            bench.restart();
            bench.run(*uptime);
        }
        // By uptime alone all of them are over after their whole length.
        bench.run(4 * DAY + HOUR);
        prop_assert_eq!(bench.view().grounds, Vec::new());
    }

    #[test]
    fn windows_of_a_page_that_was_read_without_a_clock_and_never_again_end_by_uptime(
        from in 0..3 * DAY, length in 1..DAY, dated: bool, under_way: bool, boots in proptest::collection::vec(0..5 * HOUR, 0..20),
    ) {
        let mut bench = Bench::fresh(settings());
        bench.now = Stamp { wall_ms: 0, uptime_ms: 0, boot: 1, trusted: false };
        let progress = if under_way { Progress::InProgress } else { Progress::Scheduled };
        bench.tell(planned_at(dated.then_some(START), START + from, START + from + length, progress));
        for (boot, uptime) in boots.iter().enumerate() {
            bench.now = Stamp { wall_ms: 0, uptime_ms: 0, boot: boot as u32 + 2, trusted: false };
            bench.restart();
            bench.run(*uptime);
        }
        // One that was to come, and no more, of a page that says no date has not begun and shuts nothing.
        bench.run(4 * DAY + 4 * HOUR);
        prop_assert_eq!(bench.view().grounds, Vec::new());
        prop_assert_eq!(bench.view().ahead.len(), usize::from(!dated && !under_way));
    }

    #[test]
    fn limits_are_the_least_of_all_that_hold_and_go_with_them(
        notices in proptest::collection::vec((0..12_u64, 1..12_u64, 1..100_u64), 1..8), at in 0..24_u64,
    ) {
        let mut bench = Bench::new();
        for (index, (from, hours, rate)) in notices.iter().enumerate() {
            let (from_ms, until_ms) = (START + from * HOUR, START + (from + hours) * HOUR);
            let limits = vec![Bound::RateUp(std::num::NonZeroU64::new(*rate).expect("not 0"))];
            let content = Content::Restriction { from_ms, until_ms: Some(until_ms), limits };
            bench.tell(notice(&format!("r{index}"), START, content));
        }
        bench.run(at * HOUR + 1);
        let holding = notices.iter().filter(|(from, hours, _)| (*from..from + hours).contains(&at));
        let least = holding.map(|(.., rate)| *rate).min();
        let view = bench.view();
        prop_assert_eq!(view.limits.limits().first().and_then(|limit| limit.bound.number()), least);
    }

    #[test]
    fn no_bytes_make_it_fail(bytes in proptest::collection::vec(any::<u8>(), 0..300), input in some_input()) {
        let mut bench = Bench::new();
        bench.machine = Machine::restore(&bytes, settings());
        bench.tell(input);
        prop_assert!(bench.machine.encode().len() <= STATE_BYTES);
    }

    #[test]
    fn a_changed_byte_makes_another_machine_or_a_cautious_one_and_never_a_panic(
        ops in proptest::collection::vec(some_op(), 1..20), at: prop::sample::Index, to: u8, more in some_op(),
    ) {
        let mut watched = Watched::new(true);
        for op in &ops {
            watched.go(op);
        }
        let mut bytes = watched.bench.machine.encode();
        let at = at.index(bytes.len());
        bytes[at] = to;
        watched.bench.machine = Machine::restore(&bytes, settings());
        // The byte may be one of the probes' number.
        watched.rarely = None;
        watched.go(&Op::Pass(HOUR));
        if let Op::Tell(input) = more {
            watched.bench.tell(input);
        }
        watched.bench.view();
        watched.bench.machine.wake_in_ms(&watched.bench.now);
        prop_assert!(watched.bench.machine.encode().len() <= STATE_BYTES);
    }
}
