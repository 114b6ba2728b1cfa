use coset::iana;
use proptest::prelude::*;

use super::super::samples::{DAY, ISSUED, information, key, notice};
use super::super::{Keys, Scope};
use super::*;

const NOW: Now = Now::Known(ISSUED + 1000);

fn keys() -> Keys {
    Keys::new(vec![key(1).public().clone(), key(2).public().clone()]).expect("two keys")
}

fn sealed() -> Vec<u8> {
    seal(&information("n-1", ISSUED), &key(1)).expect("sealed")
}

/// The parts of an envelope, to be put together wrongly.
fn taken_apart(bytes: &[u8]) -> [Value; 4] {
    let Ok(Value::Tag(18, inner)) = ciborium::from_reader(bytes) else { panic!("an envelope") };
    inner.into_array().expect("an array").try_into().expect("four parts")
}

fn bytes(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).expect("CBOR");
    bytes
}

fn together(parts: [Value; 4]) -> Vec<u8> {
    bytes(&Value::Tag(18, Box::new(Value::Array(parts.into()))))
}

fn refused(bytes: &[u8]) -> NoticeError {
    open(bytes, &keys(), "gw-1", NOW).expect_err("refused")
}

/// The notice, rightly signed with another header.
fn headed(header: Header) -> Vec<u8> {
    seal_payload(wire::write(&information("n-1", ISSUED)), header, &key(1))
}

#[test]
fn a_signed_notice_is_opened_with_the_key_that_is_pinned() {
    for number in [1, 2] {
        let notice = information("n-1", ISSUED);
        let opened = open(&seal(&notice, &key(number)).expect("sealed"), &keys(), "gw-1", NOW).expect("opened");
        assert_eq!((opened.notice, opened.kid), (notice, format!("ops-{number}")));
        assert_eq!((opened.unknown_count, opened.unknown), (0, Vec::new()));
    }
}

#[test]
fn the_envelope_is_to_the_byte_what_the_documents_say() {
    let bytes = sealed();
    // Tag 18, an array of 4, a protected header of 51 bytes: alg EdDSA, content type, kid.
    let mut head = vec![0xd2, 0x84, 0x58, 51, 0xa3, 0x01, 0x27, 0x03, 0x78, 36];
    head.extend(CONTENT_TYPE.as_bytes());
    head.extend([0x04, 0x45]);
    head.extend(b"ops-1");
    head.push(0xa0);
    let shown = String::from_utf8_lossy(&bytes).into_owned();
    let length = head[4..head.len() - 1].len();
    head[3] = u8::try_from(length).expect("short");
    assert!(bytes.starts_with(&head), "{shown}");
    assert_eq!(bytes[bytes.len() - 66..][..2], [0x58, 64], "the signature");
    // What is signed, put together by hand (RFC 9052, section 4.4).
    let [protected, _, payload, signature] = taken_apart(&bytes);
    let signed = self::bytes(&Value::Array(vec![
        "Signature1".into(),
        protected,
        Value::Bytes(b"tidegate notice v1".to_vec()),
        payload,
    ]));
    assert!(key(1).public().signed(&signed, signature.as_bytes().expect("bytes")));
}

#[test]
fn a_key_that_is_not_pinned_and_one_that_borrows_a_name_are_refused() {
    let notice = information("n-1", ISSUED);
    let error = refused(&seal(&notice, &key(3)).expect("sealed"));
    assert_eq!(error, NoticeError::UnknownKey { kid: "ops-3".into() });
    let borrowed = SigningKey::from_seed(&[3; 32], Some("ops-1")).expect("a key");
    let error = refused(&seal(&notice, &borrowed).expect("sealed"));
    assert_eq!(error, NoticeError::BadSignature { kid: "ops-1".into() });
}

#[test]
fn what_is_not_signed_is_refused() {
    assert_eq!(refused(&wire::write(&information("n-1", ISSUED))), NoticeError::Unsigned);
    let [protected, unprotected, payload, _] = taken_apart(&sealed());
    for signature in [Value::Null, Value::Bytes(Vec::new())] {
        let parts = [protected.clone(), unprotected.clone(), payload.clone(), signature];
        assert_eq!(refused(&together(parts)), NoticeError::Unsigned);
    }
}

