//! Runs the command of the local alarm.
//!
//! # Constraints
//! - It is a program with its arguments, not a line for a shell; its environment is empty but for a fixed `PATH` and what
//!   it is told (`TIDEGATE_…`); it reads nothing, and has a process group of its own.
//! - It has a time limit. When that is over, it, its group and whatever else has come of it are asked to end, and two
//!   seconds later killed. What left the group (`setsid`) is known by the mark in its environment (`horn/marked.rs`). What goes
//!   on when the command itself has ended in time is the command's affair: a horn may sound in the background.
//! - Never two at a time: what has to be said meanwhile waits, and of several only the newest is said.
//! - What it prints is logged, the first [`OUTPUT`] bytes.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

mod marked;

/// Bytes of its output that are kept.
pub const OUTPUT: usize = 2_048;

/// How long the group has from the request to end to its end.
const GRACE: Duration = Duration::from_secs(2);

/// How long after its end its output is still read: a child of its own may hold the pipe for as long as it likes.
const DRAIN: Duration = Duration::from_millis(500);

/// Where programs are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What to run, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// How long it may run.
    pub limit: Duration,
    /// What it is told: names without `TIDEGATE_`, and values.
    pub environment: Vec<(&'static str, String)>,
}

/// What came of it.
#[derive(Debug)]
pub enum Outcome {
    /// It could not be started.
    NotStarted(io::Error),
    /// It ended.
    Ended(ExitStatus),
    /// It was ended, because it took longer than it may or because Tidegate stops.
    Killed,
}

