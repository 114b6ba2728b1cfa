//! The Debian package in a fresh Debian with real systemd: installed, configured, killed, hung, rebooted, upgraded, removed
//! and purged.
#![forbid(unsafe_code)]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tidegate_tests::container::Container;
use tidegate_tests::flux::Flux;
use tidegate_tests::mqtt::packet::Connect;
use tidegate_tests::mqtt::{Client, Qos, Version};
use tidegate_tests::tools::LoopDisk;
use tidegate_tests::{ports, tools, wait};

/// A restart has five seconds to wait (`RestartSec=`), and a hang is found after the watchdog's limit.
const BOUND: Duration = Duration::from_secs(90);

/// The store's folder, as the package has it.
const STORE: &str = "/var/lib/tidegate";

/// The bound on what `systemd-analyze security` finds exposed.
const EXPOSURE: f64 = 1.2;

/// A configuration as a technician's: the secret stands apart, owned by root. Batches do not wait.
fn configure(container: &Container, flux: &Flux, address: SocketAddr) {
    let text = format!(
        "[gateway]\nid = \"gw-test\"\n[collect.listener]\nbind = \"{address}\"\n\
         [store]\nmax_size = \"32MiB\"\nkeep_free = \"0B\"\nkeep_free_inodes = 0\n\
         [limits]\nevents_per_month = \"unlimited\"\n[provider.resume]\nspread = \"1s\"\nramp = \"0s\"\n\
         [forward.flux]\nkind = \"webhook\"\nurl_file = \"/etc/tidegate/secrets/webhook.url\"\n\
         [forward.flux.batch]\nmax_age = \"0s\"\n[forward.backoff]\nmin = \"50ms\"\nmax = \"500ms\"\n"
    );
    container.write("/etc/tidegate/tidegate.toml", 0o644, &text);
    container.write("/etc/tidegate/secrets/webhook.url", 0o600, &flux.webhook_url());
}

fn listener() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, ports::free_port()).into()
}

/// One publish, acknowledged.
fn publish(address: SocketAddr, payload: &str) {
    let mut client = wait::for_value("devices can connect", BOUND, || {
        Client::try_connect(address, &Connect::new(Version::V311, "device")).map(|(client, _)| client)
    });
    client.publish_acknowledged("devices/d1/telemetry", payload.as_bytes(), 1);
    client.disconnect();
}

fn wait_until_delivered(flux: &Flux, payloads: &[&str]) {
    wait::until("all of it is delivered", BOUND, || {
        let came = flux.payloads_of("d1");
        payloads.iter().all(|payload| came.iter().any(|one| one == payload))
    });
}

/// Lets a file system answer again, also after a test that failed.
struct Frozen<'a>(&'a Path);

impl<'a> Frozen<'a> {
    /// From now on nothing is written to it, and who writes waits.
    fn freeze(path: &'a Path) -> Self {
        tools::run(Command::new(tools::find("fsfreeze", "util-linux")).arg("--freeze").arg(path));
        Self(path)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let _ = Command::new(tools::find("fsfreeze", "util-linux")).arg("--unfreeze").arg(self.0).status();
    }
}

#[test]
fn a_package_that_is_not_configured_says_what_to_do_and_waits_and_a_purge_leaves_nothing() {
    let container = Container::boot(&[]);
    let said = container.install("old.deb");
    assert!(said.contains("not configured yet") && said.contains("sudo tidegate setup"), "{said}");
    assert_eq!(container.property("ActiveState"), "inactive", "it was not started");
    assert_eq!(container.run(&["systemctl", "is-enabled", "tidegate"]).trim(), "enabled", "a reboot will start it");

    assert!(!container.try_run(&["systemctl", "start", "tidegate"]).status.success());
    let journal = container.journal();
    assert!(journal.contains("/etc/tidegate/tidegate.toml is not configured yet"), "{journal}");
    assert_eq!(container.property("ExecMainStatus"), "78");
    assert_eq!(container.property("ActiveState"), "failed", "and it is not started again and again");

    documented(&container);
    let completed = container.run(&[
        "bash",
        "-c",
        ". /usr/share/bash-completion/completions/tidegate; COMP_WORDS=(tidegate out); COMP_CWORD=1; \
         _tidegate tidegate out tidegate; echo \"${COMPREPLY[@]}\"",
    ]);
    assert_eq!(completed.trim(), "outages");
    let said = container.run(&["env", "LANG=ja_JP.UTF-8", "apt-get", "purge", "-y", "tidegate"]);
    assert!(said.contains("完全削除"), "{said}");
    for path in ["/usr/bin/tidegate", "/etc/tidegate", STORE, "/var/lib/tidegate-inbox", "/run/tidegate"] {
        assert!(!container.has(path), "{path} is left");
    }
    let links = container.run(&["find", "/etc/systemd/system", "-name", "tidegate*"]);
    assert_eq!(links, "", "nothing of the unit is left");
    let install = ["env", "LANG=ja_JP.UTF-8", "apt-get", "install", "-y", "--no-install-recommends", "/root/old.deb"];
    let said = container.run(&install);
    assert!(said.contains("まだ設定されていない") && said.contains("sudo tidegate setup"), "{said}");
    assert!(!said.contains("not configured"), "{said}");
}

