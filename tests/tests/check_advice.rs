//! That `tidegate check` gives each thing the code whose page helps, and a next step that leads somewhere.
#![forbid(unsafe_code)]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use tidegate_tests::agent::{Setup, binary};
use tidegate_tests::checked::{Checked, check};
use tidegate_tests::flux::Flux;
use tidegate_tests::statuspage::{self, StatusPage};
use tidegate_tests::tools::find;

fn page() -> StatusPage {
    StatusPage::start(statuspage::Says::Page(statuspage::page(&[], &[])))
}

fn webhook(flux: &Flux, page: &StatusPage) -> Setup {
    let mut setup = Setup::webhook(flux);
    setup.status_page(page);
    setup.synchronise();
    setup
}

/// Where nobody else's processes can be seen, as from within a container.
fn alone(arguments: &[&str]) -> Output {
    let mut command = Command::new(find("unshare", "util-linux"));
    command.args(["--pid", "--fork", "--mount-proc"]).arg(binary()).args(arguments).env("LC_ALL", "C");
    command.output().expect("unshare starts")
}

#[test]
fn a_secret_whose_file_is_missing_has_the_page_of_secrets() {
    let (flux, page) = (Flux::start(), page());
    let mut setup = webhook(&flux, &page);
    setup.without("forward.flux").set("forward.flux", "kind", "\"webhook\"");
    let file = setup.folder().join("webhook-url");
    setup.set("forward.flux", "url_file", &format!("\"{}\"", file.display()));
    let checked = check(&setup, &[]);
    let [said, next] = checked.told("configuration", "bad", "TG-105");
    assert!(said.contains("/webhook-url") && next.contains("create it"), "{said} → {next}");
    // Beside a mistake of another kind each has its own.
    setup.set("store", "max_size", "5");
    let both = check(&setup, &[]).lines("configuration");
    let mut codes: Vec<&str> = both.iter().map(|[_, code, ..]| code.as_str()).collect();
    codes.sort_unstable();
    assert_eq!(codes, ["TG-102", "TG-105"]);
}

#[test]
fn a_secret_that_everybody_may_read_has_one_line_and_one_cure() {
    let (flux, page) = (Flux::start(), page());
    let mut setup = webhook(&flux, &page);
    setup.without("forward.flux").set("forward.flux", "kind", "\"webhook\"");
    let file = setup.folder().join("webhook-url");
    std::fs::write(&file, flux.webhook_url()).expect("written");
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("mode");
    setup.set("forward.flux", "url_file", &format!("\"{}\"", file.display()));
    let checked = check(&setup, &[]);
    let of_secrets = checked.all["findings"].as_array().expect("findings").iter();
    let lines: Vec<_> = of_secrets.filter(|finding| finding["code"] == "TG-603").collect();
    assert!(lines.len() == 1 && lines[0]["id"] == "file", "{}", checked.text);
    assert!(lines[0]["next"].as_str().is_some_and(|next| next.contains("chmod 640")), "{}", checked.text);
}

#[test]
fn a_note_on_a_usable_configuration_is_no_mistake() {
    let (flux, page) = (Flux::start(), page());
    let mut setup = webhook(&flux, &page);
    setup.set("forward.flux.batch", "max_age", "\"10s\"");
    let checked = check(&setup, &[]);
    let notes = checked.lines("configuration");
    assert!(!notes.is_empty() && notes.iter().all(|[result, code, ..]| result == "attention" && code == "TG-112"));
    assert_eq!(checked.code, 0, "{}", checked.text);
}

#[test]
fn a_port_that_a_second_tidegate_has_is_told_as_that() {
    let (flux, page) = (Flux::start(), page());
    let first = webhook(&flux, &page).start();
    let mut second = webhook(&flux, &page);
    second.set("collect.listener", "bind", &format!("\"{}\"", first.address()));
    let checked = check(&second, &[]);
    let [said, next] = checked.told("devices connect to", "bad", "TG-201");
    assert!(said.contains("another Tidegate (process "), "{said}");
    assert!(next.contains("ps -fp ") && !next.contains("broker"), "{next}");
}

