//! `[provider.notices]`.

use super::mistakes::behind;
use super::*;

const ONE: &str = "TEDE9ZIaX1JlLIXvr+sWTi+KCOibmi8brJmxnBqG0u4=";
const OTHER: &str = "l0XkGCEkfU1rGb+Fd1Oc9gECGr1tdHe2Ir575WFv8wA=";

#[test]
fn keys_and_folder_are_read() {
    let text = format!("{SMALLEST}[provider.notices]\nkeys = [\"ops:{ONE}\", \"next:{OTHER}\"]\nfolder = \"/inbox\"\n");
    let notices = good(&text).provider.notices;
    let keys: Vec<String> = notices.keys.expect("keys").all().iter().map(ToString::to_string).collect();
    assert_eq!(keys, [format!("ops:{ONE}"), format!("next:{OTHER}")]);
    assert_eq!(notices.folder.as_deref(), Some(Path::new("/inbox")));
    assert_eq!(good(SMALLEST).provider.notices, Notices::default());
}

#[test]
fn mistakes_are_said_where_they_stand_without_repeating_a_key() {
    let keys = |keys: &str, column: usize, words: &[&str]| {
        let text = format!("[provider.notices]\nkeys = {keys}\n");
        behind(&text, 2, column, "provider.notices.keys", words);
        let told = problems(&format!("{SMALLEST}{text}"))[0].to_string();
        assert!(
            told.contains("tidegate notice keygen") && !told.contains(&ONE[..8]) && !told.contains("sesame"),
            "{told}"
        );
    };
    keys("[]", 8, &["0 keys"]);
    keys("\"sesame\"", 8, &[]);
    keys("[7]", 9, &[]);
    keys("[\"sesame\"]", 9, &["no `:`"]);
    keys("[\"open:sesame!\"]", 9, &["not base64"]);
    keys("[\"open:sesameaa\"]", 9, &["6 bytes"]);
    keys("[\"zero:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"]", 9, &["forged"]);
    let twice = format!("[provider.notices]\nkeys = [\"k:{ONE}\", \"k:{OTHER}\"]");
    behind(&twice, 2, 9 + 48 + 2, "provider.notices.keys", &["same id"]);
    let numbered: Vec<String> = (0..17).map(|number| format!("\"k{number}:{ONE}\"")).collect();
    keys(&format!("[{}]", numbered.join(", ")), 8, &["17 keys"]);
    behind(
        "[provider.notices]\nfolder = \"inbox\"\nkeys = [\"a:TEDE9ZIaX1JlLIXvr+sWTi+KCOibmi8brJmxnBqG0u4=\"]",
        2,
        10,
        "provider.notices.folder",
        &["absolute"],
    );
    behind("[provider.notices]\nfolder = \"/inbox\"", 1, 1, "provider.notices.keys", &["missing"]);
    behind("[provider.notices]\nkey = 1", 2, 1, "provider.notices.key", &["unknown key", "keys"]);
}