#[test]
fn the_service_is_shut_in_and_comes_back_from_a_kill_a_hang_and_a_disk_that_does_not_answer() {
    let flux = Flux::start();
    let disk = LoopDisk::mount(64);
    let place = disk.path();
    let container = Container::boot(&[(&place, STORE)]);
    container.install("old.deb");
    // Time for a test; what the unit says is looked at below.
    let drop_in = "[Service]\nWatchdogSec=6\n";
    container.write("/etc/systemd/system/tidegate.service.d/test.conf", 0o644, drop_in);
    container.run(&["systemctl", "daemon-reload"]);
    let address = listener();
    configure(&container, &flux, address);
    container.run(&["systemctl", "start", "tidegate"]);
    let first = container.wait_for_service("0", BOUND);
    publish(address, "1");
    wait_until_delivered(&flux, &["1"]);

    // What the sandbox lets it do.
    assert_eq!(container.property("User"), "tidegate");
    assert!(
        container.property("StatusText").starts_with("devices can connect"),
        "{}",
        container.property("StatusText")
    );
    let status = container.run(&["tidegate", "status"]);
    assert!(!status.contains("written to flash  not known"), "the medium's counter can be read: {status}");
    let analysed = container.run(&["systemd-analyze", "security", "tidegate", "--no-pager"]);
    let level = analysed.lines().last().and_then(|line| line.split(": ").nth(1)).unwrap_or_default();
    let level: f64 = level.split(' ').next().and_then(|number| number.parse().ok()).expect("a level");
    assert!(level <= EXPOSURE, "{analysed}");
    let verified = container.try_run(&["systemd-analyze", "verify", "/lib/systemd/system/tidegate.service"]);
    let complained = String::from_utf8_lossy(&verified.stderr).into_owned();
    // So small a Debian has no `man`, so that the page cannot be looked up.
    let ours = complained.lines().filter(|line| line.contains("tidegate.service") && !line.contains("man tidegate"));
    let ours: Vec<&str> = ours.collect();
    assert!(ours.is_empty(), "{ours:#?}");

    // A reload, also of a file that cannot be used, changes no process.
    container.write("/etc/tidegate/tidegate.toml", 0o644, "[gateway]\nidd = 1\n");
    container.run(&["systemctl", "reload", "tidegate"]);
    wait::until("the bad file is reported", BOUND, || container.property("StatusText").contains("cannot be used"));
    configure(&container, &flux, address);
    container.run(&["systemctl", "reload", "tidegate"]);
    wait::until("the good one is in use", BOUND, || !container.property("StatusText").contains("cannot be used"));
    assert_eq!(container.wait_for_service("0", BOUND), first);
    assert!(container.journal().contains("configuration read again"));

    container.run(&["systemctl", "kill", "--kill-whom=main", "--signal=KILL", "tidegate"]);
    let second = container.wait_for_service(&first, BOUND);
    publish(address, "2");

    container.run(&["systemctl", "kill", "--kill-whom=main", "--signal=STOP", "tidegate"]);
    let third = container.wait_for_service(&second, BOUND);
    let hangs = || container.journal().matches("Watchdog timeout").count();
    assert_eq!(hangs(), 1, "{}", container.journal());
    publish(address, "3");

    // Longer than the limit, nothing happens, and nothing is done.
    wait::never("an idle agent is restarted", Duration::from_secs(10), || container.property("MainPID") != third);

    let mut client = Client::connect(address, &Connect::new(Version::V311, "waits")).0;
    {
        let _frozen = Frozen::freeze(&place);
        client.publish("devices/d1/telemetry", b"4", Qos::AtLeastOnce, 7);
        wait::until("the watchdog finds the hang", BOUND, || hangs() == 2);
        assert!(container.journal().contains("no answer to the watchdog"), "{}", container.journal());
    }
    container.wait_for_service(&third, BOUND);
    drop(client);
    // It was never acknowledged, so the device publishes it again.
    publish(address, "4");
    wait_until_delivered(&flux, &["1", "2", "3", "4"]);
    let restarts: u32 = container.property("NRestarts").parse().expect("a number");
    assert_eq!(restarts, 3, "a kill, a hang, a hung disk");
}

