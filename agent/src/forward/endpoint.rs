//! An endpoint: where requests of one kind go and what they look like. Pure; nothing here is sent.

use hyper::Uri;
use hyper::header::HeaderValue;

use super::options::{Flux, OptionsError};
use crate::message;
use crate::secret::Secret;
use crate::shape::wire::Target;

/// Longest life a token may be asked for (API reference of `POST /v1/auth`).
const MAX_TOKEN_TIMEOUT_S: u64 = 172_800;

/// Shortest part of a URL's path that is struck out of texts to be shown: shorter ones (`v1`, `flux`) are no secret
/// and would mangle messages.
const SECRET_PART: usize = 8;

/// Where requests go, made ready once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) kind: &'static str,
    pub(super) target: Target,
    pub(super) host_header: HeaderValue,
    /// Path and query: the secret part of a webhook's URL.
    path: Secret,
    pub(super) auth: Option<Auth>,
}

/// How a token is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Auth {
    /// The path of the request.
    pub(super) path: Uri,
    key_id: Secret,
    key: Secret,
    pub(super) timeout_s: u64,
}

impl Auth {
    /// The body of the request for a token.
    pub(super) fn body(&self) -> Vec<u8> {
        let body = serde_json::json!({
            "authKeyId": self.key_id.expose(), "authKey": self.key.expose(), "tokenTimeoutSeconds": self.timeout_s,
        });
        body.to_string().into_bytes()
    }
}

impl Endpoint {
    /// Checks and takes apart what the configuration says.
    pub(super) fn new(flux: &Flux) -> Result<Self, OptionsError> {
        let kind = flux.kind();
        match flux {
            Flux::Webhook { url } => Self::from_url(kind, url.expose(), None, None),
            Flux::Unified { url } => Self::from_url(kind, url, None, None),
            Flux::Api { base, app_id, channel_id, auth_key_id, auth_key, token_timeout } => {
                for (what, id) in [("app_id", app_id), ("channel_id", channel_id)] {
                    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
                    if id.is_empty() || !id.bytes().all(plain) {
                        return Err(OptionsError::Id { what });
                    }
                }
                let timeout_s = token_timeout.as_secs();
                if !(60..=MAX_TOKEN_TIMEOUT_S).contains(&timeout_s) {
                    return Err(OptionsError::Range {
                        what: "token_timeout",
                        range: message!("between 60 s and 48 h"),
                    });
                }
                let path = format!("/v1/flux/apps/{app_id}/channels/{channel_id}/messages");
                let auth = Auth {
                    path: Uri::from_static("/v1/auth"),
                    key_id: auth_key_id.clone(),
                    key: auth_key.clone(),
                    timeout_s,
                };
                Self::from_url(kind, base, Some(&path), Some(auth))
            }
        }
    }

    fn from_url(kind: &'static str, url: &str, suffix: Option<&str>, auth: Option<Auth>) -> Result<Self, OptionsError> {
        let wrong = |problem| OptionsError::Url { kind, problem };
        let uri: Uri = url.trim().parse().map_err(|_| wrong(message!("is not a URL; write https://host/…")))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong(message!("must begin with https:// or http://"))),
        };
        let authority = uri.authority().ok_or_else(|| wrong(message!("names no host; write https://host/…")))?;
        if authority.as_str().contains('@') {
            return Err(wrong(message!("holds a user or password, which is not supported")));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(wrong(message!("names no host; write https://host/…")));
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let own = uri.path_and_query().map_or("/", |path| path.as_str());
        let (path, auth) = match suffix {
            None => (own.to_owned(), auth),
            Some(_) if own.contains('?') => return Err(wrong(message!("must not hold a `?`"))),
            Some(suffix) => {
                let prefix = own.trim_end_matches('/');
                let auth_path = format!("{prefix}/v1/auth").parse().map_err(|_| wrong(message!("is not a URL")))?;
                (format!("{prefix}{suffix}"), auth.map(|auth| Auth { path: auth_path, ..auth }))
            }
        };
        Ok(Self {
            kind,
            target: Target { host: host.to_owned(), port, tls },
            host_header: HeaderValue::from_str(authority.as_str())
                .map_err(|_| wrong(message!("names no usable host")))?,
            path: Secret::new(path),
            auth,
        })
    }

    /// The request target of a request that carries records.
    pub(super) fn uri(&self) -> Uri {
        // It was parsed as part of a URI when the endpoint was made, so it parses again.
        self.path.expose().parse().unwrap_or_else(|_| Uri::from_static("/"))
    }

    /// Strikes everything secret out of a text from outside: servers like to repeat the path they did not find.
    pub(super) fn redact(&self, text: &str) -> String {
        let mut secrets: Vec<&str> = Vec::new();
        if self.auth.is_none() {
            let path = self.path.expose();
            secrets.extend(path.split(['/', '?', '&', '=', '#']).filter(|part| part.len() >= SECRET_PART));
        }
        if let Some(auth) = &self.auth {
            secrets.extend([auth.key_id.expose(), auth.key.expose()]);
        }
        strike_out(text, &secrets)
    }
}

/// Replaces each of `secrets` in `text`, longest first so that one that holds another goes whole.
pub(super) fn strike_out(text: &str, secrets: &[&str]) -> String {
    let mut secrets: Vec<&str> = secrets.iter().copied().filter(|secret| !secret.is_empty()).collect();
    secrets.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(url: &str) -> Endpoint {
        Endpoint::new(&Flux::Webhook { url: Secret::new(url) }).expect("a good URL")
    }

    #[test]
    fn a_url_gives_target_host_and_path() {
        for (url, host, port, tls, header, path) in [
            ("https://api.soracom.io/v1/x?y=z", "api.soracom.io", 443, true, "api.soracom.io", "/v1/x?y=z"),
            ("http://uni.soracom.io", "uni.soracom.io", 80, false, "uni.soracom.io", "/"),
            (" http://[::1]:8080/hook\n", "::1", 8080, false, "[::1]:8080", "/hook"),
            ("HTTPS://h:1/", "h", 1, true, "h:1", "/"),
        ] {
            let endpoint = webhook(url);
            assert_eq!(endpoint.target, Target { host: host.into(), port, tls }, "{url}");
            assert_eq!(endpoint.host_header, header);
            assert_eq!(endpoint.uri(), path);
        }
    }

    #[test]
    fn an_api_below_a_path_keeps_it() {
        let endpoint = Endpoint::new(&Flux::Api {
            base: "https://host/jp/".into(),
            app_id: "a-1".into(),
            channel_id: "c_2".into(),
            auth_key_id: Secret::new("keyId-x"),
            auth_key: Secret::new("secret-y"),
            token_timeout: std::time::Duration::from_secs(3600),
        })
        .expect("good options");
        assert_eq!(endpoint.uri(), "/jp/v1/flux/apps/a-1/channels/c_2/messages");
        assert_eq!(endpoint.auth.as_ref().map(|auth| auth.path.to_string()).as_deref(), Some("/jp/v1/auth"));
        assert_eq!(endpoint.redact("key secret-y of keyId-x"), "key *** of ***");
    }

    #[test]
    fn every_long_part_of_a_secret_path_is_struck_out() {
        let endpoint = webhook("https://h/v1/hooks/abcdefgh/abcdefghijkl?token=12345678");
        assert_eq!(
            endpoint.redact("no /v1/hooks/abcdefgh/abcdefghijkl?token=12345678"),
            "no /v1/hooks/***/***?token=***"
        );
        assert_eq!(endpoint.redact("no \"v1\" \"abcdefghijkl\""), "no \"v1\" \"***\"");
    }
}
