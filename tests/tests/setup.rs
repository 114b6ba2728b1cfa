//! `tidegate setup`: with flags alone, in a dialogue on a real terminal, on a file that is there.
#![forbid(unsafe_code)]

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tidegate_tests::agent::{Setup, binary};
use tidegate_tests::flux::Flux;
use tidegate_tests::newcomer::{Bench, SECRET, mode, said};
use tidegate_tests::ports::free_port;
use tidegate_tests::wait;

const BOUND: Duration = Duration::from_secs(60);

#[test]
fn flags_alone_set_a_gateway_up_and_what_was_written_delivers() {
    let bench = Bench::default();
    let listen = bench.listen();
    // Pasted, with what comes along.
    let pasted = format!("\u{feff}\n \"{}\" \r\n\n", bench.flux.webhook_url());
    let old = bench.existing("[forward.flux.batch]\nmax_age = \"100ms\"\n");
    let arguments = ["--yes", "--id", "gw-1", "--listen", &listen, "--webhook-file", "-", "--interface", ""];
    let output = bench.run(&[&arguments[..], &["--events-per-month", "unlimited", "--test-event"]].concat(), &pasted);
    let all = said(&output);
    // The machine's clock and unit are as they are: 5 would be something bad among them.
    assert!(matches!(output.status.code(), Some(0 | 5)), "{all}");
    assert!(!all.contains(SECRET) && !bench.text().contains(SECRET), "{all}");
    assert!(all.contains("good        test event: Flux took it"), "{all}");
    let secret = bench.secret("webhook-url");
    assert_eq!((mode(&secret), mode(secret.parent().expect("a folder"))), (0o600, 0o700));
    assert_eq!(std::fs::read_to_string(&secret).expect("there").trim(), bench.flux.webhook_url());
    let new = bench.text();
    assert!(old.lines().all(|line| new.lines().any(|other| other == line)), "{new}");
    assert_eq!(bench.flux.requests(), 1, "the test event");

    let log = std::fs::File::create(bench.folder.path().join("log")).expect("a file");
    let mut agent = Command::new(binary())
        .args(["run", "--config"])
        .arg(bench.config())
        .stderr(log)
        .spawn()
        .expect("the agent starts");
    wait::until("the agent listens", BOUND, || std::net::TcpStream::connect(&listen).is_ok());
    let address = listen.parse().expect("an address");
    let publish = ["-t", "devices/pump/telemetry", "-m", "{\"t\":1}", "-q", "1"];
    let published = tidegate_tests::tools::mosquitto_pub(address).args(publish).output();
    assert!(published.expect("it runs").status.success());
    wait::until("the event arrives", BOUND, || bench.flux.requests() > 1);
    tidegate_tests::tools::signal(&agent, rustix::process::Signal::TERM);
    assert!(agent.wait().expect("it ends").success());
    let log = std::fs::read_to_string(bench.folder.path().join("log")).expect("a log");
    assert!(!log.contains(SECRET), "{log}");
}

#[test]
fn what_is_missing_is_said_by_its_flag_and_nothing_is_written() {
    let bench = Bench::default();
    let output = bench.run(&["--yes", "--id", "gw-1", "--flux", "api"], "");
    let all = said(&output);
    assert_eq!(output.status.code(), Some(1), "{all}");
    for flag in
        ["--devices", "--interface", "--app", "--channel", "--auth-key-id", "--auth-key-file", "--events-per-month"]
    {
        assert!(all.contains(flag), "{flag}: {all}");
    }
    assert!(!all.contains("--id,") && !bench.config().exists());
}

