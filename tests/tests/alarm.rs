//! The local alarm: a real command, real subscribers on the listener and on a broker.
#![forbid(unsafe_code)]

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::flux::{Answer, Flux};
use tidegate_tests::mqtt::packet::Connect;
use tidegate_tests::mqtt::{Client, Version};
use tidegate_tests::tools::{self, Mosquitto};
use tidegate_tests::wait::{self, BOUND};

/// A `mosquitto_sub` and what it has printed.
struct Subscriber {
    child: Child,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Subscriber {
    fn start(address: SocketAddr, topic: &str) -> Self {
        // It would keep its lines for itself until there are many.
        let mut child = Command::new(tools::find("stdbuf", "coreutils"))
            .arg("-oL")
            .arg(tools::find("mosquitto_sub", "mosquitto-clients"))
            .args(["-h", "127.0.0.1", "-p", &address.port().to_string(), "-t", topic, "-d"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto_sub starts");
        let (heard, output) = (Arc::new(Mutex::new(Vec::new())), child.stdout.take().expect("its output"));
        let lines = Arc::clone(&heard);
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                lines.lock().expect("no holder panics").push(line);
            }
        });
        let subscriber = Self { child, heard };
        subscriber.wait_for("Subscribed (mid");
        subscriber
    }

    fn count(&self, part: &str) -> usize {
        self.heard.lock().expect("no holder panics").iter().filter(|line| line.contains(part)).count()
    }

