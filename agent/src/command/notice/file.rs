//! Files of notices and of the keys that sign them.
//!
//! # Format of a key's file
//! ```text
//! Tidegate notice key ops-2026:<base64 of the public key>    what gateways pin; may be missing
//! -----BEGIN PRIVATE KEY-----                                PKCS#8 (RFC 8410), as `openssl genpkey -algorithm ed25519`
//! …                                                          writes it, in PEM (RFC 7468, which allows text before it)
//! -----END PRIVATE KEY-----
//! ```

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use tidegate::code::Code;
use tidegate::language::{Language, Message};
use tidegate::message;
use tidegate_protocol::notice::{ENVELOPE_BYTES, KeyError, PublicKey, SigningKey};

const MARK: &str = "Tidegate notice key ";

/// What stands before the seed in PKCS#8 without the public key (RFC 8410, section 7).
const PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// Longest file of a key, in bytes.
const KEY_BYTES: u64 = 16 * 1024;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.message())]
pub(in crate::command) enum FileError {
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    Exists {
        path: PathBuf,
    },
    Key {
        path: PathBuf,
        #[source]
        source: KeyError,
    },
}

impl FileError {
    /// What to read about it.
    pub(in crate::command) fn code(&self) -> Code {
        match self {
            Self::Read { .. } => Code::CannotRead,
            Self::Write { .. } | Self::Exists { .. } => Code::CannotWrite,
            Self::Key { .. } => Code::SigningKey,
        }
    }

    /// It in words, without its cause.
    pub(in crate::command) fn message(&self) -> Message {
        match self {
            Self::Read { path, .. } => message!("cannot read {path}", path = path.display()),
            Self::Write { path, .. } => message!("cannot write {path}", path = path.display()),
            Self::Exists { path } => message!(
                "{path} is there already; a key is not written over, for what it signed would no longer be believed",
                path = path.display()
            ),
            Self::Key { path, .. } => message!(
                "{path} cannot be used as a key that signs; make one with `tidegate notice keygen`",
                path = path.display()
            ),
        }
    }
}

/// The text of a new key's file.
fn key_text(seed: &[u8; 32], public: &PublicKey) -> String {
    let der = [&PKCS8[..], seed].concat();
    format!("{MARK}{public}\n-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der))
}

/// Writes a new key's file, which only its owner may read (mode 0600), and which must not be there yet.
pub(super) fn write_key(path: &Path, seed: &[u8; 32], public: &PublicKey) -> Result<(), FileError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => FileError::Exists { path: path.to_owned() },
        _ => FileError::Write { path: path.to_owned(), source },
    };
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(key_text(seed, public).as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

/// Reads a key's file. It is called `kid`, or as the file says, or by its own hash.
pub(super) fn read_key(path: &Path, kid: Option<&str>, language: Language) -> Result<SigningKey, FileError> {
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.mode() & 0o077 != 0 {
        super::note(&message!("{path} may be read by others: chmod it 600", path = path.display()).text(language));
    }
    let mut bytes = Vec::new();
    file.take(KEY_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    key_of(&bytes, kid).map_err(|source| FileError::Key { path: path.to_owned(), source })
}

fn key_of(bytes: &[u8], kid: Option<&str>) -> Result<SigningKey, KeyError> {
    let text = String::from_utf8_lossy(bytes);
    let said = text.lines().find_map(|line| line.strip_prefix(MARK)?.split_once(':')).map(|(kid, _)| kid.to_owned());
    let der = PrivatePkcs8KeyDer::from_pem_slice(bytes).map_err(|_| KeyError::NotPrivate)?;
    SigningKey::from_pkcs8(der.secret_pkcs8_der(), kid.or(said.as_deref()))
}

/// Reads an envelope, of which one byte too many is read if it is too large; `-` is standard input.
pub(super) fn read_envelope(path: &Path) -> Result<Vec<u8>, FileError> {
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let most = ENVELOPE_BYTES as u64 + 1;
    if path == Path::new("-") {
        io::stdin().lock().take(most).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        File::open(path).map_err(failed)?.take(most).read_to_end(&mut bytes).map_err(failed)?;
    }
    Ok(bytes)
}

/// Writes an envelope under another name and renames it, so that a folder that is watched never shows half of it.
pub(super) fn write_envelope(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let failed = |source| FileError::Write { path: path.to_owned(), source };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let write = || {
        let mut file = File::create(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)
    };
    write().map_err(|error| {
        let _ = std::fs::remove_file(&fresh);
        failed(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written_and_called_as_it_says_or_as_the_caller_says() {
        let key = SigningKey::from_seed(&[7; 32], Some("ops-2026")).expect("a key");
        let text = key_text(&[7; 32], key.public());
        assert_eq!(key_of(text.as_bytes(), None).expect("a key").public(), key.public());
        assert_eq!(key_of(text.as_bytes(), Some("b")).expect("a key").public().kid(), "b");
        let bare = text.split_once('\n').expect("a line").1;
        assert!(key_of(bare.as_bytes(), None).expect("a key").public().kid().starts_with("k-"));
        for wrong in ["", "ops-2026", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            assert_eq!(key_of(wrong.as_bytes(), None).err(), Some(KeyError::NotPrivate));
        }
    }

    #[test]
    fn a_key_is_its_owners_alone_and_never_written_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        let key = SigningKey::from_seed(&[7; 32], None).expect("a key");
        write_key(&path, &[7; 32], key.public()).expect("written");
        assert_eq!(std::fs::metadata(&path).expect("a file").mode() & 0o777, 0o600);
        assert_eq!(read_key(&path, None, Language::English).expect("a key").public(), key.public());
        assert!(matches!(write_key(&path, &[8; 32], key.public()), Err(FileError::Exists { .. })));
        assert_eq!(read_key(&path, None, Language::English).expect("a key").public(), key.public());
    }

    #[test]
    fn an_envelope_appears_whole_and_too_much_is_not_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("m.notice");
        write_envelope(&path, &vec![7; 40_000]).expect("written");
        assert_eq!(read_envelope(&path).expect("read").len(), ENVELOPE_BYTES + 1);
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
        let nowhere = folder.path().join("none/m.notice");
        assert!(matches!(write_envelope(&nowhere, &[]), Err(FileError::Write { .. })));
    }
}
