use proptest::prelude::*;
use rcgen::{CertificateParams, DnType, DnValue, KeyPair, SanType};

use super::*;

fn certificate(params: &CertificateParams) -> Vec<u8> {
    params.self_signed(&KeyPair::generate().expect("a key")).expect("signed").der().to_vec()
}

/// A common name as this kind of text, and alternative names of each kind.
fn full(common_name: DnValue) -> Vec<u8> {
    let mut params = CertificateParams::new(vec!["pump-3.example.com".to_owned()]).expect("a DNS name");
    params.distinguished_name.push(DnType::OrganizationName, "Example");
    params.distinguished_name.push(DnType::CommonName, common_name);
    let ia5 = |text: &str| text.try_into().expect("ASCII");
    params.subject_alt_names.extend([
        SanType::Rfc822Name(ia5("pump@example.com")),
        SanType::URI(ia5("urn:dev:pump-3")),
        SanType::IpAddress([192, 168, 1, 3].into()),
        SanType::IpAddress("fd00::3".parse().expect("an address")),
    ]);
    certificate(&params)
}

#[test]
fn the_common_name_and_every_alternative_name_are_found() {
    let rest = ["pump-3.example.com", "pump@example.com", "urn:dev:pump-3", "192.168.1.3", "fd00::3"];
    for (value, name) in [
        (DnValue::Utf8String("pümp 3".into()), "pümp 3"),
        (DnValue::PrintableString("pump 3".try_into().expect("printable")), "pump 3"),
        (DnValue::BmpString("pümp 3".try_into().expect("two bytes each")), "pümp 3"),
    ] {
        let found = names(&full(value));
        assert_eq!(found.iter().map(|name| &**name).collect::<Vec<_>>(), [&[name][..], &rest].concat());
    }
}

#[test]
fn a_certificate_without_alternative_names_has_its_common_name_and_one_without_either_none() {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    assert_eq!(names(&certificate(&params)).len(), 0);
    params.distinguished_name.push(DnType::CommonName, "pump");
    assert_eq!(*names(&certificate(&params)), ["pump".into()]);
}

#[test]
fn names_are_bounded_in_number_and_length() {
    let many: Vec<String> = (0..100).map(|n| format!("n{n}.example.com")).collect();
    let mut params = CertificateParams::new(many).expect("DNS names");
    params.distinguished_name.push(DnType::CommonName, "x".repeat(MAX_NAME + 1));
    let found = names(&certificate(&params));
    assert_eq!(found.len(), MAX_NAMES);
    assert_eq!(&*found[0], "n0.example.com", "the long one is left out");
}

proptest! {
    #[test]
    fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        names(&bytes);
    }

    #[test]
    fn a_damaged_certificate_does_not_make_it_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = full(DnValue::Utf8String("pump".into()));
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        names(&bytes[..cut.index(bytes.len() + 1)]);
    }
}