    #[track_caller]
    fn wait_for(&self, part: &str) {
        wait::until(&format!("mosquitto_sub prints {part}"), BOUND, || self.count(part) > 0);
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command that writes down with what it was called.
fn horn(folder: &Path, more: &str) -> (PathBuf, PathBuf) {
    let (horn, log) = (folder.join("horn"), folder.join("horn.log"));
    let text = format!(
        "#!/bin/sh\necho \"begin $TIDEGATE_STATE\" >> {log}\n\
         {{ echo \"$@\"; env; }} >> {log}\n{more}\necho \"end $TIDEGATE_STATE\" >> {log}\n",
        log = log.display()
    );
    std::fs::write(&horn, text).expect("a script in the temporary folder");
    std::fs::set_permissions(&horn, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    (horn, log)
}

fn read(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap_or_default()
}

fn alarmed(flux: &Flux, more: &str) -> (Setup, PathBuf) {
    let mut setup = Setup::webhook(flux);
    let (horn, log) = horn(setup.folder(), more);
    setup.set("alarm", "after", "\"2s\"").set("alarm", "repeat", "\"3s\"");
    setup.set("alarm", "command", &format!("[\"{}\", \"--on\"]", horn.display()));
    (setup, log)
}

#[track_caller]
fn publish(agent: &Agent, payload: &str) {
    let (mut client, _) = Client::connect(agent.address(), &Connect::new(Version::V311, "pump"));
    client.publish_acknowledged("devices/pump/telemetry", payload.as_bytes(), 1);
}

#[test]
fn when_nothing_is_delivered_it_sounds_on_the_listener_and_by_the_command_and_once_more_when_it_is_over() {
    let flux = Flux::start();
    let (setup, log) = alarmed(&flux, "");
    let agent = setup.start();
    let near = Subscriber::start(agent.address(), "tidegate/alarm");
    publish(&agent, "1");
    flux.wait_for(1, BOUND);
    // Nothing waits: nothing to deliver is no failure, though the two seconds of `after` go by.
    let sounds = || near.count("delivery") > 0 || !read(&log).is_empty();
    wait::never("an alarm", Duration::from_secs(3), sounds);
    flux.answer_all(Answer::status(503));
    publish(&agent, "2");
    near.wait_for(r#""state":"raised""#);
    wait::until("the command was run", BOUND, || read(&log).contains("end raised"));
    let said = read(&log);
    for part in [
        "--on",
        "TIDEGATE_GATEWAY=gw-test",
        "TIDEGATE_WAITING=1",
        "TIDEGATE_QUIET_SECONDS=2",
        "TIDEGATE_REASON=",
        "503",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("RUST_BACKTRACE") && !said.contains("HOME="), "a clean environment: {said}");
    let status = agent.status();
    assert_eq!(status["outage"]["alarm"], true, "{:#}", status["outage"]);
    let shown = String::from_utf8(agent.command(&["status"]).stdout).expect("text");
    assert!(shown.contains("ALARM"), "{shown}");
    near.wait_for(r#""state":"repeated""#);
    // Who comes while it lasts hears it at once.
    Subscriber::start(agent.address(), "tidegate/alarm").wait_for("delivery");
    flux.answer_all(Answer::status(200));
    near.wait_for(r#""state":"recovered""#);
    wait::until("the command was run once more", BOUND, || read(&log).contains("end recovered"));
    assert_eq!(near.count(r#""state":"raised""#), 1);
    assert_eq!(agent.status()["outage"]["alarm"], false);
    flux.wait_for(2, BOUND);
}

#[test]
fn an_alarm_in_force_outlives_a_kill_and_its_end_is_told_after_it() {
    let flux = Flux::start();
    let (setup, log) = alarmed(&flux, "");
    let mut agent = setup.start();
    flux.answer_all(Answer::status(503));
    publish(&agent, "1");
    wait::until("the alarm sounds", BOUND, || read(&log).contains("end raised"));
    wait::until("it is in the ledger", BOUND, || {
        read(&agent.setup.folder().join("store/outages/ledger")).contains(r#""what":"alarm","raised":true"#)
    });
    agent.kill();
    flux.answer_all(Answer::status(200));
    agent.start();
    wait::until("its end is told", BOUND, || read(&log).contains("end recovered"));
    flux.wait_for(1, BOUND);
}

#[test]
fn a_storm_of_restarts_sounds_the_command_no_more_often_than_it_may_be_repeated() {
    let flux = Flux::start();
    let (mut setup, log) = alarmed(&flux, "");
    setup.set("alarm", "repeat", "\"5m\"");
    let mut agent = setup.start();
    flux.answer_all(Answer::status(503));
    publish(&agent, "1");
    wait::until("the alarm sounds", BOUND, || read(&log).contains("end raised"));
    let ledger = agent.setup.folder().join("store/outages/ledger");
    wait::until("it is in the ledger", BOUND, || read(&ledger).contains(r#""what":"alarm","raised":true"#));
    for _ in 0..3 {
        agent.kill();
        agent.start();
        let listener = Subscriber::start(agent.address(), "tidegate/alarm");
        listener.wait_for(r#""state":"repeated""#);
    }
    assert_eq!(read(&log).matches("begin").count(), 1, "{}", read(&log));
    flux.answer_all(Answer::status(200));
    wait::until("its end is told", BOUND, || read(&log).contains("end recovered"));
}

#[test]
fn the_time_counts_on_over_a_restart() {
    let flux = Flux::start();
    let (mut setup, log) = alarmed(&flux, "");
    setup.set("alarm", "after", "\"6s\"");
    let mut agent = setup.start();
    flux.answer_all(Answer::status(503));
    publish(&agent, "1");
    let ledger = agent.setup.folder().join("store/outages/ledger");
    wait::until("the outage is in the ledger", BOUND, || read(&ledger).contains(r#""what":"begun""#));
    // Time itself is the condition: four of the six seconds go by before the restart, and count after it.
    std::thread::sleep(Duration::from_secs(4));
    agent.kill();
    agent.start();
    let started = std::time::Instant::now();
    wait::until("the alarm sounds", BOUND, || read(&log).contains("begin raised"));
    assert!(started.elapsed() < Duration::from_secs(5), "it began to count anew: {:?}", started.elapsed());
}

#[test]
fn a_command_that_hangs_is_killed_with_its_children_and_never_runs_beside_itself() {
    let flux = Flux::start();
    let (mut setup, log) = alarmed(&flux, "sleep 100 & echo child $! >> $0.log; wait; sleep 100");
    setup.set("alarm", "repeat", "\"1s\"").set("alarm", "command_timeout", "\"2s\"");
    let agent = setup.start();
    flux.answer_all(Answer::status(503));
    publish(&agent, "1");
    let child = wait::for_value("its child runs", BOUND, || {
        read(&log).lines().find_map(|line| line.strip_prefix("child ").map(str::to_owned))
    });
    agent.wait_for_log("did not end in time and was killed", BOUND);
    wait::until("its child is gone", BOUND, || {
        let stat = read(&Path::new("/proc").join(&child).join("stat"));
        stat.is_empty() || stat.contains(") Z ") || !stat.contains("(sleep)")
    });
    wait::until("it runs again", BOUND, || read(&log).matches("begin").count() >= 2);
    let (begun, killed) = (read(&log).matches("begin").count(), agent.log().matches("did not end in time").count());
    assert!(begun <= killed + 1, "{begun} were begun and {killed} ended");
    publish(&agent, "2"); // and nothing of it holds the intake up
}

#[test]
fn with_a_broker_it_is_published_there_and_not_stored_again() {
    let (flux, broker) = (Flux::start(), Mosquitto::start(""));
    let (mut setup, _log) = alarmed(&flux, "");
    setup.without("collect.listener");
    let address = broker.address();
    setup.set("collect.broker", "url", &format!("\"mqtt://127.0.0.1:{}\"", address.port()));
    setup.set("collect.broker", "topics", "[\"devices/#\", \"plant/#\"]").set("collect", "default_lane", "\"normal\"");
    setup.set("alarm", "topic", "\"plant/gateway/alarm\"");
    let agent = setup.start();
    wait::until("it is connected", BOUND, || agent.status()["broker"]["connected"] == true);
    let near = Subscriber::start(address, "plant/gateway/alarm");
    flux.answer_all(Answer::status(503));
    let sent = tools::mosquitto_pub(address).args(["-q", "1", "-t", "devices/pump/telemetry", "-m", "1"]).status();
    assert!(sent.is_ok_and(|status| status.success()));
    near.wait_for(r#""state":"raised""#);
    flux.answer_all(Answer::status(200));
    near.wait_for(r#""state":"recovered""#);
    flux.wait_for(1, BOUND);
    assert_eq!(agent.number("/counts/stored"), 1, "its own alarms are no telemetry");
}
