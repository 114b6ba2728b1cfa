use ciborium::cbor;
use proptest::prelude::*;

use super::super::samples::{DAY, ISSUED, information, notice};
use super::*;

fn bytes(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).expect("CBOR");
    bytes
}

/// An information with these fields besides, or instead.
fn with(fields: &[(&str, Value)]) -> Vec<u8> {
    let mut map = vec![
        (Value::from("id"), Value::from("n-1")),
        ("issued".into(), ISSUED.into()),
        ("expires".into(), (ISSUED + DAY).into()),
        ("kind".into(), "information".into()),
    ];
    for (key, value) in fields {
        map.retain(|(known, _)| *known != Value::from(*key));
        map.push(((*key).into(), value.clone()));
    }
    bytes(&Value::Map(map))
}

fn flaw(bytes: &[u8]) -> String {
    read(bytes).expect_err("refused").to_string()
}

#[test]
fn what_a_newer_sender_adds_is_tolerated_and_told() {
    let read = read(&with(&[("colour", "red".into()), ("x\u{1b}", Value::Null)])).expect("tolerated");
    assert_eq!(read.notice, Notice { why: String::new(), ..information("n-1", ISSUED) });
    assert_eq!((read.unknown_count, read.unknown), (2, vec!["colour".to_owned(), "x\\u{1b}".to_owned()]));
    let many: Vec<String> = (0..100).map(|number| format!("f{number}")).collect();
    let fields: Vec<(&str, Value)> = many.iter().map(|name| (name.as_str(), Value::Bool(true))).collect();
    let read = super::read(&with(&fields)).expect("tolerated");
    assert_eq!((read.unknown_count, read.unknown.len()), (100, UNKNOWN));
}

#[test]
fn a_kind_a_cause_and_a_limit_that_are_not_known_are_tolerated() {
    let content = |fields: &[(&str, Value)]| read(&with(fields)).expect("tolerated").notice.content;
    let kind = "holiday";
    assert_eq!(content(&[("kind", kind.into()), ("until", "whenever".into())]), Content::Unknown { kind: kind.into() });
    let maintenance =
        content(&[("kind", "maintenance".into()), ("until", (ISSUED + DAY).into()), ("cause", "volcano".into())]);
    let (until_ms, cause) = (ISSUED + DAY, Interruption::Other);
    assert_eq!(maintenance, Content::Maintenance { from_ms: 0, until_ms, cause, resume_s: None });
    let limits = cbor!({"rate" => 1000, "colours" => 3}).expect("CBOR");
    let fields = [("kind", "restriction".into()), ("limits", limits)];
    let read = super::read(&with(&fields)).expect("tolerated");
    assert_eq!((read.unknown_count, read.unknown), (1, vec!["limits.colours".to_owned()]));
    let limits = vec![Bound::RateUp(NonZeroU64::new(1000).expect("above 0"))];
    assert_eq!(read.notice.content, Content::Restriction { from_ms: 0, until_ms: None, limits });
    let only_new = cbor!({"colours" => 3}).expect("CBOR");
    let unknown = content(&[("kind", "restriction".into()), ("limits", only_new)]);
    assert_eq!(unknown, Content::Unknown { kind: "restriction".into() });
}

