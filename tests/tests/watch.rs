//! `tidegate status --watch` on a pseudo-terminal.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal};
use tidegate_tests::agent::{Agent, Setup, binary};
use tidegate_tests::device::Device;
use tidegate_tests::flux::Flux;
use tidegate_tests::mqtt::Version;
use tidegate_tests::terminal::Terminal;
use tidegate_tests::wait::{self, BOUND};

/// The command, in an environment that is not this test's.
fn watch(language: &str, socket: &Path) -> Command {
    let mut command = Command::new(binary());
    command.args(["--lang", language, "status", "--watch", "--socket"]).arg(socket);
    command.env_clear().env("LC_ALL", "C.UTF-8").env("TERM", "xterm").env("PATH", "/usr/bin:/bin");
    command
}

/// An agent that runs, and its control socket.
fn running(flux: &Flux) -> (Agent, PathBuf) {
    let setup = Setup::webhook(flux);
    let socket = setup.folder().join("control.sock");
    (setup.start(), socket)
}

#[test]
fn the_screen_lives_through_the_agents_end_and_gives_the_terminal_back() {
    let flux = Flux::start();
    let (mut agent, socket) = running(&flux);
    let mut screen = Terminal::start(24, 80, &watch("en", &socket));
    screen.wait_for("all lanes are sent");
    let payloads = (0..3).map(|n| format!("{{\"n\":{n}}}"));
    assert_eq!(Device::new("pump-7", Version::V5).start(agent.address(), payloads).join().acknowledged.len(), 3);
    screen.wait_for("1 heard, 0 silent");
    screen.wait_for("pump-7");
    agent.kill();
    screen.wait_for("no answer since");
    screen.wait_for("pump-7");
    agent.start();
    screen.wait_for_end_of("no answer since");
    screen.press("q");
    assert!(screen.wait_for_end().success());
    screen.assert_given_back();
}

#[test]
fn a_small_terminal_in_japanese_is_never_written_beyond_and_ctrl_c_ends_it() {
    let flux = Flux::start();
    let (_agent, socket) = running(&flux);
    let mut screen = Terminal::start(12, 40, &watch("ja", &socket));
    screen.wait_for("待機");
    screen.press("\u{3}");
    assert!(screen.wait_for_end().success());
    screen.assert_given_back();
}

#[test]
fn without_a_terminal_or_on_one_that_cannot_draw_it_says_so_and_writes_nothing_else() {
    let output = watch("en", Path::new("/nowhere")).output().expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("this is none"));
    assert!(output.stdout.is_empty());
    for dumb in [Some("dumb"), Some(""), None] {
        let mut command = watch("en", Path::new("/nowhere"));
        match dumb {
            Some(name) => command.env("TERM", name),
            None => command.env_remove("TERM"),
        };
        let mut screen = Terminal::start(24, 80, &command);
        assert_eq!(screen.wait_for_end().code(), Some(1));
        screen.wait_for("tidegate status");
        let written = screen.written();
        assert!(!written.contains('\x1b') && written.contains("TERM"), "{written:?}");
        screen.assert_given_back();
    }
}

#[test]
fn every_signal_and_key_that_ends_it_gives_the_terminal_back() {
    let flux = Flux::start();
    let (_agent, socket) = running(&flux);
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        let mut screen = Terminal::start(24, 80, &watch("en", &socket));
        screen.wait_for("all lanes are sent");
        screen.signal(signal);
        assert!(screen.wait_for_end().success(), "{signal:?}");
        screen.assert_given_back();
    }
    for key in ["q", "Q", "\u{3}", "\u{4}", "\u{1c}"] {
        let mut screen = Terminal::start(24, 80, &watch("en", &socket));
        screen.wait_for("all lanes are sent");
        // What means nothing ends nothing.
        screen.press("x\u{1b}[A");
        screen.press(key);
        assert!(screen.wait_for_end().success(), "{key:?}");
        screen.assert_given_back();
    }
}

#[test]
fn a_terminal_that_vanishes_ends_it() {
    let flux = Flux::start();
    let (_agent, socket) = running(&flux);
    let mut screen = Terminal::start(24, 80, &watch("en", &socket));
    screen.wait_for("all lanes are sent");
    screen.vanish();
    screen.wait_for_end();
}

/// The letter of a process's state (`proc_pid_stat(5)`).
fn state(pid: Pid) -> Option<char> {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    text.rsplit_once(") ")?.1.chars().next()
}

/// A shell with job control that runs it, says when it was stopped, waits for a line, and continues it.
fn in_a_shell(socket: &Path) -> Command {
    let watch = watch("en", socket);
    let words: Vec<_> = watch.get_args().map(|word| word.to_string_lossy()).collect();
    let mut shell = Command::new("/bin/bash");
    let job = format!("{} {}", binary().display(), words.join(" "));
    let script = format!("set -m; {job}; echo \"came back $?\"; while read -r line; do fg %1; echo \"again $?\"; done");
    shell.args(["--norc", "-c", &script]).env_clear();
    for (name, value) in watch.get_envs() {
        shell.env(name, value.expect("set"));
    }
    shell
}

