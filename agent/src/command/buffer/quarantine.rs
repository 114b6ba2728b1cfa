//! `tidegate buffer quarantine`: records that Flux refused for good, and that were put aside.

use std::fmt::Write as _;

use tidegate::language::sheet::left;
use tidegate::language::{Language, again};
use tidegate::message;
use tidegate::store::look::{AsideItem, Ask, End, Item};
use tidegate::watch::render::{plain, time};
use tidegate_protocol::event::write_event;

use super::source::{Stop, note};
use super::table::cut;
use super::{Place, another_answer};
use crate::command::{Failure, print};

/// Longest reason shown in a list, in characters.
const REASON: usize = 80;

/// What to do with what was put aside.
#[derive(Debug, clap::Subcommand)]
#[command(
    after_help = "ID is gateway/epoch/lane/seq, or only its last parts where these are enough (normal/17). `list` and `show` \
                  also read the files; `retry` and `drop` are done by the running service alone."
)]
pub(in crate::command) enum Which {
    /// Show them, the oldest first
    List(List),
    /// Show one of them whole
    Show(One),
    /// Have one of them tried again
    ///
    /// Under its own id while its lane still holds it; otherwise a copy is stored as a new record with a new id, and
    /// that is said.
    Retry(One),
    /// Forget one of them
    Drop(One),
}

/// How to show them.
#[derive(Debug, clap::Args)]
pub(in crate::command) struct List {
    /// Print JSON, one object a line, for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Which of them.
#[derive(Debug, clap::Args)]
pub(in crate::command) struct One {
    /// Its id
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    place: Place,
}

/// Does it.
pub(super) fn run(which: &Which, language: Language) -> Result<(), Failure> {
    match which {
        Which::List(list) => self::list(list, language),
        Which::Show(one) => show(one, language),
        Which::Retry(one) => settle(&one.place, &Ask::Retry { id: one.id.clone() }, language),
        Which::Drop(one) => settle(&one.place, &Ask::Drop { id: one.id.clone() }, language),
    }
}

fn settle(place: &Place, ask: &Ask, language: Language) -> Result<(), Failure> {
    let End::Done { what, said } = place.ask_once(language, ask)? else {
        return Err(another_answer());
    };
    let text = said.map_or_else(|| again(&what, language).to_owned(), |said| said.text(language));
    print(&format!("{}\n", plain(&text)))
}

fn list(list: &List, language: Language) -> Result<(), Failure> {
    let mut none = true;
    list.place.ask(language, &Ask::Aside { id: None }, &mut |item| {
        let Item::Aside(aside) = item else { return Ok(()) };
        none = false;
        let text = if list.json { json(&aside)? } else { line(&aside) };
        print(&text).map_err(Stop::Failed)
    })?;
    if none && !list.json {
        note(&message!("nothing is put aside").text(language));
    }
    Ok(())
}

fn show(one: &One, language: Language) -> Result<(), Failure> {
    let mut found = Vec::new();
    one.place.ask(language, &Ask::Aside { id: Some(one.id.clone()) }, &mut |item| {
        let Item::Aside(aside) = item else { return Ok(()) };
        found.push(whole(&aside, language));
        if found.len() > 1 {
            return Err(Stop::Enough);
        }
        Ok(())
    })?;
    if let [text] = &found[..] {
        return print(text);
    }
    let text =
        message!("more than one record was put aside under {id}: write the whole id", id = format!("{:?}", one.id));
    Err(text.text(language).into())
}

fn id(aside: &AsideItem<'_>) -> String {
    let record = &aside.record;
    format!("{}/{}/{}/{}", plain(&record.gateway), plain(&record.epoch), plain(&record.lane), record.seq)
}

fn line(aside: &AsideItem<'_>) -> String {
    let record = &aside.record;
    let reason = cut(&plain(&aside.reason), REASON);
    format!("{}  {}  {}  {reason}\n", id(aside), time(record.time_ms), cut(&plain(&record.device), 32))
}

fn whole(aside: &AsideItem<'_>, language: Language) -> String {
    let record = &aside.record;
    let mut event = Vec::new();
    write_event(&mut event, &record.as_ref(), false);
    let kept = if aside.kept {
        message!("its lane still holds it: a retry delivers it under this id")
    } else {
        message!("its lane no longer holds it: a retry stores a copy, with a new id")
    };
    let mut out = String::new();
    for (name, value) in [
        (message!("id"), id(aside)),
        (message!("device"), plain(&record.device)),
        (message!("topic"), plain(&record.topic)),
        (message!("received"), time(record.time_ms)),
        (message!("reason"), plain(&aside.reason)),
        (message!("retry"), kept.text(language)),
        (message!("bytes"), record.payload.len().to_string()),
        (message!("event"), String::from_utf8_lossy(&event).into_owned()),
    ] {
        let _ = writeln!(out, "{}{value}", left(&name.text(language), 9));
    }
    out
}

fn json(aside: &AsideItem<'_>) -> Result<String, Stop> {
    let mut event = Vec::new();
    write_event(&mut event, &aside.record.as_ref(), false);
    let event: Box<serde_json::value::RawValue> =
        serde_json::from_slice(&event).map_err(|error| Stop::Failed(error.into()))?;
    let value = serde_json::json!({ "id": id(aside), "reason": aside.reason, "kept": aside.kept });
    // The event to the letter: its numbers must not go through a double.
    let text = value.to_string();
    let text = text.strip_suffix('}').unwrap_or(&text);
    Ok(format!("{text},\"event\":{event}}}\n"))
}
