//! A look at a broker, for a person's examination: whether it can be reached, takes the credentials and grants the
//! subscriptions.
//!
//! # Constraints
//! - **The running service's session is left alone**: the look has a client id of its own, drawn at random, so it takes over
//!   nobody's session; and a session that ends with it, so the broker keeps nothing.
//! - It takes nobody's messages: a shared subscription (`$share/…`) is not asked for, because what the broker sends by it goes to
//!   one of its subscribers only. Nothing that arrives is acknowledged.
//! - It ends with the broker's answer to the subscriptions, or after [`Options::connect_timeout`] and as much again.

use std::time::Duration;

use super::error::LinkError;
use super::link::{self, Arrival, Grant};
use super::{GOODBYE_WITHIN, Options, state, tls};

/// What the broker says of itself, where it does (Mosquitto and its relatives).
const VERSION: &str = "$SYS/broker/version";

/// How long to wait for the broker to say what it is: it is a retained message, which comes at once or not at all.
const VERSION_WITHIN: Duration = Duration::from_millis(500);

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
}

/// Why it was not seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unseen {
    /// A certificate or key file of this gateway cannot be used.
    Files(String),
    /// The handshake failed.
    Tls(String),
    /// It refuses user name, password or client id; its code.
    Refused(String),
    /// It cannot serve now; its code.
    Busy(String),
    /// Nobody answered in time.
    Silent,
    /// No connection, or it broke.
    Lost(String),
}

/// Looks.
///
/// # Errors
/// How far it came, and why no further.
pub async fn look(options: &Options) -> Result<Seen, Unseen> {
    let mut random = [0; 8];
    let _ = getrandom::fill(&mut random);
    let number = random.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    // 23 bytes at most is what any broker takes (MQTT 3.1.1, 3.1.3.1).
    let options = Options { client_id: format!("tg-check-{}", &number[..12]), ..options.clone() };
    let tls = options.tls.as_ref().map(tls::config).transpose().map_err(unseen)?;
    let (client, mut source) = link::open_passing(&options, tls);
    let limit = options.connect_timeout;
    let mut next = async |limit: Duration| {
        let arrival = tokio::time::timeout(limit, source.next(options.keep_alive)).await;
        arrival.unwrap_or(Err(LinkError::Timeout)).map_err(unseen)
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
    let mut seen = Seen { version: None, refused: Vec::new(), lowered: Vec::new(), untried };
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

fn unseen(error: LinkError) -> Unseen {
    match error {
        LinkError::Refused { code } => Unseen::Refused(code),
        LinkError::Busy { code } => Unseen::Busy(code),
        LinkError::Timeout => Unseen::Silent,
        error @ (LinkError::PemFile { .. } | LinkError::NoCa(_) | LinkError::TlsSetup(_)) => {
            Unseen::Files(state::chain(&error))
        }
        LinkError::Tls(source) => Unseen::Tls(state::chain(&*source)),
        LinkError::Lost(source) => Unseen::Lost(state::chain(&*source)),
        error => Unseen::Lost(state::chain(&error)),
    }
}