#[test]
fn what_is_wrong_is_named() {
    let twice = cbor!({"rate" => 1000, "rate" => 2000}).expect("CBOR");
    let restriction = |limits: Value| with(&[("kind", "restriction".into()), ("limits", limits)]);
    let deep = (0..20).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
    let maintenance =
        |from: u64, until: u64| with(&[("kind", "maintenance".into()), ("from", from.into()), ("until", until.into())]);
    let mut followed = with(&[]);
    followed.push(0);
    for (bytes, expected) in [
        (Vec::new(), "`notice`: is not CBOR: it ends too soon"),
        (vec![0xff], "`notice`: is not CBOR"),
        (bytes(&Value::from(7)), "`notice`: is not a map"),
        (bytes(&cbor!({1 => 2}).expect("CBOR")), "`notice`: has a key that is not a text"),
        (followed, "`notice`: 1 bytes follow it"),
        (with(&[("extra", deep)]), "nested too deep"),
        (bytes(&cbor!({"id" => "a", "id" => "b"}).expect("CBOR")), "`id`: stands there twice"),
        (restriction(twice), "`limits.rate`: stands there twice"),
        (restriction(cbor!({}).expect("CBOR")), "`limits`: says no limit"),
        (restriction(cbor!({"rate" => 0}).expect("CBOR")), "`limits.rate`: is 0"),
        (restriction(cbor!({"rate" => 10}).expect("CBOR")), "`limits.rate`: 10 is not within 1000"),
        (restriction(cbor!({"share" => 1_000_001}).expect("CBOR")), "`limits.share`"),
        (restriction(cbor!({"windows" => ["noon"]}).expect("CBOR")), "`limits.windows`: write a window"),
        (restriction(cbor!({"windows" => []}).expect("CBOR")), "`limits.windows`: 0 of them"),
        (bytes(&cbor!({"kind" => "end"}).expect("CBOR")), "`id`: is missing"),
        (with(&[("id", "".into())]), "`id`: is not 1 to 64"),
        (with(&[("id", "a b".into())]), "`id`: is not 1 to 64"),
        (with(&[("id", 7.into())]), "`id`: is not a text"),
        (with(&[("kind", "".into())]), "`kind`: is empty"),
        (with(&[("kind", "k".repeat(65).into())]), "`kind`: has 65 bytes"),
        (with(&[("kind", "end".into())]), "`at`: is missing"),
        (with(&[("issued", (-1).into())]), "`issued`: is not a whole number"),
        (with(&[("issued", 1.5.into())]), "`issued`: is not a whole number"),
        (with(&[("issued", 1.into())]), "`issued`: 1 is not within"),
        (with(&[("issued", u64::MAX.into())]), "`issued`: 18446744073709551615 is not within"),
        (with(&[("expires", ISSUED.into())]), "`expires`"),
        (with(&[("expires", (ISSUED + 401 * DAY).into())]), "`expires`"),
        (with(&[("why", "x".repeat(501).into())]), "`why`: has 501 bytes"),
        (with(&[("why", "\u{1b}[31m".into())]), "`why`: has control characters"),
        (with(&[("gateways", "gw-1".into())]), "`gateways`: is not an array"),
        (with(&[("gateways", Value::Array(Vec::new()))]), "`gateways`: 0 of them"),
        (with(&[("gateways", Value::Array(vec!["a*b".into()]))]), "`gateways`: is not 1 to 64"),
        (maintenance(ISSUED, ISSUED), "`until`: is not after"),
        (maintenance(7, ISSUED), "`from`: 7 is not within"),
        (maintenance(0, LATE), "`until`: 4102444800001 is not within"),
    ] {
        let found = flaw(&bytes);
        assert!(found.contains(expected), "{found}, not {expected}");
    }
}

const LATE: u64 = super::super::LATEST_MS + 1;

proptest! {
    #[test]
    fn a_notice_is_read_as_it_was_written(notice in notice()) {
        let read = read(&write(&notice)).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(read.unknown_count, 0);
        prop_assert_eq!(read.notice, sorted(notice));
    }

    #[test]
    fn any_bytes_are_a_notice_or_an_error_that_can_be_shown(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Err(flaw) = read(&bytes) {
            prop_assert!(!flaw.to_string().is_empty());
        }
    }

    #[test]
    fn a_notice_with_any_byte_changed_makes_no_panic(
        notice in notice(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = write(&notice);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(read) = read(&bytes) {
            prop_assert_eq!(read.notice.check(), Ok(()));
        }
    }
}

/// Limits are read in the order of their kinds.
fn sorted(mut notice: Notice) -> Notice {
    if let Content::Restriction { limits, .. } = &mut notice.content {
        limits.sort_by_key(Bound::kind);
    }
    notice
}
