//! The texts that the program carries for people, packed by `agent/rooms/build.rs`: 410 kB in 110. They are unpacked at the
//! first one that is asked for, in some 3 ms; the running agent, which logs in English, never does.

use std::collections::HashMap;
use std::io::Read as _;
use std::sync::OnceLock;

const PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/texts.z"));

/// Every text by its file's name, such as `TG-102.ja.md` or `check.toml`.
pub(crate) fn all() -> &'static HashMap<&'static str, &'static str> {
    static TEXTS: OnceLock<HashMap<&'static str, &'static str>> = OnceLock::new();
    // Once in a process, and for as long as it lives.
    TEXTS.get_or_init(|| parts(unpacked().leak()))
}

/// A text; empty if there is none of that name, which a test rules out for those that are asked for.
pub(crate) fn text(name: &str) -> &'static str {
    all().get(name).copied().unwrap_or_default()
}

fn unpacked() -> String {
    let mut text = String::new();
    let read = flate2::read::ZlibDecoder::new(PACKED).read_to_string(&mut text);
    read.expect("the build has packed it, and the program's file is whole");
    text
}

/// Takes apart what was packed: `name bytes`, a line's end, the text, and so on.
fn parts(mut rest: &'static str) -> HashMap<&'static str, &'static str> {
    let mut texts = HashMap::new();
    while let Some((name, length, after)) = head(rest) {
        let Some((text, more)) = after.split_at_checked(length) else { break };
        texts.insert(name, text);
        rest = more;
    }
    texts
}

fn head(rest: &'static str) -> Option<(&'static str, usize, &'static str)> {
    let (line, after) = rest.split_once('\n')?;
    let (name, length) = line.split_once(' ')?;
    Some((name, length.parse().ok()?, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_there_byte_for_byte() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut count = 0;
        for (folder, ending) in [("agent/src/language/ja", "toml"), ("docs/errors", "md")] {
            for entry in std::fs::read_dir(root.join(folder)).expect("the source") {
                let path = entry.expect("a file").path();
                if path.extension().is_some_and(|extension| extension == ending) {
                    let name = path.file_name().and_then(|name| name.to_str()).expect("a plain name");
                    assert_eq!(text(name), std::fs::read_to_string(&path).expect("a text"), "{name}");
                    count += 1;
                }
            }
        }
        assert_eq!(all().len(), count, "and no other");
    }
}
