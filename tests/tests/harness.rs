//! The tools of these tests, tried against real programs: what judges Tidegate must itself be right.
#![forbid(unsafe_code)]

use std::time::Duration;

use tidegate_tests::device::Device;
use tidegate_tests::mqtt::packet::{Connect, PINGREQ};
use tidegate_tests::mqtt::{Client, Packet, Qos, Version};
use tidegate_tests::tools::{self, LoopDisk, Mosquitto};
use tidegate_tests::{certs, wait};

#[test]
fn devices_of_every_kind_are_understood_by_mosquitto_and_go_on_after_its_restart() {
    let mut broker = Mosquitto::start_persistent();
    let mut running = Vec::new();
    for version in Version::BOTH {
        for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let pause = Duration::from_millis(1);
            let device = Device { qos, pause, ..Device::new(&format!("{version:?}-{qos:?}"), version) };
            running.push(device.start_counting(broker.address()));
        }
    }
    wait::until("each is acknowledged", wait::BOUND, || running.iter().all(|device| device.acknowledged() > 100));
    broker.stop();
    broker.resume();
    let before: Vec<u64> = running.iter().map(tidegate_tests::device::Running::acknowledged).collect();
    wait::until("each is acknowledged again", wait::BOUND, || {
        running.iter().zip(&before).all(|(device, before)| device.acknowledged() > before + 100)
    });
    for device in running {
        let outcome = device.finish();
        assert_eq!((outcome.connects, outcome.sessions_lost), (2, 0));
        let numbers: Vec<String> = (0..outcome.acknowledged.len()).map(|n| format!(r#"{{"n":{n}}}"#)).collect();
        assert_eq!(outcome.acknowledged, numbers);
    }
}

#[test]
fn the_client_speaks_both_versions_as_mosquitto_does() {
    let broker = Mosquitto::start("");
    for version in Version::BOTH {
        let (mut client, present) = Client::connect(broker.address(), &Connect::new(version, "client"));
        assert!(!present);
        client.publish_acknowledged("a", b"1", 1);
        client.publish_exactly_once("a", b"1", 2);
        client.send(&PINGREQ);
        assert_eq!(client.expect(), Packet::Pingresp);
        client.send(&[0x00, 0x00]);
        client.expect_closed();
    }
}

#[test]
fn real_clients_reach_a_real_broker_over_tls_with_the_certificates_made_here() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let certs = certs::make(folder.path());
    let broker = Mosquitto::start(&format!(
        "cafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true",
        certs.ca.display(),
        certs.server.display(),
        certs.server_key.display()
    ));
    let mut command = tools::mosquitto_pub(broker.address());
    command.args(["-q", "1", "-t", "a", "-m", "1", "--cafile"]).arg(&certs.ca);
    assert!(!command.output().expect("mosquitto_pub starts").status.success());
    command.arg("--cert").arg(&certs.client).arg("--key").arg(&certs.client_key);
    tools::run(&mut command);
    let mut command = tools::paho_publish(broker.address());
    command.args(["--version", "5", "--qos", "2", "--topic", "a", "--ca"]).arg(&certs.ca);
    command.arg("--cert").arg(&certs.client).arg("--key").arg(&certs.client_key);
    tools::run(&mut command);
}

#[test]
fn a_small_disk_is_full_when_filled_and_has_room_when_freed() {
    let disk = LoopDisk::mount(8);
    let file = disk.path().join("file");
    disk.fill();
    let error = std::fs::write(&file, [1; 4096]).expect_err("a full disk takes nothing");
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    disk.free();
    std::fs::write(&file, vec![1; 1 << 20]).expect("a free disk takes a mebibyte");
}
