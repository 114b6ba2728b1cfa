//! What can be asked of the buffer, and what is answered. As JSON these are the words of the control socket.

use super::status::StoreLook;
use crate::language::Message;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use tidegate_protocol::{RecordRef, TimeSource};

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Ask {
    /// What there is, lane by lane. No items; [`End::Status`].
    Status,
    /// Records. [`Item::Record`]s and [`Item::Progress`]; [`End::Records`].
    Records(Filter),
    /// Reads everything and compares all sums. [`Item::Checked`], [`Item::Damage`] and [`Item::Progress`];
    /// [`End::Verified`].
    Verify,
    /// What was put aside. [`Item::Aside`]s, the oldest first; [`End::Records`].
    Aside {
        /// Only the record with this id (see [`AsideId`]).
        id: Option<String>,
    },
    /// Delivered records that are still kept are to be delivered again. [`End::Replay`].
    Replay {
        /// Received at this time (ms since the Unix epoch) or later.
        from_ms: u64,
        /// Received before this time.
        to_ms: u64,
        /// Only this lane.
        lane: Option<String>,
        /// Do it; otherwise only count.
        go: bool,
    },
    /// A record put aside is to be tried again. [`End::Done`].
    Retry {
        /// Its id (see [`AsideId`]).
        id: String,
    },
    /// A record put aside is to be forgotten. [`End::Done`].
    Drop {
        /// Its id (see [`AsideId`]).
        id: String,
    },
}

/// Which records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// Only this lane.
    pub lane: Option<String>,
    /// Only devices of this name or, before a `*` at the end, of this beginning.
    pub device: Option<DevicePattern>,
    /// Only records received at this time (ms since the Unix epoch) or later.
    pub from_ms: Option<u64>,
    /// Only records received before this time.
    pub to_ms: Option<u64>,
    /// Which of them.
    pub what: What,
    /// At most so many.
    pub limit: Option<u64>,
}

/// Which records, by what has become of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Those that wait to be delivered.
    #[default]
    Waiting,
    /// These, and delivered ones that are still kept.
    All,
}

/// A device's name or, before a `*` at the end, its beginning: as `[collect] devices` is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DevicePattern(pub String);

impl DevicePattern {
    /// Whether it is this device's.
    pub fn matches(&self, device: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => device.starts_with(beginning),
            None => device == self.0,
        }
    }
}

/// The id of a record that was put aside, as people write it: `gateway/epoch/lane/seq`, or only its last parts where
/// these tell it from all others, such as `normal/17`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsideId<'a> {
    parts: Vec<&'a str>,
    seq: u64,
}

impl<'a> AsideId<'a> {
    /// Reads an id. `None` if it is not one.
    pub fn read(text: &'a str) -> Option<Self> {
        let mut parts: Vec<&str> = text.trim().split('/').collect();
        let seq = parts.pop()?.parse().ok()?;
        (parts.len() <= 3 && parts.iter().all(|part| !part.is_empty())).then_some(Self { parts, seq })
    }

    /// Whether it is the id of this record.
    pub fn matches(&self, gateway: &str, epoch: &str, lane: &str, seq: u64) -> bool {
        let whole = [gateway, epoch, lane];
        self.seq == seq && self.parts.iter().rev().eq(whole.iter().rev().take(self.parts.len()))
    }
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Item<'a> {
    /// A record.
    #[serde(borrow)]
    Record(Record<'a>),
    /// A record that was put aside.
    #[serde(borrow)]
    Aside(AsideItem<'a>),
    /// A lane has been checked.
    Checked(Checked),
    /// Something that cannot be read.
    Damage(Damage),
    /// How much has been read so far, and of how much, in bytes.
    Progress {
        /// Read so far.
        done: u64,
        /// In all.
        total: u64,
    },
}

/// A record and what has become of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record<'a> {
    /// The id's gateway.
    pub gateway: Cow<'a, str>,
    /// The id's epoch.
    pub epoch: Cow<'a, str>,
    /// The id's lane.
    pub lane: Cow<'a, str>,
    /// The id's number.
    pub seq: u64,
    /// The device.
    pub device: Cow<'a, str>,
    /// The topic.
    pub topic: Cow<'a, str>,
    /// When it was received (ms since the Unix epoch).
    pub time_ms: u64,
    /// How far that time can be believed.
    #[serde(with = "time_source")]
    pub time_source: TimeSource,
    /// Whether it waits to be delivered; otherwise it was delivered and is only kept.
    pub waiting: bool,
    /// The payload, byte for byte; in JSON as base64.
    #[serde(with = "base64_bytes")]
    pub payload: Cow<'a, [u8]>,
}

impl<'a> Record<'a> {
    pub(super) fn new(record: &RecordRef<'a>, waiting: bool) -> Self {
        Self {
            gateway: record.gateway.into(),
            epoch: record.epoch.into(),
            lane: record.lane.into(),
            seq: record.seq,
            device: record.device.into(),
            topic: record.topic.into(),
            time_ms: record.time_ms,
            time_source: record.time_source,
            waiting,
            payload: record.payload.into(),
        }
    }

