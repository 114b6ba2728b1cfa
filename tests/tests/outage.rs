//! Flux is away or in trouble for as long as it likes: everything waits, and arrives.
#![forbid(unsafe_code)]

use std::time::Duration;

use tidegate_tests::agent::Setup;
use tidegate_tests::device::Device;
use tidegate_tests::flux::Flux;
use tidegate_tests::mqtt::Version;
use tidegate_tests::{readings, wait};

const BOUND: Duration = Duration::from_secs(120);

#[test]
fn with_flux_down_for_the_whole_load_all_arrives_and_nothing_below_the_limit_is_evicted() {
    let flux = Flux::start_stopped();
    let agent = Setup::webhook(&flux).start();
    let names = ["a", "b", "c", "d"];
    let running: Vec<_> = names
        .iter()
        .map(|name| {
            let payloads = (0..2500).map(|n| format!(r#"{{"n":{n}}}"#));
            Device { window: 100, ..Device::new(name, Version::V5) }.start(agent.address(), payloads)
        })
        .collect();
    let outcomes: Vec<_> = running.into_iter().map(tidegate_tests::device::Running::join).collect();
    assert_eq!(flux.requests(), 0);
    assert_eq!(agent.waiting(), 10_000);
    flux.resume();
    flux.wait_for(10_000, BOUND);
    for (name, outcome) in names.iter().zip(&outcomes) {
        assert_eq!(outcome.acknowledged.len(), 2500);
        assert_eq!(flux.payloads_of(name), outcome.acknowledged);
    }
    flux.assert_sound();
    wait::until("the store knows that nothing waits", wait::BOUND, || agent.waiting() == 0);
    assert_eq!(agent.evicted(), 0);
}

#[test]
fn an_outage_in_the_middle_of_the_load_loses_and_repeats_nothing_under_another_id() {
    let flux = Flux::start();
    let agent = Setup::webhook(&flux).start();
    let device = Device { pause: Duration::from_millis(1), ..Device::new("steady", Version::V311) };
    let running = device.start_counting(agent.address());
    for _ in 0..3 {
        let delivered = flux.delivered();
        wait::until("records are delivered", BOUND, || flux.delivered() > delivered + 50);
        flux.stop();
        let acknowledged = running.acknowledged();
        wait::until("collecting goes on", BOUND, || running.acknowledged() > acknowledged + 200);
        flux.resume();
    }
    let outcome = running.finish();
    outcome.assert_delivered(&flux, "steady", true, BOUND);
    assert_eq!(outcome.connects, 1, "an outage of Flux is nothing to a device");
    flux.assert_sound();
}

#[test]
fn beyond_its_limit_the_store_evicts_the_oldest_of_the_lowest_lane_and_counts_every_record() {
    const COUNT: usize = 20_000;
    let flux = Flux::start_stopped();
    let mut setup = Setup::webhook(&flux);
    setup.set("store", "max_size", "\"2MiB\"");
    setup.rule("topic = \"devices/{device}/alarm\"\nlane = \"critical\"");
    let agent = setup.start();
    let mut alarm = tidegate_tests::mqtt::Client::connect(
        agent.address(),
        &tidegate_tests::mqtt::packet::Connect::new(Version::V5, "alarm"),
    )
    .0;
    for id in 1..=20 {
        alarm.publish_acknowledged("devices/alarm/alarm", format!("{id}").as_bytes(), id);
    }
    let padding = "x".repeat(200);
    let payloads = (0..COUNT).map(move |n| format!(r#"{{"n":{n},"padding":"{padding}"}}"#));
    let outcome = Device { window: 100, ..Device::new("bulky", Version::V5) }.start(agent.address(), payloads).join();
    assert_eq!(outcome.acknowledged.len(), COUNT);
    let evicted = agent.evicted() as usize;
    assert!(evicted > 0, "4 MB went into 2 MiB and nothing was evicted");
    flux.resume();
    flux.wait_for(COUNT - evicted + 20, BOUND);
    wait::until("nothing waits", wait::BOUND, || agent.waiting() == 0);
    assert_eq!(agent.evicted() as usize, evicted, "evicted while draining");
    assert_eq!(flux.payloads_of("alarm").len(), 20, "critical gave way to normal");
    let number = |payload: &String| {
        let digits = payload.trim_start_matches(|c: char| !c.is_ascii_digit());
        digits.split(',').next().and_then(|text| text.parse::<usize>().ok()).expect("a number in the payload")
    };
    let arrived: Vec<usize> = flux.payloads_of("bulky").iter().map(number).collect();
    let kept: Vec<usize> = (evicted..COUNT).collect();
    assert!(arrived.ends_with(&kept), "what was not evicted, the newest {}, is not what arrived last", kept.len());
    // The forwarder held a batch or two that it kept trying to send, and sent though the store had evicted them.
    let more = arrived.len() - kept.len();
    assert!(more <= 1000 && arrived[..more].iter().all(|n| *n < evicted), "{more} evicted records arrived");
    flux.assert_sound();
}

#[test]
fn the_sample_readings_come_out_equal_value_for_value_in_sequence() {
    let flux = Flux::start();
    let agent = Setup::webhook(&flux).start();
    let series = readings::all();
    let running: Vec<_> = series
        .iter()
        .enumerate()
        .map(|(number, series)| {
            let version = Version::BOTH[number % 2];
            let device = Device { window: 100, ..Device::new(series.device, version) };
            device.start(agent.address(), series.payloads.clone().into_iter())
        })
        .collect();
    for running in running {
        let outcome = running.join();
        assert_eq!(outcome.resent, 0);
    }
    let total = series.iter().map(|series| series.payloads.len()).sum();
    flux.wait_for(total, BOUND);
    for series in &series {
        let arrived = flux.payloads_of(series.device);
        let differs = arrived.iter().zip(&series.payloads).find(|(came, went)| came != went);
        assert_eq!(differs, None, "{}: (came, went)", series.device);
        assert_eq!(arrived.len(), series.payloads.len(), "{}", series.device);
    }
    assert_eq!(flux.delivered(), total);
    flux.assert_sound();
}
