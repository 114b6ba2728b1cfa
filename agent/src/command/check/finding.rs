//! What an examination found: one line each.

use serde::{Serialize, Serializer};
use tidegate::code::Code;
use tidegate::language::Message;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// What a line of `check` is about, by a name that is the same in every language and every version. One is never given
        /// to something else; README, "Checking a gateway", has them all.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(in crate::command) enum Id {
            $($(#[$doc])* $name,)*
        }

        impl Id {
            /// All of them, in the order in which they are looked at.
            #[cfg(test)]
            pub(in crate::command) const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name itself.
            pub(in crate::command) fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

ids! {
    /// The configuration file.
    Configuration = "configuration",
    /// What was kept of it when it worked last: looked at where the file cannot be used.
    KeptConfiguration = "kept-configuration",
    /// The running service.
    Service = "service",
    /// The service as systemd sees it.
    Unit = "unit",
    /// What systemd is to hand to the service.
    Credentials = "credentials",
    /// That nothing else could be looked at.
    Rest = "rest",
    /// A file that the configuration names, or itself: who may read it.
    File = "file",
    /// The store as a whole.
    Store = "store",
    /// Whether the agent can open it.
    StoreOpening = "store-opening",
    /// What it is on.
    StoreMedium = "store-medium",
    /// How much room there is.
    StoreRoom = "store-room",
    /// Whether the service can write there.
    StoreWriting = "store-writing",
    /// How long a sync takes.
    StoreSync = "store-sync",
    /// The terms file that the configuration names.
    Terms = "terms",
    /// An address and port that devices connect to.
    Listener = "listener",
    /// The existing broker.
    Broker = "broker",
    /// Its certificate.
    BrokerTls = "broker-tls",
    /// What of it Tidegate may subscribe to.
    BrokerTopics = "broker-topics",
    /// What it keeps while Tidegate is away.
    BrokerLimits = "broker-limits",
    /// Whether that outlives a restart of it.
    BrokerPersistence = "broker-persistence",
    /// The metrics page's address and port.
    Metrics = "metrics",
    /// The clock.
    Clock = "clock",
    /// Interface and routes.
    WayOut = "way-out",
    /// The way to Flux as a whole.
    Flux = "flux",
    /// A host's name.
    Name = "name",
    /// A connection to it.
    Tcp = "tcp",
    /// Its certificate.
    Tls = "tls",
    /// Its answer.
    Http = "http",
    /// The authentication key.
    Token = "token",
    /// Whether Flux takes what the service sends.
    FluxEvents = "flux-events",
    /// SORACOM's metadata service.
    MetadataService = "metadata-service",
    /// SORACOM's status page.
    StatusPage = "status-page",
    /// The event of `--send-event`.
    TestEvent = "test-event",
}

impl Id {
    /// The same, as a person reads it.
    pub(in crate::command) fn of(self, what: Message) -> Subject {
        Subject { id: self, what }
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// What was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::command) struct Subject {
    id: Id,
    what: Message,
}

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::command) enum Outcome {
    /// As it should be.
    Good,
    /// It works, and somebody should know something about it.
    Attention,
    /// It could not be judged, and [`Finding::said`] has why: nothing is called bad that is not known to be.
    Unknown,
    /// It does not work, or will lose records.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::command) struct Finding {
    /// What was looked at, for programs.
    pub(in crate::command) id: Id,
    /// What was looked at, in a few words.
    pub(in crate::command) what: Message,
    /// How it is.
    pub(in crate::command) result: Outcome,
    /// What was found.
    pub(in crate::command) said: Message,
    /// What a technician can do, if it is not good.
    pub(in crate::command) next: Option<Message>,
    /// Where more is written about it.
    pub(in crate::command) code: Option<Code>,
}

impl Finding {
    fn new(of: Subject, result: Outcome, said: Message) -> Self {
        Self { id: of.id, what: of.what, result, said, next: None, code: None }
    }

    /// It is as it should be.
    pub(in crate::command) fn good(of: Subject, said: Message) -> Self {
        Self::new(of, Outcome::Good, said)
    }

    /// It works, but.
    pub(in crate::command) fn attention(of: Subject, said: Message, code: Code, next: Message) -> Self {
        Self { next: Some(next), code: Some(code), ..Self::new(of, Outcome::Attention, said) }
    }

    /// It does not work.
    pub(in crate::command) fn bad(of: Subject, said: Message, code: Code, next: Message) -> Self {
        Self { next: Some(next), code: Some(code), ..Self::new(of, Outcome::Bad, said) }
    }

    /// It could not be judged; `said` has why, `next` what would make it possible.
    pub(in crate::command) fn unknown(of: Subject, said: Message, next: Option<Message>) -> Self {
        Self { next, ..Self::new(of, Outcome::Unknown, said) }
    }

    /// The finding for `--json`: the same in every language.
    pub(in crate::command) fn told(&self) -> Told<'_> {
        Told {
            id: self.id,
            what: self.what.to_string(),
            what_message: &self.what,
            result: self.result,
            said: self.said.to_string(),
            said_message: &self.said,
            next: self.next.as_ref().map(ToString::to_string),
            next_message: self.next.as_ref(),
            code: self.code.map(|code| code.to_string()),
        }
    }
}

/// A finding as `--json` has it: English, and beside it the message with its values, as `status --json` does.
#[derive(Debug, Serialize)]
pub(in crate::command) struct Told<'a> {
    id: Id,
    what: String,
    what_message: &'a Message,
    result: Outcome,
    said: String,
    said_message: &'a Message,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_message: Option<&'a Message>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_one_of_its_own_and_stands_in_the_readme() {
        let all: Vec<&str> = Id::ALL.iter().map(|id| id.word()).collect();
        let plain = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        assert!(all.iter().all(plain), "{all:?}");
        let mut once = all.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), all.len());
        let readme = include_str!("../../../../README.md");
        for word in &all {
            assert!(readme.contains(&format!("`{word}`")), "README.md does not have `{word}`");
        }
    }

    #[test]
    fn a_finding_reads_the_same_for_programs_whatever_the_language() {
        let of = Id::Listener.of(tidegate::message!("devices connect to {address}", address = "127.0.0.1:1883"));
        let finding =
            Finding::unknown(of, tidegate::message!("the ports in use cannot be listed on this machine"), None);
        let told = serde_json::to_value(finding.told()).expect("it is JSON");
        let expected = serde_json::json!({
            "id": "listener",
            "what": "devices connect to 127.0.0.1:1883",
            "what_message": {"message": "devices connect to {address}", "with": [["address", "127.0.0.1:1883"]]},
            "result": "unknown",
            "said": "the ports in use cannot be listed on this machine",
            "said_message": {"message": "the ports in use cannot be listed on this machine"},
        });
        assert_eq!(told, expected);
    }
}
