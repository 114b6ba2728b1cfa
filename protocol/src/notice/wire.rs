//! A notice as CBOR (RFC 8949): what is signed.
//!
//! # Constraints
//! - Names, not numbers, as keys, and the same ones as in the file that a person writes: a notice is rare and small, and
//!   whoever has only a CBOR viewer can read it.
//! - What is written has its keys in the order below, definite lengths and shortest forms. What is read may have any order.
//! - Tolerated (clause 9.3(2)): keys that are not known (told by name), a kind that is not known
//!   ([`Content::Unknown`]), a cause in another word (`other`), a limit of a kind that is not known. A
//!   restriction of which no limit is known is of an unknown kind.
//! - Refused: what is not one map with texts as keys, a key that stands there twice, anything nested deeper than
//!   [`DEPTH`], bytes behind the end, and a known field that is missing or is not what it must be.
//!
//! # Format
//! ```cddl
//! notice = {
//!   "id": name,                      ; what it is about
//!   "issued": time,
//!   "expires": time,                 ; until when it may be taken in, at most 400 days after `issued`
//!   ? "gateways": [1*1000 pattern],  ; for whom; without it for every gateway that pins the key
//!   "kind": tstr,                    ; of 1 to 64 bytes
//!   ? "why": tstr,                   ; for people, at most 500 bytes
//!   content,
//!   * tstr => any                    ; what a newer sender adds
//! }
//! name    = tstr                     ; 1 to 64 of A-Z, a-z, 0-9, `.`, `_`, `-`
//! pattern = tstr                     ; a name, or the beginning of one and `*`
//! time    = uint                     ; milliseconds since the Unix epoch, 2026 to 2099
//! begin   = time / 0                 ; 0 or none: at once
//!
//! content =                          ; by kind
//!   ( ? "from": begin, "until": time, ? "cause": interruption, ? "resume_s": 0..86400 )      ; maintenance
//!   // ( ? "from": begin, ? "until": time )                                                  ; emergency
//!   // ( ? "from": begin, ? "until": time, "limits": limits )                                ; restriction
//!   // ( ? "from": begin, ? "cause": breach )                                                ; suspension
//!   // ( "until": time )                                                                     ; quota
//!   // ( "at": begin )                                                                       ; end
//!   // ( "version": tstr, "effective": begin, ? "url": tstr )                                ; terms_changed
//!   // ( "effective": begin )                                                                ; identity
//!   // ()                                                                                    ; information, withdrawn
//! interruption = "works" / "upstream" / "identifier" / "security" / "other"
//! breach       = "unpaid" / "false_statement" / "terms" / "card" / "other"
//! limits = {                         ; at least one; units and ranges are those of `terms::Kind`
//!   ? "rate": uint, ? "rate_down": uint, ? "burst": uint,
//!   ? "bytes_per_hour": uint, ? "bytes_per_day": uint, ? "bytes_per_month": uint,
//!   ? "events_per_minute": uint, ? "events_per_day": uint, ? "events_per_month": uint / "unlimited",
//!   ? "share": uint,                 ; millionths
//!   ? "windows": [1*64 tstr],        ; "mon-fri 22:00-06:00", local time
//!   * tstr => any
//! }
//! ```

use std::num::NonZeroU64;

use ciborium::Value;

use super::{Breach, Content, Flaw, Interruption, NAME_BYTES, Notice, Scope};
use crate::said;
use crate::said::Said;
use crate::terms::{Bound, Kind, Quota, Windows};

/// How deep values may be nested; a notice needs three.
pub const DEPTH: usize = 8;

/// Keys that are not known of which the names are kept.
pub const UNKNOWN: usize = 8;

/// Windows of a restriction; a set that needs more is no rule that a person made.
const WINDOWS: usize = 64;

/// A notice that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The notice.
    pub notice: Notice,
    /// Keys of it that are not known, cut; the first [`UNKNOWN`].
    pub unknown: Vec<String>,
    /// How many there are in all.
    pub unknown_count: usize,
}

