//! A connection as [`Wire::connect`] makes it, with what is seen on the way: for whoever looks why there is none.

use std::net::{IpAddr, SocketAddr};

use rustls::CertificateError;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use tokio_rustls::TlsConnector;

use super::certificate::Certificate;
use super::error::too_long;
use super::socket::Metered;
use super::stream::{HeldBack, Inner};
use super::{Target, Wire, WireError, WireStream, tls};
use crate::message;

/// What was seen on the way, and where it led.
#[derive(Debug)]
pub struct Reached {
    /// The addresses that the name stands for, those that would be tried; empty if it does not resolve.
    pub addresses: Vec<IpAddr>,
    /// The connection's own address and the peer's, if TCP connected.
    pub ends: Option<(SocketAddr, SocketAddr)>,
    /// What the server showed in TLS, trusted or not, if it can be read.
    pub certificate: Option<Certificate>,
    /// The connection, or where it failed.
    pub stream: Result<WireStream, WireError>,
}

/// Why a certificate is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distrust {
    /// It held until before now.
    Expired,
    /// It holds from after now.
    NotYetValid,
    /// Nobody who is trusted issued it.
    UnknownIssuer,
    /// It is for another name.
    OtherName,
    /// Anything else.
    Other,
}

impl Wire {
    /// Connects, and tells what was seen on the way. Limited, counted and bounded in time as [`Wire::connect`] is.
    pub async fn reach(&self, target: &Target) -> Reached {
        let mut reached =
            Reached { addresses: Vec::new(), ends: None, certificate: None, stream: Err(WireError::Spent) };
        if self.may_connect() {
            reached.stream = self.walk(target, &mut reached).await;
        }
        reached
    }

    async fn walk(&self, target: &Target, reached: &mut Reached) -> Result<WireStream, WireError> {
        reached.addresses = self.resolve(&target.host).await?;
        let options = &self.door.options;
        // Read before anything is dialled: what cannot be used is no fault of the line.
        let tls = if target.tls {
            Some(tls::witnessed_config(&options.roots, options.identity.as_ref(), Arc::clone(&self.door.clock))?)
        } else {
            None
        };
        let dialled = self.dial(target).await?;
        reached.ends = dialled.0.local_addr().ok().zip(dialled.0.peer_addr().ok());
        self.door.meter.connected();
        let metered = Metered::new(dialled, &self.door.gate, Arc::clone(&self.door.meter), self.class);
        let held = HeldBack(metered.held());
        let Some((config, witness)) = tls else { return Ok(WireStream { inner: Inner::Plain(metered), held }) };
        let host = || target.host.clone();
        let name = ServerName::try_from(host()).map_err(|_| WireError::Name { host: host() })?;
        let limit = options.handshake_timeout;
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, metered);
        let result = held.timeout(limit, connecting).await;
        reached.certificate = witness.seen().and_then(|der| Certificate::read(&der));
        match result {
            Some(Ok(stream)) => Ok(WireStream { inner: Inner::Tls(Box::new(stream)), held }),
            Some(Err(source)) => Err(WireError::Tls { host: host(), source }),
            None => Err(WireError::Tls { host: host(), source: too_long(message!("the handshake"), limit) }),
        }
    }
}

impl WireError {
    /// Why the far end's certificate is not trusted, if that is what went wrong.
    pub fn distrust(&self) -> Option<Distrust> {
        let Self::Tls { source, .. } = self else { return None };
        distrust(source.get_ref()?.downcast_ref::<rustls::Error>()?)
    }
}

/// The same of an error of rustls.
pub fn distrust(error: &rustls::Error) -> Option<Distrust> {
    let rustls::Error::InvalidCertificate(why) = error else { return None };
    Some(match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Distrust::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Distrust::NotYetValid,
        CertificateError::UnknownIssuer => Distrust::UnknownIssuer,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Distrust::OtherName,
        _ => Distrust::Other,
    })
}
