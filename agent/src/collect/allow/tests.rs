use proptest::prelude::*;

use super::*;

#[test]
fn a_star_stands_for_any_characters_at_any_place() {
    for (pattern, name, fit) in [
        ("*", "", true),
        ("*", "anything", true),
        ("pump-*", "pump-", true),
        ("pump-*", "pump-3", true),
        ("pump-*", "Pump-3", false),
        ("*.example.com", "a.b.example.com", true),
        ("*.example.com", "example.com", false),
        ("a*b*c", "abc", true),
        ("a*b*c", "a-b-b-c", true),
        ("a*b*c", "acb", false),
        ("ab*ba", "aba", false),
        ("**", "x", true),
        ("*x*", "axb", true),
        ("*x*", "ab", false),
        ("pümp*", "pümp1", true),
    ] {
        assert_eq!(Names::new([pattern]).has(name), fit, "{pattern:?} and {name:?}");
    }
}

/// The rule, written as plainly as it can be.
fn plainly(pattern: &[char], name: &[char]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some(('*', rest)) => (0..=name.len()).any(|taken| plainly(rest, &name[taken..])),
        Some((first, rest)) => name.split_first().is_some_and(|(is, more)| is == first && plainly(rest, more)),
    }
}

proptest! {
    #[test]
    fn patterns_fit_what_the_rule_says(pattern in "[ab*]{0,8}", name in "[ab]{0,10}") {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        prop_assert_eq!(Names::new([&*pattern]).has(&name), plainly(&chars(&pattern), &chars(&name)));
    }
}

#[test]
fn each_list_narrows_and_none_lets_all_pass() {
    let names = |name: &str| Some(Names::new([name]));
    let identity =
        Identity { client_id: "c1".into(), user: Some("u1".into()), certificate: ["cn".into(), "san".into()].into() };
    let stranger = Identity { client_id: "c1".into(), ..Identity::default() };
    let all = Allowed::default();
    assert!(all.device("any") && all.connection(&identity).is_ok() && all.connection(&stranger).is_ok());
    let some =
        Allowed { devices: names("d*"), client_ids: names("c*"), users: names("u1"), certificates: names("s*n") };
    assert!(some.device("d1") && !some.device("e1"));
    assert_eq!(some.connection(&identity), Ok(()));
    assert_eq!(some.connection(&stranger), Err(Unlisted::Certificate));
    let users = Allowed { certificates: None, ..some.clone() };
    assert_eq!(users.connection(&stranger), Err(Unlisted::User), "no user name is not listed");
    let clients = Allowed { client_ids: names("x"), ..some };
    assert_eq!(clients.connection(&identity), Err(Unlisted::ClientId));
}
