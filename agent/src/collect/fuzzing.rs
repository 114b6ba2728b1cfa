//! A device's certificate, for fuzzing.

use super::certificate::names;

/// Reads the names in a certificate.
///
/// # Panics
/// If more or longer ones are kept than may be.
pub fn certificate(der: &[u8]) {
    let names = names(der);
    assert!(names.len() <= 32 && names.iter().all(|name| name.len() <= 256), "{names:?}");
}
