//! The control socket: one line of JSON asks, one line answers, or many.
//!
//! ```text
//! → {"request":"status"}\n
//! ← {"ok":{…Status…}}\n
//!
//! → {"request":"buffer","ask":{…}}\n             // what stands in `ask` is for whoever answers it ([`Rooms`])
//! ← {"item":{…}}\n                               // as many as there are
//! ← {"end":{…}}\n                                // the last line
//!
//! ← {"error":{"code":"unknown_request","message":"…"}}\n    // instead of either, and of the last line
//! ```
//! Codes: `malformed` (no JSON object with a `request`), `too_long` (a line beyond [`MAX_LINE`]), `unknown_request`,
//! `busy` (more than [`MAX_CONNECTIONS`]; or another answer of many lines is under way), and those of whoever answers.
//! A connection may ask several times; after `too_long`, after more than [`MAX_CONNECTIONS`], and after [`IDLE`] without
//! a whole line, it is closed.
//!
//! An answer of many lines is made where blocking is allowed, one at a time, and goes through a queue of a few
//! chunks; a reader that takes none of it for [`SLOW`] is left (see `stream`).
//!
//! Who may ask is a matter of the file system: the socket has mode 0660, so its owner and group. They may see what
//! devices published, have it delivered again or dropped from what was put aside, and hold the gateway.

mod client;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod stream;

pub use client::{AskError, ask, ask_stream};
pub use stream::{Outlet, SLOW, Streams};

use crate::code::Code;
use crate::language::{IntoValue, Message, Value};
use crate::message;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Source, Status};

/// Longest request in bytes: filters with names and dates stay below 1 KB, a signed notice of 16 KiB has 22 KB in base64.
pub const MAX_LINE: usize = 32 * 1024;

/// Connections at one time. People and one watchdog script ask; sixteen leave room for forgotten ones.
pub const MAX_CONNECTIONS: usize = 16;

/// How long a connection may take for its next whole line, and for taking an answer.
pub const IDLE: Duration = Duration::from_secs(10);

/// How long a question waits while another one is answered: long enough for one that is just ending, short enough for
/// a person.
const WAIT: Duration = Duration::from_secs(2);

