//! The way to a host, step by step: name, TCP, TLS with its certificate. What of it failed, and what to do.

use tidegate::chain;
use tidegate::clock::now_ms;
use tidegate::code::Code;
use tidegate::language::{IntoValue as _, Message, Value};
use tidegate::message;
use tidegate::shape::wire::{Certificate, Distrust, Reached, Target, Trouble, Wire, WireError, WireStream};
use tidegate::watch::render::time;

use crate::command::check::Tell;
use crate::command::check::finding::{Finding, Id};

/// A certificate that ends within this time is worth knowing of, where nobody renews it by itself: 14 days. (Public ones are renewed
/// 30 days before their end as a rule, so below 14 something is wrong with that.)
const SOON_MS: u64 = 14 * 24 * 3600 * 1000;

/// What is known of the clock, to explain why a certificate is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) struct Time {
    /// What it shows, in ms since the Unix epoch.
    pub(in crate::command) now_ms: u64,
    /// Whether that is known to be right.
    pub(in crate::command) right: bool,
}

impl Time {
    /// The clock as it stands.
    pub(in crate::command) fn now(right: bool) -> Self {
        Self { now_ms: now_ms(), right }
    }
}

/// Goes there, tells each step, and hands the connection out.
pub(in crate::command) async fn go(wire: &Wire, target: &Target, clock: Time, tell: Tell<'_>) -> Option<WireStream> {
    let Reached { addresses, ends, certificate, stream } = wire.reach(target).await;
    let host = target.host.as_str();
    if !addresses.is_empty() && addresses.iter().all(|address| address.to_string() != host) {
        let all = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        tell(Finding::good(
            Id::Name.of(message!("name {host}", host = host)),
            message!("stands for {addresses}", addresses = all),
        ));
    }
    if let Some((own, peer)) = ends {
        let said = message!("connected to {peer} from {own}", peer = peer, own = own.ip().to_string());
        tell(Finding::good(Id::Tcp.of(message!("TCP to {host} port {port}", host = host, port = target.port)), said));
    }
    match stream {
        Ok(stream) => {
            if target.tls {
                tell(trusted(host, certificate.as_ref(), clock));
            }
            Some(stream)
        }
        Err(error) => {
            tell(failed(target, &error, certificate.as_ref(), clock));
            None
        }
    }
}

fn shown(certificate: &Certificate) -> Message {
    message!(
        "certificate of {subject} by {issuer}, from {from} until {until}",
        subject = &certificate.subject,
        issuer = &certificate.issuer,
        from = time(certificate.from_ms),
        until = time(certificate.until_ms),
    )
}

fn trusted(host: &str, certificate: Option<&Certificate>, clock: Time) -> Finding {
    let what = Id::Tls.of(message!("TLS with {host}", host = host));
    let Some(certificate) = certificate else { return Finding::good(what, message!("the certificate is trusted")) };
    if certificate.until_ms.saturating_sub(clock.now_ms) < SOON_MS {
        return Finding::attention(
            what,
            message!("trusted, and ends soon: {certificate}", certificate = shown(certificate)),
            Code::CertificateTime,
            message!(
                "tell whoever runs {host} to renew it; if that is SORACOM, nothing is to be done here",
                host = host
            ),
        );
    }
    Finding::good(what, message!("trusted: {certificate}", certificate = shown(certificate)))
}

fn failed(target: &Target, error: &WireError, certificate: Option<&Certificate>, clock: Time) -> Finding {
    let (host, port) = (target.host.as_str(), target.port);
    let cause = || std::error::Error::source(error).map_or_else(|| error.message().into_value(), chain::said);
    match error {
        WireError::Resolve { .. } | WireError::NoAddress { .. } => Finding::bad(
            Id::Name.of(message!("name {host}", host = host)),
            message!("it cannot be resolved: {why}", why = cause()),
            Code::Names,
            match error.trouble() {
                Trouble::Answered => {
                    message!("see that the name is spelt right; if it is, see which name server /etc/resolv.conf names")
                }
                _ => {
                    message!("see that the line is up (modem, SIM, APN), and which name server /etc/resolv.conf names")
                }
            },
        ),
        WireError::Connect { .. } => {
            let what = Id::Tcp.of(message!("TCP to {host} port {port}", host = host, port = port));
            let said = message!("no connection: {why}", why = cause());
            let (code, next) = match error.trouble() {
                Trouble::NoWay => (
                    Code::NoRoute,
                    message!("there is no way out of this machine: see the modem, [forward] interface, and `ip route`"),
                ),
                Trouble::Refused => (
                    Code::NoConnection,
                    message!("somebody answers there and refuses: see that address and port are right"),
                ),
                _ => (
                    Code::NoConnection,
                    message!("see the signal, the SIM's status in the console, the APN and firewalls"),
                ),
            };
            Finding::bad(what, said, code, next)
        }
        WireError::Tls { .. } => untrusted(target, error, certificate, clock, cause()),
        _ => Finding::bad(
            Id::Tls.of(message!("TLS with {host}", host = host)),
            message!("it cannot be tried: {why}", why = error.message()),
            Code::Certificate,
            message!("install ca-certificates, or correct ca_file in the configuration"),
        ),
    }
}

fn untrusted(
    target: &Target,
    error: &WireError,
    certificate: Option<&Certificate>,
    clock: Time,
    cause: Value,
) -> Finding {
    let host = target.host.as_str();
    let what = Id::Tls.of(message!("TLS with {host}", host = host));
    let which = || certificate.map_or_else(|| message!("certificate that cannot be read"), shown);
    let now = time(clock.now_ms);
    let set_clock = || message!("set the clock: timedatectl set-ntp true; then check again");
    match error.distrust() {
        None => Finding::bad(
            what,
            message!("the handshake failed: {why}", why = cause),
            Code::Certificate,
            message!(
                "see that {host} port {port} speaks TLS, and that nothing on the way breaks it open",
                host = host,
                port = target.port
            ),
        ),
        Some(Distrust::NotYetValid) => Finding::bad(
            what,
            message!("not valid yet: {certificate}; this clock shows {now}", certificate = which(), now = now),
            Code::CertificateTime,
            // Nobody puts a certificate into service before it holds.
            set_clock(),
        ),
        Some(Distrust::Expired) if clock.right => Finding::bad(
            what,
            message!(
                "expired: {certificate}; this clock shows {now}, which is right",
                certificate = which(),
                now = now
            ),
            Code::CertificateTime,
            message!("tell whoever runs {host} to renew it", host = host),
        ),
        Some(Distrust::Expired) => Finding::bad(
            what,
            message!(
                "expired: {certificate}; this clock shows {now}, and it is not known to be right: it may be ahead",
                certificate = which(),
                now = now
            ),
            Code::CertificateTime,
            set_clock(),
        ),
        Some(Distrust::OtherName) => Finding::bad(
            what,
            message!("it is for another name: {certificate}", certificate = which()),
            Code::Certificate,
            message!("see that {host} is spelt right, and that no portal or proxy answers in its place", host = host),
        ),
        Some(Distrust::UnknownIssuer) => Finding::bad(
            what,
            message!("nobody who is trusted here has issued it: {certificate}", certificate = which()),
            Code::Certificate,
            message!(
                "install ca-certificates; for a CA of one's own write ca_file; see that no proxy answers in its place"
            ),
        ),
        Some(Distrust::Other) => Finding::bad(
            what,
            message!("it is not trusted ({why}): {certificate}", why = cause, certificate = which()),
            Code::Certificate,
            message!(
                "install ca-certificates; for a CA of one's own write ca_file; see that no proxy answers in its place"
            ),
        ),
    }
}
