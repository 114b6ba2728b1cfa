//! The log lines about what is turned away: publishes that are refused, and devices that are not let in.
//!
//! # Constraints
//! - An operator who looks for a device that sends and is not heard must find it in the log without changing a level;
//!   a device that tries again without end, or someone who means harm, must not fill the log. So each [`Cause`] has one
//!   line at warn level in [`PAUSE`], with how many there were since the last; all others are at debug level.
//! - What is kept is one entry for each cause, whoever and however many are turned away.
//! - What a device says of itself is cut to [`SHOWN`] bytes and quoted with control characters escaped, so that no text
//!   from outside looks like a line or a field of the log. A line is below 4 KiB.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::allow::Unlisted;

#[cfg(test)]
pub(super) mod tests;

/// Time between two lines at warn level for one cause: an operator who watches sees the next soon enough, and a day of
/// them is 1,440 lines.
pub(super) const PAUSE: Duration = Duration::from_secs(60);

/// How much of a text from outside is shown, in bytes before escaping: topics and client identifiers are shorter.
pub(super) const SHOWN: usize = 128;

macro_rules! causes {
    ($($(#[$doc:meta])* $cause:ident = $name:literal: $text:literal,)+) => {
        /// Why something is turned away.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Cause {
            $($(#[$doc])* $cause,)+
        }

        impl Cause {
            const COUNT: usize = [$($name),+].len();

            /// The word for it in the log.
            pub(super) fn name(self) -> &'static str {
                match self { $(Self::$cause => $name,)+ }
            }

            /// What happened, and what an operator can do.
            fn text(self) -> &'static str {
                match self { $(Self::$cause => $text,)+ }
            }
        }
    };
}

causes! {
    /// A publish that no rule takes.
    Topic = "topic": "a publish is refused because no topic rule takes it; add a [[collect.rule]] for its topic, or set \
        default_lane in [collect]",
    /// A publish of a device that may not.
    Device = "device": "a publish is refused because its device may not publish; add the device to devices in [collect]",
    /// A client identifier that is not listed.
    ClientId = "client id": "a device is turned away because its client id is not listed; add it to client_ids in \
        [collect.allow]",
    /// A user name that is not listed, or none.
    User = "user name": "a device is turned away because its user name is not listed; add it to usernames in \
        [collect.allow]",
    /// A certificate whose names are not listed, or none.
    Certificate = "certificate": "a device is turned away because no name in its certificate is listed; add one to \
        certificates in [collect.allow]",
    /// A payload that the rule for its fields cannot treat.
    Fields = "fields": "a publish is refused because the rule for its fields cannot treat its payload; see `tidegate \
        fields try`, and correct the device or the [[collect.fields]] for its topic",
    /// A publish that is too large.
    Size = "size": "a publish is refused because it is larger than max_packet_size; raise that, or let the device send \
        less at a time",
    /// A wrong user name or password.
    Password = "password": "a device is turned away for its user name or password; correct them in the device, or in \
        passwords_file",
    /// No user name where one is needed.
    NoUser = "no user name": "a device is turned away because it gave no user name; give it one, or set \
        allow_anonymous = true in [collect.listener]",
    /// A version of MQTT that is not spoken.
    Version = "version": "a device is turned away because it speaks neither MQTT 3.1.1 nor 5; choose one of them in the \
        device",
    /// A TLS handshake that failed.
    Tls = "TLS": "a device is turned away because its TLS handshake failed; check that it trusts Tidegate's certificate \
        and, if tls_client_ca is set, that its own is signed by that",
    /// Something else than TLS on the port for TLS.
    PlainOnTls = "no TLS": "a device is turned away because it does not speak TLS on the port for TLS; switch TLS on in \
        the device, or let it use the plain port",
    /// TLS on the port for plain MQTT.
    TlsOnPlain = "TLS on the plain port": "a device is turned away because it speaks TLS on the port for plain MQTT; let \
        it use the port for TLS, or switch TLS off in the device",
    /// A CONNECT that is none, or asks for what there is not.
    Connect = "CONNECT": "a device is turned away for its CONNECT; check the settings of its MQTT client",
    /// A client that broke the protocol.
    Packet = "packet": "a device broke the MQTT protocol and is disconnected; check its MQTT client",
    /// No CONNECT in time.
    Late = "late": "a connection is closed because no CONNECT came in time; if it is a device, check its line and \
        whether it speaks MQTT",
    /// As many connections as allowed.
    Connections = "max_connections": "a device is turned away because there are as many connections as max_connections \
        allows; raise it, or find out who connects so often",
    /// As many sessions as allowed.
    Sessions = "max_sessions": "a device is turned away because as many lasting sessions as max_sessions allows are \
        connected; raise it",
    /// The store does not answer in time.
    Store = "store": "a device is turned away for now because what it waits for is not on flash yet; see what the store \
        says",
}

/// Who was turned away, with what. What is not known is left out of the line.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen<'a> {
    /// Where the device connects from.
    pub(super) peer: Option<SocketAddr>,
    /// The broker by which the publish came.
    pub(super) broker: Option<&'a str>,
    pub(super) client: Option<&'a str>,
    pub(super) user: Option<&'a str>,
    /// The topic as it was sent; need not be UTF-8, nor whole.
    pub(super) topic: Option<&'a [u8]>,
    /// Bytes of the packet; of the payload for a will.
    pub(super) size: Option<usize>,
    /// What more there is to say of the cause.
    pub(super) what: Option<&'a str>,
}

