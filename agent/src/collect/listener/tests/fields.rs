//! Fields of payloads are treated before anything is stored, whichever way a publish comes.

use tracing::level_filters::LevelFilter;

use super::*;
use crate::collect::fields::{Fields, Key, Otherwise, Rule as FieldRule};
use crate::collect::turned_away::tests::Captured;
use crate::secret::Secret;

fn key() -> Arc<Key> {
    Arc::new(Key::new(Secret::new("a key of thirty-two characters..")))
}

impl Gate {
    /// Drops `name` and makes a pseudonym of `who`, on topics below `d`.
    fn treat(&self, otherwise: Otherwise) {
        let field = |path: &str| vec![path.parse().expect(path)];
        let rule = FieldRule {
            topic: "d/#".into(),
            drop: field("name"),
            pseudonymise: field("who"),
            otherwise,
            ..FieldRule::default()
        };
        let fields = Fields::new(&[rule], Some(&key())).expect("a rule");
        self.rules.send_replace(Arc::new(Rules::clone(&rules(&["d/{device}", "e/{device}"], None)).treating(fields)));
    }
}

#[tokio::test]
async fn what_is_stored_is_what_the_rule_leaves_at_every_qos_by_name_and_by_alias() {
    let gate = Gate::open();
    gate.treat(Otherwise::Refuse);
    let payload = br#"{"name":"Ann","who":7,"t":1.10}"#;
    let mut client = gate.v5("c").await;
    client.send(&publish(5, 0, 0, "d/a", payload)).await;
    client.send(&publish(5, 1, 1, "d/a", payload)).await;
    client.expect(&[0x40, 2, 0, 1]).await;
    client.send(&publish(5, 2, 2, "d/a", payload)).await;
    client.expect(&[0x50, 2, 0, 2]).await;
    // Repeated, it is known and neither treated nor stored again.
    client.send(&publish(5, 2, 2, "d/a", payload)).await;
    client.expect(&[0x50, 2, 0, 2]).await;
    for topic in ["d/a", ""] {
        client.send(&packet(0x32, &[&text(topic), &[0, 3], &[3, 0x23, 0, 1], payload])).await;
        client.expect(&[0x40, 2, 0, 3]).await;
    }
    client.send(&publish(5, 1, 4, "e/a", payload)).await;
    client.expect(&[0x40, 2, 0, 4]).await;
    let left = format!(r#"{{"who":"{}","t":1.10}}"#, key().pseudonym("7")).into_bytes();
    let mut expected = vec![left; 5];
    expected.push(payload.to_vec());
    assert_eq!(gate.payloads(), expected);
}

#[tokio::test]
async fn what_cannot_be_treated_is_refused_with_the_code_of_its_version_counted_and_logged_without_its_payload() {
    let captured = Captured::from(LevelFilter::INFO);
    let gate = Gate::open();
    gate.treat(Otherwise::Refuse);
    let mut client = gate.v5("new").await;
    client.send(&publish(5, 1, 1, "d/a", b"Ann")).await;
    client.expect(&[0x40, 3, 0, 1, 0x99]).await;
    client.send(&publish(5, 2, 2, "d/a", br#"{"who":{"name":"Ann"}}"#)).await;
    client.expect(&[0x50, 3, 0, 2, 0x99]).await;
    let mut client = gate.v3("old").await;
    client.send(&publish(4, 1, 1, "d/a", b"[\"Ann\"]")).await;
    client.expect(&[0x40, 2, 0, 1]).await;
    gate.until("counted", |stats| stats.refused_fields.get() == 3).await;
    assert_eq!(gate.payloads().len(), 0);
    assert_eq!(gate.store.stats().refused, 3, "durably");
    let lines = captured.with(&[r#"cause="fields""#, r#"client="new""#, "not JSON, at byte 0", "tidegate fields try"]);
    assert_eq!(lines.len(), 1, "{:?}", captured.with(&[]));
    assert!(captured.with(&["Ann"]).is_empty());
}

#[tokio::test]
async fn a_rule_may_have_it_stored_as_it_came_which_is_counted() {
    let gate = Gate::open();
    gate.treat(Otherwise::Store);
    let mut client = gate.v3("c").await;
    client.send(&publish(4, 1, 1, "d/a", b"no JSON")).await;
    client.expect(&[0x40, 2, 0, 1]).await;
    gate.until("counted", |stats| stats.untreated.get() == 1).await;
    assert_eq!(gate.payloads(), [b"no JSON"]);
    assert_eq!(gate.stats.refused_fields.get(), 0);
}

#[tokio::test]
async fn a_will_is_treated_by_the_rules_in_force_when_it_is_stored() {
    let gate = Gate::open();
    for (topic, payload) in [("d/a", &br#"{"name":"Ann","state":"gone"}"#[..]), ("d/b", b"Ann is gone")] {
        let will = [&text(topic)[..], &text(std::str::from_utf8(payload).expect("text"))].concat();
        let mut client = gate.raw().await;
        client.send(&connect_with(4, topic, 0x06, 0, &[], &will)).await;
        client.expect(&[0x20, 2, 0, 0]).await;
        gate.treat(Otherwise::Refuse);
    }
    gate.until("one will is stored and one refused", |stats| stats.wills.get() + stats.refused_fields.get() == 2).await;
    assert_eq!(gate.payloads(), [br#"{"state":"gone"}"#]);
}

#[tokio::test]
async fn a_record_that_became_much_longer_than_its_publish_is_stored_whole() {
    let gate = Gate::open();
    let rule =
        FieldRule { topic: "#".into(), pseudonymise: vec!["[]".parse().expect("a field")], ..FieldRule::default() };
    let fields = Fields::new(&[rule], Some(&key())).expect("a rule");
    gate.rules.send_replace(Arc::new(Rules::clone(&rules(&["d/{device}"], None)).treating(fields)));
    let payload = format!("[{}]", vec!["1"; 1_000].join(","));
    let left = format!("[{}]", vec![format!("\"{}\"", key().pseudonym("1")); 1_000].join(","));
    let mut client = gate.v3("c").await;
    // More together than one round may hold.
    let many: Vec<u8> = (1..=10).flat_map(|id| publish(4, 1, id, "d/a", payload.as_bytes())).collect();
    client.send(&many).await;
    for id in 1..=10 {
        client.expect(&[0x40, 2, 0, id]).await;
    }
    assert_eq!(gate.payloads(), vec![left.into_bytes(); 10]);
}
