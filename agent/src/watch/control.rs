//! The control socket: one line of JSON asks, one line answers.
//!
//! ```text
//! → {"request":"status"}\n
//! ← {"ok":{…Status…}}\n
//! ← {"error":{"code":"unknown_request","message":"…"}}\n
//! ```
//! Codes: `malformed` (no JSON object with a `request`), `too_long` (a line beyond [`MAX_LINE`]), `unknown_request`,
//! `busy` (more than [`MAX_CONNECTIONS`]). A connection may ask several times; after `too_long` and `busy`, and after
//! [`IDLE`] without a whole line, it is closed.
//!
//! Who may ask is a matter of the file system: the socket has mode 0660, so its owner and group.

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Source, Status};

/// Longest request in bytes. Today's longest has 20; later ones carry filters and dates.
pub const MAX_LINE: usize = 4096;

/// Connections at one time. People and one watchdog script ask; sixteen leave room for forgotten ones.
pub const MAX_CONNECTIONS: usize = 16;

/// How long a connection may take for its next whole line, and for taking an answer.
pub const IDLE: Duration = Duration::from_secs(10);

/// Longest answer that a client takes, in bytes: a full status has some 10 KB.
const MAX_ANSWER: u64 = 1024 * 1024;

/// How long a client waits for the agent.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why the control socket cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// Another agent answers there.
    #[error("another tidegate already answers on {path}; stop it, or give this one a socket of its own in [control]")]
    InUse {
        /// The socket.
        path: String,
    },
    /// Something else stands there, which must not be removed.
    #[error("{path} exists and is not a socket; remove it or write another path in [control]")]
    NotASocket {
        /// The path.
        path: String,
    },
    /// A file operation failed.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// A control socket that is bound and not yet served.
#[derive(Debug)]
pub struct Bound {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of our socket: at the end only that one is removed. The number is not given to another file
    /// meanwhile, for a bound socket keeps its inode alive.
    identity: (u64, u64),
}

#[derive(Debug, Deserialize)]
struct Request {
    request: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Ok(Box<Status>),
    Error(Refused),
}

/// An answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// One of the codes above.
    pub code: String,
    /// For people.
    pub message: String,
}

/// Binds the socket at `path`: makes its folder (mode 0750) if it is not there, replaces a socket that nobody answers
/// on, and puts ours in its place in one step, with its mode already set. Call it within a runtime.
///
/// # Errors
/// [`ControlError::InUse`] if an agent answers there, [`ControlError::NotASocket`] if it is something else.
pub fn bind(path: &Path) -> Result<Bound, ControlError> {
    let shown = || path.display().to_string();
    let failed = |action: &'static str| move |source: io::Error| ControlError::Io { action, path: shown(), source };
    if let Some(folder) = path.parent() {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o750).create(folder).map_err(failed("make the folder of"))?;
    }
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(ControlError::NotASocket { path: shown() }),
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {}
            // A full backlog (EAGAIN) or any other answer comes from someone who lives.
            Ok(_) | Err(_) => return Err(ControlError::InUse { path: shown() }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(failed("look at")(source)),
    }
    // Under another name first: bind(2) makes the socket with the umask's mode, and would fail on the stale one.
    // The name is short because the system allows 107 bytes for the whole path.
    let fresh = path.with_file_name(format!(".{}", std::process::id()));
    let _ = std::fs::remove_file(&fresh);
    let listener = UnixListener::bind(&fresh).map_err(failed("make the control socket"))?;
    let placed = std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o660))
        .and_then(|()| std::fs::symlink_metadata(&fresh))
        .and_then(|metadata| std::fs::rename(&fresh, path).map(|()| metadata));
    match placed {
        Ok(metadata) => Ok(Bound { listener, path: path.to_owned(), identity: (metadata.dev(), metadata.ino()) }),
        Err(source) => {
            let _ = std::fs::remove_file(&fresh);
            Err(failed("put in place the control socket")(source))
        }
    }
}

impl Bound {
    /// Answers until `stop`; the socket goes with `self`.
    pub async fn serve(self, source: Source, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "control socket: cannot accept");
                    // Out of descriptors: they come back; asking at once again would only burn the processor.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Ok(place) = places.clone().try_acquire_owned() else {
                let _ = stream.try_write(&encode(&refused("busy", "too many connections; close one and try again")));
                continue;
            };
            let (source, stop) = (source.clone(), stop.clone());
            tokio::spawn(async move {
                let _place = place;
                tokio::select! {
                    () = stop.cancelled() => {}
                    result = converse(stream, &source) => {
                        if let Err(error) = result {
                            tracing::debug!(%error, "control socket: connection ended");
                        }
                    }
                }
            });
        }
    }
}

