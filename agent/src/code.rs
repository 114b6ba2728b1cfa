//! Stable codes of what can be wrong: `TG-xxx`, the same in every language and every version, so that a technician can search
//! for one, read it to somebody over the telephone, and find its page in `docs/errors/`.
//!
//! # Constraints
//! - A code is never given to something else. One that is not used any more keeps its page, which says so.
//! - A code names what a person can act on, not a place in the program: several errors may share one.
//! - The first digit says where to look: 1 configuration · 2 devices and brokers · 3 store · 4 line and clock ·
//!   5 Flux and what the provider allows · 6 service and this machine · 7 notices and evidence.

use std::fmt;

use crate::language::{Language, Message};
use crate::message;
use crate::texts;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal $title:literal,)*) => {
        /// What is wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[$doc])* $name = $number,)*
        }

        impl Code {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// What is wrong, in a few words: its page's title.
            pub fn title(self) -> Message {
                match self {
                    $(Self::$name => message!($title),)*
                }
            }
        }
    };
}

codes! {
    /// The configuration file is missing, may not be read or is too long.
    ConfigUnreadable = 101 "The configuration file cannot be read",
    /// Something in it is wrong.
    ConfigWrong = 102 "The configuration has mistakes",
    /// The package's file is as it was shipped.
    NotConfigured = 103 "Tidegate is not configured yet",
    /// The file was bad at start.
    ConfigKept = 104 "Tidegate runs with the configuration that worked last",
    /// A file that holds a secret is missing or cannot be used.
    Secret = 105 "A file that holds a secret cannot be used",
    /// A reload was refused.
    ReloadRefused = 106 "A changed configuration was refused",
    /// A reload was taken in, not everything of it can take effect.
    RestartNeeded = 107 "A change takes effect at the next start",
    /// The file of the contract's limits.
    TermsFile = 108 "The file with the contract's limits cannot be used",
    /// Flags, or somebody's yes.
    SetupUnanswered = 109 "Setup needs an answer that it was not given",
    /// What was answered does not work.
    SetupBad = 110 "Setup found that an answer does not work",
    /// Somebody else edits it.
    ChangedMeanwhile = 111 "The configuration was changed by somebody else meanwhile",
    /// It can be used; a note on it.
    ConfigNote = 112 "Something in the configuration is probably not meant",

    /// The port is taken or the address is not this machine's.
    Listen = 201 "Devices cannot connect: the address or port cannot be used",
    /// The listener's certificate or key.
    ListenerTls = 202 "The listener's certificate or key cannot be used",
    /// No connection to the existing broker.
    BrokerUnreachable = 203 "The MQTT broker cannot be reached",
    /// It refuses the user name, the password or a subscription.
    BrokerRefuses = 204 "The MQTT broker refuses Tidegate",
    /// Its queues may drop messages silently.
    BrokerLimits = 205 "The MQTT broker's limits may drop messages",
    /// Not on the list of devices.
    DeviceRefused = 206 "A device was refused at the door",
    /// Publishes that no rule takes.
    RecordRefused = 207 "Publishes were refused",

    /// It cannot be opened or written.
    StoreUnusable = 301 "The store cannot be opened or written",
    /// Another agent has it.
    StoreInUse = 302 "The store is in use by another agent",
    /// A newer version wrote it.
    StoreNewer = 303 "The store was written by a newer version",
    /// Nothing can be written now.
    StoreStalled = 304 "The store cannot take records at the moment",
    /// The medium returned other bytes than were written.
    StoreDamaged = 305 "Records on the medium are damaged",
    /// The oldest records went.
    StoreFull = 306 "The store is at its limit and dropped records",
    /// `fdatasync` takes long.
    StoreSlow = 307 "The medium is slow",
    /// Memory or a network's file system.
    StoreMedium = 308 "The store is on a medium that does not last",

    /// Not known to be right.
    Clock = 401 "The clock is not known to be right",
    /// No interface is up, or there is no route.
    NoRoute = 402 "There is no way out of this gateway",
    /// A name cannot be resolved.
    Names = 403 "A name cannot be resolved",
    /// No TCP connection.
    NoConnection = 404 "No connection to the far end",
    /// The certificate is not trusted.
    Certificate = 405 "The far end's certificate is not trusted",
    /// It is not valid at the time this gateway takes it to be.
    CertificateTime = 406 "The far end's certificate is not valid at this time",
    /// Not on a SORACOM line, or it does not answer.
    Metadata = 407 "The metadata service cannot be reached",
    /// It cannot be asked.
    StatusPage = 408 "The status page cannot be read",

    /// Refused before anything was ever accepted.
    EndpointWrong = 501 "Flux refuses this gateway: the endpoint or its credential is wrong",
    /// No API token.
    TokenRefused = 502 "The authentication key is refused",
    /// 5.1(3).
    Suspended = 503 "The service is suspended",
    /// 5.3, 6.2.
    Ended = 504 "The service has ended",
    /// 1.2.
    TermsHeld = 505 "Changed terms wait for being accepted",
    /// `tidegate hold`.
    OperatorHold = 506 "Sending was stopped by a person",
    /// Used up.
    QuotaSpent = 507 "What may be sent is used up",
    /// 5.1(2), 10.1(6).
    Restricted = 508 "The provider limits what may leave",
    /// 5.2(1).
    Maintenance = 509 "Maintenance",
    /// 5.1(1).
    Emergency = 510 "Emergency: only the most important records leave",
    /// A record that is refused for good.
    PutAside = 511 "Flux refuses certain records for good",
    /// The alarm.
    NothingDelivered = 512 "Nothing was delivered for a long time",
    /// 5xx, refused connections.
    FluxUnusable = 513 "Flux does not answer as it should",

    /// Nothing behind the control socket.
    NotRunning = 601 "No agent answers",
    /// systemd does not run it.
    Unit = 602 "The service is not enabled or has failed",
    /// Others can read what they should not, or the service cannot read what it should.
    Permissions = 603 "The permissions of a file are wrong",
    /// The metrics page's or control socket's address.
    Serve = 604 "The control socket or the metrics page cannot be had",
    /// No memory, no signal handler.
    Process = 605 "The process cannot be set up",
    /// A room ended by itself.
    Defect = 606 "A defect of Tidegate",
    /// Setup, bundles.
    CannotWrite = 607 "A file cannot be written",
    /// One that was named, or the ledger of outages.
    CannotRead = 608 "A file cannot be read",

    /// Not signed by a pinned key.
    NoticeUnsigned = 701 "A notice is not signed by a key that this gateway knows",
    /// Too old, seen before, or for others.
    NoticeRefused = 702 "A notice is not for this gateway, not valid now, or was seen before",
    /// The chain of hashes is broken.
    EvidenceDamaged = 703 "The ledger of outages was changed or is damaged",
    /// For whoever signs.
    SigningKey = 704 "A file holds no key that can sign notices",
}

