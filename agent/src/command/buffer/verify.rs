//! `tidegate buffer verify`: reads everything and compares all sums.

use tidegate::store::look::{Ask, Checked, Damage, End, Item};
use tidegate::watch::render::{number, plain, size};

use super::Place;
use super::progress::Progress;
use super::source::Stop;
use crate::command::{Failure, print};

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
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let failed = |failure: Failure| Failure { code: COULD_NOT_LOOK, ..failure };
    let mut progress = Progress::new(false);
    let end = args.place.ask(&Ask::Verify, &mut |item| {
        let text = match &item {
            Item::Progress { done, total } => {
                progress.show(*done, *total);
                return Ok(());
            }
            item if args.json => serde_json::to_string(item).map_err(|error| Stop::Failed(error.into()))? + "\n",
            Item::Damage(damage) => damaged(damage),
            Item::Checked(checked) => self::checked(checked),
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
                print("everything is whole\n").map_err(failed)
            }
        }
        Some(End::Verified { damaged }) => {
            let ranges = if damaged == 1 { "1 range is".to_owned() } else { format!("{} ranges are", number(damaged)) };
            Err(format!("{ranges} damaged; everything else can be read, and the service goes on with it").into())
        }
        _ => Err(failed("the answer is to another question; this is a defect, please report it".into())),
    }
}

fn checked(checked: &Checked) -> String {
    let verdict = match checked.damaged {
        0 => "whole".to_owned(),
        1 => "1 DAMAGED RANGE".to_owned(),
        damaged => format!("{} DAMAGED RANGES", number(damaged)),
    };
    let (segments, records) = (number(checked.segments), number(checked.records));
    let entries = if checked.lane == "control" { "entries" } else { "records" };
    format!(
        "lane {}: {segments} segments, {records} {entries}, {}: {verdict}\n",
        plain(&checked.lane),
        size(checked.bytes)
    )
}

fn damaged(damage: &Damage) -> String {
    let range = match damage.below.saturating_sub(damage.from) {
        0 => format!("at record {}", damage.from),
        1 => format!("record {}", damage.from),
        count => format!("records {} to {} ({})", damage.from, damage.below - 1, number(count)),
    };
    let (lane, file) = (plain(&damage.lane), plain(&damage.file));
    format!("lane {lane}, {range}: {}\n  in {file} from byte {} on\n", plain(&damage.what), damage.offset)
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
        let text = damaged(&damage);
        assert_eq!(
            text,
            "lane normal, records 120 to 122 (3): sums are wrong\n  in /var/lib/tidegate/lane-normal/1.seg from byte \
             4096 on\n"
        );
        damage.below = 121;
        assert!(damaged(&damage).contains("record 120:"));
        damage.below = 120;
        assert!(damaged(&damage).contains("at record 120:"));
    }
}