/// Runs what is called for, the newest only, one at a time, until there is nobody left to call or it is told to stop.
pub async fn serve(mut calls: watch::Receiver<Option<Call>>, stop: CancellationToken) {
    loop {
        tokio::select! {
            changed = calls.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
        let Some(call) = calls.borrow_and_update().clone() else { continue };
        let (outcome, output) = run(&call, &stop).await;
        log(&call, &outcome, &output);
    }
}

fn log(call: &Call, outcome: &Outcome, output: &str) {
    let command = call.words.first().map_or("", String::as_str);
    match outcome {
        Outcome::NotStarted(error) => {
            tracing::error!(command, %error, "the alarm's command cannot be started: correct command in [alarm]");
        }
        Outcome::Ended(status) if status.success() => tracing::info!(command, output, "the alarm's command was run"),
        Outcome::Ended(status) => {
            let (code, signal) = (status.code(), status.signal());
            tracing::error!(command, code, signal, output, "the alarm's command failed");
        }
        Outcome::Killed => {
            let limit = call.limit.as_secs_f32();
            tracing::error!(command, limit, output, "the alarm's command did not end in time and was killed");
        }
    }
}

/// Runs it to its end; gives what it printed, cut and in one line.
pub async fn run(call: &Call, stop: &CancellationToken) -> (Outcome, String) {
    let mark = marked::Mark::new();
    let mut child = match spawn(call, &mark) {
        Ok(child) => child,
        Err(error) => return (Outcome::NotStarted(error), String::new()),
    };
    let mut kept = Vec::new();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let outcome = {
        let mut output = std::pin::pin!(gather(stdout, stderr, &mut kept));
        let ended = async {
            tokio::select! {
                status = child.wait() => Some(status),
                () = sleep(call.limit) => None,
                () = stop.cancelled() => None,
            }
        };
        let mut ended = std::pin::pin!(ended);
        let ended = tokio::select! {
            ended = &mut ended => { let _ = timeout(DRAIN, &mut output).await; ended }
            () = &mut output => ended.await,
        };
        match ended {
            Some(Ok(status)) => Outcome::Ended(status),
            Some(Err(error)) => Outcome::NotStarted(error),
            None => Outcome::Killed,
        }
    };
    if matches!(outcome, Outcome::Killed) {
        kill(&mut child, &mark).await;
    }
    (outcome, plain(&kept))
}

fn spawn(call: &Call, mark: &marked::Mark) -> io::Result<Child> {
    let (program, arguments) = call.words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .envs(call.environment.iter().map(|(name, value)| (format!("TIDEGATE_{name}"), value.replace('\0', " "))))
        .env(marked::NAME, mark.value())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// Ends the whole group, and what left it. The child is not waited for before: until then its number, which is the group's,
/// is nobody else's.
async fn kill(child: &mut Child, mark: &marked::Mark) {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(group) = group {
        // An error means that none of it is left.
        let _ = kill_process_group(group, Signal::TERM);
        mark.end_all(Signal::TERM).await;
        sleep(GRACE).await;
        let _ = kill_process_group(group, Signal::KILL);
    }
    mark.end_all(Signal::KILL).await;
    let _ = child.wait().await;
}

/// Reads both to their ends, and keeps the first bytes of what comes.
async fn gather(
    mut stdout: Option<impl AsyncRead + Unpin>,
    mut stderr: Option<impl AsyncRead + Unpin>,
    kept: &mut Vec<u8>,
) {
    let (mut out, mut err) = ([0; 512], [0; 512]);
    while stdout.is_some() || stderr.is_some() {
        let bytes = tokio::select! {
            read = more(&mut stdout, &mut out), if stdout.is_some() => &out[..read],
            read = more(&mut stderr, &mut err), if stderr.is_some() => &err[..read],
        };
        let room = OUTPUT - kept.len();
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// Reads some; takes the pipe away at its end.
async fn more(pipe: &mut Option<impl AsyncRead + Unpin>, buffer: &mut [u8]) -> usize {
    let Some(open) = pipe else { return 0 };
    let read = open.read(buffer).await.unwrap_or(0);
    if read == 0 {
        *pipe = None;
    }
    read
}

/// What was printed, fit for a line of a log.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::time::Instant;

    fn call(words: &[&str], limit: Duration) -> Call {
        let environment = vec![("STATE", "raised".to_owned())];
        Call { words: words.iter().map(|word| (*word).to_owned()).collect(), limit, environment }
    }

    fn shell(script: &str, limit: Duration) -> Call {
        call(&["/bin/sh", "-c", script], limit)
    }

    const LONG: Duration = Duration::from_secs(30);

    fn alive(pid: &str) -> bool {
        let status = std::fs::read_to_string(Path::new("/proc").join(pid.trim()).join("stat")).unwrap_or_default();
        !status.is_empty() && !status.contains(") Z ")
    }

    #[tokio::test]
    async fn it_knows_nothing_but_what_it_is_told() {
        let (outcome, output) = run(&call(&["env"], LONG), &CancellationToken::new()).await;
        assert!(matches!(outcome, Outcome::Ended(status) if status.success()), "{outcome:?}");
        let told = format!("PATH={PATH} TIDEGATE_STATE=raised TIDEGATE_CALL=");
        let mut words: Vec<&str> = output.split(' ').collect();
        words.sort_by_key(|word| told.find(word.split('=').next().unwrap_or_default()));
        assert!(words.len() == 3 && words.join(" ").starts_with(&told), "{output}");
    }

    #[tokio::test]
    async fn it_is_no_shell_reads_nothing_and_leads_a_group_of_its_own() {
        let (_, output) = run(&call(&["echo", "$PATH;", "`id`"], LONG), &CancellationToken::new()).await;
        assert_eq!(output, "$PATH; `id`");
        let script = "cat; pwd; [ $$ = $(cut -d' ' -f5 /proc/$$/stat) ] && echo leads";
        let (_, output) = run(&shell(script, LONG), &CancellationToken::new()).await;
        assert_eq!(output, "/ leads");
    }

    #[tokio::test]
    async fn what_takes_too_long_is_killed_with_all_its_children() {
        let started = Instant::now();
        // Neither it nor its child heeds the request to end.
        let script = "trap '' TERM; sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done' & wait; sleep 60";
        let (outcome, output) = run(&shell(script, Duration::from_millis(500)), &CancellationToken::new()).await;
        assert!(matches!(outcome, Outcome::Killed), "{outcome:?}");
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
        assert!(output.parse::<u32>().is_ok(), "{output}");
        // The signal was sent; on a busy machine the child has yet to be given the time to die of it.
        let limit = Instant::now() + Duration::from_secs(10);
        while alive(&output) {
            assert!(Instant::now() < limit, "{output} is alive");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn what_left_its_group_is_killed_too_also_where_nobody_is_its_parent_any_more() {
        let script = "setsid sleep 1001 & echo $!; (setsid sh -c 'echo $$; exec sleep 1002' &); sleep 60";
        let (outcome, output) = run(&shell(script, Duration::from_millis(700)), &CancellationToken::new()).await;
        assert!(matches!(outcome, Outcome::Killed), "{outcome:?}");
        let pids: Vec<&str> = output.split_whitespace().collect();
        assert_eq!(pids.len(), 2, "{output}");
        let limit = Instant::now() + Duration::from_secs(10);
        while pids.iter().any(|pid| alive(pid)) {
            assert!(Instant::now() < limit, "{pids:?}: one is alive");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn what_it_prints_is_bounded_and_does_not_hold_it_up() {
        let script = "head -c 1000000 /dev/zero | tr '\\0' x; printf '\\033[2J' >&2";
        let (outcome, output) = run(&shell(script, LONG), &CancellationToken::new()).await;
        assert!(matches!(outcome, Outcome::Ended(status) if status.success()), "{outcome:?}");
        assert!(output.len() <= OUTPUT && !output.contains('\u{1b}'), "{}", output.len());
    }

    #[tokio::test]
    async fn a_child_that_holds_its_output_open_does_not_hold_it_up_and_goes_on() {
        let started = Instant::now();
        let (outcome, output) = run(&shell("sleep 30 & echo $!", LONG), &CancellationToken::new()).await;
        assert!(matches!(outcome, Outcome::Ended(_)) && started.elapsed() < Duration::from_secs(15), "{outcome:?}");
        assert!(alive(&output), "a horn may go on in the background");
        let pid = output.parse().ok().and_then(Pid::from_raw).expect("its number");
        rustix::process::kill_process(pid, Signal::KILL).expect("it is ours");
    }

    #[tokio::test]
    async fn what_is_not_there_or_fails_is_told() {
        let (outcome, _) = run(&call(&["/no/such/horn"], LONG), &CancellationToken::new()).await;
        assert!(matches!(outcome, Outcome::NotStarted(_)), "{outcome:?}");
        let (outcome, output) = run(&shell("echo out of order >&2; exit 3", LONG), &CancellationToken::new()).await;
        assert!(matches!(outcome, Outcome::Ended(status) if status.code() == Some(3)), "{outcome:?}");
        assert_eq!(output, "out of order");
    }

    #[tokio::test]
    async fn of_what_is_to_be_said_meanwhile_only_the_newest_is_and_never_two_at_a_time() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = folder.path().join("log");
        let script = |name: &str| {
            let path = log.display();
            shell(&format!("echo begin {name} >> {path}; sleep 0.5; echo end {name} >> {path}"), LONG)
        };
        let (calls, receiver) = watch::channel(None);
        let serving = tokio::spawn(serve(receiver, CancellationToken::new()));
        let said = || std::fs::read_to_string(&log).unwrap_or_default();
        calls.send_replace(Some(script("a")));
        while !said().contains("begin a") {
            sleep(Duration::from_millis(5)).await;
        }
        calls.send_replace(Some(script("b")));
        calls.send_replace(Some(script("c")));
        while !said().contains("end c") {
            sleep(Duration::from_millis(5)).await;
        }
        drop(calls);
        serving.await.expect("it ends when nobody is left to call");
        assert_eq!(said(), "begin a\nend a\nbegin c\nend c\n");
    }
}