#[test]
fn a_port_whose_holder_cannot_be_seen_is_taken_all_the_same() {
    let (flux, page) = (Flux::start(), page());
    let setup = webhook(&flux, &page);
    let _held = TcpListener::bind(setup.address()).expect("the port is free");
    let config = setup.write();
    let config = config.to_str().expect("text");
    let checked = Checked::of(&alone(&["check", "--json", "--config", config]));
    let [said, next] = checked.told("devices connect to", "bad", "TG-201");
    assert!(said.contains("cannot be seen"), "{said}");
    assert!(next.contains("container") && !next.contains("sudo"), "{next}");

    // Nor is it set up in silence.
    let place = tempfile::tempdir().expect("a folder");
    let new = place.path().join("tidegate.toml");
    let listen = setup.address().to_string();
    let arguments = ["setup", "--yes", "--no-start", "--id", "gw-1", "--devices", "listen", "--listen", &listen];
    let more = ["--flux", "unified", "--interface=", "--events-per-month", "10000", "--config"];
    let words = [&arguments[..], &more, &[new.to_str().expect("text")]].concat();
    let output = alone(&words);
    let all = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(all.contains("TG-201") && all.contains("nothing was changed"), "{all}");
    assert_eq!((output.status.code(), new.exists()), (Some(1), false), "{all}");
}

#[test]
fn a_store_where_no_file_can_be_is_not_taken_for_a_failing_medium() {
    let (flux, page) = (Flux::start(), page());
    let mut setup = webhook(&flux, &page);
    setup.store_at(Path::new("/proc/nowhere/store"));
    let checked = check(&setup, &[]);
    let [said, next] = checked.told("store, writing", "bad", "TG-301");
    assert!(said.contains("/proc") && next.contains("[store] path"), "{said} → {next}");
    assert!(!next.contains("replaced"), "{next}");
}

#[test]
fn a_terms_file_that_cannot_be_used_is_bad_with_its_page_and_so_is_one_that_is_not_there() {
    let (flux, page) = (Flux::start(), page());
    let mut setup = webhook(&flux, &page);
    let file = setup.folder().join("terms.toml");
    setup.set("provider", "terms", &format!("\"{}\"", file.display()));
    let missing = check(&setup, &[]);
    let [said, _] = missing.told("terms file", "bad", "TG-108");
    assert!(said.contains("not in force"), "{said}");
    assert!(missing.lines("file ").iter().all(|line| line[0] != "bad"), "one line is enough: {}", missing.text);
    std::fs::write(&file, "[limits]\nrate = \"fast\"\n").expect("written");
    let wrong = check(&setup, &[]);
    let [said, _] = wrong.told("terms file", "bad", "TG-108");
    assert!(said.contains("line 2") && said.contains("not in force") && wrong.code == 1, "{said}");
    std::fs::write(&file, "[limits]\nrate = \"64 kbit/s\"\n").expect("written");
    let good = check(&setup, &[]).lines("terms file");
    assert!(good.len() == 1 && good[0][0] == "good", "{good:?}");
}

#[test]
fn a_metrics_port_that_somebody_has_is_told() {
    let (flux, page) = (Flux::start(), page());
    let mut setup = webhook(&flux, &page);
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = other.local_addr().expect("it is bound");
    setup.set("metrics", "bind", &format!("\"{address}\""));
    let checked = check(&setup, &[]);
    let [said, next] = checked.told("metrics page", "bad", "TG-604");
    assert!(said.contains("has that port") && next.contains("[metrics] bind"), "{said} → {next}");
    drop(other);
    let agent = setup.start();
    let beside = check(&agent.setup, &[]).lines("metrics page");
    assert!(beside.len() == 1 && beside[0][0] == "good", "{beside:?}");
}
