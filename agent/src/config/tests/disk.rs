//! With real files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn file(&self, name: &str, content: &[u8], mode: u32) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
        path
    }

    fn webhook(&self, secret: &Path) -> PathBuf {
        let text =
            format!("[gateway]\nid = \"g\"\n[forward.flux]\nkind = \"webhook\"\nurl_file = \"{}\"", secret.display());
        self.file("tidegate.toml", text.as_bytes(), 0o644)
    }
}

#[test]
fn a_secret_is_read_from_its_file_without_the_white_space_around_it() {
    let folder = Folder::new();
    let secret = folder.file("url", b"  https://hooks.example/x \n", 0o600);
    let config = load(&folder.webhook(&secret)).expect("a configuration");
    assert_eq!(config.forward.target, FluxTarget::Webhook { url: Secret::new("https://hooks.example/x") });
    assert_eq!(config.warnings, []);
}

#[test]
fn a_secret_that_others_may_read_is_warned_of() {
    let folder = Folder::new();
    let secret = folder.file("url", b"https://hooks.example/x", 0o644);
    let config = load(&folder.webhook(&secret)).expect("a configuration");
    assert_eq!(config.warnings.len(), 1);
    assert!(config.warnings[0].to_string().contains("chmod"), "{}", config.warnings[0]);
}

#[test]
fn a_secret_file_that_cannot_be_used_is_said_without_its_content() {
    let folder = Folder::new();
    let missing = folder.0.path().join("missing");
    let long = vec![b'x'; 20_000];
    let contents: [(&[u8], &str); 5] = [
        (b" \n", "is empty"),
        (b"TOPSECRET\nb", "more than one line"),
        (&long, "too long"),
        (b"TOPSECRET\xff", "not text"),
        (b"TOPSECRET", "no scheme"),
    ];
    for (content, word) in contents {
        let secret = folder.file("url", content, 0o600);
        let error = load(&folder.webhook(&secret)).expect_err("not a secret").to_string();
        assert!(error.contains(word) && error.contains("line 5") && !error.contains("TOPSECRET"), "{error}");
    }
    let error = load(&folder.webhook(&missing)).expect_err("no file").to_string();
    assert!(error.contains("create it"), "{error}");
    let error = load(&folder.webhook(folder.0.path())).expect_err("a folder").to_string();
    assert!(error.contains("not a regular file"), "{error}");
}

#[test]
fn a_configuration_that_cannot_be_read_says_why() {
    let folder = Folder::new();
    let message = |path: &Path| match load(path).expect_err("not readable") {
        LoadError::Unreadable { source, advice, .. } => format!("{source} {advice}"),
        error => panic!("{error}"),
    };
    assert!(message(&folder.0.path().join("missing")).contains("config default"));
    assert!(message(folder.0.path()).contains("directory"));
    assert!(message(&folder.file("big", &vec![b'#'; 1 << 21], 0o644)).contains("1 MiB"));
    assert!(message(&folder.file("latin", b"# a\n# caf\xe9\n", 0o644)).contains("line 2"));
}

#[test]
fn the_control_socket_is_found_whatever_else_is_wrong() {
    let folder = Folder::new();
    let path = folder.file("c", b"[forward.flux]\nurl_file = \"/missing\"\nx = 1\n[control]\nsocket = \"/s\"\n", 0o644);
    assert_eq!(control_socket(&path).expect("a socket"), Path::new("/s"));
    let path = folder.file("c", b"[gateway]\nid = \"a\"\n", 0o644);
    assert_eq!(control_socket(&path).expect("a socket"), Path::new(DEFAULT_SOCKET));
    let path = folder.file("c", b"[control]\nsocket = 5\n", 0o644);
    assert!(control_socket(&path).is_err());
}

/// A self-signed certificate and its key, as PEM.
fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

#[test]
fn certificates_and_keys_are_judged_by_what_they_hold() {
    let folder = Folder::new();
    let ((first, first_key), (_, second_key)) = (certificate(), certificate());
    let paths = |certificate: &str, key: &str| {
        let certificate = folder.file("c.pem", certificate.as_bytes(), 0o644);
        (certificate, folder.file("k.pem", key.as_bytes(), 0o600))
    };
    let read = |(certificate, key): (PathBuf, PathBuf)| {
        let flux = format!("client_certificate = \"{}\"\nclient_key = \"{}\"\n", certificate.display(), key.display());
        parse(&format!("{SMALLEST}{flux}"), "test.toml")
    };
    let config = read(paths(&first, &first_key)).expect("they belong together");
    assert!(config.forward.client_certificate.is_some());
    assert_eq!(config.warnings, []);
    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIF\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (certificate, key, words) in [
        (&*first, &*second_key, &["line 6", "is not the key of"][..]),
        (&first_key, &first, &["line 5", "no certificate", "line 6", "no private key"]),
        (&first, locked, &["line 6", "passphrase"]),
        (&first[..first.len() / 2], &first_key, &["line 5", "no certificate"]),
        ("", "", &["line 5", "line 6"]),
    ] {
        let error = read(paths(certificate, key)).expect_err("not usable").to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{words:?} in {error}");
    }
    let config = {
        let paths = paths(&first, &first_key);
        fs::set_permissions(&paths.1, fs::Permissions::from_mode(0o644)).expect("chmod");
        read(paths).expect("usable")
    };
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
}

