//! In which order records go after an outage, and that neither a kill nor a change of order loses or repeats any.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::device::{Device, Running};
use tidegate_tests::flux::{Answer, Flux, Log, Received};
use tidegate_tests::mqtt::Version;
use tidegate_tests::rng::Rng;
use tidegate_tests::wait;

const BOUND: Duration = Duration::from_secs(120);

/// Records in a batch.
const BATCH: usize = 50;

/// An agent that sends in this order, to a Flux that takes 40 ms for each request: the line is what is scarce.
fn agent(flux: &Flux, order: &str) -> Agent {
    flux.answer_all(Answer::Accept.after(Duration::from_millis(40)));
    let mut setup = Setup::webhook(flux);
    setup.set("forward", "order", &format!("\"{order}\""));
    setup.set("forward.flux.batch", "max_records", &BATCH.to_string());
    setup.start()
}

fn publish(agent: &Agent, name: &str, count: usize) -> Running {
    let payloads = (0..count).map(|n| format!(r#"{{"n":{n}}}"#));
    Device { window: 100, ..Device::new(name, Version::V5) }.start(agent.address(), payloads)
}

/// Leaves `count` records of the device `old` waiting behind an outage that the forwarder has noticed.
fn outage(agent: &Agent, count: usize) {
    publish(agent, "old", count).join();
    agent.wait_for_verdict("transient");
    // A connection that is refused is tried again within half a second; three are an outage.
    wait::until("some attempts have failed", BOUND, || agent.log().contains("Flux does not accept"));
}

/// Whether a request carries records of this device.
fn is_of(request: &Received, device: &str) -> bool {
    request.events.iter().any(|event| event.device == device)
}

/// Fails unless each record was accepted exactly once.
fn assert_once(log: &Log, count: usize) {
    log.assert_faultless();
    let accepted = log.requests.iter().filter(|request| request.accepted).flat_map(|request| &request.events);
    let mut times: HashMap<_, usize> = HashMap::new();
    accepted.for_each(|event| *times.entry(event.id()).or_default() += 1);
    assert_eq!(times.len(), count);
    let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "accepted more than once: {twice:?}");
}

#[test]
fn after_an_outage_fresh_records_go_first_and_the_backlog_has_its_share_until_it_is_gone() {
    const OLD: usize = 4000;
    const FRESH: usize = 4000;
    let flux = Flux::start_stopped();
    let agent = agent(&flux, "live-first");
    outage(&agent, OLD);
    flux.resume();
    flux.wait_for(BATCH, BOUND);
    publish(&agent, "fresh", FRESH).join();
    let first = flux.requests();
    flux.wait_for(OLD + FRESH, BOUND);
    flux.look(|log| {
        assert_once(log, OLD + FRESH);
        let last = log.requests.iter().rposition(|request| is_of(request, "fresh")).expect("they arrived");
        assert!(
            log.requests[last..].iter().filter(|request| is_of(request, "old")).count() > 5,
            "the backlog was first"
        );
        // From when all fresh ones were stored, both had always something to send.
        let contested = &log.requests[first..last];
        assert!(contested.len() > 20, "only {} requests", contested.len());
        let bytes =
            |device: &str| contested.iter().filter(|one| is_of(one, device)).map(|one| one.length).sum::<usize>();
        let share = bytes("old") as f64 / (bytes("old") + bytes("fresh")) as f64;
        // With some slack for a machine so busy that a stream's next batch is not always ready in time.
        assert!((0.13..0.3).contains(&share), "the backlog had {share:.3} of the bytes, and should have 0.2");
    });
    for device in ["old", "fresh"] {
        let wanted: Vec<String> = (0..OLD).map(|n| format!(r#"{{"n":{n}}}"#)).collect();
        assert_eq!(flux.payloads_of(device), wanted, "each in its order");
    }
    wait::until("the store knows that nothing waits", BOUND, || agent.waiting() == 0);
}

#[test]
fn in_the_middle_of_a_drain_the_order_is_changed_by_a_reload_and_a_restart_with_nothing_lost_or_repeated() {
    let flux = Flux::start_stopped();
    let mut agent = agent(&flux, "oldest-first");
    outage(&agent, 2500);
    flux.resume();
    let mut total = 2500;
    for (round, order) in ["live-first", "oldest-first", "live-first", "oldest-first"].into_iter().enumerate() {
        let before = flux.delivered();
        agent.setup.set("forward", "order", &format!("\"{order}\""));
        if round % 2 == 0 {
            agent.reload();
        } else {
            // Told to stop, it still takes the answer under way: so nothing at all is repeated.
            assert!(agent.terminate().success());
            agent.start();
        }
        publish(&agent, &format!("fresh-{round}"), 100).join();
        total += 100;
        flux.wait_for(before + 200, BOUND);
    }
    flux.wait_for(total, BOUND);
    flux.look(|log| assert_once(log, total));
    wait::until("the store knows that nothing waits", BOUND, || agent.waiting() == 0);
}

#[test]
fn killed_in_the_middle_of_a_live_first_drain_it_repeats_what_was_in_flight_marked_and_loses_nothing() {
    const OLD: usize = 4000;
    const KILLS: usize = 8;
    let mut rng = Rng::seeded("killed_in_the_middle_of_a_live_first_drain");
    let flux = Flux::start_stopped();
    let mut agent = agent(&flux, "live-first");
    outage(&agent, OLD);
    flux.resume();
    let running = Device { pause: Duration::from_millis(2), ..Device::new("steady", Version::V5) };
    let running = running.start_counting(agent.address());
    for _ in 0..KILLS {
        let (delivered, acknowledged) = (flux.delivered(), running.acknowledged());
        wait::until("both go on", BOUND, || {
            flux.delivered() > delivered + 100 && running.acknowledged() > acknowledged
        });
        // The moment is what is random; nothing is waited for here.
        std::thread::sleep(Duration::from_micros(rng.between(0, 60_000)));
        agent.kill();
        agent.start();
    }
    // In this order what waits at a start is backlog, which fresh records overtake: all of it arrives, not in order.
    let outcome = running.finish();
    wait::until("all that was acknowledged arrives", BOUND, || {
        let came: HashSet<String> = flux.payloads_of("steady").into_iter().collect();
        outcome.acknowledged.iter().all(|payload| came.contains(payload))
    });
    wait::until("nothing waits", BOUND, || agent.waiting() == 0);
    let wanted: HashSet<String> = (0..OLD).map(|n| format!(r#"{{"n":{n}}}"#)).collect();
    assert_eq!(flux.payloads_of("old").into_iter().collect::<HashSet<_>>(), wanted);
    flux.look(|log| {
        log.assert_faultless();
        let (mut seen, mut repeats) = (HashSet::new(), 0);
        for event in log.requests.iter().flat_map(|request| &request.events) {
            if !seen.insert(event.id()) {
                repeats += 1;
                assert!(event.replayed, "a repeat that does not say so: {event:?}");
            }
        }
        println!("{repeats} of {} records came twice in {KILLS} kills", seen.len());
        // The batch in flight, and those whose acknowledgement was not on flash: it takes a commit or two.
        let bound = KILLS * 4 * BATCH;
        assert!(repeats <= bound, "{repeats} repeats are more than what was in flight, {bound} at most");
    });
}