/// What was last logged of one cause.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    last: Option<Instant>,
    /// How many were not logged at warn level since.
    others: u64,
}

/// Logs what is turned away, seldom.
#[derive(Debug, Default)]
pub(super) struct TurnedAway(Mutex<[Told; Cause::COUNT]>);

impl From<Unlisted> for Cause {
    fn from(unlisted: Unlisted) -> Self {
        match unlisted {
            Unlisted::ClientId => Self::ClientId,
            Unlisted::User => Self::User,
            Unlisted::Certificate => Self::Certificate,
        }
    }
}

impl TurnedAway {
    /// Logs that `count` were turned away, of which `seen` is one.
    pub(super) fn tell(&self, cause: Cause, count: u64, seen: &Seen<'_>) {
        // The same fields at both levels; they are only made if the level is on.
        macro_rules! line {
            ($level:ident, $others:expr) => {
                tracing::$level!(
                    cause = cause.name(),
                    peer = seen.peer.map(tracing::field::display),
                    broker = seen.broker,
                    client = seen.client.map(|text| shown(text.as_bytes())),
                    user = seen.user.map(|text| shown(text.as_bytes())),
                    topic = seen.topic.map(shown),
                    size = seen.size,
                    what = seen.what.map(|text| shown(text.as_bytes())),
                    others = $others,
                    "{}",
                    cause.text()
                )
            };
        }
        if let Some(others) = self.due(cause, count, Instant::now()) {
            line!(warn, others);
        } else {
            line!(debug, count.saturating_sub(1));
        }
    }

    /// Whether a line at warn level is due, and then how many others it stands for.
    fn due(&self, cause: Cause, count: u64, now: Instant) -> Option<u64> {
        // An entry is whole whatever panics.
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = &mut told[cause as usize];
        if told.last.is_some_and(|last| now.saturating_duration_since(last) < PAUSE) {
            told.others = told.others.saturating_add(count);
            return None;
        }
        let others = told.others.saturating_add(count.saturating_sub(1));
        *told = Told { last: Some(now), others: 0 };
        Some(others)
    }
}

/// A text from outside as the log shows it: cut, quoted, control characters escaped.
pub(super) fn shown(text: &[u8]) -> tracing::field::DebugValue<String> {
    let cut = String::from_utf8_lossy(&text[..text.len().min(SHOWN)]);
    tracing::field::debug(if text.len() > SHOWN { format!("{cut}…") } else { cut.into_owned() })
}