/// Why the control socket cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.message())]
#[non_exhaustive]
pub enum ControlError {
    /// Another agent answers there.
    InUse {
        /// The socket.
        path: String,
    },
    /// Something else stands there, which must not be removed.
    NotASocket {
        /// The path.
        path: String,
    },
    /// A file operation failed.
    Io {
        /// What was tried.
        action: Message,
        /// On what.
        path: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl ControlError {
    /// It in words, without its cause.
    pub fn message(&self) -> Message {
        match self {
            Self::InUse { path } => message!(
                "another tidegate already answers on {path}; stop it, or give this one a socket of its own in [control]",
                path = path
            ),
            Self::NotASocket { path } => {
                message!("{path} exists and is not a socket; remove it or write another path in [control]", path = path)
            }
            Self::Io { action, path, .. } => message!("cannot {action} {path}", action = action, path = path),
        }
    }

    /// The code whose page says what to do.
    pub fn code(&self) -> Code {
        Code::Serve
    }
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

/// Who answers which request that has an `ask`, by its name.
pub type Rooms = Arc<[(&'static str, Streams)]>;

#[derive(Deserialize)]
struct Request {
    request: String,
    #[serde(default)]
    ask: Option<Box<RawValue>>,
}

/// What a connection needs to answer.
#[derive(Clone)]
struct Answers {
    source: Source,
    rooms: Rooms,
    /// One answer of many lines at a time: it occupies a thread and the disk.
    looking: Arc<Semaphore>,
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
    /// The same as a message, where it is said differently in each language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<Message>,
}

impl Refused {
    /// With this code, for this reason.
    pub fn new(code: &str, why: impl IntoValue) -> Self {
        let why = why.into_value();
        Self { code: code.into(), message: why.to_string(), said: why.into_message() }
    }

    /// Why, for people.
    pub(crate) fn why(self) -> Value {
        self.said.map_or(Value::Text(self.message), Value::Message)
    }
}

/// Binds the socket at `path`: makes its folder (mode 0750) if it is not there, replaces a socket that nobody answers
/// on, and puts ours in its place in one step, with its mode already set. Call it within a runtime.
///
/// # Errors
/// [`ControlError::InUse`] if an agent answers there, [`ControlError::NotASocket`] if it is something else.
pub fn bind(path: &Path) -> Result<Bound, ControlError> {
    let shown = || path.display().to_string();
    let failed = |action: Message| move |source: io::Error| ControlError::Io { action, path: shown(), source };
    if let Some(folder) = path.parent() {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o750).create(folder).map_err(failed(message!("make the folder of")))?;
    }
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(ControlError::NotASocket { path: shown() }),
        Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {}
            // A full backlog (EAGAIN) or any other answer comes from someone who lives.
            Ok(_) | Err(_) => return Err(ControlError::InUse { path: shown() }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(failed(message!("examine"))(source)),
    }
    // Under another name first: bind(2) makes the socket with the umask's mode, and would fail on the stale one.
    // The name is short because the system allows 107 bytes for the whole path.
    let fresh = path.with_file_name(format!(".{}", std::process::id()));
    let _ = std::fs::remove_file(&fresh);
    let listener = UnixListener::bind(&fresh).map_err(failed(message!("make the control socket")))?;
    let placed = std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o660))
        .and_then(|()| std::fs::symlink_metadata(&fresh))
        .and_then(|metadata| std::fs::rename(&fresh, path).map(|()| metadata));
    match placed {
        Ok(metadata) => Ok(Bound { listener, path: path.to_owned(), identity: (metadata.dev(), metadata.ino()) }),
        Err(source) => {
            let _ = std::fs::remove_file(&fresh);
            Err(failed(message!("put in place the control socket"))(source))
        }
    }
}

impl Bound {
    /// Answers until `stop`; the socket goes with `self`. `status` is answered by `source`, everything else by `rooms`.
    pub async fn serve(self, source: Source, rooms: Rooms, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let answers = Answers { source, rooms, looking: Arc::new(Semaphore::new(1)) };
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
                let _ = stream
                    .try_write(&encode(&refused("busy", message!("too many connections; close one and try again"))));
                continue;
            };
            let (answers, stop) = (answers.clone(), stop.clone());
            tokio::spawn(async move {
                let _place = place;
                tokio::select! {
                    () = stop.cancelled() => {}
                    result = converse(stream, &answers) => {
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

async fn converse(mut stream: UnixStream, answers: &Answers) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(256);
    loop {
        let Some(line) = timeout(IDLE, line(&mut stream, &mut buffer)).await?? else { return Ok(()) };
        let (answer, last) = match line {
            Line::Whole(line) => match answer(&line, answers) {
                Reply::One(answer) => (answer, false),
                Reply::Many(streams, ask) => match timeout(WAIT, answers.looking.clone().acquire_owned()).await {
                    Ok(Ok(place)) => {
                        stream::answer(&mut stream, streams, ask, place, SLOW).await?;
                        continue;
                    }
                    _ => (refused("busy", message!("another question is being answered; try again later")), false),
                },
            },
            Line::TooLong => (refused("too_long", message!("a request is one line of at most 32 KiB")), true),
        };
        timeout(IDLE, stream.write_all(&encode(&answer))).await??;
        if last {
            return Ok(());
        }
    }
}

/// How a request is answered.
enum Reply {
    One(Answer),
    Many(Streams, Box<RawValue>),
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

fn answer(line: &[u8], answers: &Answers) -> Reply {
    Reply::One(match serde_json::from_slice::<Request>(line) {
        Ok(Request { request, .. }) if request == "status" => Answer::Ok(Box::new((answers.source)())),
        Ok(Request { request, ask }) => match (answers.rooms.iter().find(|(name, _)| *name == request), ask) {
            (Some((_, room)), Some(ask)) => return Reply::Many(room.clone(), ask),
            (Some((name, _)), None) => {
                refused("malformed", format!("write what to ask: {{\"request\":\"{name}\",\"ask\":…}}"))
            }
            (None, _) => {
                let known: Vec<&str> =
                    std::iter::once("status").chain(answers.rooms.iter().map(|room| room.0)).collect();
                refused("unknown_request", message!("this agent answers: {requests}", requests = known.join(", ")))
            }
        },
        Err(_) => refused("malformed", "write one line such as {\"request\":\"status\"}"),
    })
}

fn refused(code: &str, why: impl IntoValue) -> Answer {
    Answer::Error(Refused::new(code, why))
}

fn encode(answer: &Answer) -> Vec<u8> {
    let mut line = serde_json::to_vec(answer).expect("an answer has only strings as keys, so it is JSON");
    line.push(b'\n');
    line
}