#[test]
fn a_store_that_cannot_be_opened_is_no_failed_start_and_a_drop_in_lets_it_have_a_disk_of_its_own() {
    let flux = Flux::start();
    let container = Container::boot(&[]);
    container.install("old.deb");
    let address = listener();
    configure(&container, &flux, address);
    let path = container.root().join("etc/tidegate/tidegate.toml");
    let text = std::fs::read_to_string(&path).expect("the configuration");
    let text = text.replace("[store]\n", "[store]\npath = \"/mnt/ssd/tidegate\"\n");
    container.write("/etc/tidegate/tidegate.toml", 0o644, &text);
    container.run(&["install", "-d", "-o", "tidegate", "/mnt/ssd/tidegate"]);

    container.run(&["systemctl", "start", "tidegate"]);
    let said = container.property("StatusText");
    assert!(said.starts_with("devices cannot connect") && said.contains("/mnt/ssd/tidegate"), "{said}");
    assert!(container.run(&["tidegate", "status"]).contains("/mnt/ssd/tidegate"), "the control socket serves");

    let drop_in = "[Service]\nReadWritePaths=/mnt/ssd/tidegate\n";
    container.write("/etc/systemd/system/tidegate.service.d/disk.conf", 0o644, drop_in);
    container.run(&["systemctl", "daemon-reload"]);
    container.run(&["systemctl", "restart", "tidegate"]);
    publish(address, "1");
    wait_until_delivered(&flux, &["1"]);
}

#[test]
fn what_was_acknowledged_outlives_a_reboot_an_upgrade_and_a_removal_but_not_a_purge() {
    let flux = Flux::start_stopped();
    let mut container = Container::boot(&[]);
    container.install("old.deb");
    let address = listener();
    configure(&container, &flux, address);
    container.run(&["systemctl", "start", "tidegate"]);
    let first = container.wait_for_service("0", BOUND);
    figures(&container, &first);
    publish(address, "1");

    container.reboot();
    let before = container.wait_for_service("0", BOUND);
    publish(address, "2");

    let said = container.install("new.deb");
    assert!(!said.contains("not configured"), "{said}");
    let after = container.wait_for_service(&before, BOUND);
    assert!(container.run(&["dpkg-query", "-W", "tidegate"]).contains("-2"));
    let journal = container.journal();
    assert!(journal.contains("stopping: finishing what was acknowledged"), "in order: {journal}");
    assert_eq!(container.property("NRestarts"), "0", "nothing failed");
    publish(address, "3");
    flux.resume();
    wait_until_delivered(&flux, &["1", "2", "3"]);
    flux.stop();
    publish(address, "4");

    container.run(&["apt-get", "remove", "-y", "tidegate"]);
    assert!(!container.has(&format!("/proc/{after}")), "it was stopped");
    for path in [&format!("{STORE}/lane-normal"), "/etc/tidegate/tidegate.toml", "/etc/tidegate/secrets/webhook.url"] {
        assert!(container.has(path), "{path} is kept");
    }
    // Configured already, so it is started; and it does not ask about a file that it has never changed.
    container.install("new.deb");
    container.wait_for_service("0", BOUND);
    flux.resume();
    wait_until_delivered(&flux, &["1", "2", "3", "4"]);
    flux.assert_sound();

    // What somebody has stopped stays so over an upgrade.
    container.run(&["systemctl", "stop", "tidegate"]);
    container.run(&["apt-get", "install", "-y", "--reinstall", "--allow-downgrades", &container.bring("old.deb")]);
    assert_eq!(container.property("ActiveState"), "inactive");

    container.run(&["apt-get", "purge", "-y", "tidegate"]);
    for path in ["/etc/tidegate", STORE, "/var/lib/tidegate-inbox"] {
        assert!(!container.has(path), "{path} is left");
    }
}

