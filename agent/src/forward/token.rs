//! The API's token: when it must be renewed, and what an answer to the request for one holds.
//!
//! A token is renewed when a tenth of its life is left, before it can expire in the middle of a request, and at once
//! when the API answers 401 or 403 although it should be good (somebody revoked it, or the gateway slept). A renewal that
//! fails while the token is still good is tried again after [`RETRY_AFTER`]; one that fails when it is not is
//! answered like a failed delivery, so that the forwarder's back-off limits the rate: `POST /v1/auth` is rate
//! limited per source address.

use std::time::{Duration, Instant};

use hyper::header::HeaderValue;
use serde::Deserialize;

/// Pause between renewals that fail while the old token is still good.
const RETRY_AFTER: Duration = Duration::from_secs(300);

/// What must be done before a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// The token is good.
    Nothing,
    /// It should be renewed, and can be used if that fails.
    Renew,
    /// There is none that can be used.
    Obtain,
}

/// The token, if there is one.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    held: Option<Token>,
}

#[derive(Debug)]
struct Token {
    api_key: HeaderValue,
    value: HeaderValue,
    renew_at: Instant,
    expires_at: Instant,
    /// It was refused with 403 when it was new.
    refused: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Granted {
    api_key: String,
    token: String,
}

impl Tokens {
    /// What must be done before a request at `now`.
    pub(super) fn need(&self, now: Instant) -> Need {
        match &self.held {
            Some(token) if now < token.renew_at => Need::Nothing,
            Some(token) if now < token.expires_at => Need::Renew,
            _ => Need::Obtain,
        }
    }

    /// Takes what `POST /v1/auth` answered; says whether it held a token.
    pub(super) fn granted(&mut self, body: &[u8], life: Duration, asked_at: Instant) -> bool {
        let header = |text: &str| {
            let mut value = HeaderValue::from_str(text).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        let Ok(granted) = serde_json::from_slice::<Granted>(body) else { return false };
        let Some((api_key, token)) = header(&granted.api_key).zip(header(&granted.token)) else { return false };
        let (renew_at, expires_at) = (asked_at + life / 10 * 9, asked_at + life);
        self.held = Some(Token { api_key, value: token, renew_at, expires_at, refused: false });
        true
    }

    /// A renewal failed; the token at hand is used meanwhile.
    pub(super) fn renewal_failed(&mut self, now: Instant) {
        if let Some(token) = &mut self.held {
            token.renew_at = (now + RETRY_AFTER).min(token.expires_at);
        }
    }

    /// The API refused it with 403 when it was new: what is wrong is not the token.
    pub(super) fn refused(&mut self) {
        if let Some(token) = &mut self.held {
            token.refused = true;
        }
    }

    /// Whether that was so.
    pub(super) fn was_refused(&self) -> bool {
        self.held.as_ref().is_some_and(|token| token.refused)
    }

    /// The API refused it.
    pub(super) fn drop_held(&mut self) {
        self.held = None;
    }

    /// The values of `X-Soracom-API-Key` and `X-Soracom-Token`.
    pub(super) fn headers(&self) -> Option<(HeaderValue, HeaderValue)> {
        self.held.as_ref().map(|token| (token.api_key.clone(), token.value.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_secs(86_400);

    #[test]
    fn a_token_is_renewed_before_it_expires_and_used_until_then() {
        let (mut tokens, now) = (Tokens::default(), Instant::now());
        assert_eq!(tokens.need(now), Need::Obtain);
        assert!(tokens.granted(br#"{"apiKey":"k","token":"t","operatorId":"OP"}"#, LIFE, now));
        assert_eq!(tokens.need(now + LIFE / 2), Need::Nothing);
        assert_eq!(tokens.need(now + LIFE / 100 * 95), Need::Renew);
        assert_eq!(tokens.need(now + LIFE), Need::Obtain);
        tokens.renewal_failed(now + LIFE / 100 * 95);
        assert_eq!(tokens.need(now + LIFE / 100 * 95), Need::Nothing);
        assert_eq!(tokens.need(now + LIFE / 100 * 95 + RETRY_AFTER), Need::Renew);
        tokens.drop_held();
        assert_eq!(tokens.need(now), Need::Obtain);
    }

    #[test]
    fn an_answer_without_a_token_grants_nothing_and_a_token_is_never_shown() {
        let (mut tokens, now) = (Tokens::default(), Instant::now());
        for body in [&b""[..], b"{}", b"<html>", br#"{"apiKey":"k"}"#, br#"{"apiKey":"k","token":"a\nb"}"#] {
            assert!(!tokens.granted(body, LIFE, now));
        }
        assert!(tokens.granted(br#"{"apiKey":"api-secret","token":"token-secret"}"#, LIFE, now));
        let shown = format!("{tokens:?}");
        assert!(!shown.contains("secret"), "{shown}");
    }
}