/// Writes a notice. Nothing is judged: [`Notice::check`](super::Notice::check) does that.
pub fn write(notice: &Notice) -> Vec<u8> {
    let mut map = Map::default();
    map.text("id", &notice.id).number("issued", notice.issued_ms).number("expires", notice.expires_ms);
    if let Scope::Gateways(patterns) = &notice.scope {
        map.put("gateways", texts(patterns));
    }
    map.text("kind", notice.content.kind());
    if !notice.why.is_empty() {
        map.text("why", &notice.why);
    }
    match &notice.content {
        Content::Maintenance { from_ms, until_ms, cause, resume_s } => {
            map.begin(*from_ms).number("until", *until_ms).text("cause", cause.as_str());
            if let Some(seconds) = resume_s {
                map.number("resume_s", (*seconds).into());
            }
        }
        Content::Emergency { from_ms, until_ms } => {
            map.begin(*from_ms).end(*until_ms);
        }
        Content::Restriction { from_ms, until_ms, limits } => {
            map.begin(*from_ms).end(*until_ms).put("limits", write_limits(limits));
        }
        Content::Suspension { from_ms, cause } => {
            map.begin(*from_ms).text("cause", cause.as_str());
        }
        Content::Quota { until_ms } => {
            map.number("until", *until_ms);
        }
        Content::End { at_ms } => {
            map.number("at", *at_ms);
        }
        Content::TermsChanged { version, effective_ms, url } => {
            map.text("version", version).number("effective", *effective_ms);
            if !url.is_empty() {
                map.text("url", url);
            }
        }
        Content::Identity { effective_ms } => {
            map.number("effective", *effective_ms);
        }
        Content::Information | Content::Withdrawn | Content::Unknown { .. } => {}
    }
    let mut bytes = Vec::new();
    ciborium::into_writer(&Value::Map(map.0), &mut bytes).expect("a value is CBOR, and a Vec takes all");
    bytes
}

fn write_limits(limits: &[Bound]) -> Value {
    let mut map = Map::default();
    for bound in limits {
        let value = match bound {
            Bound::EventsPerMonth(Quota::Unlimited) => Value::Text("unlimited".into()),
            Bound::Windows(windows) => texts(&windows.to_string().split("; ").map(str::to_owned).collect::<Vec<_>>()),
            _ => bound.number().map_or(Value::Null, Value::from),
        };
        map.put(bound.kind().key(), value);
    }
    Value::Map(map.0)
}

fn texts(texts: &[String]) -> Value {
    Value::Array(texts.iter().cloned().map(Value::Text).collect())
}

#[derive(Default)]
struct Map(Vec<(Value, Value)>);

impl Map {
    fn put(&mut self, key: &str, value: Value) -> &mut Self {
        self.0.push((key.into(), value));
        self
    }

    fn text(&mut self, key: &str, text: &str) -> &mut Self {
        self.put(key, text.into())
    }

    fn number(&mut self, key: &str, number: u64) -> &mut Self {
        self.put(key, number.into())
    }

    fn begin(&mut self, from_ms: u64) -> &mut Self {
        if from_ms == 0 { self } else { self.number("from", from_ms) }
    }

    fn end(&mut self, until_ms: Option<u64>) -> &mut Self {
        match until_ms {
            Some(until_ms) => self.number("until", until_ms),
            None => self,
        }
    }
}

/// Reads a notice and judges its content ([`Notice::check`](super::Notice::check)).
///
/// # Errors
/// The first thing that is wrong with it.
pub fn read(bytes: &[u8]) -> Result<Read, Flaw> {
    let mut fields = Fields::new(value(bytes)?, "")?;
    let id = fields.text("id")?;
    let (issued_ms, expires_ms) = (fields.number("issued")?, fields.number("expires")?);
    let scope = match fields.take("gateways") {
        Some(value) => Scope::Gateways(array("gateways", value)?),
        None => Scope::Fleet,
    };
    let kind = fields.text("kind")?;
    let why = fields.text_if("why")?.unwrap_or_default();
    let content = content(kind, &mut fields)?;
    // What an unknown kind's own fields are is not known either, and the kind is told already.
    let (unknown, unknown_count) = match content {
        Content::Unknown { .. } => (Vec::new(), 0),
        _ => fields.unknown(),
    };
    let notice = Notice { id, issued_ms, expires_ms, scope, content, why };
    notice.check()?;
    Ok(Read { notice, unknown, unknown_count })
}

