//! Secret files that the agent may not read, and that the service manager has handed over.

use super::*;
use crate::config::credentials::Handed;

/// What is in `/etc/tidegate/secrets` belongs to root; the copies are read from a folder of the test.
struct Service<'a> {
    copies: &'a Path,
    stale: bool,
}

impl Surroundings for Service<'_> {
    fn secret(&self, path: &Path) -> Result<SecretFile, Fault> {
        surroundings::Disk.secret(path)
    }

    fn usable(&self, path: &Path, content: Content) -> Result<Option<Exposed>, Fault> {
        surroundings::Disk.usable(path, content)
    }

    fn belongs(&self, _: &Path, _: &Path) -> Result<(), Fault> {
        Ok(())
    }

    fn volume(&self, _: &Path) -> Option<Volume> {
        None
    }

    fn place(&self, _: &Path) -> Place {
        Place::Fits
    }

    fn handed(&self, path: &Path) -> Option<Handed> {
        let name = path.strip_prefix(SECRETS_FOLDER).ok()?;
        Some(Handed { path: self.copies.join(name), stale: self.stale })
    }
}

const TEXT: &str = "[gateway]\nid = \"gw-1\"\n[collect.listener]\npasswords_file = \"/etc/tidegate/secrets/passwords\"\n\
                    [forward.flux]\nkind = \"webhook\"\nurl_file = \"/etc/tidegate/secrets/webhook.url\"\n";

#[test]
fn a_copy_is_read_and_gone_on_with_and_messages_name_the_file_that_a_person_knows() {
    let copies = tempfile::tempdir().expect("a folder");
    let read = |stale| sections::read(TEXT, "test.toml", &Service { copies: copies.path(), stale });
    std::fs::write(copies.path().join("webhook.url"), URL).expect("a copy");

    let (_, book) = read(false);
    let problem = book.problems.first().expect("the passwords are not there");
    assert!(problem.found.to_string().contains("/etc/tidegate/secrets/passwords"), "{problem}");
    assert!(!problem.found.to_string().contains(&copies.path().display().to_string()), "{problem}");

    std::fs::write(copies.path().join("passwords"), "").expect("a copy");
    let config = read(false).0.expect("both are there");
    let FluxTarget::Webhook { url } = &config.forward.target else { panic!("a webhook") };
    assert_eq!(url.expose(), URL);
    let listener = config.collect.listener.as_ref().expect("a listener");
    assert_eq!(listener.passwords_file, Some(copies.path().join("passwords")), "read again with each reload");
    assert!(!config.warnings.iter().any(|warning| warning.to_string().contains("restart")), "{:?}", config.warnings);

    assert_eq!(crate::config::stale(&config).count(), 0);
    let config = read(true).0.expect("it is used all the same");
    let keys: Vec<_> = crate::config::stale(&config).collect();
    assert_eq!(keys, ["collect.listener.passwords_file", "forward.flux.url_file"]);
    let warnings = config.warnings;
    let stale = warnings.iter().filter(|warning| warning.to_string().contains("restart the service")).count();
    assert_eq!(stale, 2, "{warnings:?}");
}