#[test]
fn what_is_not_an_envelope_in_its_one_form_is_refused() {
    let [protected, unprotected, payload, signature] = taken_apart(&sealed());
    let array = Value::Array(vec![protected.clone(), unprotected.clone(), payload.clone(), signature.clone()]);
    let mut longer = sealed();
    longer.push(0);
    let mut indefinite = sealed();
    indefinite[1] = 0x9f;
    indefinite.push(0xff);
    let mut long_length = sealed();
    long_length.splice(2..3, [0x59, 0x00]);
    let mut wide_tag = sealed();
    wide_tag.splice(0..1, [0xd8, 18]);
    let unprotected_kid = Value::Map(vec![(4.into(), Value::Bytes(b"ops-1".to_vec()))]);
    for (bytes, what) in [
        (Vec::new(), "nothing"),
        (b"[maintenance]".to_vec(), "text"),
        (bytes(&array), "no tag"),
        (bytes(&Value::Tag(98, Box::new(array.clone()))), "another tag"),
        (bytes(&Value::Tag(18, Box::new(Value::Tag(18, Box::new(array))))), "two tags"),
        (longer, "a byte behind it"),
        (indefinite, "an array without a length"),
        (long_length, "a length that is too long"),
        (wide_tag, "a tag that is too wide"),
        (together([protected.clone(), unprotected_kid, payload.clone(), signature.clone()]), "an unprotected header"),
        (together([protected, unprotected, Value::Null, signature]), "no payload"),
    ] {
        assert_eq!(refused(&bytes).code(), "malformed", "{what}: {}", refused(&bytes));
    }
    let large = vec![0; ENVELOPE_BYTES + 1];
    assert_eq!(refused(&large), NoticeError::TooLarge { bytes: ENVELOPE_BYTES + 1 });
}

#[test]
fn a_signature_of_something_else_never_passes_for_a_notice() {
    let key = key(1);
    let payload = wire::write(&information("n-1", ISSUED));
    let sign = |context: &[u8]| {
        let builder = CoseSign1Builder::new().protected(protected("ops-1")).payload(payload.clone());
        builder.create_signature(context, |message| key.sign(message)).build().to_tagged_vec().expect("CBOR")
    };
    assert!(open(&sign(CONTEXT), &keys(), "gw-1", NOW).is_ok());
    for context in [&b""[..], b"tidegate notice v2", b"tidegate terms v1"] {
        assert_eq!(refused(&sign(context)).code(), "bad_signature");
    }
    // The bare payload signed, as a tool that signs files does it.
    let [protected, unprotected, payload, _] = taken_apart(&sealed());
    let signature = Value::Bytes(key.sign(payload.as_bytes().expect("bytes")));
    assert_eq!(refused(&together([protected, unprotected, payload, signature])).code(), "bad_signature");
    let other = HeaderBuilder::new().algorithm(Algorithm::EdDSA).key_id(b"ops-1".to_vec());
    for header in
        [other.build(), Header { content_type: Some(ContentType::Text("text/plain".into())), ..protected_1() }]
    {
        assert_eq!(refused(&headed(header)).code(), "malformed");
    }
}

fn protected_1() -> Header {
    protected("ops-1")
}

#[test]
fn the_header_must_name_key_and_algorithm_and_demand_nothing_unknown() {
    let ed25519 = Header { alg: Some(RegisteredLabelWithPrivate::Assigned(Algorithm::Ed25519)), ..protected_1() };
    assert!(open(&headed(ed25519), &keys(), "gw-1", NOW).is_ok(), "RFC 9864's name for the same");
    let ignored = HeaderBuilder::new().value(99, Value::Bool(true)).build().rest;
    let header = Header { rest: ignored, ..protected_1() };
    assert!(open(&headed(header), &keys(), "gw-1", NOW).is_ok(), "a parameter that need not be understood");
    let known = HeaderBuilder::new().add_critical(HeaderParameter::ContentType).build().crit;
    assert!(open(&headed(Header { crit: known, ..protected_1() }), &keys(), "gw-1", NOW).is_ok());

    let es256 = Header { alg: Some(RegisteredLabelWithPrivate::Assigned(Algorithm::ES256)), ..protected_1() };
    assert_eq!(refused(&headed(es256)).code(), "malformed");
    assert_eq!(refused(&headed(Header { alg: None, ..protected_1() })).code(), "malformed");
    assert_eq!(refused(&headed(Header { key_id: Vec::new(), ..protected_1() })).code(), "malformed");
    let long = Header { key_id: vec![b'k'; ID_BYTES + 1], ..protected_1() };
    assert_eq!(refused(&headed(long)).code(), "malformed");
    let critical = HeaderBuilder::new().add_critical(iana::HeaderParameter::Iv).build().crit;
    let header = Header { crit: critical, ..protected_1() };
    assert_eq!(refused(&headed(header)), NoticeError::Critical { what: "header parameter 5".into() });
    let critical = HeaderBuilder::new().add_critical_label(RegisteredLabelWithPrivate::Text("b\n".into())).build().crit;
    let header = Header { crit: critical, ..protected_1() };
    assert_eq!(refused(&headed(header)), NoticeError::Critical { what: "header parameter b\\n".into() });
    let padded = Header {
        key_id: b"ops-1".to_vec(),
        rest: vec![(coset::Label::Int(99), "x".repeat(300).into())],
        ..protected_1()
    };
    assert!(refused(&headed(padded)).to_string().contains("protected header has"));
}

