use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;

use super::exposed::Exposed;
use super::surroundings::{Content, Fault, Place, SecretFile, Surroundings, Volume};
use super::*;
use crate::secret::Secret;

mod alarm;
mod changed;
mod default_file;
mod disk;
mod fields;
mod handed;
mod limits;
mod mistakes;
mod notices;
mod parts;
mod secrets;

/// Every file is there; a secret is a URL, which is good for all kinds.
struct AllThere;

const URL: &str = "https://hooks.example.com/v1/abc/def";

impl Surroundings for AllThere {
    fn secret(&self, _: &Path) -> Result<SecretFile, Fault> {
        Ok(SecretFile { secret: Secret::new(URL), exposed: None })
    }

    fn usable(&self, _: &Path, _: Content) -> Result<Option<Exposed>, Fault> {
        Ok(None)
    }

    fn belongs(&self, _: &Path, _: &Path) -> Result<(), Fault> {
        Ok(())
    }

    fn volume(&self, path: &Path) -> Option<Volume> {
        Some(Volume { bytes: 1 << 40, volatile: path.starts_with("/tmp") })
    }

    fn place(&self, _: &Path) -> Place {
        Place::Fits
    }
}

fn read(text: &str) -> Result<Config, Errors> {
    sections::read(text, "test.toml", &AllThere).0
}

fn good(text: &str) -> Config {
    read(text).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

fn problems(text: &str) -> Vec<Problem> {
    read(text).map_or_else(|errors| errors.problems, |config| panic!("no mistake was found: {config:?}"))
}

const SMALLEST: &str = "[gateway]\nid = \"gw-1\"\n[forward.flux]\nkind = \"unified\"\n";

#[test]
fn the_smallest_file_has_every_default() {
    let config = good(SMALLEST);
    assert_eq!(config.gateway.id, "gw-1");
    let listener = config.collect.listener.expect("the listener stands by default");
    assert_eq!(listener.bind, Some("127.0.0.1:1883".parse().expect("an address")));
    assert!(listener.allow_anonymous && listener.tls.is_none());
    assert_eq!(config.collect.broker, None);
    assert_eq!(config.collect.default_lane, None);
    assert_eq!(config.collect.rules.len(), 3);
    assert_eq!(config.store.max_size, 1 << 30);
    assert_eq!(config.forward.target, FluxTarget::Unified { url: "http://uni.soracom.io/".into() });
    assert_eq!(config.forward.batch.max_age.as_secs(), 270);
    assert_eq!(config.control.socket, Path::new(DEFAULT_SOCKET));
    assert_eq!(config.warnings, []);
}

#[test]
fn the_listener_stands_by_default_only_without_a_broker() {
    let broker = "[collect.broker]\nurl = \"mqtts://b.example\"\ntopics = [\"devices/#\"]\n";
    let config = good(&format!("{SMALLEST}{broker}"));
    assert_eq!(config.collect.listener, None);
    let found = config.collect.broker.expect("a broker");
    assert_eq!((found.host.as_str(), found.port, found.tls), ("b.example", 8883, true));
    assert_eq!(found.client_id, "tidegate-gw-1");
    let config = good(&format!("{SMALLEST}{broker}[collect.listener]\n"));
    assert!(config.collect.listener.is_some() && config.collect.broker.is_some());
}

#[test]
fn only_a_tls_address_means_only_tls() {
    let tls = "tls_bind = \"0.0.0.0:8883\"\ntls_certificate = \"/c\"\ntls_key = \"/k\"\n";
    let listener = good(&format!("{SMALLEST}[collect.listener]\n{tls}")).collect.listener.expect("a listener");
    assert_eq!(listener.bind, None);
    assert!(listener.tls.is_some());
}

#[test]
fn no_secret_shows_in_debug_or_as_origin() {
    let config = good("[gateway]\nid = \"g\"\n[forward.flux]\nkind = \"webhook\"\nurl_file = \"/s\"\n");
    assert!(!format!("{config:?}").contains("abc"), "{config:?}");
    assert_eq!(config.forward.target.origin(), "https://hooks.example.com");
    let FluxTarget::Webhook { url } = config.forward.target else { panic!("a webhook") };
    assert_eq!(url.expose(), URL);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}") {
        let _ = read(&text);
    }

    #[test]
    fn no_broken_configuration_makes_it_panic_and_every_place_is_in_the_file(
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), "[\\[\\]=\"'#{}.,\n\\\\a5é]{0,3}"), 1..6),
    ) {
        let mut text: Vec<char> = default_file::everything(Kind::Api).chars().collect();
        for (index, insert) in cuts {
            let at = index.index(text.len());
            text.splice(at..(at + 2).min(text.len()), insert.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(errors) = read(&text) {
            let lines: Vec<&str> = text.split('\n').collect();
            prop_assert!(!errors.problems.is_empty());
            for problem in &errors.problems {
                prop_assert!(problem.line <= lines.len());
                if problem.line > 0 {
                    prop_assert!(problem.column <= lines[problem.line - 1].chars().count() + 1, "{}", problem);
                }
                prop_assert!(!problem.to_string().contains('\n'));
            }
        }
    }
}
