//! What the configuration names on the disk, behind a trait so that tests need no files.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::io::Errno;
use rustls::InconsistentKeys;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::credentials::Handed;
use super::exposed::Exposed;
use super::{LoadError, MAX_FILE};
use crate::language::{IntoValue as _, Message, Value, system};
use crate::message;
use crate::regular;
use crate::secret::{self, Secret};

/// A secret as its file holds it.
pub(super) struct SecretFile {
    /// The value, without the white space around it.
    pub(super) secret: Secret,
    /// What users other than its owner and group may do with the file.
    pub(super) exposed: Option<Exposed>,
}

/// What a file should hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// One certificate or several, as PEM.
    Certificates,
    /// A private key without a passphrase, as PEM.
    Key,
    /// Lines of user names and hashes.
    Passwords,
    /// A program: a file that may be run.
    Program,
}

/// Why a file that a key names cannot be used: what was found, and what to do.
pub(super) struct Fault {
    pub(super) found: Value,
    pub(super) advice: Value,
}

impl Fault {
    pub(super) fn new(found: Message, advice: Message) -> Self {
        Self { found: found.into_value(), advice: advice.into_value() }
    }

    /// The same, said of the file as the configuration names it.
    pub(super) fn about(self, path: &Path, named: &Path) -> Self {
        let (path, named) = (path.display().to_string(), named.display().to_string());
        Self { found: self.found.replace(&path, named), ..self }
    }
}

/// A file system.
pub(super) struct Volume {
    /// Its size in bytes.
    pub(super) bytes: u64,
    /// Whether it is in memory (tmpfs, ramfs).
    pub(super) volatile: bool,
}

/// What stands where the store should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Nothing yet, an empty folder, a store, or what may not be looked at.
    Fits,
    /// A file, or a path through one.
    File,
    /// A folder with other things in it.
    Foreign,
}

/// What stands around the configuration.
pub(super) trait Surroundings {
    /// Reads a secret's file.
    fn secret(&self, path: &Path) -> Result<SecretFile, Fault>;
    /// Whether a file can be read and holds what it should; says what users other than its owner and group may
    /// do with it.
    fn usable(&self, path: &Path, content: Content) -> Result<Option<Exposed>, Fault>;
    /// Whether a private key belongs to a certificate. Only a mismatch is a fault: files that cannot be used are
    /// said elsewhere.
    fn belongs(&self, certificate: &Path, key: &Path) -> Result<(), Fault>;
    /// The file system that a folder is on, or will be; `None` if it cannot be told.
    fn volume(&self, path: &Path) -> Option<Volume>;
    /// What stands where the store should be.
    fn place(&self, path: &Path) -> Place;
    /// What the service manager has handed over in place of a file that may not be read.
    fn handed(&self, path: &Path) -> Option<Handed> {
        let _ = path;
        None
    }
}

/// The real disk.
pub(super) struct Disk;

impl Surroundings for Disk {
    fn handed(&self, path: &Path) -> Option<Handed> {
        super::credentials::handed(path)
    }

    fn secret(&self, path: &Path) -> Result<SecretFile, Fault> {
        let (mut file, metadata) = open(path)?;
        let mut bytes = Vec::new();
        file.by_ref().take(secret::MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| fault(path, &error))?;
        let wrong = |found: Message| {
            Fault::new(found, message!("write the secret into it as one line of text and nothing else"))
        };
        let name = || path.display();
        if bytes.len() as u64 > secret::MAX_FILE {
            return Err(wrong(message!("{path} is too long for a secret", path = name())));
        }
        let text =
            String::from_utf8(bytes).map_err(|_| wrong(message!("{path} is not text (UTF-8)", path = name())))?;
        let text = text.trim();
        if text.is_empty() {
            return Err(wrong(message!("{path} is empty", path = name())));
        }
        if text.contains(char::is_control) {
            return Err(wrong(message!("{path} holds more than one line", path = name())));
        }
        Ok(SecretFile { secret: Secret::new(text), exposed: Exposed::of(metadata.mode()) })
    }

    fn usable(&self, path: &Path, content: Content) -> Result<Option<Exposed>, Fault> {
        if content == Content::Program {
            return program(path);
        }
        let (bytes, exposed) = contents(path)?;
        match content {
            Content::Program => Ok(()),
            Content::Certificates => certificates(path, &bytes).map(|_| ()),
            Content::Key => key(path, &bytes).map(|_| ()),
            Content::Passwords => passwords(path, &bytes),
        }?;
        Ok(exposed)
    }

