use proptest::prelude::*;

use super::*;
use tidegate_protocol::notice::wire;

/// 2026-11-22T08:30:00Z.
const NOW: u64 = 1_795_336_200_000;

const HOUR: u64 = 3_600_000;

fn good(text: &str) -> Notice {
    parse(text, "n.toml", NOW).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

#[track_caller]
fn wrong(text: &str, expected: &[&str]) {
    let errors = parse(text, "n.toml", NOW).expect_err(text).to_string();
    assert!(expected.iter().all(|part| errors.contains(part)), "{errors}");
}

/// One file of each kind, with everything that may stand in it.
const KINDS: [&str; 11] = [
    "kind = \"maintenance\"\nfrom = \"2026-12-01 02:00 +09:00\"\nuntil = 2026-12-01T04:00:00+09:00\ncause = \"works\"\nresume = \"30m\"",
    "kind = \"emergency\"\nfrom = \"now\"\nuntil = \"+2h\"",
    "kind = \"emergency\"",
    "kind = \"restriction\"\nuntil = \"2026-12-01\"\n[limits]\nrate = \"128 kbit/s\"\nrate_down = \"1 Mbit/s\"\nburst = \"8 KiB\"\nbytes_per_hour = \"1 MB\"\nbytes_per_day = \"20 MB\"\nbytes_per_month = \"100 MB\"\nevents_per_minute = 3\nevents_per_day = 100\nevents_per_month = \"unlimited\"\nshare = 0.25\nwindows = [\"02:00-05:00\", \"sat,sun 00:00-24:00\"]",
    "kind = \"suspension\"\nfrom = \"2026-12-01\"\ncause = \"false_statement\"",
    "kind = \"quota\"\nuntil = \"2026-12-01\"",
    "kind = \"end\"\nat = \"2027-03-31 15:00\"",
    "kind = \"terms_changed\"\nversion = \"2027-04-01\"\neffective = \"2027-04-01\"\nurl = \"https://example.com/terms?v=2\"",
    "kind = \"identity\"\neffective = \"2027-01-01\"",
    "kind = \"information\"",
    "kind = \"withdrawn\"",
];

#[test]
fn the_file_of_the_documents_is_a_notice() {
    let notice = good(&format!(
        "id = \"m-2026-12-01\"\ngateways = [\"barn-1\", \"pole-*\"]\nwhy = \"The \\\"database\\\"\\nmoves.\"\nissued = \"now\"\nexpires = \"+7d\"\n{}",
        KINDS[0]
    ));
    assert_eq!(notice.id, "m-2026-12-01");
    assert_eq!(notice.scope, Scope::Gateways(vec!["barn-1".into(), "pole-*".into()]));
    assert_eq!((notice.issued_ms, notice.expires_ms), (NOW, NOW + 7 * 24 * HOUR));
    let from_ms = 1_796_058_000_000; // 2026-11-30T17:00:00Z
    let (until_ms, cause, resume_s) = (from_ms + 2 * HOUR, Interruption::Works, Some(1800));
    assert_eq!(notice.content, Content::Maintenance { from_ms, until_ms, cause, resume_s });
    assert_eq!(notice.why, "The \"database\"\nmoves.");
}

#[test]
fn every_kind_is_read_as_it_is_written_and_crosses_the_wire() {
    for kind in KINDS {
        let notice = good(&format!("id = \"n-1\"\n{kind}"));
        assert_eq!(good(&write(&notice)), notice, "{}", write(&notice));
        assert_eq!(wire::read(&wire::write(&notice)).map(|read| read.notice), Ok(notice));
    }
}

#[test]
fn without_an_expiry_it_lasts_until_it_is_over() {
    let expires = |kind: &str| good(&format!("id = \"n-1\"\n{kind}")).expires_ms;
    assert_eq!(expires(KINDS[0]), 1_796_065_200_000, "the end of the maintenance");
    assert_eq!(expires("kind = \"emergency\"\nuntil = \"+1h\""), NOW + 24 * HOUR, "a day at least");
    assert_eq!(expires(KINDS[9]), NOW + LASTS_MS);
    assert_eq!(expires("kind = \"end\"\nat = \"2026-12-22 08:30\""), NOW + 2 * LASTS_MS);
    assert_eq!(expires("kind = \"end\"\nat = \"2030-01-01\""), NOW + LONGEST_MS);
}

#[test]
fn everything_that_is_wrong_is_told_at_once_with_its_place() {
    wrong("", &["id: missing", "kind: missing"]);
    wrong("id = \"n-1\"\nkind = \"maintenence\"", &["line 2, column 8: kind", "maintenance"]);
    wrong("id = 7\nkind = \"quota\"", &["line 1, column 6: id", "until: missing"]);
    wrong("id = \"n-1\"\nkind = \"quota\"\nuntil = \"soon\"", &["line 3, column 9: until", "2026-12-01 02:00"]);
    wrong("id = \"n-1\"\nkind = \"quota\"\nuntil = 5", &["line 3, column 9: until"]);
    wrong("id = \"a b\"\nkind = \"withdrawn\"", &["line 1, column 6: id", "A-Z"]);
    wrong(
        "id = \"n-1\"\nkind = \"quota\"\nuntil = \"+1h\"\nat = \"+1h\"",
        &["line 4, column 1: at: unknown key", "of this kind"],
    );
    let backwards = "id = \"n-1\"\nkind = \"maintenance\"\nfrom = \"+2h\"\nuntil = \"+1h\"";
    wrong(backwards, &["line 4, column 9: until: is not after `from`"]);
    wrong("id = \"n-1\"\nkind = \"restriction\"", &["limits: missing"]);
    wrong("id = \"n-1\"\nkind = \"restriction\"\n[limits]\n", &["limits: says no limit"]);
    wrong("id = \"n-1\"\nkind = \"restriction\"\n[limits]\nrate = 128", &["line 4, column 8: limits.rate", "kbit/s"]);
    wrong(
        "id = \"n-1\"\nkind = \"restriction\"\n[limits]\nrats = 128",
        &["line 4, column 1: limits.rats: unknown key"],
    );
    wrong("id = \"n-1\"\nkind = \"withdrawn\"\nexpires = \"+500d\"", &["line 3, column 11: expires"]);
    wrong("id = \"n-1\"\nkind = \"withdrawn\"\ngateways = []", &["line 3, column 12: gateways"]);
    wrong("id = \"n-1\"\nkind = \"withdrawn\"\ngateways = [7]", &["line 3, column 13: gateways"]);
    wrong("id = \"n-1", &["line 1, column", "not TOML"]);
}

proptest! {
    #[test]
    fn any_text_is_read_as_it_was_written(why in "[^\\p{Cc}]{0,100}|[ -~\n\\\\\"]{0,100}", id in "[A-Za-z0-9._-]{1,64}") {
        let notice = Notice {
            id,
            issued_ms: NOW,
            expires_ms: NOW + 1,
            scope: Scope::Gateways(vec!["*".into(), "gw-1".into()]),
            content: Content::TermsChanged { version: "v\u{202e}2".into(), effective_ms: 0, url: why.clone() },
            why,
        };
        let text = write(&notice);
        let hidden = text.contains('\u{202e}');
        prop_assert!(!hidden);
        let read = parse(&text, "n.toml", 0).map_err(|errors| TestCaseError::fail(errors.to_string()))?;
        prop_assert_eq!(read, notice);
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}", kind in proptest::sample::select(KINDS.to_vec())) {
        let _ = parse(&text, "n.toml", NOW);
        let _ = parse(&format!("id = \"n-1\"\n{kind}\n{text}"), "n.toml", NOW);
    }

    #[test]
    fn a_notice_with_some_bytes_changed_is_read_as_it_is_written_or_refused(
        kind in proptest::sample::select(KINDS.to_vec()),
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_usize..3), 0..4),
        sealed in any::<bool>(),
    ) {
        let notice = good(&format!("id = \"n-1\"\nwhy = \"é\\n\\\"\"\ngateways = [\"gw-*\"]\n{kind}"));
        let other = tidegate_protocol::notice::SigningKey::from_seed(&[2; 32], Some("ops")).expect("a key");
        let mut bytes = if sealed {
            tidegate_protocol::notice::seal(&notice, &other).expect("sealed")
        } else {
            wire::write(&notice)
        };
        for (at, byte, removed) in cuts {
            let at = at.index(bytes.len());
            bytes.splice(at..(at + removed).min(bytes.len()), [byte]);
        }
        fuzzing::notice(&bytes);
    }
}