impl Drop for Bound {
    /// Removes the socket, also where the runtime ends before the task that serves it. One that another agent has put
    /// in its place meanwhile stays.
    fn drop(&mut self) {
        let ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity);
        if ours {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Binds and serves in one; see [`bind`] and [`Bound::serve`].
///
/// # Errors
/// As [`bind`].
pub async fn serve(path: &Path, source: Source, stop: CancellationToken) -> Result<(), ControlError> {
    bind(path)?.serve(source, stop).await;
    Ok(())
}

async fn converse(mut stream: UnixStream, source: &Source) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(256);
    loop {
        let Some(line) = timeout(IDLE, line(&mut stream, &mut buffer)).await?? else { return Ok(()) };
        let (answer, last) = match line {
            Line::Whole(line) => (answer(&line, source), false),
            Line::TooLong => (refused("too_long", "a request is one line of at most 4096 bytes"), true),
        };
        timeout(IDLE, stream.write_all(&encode(&answer))).await??;
        if last {
            return Ok(());
        }
    }
}

enum Line {
    Whole(Vec<u8>),
    TooLong,
}

/// The next line, without its newline; what follows stays in `buffer`. `None` at the end.
async fn line(stream: &mut UnixStream, buffer: &mut Vec<u8>) -> io::Result<Option<Line>> {
    loop {
        if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let rest = buffer.split_off(end + 1);
            let mut line = std::mem::replace(buffer, rest);
            line.pop();
            return Ok(Some(if line.len() > MAX_LINE { Line::TooLong } else { Line::Whole(line) }));
        }
        if buffer.len() > MAX_LINE {
            return Ok(Some(Line::TooLong));
        }
        let mut chunk = [0_u8; 1024];
        let count = stream.read(&mut chunk).await?;
        if count == 0 {
            return Ok(None);
        }
        buffer.extend_from_slice(&chunk[..count]);
    }
}

fn answer(line: &[u8], source: &Source) -> Answer {
    match serde_json::from_slice::<Request>(line) {
        Ok(request) if request.request == "status" => Answer::Ok(Box::new(source())),
        Ok(_) => refused("unknown_request", "this agent answers: status"),
        Err(_) => refused("malformed", "write one line such as {\"request\":\"status\"}"),
    }
}

fn refused(code: &str, message: &str) -> Answer {
    Answer::Error(Refused { code: code.into(), message: message.into() })
}

fn encode(answer: &Answer) -> Vec<u8> {
    let mut line = serde_json::to_vec(answer).expect("an answer has only strings as keys, so it is JSON");
    line.push(b'\n');
    line
}

/// Why the agent could not be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// Nobody listens there.
    #[error("tidegate is not running, or not with this socket: nobody answers on {path}")]
    NotRunning {
        /// The socket.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The socket may not be used by this user.
    #[error("this user may not ask on {path}; use sudo, or join the group that owns the socket")]
    Denied {
        /// The socket.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The conversation broke off.
    #[error("the agent on {path} did not answer")]
    Io {
        /// The socket.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The agent refused.
    #[error("the agent on {path} refused: {message} ({code})")]
    Refused {
        /// The socket.
        path: String,
        /// Its code.
        code: String,
        /// Its message.
        message: String,
    },
    /// It answered something else.
    #[error("what answers on {path} is not a tidegate of this version")]
    Nonsense {
        /// The socket.
        path: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

/// Asks the agent behind `path` for its status. Blocks, at most some seconds.
///
/// # Errors
/// [`AskError::NotRunning`] if nobody answers there, and the others as they say.
pub fn ask(path: &Path) -> Result<Status, AskError> {
    let shown = || path.display().to_string();
    let mut stream = std::os::unix::net::UnixStream::connect(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NotRunning { path: shown(), source },
        io::ErrorKind::PermissionDenied => AskError::Denied { path: shown(), source },
        _ => AskError::Io { path: shown(), source },
    })?;
    let mut line = Vec::new();
    let conversation = stream
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
        .and_then(|()| stream.write_all(b"{\"request\":\"status\"}\n"))
        .and_then(|()| io::BufReader::new(stream.take(MAX_ANSWER)).read_until(b'\n', &mut line));
    match conversation {
        Ok(0) => {
            return Err(AskError::Io { path: shown(), source: io::ErrorKind::UnexpectedEof.into() });
        }
        Ok(_) => {}
        Err(source) => return Err(AskError::Io { path: shown(), source }),
    }
    match serde_json::from_slice(&line) {
        Ok(Answer::Ok(status)) => Ok(*status),
        Ok(Answer::Error(Refused { code, message })) => Err(AskError::Refused { path: shown(), code, message }),
        Err(source) => Err(AskError::Nonsense { path: shown(), source }),
    }
}
