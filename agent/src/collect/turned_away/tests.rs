use std::io;
use std::sync::Arc;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::*;

/// The log lines of the current thread, for as long as `_guard` lives.
pub(in crate::collect) struct Captured {
    text: Arc<Mutex<Vec<u8>>>,
    _guard: tracing::subscriber::DefaultGuard,
}

impl Captured {
    pub(in crate::collect) fn from(level: LevelFilter) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let subscriber =
            tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_writer(Writer(text.clone())).finish();
        Self { text, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// The lines that contain all of these.
    pub(in crate::collect) fn with(&self, parts: &[&str]) -> Vec<String> {
        let text = self.text.lock().expect("not poisoned");
        let text = std::str::from_utf8(&text).expect("a log is UTF-8");
        let all = |line: &&str| parts.iter().all(|part| line.contains(part));
        text.lines().filter(all).map(str::to_owned).collect()
    }
}

struct Writer(Arc<Mutex<Vec<u8>>>);

impl io::Write for &Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Writer {
    type Writer = &'a Writer;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

#[test]
fn one_line_a_minute_is_due_for_each_cause_and_says_how_many_it_stands_for() {
    let (log, start) = (TurnedAway::default(), Instant::now());
    let after = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(log.due(Cause::Topic, 3, start), Some(2));
    assert_eq!(log.due(Cause::Topic, 5, after(59)), None);
    assert_eq!(log.due(Cause::Size, 1, after(59)), Some(0), "another cause has its own");
    assert_eq!(log.due(Cause::Topic, 1, after(60)), Some(5));
    assert_eq!(log.due(Cause::Topic, 1, after(120)), Some(0));
}

#[test]
fn hostile_text_stays_within_its_field_and_its_line() {
    let captured = Captured::from(LevelFilter::WARN);
    let hostile = format!("\u{1b}[31m\" peer=9.9.9.9\nERROR \u{202e}{}", "\u{1}".repeat(100_000));
    let log = TurnedAway::default();
    for cause in [Cause::Topic, Cause::Password] {
        let topic = Some([hostile.as_bytes(), &[0xff]].concat());
        let text = Some(&*hostile);
        let seen = Seen { client: text, user: text, what: text, topic: topic.as_deref(), ..Seen::default() };
        log.tell(cause, 1, &seen);
    }
    let lines = captured.with(&[]);
    assert_eq!(lines.len(), 2, "{lines:?}");
    for line in &lines {
        assert!(line.len() < 4_096, "{} bytes", line.len());
        assert!(!line.contains(['\u{1b}', '\u{202e}', '\u{1}']), "{line:?}");
        assert!(line.contains(r#"client="\u{1b}[31m\" peer=9.9.9.9\nERROR \u{202e}"#), "{line}");
    }
}

#[test]
fn all_but_the_first_are_at_debug_level() {
    let captured = Captured::from(LevelFilter::DEBUG);
    let log = TurnedAway::default();
    for size in [1, 2, 3] {
        log.tell(Cause::Size, 1, &Seen { size: Some(size), ..Seen::default() });
    }
    assert_eq!(captured.with(&["WARN", "size=1", "max_packet_size"]).len(), 1);
    assert_eq!(captured.with(&["DEBUG", "max_packet_size"]).len(), 2);
}