/// Every command has a manual page, and every shell knows it.
fn documented(container: &Container) {
    let help = container.run(&["tidegate", "--help"]);
    let (_, commands) = help.split_once("Commands:").expect("there are commands");
    let names = commands.lines().skip(1).map_while(|line| line.split_whitespace().next());
    let names: Vec<&str> = names.filter(|name| *name != "help").collect();
    assert!(names.len() > 10 && names.contains(&"outages"), "{help}");
    let shells = [
        "/usr/share/bash-completion/completions/tidegate",
        "/usr/share/zsh/vendor-completions/_tidegate",
        "/usr/share/fish/vendor_completions.d/tidegate.fish",
    ]
    .map(|path| container.run(&["cat", path]));
    for name in names {
        let page = container.run(&["zcat", &format!("/usr/share/man/man1/tidegate-{name}.1.gz")]);
        assert!(page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"), "{name}: {page}");
        assert!(shells.iter().all(|shell| shell.contains(name)), "{name}");
    }
    let page = container.run(&["zcat", "/usr/share/man/man1/tidegate-buffer-inspect.1.gz"]);
    assert!(page.contains("device"), "a command's own arguments are in its page: {page}");
    let page = container.run(&["zcat", "/usr/share/man/man1/tidegate.1.gz"]);
    let (_, extra) = page.split_once(".SH EXTRA\n.nf\n").expect("what stands behind the help");
    assert!(extra.contains("\nBegin with: tidegate demo\n") && extra.contains("\n.fi\n.SH"), "line by line: {extra}");
    // What clap writes for fish has no values of what stands without an option.
    for shell in &shells[..2] {
        assert!(shell.contains("TG-607"), "it offers the codes");
    }
    for document in ["README.md", "README.ja.md", "errors/TG-102.ja.md"] {
        assert!(container.has(&format!("/usr/share/doc/tidegate/{document}")), "{document}");
    }
}

/// Prints how long the first start took and how much memory it needs at rest. They are for the README; a busy machine and
/// a program that is not optimised say little.
fn figures(container: &Container, pid: &str) {
    let micros = |name: &str| container.property(name).parse::<u64>().expect("a time in microseconds");
    let ready = micros("ActiveEnterTimestampMonotonic") - micros("ExecMainStartTimestampMonotonic");
    let status = container.run(&["cat", &format!("/proc/{pid}/status")]);
    let memory =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
    println!(
        "ready {} ms after systemd had forked it, on an empty store; memory at rest {} (peak {})",
        ready / 1000,
        memory("VmRSS:"),
        memory("VmHWM:")
    );
}

#[test]
fn the_armhf_package_refuses_a_processor_that_it_would_not_run_on() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/debian/preinst");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let uname = folder.path().join("uname");
    let installs = |package: &str, machine: &str| {
        std::fs::write(&uname, format!("#!/bin/sh\necho {machine}\n")).expect("a file");
        tools::run(Command::new("chmod").arg("755").arg(&uname));
        let path = format!("{}:/usr/bin:/bin", folder.path().display());
        let mut command = Command::new("/bin/sh");
        command.arg(&script).arg("install").env("PATH", path).env("DPKG_MAINTSCRIPT_ARCH", package);
        let output = command.output().expect("a shell");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (installed, said) = installs("armhf", "armv6l");
    assert!(!installed && said.contains("arm-unknown-linux-gnueabihf"), "{said}");
    for (package, machine) in [("armhf", "armv7l"), ("armhf", "aarch64"), ("arm64", "aarch64"), ("amd64", "x86_64")] {
        assert_eq!(installs(package, machine), (true, String::new()), "{package} on {machine}");
    }
}