#[test]
fn a_password_file_is_judged_line_by_line() {
    let folder = Folder::new();
    let read = |content: &str| {
        let path = folder.file("passwords", content.as_bytes(), 0o600);
        parse(&format!("{SMALLEST}[collect.listener]\npasswords_file = \"{}\"", path.display()), "test.toml")
    };
    let listener = read("# devices\n\npump:$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaA\r\n").expect("usable");
    assert!(!listener.collect.listener.expect("a listener").allow_anonymous);
    for (content, line) in
        [("pump:secret\n", "line 1 of"), ("# x\n:$argon2id$a\n", "line 2 of"), ("pump\n", "line 1 of")]
    {
        let error = read(content).expect_err("not usable").to_string();
        assert!(error.contains(line) && error.contains("$argon2id$") && !error.contains("secret"), "{error}");
    }
}

#[test]
fn every_wrong_line_of_a_password_file_is_named_up_to_a_limit() {
    let folder = Folder::new();
    let read = |content: &str| {
        let path = folder.file("passwords", content.as_bytes(), 0o600);
        let text = format!("{SMALLEST}[collect.listener]\npasswords_file = \"{}\"", path.display());
        parse(&text, "test.toml").expect_err("not usable").to_string()
    };
    let error = read("a:$argon2id$x\nb\n\nc:PLAIN\n");
    assert!(error.contains("lines 2, 4 of") && !error.contains("PLAIN"), "{error}");
    let error = read(&"wrong\n".repeat(5000));
    assert!(error.contains("lines 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 4990 more of"), "{error}");
}

#[test]
fn the_place_of_a_store_is_judged() {
    let folder = Folder::new();
    let there = folder.0.path();
    let place = |path: &Path| surroundings::Disk.place(path);
    assert_eq!((place(there), place(&there.join("new/er"))), (Place::Fits, Place::Fits));
    let file = folder.file("letters", b"x", 0o644);
    assert_eq!((place(&file), place(&file.join("below")), place(there)), (Place::File, Place::File, Place::Foreign));
    let store = there.join("store");
    fs::create_dir_all(store.join("lane-normal")).expect("a folder");
    fs::write(store.join("notes"), b"x").expect("a file");
    assert_eq!(place(&store), Place::Fits);
    let made = there.join("made");
    fs::create_dir_all(made.join("lost+found")).expect("a folder");
    fs::write(made.join("lock"), b"").expect("a file");
    assert_eq!(place(&made), Place::Fits);

    let read = |path: &Path| parse(&format!("{SMALLEST}[store]\npath = \"{}\"", path.display()), "test.toml");
    let error = read(&file).expect_err("a file").to_string();
    assert!(error.contains("store.path") && error.contains("write a folder's path"), "{error}");
    let warnings = read(there).expect("a folder").warnings;
    assert!(warnings.iter().any(|warning| warning.found.to_string().contains("not a store's")), "{warnings:?}");
}

#[test]
fn a_configuration_is_read_from_any_reader() {
    let config = load_from(SMALLEST.as_bytes(), "standard input").expect("a configuration");
    assert_eq!(config.gateway.id, "gw-1");
    let LoadError::Wrong(errors) = load_from(&b"x = 1"[..], "standard input").expect_err("wrong") else {
        panic!("it can be read")
    };
    assert_eq!(errors.source_name, "standard input");
    let endless = std::io::repeat(b'#');
    assert!(matches!(load_from(endless, "standard input"), Err(LoadError::Unreadable { .. })));
}

#[test]
fn the_file_system_of_a_store_that_is_not_there_yet_is_that_of_its_folder() {
    let folder = Folder::new();
    let here = surroundings::Disk.volume(folder.0.path()).expect("a file system");
    let below = surroundings::Disk.volume(&folder.0.path().join("a/b/c")).expect("a file system");
    assert!(here.bytes > 0);
    assert_eq!((here.bytes, here.volatile), (below.bytes, below.volatile));
}

#[test]
fn only_a_regular_file_is_a_configuration_and_a_pipe_is_not_waited_for() {
    let folder = Folder::new();
    let pipe = folder.0.path().join("pipe.toml");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0)
        .expect("a pipe");
    for (path, word) in [
        (pipe.as_path(), "it is not a regular file"),
        (Path::new("/dev/zero"), "it is not a regular file"),
        (folder.0.path(), "directory"),
    ] {
        let error = load(path).expect_err("no configuration");
        let LoadError::Unreadable { source, .. } = &error else { panic!("{error}") };
        assert!(source.to_string().contains(word), "{source}");
        assert_eq!(store_path(path), None);
    }
}
