//! A card that was copied into another gateway: each store goes on, and no id names two records.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tidegate_tests::agent::{Agent, Setup};
use tidegate_tests::flux::Flux;
use tidegate_tests::mqtt::packet::Connect;
use tidegate_tests::mqtt::{Client, Version};
use tidegate_tests::tools;
use tidegate_tests::wait;

const BOUND: Duration = Duration::from_secs(30);

/// Starts what follows with a folder of ours in the place of one of the kernel's, in a mount namespace of its own: the
/// agent is the one that is shipped, and reads what another board or another network card would show it.
const SHOW: &str = r#"mount --bind "$0" "$1" && shift && exec "$@""#;

/// What a piece of hardware shows: files in a folder that takes the place of `instead_of`.
struct Hardware {
    folder: tempfile::TempDir,
    instead_of: &'static str,
}

impl Hardware {
    /// A board with this serial number.
    fn board(number: &str) -> Self {
        Self::new("/sys/firmware", &[("devicetree/base/serial-number", &format!("{number}\0"))])
    }

    /// A network card `eth0` with this address of its maker's.
    fn card(address: &str) -> Self {
        Self::new("/sys/class/net", &[("eth0/address", address), ("eth0/addr_assign_type", "0\n")])
    }

    fn new(instead_of: &'static str, files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (path, text) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        Self { folder, instead_of }
    }

    /// An agent on this hardware.
    fn agent(&self, flux: &Flux, source: &str, store: &Path) -> Agent {
        let unshare = tools::find("unshare", "util-linux").display().to_string();
        let folder = self.folder.path().display().to_string();
        let mut setup = Setup::webhook(flux);
        setup.store_at(store);
        setup.set("store", "hardware", &format!("\"{source}\""));
        setup.within(&[&unshare, "-m", "sh", "-c", SHOW, &folder, self.instead_of]);
        setup.start()
    }
}

fn publish(agent: &Agent, payloads: impl IntoIterator<Item = String>) {
    let (mut client, _) = Client::connect(agent.address(), &Connect::new(Version::V311, "writer"));
    for (index, payload) in payloads.into_iter().enumerate() {
        client.publish_acknowledged("devices/writer/telemetry", payload.as_bytes(), index as u16 + 1);
    }
    client.disconnect();
}

fn epoch(agent: &Agent) -> String {
    agent.status()["epoch"].as_str().expect("the store is open").to_owned()
}

fn copy(store: &Path, name: &str) -> PathBuf {
    let copy = store.with_file_name(name);
    tools::run(Command::new(tools::find("cp", "coreutils")).arg("-a").arg(store).arg(&copy));
    copy
}

/// Two gateways from one card: `original` goes on, `other` begins with a copy.
fn copied(source: &str, original: &Hardware, other: &Hardware) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = folder.path().join("store");
    let flux = Flux::start_stopped();
    let mut first = original.agent(&flux, source, &store);
    publish(&first, (0..10).map(|n| format!(r#"{{"both":{n}}}"#)));
    let drawn = epoch(&first);
    assert!(first.terminate().success());
    let copy = copy(&store, "copy");
    let second = other.agent(&flux, source, &copy);
    second.wait_for_log("other hardware", BOUND);
    assert_ne!(epoch(&second), drawn, "the copy goes on in the epoch of the original");
    assert_eq!(second.waiting(), 10, "the copy keeps what it holds");
    first.start();
    assert_eq!(epoch(&first), drawn, "the original has lost its epoch");
    assert!(!first.log().contains("other hardware"), "the original takes its own hardware for another");
    publish(&second, (0..20).map(|n| format!(r#"{{"copy":{n}}}"#)));
    publish(&first, (0..20).map(|n| format!(r#"{{"original":{n}}}"#)));
    flux.resume();
    wait::until("all is delivered", BOUND, || first.waiting() == 0 && second.waiting() == 0);
    let came = flux.payloads_of("writer");
    for (name, count) in [("both", 10), ("copy", 20), ("original", 20)] {
        let expected: Vec<String> = (0..count).map(|n| format!(r#"{{"{name}":{n}}}"#)).collect();
        let of: Vec<&String> = came.iter().filter(|text| text.contains(name)).collect();
        assert!(of.iter().copied().eq(&expected), "{name}: {of:?}");
    }
    // Above all: no id has come with two contents.
    flux.look(tidegate_tests::flux::Log::assert_faultless);
    let mut second = second;
    assert!(second.terminate().success());
    let again = other.agent(&flux, source, &copy);
    assert!(!again.log().contains("other hardware"), "a new epoch is drawn at every start");
}

#[test]
fn a_card_copied_to_another_board_draws_a_new_epoch_and_no_id_names_two_records() {
    copied("board", &Hardware::board("10000000a1b2c3d4"), &Hardware::board("10000000d4c3b2a1"));
}

#[test]
fn a_card_copied_to_a_gateway_with_another_network_card_is_noticed_by_its_address() {
    copied("network:eth0", &Hardware::card("dc:a6:32:01:02:03\n"), &Hardware::card("dc:a6:32:03:02:01\n"));
}

#[test]
fn hardware_that_cannot_be_told_is_not_judged_and_said_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = folder.path().join("store");
    let flux = Flux::start();
    let random =
        Hardware::new("/sys/class/net", &[("eth0/address", "de:a6:32:01:02:03"), ("eth0/addr_assign_type", "1")]);
    let mut agent = random.agent(&flux, "network:eth0", &store);
    let drawn = epoch(&agent);
    publish(&agent, ["1".to_owned()]);
    flux.wait_for(1, BOUND);
    assert_eq!(agent.log().matches("drawn at random").count(), 1, "it says why, once");
    let _ = agent.terminate();
    agent.start();
    assert_eq!(epoch(&agent), drawn);
}