#[test]
fn it_can_be_stopped_and_continued_by_signal_and_key_and_draws_all_of_it_anew() {
    let flux = Flux::start();
    let (_agent, socket) = running(&flux);
    let screen = Terminal::start(24, 80, &in_a_shell(&socket));
    screen.wait_for("all lanes are sent");
    let job = screen.foreground();
    for by_key in [false, true, true, false] {
        if by_key {
            screen.press("\u{1a}");
        } else {
            rustix::process::kill_process(job, Signal::TSTP).expect("it runs");
        }
        wait::until("it has stopped", BOUND, || state(job) == Some('T'));
        screen.assert_given_back();
        // By now the shell waits for a line, and what it wrote stands where its lines stand.
        wait::until("the shell is in front", BOUND, || screen.foreground() != job);
        screen.wait_for("came back 1");
        screen.press("\n");
        screen.wait_for("all lanes are sent");
        screen.wait_for("q: end");
        assert!(!screen.is_given_back() && screen.foreground() == job);
    }
    screen.press("q");
    screen.wait_for("again 0");
    screen.assert_given_back();
}

#[test]
fn stopped_by_force_and_continued_it_takes_the_terminal_again() {
    let flux = Flux::start();
    let (_agent, socket) = running(&flux);
    let mut screen = Terminal::start(24, 80, &watch("en", &socket));
    screen.wait_for("all lanes are sent");
    let job = screen.foreground();
    screen.signal(Signal::STOP);
    wait::until("it has stopped", BOUND, || state(job) == Some('T'));
    let before = screen.written().len();
    screen.signal(Signal::CONT);
    wait::until("it is drawn anew", BOUND, || {
        let written = screen.written();
        written[before..].split_once("\x1b[2J").is_some_and(|(_, after)| after.contains("all lanes are sent"))
    });
    screen.press("q");
    assert!(screen.wait_for_end().success());
    screen.assert_given_back();
}

/// Ctrl-Z does nothing to this command: it goes on asking until a key ends it.
fn assert_goes_on_after_ctrl_z(command: &Command, agent: &mut Agent) {
    let mut screen = Terminal::start(24, 80, command);
    screen.wait_for("all lanes are sent");
    screen.press("\u{1a}");
    agent.kill();
    screen.wait_for("no answer since");
    assert!(!screen.is_given_back());
    screen.press("q");
    assert!(screen.wait_for_end().success());
    screen.assert_given_back();
}

#[test]
fn where_nobody_could_continue_it_ctrl_z_does_nothing() {
    let flux = Flux::start();
    let (mut agent, socket) = running(&flux);
    assert_goes_on_after_ctrl_z(&watch("en", &socket), &mut agent);
}

/// A container's first process: its session, its group and its parent are none that it could name.
#[test]
fn where_the_session_is_outside_the_namespace_ctrl_z_does_nothing_and_the_screen_goes_on() {
    let flux = Flux::start();
    let (mut agent, socket) = running(&flux);
    let watch = watch("en", &socket);
    let mut contained = Command::new("/usr/bin/unshare");
    contained.args(["--pid", "--fork", "--mount-proc", "--kill-child"]).arg(watch.get_program()).args(watch.get_args());
    contained.env_clear().envs(watch.get_envs().filter_map(|(name, value)| Some((name, value?))));
    assert_goes_on_after_ctrl_z(&contained, &mut agent);
}

#[test]
fn a_new_size_is_drawn_in_full_down_to_one_cell() {
    let flux = Flux::start();
    let (_agent, socket) = running(&flux);
    let mut screen = Terminal::start(24, 80, &watch("en", &socket));
    screen.wait_for("all lanes are sent");
    for (rows, columns, text) in [(5, 20, "q: end"), (1, 1, "…"), (40, 12, "q: end"), (60, 200, "all lanes are sent")]
    {
        screen.resize(rows, columns);
        screen.wait_for(text);
        screen.wait_for_end_of("left from before");
        screen.assert_drawn_well();
    }
    screen.press("q");
    assert!(screen.wait_for_end().success());
    screen.assert_given_back();
}

#[test]
fn who_is_not_there_is_said_in_full_with_its_code_and_the_next_step_until_it_comes() {
    let flux = Flux::start();
    let setup = Setup::webhook(&flux);
    let socket = setup.folder().join("a-folder-with-a-long-name/so-that-the-line-does-not-fit/control.sock");
    std::fs::create_dir_all(socket.parent().expect("a folder")).expect("a folder");
    for (language, narrow, next) in [("en", 60, "tidegate explain TG-601"), ("ja", 40, "tidegate explain TG-601")] {
        let mut screen = Terminal::start(24, narrow, &watch(language, &socket));
        screen.wait_for(next);
        let all: String = screen.shown().iter().map(|line| line.trim()).collect();
        assert!(all.contains("TG-601") && all.replace(' ', "").contains("control.sock"), "{all}");
        screen.press("q");
        assert!(screen.wait_for_end().success());
        screen.assert_given_back();
    }
}

#[test]
fn in_a_locale_without_other_characters_there_are_none() {
    let flux = Flux::start();
    let (agent, socket) = running(&flux);
    let payloads = ["{\"n\":1}".to_owned()];
    Device::new("温度計", Version::V5).start(agent.address(), payloads.into_iter()).join();
    let mut command = watch("en", &socket);
    command.env("LC_ALL", "C");
    let mut screen = Terminal::start(24, 80, &command);
    screen.wait_for("1 heard, 0 silent");
    screen.wait_for("???");
    screen.resize(10, 30);
    screen.wait_for("q: end");
    screen.press("q");
    assert!(screen.wait_for_end().success());
    screen.assert_given_back();
    assert!(screen.written().is_ascii(), "{:?}", screen.written());
}
