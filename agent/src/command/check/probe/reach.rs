//! The way to a host, step by step: name, TCP, TLS with its certificate. What of it failed, and what to do.

use tidegate::certificate::{Certificate, Distrust};
use tidegate::chain;
use tidegate::clock::now_ms;
use tidegate::code::Code;
use tidegate::language::{IntoValue, Message, Value};
use tidegate::message;
use tidegate::shape::wire::{Names, Reached, Target, Trouble, Wire, WireError, WireStream};
use tidegate::watch::render::time;

use crate::command::check::Tell;
use crate::command::check::finding::{Finding, Id, Subject};

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
                let what = Id::Tls.of(message!("TLS with {host}", host = host));
                tell(Presented { what, host, certificate: certificate.as_ref(), clock }.trusted());
            }
            Some(stream)
        }
        Err(error) => {
            tell(failed(target, &error, certificate.as_ref(), clock));
            None
        }
    }
}

/// A certificate that was shown, and by whom.
pub(super) struct Presented<'a> {
    /// What was looked at.
    pub(super) what: Subject,
    /// Who should have shown it.
    pub(super) host: &'a str,
    /// It, if it can be read.
    pub(super) certificate: Option<&'a Certificate>,
    /// What is known of the clock that it is judged by.
    pub(super) clock: Time,
}

impl Presented<'_> {
    fn which(&self) -> Message {
        let Some(certificate) = self.certificate else { return message!("certificate that cannot be read") };
        message!(
            "certificate of {subject} by {issuer}, from {from} until {until}",
            subject = &certificate.subject,
            issuer = &certificate.issuer,
            from = time(certificate.from_ms),
            until = time(certificate.until_ms),
        )
    }

    /// It is trusted.
    pub(super) fn trusted(self) -> Finding {
        let which = self.which();
        let Some(certificate) = self.certificate else {
            return Finding::good(self.what, message!("the certificate is trusted"));
        };
        if certificate.until_ms.saturating_sub(self.clock.now_ms) < SOON_MS {
            return Finding::attention(
                self.what,
                message!("trusted, and ends soon: {certificate}", certificate = which),
                Code::CertificateTime,
                message!(
                    "tell whoever runs {host} to renew it; if that is SORACOM, nothing is to be done here",
                    host = self.host
                ),
            );
        }
        Finding::good(self.what, message!("trusted: {certificate}", certificate = which))
    }

    /// It is not. `why`: what the library says; `authority`: what to do about who has issued it.
    pub(super) fn distrusted(self, distrust: Distrust, why: impl IntoValue, authority: Message) -> Finding {
        let (certificate, now, host) = (self.which(), time(self.clock.now_ms), self.host);
        let (said, code, next) = match distrust {
            Distrust::NotYetValid if self.clock.right => (
                message!(
                    "not valid yet: {certificate}; this clock shows {now}, which is right",
                    certificate = certificate,
                    now = now
                ),
                Code::CertificateTime,
                message!("tell whoever runs {host}: the certificate was put into service too early", host = host),
            ),
            Distrust::NotYetValid => (
                message!("not valid yet: {certificate}; this clock shows {now}", certificate = certificate, now = now),
                Code::CertificateTime,
                // Hardly anybody puts a certificate into service before it holds.
                message!("set the clock: timedatectl set-ntp true; then check again"),
            ),
            Distrust::Expired if self.clock.right => (
                message!(
                    "expired: {certificate}; this clock shows {now}, which is right",
                    certificate = certificate,
                    now = now
                ),
                Code::CertificateTime,
                message!("tell whoever runs {host} to renew it", host = host),
            ),
            Distrust::Expired => (
                message!(
                    "expired: {certificate}; this clock shows {now}, and it is not known to be right: it may be ahead",
                    certificate = certificate,
                    now = now
                ),
                Code::CertificateTime,
                message!(
                    "compare the clock with a watch: if it is wrong, set it (timedatectl set-ntp true) and check again; if it is right, whoever runs {host} must renew the certificate",
                    host = host
                ),
            ),
            Distrust::OtherName => (
                message!("it is for another name: {certificate}", certificate = certificate),
                Code::Certificate,
                message!(
                    "see that {host} is spelt right, and that no portal or proxy answers in its place",
                    host = host
                ),
            ),
            Distrust::UnknownIssuer => (
                message!("nobody who is trusted here has issued it: {certificate}", certificate = certificate),
                Code::Certificate,
                authority,
            ),
            Distrust::Other => (
                message!("it is not trusted ({why}): {certificate}", why = why, certificate = certificate),
                Code::Certificate,
                authority,
            ),
        };
        Finding::bad(self.what, said, code, next)
    }
}

