//! The treatment of payloads, for fuzzing.

use std::sync::Arc;

use super::{Fields, Key, MAX_OUTPUT, Otherwise, Rule};
use crate::field::Path;
use crate::secret::Secret;

/// Treats a payload by a rule of these paths, one a line, each with `k`, `d`, `p` or `r` before it.
///
/// # Panics
/// If what is made of JSON is no JSON, or longer than it may be, or changes when nothing is named that is in it.
pub fn fields(paths: &str, payload: &[u8]) {
    let mut rule = Rule { topic: "#".into(), otherwise: Otherwise::Refuse, ..Rule::default() };
    for line in paths.lines().take(64) {
        let Some((kind, path)) = line.split_at_checked(1) else { continue };
        let Ok(path) = path.parse::<Path>() else { continue };
        match kind {
            "k" => rule.keep_only.get_or_insert_with(Vec::new).push(path),
            "d" => rule.drop.push(path),
            "p" => rule.pseudonymise.push(path),
            _ => rule.round.extend("0.5".parse().ok().map(|step| (path, step))),
        }
    }
    let key = Arc::new(Key::new(Secret::new("a key for fuzzing, and for nothing else")));
    let Ok(fields) = Fields::new(&[rule], Some(&key)) else { return };
    let Some(treatment) = fields.of("any") else { return };
    let Ok(treated) = treatment.treat(payload) else { return };
    assert!(treated.payload.len() <= payload.len().max(MAX_OUTPUT), "{} bytes", treated.payload.len());
    let sound = |bytes: &[u8]| serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok();
    assert!(sound(payload) && sound(&treated.payload), "no JSON was taken, or made");
    let (explained, _) = treatment.explain(payload);
    assert_eq!(explained.as_ref(), Ok(&treated), "it says something else than it does");
}
