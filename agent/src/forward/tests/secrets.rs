//! No secret is ever shown, whatever is logged, printed or answered.

use super::*;

/// Everything logged on this thread.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Keeps what is logged on this thread until the guard is dropped.
    pub(super) fn begin(level: tracing::Level) -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// What was logged so far.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no holder panics")).into_owned()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no holder panics").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn secrets_show_in_no_log_no_debug_output_no_reason_and_no_error() {
    let (log, _guard) = Log::begin(tracing::Level::TRACE);
    let flux = flux::Flux::start(|seen, _| {
        let padding = "x".repeat(140);
        let echo = format!("<pre>{padding} Cannot POST {} with {:?}</pre>", seen.path, seen.headers);
        Reply::Status(404, vec![], echo)
    })
    .await;
    let options = webhook(&flux);
    let bench = Bench::start(options.clone());
    bench.publish(1, numbers(0..1));
    let stats = bench.until("misconfigured", |stats| stats.verdict.word == "misconfigured").await;
    let mut shown = format!("{options:?} {:?} {stats:?} {:?}", bench.handle, api(&flux));
    for url in
        ["s3cr3t", "ftp://s3cr3t/", "http://s3cr3t@host/", "https:///s3cr3t", "http://[s3cr3t", "http://h/\u{7f}s3cr3t"]
    {
        let error = bench.handle.reload(quick(Flux::Webhook { url: Secret::new(url) })).expect_err(url);
        shown = format!("{shown} {error} {error:?}");
    }
    bench.handle.reload(api(&flux)).expect("good options");
    bench.until("the api was asked", |stats| stats.kind == "api" && flux.seen().len() >= 3).await;
    bench.stop().await;
    shown.push_str(&log.text());
    assert!(shown.contains("Cannot POST") && shown.contains("Flux takes nothing until"), "{shown}");
    for secret in ["s3cr3t", "s3cr", "wh-0123"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}