fn failed(target: &Target, error: &WireError, certificate: Option<&Certificate>, clock: Time) -> Finding {
    let (host, port) = (target.host.as_str(), target.port);
    let cause = || std::error::Error::source(error).map_or_else(|| error.message().into_value(), chain::said);
    match error {
        WireError::Resolve { .. } | WireError::NoAddress { .. } => nameless(host, error, &cause()),
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
        WireError::Tls { .. } => untrusted(target, error, certificate, clock, &cause()),
        _ => Finding::bad(
            Id::Tls.of(message!("TLS with {host}", host = host)),
            message!("it cannot be tried: {why}", why = error.message()),
            Code::Certificate,
            message!("install ca-certificates, or correct ca_file in the configuration"),
        ),
    }
}

/// Names that stand in this program: nobody has spelt them.
const BUILT_IN: [&str; 4] = ["uni.soracom.io", "api.soracom.io", "metadata.soracom.io", "status.soracom.io"];

fn nameless(host: &str, error: &WireError, cause: &Value) -> Finding {
    let what = Id::Name.of(message!("name {host}", host = host));
    let servers = Names::default().servers().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let known = BUILT_IN.iter().any(|name| host.eq_ignore_ascii_case(name));
    let said = if let WireError::NoAddress { .. } = error {
        message!("the name server ({servers}) knows no such name", servers = servers)
    } else {
        message!("it cannot be resolved by the name server ({servers}): {why}", servers = servers, why = cause)
    };
    let next = match error.trouble() {
        Trouble::Answered if known => message!(
            "the name is right: see that the line is up (modem, SIM, APN) and that /etc/resolv.conf names the line's own name server, and no other"
        ),
        Trouble::Answered => {
            message!("see that the name is spelt right; if it is, see which name server /etc/resolv.conf names")
        }
        _ => message!("see that the line is up (modem, SIM, APN), and which name server /etc/resolv.conf names"),
    };
    Finding::bad(what, said, Code::Names, next)
}

fn untrusted(
    target: &Target,
    error: &WireError,
    certificate: Option<&Certificate>,
    clock: Time,
    cause: &Value,
) -> Finding {
    let host = target.host.as_str();
    let what = Id::Tls.of(message!("TLS with {host}", host = host));
    let Some(distrust) = error.distrust() else {
        return Finding::bad(
            what,
            message!("the handshake failed: {why}", why = cause),
            Code::Certificate,
            message!(
                "see that {host} port {port} speaks TLS, and that nothing on the way breaks it open",
                host = host,
                port = target.port
            ),
        );
    };
    let authority = message!(
        "install ca-certificates; for a CA of one's own write ca_file; see that no proxy answers in its place"
    );
    Presented { what, host, certificate, clock }.distrusted(distrust, cause, authority)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::check::finding::Outcome;

    #[test]
    fn a_name_that_nobody_has_spelt_is_not_to_be_spelt_better() {
        let next = |host: &str, error: &WireError| {
            let finding = nameless(host, error, &"x".into_value());
            assert_eq!((finding.result, finding.code), (Outcome::Bad, Some(Code::Names)));
            (finding.said.to_string(), finding.next.expect("what to do").to_string())
        };
        let unknown = |host: &str| WireError::NoAddress { host: host.into() };
        for host in BUILT_IN {
            let (said, next) = next(host, &unknown(host));
            assert!(said.contains("knows no such name") && next.contains("the line is up"), "{said} → {next}");
            assert!(!next.contains("spelt"), "{next}");
        }
        assert!(next("flux.example", &unknown("flux.example")).1.contains("spelt right"));
        let silent = std::io::Error::from(std::io::ErrorKind::TimedOut);
        let silent = WireError::Resolve { host: "uni.soracom.io".into(), source: silent };
        let (said, next) = next("uni.soracom.io", &silent);
        assert!(said.contains("cannot be resolved") && next.contains("which name server"), "{said} → {next}");
    }

    #[test]
    fn the_names_that_stand_in_this_program_are_those_of_its_defaults() {
        let defaults = tidegate::config::DEFAULT_FILE;
        for host in BUILT_IN {
            assert!(defaults.contains(host), "{host}");
        }
    }
}
