//! `tidegate status --watch` on a pseudo-terminal.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_tests::agent::{Setup, binary};
use tidegate_tests::device::Device;
use tidegate_tests::flux::Flux;
use tidegate_tests::mqtt::Version;
use tidegate_tests::wait;

const BOUND: Duration = Duration::from_secs(60);

/// The command on a terminal that script(1) makes, and what it has written.
struct Screen {
    script: Child,
    written: Arc<Mutex<String>>,
}

impl Screen {
    fn start(rows: usize, columns: usize, arguments: &str) -> Self {
        // What stty says afterwards tells whether the terminal was given back.
        let command = format!(
            "stty rows {rows} cols {columns}; {} {arguments}; echo \"ended $?\"; stty -a | tr ' ' '\\n' | grep -x -e '-*icanon;*' -e '-*echo;*' -e '-*isig;*'",
            binary().display()
        );
        let mut script = Command::new("script");
        script.args(["-q", "-f", "-c", &command, "/dev/null"]).env("LC_ALL", "C.UTF-8").env("SHELL", "/bin/sh");
        let mut script =
            script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script(1), of Debian's bsdutils");
        let mut output = script.stdout.take().expect("its output");
        let written = Arc::new(Mutex::new(String::new()));
        let of_thread = Arc::clone(&written);
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let mut part = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut part) {
                bytes.extend_from_slice(&part[..read]);
                *of_thread.lock().expect("no thread panicked") = String::from_utf8_lossy(&bytes).into_owned();
            }
        });
        Self { script, written }
    }

    fn written(&self) -> String {
        self.written.lock().expect("no thread panicked").clone()
    }

    /// What stands on the terminal, line by line.
    fn shown(&self) -> BTreeMap<usize, String> {
        let (mut lines, mut at) = (BTreeMap::new(), None);
        for part in self.written().split("\x1b[").skip(1) {
            if part.starts_with("2J") {
                lines.clear();
            }
            let Some((row, _)) = part.split_once(";1H") else {
                // The text of a line follows the clearing of it.
                if let (Some(text), Some(row)) = (part.strip_prefix("2K"), at) {
                    lines.insert(row, text.to_owned());
                }
                continue;
            };
            at = Some(row.parse().expect("a row"));
        }
        lines
    }

    fn wait_for(&self, text: &str) {
        let there = || self.shown().values().any(|line| line.contains(text));
        wait::until(&format!("{text:?} is shown"), BOUND, there);
    }

    fn press(&mut self, key: u8) {
        self.script.stdin.as_mut().expect("its input").write_all(&[key]).expect("it reads");
    }

    /// It has ended well, and the terminal is as it was.
    fn assert_given_back(&self) {
        wait::until("it has ended", BOUND, || self.written().contains("isig"));
        let written = self.written();
        let (before, after) = written.split_once("\x1b[?25h\x1b[?1049l").expect("the shell's screen is back");
        assert!(before.contains("\x1b[?1049h") && after.contains("ended 0"), "{after:?}");
        for mode in ["icanon", "echo", "isig"] {
            assert!(after.contains(mode) && !after.contains(&format!("-{mode}")), "{mode}: {after:?}");
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

#[test]
fn the_screen_lives_through_the_agents_end_and_gives_the_terminal_back() {
    let flux = Flux::start();
    let setup = Setup::webhook(&flux);
    let socket = setup.folder().join("control.sock").display().to_string();
    let mut agent = setup.start();
    let mut screen = Screen::start(24, 80, &format!("--lang en status --watch --socket {socket}"));
    screen.wait_for("all lanes are sent");
    let payloads = (0..3).map(|n| format!("{{\"n\":{n}}}"));
    assert_eq!(Device::new("pump-7", Version::V5).start(agent.address(), payloads).join().acknowledged.len(), 3);
    screen.wait_for("1 heard, 0 silent");
    screen.wait_for("pump-7");
    agent.kill();
    screen.wait_for("no answer since");
    screen.wait_for("pump-7");
    agent.start();
    wait::until("the agent is asked again", BOUND, || {
        !screen.shown().values().any(|line| line.contains("no answer since"))
    });
    screen.press(b'q');
    screen.assert_given_back();
}

#[test]
fn a_small_terminal_in_japanese_is_never_written_beyond_and_ctrl_c_ends_it() {
    let flux = Flux::start();
    let setup = Setup::webhook(&flux);
    let socket = setup.folder().join("control.sock").display().to_string();
    let _agent = setup.start();
    let mut screen = Screen::start(12, 40, &format!("--lang ja status --watch --socket {socket}"));
    screen.wait_for("待機");
    let shown = screen.shown();
    for (row, line) in &shown {
        assert!(*row <= 12 && tidegate::language::sheet::cells(line) <= 40, "{row}: {line:?}");
    }
    screen.press(0x03);
    screen.assert_given_back();
}

#[test]
fn without_a_terminal_it_says_so() {
    let mut command = Command::new(binary());
    let output =
        command.args(["--lang", "en", "status", "--watch", "--socket", "/nowhere"]).output().expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("this is none"));
}