#[test]
fn a_bad_test_writes_nothing_unless_it_is_kept_and_without_yes_nothing_is_written_either() {
    let bench = Bench::default();
    let listen = bench.listen();
    let old = bench.existing("");
    let nobody = format!("http://127.0.0.1:{}/v1/flux/incoming_webhooks/a/{SECRET}", free_port());
    let arguments = ["--id", "gw-1", "--listen", &listen, "--webhook-file", "-", "--interface", "", "--no-limits"];
    let output = bench.run(&[&["--yes"], &arguments[..]].concat(), &nobody);
    let all = said(&output);
    assert_eq!(output.status.code(), Some(1), "{all}");
    assert!(all.contains("TG-404") && all.contains("--keep-bad") && !all.contains(SECRET), "{all}");
    assert_eq!((bench.text(), bench.secret("webhook-url").exists()), (old.clone(), false));
    let output = bench.run(&[&arguments[..], &["--no-tests"]].concat(), &nobody);
    assert_eq!((output.status.code(), bench.text()), (Some(1), old), "{}", said(&output));
    let output = bench.run(&[&["--yes", "--keep-bad"], &arguments[..]].concat(), &nobody);
    assert_eq!(output.status.code(), Some(5), "written, and check says so: {}", said(&output));
    assert!(bench.secret("webhook-url").exists());
    let wrong = bench.run(&["--yes", "--id", "現場1"], "");
    assert!(wrong.status.code() == Some(1) && said(&wrong).contains("gateway.id"), "{}", said(&wrong));
    assert!(bench.text().contains("id = \"gw-1\""));
}

/// The command on a pseudo-terminal of its own.
struct Dialogue {
    child: Child,
    master: std::os::fd::OwnedFd,
    seen: String,
}

impl Dialogue {
    fn start(bench: &Bench, arguments: &[&str]) -> Self {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("its other end");
        let name = ptsname(&master, Vec::new()).expect("its name").into_string().expect("text");
        let open = || std::fs::File::options().read(true).write(true).open(&name).expect("the other end");
        // util-linux's: a new session with this as its terminal, so that Ctrl-C is a signal.
        let child = Command::new("setsid")
            .args(["--ctty", "--wait"])
            .arg(binary())
            .args(["setup", "--config"])
            .arg(bench.config())
            .args(arguments)
            .env("LC_ALL", "C.UTF-8")
            .stdin(open())
            .stdout(open())
            .stderr(open())
            .spawn()
            .expect("setsid starts");
        rustix::io::ioctl_fionbio(&master, true).expect("not blocking");
        Self { child, master, seen: String::new() }
    }

    /// Waits until this was said, types that, and forgets what was said before.
    #[track_caller]
    fn on(&mut self, said: &str, typed: &str) -> String {
        wait::until(&format!("it says {said:?}"), BOUND, || {
            self.read();
            self.seen.contains(said) || !self.runs()
        });
        assert!(self.seen.contains(said), "{said:?} is not in:\n{}", self.seen);
        let at = self.seen.find(said).expect("just seen") + said.len();
        let before = self.seen.drain(..at).collect();
        rustix::io::write(&self.master, typed.as_bytes()).expect("typed");
        before
    }

    fn runs(&mut self) -> bool {
        self.child.try_wait().expect("it can be asked").is_none()
    }

    fn read(&mut self) {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = rustix::io::read(&self.master, &mut bytes) {
            self.seen += &String::from_utf8_lossy(&bytes[..count]);
        }
    }

    /// What was said at the end, and the exit code.
    fn end(mut self) -> (String, Option<i32>) {
        wait::until("it ends", BOUND, || {
            self.read();
            !self.runs()
        });
        self.read();
        let code = self.child.wait().expect("it ended").code();
        (self.seen, code)
    }
}

