//! `tidegate buffer verify`: reads everything and compares all sums.

use tidegate::code::Code;
use tidegate::language::{Language, Message};
use tidegate::message;
use tidegate::store::look::{Ask, Checked, Damage, End, Item};
use tidegate::watch::render::{number, plain, size};

use super::progress::Progress;
use super::source::Stop;
use super::{Place, another_answer};
use crate::command::{FAILED, Failure, print};

/// Exit code of `verify` when it could not look: 1 says that something is damaged.
const COULD_NOT_LOOK: u8 = 2;

/// How to show it.
#[derive(Debug, clap::Args)]
pub(in crate::command) struct Args {
    /// Print JSON, one object a line, for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Asks, prints, and fails if anything is damaged.
pub(super) fn run(args: &Args, language: Language) -> Result<(), Failure> {
    let failed = |failure: Failure| Failure { code: COULD_NOT_LOOK, ..failure };
    let mut progress = Progress::new(false);
    let end = args.place.ask(language, &Ask::Verify, &mut |item| {
        let text = match &item {
            Item::Progress { done, total } => {
                progress.show(*done, *total);
                return Ok(());
            }
            item if args.json => serde_json::to_string(item).map_err(|error| Stop::Failed(error.into()))? + "\n",
            Item::Damage(damage) => damaged(damage).text(language) + "\n",
            Item::Checked(checked) => self::checked(checked).text(language) + "\n",
            _ => return Ok(()),
        };
        progress.clear();
        print(&text).map_err(Stop::Failed)
    });
    progress.clear();
    match end.map_err(failed)? {
        Some(End::Verified { damaged: 0 }) => {
            if args.json {
                Ok(())
            } else {
                print(&(message!("everything is whole").text(language) + "\n")).map_err(failed)
            }
        }
        Some(End::Verified { damaged }) => {
            let text = match damaged {
                1 => message!("1 range is damaged; everything else can be read, and the service goes on with it"),
                count => message!(
                    "{count} ranges are damaged; everything else can be read, and the service goes on with it",
                    count = number(count)
                ),
            };
            Err(Failure::coded(FAILED, Code::StoreDamaged, text))
        }
        _ => Err(failed(another_answer())),
    }
}

fn checked(checked: &Checked) -> Message {
    let verdict = match checked.damaged {
        0 => message!("whole"),
        1 => message!("1 DAMAGED RANGE"),
        damaged => message!("{count} DAMAGED RANGES", count = number(damaged)),
    };
    let records = number(checked.records);
    let entries = if checked.lane == "control" {
        message!("{count} entries", count = records)
    } else {
        message!("{count} records", count = records)
    };
    message!(
        "lane {lane}: {segments} segments, {entries}, {size}: {verdict}",
        lane = plain(&checked.lane),
        segments = number(checked.segments),
        entries = entries,
        size = size(checked.bytes),
        verdict = verdict
    )
}

fn damaged(damage: &Damage) -> Message {
    if damage.lane.is_empty() {
        return message!(
            "the store's version: the file is not as it was written; no record is lost by that, for the segments say the same, and the next start writes it anew\n  in {file}",
            file = plain(&damage.file)
        );
    }
    let range = match damage.below.saturating_sub(damage.from) {
        0 => message!("at record {record}", record = damage.from),
        1 => message!("record {record}", record = damage.from),
        count => message!(
            "records {from} to {to} ({count})",
            from = damage.from,
            to = damage.below - 1,
            count = number(count)
        ),
    };
    message!(
        "lane {lane}, {range}: {what}\n  in {file} from byte {offset} on",
        lane = plain(&damage.lane),
        range = range,
        what = plain(&damage.what),
        file = plain(&damage.file),
        offset = damage.offset
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_range_is_named_with_lane_records_file_and_place() {
        let mut damage = Damage {
            lane: "normal".into(),
            file: "/var/lib/tidegate/lane-normal/1.seg".into(),
            offset: 4096,
            from: 120,
            below: 123,
            what: "sums are wrong".into(),
        };
        let text = damaged(&damage).to_string();
        assert_eq!(
            text,
            "lane normal, records 120 to 122 (3): sums are wrong\n  in /var/lib/tidegate/lane-normal/1.seg from byte \
             4096 on"
        );
        let version = Damage { lane: String::new(), file: "/var/lib/tidegate/version".into(), ..damage.clone() };
        let text = damaged(&version).to_string();
        assert!(text.starts_with("the store's version:") && text.ends_with("in /var/lib/tidegate/version"), "{text}");
        damage.below = 121;
        assert!(damaged(&damage).to_string().contains("record 120:"));
        damage.below = 120;
        assert!(damaged(&damage).to_string().contains("at record 120:"));
    }
}