/// One CBOR value, and nothing behind it.
fn value(mut bytes: &[u8]) -> Result<Value, Flaw> {
    let value = ciborium::de::from_reader_with_recursion_limit(&mut bytes, DEPTH)
        .map_err(|error| Flaw::new("notice", said!("is not CBOR: {why}", why = said(&error))))?;
    if bytes.is_empty() {
        Ok(value)
    } else {
        Err(Flaw::new("notice", said!("{count} bytes follow it", count = bytes.len())))
    }
}

/// What is wrong with CBOR, in a few words.
pub(super) fn said<T>(error: &ciborium::de::Error<T>) -> Said {
    match error {
        ciborium::de::Error::Io(_) => said!("it ends too soon"),
        ciborium::de::Error::RecursionLimitExceeded => said!("it is nested too deep"),
        ciborium::de::Error::Syntax(_) | ciborium::de::Error::Semantic(..) => {
            said!("no value begins where one should")
        }
    }
}

fn content(kind: String, fields: &mut Fields) -> Result<Content, Flaw> {
    Ok(match kind.as_str() {
        "maintenance" => Content::Maintenance {
            from_ms: fields.number_if("from")?.unwrap_or(0),
            until_ms: fields.number("until")?,
            cause: fields.word("cause", &Interruption::WORDS, Interruption::Other)?,
            resume_s: fields.seconds("resume_s")?,
        },
        "emergency" => {
            Content::Emergency { from_ms: fields.number_if("from")?.unwrap_or(0), until_ms: fields.number_if("until")? }
        }
        "restriction" => {
            let (from_ms, until_ms) = (fields.number_if("from")?.unwrap_or(0), fields.number_if("until")?);
            let limits = fields.take("limits").ok_or_else(|| Flaw::new("limits", said!("is missing")))?;
            match read_limits(limits, fields)? {
                limits if limits.is_empty() => Content::Unknown { kind },
                limits => Content::Restriction { from_ms, until_ms, limits },
            }
        }
        "suspension" => Content::Suspension {
            from_ms: fields.number_if("from")?.unwrap_or(0),
            cause: fields.word("cause", &Breach::WORDS, Breach::Other)?,
        },
        "quota" => Content::Quota { until_ms: fields.number("until")? },
        "end" => Content::End { at_ms: fields.number("at")? },
        "terms_changed" => Content::TermsChanged {
            version: fields.text("version")?,
            effective_ms: fields.number("effective")?,
            url: fields.text_if("url")?.unwrap_or_default(),
        },
        "identity" => Content::Identity { effective_ms: fields.number("effective")? },
        "information" => Content::Information,
        "withdrawn" => Content::Withdrawn,
        _ => Content::Unknown { kind },
    })
}

fn read_limits(limits: Value, outer: &mut Fields) -> Result<Vec<Bound>, Flaw> {
    let mut fields = Fields::new(limits, "limits.")?;
    if fields.entries.is_empty() {
        return Err(Flaw::new("limits", said!("says no limit")));
    }
    let mut bounds = Vec::new();
    for kind in Kind::ALL {
        if let Some(value) = fields.take(kind.key()) {
            bounds.push(bound(kind, value)?);
        }
    }
    outer.foreign.extend(fields.entries.into_iter().map(|(key, _)| format!("limits.{key}")));
    Ok(bounds)
}

fn bound(kind: Kind, value: Value) -> Result<Bound, Flaw> {
    let key = format!("limits.{}", kind.key());
    let number = match (kind, value) {
        (Kind::Windows, value) => return windows(&key, value).map(Bound::Windows),
        (Kind::EventsPerMonth, Value::Text(text)) if text == "unlimited" => {
            return Ok(Bound::EventsPerMonth(Quota::Unlimited));
        }
        (_, value) => number(&key, &value)?,
    };
    let above_0 = NonZeroU64::new(number).ok_or_else(|| Flaw::new(&key, said!("is 0")))?;
    kind.bound(above_0).ok_or_else(|| Flaw::new(&key, said!("is not 1 to 1000000 millionths")))
}