    /// The record as the rest of the agent knows it.
    pub fn as_ref(&self) -> RecordRef<'_> {
        RecordRef {
            gateway: &self.gateway,
            epoch: &self.epoch,
            lane: &self.lane,
            seq: self.seq,
            device: &self.device,
            topic: &self.topic,
            time_ms: self.time_ms,
            time_source: self.time_source,
            payload: &self.payload,
        }
    }
}

/// A record that was put aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsideItem<'a> {
    /// The record; what has become of it there is no matter: `waiting` is false.
    #[serde(borrow)]
    pub record: Record<'a>,
    /// Why it was put aside.
    pub reason: Cow<'a, str>,
    /// Whether its lane still holds it, so that a retry delivers it under its own id.
    pub kept: bool,
}

/// A lane that has been read from end to end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Its name; `control` and `aside` are the store's own.
    pub lane: String,
    /// Segments read.
    pub segments: u64,
    /// Records in them that are whole.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Damaged ranges.
    pub damaged: u64,
}

/// A range that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// The lane; empty if it is of none: the store's file of its version.
    pub lane: String,
    /// The file.
    pub file: String,
    /// Where in the file it begins, in bytes.
    pub offset: u64,
    /// First record that cannot be read.
    pub from: u64,
    /// First record that can be read again; the same as `from` where no record is concerned or none is known of.
    pub below: u64,
    /// What is wrong.
    pub what: String,
}

/// What an answer adds up to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum End {
    /// What there is.
    Status(Box<StoreLook>),
    /// So many records were shown.
    Records {
        /// How many.
        records: u64,
        /// Ranges on the way that could not be read.
        damaged: u64,
    },
    /// Everything has been read.
    Verified {
        /// Damaged ranges, all lanes together.
        damaged: u64,
    },
    /// Records to be delivered again.
    Replay {
        /// How many.
        records: u64,
        /// Bytes of them.
        bytes: u64,
        /// Whether they wait now.
        done: bool,
    },
    /// It is done, durably.
    Done {
        /// What was done, for people.
        what: String,
        /// The same as a message, where it is said differently in each language.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        said: Option<Message>,
    },
}

/// The word for a time source, as it stands in events and exports.
pub fn time_source_word(source: TimeSource) -> &'static str {
    match source {
        TimeSource::Synchronised => "synchronised",
        TimeSource::Corrected => "corrected",
        TimeSource::Unsynchronised => "unsynchronised",
    }
}

/// A time source as its word.
mod time_source {
    use serde::{Deserialize as _, Deserializer, Serializer};
    use std::borrow::Cow;
    use tidegate_protocol::TimeSource;

    // serde hands a reference to whatever type the field has.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    pub(super) fn serialize<S: Serializer>(source: &TimeSource, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(super::time_source_word(*source))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TimeSource, D::Error> {
        let word = Cow::<str>::deserialize(deserializer)?;
        let known = [TimeSource::Synchronised, TimeSource::Corrected, TimeSource::Unsynchronised];
        let found = known.into_iter().find(|source| super::time_source_word(*source) == word);
        found.ok_or_else(|| serde::de::Error::custom(format!("{word:?} is no time source")))
    }
}

/// Bytes as base64 (RFC 4648, standard alphabet, padded).
mod base64_bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize as _, Deserializer, Serializer};
    use std::borrow::Cow;

    // serde hands a reference to whatever type the field has.
    #[allow(clippy::ptr_arg)]
    pub(super) fn serialize<S: Serializer>(bytes: &Cow<'_, [u8]>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&base64::display::Base64Display::new(bytes, &STANDARD))
    }

    pub(super) fn deserialize<'de, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'a, [u8]>, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        STANDARD.decode(text.as_bytes()).map(Cow::Owned).map_err(serde::de::Error::custom)
    }
}