impl Code {
    /// Its number.
    pub fn number(self) -> u16 {
        self as u16
    }

    /// That of a notice which is refused for a reason, by the reason's word (`NoticeError::code` and the inbox's own words).
    pub fn of_notice(reason: &str) -> Self {
        match reason {
            // What is no notice at all is signed by nobody, either.
            "no_keys" | "unsigned" | "unknown_key" | "bad_signature" | "malformed" | "too_large" => {
                Self::NoticeUnsigned
            }
            "not_a_file" | "unreadable" => Self::CannotRead,
            _ => Self::NoticeRefused,
        }
    }

    /// The code that is written so: `TG-102`, `tg-102` or `102`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = match text.get(..3) {
            Some(prefix) if prefix.eq_ignore_ascii_case("TG-") => &text[3..],
            _ => text,
        };
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let number: u16 = digits.parse().ok()?;
        Self::ALL.iter().copied().find(|code| code.number() == number)
    }
}

impl Code {
    /// Its page in `docs/errors/`, in Markdown: what it means, why it comes, what to do, when to call whom. The program
    /// carries all of them, some 160 kB before they are packed, for a gateway has no web.
    pub fn page(self, language: Language) -> &'static str {
        let ending = match language {
            Language::English => "md",
            Language::Japanese => "ja.md",
        };
        texts::text(&format!("{self}.{ending}"))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("TG-{:03}", self.number()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::IntoValue as _;
    use crate::provider::inbox::Refusal;

    #[test]
    fn what_no_key_that_is_known_has_signed_has_its_own_code_and_the_words_are_those_of_notices() {
        let unsigned = |reason: &&str| Code::of_notice(reason) == Code::NoticeUnsigned;
        let words: Vec<&str> = tidegate_protocol::notice::NoticeError::CODES.into_iter().filter(unsigned).collect();
        assert_eq!(words, ["too_large", "malformed", "unsigned", "unknown_key", "bad_signature"]);
        let of = |refusal: Refusal| Code::of_notice(refusal.code());
        assert_eq!(of(Refusal::NoKeys), Code::NoticeUnsigned);
        assert_eq!(of(Refusal::NotAFile), Code::CannotRead);
        assert_eq!(of(Refusal::Unreadable { why: "no".into_value() }), Code::CannotRead);
    }

    #[test]
    fn codes_are_in_order_and_read_as_they_are_written() {
        assert!(Code::ALL.windows(2).all(|two| two[0] < two[1]));
        for code in Code::ALL {
            assert_eq!(Code::parse(&code.to_string()), Some(*code));
        }
        assert_eq!(Code::parse(" tg-102 "), Some(Code::ConfigWrong));
        assert_eq!(Code::parse("102"), Some(Code::ConfigWrong));
        for wrong in ["", "TG-", "TG-999", "TG-+102", "日本-102", "-102"] {
            assert_eq!(Code::parse(wrong), None, "{wrong}");
        }
    }
}
