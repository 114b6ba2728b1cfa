//! No code of the agent but `shape::wire` opens a connection to the outside: what would get past the gate's limits and
//! counts is found in the sources. Tests within them, comments and texts are left out; each exception has its reason.

use std::path::{Path, PathBuf};

/// What opens a connection, sends a datagram or asks the system's resolver, as it stands in the source; and what would
/// hide such a name from this test.
const OPENS: [&str; 24] = [
    "TcpStream::connect",
    "TcpStream as ",
    "TcpSocket",
    "UdpSocket",
    "UnixDatagram",
    "UnixStream::connect",
    "UnixStream as ",
    "net::*",
    "TcpStream::from_std",
    "lookup_host",
    "to_socket_addrs",
    "ToSocketAddrs",
    "socket2",
    "Socket::new",
    "rustix::net",
    "nix::sys::socket",
    "libc::socket",
    "AddressFamily",
    "rumqttc",
    "hyper_util::client",
    "client::legacy",
    "client::conn",
    "process::Command",
    "Command::new(",
];

/// Where what may stand, and why.
const EXCEPTIONS: [(&str, &[&str], &str); 12] = [
    ("shape/wire/", &["socket2", "Socket::new", "TcpStream::from_std", "UdpSocket", "rustix::net"], "the door itself"),
    ("provider/ask.rs", &["client::conn"], "HTTP over a stream that the door has opened, too"),
    ("forward/http.rs", &["client::conn"], "HTTP over a stream that the door has opened; hyper opens none"),
    ("collect/broker/", &["rumqttc"], "a broker on the gateway itself or its LAN is not outside"),
    (
        "collect/listener/mod.rs",
        &["TcpSocket", "Socket::new", "rustix::net"],
        "binds and listens; devices connect to it",
    ),
    (
        "watch/control.rs",
        &["UnixStream::connect"],
        "looks whether another agent holds the control socket, a local file",
    ),
    ("watch/control/client.rs", &["UnixStream::connect"], "commands ask the running agent over its control socket"),
    ("command/demo/", &["rumqttc"], "the demo's devices publish to the demo's own listener on loopback"),
    ("outage/horn.rs", &["Command::new("], "runs the command that the operator has configured for alarms"),
    ("forward/examine.rs", &["client::conn"], "HTTP over a stream that the door has opened"),
    ("gateway/service/notify.rs", &["UnixDatagram"], "tells the service manager of this machine, over its own socket"),
    (
        "program.rs",
        &["process::Command", "Command::new("],
        "asks this machine's own services (systemctl, timedatectl, journalctl), which send nothing",
    ),
];

/// Strips comments, and the test module that a file ends in.
fn code(source: &str) -> String {
    let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let line = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    source.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Sources, with their paths below `src`.
fn sources(folder: &Path, below: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(folder).expect("the sources are here");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be read").path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() && name != "tests" {
            found.extend(sources(&path, below));
        } else if path.extension().is_some_and(|extension| extension == "rs") && name != "tests.rs" {
            let text = std::fs::read_to_string(&path).expect("a source is text");
            found.push((path.strip_prefix(below).expect("it is below").display().to_string(), text));
        }
    }
    found
}

/// What stands in a source that opens a connection.
fn opens(source: &str) -> Vec<&'static str> {
    let code = code(source);
    OPENS.into_iter().filter(|what| code.contains(what)).collect()
}

#[test]
fn only_the_door_opens_connections_to_the_outside() {
    let below = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let sources = sources(&below, &below);
    assert!(sources.len() > 100, "{} sources", sources.len());
    let mut faults = Vec::new();
    let mut used = [false; EXCEPTIONS.len()];
    for (path, source) in &sources {
        for what in opens(source) {
            let excepted = |(at, names, _): &(&str, &[&str], &str)| path.starts_with(at) && names.contains(&what);
            match EXCEPTIONS.iter().position(excepted) {
                Some(index) => used[index] = true,
                None => faults
                    .push(format!("{path}: {what}: send through shape::wire, or add an exception with its reason")),
            }
        }
    }
    for (used, (path, names, reason)) in used.into_iter().zip(EXCEPTIONS) {
        if !used {
            faults.push(format!("the exception for {path} ({names:?}, {reason}) is not needed: take it away"));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn what_goes_around_the_door_is_caught_and_what_does_not_is_not() {
    for sample in [
        "let stream = TcpStream::connect((host, 443)).await?;",
        "use tokio::net::UdpSocket;\n",
        "use std::net::TcpStream as Pipe;\nlet pipe = Pipe::connect(address)?;",
        "let found = tokio::net::lookup_host(name).await;",
        "let address = \"a:1\".to_socket_addrs()?;",
        "let socket = tokio::net::TcpSocket::new_v4()?;",
        "let (client, events) = rumqttc::AsyncClient::new(options, 10);",
        "let client = hyper_util::client::legacy::Client::builder(executor).build_http();",
        "std::process::Command::new(\"curl\").arg(url).spawn()?;",
        "use tokio::net::*;",
    ] {
        assert_ne!(opens(sample), [""; 0], "{sample}");
        assert_ne!(opens(&format!("#[cfg(test)]\nmod tests;\nfn main() {{\n{sample}\n}}\n")), [""; 0], "{sample}");
    }
    for sample in [
        "let stream = wire.connect(&target).await?;",
        "// TcpStream::connect would go around it",
        "fn a() {}\n#[cfg(test)]\nmod tests {\n    use tokio::net::UdpSocket;\n}\n",
        "let listener = TcpListener::bind(address).await?;",
        "let (stream, _): (TcpStream, SocketAddr) = listener.accept().await?;",
    ] {
        assert_eq!(opens(sample), [""; 0], "{sample}");
    }
}
