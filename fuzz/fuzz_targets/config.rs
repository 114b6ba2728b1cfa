//! Any text is a configuration or an error that can be shown.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(errors) = tidegate::config::parse(text, "fuzz.toml") {
        assert!(!errors.to_string().is_empty());
    }
});
