//! User names and passwords of devices, from a file of Argon2 hashes.
//!
//! # Constraints
//! - Argon2 is made to cost memory and time; a gateway has little of either. So one password is verified at a time, on
//!   a blocking thread, a hash that would cost more than [`MAX_MEMORY_KIB`] or [`MAX_PASSES`] is refused when the file
//!   is read, and the memory goes back to the system after each (see `compute`): it is outside the memory aim.
//! - A device that reconnects must not pay again: a success is remembered, keyed by a keyed hash of user and password;
//!   the password itself is not kept.
//! - Whether a user exists cannot be told from the time of the answer: an unknown one costs a verification too.
//! - An address that fails often is refused without a verification for a while; what is remembered as right is not.
//!
//! # The file
//! One `user:hash` a line, the hash in PHC form (`$argon2id$v=19$m=19456,t=2,p=1$salt$hash`), as `argon2 -id -e` and
//! Mosquitto's successors write it. Empty lines and lines that begin with `#` are passed over.

use crate::code::Code;
use crate::language::Message;
use crate::message;
use crate::regular;
use std::collections::{HashMap, HashSet};
use std::io::Read as _;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use argon2::password_hash::{Output, PasswordHash};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use blake2::{Blake2s256, Digest};

#[cfg(test)]
mod tests;

/// Most memory one verification may take: three times what RFC 9106 recommends at least for small machines is
/// not yet this much, and a gateway has 512 MiB.
pub const MAX_MEMORY_KIB: u32 = 64 * 1024;

/// Most passes over that memory.
pub const MAX_PASSES: u32 = 10;

/// Most lanes.
const MAX_LANES: u32 = 4;

/// Users at most.
pub const MAX_USERS: usize = 10_000;

/// Longest password file in bytes: that many users with 100 bytes each.
const MAX_FILE: u64 = 1024 * 1024;

/// Successes remembered; when there are more all are forgotten, and each costs one verification again.
const MAX_REMEMBERED: usize = 1_024;

/// Failures in [`FAILURE_TIME`] after which an address is refused unheard.
const MAX_FAILURES: u32 = 10;

/// How long failures count.
const FAILURE_TIME: Duration = Duration::from_secs(30);

/// Addresses whose failures are counted at one time.
const MAX_ADDRESSES: usize = 1_024;

/// Why the password file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.message())]
#[non_exhaustive]
pub enum AuthError {
    /// It cannot be read.
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It is longer than 1 MiB.
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// A line of it is not `user:hash`.
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with the line and what to write instead.
        fault: LineFault,
    },
    /// The system gives no random numbers.
    Random(getrandom::Error),
}

impl AuthError {
    /// It in words, without its cause.
    pub fn message(&self) -> Message {
        match self {
            Self::Read { path, .. } => message!("cannot read the password file {path}", path = path.display()),
            Self::TooLong { path } => message!(
                "the password file {path} is longer than {most} bytes; is it the right file?",
                path = path.display(),
                most = MAX_FILE
            ),
            Self::Line { path, line, fault } => message!(
                "the password file {path}, line {line}, {fault}",
                path = path.display(),
                line = *line,
                fault = fault.message()
            ),
            Self::Random(error) => {
                message!("cannot get random numbers from the system: {error}", error = error.to_string())
            }
        }
    }

    /// The code whose page says what to do.
    pub fn code(&self) -> Code {
        match self {
            Self::Random(_) => Code::Process,
            _ => Code::Secret,
        }
    }
}

/// What is wrong with a line of the password file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
#[non_exhaustive]
pub enum LineFault {
    /// No colon, or nothing before it.
    NotAPair,
    /// The same user stands above.
    Twice,
    /// The hash cannot be read, or is of another kind.
    NotArgon2id,
    /// It costs more than is allowed.
    TooCostly {
        /// Memory in KiB.
        memory_kib: u32,
        /// Passes.
        passes: u32,
        /// Lanes.
        lanes: u32,
    },
    /// There are more than [`MAX_USERS`].
    TooMany,
}

