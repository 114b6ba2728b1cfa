//! Socket addresses and URLs as the configuration writes them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hyper::Uri;

use crate::language::{Message, Value, either};
use crate::message;

/// Reads `address:port`; the error says what to write. `port` is the usual one for the key.
pub(super) fn socket_address(text: &str, port: u16) -> Result<SocketAddr, Message> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    let write = |address: IpAddr, port: u16| message!("write \"{example}\"", example = SocketAddr::new(address, port));
    if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Err(message!("{what}: the port belongs to it", what = write(address, port)));
    }
    if let Ok(port) = text.parse::<u16>() {
        return Err(message!(
            "{what}, or \"0.0.0.0:{port}\" for every interface",
            what = write(Ipv4Addr::LOCALHOST.into(), port),
            port = port
        ));
    }
    let (host, number) = text.rsplit_once(':').unwrap_or((text, ""));
    let port = number.parse().unwrap_or(port);
    Err(match host {
        "localhost" => write(Ipv4Addr::LOCALHOST.into(), port),
        "" | "*" => message!("{what} for every interface", what = write(Ipv4Addr::UNSPECIFIED.into(), port)),
        _ => message!("write an IP address of this gateway and a port, such as \"127.0.0.1:{port}\"", port = port),
    })
}

/// The parts of a URL that the rooms need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) scheme: String,
    /// IPv6 without brackets.
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// Path and query, `/` if the URL has none.
    pub(super) path: String,
}

impl Url {
    /// Whether it leads to this machine and nowhere else.
    pub(super) fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// What is wrong with a URL: found, and what to write. Neither repeats it, because it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UrlFault {
    pub(super) found: Message,
    pub(super) advice: Message,
}

/// Reads a URL with one of `schemes`, the first of which is the usual one.
pub(super) fn url(text: &str, schemes: &[&str]) -> Result<Url, UrlFault> {
    let list: Vec<Value> = schemes.iter().map(|scheme| Value::Text(format!("\"{scheme}://…\""))).collect();
    let write = message!("write {what}", what = either(&list));
    let fault = |found: Message, advice: Message| UrlFault { found, advice };
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(fault(message!("the URL contains white space or a control character"), message!("remove it")));
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(fault(message!("the URL has no scheme"), write));
    };
    if !schemes.contains(&scheme) {
        let advice = match scheme {
            "tcp" | "ws" | "http" if schemes.contains(&"mqtt") => message!("write \"mqtt://…\""),
            "ssl" | "tls" | "wss" | "https" if schemes.contains(&"mqtts") => message!("write \"mqtts://…\""),
            _ => write,
        };
        // Any other may be part of a secret that was written without its scheme.
        let known =
            ["tcp", "ws", "wss", "http", "https", "ssl", "tls", "mqtt", "mqtts", "coap", "coaps", "ftp", "file"];
        let found = if known.contains(&scheme) {
            message!("the URL's scheme is \"{scheme}\", which is not spoken here", scheme = scheme)
        } else {
            message!("the URL's scheme is none that is spoken here")
        };
        return Err(fault(found, advice));
    }
    if rest.contains('#') {
        return Err(fault(message!("the URL has a fragment (`#…`), which is never sent"), message!("remove it")));
    }
    let parsed: Uri = text.parse().map_err(|error: hyper::http::uri::InvalidUri| {
        fault(message!("it is not a URL ({why})", why = error.to_string()), write.clone())
    })?;
    let authority = parsed.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        return Err(fault(
            message!("the URL contains a user name"),
            message!("remove it: names and passwords have keys of their own"),
        ));
    }
    let host = parsed.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    if host.is_empty() {
        return Err(fault(message!("the URL has no host"), write));
    }
    // An IPv6 address has colons of its own, within brackets.
    let after_host = authority.rsplit_once(']').map_or(authority, |(_, rest)| rest);
    if after_host.contains(':') && parsed.port_u16().is_none_or(|port| port == 0) {
        return Err(fault(
            message!("the URL's port is not a number from 1 to 65535"),
            message!("correct it or leave it out"),
        ));
    }
    let path = parsed.path_and_query().map_or("/", |path| path.as_str());
    Ok(Url {
        scheme: scheme.to_owned(),
        host,
        port: parsed.port_u16(),
        path: if path.is_empty() { "/".into() } else { path.to_owned() },
    })
}

/// Whether an origin (scheme, host and port) is SORACOM's.
pub(super) fn is_soracom(origin: &str) -> bool {
    let host = origin.split_once("://").map_or(origin, |(_, rest)| rest);
    let host = host.split([':', '/']).next().unwrap_or_default().to_ascii_lowercase();
    host == "soracom.io" || host.ends_with(".soracom.io")
}

/// Scheme, host and port of a URL that was read before: what may be shown of one that is a secret.
pub(super) fn origin(text: &str) -> String {
    let end = text.find("://").map_or(0, |at| at + 3);
    let length = text[end..].find(['/', '?']).unwrap_or(text.len() - end);
    text[..end + length].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_soracoms_by_the_end_of_its_host() {
        for (origin, expected) in [
            ("https://api.soracom.io", true),
            ("http://uni.soracom.io:80", true),
            ("https://G.API.SORACOM.IO", true),
            ("https://soracom.io", true),
            ("https://notsoracom.io", false),
            ("https://soracom.io.example.com", false),
            ("http://127.0.0.1:8080", false),
            ("", false),
        ] {
            assert_eq!(is_soracom(origin), expected, "{origin}");
        }
    }
}