    fn belongs(&self, certificate: &Path, key_path: &Path) -> Result<(), Fault> {
        let chain = contents(certificate).and_then(|(bytes, _)| certificates(certificate, &bytes));
        let private = contents(key_path).and_then(|(bytes, _)| key(key_path, &bytes));
        let (Ok(chain), Ok(private)) = (chain, private) else { return Ok(()) };
        let provider = rustls::crypto::ring::default_provider();
        match CertifiedKey::from_der(chain, private, &provider) {
            Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(Fault::new(
                message!(
                    "{key} is not the key of {certificate}",
                    key = key_path.display(),
                    certificate = certificate.display()
                ),
                message!("name the key that the certificate was made with; the server's own certificate comes first"),
            )),
            _ => Ok(()),
        }
    }

    fn volume(&self, path: &Path) -> Option<Volume> {
        /// `TMPFS_MAGIC` and `RAMFS_MAGIC` of linux/magic.h.
        const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];
        let there = path.ancestors().find(|folder| folder.exists())?;
        let found = rustix::fs::statfs(there).ok()?;
        // The C type of these fields is signed on some architectures and 32 bits wide on others.
        #[allow(clippy::cast_sign_loss, clippy::unnecessary_cast, clippy::cast_lossless)]
        let (block, kind) = (found.f_bsize as u64, found.f_type as u64 & 0xffff_ffff);
        Some(Volume { bytes: found.f_blocks.saturating_mul(block), volatile: IN_MEMORY.contains(&kind) })
    }

    fn place(&self, path: &Path) -> Place {
        match std::fs::metadata(path) {
            Ok(metadata) if !metadata.is_dir() => return Place::File,
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Place::File,
            _ => {}
        }
        let Ok(entries) = std::fs::read_dir(path) else { return Place::Fits };
        let mut foreign = false;
        for entry in entries.flatten().take(LOOKED_AT) {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name == "control" || name.starts_with("lane-") {
                return Place::Fits;
            }
            foreign |= !MADE_BEFORE.contains(&name.as_ref());
        }
        if foreign { Place::Foreign } else { Place::Fits }
    }
}

/// A regular file that somebody may run; says if users other than its owner and group may change it. That they may read it is
/// as it should be.
fn program(path: &Path) -> Result<Option<Exposed>, Fault> {
    let about = std::fs::metadata(path).map_err(|error| fault(path, &error))?;
    if !about.is_file() || about.mode() & 0o111 == 0 {
        return Err(Fault::new(
            message!("{path} is no program", path = path.display()),
            message!("name a file that may be run (chmod 755)"),
        ));
    }
    Ok(Exposed::of(about.mode() & 0o002))
}

/// Entries of a folder that are looked at to tell a store: a store has a dozen.
const LOOKED_AT: usize = 1000;

/// What a store that was cut off while it was made may hold, and what a file system of its own begins with.
const MADE_BEFORE: [&str; 9] =
    ["lock", "version", "reserve", "aside", "damaged", "index", "outages", super::kept::FOLDER, "lost+found"];

/// Opens a regular file. Its kind is asked for first: opening a FIFO would wait for a writer.
fn open(path: &Path) -> Result<(File, std::fs::Metadata), Fault> {
    let metadata = std::fs::metadata(path).map_err(|error| fault(path, &error))?;
    if !metadata.is_file() {
        return Err(Fault::new(
            message!("{path} is not a regular file", path = path.display()),
            message!("name a file"),
        ));
    }
    let file = regular::open(path).map_err(|error| fault(path, &error))?;
    Ok((file, metadata))
}

/// What a file holds, and what everybody may do with it.
pub(super) fn contents(path: &Path) -> Result<(Vec<u8>, Option<Exposed>), Fault> {
    let (file, metadata) = open(path)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| fault(path, &error))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Fault::new(
            message!("{path} is longer than 1 MiB", path = path.display()),
            message!("name the right file"),
        ));
    }
    Ok((bytes, Exposed::of(metadata.mode())))
}

fn certificates(path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(bytes).collect::<Result<_, _>>().unwrap_or_default();
    if found.is_empty() {
        return Err(Fault::new(
            message!("{path} holds no certificate, or a damaged one", path = path.display()),
            message!("name a PEM file (-----BEGIN CERTIFICATE-----)"),
        ));
    }
    Ok(found)
}

fn key(path: &Path, bytes: &[u8]) -> Result<PrivateKeyDer<'static>, Fault> {
    let locked = bytes.windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED);
    PrivateKeyDer::from_pem_slice(bytes).map_err(|_| {
        if locked {
            return Fault::new(
                message!("{path} holds a key with a passphrase", path = path.display()),
                message!(
                    "write it without one (openssl pkey -in … -out …): nobody is there to type it when the gateway starts"
                ),
            );
        }
        Fault::new(
            message!("{path} holds no private key", path = path.display()),
            message!("name a PEM file (-----BEGIN PRIVATE KEY-----)"),
        )
    })
}