#[test]
fn a_dialogue_takes_wrong_answers_corrected_ones_and_a_pasted_webhook_without_showing_it() {
    let bench = Bench::default();
    bench.existing("");
    let nobody = format!("http://127.0.0.1:{}/v1/flux/incoming_webhooks/a/{SECRET}\n", free_port());
    let good = bench.flux.webhook_url();
    let (one, two) = good.split_at(good.len() - 15);
    let mut dialogue = Dialogue::start(&bench, &["--no-start"]);
    let mut all = dialogue.on("Name of this gateway (letters A-Z, digits, . _ -): ", "\n");
    all += &dialogue.on("an answer is needed", "現場 1\n");
    all += &dialogue.on("not usable: gateway.id", "ｇｗ－１\n");
    all += &dialogue.on("Where are the devices?", "7\n");
    all += &dialogue.on("write a number from 1 to 3", "1\n");
    all += &dialogue.on("Address and port", &format!("{}\n", bench.listen()));
    all += &dialogue.on("reach the outside?", "2\n");
    all += &dialogue.on("reach Flux?", "1\n");
    all += &dialogue.on("(not shown):", &nobody);
    all += &dialogue.on("TG-404", "");
    all += &dialogue.on("not good yet", "1\n");
    all += &dialogue.on("reach Flux?", "1\n");
    all += &dialogue.on("as it is):", &format!("{good}\n{good}\n"));
    all += &dialogue.on("more than one secret", "");
    all += &dialogue.on("as it is):", &format!("\"{one}\n  {two}\"\n"));
    all += &dialogue.on("limits does the contract", "1\n");
    all += &dialogue.on("Events in a month", "\n");
    all += &dialogue.on("Bytes in a month", "\n");
    all += &dialogue.on("Rate", "512 kbit/s\n");
    all += &dialogue.on("Write it (y/n)? [y]: ", "y\n");
    all += &dialogue.on("Send one test event", "y\n");
    let (rest, code) = dialogue.end();
    all += &rest;
    assert!(matches!(code, Some(0 | 5)), "{all}");
    assert!(all.contains("Flux took it") && !all.contains(SECRET), "{all}");
    assert!(all.contains("+ id = \"gw-1\""), "{all}");
    assert_eq!(std::fs::read_to_string(bench.secret("webhook-url")).expect("there").trim(), good);
    let text = bench.text();
    assert!(text.contains("rate = \"512 kbit/s\"") && text.contains("events_per_month = 10000"), "{text}");
    assert_eq!(bench.flux.requests(), 1);
}

