use std::io::Write as _;

use argon2::PasswordHasher;
use argon2::password_hash::SaltString;

use super::*;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// A line of a password file, as cheap as Argon2 can be.
fn line(user: &str, password: &str) -> String {
    let params = Params::new(8, 1, 1, None).expect("valid");
    let salt = SaltString::from_b64("c2FsdHNhbHRzYWx0").expect("valid");
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    format!("{user}:{}\n", argon2.hash_password(password.as_bytes(), &salt).expect("hashed"))
}

fn open(text: &str) -> Result<Passwords, AuthError> {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(text.as_bytes()).expect("written");
    Passwords::open(file.path())
}

fn fault(text: &str) -> (usize, LineFault) {
    match open(text) {
        Err(AuthError::Line { line, fault, .. }) => (line, fault),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_right_password_is_let_in_and_no_other() {
    let passwords = open(&format!("# devices\n\n{}{}", line("pump", "s3cret"), line("fan", "other"))).expect("valid");
    assert!(passwords.verify("pump", b"s3cret", HERE).await);
    assert!(passwords.verify("fan", b"other", HERE).await);
    for (user, password) in [("pump", "other"), ("fan", "s3cret"), ("nobody", "s3cret"), ("pump", ""), ("", "")] {
        assert!(!passwords.verify(user, password.as_bytes(), HERE).await, "{user} {password}");
    }
}

#[tokio::test]
async fn a_hash_of_the_usual_cost_is_verified_and_its_memory_given_back() {
    // From the tests of the reference implementation: "password", "somesalt", 64 MiB, two passes.
    let hash = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
    let passwords = open(&format!("pump:{hash}")).expect("valid");
    let before = resident_kib();
    for wrong in 0..3_u8 {
        assert!(!passwords.verify("pump", &[wrong], HERE).await);
    }
    assert!(passwords.verify("pump", b"password", HERE).await);
    let after = resident_kib();
    // Less than one verification takes; other tests may run in this process.
    assert!(after < before + 48 * 1024, "{before} KiB before, {after} KiB after");
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("readable");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("there");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

#[tokio::test]
async fn a_success_is_remembered_and_a_failure_is_not() {
    let passwords = open(&line("pump", "s3cret")).expect("valid");
    assert!(passwords.verify("pump", b"s3cret", HERE).await);
    assert!(!passwords.verify("pump", b"wrong", HERE).await);
    // With the turn taken for good nothing can be computed: only what is remembered is answered.
    let _turn = passwords.turn.clone().acquire_owned().await.expect("open");
    assert!(passwords.verify("pump", b"s3cret", HERE).await);
    let waiting = passwords.verify("pump", b"wrong", HERE);
    assert!(tokio::time::timeout(Duration::from_millis(50), waiting).await.is_err());
}

#[tokio::test]
async fn an_address_that_fails_often_is_refused_but_not_what_is_remembered() {
    let passwords = open(&line("pump", "s3cret")).expect("valid");
    assert!(passwords.verify("pump", b"s3cret", HERE).await);
    for _ in 0..MAX_FAILURES {
        assert!(!passwords.verify("pump", b"guess", HERE).await);
    }
    let _turn = passwords.turn.clone().acquire_owned().await.expect("open");
    assert!(!passwords.verify("pump", b"guess", HERE).await, "without being computed");
    assert!(passwords.verify("pump", b"s3cret", HERE).await);
}

#[test]
fn what_is_remembered_is_bounded() {
    let passwords = open(&line("pump", "s3cret")).expect("valid");
    for number in 0..5_000_u32 {
        passwords.failed(IpAddr::from(number.to_be_bytes()));
        assert!(lock(&passwords.failures).len() <= MAX_ADDRESSES);
    }
}

#[test]
fn a_wrong_line_is_named_with_what_to_write_instead() {
    let good = line("pump", "x");
    assert_eq!(fault(&format!("{good}\nno colon")), (3, LineFault::NotAPair));
    assert_eq!(fault(":$argon2id$"), (1, LineFault::NotAPair));
    assert_eq!(fault(&format!("{good}{good}")), (2, LineFault::Twice));
    assert_eq!(fault("pump:plain"), (1, LineFault::NotArgon2id));
    assert_eq!(fault("pump:$2b$10$abcdefghijklmnopqrstuv"), (1, LineFault::NotArgon2id));
    let of_kind_i = good.replace("argon2id", "argon2i");
    assert_eq!(fault(&of_kind_i), (1, LineFault::NotArgon2id));
    let costly = good.replace("m=8,", "m=1048576,");
    assert_eq!(fault(&costly), (1, LineFault::TooCostly { memory_kib: 1_048_576, passes: 1, lanes: 1 }));
    let slow = good.replace("t=1,", "t=1000,");
    assert_eq!(fault(&slow), (1, LineFault::TooCostly { memory_kib: 8, passes: 1_000, lanes: 1 }));
    let error = open(&costly).expect_err("too costly").to_string();
    assert!(error.contains("line 1, has a hash that costs 1048576 KiB"), "{error}");
}

#[test]
fn a_file_that_cannot_be_one_is_refused() {
    assert!(matches!(Passwords::open(Path::new("/nowhere/passwords")), Err(AuthError::Read { .. })));
    assert!(matches!(open(&"#".repeat(MAX_FILE as usize + 1)), Err(AuthError::TooLong { .. })));
}