/// How a PKCS #8 key with a passphrase begins (RFC 7468, section 11).
const ENCRYPTED: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";

/// Looks for lines that are no `name:$argon2…`. What a hash is worth is judged by whoever verifies it.
fn passwords(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    let entry = |line: &[u8]| {
        let line = String::from_utf8_lossy(line);
        let (line, hash) = (line.trim_end(), line.split_once(':').map_or("", |(_, hash)| hash));
        line.is_empty() || line.starts_with('#') || (!line.starts_with(':') && hash.starts_with("$argon2"))
    };
    let wrong: Vec<usize> = (1..)
        .zip(bytes.split(|byte| *byte == b'\n'))
        .filter(|(_, line)| !entry(line))
        .map(|(number, _)| number)
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let named: Vec<String> = wrong.iter().take(LINES_NAMED).map(ToString::to_string).collect();
    let (lines, path) = (named.join(", "), path.display());
    let found = match (wrong.len(), wrong.len().saturating_sub(LINES_NAMED)) {
        (1, _) => message!("line {line} of {path} is not `name:$argon2id$…`", line = lines, path = path),
        (_, 0) => message!("lines {lines} of {path} are not `name:$argon2id$…`", lines = lines, path = path),
        (_, more) => message!(
            "lines {lines} and {more} more of {path} are not `name:$argon2id$…`",
            lines = lines,
            more = more,
            path = path
        ),
    };
    Err(Fault::new(found, message!("write the name, a colon and the hash that `argon2 SALT -id -e` prints")))
}

/// Wrong lines of a password file that are named by their number; the others are counted.
const LINES_NAMED: usize = 10;

fn fault(path: &Path, error: &io::Error) -> Fault {
    let advice = match error.kind() {
        io::ErrorKind::NotFound => message!("create it or correct the path"),
        io::ErrorKind::PermissionDenied if super::credentials::comes_with_a_start(path) => message!(
            "restart the service (systemctl restart tidegate): what was put into /etc/tidegate/secrets since it started is handed to it by \
             systemd when it starts again"
        ),
        io::ErrorKind::PermissionDenied => message!(
            "run this command as root; for the service, keep the file in /etc/tidegate/secrets, which systemd hands over, or let \
             the user that Tidegate runs as read it (chgrp, chmod 640)"
        ),
        _ => message!("correct the path or repair the file"),
    };
    Fault::new(message!("cannot read {path}: {error}", path = path.display(), error = system::said(error)), advice)
}

/// Reads the configuration file itself. Only a regular file is one: a FIFO would be waited for, and a device read has
/// effects.
pub(super) fn read_text(path: &Path) -> Result<String, LoadError> {
    let name = path.display().to_string();
    let about = std::fs::metadata(path).map_err(|error| unreadable(&name, error))?;
    if !about.is_file() {
        return Err(unreadable(
            &name,
            if about.is_dir() {
                Errno::ISDIR.into()
            } else {
                io::Error::new(io::ErrorKind::InvalidInput, message!("it is not a regular file"))
            },
        ));
    }
    let file = regular::open(path).map_err(|error| unreadable(&name, error))?;
    read_all(file, &name)
}

fn unreadable(name: &str, source: io::Error) -> LoadError {
    LoadError::Unreadable {
        path: name.to_owned(),
        advice: match source.kind() {
            io::ErrorKind::NotFound => message!("correct the path, or write one with `tidegate config default`"),
            io::ErrorKind::PermissionDenied => message!("run the command as root or as the user that Tidegate runs as"),
            io::ErrorKind::InvalidInput => {
                message!("name a regular file; `tidegate check` takes `-` for standard input")
            }
            _ => message!("repair the file or name another"),
        },
        source,
    }
}

/// Reads a configuration's text to its end; `name` stands in messages.
pub(super) fn read_all(from: impl io::Read, name: &str) -> Result<String, LoadError> {
    let unreadable = |source: io::Error| unreadable(name, source);
    let mut bytes = Vec::new();
    from.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(unreadable(io::Error::new(io::ErrorKind::FileTooLarge, message!("longer than 1 MiB"))));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].split(|byte| *byte == b'\n').count();
        unreadable(io::Error::new(io::ErrorKind::InvalidData, message!("not UTF-8 on line {line}", line = line)))
    })
}