#[test]
fn each_answer_is_judged_when_it_is_given_and_only_its_question_is_asked_again() {
    let bench = Bench::default();
    bench.existing("");
    let ca = bench.folder.path().join("no-ca.pem");
    let mut dialogue = Dialogue::start(&bench, &["--no-start", "--no-tests", "--id", "gw-1", "--interface", ""]);
    // Question, what is answered wrongly and the key that is blamed, what is answered rightly.
    let asked = [
        ("Where are the devices?", None, "3"),
        ("Address and port", Some(("0.0.0.0:99999", "collect.listener.bind")), "127.0.0.1:1883"),
        ("Host name or address", Some(("two words", "collect.broker.url")), "192.0.2.1"),
        ("Does it speak TLS", None, "y"),
        ("Port of the broker", Some(("port", "collect.broker.url")), "8884"),
        ("File with the CA", Some((ca.to_str().expect("text"), "collect.broker.ca_file")), ""),
        ("Topics to subscribe", Some(("a/#/b", "collect.broker.topics")), "a/#"),
        ("User name for the broker", None, ""),
        ("reach Flux?", None, "2"),
        ("API of the coverage", Some(("ftp://x", "forward.flux.base_url")), ""),
        ("Id of the Flux app", Some(("a b", "forward.flux.app_id")), "app"),
        ("Id of its channel", Some(("a/b", "forward.flux.channel_id")), "channel"),
        ("Id of the authentication key", Some(("keyId-…", "forward.flux.auth_key_id")), "keyId-abc"),
        ("Secret of the authentication key", Some(("secret-…", "forward.flux.auth_key_file")), "secret-abc"),
        ("limits does the contract", None, "1"),
        ("Events in a month", Some(("1e99", "limits.events_per_month")), "500"),
        ("Bytes in a month", Some(("many", "limits.bytes_per_month")), "1 MB"),
        ("Rate", Some(("fast", "limits.rate")), ""),
    ];
    for (question, wrong, right) in asked {
        if let Some((answer, key)) = wrong {
            dialogue.on(question, &format!("{answer}\n"));
            dialogue.on(&format!("not usable: {key}"), "");
            dialogue.on("\n", "");
        }
        let between = dialogue.on(question, &format!("{right}\n"));
        assert!(wrong.is_none() || between.trim() == question, "{between:?} before {question:?} again");
    }
    dialogue.on("Write it", "y\n");
    let (rest, code) = dialogue.end();
    assert_eq!(code, Some(0), "{rest}");
    let text = bench.text();
    for line in ["url = \"mqtts://192.0.2.1:8884\"", "bind = \"127.0.0.1:1883\"", "events_per_month = 500"] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn what_is_corrected_after_a_bad_test_is_offered_as_it_was_answered_and_can_be_tested_again() {
    let bench = Bench::default();
    bench.existing("");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let (listen, nobody) = (taken.local_addr().expect("its address").to_string(), free_port().to_string());
    let arguments = ["--no-start", "--id", "gw-1", "--interface", "", "--flux", "unified", "--no-limits"];
    let mut dialogue = Dialogue::start(&bench, &arguments);
    dialogue.on("Where are the devices?", "3\n");
    dialogue.on("Address and port", &format!("{listen}\n"));
    for (question, answer) in [
        ("Host name or address", "127.0.0.1"),
        ("Does it speak TLS", "n"),
        ("Port of the broker", &nobody),
        ("Topics", "a/#"),
        ("User name", "me"),
        ("Password for the broker (not shown):", "word"),
        ("not good yet", "3"),
        ("not good yet", "1"),
        ("number [3]: ", ""),
        (&format!("[{listen}]: "), &bench.listen()),
        ("[127.0.0.1]: ", ""),
        ("[n]: ", ""),
        (&format!("[{nobody}]: "), ""),
        ("[me]: ", "-"),
        // The listener is good now, and its question does not come again.
        ("not good yet", "1"),
        ("Host name or address", "mqtt://localhost:1884"),
        ("[n]: ", ""),
        ("Port of the broker [1884]: ", &nobody),
        ("User name", ""),
        ("not good yet", "2"),
        ("not good yet", "2"),
        ("Write it", "y"),
        ("test event", "n"),
    ] {
        let between = dialogue.on(question, &format!("{answer}\n"));
        assert!(!question.starts_with("Host") || !between.contains("Address and port"), "{between}");
    }
    let (rest, code) = dialogue.end();
    assert!(matches!(code, Some(0 | 5)), "{rest}");
    let text = bench.text();
    assert!(text.contains(&format!("bind = \"{}\"", bench.listen())) && !text.contains("\nusername"), "{text}");
    assert!(text.contains(&format!("url = \"mqtt://localhost:{nobody}\"")), "{text}");
}

#[test]
fn what_is_wrong_in_the_file_and_no_question_is_about_is_said_before_anything_is_asked() {
    let bench = Bench::default();
    let old = bench.existing("[log]\nlevel = \"loud\"\n");
    let (rest, code) = Dialogue::start(&bench, &["--no-start", "--no-tests"]).end();
    assert!(rest.contains("log.level") && rest.contains("TG-102") && !rest.contains("Name of this"), "{rest}");
    assert_eq!((code, bench.text()), (Some(1), old));
    // In what a question is about, but another key: no answer makes it right.
    let old = bench.existing("[collect.listener]\nbind = \"127.0.0.1:1883\"\npasswords_file = \"/no/file\"\n");
    let mut dialogue = Dialogue::start(&bench, &["--no-start", "--no-tests"]);
    for (question, answer) in [("Name of this", "gw-1"), ("Where are", "1"), ("Address and port", "")] {
        dialogue.on(question, &format!("{answer}\n"));
    }
    let (rest, code) = dialogue.end();
    assert!(rest.contains("not usable: collect.listener.passwords_file") && rest.contains("TG-102"), "{rest}");
    assert_eq!((code, bench.text()), (Some(1), old));
}

#[test]
fn enter_keeps_all_that_stands_also_a_url_that_stands_in_the_file_itself() {
    let bench = Bench::default();
    let password = bench.folder.path().join("password");
    std::fs::write(&password, "word\n").expect("a file");
    let old = bench.existing(&format!(
        "[gateway]\nid = \"gw-1\"\n[collect.broker]\nurl = \"mqtts://b.example:8884\"\ntopics = [\"a/#\", \"b/#\"]\n\
         username = \"me\"\npassword_file = \"{}\"\n[forward.flux]\nkind = \"webhook\"\nurl = \"{}\"\n\
         [limits]\nevents_per_month = 500\nrate = \"1 Mbit/s\"\n",
        password.display(),
        bench.flux.webhook_url()
    ));
    let mut dialogue = Dialogue::start(&bench, &["--no-start", "--no-tests"]);
    for question in [
        "[gw-1]: ",
        "number [2]: ",
        "[b.example]: ",
        "[y]: ",
        "[8884]: ",
        "the system's): ",
        "(-: none) [me]: ",
        "as it is):",
        "number [2]: ",
        "number [1]: ",
        "as it is):",
        "number [4]: ",
    ] {
        dialogue.on(question, "\n");
    }
    let (rest, code) = dialogue.end();
    assert!(rest.contains("Nothing changes.") && code == Some(0), "{rest}");
    assert_eq!(bench.text(), old);
}

#[test]
fn a_terms_file_is_tried_and_a_broker_without_tls_needs_no_ca_any_more() {
    let bench = Bench::default();
    let ca = tidegate_tests::certs::make(bench.folder.path()).ca;
    bench.existing(&format!(
        "[collect.broker]\nurl = \"mqtts://127.0.0.1:9\"\ntopics = [\"a/#\"]\nca_file = \"{}\"\n",
        ca.display()
    ));
    let terms = bench.folder.path().join("terms.toml");
    std::fs::write(&terms, "[limits]\nrate = \"fast\"\n").expect("a file");
    let mut dialogue = Dialogue::start(&bench, &["--no-start", "--id", "gw-1", "--interface", "", "--flux", "unified"]);
    for (question, answer) in [
        ("Where are", "2"),
        ("[127.0.0.1]: ", ""),
        ("[y]: ", "n"),
        ("[9]: ", ""),
        ("User name", ""),
        ("not good yet", "2"),
        ("not good yet", "2"),
        ("Which limits", "2"),
        ("Path of that file", terms.to_str().expect("text")),
        ("TG-108", ""),
    ] {
        dialogue.on(question, &format!("{answer}\n"));
    }
    dialogue.on("Which limits", "2\n");
    std::fs::write(&terms, "[limits]\nrate = \"512 kbit/s\"\n").expect("a file");
    dialogue.on(&format!("[{}]: ", terms.display()), "\n");
    let shown = dialogue.on("Write it", "y\n");
    assert!(shown.contains("its limits can be used") && shown.contains("#ca_file"), "{shown}");
    dialogue.on("test event", "n\n");
    dialogue.end();
    assert!(bench.text().contains("url = \"mqtt://127.0.0.1:9\"\n"), "{}", bench.text());
}

#[test]
fn what_is_probably_not_meant_is_said_with_the_answers_that_it_is_about() {
    let bench = Bench::default();
    bench.existing("");
    let mut dialogue = Dialogue::start(&bench, &["--no-start", "--no-tests", "--id", "gw-1"]);
    for (question, answer) in [
        ("Where are", "2"),
        ("Host name", ""),
        ("Does it speak TLS", ""),
        ("Port of the broker", ""),
        ("Topics", "a/#"),
        ("User name", ""),
    ] {
        dialogue.on(question, &format!("{answer}\n"));
    }
    dialogue.on("no rule matches any topic of \"a/#\"", "");
    dialogue.on("the outside?", "q\n");
    assert_eq!(dialogue.end().1, Some(1));
}

#[test]
fn ctrl_c_ctrl_d_and_q_change_nothing_at_any_question() {
    let bench = Bench::default();
    let old = bench.existing("");
    let questions = [
        "Name of this",
        "Where are",
        "Address and port",
        "the outside?",
        "reach Flux?",
        "(not shown):",
        "Which limits",
    ];
    let listen = bench.listen();
    let answers = ["gw-1", "1", &listen, "2", "1", &bench.flux.webhook_url(), "3"];
    let stops = [("\u{3}", 0, 130), ("q\n", 1, 1), ("\u{4}", 2, 1), ("\u{3}", 5, 130), ("\u{4}", 5, 1), ("q\n", 5, 1)];
    for (stop, ends, ended) in stops.into_iter().chain([("\u{3}", 7, 130), ("\u{4}", 7, 1)]) {
        let mut dialogue = Dialogue::start(&bench, &["--no-start", "--no-tests"]);
        for (question, answer) in questions.iter().zip(answers).take(ends) {
            dialogue.on(question, &format!("{answer}\n"));
        }
        dialogue.on(questions.get(ends).copied().unwrap_or("Write it"), stop);
        let (rest, code) = dialogue.end();
        assert!(rest.contains("nothing was changed") && code == Some(ended), "{ends}: {code:?} {rest}");
        assert!(rest.lines().any(|line| line.starts_with("tidegate: ") || line.starts_with("stopped")), "{rest}");
        assert_eq!((bench.text(), bench.secret("webhook-url").exists()), (old.clone(), false));
    }
}

#[test]
fn what_somebody_else_wrote_meanwhile_is_not_written_over() {
    let bench = Bench::default();
    let old = bench.existing("");
    let listen = bench.listen();
    let arguments = ["--no-start", "--no-tests", "--id", "gw-1", "--listen", &listen, "--interface", "", "--no-limits"];
    let mut dialogue = Dialogue::start(&bench, &[&arguments[..], &["--flux", "webhook"]].concat());
    dialogue.on("(not shown):", &format!("{}\n", bench.flux.webhook_url()));
    dialogue.on("Write it", "");
    let theirs = format!("{old}# theirs\n");
    std::fs::write(bench.config(), &theirs).expect("written");
    dialogue.on(":", "y\n");
    let (rest, code) = dialogue.end();
    assert!(rest.contains("TG-111") && code == Some(1), "{code:?} {rest}");
    assert_eq!((bench.text(), bench.secret("webhook-url").exists()), (theirs, false));
}

#[test]
fn a_gateway_in_service_keeps_its_file_and_its_secrets_but_for_what_is_answered() {
    let flux = Flux::start();
    let setup = Setup::webhook(&flux);
    setup.synchronise();
    let config = setup.write();
    let before = std::fs::read_to_string(&config).expect("there");
    let output = Command::new(binary())
        .args(["setup", "--yes", "--rate", "1 Mbit/s", "--config"])
        .arg(&config)
        .stdin(Stdio::null())
        .env("LC_ALL", "ja_JP.UTF-8")
        .output()
        .expect("the binary starts");
    let all = said(&output);
    assert!(matches!(output.status.code(), Some(0 | 5)), "{all}");
    assert!(all.contains("は次のように変わります") && !all.contains(SECRET), "{all}");
    let after = std::fs::read_to_string(&config).expect("there");
    assert_eq!(after.replace("rate = \"1 Mbit/s\"\n", ""), before);
}
