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
        LoadError::Wrong(errors) => panic!("{errors}"),
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
