//! A look at a broker, for a person's examination: whether it can be reached, takes the credentials and grants the
//! subscriptions.
//!
//! # Constraints
//! - **The running service's session is left alone**: the look has a client id of its own, drawn at random, so it takes over
//!   nobody's session; and a session that ends with it, so the broker keeps nothing. It begins as the service's does, because a broker
//!   may admit no others.
//! - **A password is tried once**: a broker may ban who fails. (Mosquitto has one refusal for ids, users and passwords.)
//! - It takes nobody's messages: a shared subscription (`$share/…`) is not asked for, because what the broker sends by it goes to
//!   one of its subscribers only. Nothing that arrives is acknowledged.
//! - It ends with the broker's answer to the subscriptions, or after [`Options::connect_timeout`] and as much again. One that says
//!   that it refuses the client id is asked once more, with a short one. Where a broker
//!   breaks off that may have been spoken to in the wrong way, 5 s are added, in which it is spoken to in the other.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use super::error::{Came, LinkError};
use super::link::{self, Arrival, Grant};
use super::{GOODBYE_WITHIN, Options, state, tls};
use crate::certificate::{Certificate, Distrust, distrust};

/// What the broker says of itself, where it does (Mosquitto and its relatives).
const VERSION: &str = "$SYS/broker/version";

/// How long to wait for the broker to say what it is: it is a retained message, which comes at once or not at all.
const VERSION_WITHIN: Duration = Duration::from_millis(500);

/// How long a broker may take to answer when it is tried whether it speaks TLS, or does not: it has been there a moment ago.
const TRIAL: Duration = Duration::from_secs(5);

/// What a broker says of a client id that it does not take (MQTT 3.1.1, 3.2.2.3; MQTT 5, 3.2.2.2).
const OF_ID: [&str; 2] = ["BadClientId", "ClientIdentifierNotValid"];

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What the broker says it is.
    pub version: Option<String>,
    /// Topic filters that it refuses, with its reason.
    pub refused: Vec<(String, String)>,
    /// Topic filters that it grants at QoS 0 only.
    pub lowered: Vec<String>,
    /// Shared subscriptions, which were not tried.
    pub untried: Vec<String>,
    /// The certificate that it showed, which is trusted; `None` without TLS, or if it cannot be read.
    pub certificate: Option<Certificate>,
}

/// Why it was not seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unseen {
    /// A certificate or key file of this gateway cannot be used.
    Files(String),
    /// Its certificate is not trusted.
    Distrusted {
        /// Why not.
        distrust: Distrust,
        /// What it showed, if that can be read.
        certificate: Option<Certificate>,
        /// What rustls says.
        why: String,
    },
    /// It showed its certificate, and then broke off because of this gateway's, or because there was none.
    Certificate {
        /// Whether that is what it said, and not only what is likely.
        said: bool,
        /// What it said.
        why: String,
    },
    /// The handshake failed otherwise.
    Tls(String),
    /// It speaks TLS and was asked without, or the other way round.
    OtherKind,
    /// It refuses user name or password; its code.
    Refused(String),
    /// It refuses the client id of this look, which is not the service's; its code.
    ClientId(String),
    /// It cannot serve now; its code.
    Busy(String),
    /// Its host's name cannot be resolved.
    NoName(String),
    /// TCP did not connect: nobody listens there, or there is no way to it.
    NoConnection(String),
    /// Nobody answered in time.
    Silent,
    /// There was a connection, and it broke.
    Lost(String),
}

/// Looks.
///
/// # Errors
/// How far it came, and why no further.
pub async fn look(options: &Options) -> Result<Seen, Unseen> {
    let (tls, witness) = match &options.tls {
        None => (None, None),
        Some(tls) => {
            let (config, witness) = tls::witnessed(tls).map_err(|error| unseen(&error))?;
            (Some(config), Some(witness))
        }
    };
    let certificate = || witness.as_ref().and_then(|witness| witness.certificate());
    let mut seen = examine(options, tls.clone(), format!("{}-{}", options.client_id, client_id())).await;
    // It may be too long for it: a broker need not take more than 23 bytes (MQTT 3.1.1, 3.1.3.1).
    if let Err(LinkError::Refused { code }) = &seen {
        if OF_ID.contains(&code.as_str()) {
            seen = examine(options, tls, client_id()).await;
        }
    }
    match seen {
        Ok(seen) => Ok(Seen { certificate: certificate(), ..seen }),
        Err(error) => {
            let shown = witness.as_ref().is_some_and(|witness| witness.seen().is_some());
            if !shown && may_be_of_other_kind(&error) && speaks_otherwise(options).await {
                return Err(Unseen::OtherKind);
            }
            Err(judge(&error, shown, certificate()))
        }
    }
}

/// One that is spoken to in the wrong way ends the connection, or waits for more.
fn may_be_of_other_kind(error: &LinkError) -> bool {
    match error {
        LinkError::Lost(_) => error.came() == Came::Far,
        LinkError::Tls(_) | LinkError::Timeout => true,
        _ => false,
    }
}