#[test]
fn counter_signatures_within_counter_signatures_do_not_exhaust_the_stack() {
    // Each level is a header that holds a counter signature whose own header holds the next.
    let mut header = bytes(&Value::Map(Vec::new()));
    while header.len() < 15_000 {
        let signature = vec![Value::Bytes(header), Value::Map(Vec::new()), Value::Bytes(vec![1])];
        header = bytes(&Value::Map(vec![(7.into(), Value::Array(signature))]));
    }
    let [_, unprotected, payload, signature] = taken_apart(&sealed());
    let deep = together([Value::Bytes(header.clone()), unprotected, payload.clone(), signature.clone()]);
    assert_eq!(refused(&deep).code(), "malformed");
    let inner = ciborium::from_reader(&header[..]).expect("a map");
    let [protected, ..] = taken_apart(&sealed());
    let deep = together([protected, inner, payload, signature]);
    assert_eq!(refused(&deep).code(), "malformed");
    let small = Header { counter_signatures: vec![coset::CoseSignature::default()], ..protected_1() };
    assert!(refused(&headed(small)).to_string().contains("counter signature"));
}

#[test]
fn a_notice_is_taken_in_from_its_issue_to_its_expiry_and_only_by_those_it_names() {
    let notice = Notice { scope: Scope::Gateways(vec!["gw-1".into(), "pole-*".into()]), ..information("n-1", ISSUED) };
    let envelope = seal(&notice, &key(1)).expect("sealed");
    let at = |gateway: &str, now: Now| {
        open(&envelope, &keys(), gateway, now).map_or_else(|error| error.code(), |_| "opened")
    };
    let expires = ISSUED + DAY;
    for (now, expected) in [
        (Now::Known(ISSUED), "opened"),
        (Now::Known(ISSUED - super::super::SKEW_MS), "opened"),
        (Now::Known(ISSUED - super::super::SKEW_MS - 1), "not_yet_issued"),
        (Now::Known(expires), "opened"),
        (Now::Known(expires + 1), "expired"),
        (Now::AtLeast(0), "opened"),
        (Now::AtLeast(expires + 1), "expired"),
    ] {
        assert_eq!(at("gw-1", now), expected, "{now:?}");
        assert_eq!(at("pole-7", now), expected, "{now:?}");
        assert_eq!(at("gw-2", now), "not_for_this_gateway");
    }
}

#[test]
fn a_rightly_signed_notice_without_sense_is_told_from_a_bad_signature() {
    let nonsense = seal_payload(vec![0xa0], protected_1(), &key(1));
    let error = refused(&nonsense);
    assert_eq!(error.code(), "content");
    assert!(std::error::Error::source(&error).is_some_and(|flaw| flaw.to_string().contains("`id`: is missing")));
    assert!(peek(&nonsense).is_err() && peek(&sealed()).is_ok_and(|opened| opened.kid == "ops-1"));
}

#[test]
fn what_would_be_refused_is_not_signed() {
    let notice = information("n 1", ISSUED);
    assert!(matches!(seal(&notice, &key(1)), Err(SealError::Content(flaw)) if flaw.field == "id"));
    let content = Content::Unknown { kind: "holiday".into() };
    assert!(matches!(seal(&Notice { content, ..information("n", ISSUED) }, &key(1)), Err(SealError::Unknown { .. })));
    let names = (0..1000).map(|number| format!("a-gateway-with-a-long-name-{number}")).collect();
    let crowd = Notice { scope: Scope::Gateways(names), ..information("n", ISSUED) };
    assert!(matches!(seal(&crowd, &key(1)), Err(SealError::TooLarge { .. })));
}

#[test]
fn every_reason_has_its_own_word() {
    let mut codes = NoticeError::CODES.to_vec();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), NoticeError::CODES.len());
}

proptest! {
    #[test]
    fn what_was_sealed_is_opened(notice in notice()) {
        let (bytes, gateway) = (seal(&notice, &key(1)), "gw-1");
        let bytes = bytes.map_err(|error| TestCaseError::fail(error.to_string()))?;
        let opened = verify(&bytes, &keys()).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(&opened.notice.id, &notice.id);
        prop_assert_eq!(wire::write(&opened.notice).len(), wire::write(&notice).len());
        let judged = open(&bytes, &keys(), gateway, Now::Known(notice.issued_ms));
        prop_assert_eq!(judged.is_ok(), notice.scope.includes(gateway));
    }

    #[test]
    fn any_bytes_are_refused_with_a_reason(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let error = refused(&bytes);
        prop_assert!(NoticeError::CODES.contains(&error.code()) && !error.to_string().is_empty());
    }
}

#[test]
fn an_envelope_with_any_one_bit_flipped_is_refused() {
    let bytes = sealed();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let error = refused(&flipped);
        assert!(NoticeError::CODES.contains(&error.code()), "bit {bit}");
    }
}

#[test]
fn an_envelope_that_is_cut_off_anywhere_is_refused() {
    let bytes = sealed();
    for length in 0..bytes.len() {
        refused(&bytes[..length]);
    }
}
