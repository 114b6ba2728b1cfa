//! What a device must show and what it is shown: passwords and certificates, which may change while devices are
//! connected.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::options::{ListenError, TlsOptions};
use crate::collect::auth::Passwords;
use crate::collect::tls::Acceptor;

/// The password file and the certificates in force; clones share them.
///
/// A certificate is renewed every few weeks and a user may be removed: [`Credentials::reload`] takes both up without
/// disconnecting anyone. It holds for those who connect from then on.
#[derive(Debug, Clone)]
pub struct Credentials(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    passwords: Option<PathBuf>,
    tls: Option<TlsOptions>,
    current: Mutex<Current>,
}

/// Passwords and certificates that were read again and are not in force yet ([`Credentials::take`]).
#[derive(Debug)]
pub struct Fresh(Current);

#[derive(Debug, Clone)]
struct Current {
    passwords: Option<Arc<Passwords>>,
    acceptor: Option<Acceptor>,
}

impl Current {
    fn read(passwords: Option<&PathBuf>, tls: Option<&TlsOptions>) -> Result<Self, ListenError> {
        Ok(Self {
            passwords: passwords.map(|path| Passwords::open(path).map(Arc::new)).transpose()?,
            acceptor: tls.map(Acceptor::new).transpose()?,
        })
    }
}

impl Credentials {
    pub(super) fn open(passwords: Option<PathBuf>, tls: Option<TlsOptions>) -> Result<Self, ListenError> {
        let current = Mutex::new(Current::read(passwords.as_ref(), tls.as_ref())?);
        Ok(Self(Arc::new(Inner { passwords, tls, current })))
    }

    /// Reads the password file and the certificates again, from the same paths. Nothing changes until
    /// [`Credentials::take`].
    ///
    /// # Errors
    /// If one of them cannot be used.
    pub fn read(&self) -> Result<Fresh, ListenError> {
        Current::read(self.0.passwords.as_ref(), self.0.tls.as_ref()).map(Fresh)
    }

    /// Takes what was read into use.
    pub fn take(&self, fresh: Fresh) {
        *self.0.current.lock().unwrap_or_else(PoisonError::into_inner) = fresh.0;
    }

    /// Reads the password file and the certificates again, and takes them into use.
    ///
    /// # Errors
    /// If one of them cannot be used; then all stay as they were.
    pub fn reload(&self) -> Result<(), ListenError> {
        self.read().map(|fresh| self.take(fresh))
    }

    fn current(&self) -> Current {
        self.0.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn passwords(&self) -> Option<Arc<Passwords>> {
        self.current().passwords
    }

    pub(super) fn acceptor(&self) -> Option<Acceptor> {
        self.current().acceptor
    }
}