/// Whether the broker answers when it is spoken to without TLS instead of with it, or the other way round. It is told nothing:
/// no user name, no password; TLS ends when it has shown a certificate.
async fn speaks_otherwise(options: &Options) -> bool {
    let (tls, witness) = match (&options.tls, tls::trial()) {
        (Some(_), _) => (None, None),
        (None, Ok((config, witness))) => (Some(config), Some(witness)),
        (None, Err(_)) => return false,
    };
    let asked = Options {
        credentials: None,
        client_id: client_id(),
        connect_timeout: options.connect_timeout.min(TRIAL),
        ..options.clone()
    };
    let (_client, mut source) = link::open_passing(&asked, tls);
    let answer = tokio::time::timeout(asked.connect_timeout, source.next(asked.keep_alive)).await;
    match witness {
        Some(witness) => witness.seen().is_some(),
        None => matches!(answer, Ok(Ok(_) | Err(LinkError::Refused { .. } | LinkError::Busy { .. }))),
    }
}

/// A client id of a look's own.
fn client_id() -> String {
    let mut random = [0; 8];
    let _ = getrandom::fill(&mut random);
    let number = random.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    // 23 bytes at most is what any broker takes (MQTT 3.1.1, 3.1.3.1).
    format!("tg-check-{}", &number[..12])
}

async fn examine(options: &Options, tls: Option<Arc<ClientConfig>>, client_id: String) -> Result<Seen, LinkError> {
    let options = Options { client_id, ..options.clone() };
    let (client, mut source) = link::open_passing(&options, tls);
    let limit = options.connect_timeout;
    let mut next = async |limit: Duration| {
        let arrival = tokio::time::timeout(limit, source.next(options.keep_alive)).await;
        arrival.unwrap_or(Err(LinkError::Timeout))
    };
    loop {
        if let Arrival::Connected { .. } = next(limit).await? {
            break;
        }
    }
    let (untried, mut asked): (Vec<String>, Vec<String>) =
        options.topics.iter().cloned().partition(|filter| filter.starts_with("$share/"));
    let own = asked.len();
    asked.push(VERSION.to_owned());
    client.subscribe(&asked);
    let mut seen = Seen { version: None, refused: Vec::new(), lowered: Vec::new(), untried, certificate: None };
    let mut granted = false;
    let begun = tokio::time::Instant::now();
    while !(granted && seen.version.is_some()) {
        let limit = if granted { VERSION_WITHIN } else { limit };
        // A busy broker sends other things all the time.
        let left = limit.saturating_sub(begun.elapsed());
        match next(left).await {
            Ok(Arrival::Subscribed(grants)) => {
                granted = true;
                for (filter, grant) in asked[..own].iter().zip(grants) {
                    match grant {
                        Grant::Granted { qos: 0 } => seen.lowered.push(filter.clone()),
                        Grant::Granted { .. } => {}
                        Grant::Refused(reason) => seen.refused.push((filter.clone(), reason)),
                    }
                }
            }
            Ok(Arrival::Publish(publish)) if publish.topic.as_deref() == Some(VERSION) => {
                seen.version = Some(crate::shown::shown(&String::from_utf8_lossy(&publish.payload), 80));
            }
            Ok(_) => {}
            Err(_) if granted => break,
            Err(error) => return Err(error),
        }
    }
    if client.disconnect() {
        let _ = tokio::time::timeout(GOODBYE_WITHIN, source.next(options.keep_alive)).await;
    }
    Ok(seen)
}

/// What an error comes to. `shown`: the broker has shown a certificate, which is this if it can be read.
fn judge(error: &LinkError, shown: bool, certificate: Option<Certificate>) -> Unseen {
    use rustls::AlertDescription as Alert;
    let Some(tls) = error.of_tls() else { return unseen(error) };
    let why = state::printable(&tls.to_string(), 200);
    if let Some(distrust) = distrust(tls) {
        return Unseen::Distrusted { distrust, certificate, why };
    }
    match tls {
        rustls::Error::AlertReceived(
            Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied,
        ) => Unseen::Certificate { said: true, why },
        // TLS 1.2 has no other word for a certificate that is missing (RFC 5246, 7.4.6); nor have some for one that is wrong.
        rustls::Error::AlertReceived(Alert::HandshakeFailure | Alert::DecryptError) if shown => {
            Unseen::Certificate { said: false, why }
        }
        _ => Unseen::Tls(why),
    }
}

fn unseen(error: &LinkError) -> Unseen {
    match error {
        LinkError::Refused { code } if OF_ID.contains(&code.as_str()) => Unseen::ClientId(code.clone()),
        LinkError::Refused { code } => Unseen::Refused(code.clone()),
        LinkError::Busy { code } => Unseen::Busy(code.clone()),
        LinkError::Timeout => Unseen::Silent,
        LinkError::PemFile { .. } | LinkError::NoCa(_) | LinkError::TlsSetup(_) => Unseen::Files(state::chain(error)),
        LinkError::Tls(source) => Unseen::Tls(state::chain(&**source)),
        LinkError::Lost(source) => {
            let why = state::chain(&**source);
            match error.came() {
                Came::NoName => Unseen::NoName(why),
                Came::NoConnection => Unseen::NoConnection(why),
                Came::Far => Unseen::Lost(why),
            }
        }
        error => Unseen::Lost(state::chain(error)),
    }
}