impl LineFault {
    /// It in words, which follow the line's number.
    pub fn message(&self) -> Message {
        match self {
            Self::NotAPair => message!("is not `user:$argon2id$…`"),
            Self::Twice => message!("names a user that an earlier line names; remove one of them"),
            Self::NotArgon2id => {
                message!("has a hash that is not Argon2id in PHC form; write one with `argon2 SALT -id -e`")
            }
            Self::TooCostly { memory_kib, passes, lanes } => message!(
                "has a hash that costs {memory} KiB, {passes} passes and {lanes} lanes; at most {most_memory} KiB, \
                 {most_passes} passes and {most_lanes} lanes are allowed: write it anew with less",
                memory = *memory_kib,
                passes = *passes,
                lanes = *lanes,
                most_memory = MAX_MEMORY_KIB,
                most_passes = MAX_PASSES,
                most_lanes = MAX_LANES
            ),
            Self::TooMany => message!("is one user too many: at most {most} are allowed", most = MAX_USERS),
        }
    }
}

/// What a password is checked against.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Expected {
    params: Params,
    salt: Box<[u8]>,
    output: Output,
}

/// The users, and what is remembered of them.
#[derive(Debug)]
pub struct Passwords {
    users: HashMap<Box<str>, Arc<Expected>>,
    /// What an unknown user is checked against: the costliest of the file.
    nobody: Option<Arc<Expected>>,
    key: [u8; 32],
    remembered: Mutex<HashSet<[u8; 32]>>,
    failures: Mutex<HashMap<IpAddr, (u32, Instant)>>,
    /// One verification at a time.
    turn: Arc<tokio::sync::Semaphore>,
}