fn windows(key: &str, value: Value) -> Result<Windows, Flaw> {
    let texts = array(key, value)?;
    if !(1..=WINDOWS).contains(&texts.len()) {
        return Err(Flaw::new(
            key,
            said!("{count} of them; there may be 1 to {most}", count = texts.len(), most = WINDOWS),
        ));
    }
    Windows::parse(texts.iter().map(String::as_str)).map_err(|error| Flaw::new(key, error.advice))
}

fn number(key: &str, value: &Value) -> Result<u64, Flaw> {
    let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
    number.ok_or_else(|| Flaw::new(key, said!("is not a whole number from 0 on")))
}

fn array(key: &str, value: Value) -> Result<Vec<String>, Flaw> {
    let texts = value
        .into_array()
        .ok()
        .and_then(|all| all.into_iter().map(|one| one.into_text().ok()).collect::<Option<Vec<String>>>());
    texts.ok_or_else(|| Flaw::new(key, said!("is not an array of texts")))
}

/// The fields of a map that were not asked for yet.
struct Fields {
    entries: Vec<(String, Value)>,
    /// Keys within others that are not known.
    foreign: Vec<String>,
}

impl Fields {
    fn new(value: Value, within: &str) -> Result<Self, Flaw> {
        let name = if within.is_empty() { "notice" } else { within.trim_end_matches('.') };
        let map = value.into_map().map_err(|_| Flaw::new(name, said!("is not a map")))?;
        let mut entries: Vec<(String, Value)> = Vec::with_capacity(map.len());
        for (key, value) in map {
            let key = key.into_text().map_err(|_| Flaw::new(name, said!("has a key that is not a text")))?;
            entries.push((key, value));
        }
        // A map of 16 KiB has thousands of keys: sorted, so that finding a repeat costs little.
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        match entries.windows(2).find(|two| two[0].0 == two[1].0) {
            Some(two) => Err(Flaw::new(&format!("{within}{}", cut(&two[0].0)), said!("stands there twice"))),
            None => Ok(Self { entries, foreign: Vec::new() }),
        }
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        let at = self.entries.binary_search_by(|(name, _)| name.as_str().cmp(key)).ok()?;
        Some(self.entries.remove(at).1)
    }

    fn text_if(&mut self, key: &str) -> Result<Option<String>, Flaw> {
        let text = self.take(key).map(Value::into_text).transpose();
        text.map_err(|_| Flaw::new(key, said!("is not a text")))
    }

    fn text(&mut self, key: &str) -> Result<String, Flaw> {
        self.text_if(key)?.ok_or_else(|| Flaw::new(key, said!("is missing")))
    }

    fn number_if(&mut self, key: &str) -> Result<Option<u64>, Flaw> {
        self.take(key).map(|value| number(key, &value)).transpose()
    }

    fn number(&mut self, key: &str) -> Result<u64, Flaw> {
        self.number_if(key)?.ok_or_else(|| Flaw::new(key, said!("is missing")))
    }

    fn seconds(&mut self, key: &str) -> Result<Option<u32>, Flaw> {
        let seconds = self.number_if(key)?.map(u32::try_from).transpose();
        seconds.map_err(|_| Flaw::new(key, said!("is more seconds than there can be")))
    }

    fn word<T: Copy>(&mut self, key: &str, words: &[(&str, T)], other: T) -> Result<T, Flaw> {
        let Some(text) = self.text_if(key)? else { return Ok(other) };
        Ok(words.iter().find(|(word, _)| *word == text).map_or(other, |(_, meaning)| *meaning))
    }

    /// What was not asked for.
    fn unknown(self) -> (Vec<String>, usize) {
        let all = self.entries.iter().map(|(key, _)| key).chain(&self.foreign);
        (all.clone().take(UNKNOWN).map(|key| cut(key)).collect(), all.count())
    }
}

/// A key from outside, for a message.
fn cut(key: &str) -> String {
    key.chars().take(NAME_BYTES).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests;
