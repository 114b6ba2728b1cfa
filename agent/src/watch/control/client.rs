//! Asking an agent, from another process.

use super::Answer;
use super::{Refused, SLOW};
use crate::code::Code;
use crate::language::{Message, Value};
use crate::message;
use crate::watch::Status;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Longest single answer that a client takes, in bytes: a full status has some 10 KB.
const MAX_ANSWER: u64 = 1024 * 1024;

/// Longest line of an answer of many lines, in bytes: above a record of 8 MiB, the largest there is, in base64.
const MAX_ITEM: u64 = 16 * 1024 * 1024;

/// How long a client waits for a single answer.
const PATIENCE: Duration = Duration::from_secs(5);

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
    /// Somebody listens there and says nothing.
    #[error(
        "the agent on {path} has not answered for {seconds} s: it hangs, or this machine is overloaded; where systemd runs it, the \
         watchdog has it started again within two minutes"
    )]
    Silent {
        /// The socket.
        path: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// An answer of many lines ended before its last one.
    #[error(
        "the agent on {path} broke its answer off: it was stopped, or what it said was not read for a minute (write to a \
         file rather than to a pager)"
    )]
    BrokenOff {
        /// The socket.
        path: String,
    },
    /// The agent refused.
    #[error("the agent on {path} refused: {message} ({code})")]
    Refused {
        /// The socket.
        path: String,
        /// Its code.
        code: String,
        /// Its message.
        message: Value,
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

fn refused_by(path: String, refused: Refused) -> AskError {
    AskError::Refused { path, code: refused.code.clone(), message: refused.why() }
}

impl AskError {
    /// What a person is to know and do, in each language; what the system said stays the error's source.
    pub fn message(&self) -> Message {
        match self {
            Self::NotRunning { path, .. } => {
                message!("tidegate is not running, or not with this socket: nobody answers on {path}", path = path)
            }
            Self::Denied { path, .. } => {
                message!(
                    "this user may not ask on {path}; use sudo, or join the group that owns the socket",
                    path = path
                )
            }
            Self::Silent { path, seconds } => message!(
                "the agent on {path} has not answered for {seconds} s: it hangs, or this machine is overloaded; where systemd runs it, \
                 the watchdog has it started again within two minutes",
                path = path,
                seconds = seconds
            ),
            Self::Io { path, .. } => message!("the agent on {path} did not answer", path = path),
            Self::BrokenOff { path } => message!(
                "the agent on {path} broke its answer off: it was stopped, or what it said was not read for a minute (write to a \
                 file rather than to a pager)",
                path = path
            ),
            Self::Refused { path, code, message } => {
                message!("the agent on {path} refused: {message} ({code})", path = path, message = message, code = code)
            }
            Self::Nonsense { path, .. } => {
                message!("what answers on {path} is not a tidegate of this version", path = path)
            }
        }
    }

    /// The code of what is wrong, where a page of it says what to do.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::NotRunning { .. } | Self::Silent { .. } | Self::Io { .. } | Self::BrokenOff { .. } => {
                Some(Code::NotRunning)
            }
            Self::Denied { .. } | Self::Nonsense { .. } => Some(Code::Serve),
            Self::Refused { .. } => None,
        }
    }
}

/// Asks the agent behind `path` for its status. Blocks, at most some seconds.
///
/// # Errors
/// [`AskError::NotRunning`] if nobody answers there, and the others as they say.
pub fn ask(path: &Path) -> Result<Status, AskError> {
    let shown = || path.display().to_string();
    let stream = begin(path, PATIENCE, b"{\"request\":\"status\"}\n")?;
    let mut line = Vec::new();
    match io::BufReader::new(stream.take(MAX_ANSWER)).read_until(b'\n', &mut line) {
        Ok(0) => {
            return Err(AskError::Io { path: shown(), source: io::ErrorKind::UnexpectedEof.into() });
        }
        Ok(_) => {}
        Err(source) => return Err(unanswered(shown(), PATIENCE, source)),
    }
    match serde_json::from_slice(&line) {
        Ok(Answer::Ok(status)) => Ok(*status),
        Ok(Answer::Error(refused)) => Err(refused_by(shown(), refused)),
        Err(source) => Err(AskError::Nonsense { path: shown(), source }),
    }
}

/// Why an answer did not come.
fn unanswered(path: String, patience: Duration, source: io::Error) -> AskError {
    match source.kind() {
        // The one on Linux, where a time limit on a socket has passed; the other elsewhere.
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => AskError::Silent { path, seconds: patience.as_secs() },
        _ => AskError::Io { path, source },
    }
}

/// Connects and sends the request.
fn begin(path: &Path, patience: Duration, request: &[u8]) -> Result<UnixStream, AskError> {
    let shown = || path.display().to_string();
    let mut stream = UnixStream::connect(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NotRunning { path: shown(), source },
        io::ErrorKind::PermissionDenied => AskError::Denied { path: shown(), source },
        _ => AskError::Io { path: shown(), source },
    })?;
    stream
        .set_read_timeout(Some(patience))
        .and_then(|()| stream.set_write_timeout(Some(patience)))
        .and_then(|()| stream.write_all(request))
        .map_err(|source| unanswered(shown(), patience, source))?;
    Ok(stream)
}

#[derive(Serialize)]
struct Question<'a, T> {
    request: &'static str,
    ask: &'a T,
}

/// One line of an answer of many. What follows is left for whoever asked to take apart.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum StreamLine<'a> {
    #[serde(borrow)]
    Item(&'a RawValue),
    End(&'a RawValue),
    Error(Refused),
}

/// Asks the agent behind `path` something that it answers with many lines (`request`: who is to answer): each is given to `item`, as JSON, and the
/// last one is returned. `None` if `item` had enough. Blocks, for as long as the answer takes.
///
/// # Errors
/// As [`ask`], and [`AskError::BrokenOff`] if the last line does not come.
pub fn ask_stream<T: Serialize>(
    path: &Path,
    request: &'static str,
    question: &T,
    item: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> Result<Option<String>, AskError> {
    let shown = || path.display().to_string();
    let nonsense = |source| AskError::Nonsense { path: shown(), source };
    let mut request = serde_json::to_vec(&Question { request, ask: question }).map_err(nonsense)?;
    request.push(b'\n');
    let mut reader = io::BufReader::with_capacity(64 * 1024, begin(path, SLOW, &request)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.by_ref().take(MAX_ITEM).read_until(b'\n', &mut line);
        read.map_err(|source| unanswered(shown(), SLOW, source))?;
        if line.last() != Some(&b'\n') {
            return Err(AskError::BrokenOff { path: shown() });
        }
        match serde_json::from_slice(&line).map_err(nonsense)? {
            StreamLine::Item(value) => {
                if item(value.get()).is_break() {
                    return Ok(None);
                }
            }
            StreamLine::End(value) => return Ok(Some(value.get().to_owned())),
            StreamLine::Error(refused) => return Err(refused_by(shown(), refused)),
        }
    }
}