impl Passwords {
    /// Reads the password file.
    ///
    /// # Errors
    /// If it cannot be read, or the first line that is not one, with its number.
    pub fn open(path: &Path) -> Result<Self, AuthError> {
        let read = |source| AuthError::Read { path: path.to_owned(), source };
        let mut file = regular::open(path).map_err(read)?;
        let metadata = file.metadata().map_err(read)?;
        if metadata.len() > MAX_FILE {
            return Err(AuthError::TooLong { path: path.to_owned() });
        }
        if metadata.permissions().mode() & 0o004 != 0 {
            tracing::warn!(path = %path.display(), "every user of this machine can read the password file: chmod o-r");
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(read)?;
        let users = parse(&text).map_err(|(line, fault)| AuthError::Line { path: path.to_owned(), line, fault })?;
        let cost =
            |expected: &&Arc<Expected>| u64::from(expected.params.m_cost()) * u64::from(expected.params.t_cost());
        let nobody = users.values().max_by_key(cost).cloned();
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(AuthError::Random)?;
        Ok(Self {
            users,
            nobody,
            key,
            remembered: Mutex::default(),
            failures: Mutex::default(),
            turn: Arc::new(tokio::sync::Semaphore::new(1)),
        })
    }

    /// Whether this is the user's password. Takes as long as Argon2 does, and as those before it.
    pub async fn verify(&self, user: &str, password: &[u8], from: IpAddr) -> bool {
        let digest = self.digest(user, password);
        if lock(&self.remembered).contains(&digest) {
            return true;
        }
        if self.refused_unheard(from) {
            return false;
        }
        let known = self.users.get(user).cloned();
        let exists = known.is_some();
        let Some(expected) = known.or_else(|| self.nobody.clone()) else { return false };
        // Moved into the blocking task, so that the turn lasts as long as the memory is used, even if the client is
        // gone.
        let Ok(turn) = self.turn.clone().acquire_owned().await else { return false };
        let password = password.to_vec();
        let verified = tokio::task::spawn_blocking(move || {
            let verified = compute(&expected, &password);
            drop(turn);
            verified
        });
        let right = verified.await.unwrap_or(false) && exists;
        if right {
            let mut remembered = lock(&self.remembered);
            if remembered.len() >= MAX_REMEMBERED {
                remembered.clear();
            }
            remembered.insert(digest);
        } else {
            self.failed(from);
        }
        right
    }

    fn digest(&self, user: &str, password: &[u8]) -> [u8; 32] {
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        let hash = Blake2s256::new().chain_update(self.key).chain_update((user.len() as u64).to_le_bytes());
        hash.chain_update(user).chain_update(password).finalize().into()
    }

    fn refused_unheard(&self, from: IpAddr) -> bool {
        let failures = lock(&self.failures);
        failures.get(&from).is_some_and(|(count, since)| *count >= MAX_FAILURES && since.elapsed() < FAILURE_TIME)
    }

    fn failed(&self, from: IpAddr) {
        let mut failures = lock(&self.failures);
        if failures.len() >= MAX_ADDRESSES {
            failures.retain(|_, (_, since)| since.elapsed() < FAILURE_TIME);
        }
        if failures.len() >= MAX_ADDRESSES {
            failures.clear();
        }
        let entry = failures.entry(from).or_insert((0, Instant::now()));
        if entry.1.elapsed() >= FAILURE_TIME {
            *entry = (0, Instant::now());
        }
        entry.0 += 1;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Nothing is half done in these maps if a holder panics.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn parse(text: &str) -> Result<HashMap<Box<str>, Arc<Expected>>, (usize, LineFault)> {
    let mut users = HashMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let fault = |fault| (index + 1, fault);
        let (user, hash) = line.split_once(':').ok_or(fault(LineFault::NotAPair))?;
        if user.is_empty() {
            return Err(fault(LineFault::NotAPair));
        }
        let expected = expected(hash).map_err(fault)?;
        if users.len() >= MAX_USERS {
            return Err(fault(LineFault::TooMany));
        }
        if users.insert(user.into(), Arc::new(expected)).is_some() {
            return Err(fault(LineFault::Twice));
        }
    }
    Ok(users)
}

fn expected(hash: &str) -> Result<Expected, LineFault> {
    let hash = PasswordHash::new(hash).map_err(|_| LineFault::NotArgon2id)?;
    let version = hash.version.is_none_or(|version| version == u32::from(Version::V0x13));
    if hash.algorithm != Algorithm::Argon2id.ident() || !version {
        return Err(LineFault::NotArgon2id);
    }
    let params = Params::try_from(&hash).map_err(|_| LineFault::NotArgon2id)?;
    let (memory_kib, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
    if memory_kib > MAX_MEMORY_KIB || passes > MAX_PASSES || lanes > MAX_LANES {
        return Err(LineFault::TooCostly { memory_kib, passes, lanes });
    }
    let (Some(salt), Some(output)) = (hash.salt, hash.hash) else { return Err(LineFault::NotArgon2id) };
    let mut buffer = [0; 64];
    let salt = salt.decode_b64(&mut buffer).map_err(|_| LineFault::NotArgon2id)?;
    Ok(Expected { params, salt: salt.into(), output })
}

/// Whether the password gives the expected hash; blocks for as long as Argon2 takes.
fn compute(expected: &Expected, password: &[u8]) -> bool {
    // glibc maps a block of more than 32 MiB for itself and unmaps it when it is freed; a smaller one it may keep for
    // later after the first time, and the process would never be small again. Pages that are not touched cost nothing.
    const ALWAYS_MAPPED: usize = 33 * 1024 * 1024 / Block::SIZE;
    let blocks = expected.params.block_count();
    let mut memory = Vec::with_capacity(blocks.max(ALWAYS_MAPPED));
    memory.resize(blocks, Block::default());
    let mut output = [0; Output::MAX_LENGTH];
    let Some(output) = output.get_mut(..expected.output.len()) else { return false };
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, expected.params.clone());
    let hashed = argon2.hash_password_into_with_memory(password, &expected.salt, output, &mut memory);
    // `Output` compares in constant time.
    hashed.is_ok() && Output::new(output).is_ok_and(|output| output == expected.output)
}
