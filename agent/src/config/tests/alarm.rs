//! `[alarm]`.

use std::os::unix::fs::PermissionsExt as _;

use super::mistakes::behind;
use super::*;

#[test]
fn without_a_time_there_is_no_alarm_and_a_command_alone_is_a_mistake() {
    let alarm = good(SMALLEST).alarm;
    assert_eq!((alarm.after, alarm.command, alarm.topic.as_str()), (None, None, "tidegate/alarm"));
    behind("[alarm]\ncommand = [\"/bin/horn\"]", 2, 11, "alarm.command", &["stands alone", "after = "]);
    let alarm = good(&format!("{SMALLEST}[alarm]\nafter = \"6h\"\ncommand = [\"/bin/horn\", \"--on\"]\n")).alarm;
    assert_eq!(alarm.after.map(|after| after.as_secs()), Some(21_600));
    assert_eq!(alarm.command, Some(vec!["/bin/horn".to_owned(), "--on".to_owned()]));
    assert_eq!((alarm.repeat.as_secs(), alarm.command_timeout.as_secs()), (3600, 30));
}

#[test]
fn what_is_wrong_with_it_is_said_at_its_place() {
    let with = |line: &str| format!("[alarm]\nafter = \"6h\"\n{line}");
    behind("[alarm]\nafter = 6", 2, 9, "alarm.after", &["bare number"]);
    behind("[alarm]\nafter = \"40d\"", 2, 9, "alarm.after", &["out of range", "30d"]);
    behind(&with("command = \"/bin/horn --on\""), 3, 11, "alarm.command", &["each argument in quotes"]);
    behind(&with("command = []"), 3, 11, "alarm.command", &["0 words"]);
    behind(&with("command = [\"horn\"]"), 3, 12, "alarm.command", &["absolute path", "no shell"]);
    behind(&with("command = [\"/bin/horn\", 3]"), 3, 25, "alarm.command", &["bare number"]);
    behind(&with("topic = \"alarms/#\""), 3, 9, "alarm.topic", &["without wildcards"]);
    behind(&with("command_timeout = \"0s\""), 3, 19, "alarm.command_timeout", &["out of range"]);
    behind(&with("retry = \"1h\""), 3, 1, "alarm.retry", &["unknown key"]);
}

#[test]
fn a_program_that_is_not_there_or_may_not_be_run_is_a_mistake() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("horn");
    let read = || {
        let text = format!("{SMALLEST}[alarm]\nafter = \"6h\"\ncommand = [\"{}\"]\n", path.display());
        parse(&text, "test.toml")
    };
    let said = |words: &str| {
        let errors = read().expect_err("a mistake").to_string();
        assert!(errors.contains(words) && errors.contains("alarm.command"), "{errors}");
    };
    said("No such file");
    std::fs::write(&path, "#!/bin/sh\n").expect("written");
    let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("chmod");
    mode(0o644);
    said("is no program");
    mode(0o757);
    let warned = read().expect("a configuration").warnings;
    assert!(
        warned.iter().any(|warning| warning.found.to_string().contains("may be changed by every user")),
        "{warned:?}"
    );
    mode(0o755);
    assert!(read().is_ok_and(|config| config.warnings.iter().all(|warning| warning.key != "alarm.command")));
}
