//! A connection whose commits the test decides.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::timeout;

use super::super::finish::finish;
use super::super::intake::Setup;
use super::super::tests::{PATIENCE, shared};
use super::super::wire::Version;
use super::*;
use crate::collect::session::PacketIds;
use crate::collect::{Alarm, Subject};

fn serving(shared: &Arc<Shared>, version: Version, keep_alive: u16) -> (Box<Serving<DuplexStream>>, DuplexStream) {
    let (near, far) = duplex(1_000_000);
    (serving_on(near, shared, version, keep_alive), far)
}

fn serving_on<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    shared: &Arc<Shared>,
    version: Version,
    keep_alive: u16,
) -> Box<Serving<S>> {
    let setup = Setup {
        version,
        session: None,
        unreleased: PacketIds::default(),
        subscribed: false,
        max_packet_size: 10_000,
        receive_maximum: 100,
        expiry_s: 0,
        rules: shared.rules.clone(),
        ear: crate::collect::devices::Ear::new(Arc::default()),
        identity: crate::collect::allow::Identity::default(),
    };
    Box::new(Serving::new(Parts {
        stream,
        from: ([127, 0, 0, 1], 1).into(),
        seat: shared.table.sit("c"),
        intake: Intake::new(setup),
        out: Vec::new(),
        input: Vec::new(),
        keep_alive,
        max_packet_size: u32::MAX,
        will: None,
        shared: shared.clone(),
    }))
}

/// Adds a submission that is on its way; the sender commits it.
fn under_way<S>(serving: &mut Serving<S>, answers: &[u8]) -> oneshot::Sender<Committed> {
    let (commit, wait) = oneshot::channel();
    serving.batches.push_back(Batch {
        wait: Some(wait),
        answers: answers.to_vec(),
        records: 1,
        payload_bytes: 1,
        credits: 1,
        ..Batch::default()
    });
    commit
}

async fn nothing_comes(far: &mut DuplexStream) {
    let mut byte = [0];
    assert!(timeout(Duration::from_millis(50), far.read(&mut byte)).await.is_err(), "nothing may be said yet");
}

#[tokio::test]
async fn an_alarm_in_force_does_not_wait_for_a_store_that_stands_still() {
    let (shared, _kept) = shared();
    shared.alarms.raise(Subject::Store, Alarm("stalled".into()));
    let (mut serving, mut far) = serving(&shared, Version::V3, 0);
    let commit = under_way(&mut serving, &[0x40, 2, 0, 1]);
    let served = tokio::spawn(async move { serving.serve().await });
    far.write_all(b"\x82\x13\0\x02\0\x0etidegate/alarm\0").await.expect("written");
    let mut alarm = [0; 25];
    timeout(PATIENCE, far.read_exact(&mut alarm)).await.expect("in time").expect("the alarm");
    assert_eq!(alarm, *b"\x30\x17\0\x0etidegate/alarmstalled");
    nothing_comes(&mut far).await;
    commit.send(Committed {}).expect("waited for");
    let mut answers = [0; 9];
    timeout(PATIENCE, far.read_exact(&mut answers)).await.expect("in time").expect("the answers");
    assert_eq!(answers, [0x40, 2, 0, 1, 0x90, 3, 0, 2, 0]);
    drop(far);
    assert_eq!(served.await.expect("served"), Ended::Broken);
}

#[tokio::test]
async fn answers_wait_for_their_commit_and_leave_in_order_even_if_commits_do_not() {
    let (shared, _kept) = shared();
    let (mut serving, mut far) = serving(&shared, Version::V3, 0);
    let first = under_way(&mut serving, &[0x40, 2, 0, 1]);
    let second = under_way(&mut serving, &[0x40, 2, 0, 2]);
    let served = tokio::spawn(async move { serving.serve().await });
    nothing_comes(&mut far).await;
    second.send(Committed {}).expect("waited for");
    nothing_comes(&mut far).await;
    assert_eq!(shared.stats.collected.get(), 0);
    first.send(Committed {}).expect("waited for");
    let mut answers = [0; 8];
    timeout(PATIENCE, far.read_exact(&mut answers)).await.expect("in time").expect("answered");
    assert_eq!(answers, [0x40, 2, 0, 1, 0x40, 2, 0, 2]);
    assert_eq!(shared.stats.collected.get(), 2);
    drop(far);
    assert_eq!(timeout(PATIENCE, served).await.expect("in time").expect("ended"), Ended::Broken);
}

#[tokio::test]
async fn a_store_that_is_closed_acknowledges_nothing() {
    let (shared, _kept) = shared();
    let (mut serving, mut far) = serving(&shared, Version::V5, 0);
    drop(under_way(&mut serving, &[0x40, 2, 0, 1]));
    let ended = serving.serve().await;
    assert_eq!(ended, Ended::StoreClosed);
    finish(serving, ended).await;
    let mut rest = Vec::new();
    timeout(PATIENCE, far.read_to_end(&mut rest)).await.expect("in time").expect("closed");
    assert_eq!(rest, [0; 0]);
}

#[tokio::test(start_paused = true)]
async fn with_as_much_under_way_as_allowed_nothing_is_read_and_keep_alive_does_not_run() {
    let (shared, _kept) = shared();
    let (mut serving, mut far) = serving(&shared, Version::V5, 10);
    let commits: Vec<_> = (0..MAX_BATCHES).map(|_| under_way(&mut serving, &[0x40, 2, 0, 1])).collect();
    let served = tokio::spawn(async move { serving.serve().await });
    far.write_all(&[0xc0, 0]).await.expect("sent");
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    nothing_comes(&mut far).await;
    assert!(!served.is_finished(), "an hour without a word, and it is not the client's fault");
    for commit in commits {
        commit.send(Committed {}).expect("waited for");
    }
    let mut answers = vec![0; 4 * MAX_BATCHES + 2];
    far.read_exact(&mut answers).await.expect("answered");
    assert!(answers.ends_with(&[0xd0, 0]), "then the ping is read and answered");
    let begun = Instant::now();
    assert_eq!(served.await.expect("ended"), Ended::Silent);
    assert_eq!(begun.elapsed().as_secs(), 15, "and the keep-alive runs again");
}

#[tokio::test(start_paused = true)]
async fn while_one_acknowledgement_is_owed_pings_are_answered_and_keep_alive_does_not_run() {
    let (shared, _kept) = shared();
    let (mut serving, mut far) = serving(&shared, Version::V5, 10);
    let commit = under_way(&mut serving, &[0x40, 2, 0, 1]);
    let served = tokio::spawn(async move { serving.serve().await });
    far.write_all(&[0xc0, 0]).await.expect("sent");
    let mut pong = [0; 2];
    far.read_exact(&mut pong).await.expect("answered");
    assert_eq!(pong, [0xd0, 0]);
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert!(!served.is_finished(), "it may wait for its PUBACK and say nothing");
    commit.send(Committed {}).expect("waited for");
    let mut answer = [0; 4];
    far.read_exact(&mut answer).await.expect("answered");
    let begun = Instant::now();
    assert_eq!(served.await.expect("ended"), Ended::Silent);
    assert_eq!(begun.elapsed().as_secs(), 15, "and the keep-alive runs again");
}

#[tokio::test(start_paused = true)]
async fn a_packet_must_be_complete_in_time_whatever_the_keep_alive() {
    let (shared, _kept) = shared();
    let (mut serving, mut far) = serving(&shared, Version::V5, 0);
    let served = tokio::spawn(async move { serving.serve().await });
    let begun = Instant::now();
    far.write_all(&[0x30, 0x80, 0x40]).await.expect("sent");
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let _ = far.write_all(&[0]).await;
        if served.is_finished() {
            break;
        }
    }
    assert_eq!(served.await.expect("ended"), Ended::Silent);
    assert!((60..=62).contains(&begun.elapsed().as_secs()));
}

#[tokio::test]
async fn who_takes_over_waits_until_everything_before_is_on_flash() {
    let (shared, _kept) = shared();
    let (mut serving, mut far) = serving(&shared, Version::V5, 0);
    let commit = under_way(&mut serving, &[0x40, 2, 0, 1]);
    let first = tokio::spawn(async move {
        let ended = serving.serve().await;
        finish(serving, ended).await;
        ended
    });
    let mut second = shared.table.sit("c");
    assert!(timeout(Duration::from_millis(50), second.cleared()).await.is_err(), "its publish is under way");
    // The second gives up; the third still has to wait for the first.
    let mut third = shared.table.sit("c");
    assert_eq!((&mut second.go).await, Ok(Go::TakenOver));
    drop(second);
    assert!(timeout(Duration::from_millis(50), third.cleared()).await.is_err());
    // The third gives up too, with nobody behind it, and leaves the first to whoever comes.
    drop(third);
    let mut fourth = shared.table.sit("c");
    assert!(timeout(Duration::from_millis(50), fourth.cleared()).await.is_err());
    commit.send(Committed {}).expect("waited for");
    timeout(PATIENCE, fourth.cleared()).await.expect("cleared");
    assert_eq!(shared.stats.collected.get(), 1);
    let mut goodbye = Vec::new();
    timeout(PATIENCE, far.read_to_end(&mut goodbye)).await.expect("in time").expect("closed");
    assert_eq!(goodbye, [0xe0, 1, 0x8e], "told at once, and not acknowledged");
    drop(far);
    assert_eq!(timeout(PATIENCE, first).await.expect("in time").expect("ended"), Ended::TakenOver);
}

/// A stream that takes bytes at once and needs a second to pass them on, as TLS may.
struct Lazy {
    stream: DuplexStream,
    flushing: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for Lazy {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Lazy {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.flushing = Some(Box::pin(tokio::time::sleep(Duration::from_secs(1))));
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match &mut self.flushing {
            Some(flushing) => flushing.as_mut().poll(context).map(Ok),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_late_is_not_one_that_does_not_read() {
    let (shared, _kept) = shared();
    let (near, mut far) = duplex(1_000);
    let mut serving = serving_on(Lazy { stream: near, flushing: None }, &shared, Version::V5, 0);
    let served = tokio::spawn(async move { serving.serve().await });
    far.write_all(&[0xc0, 0]).await.expect("sent");
    let mut answer = [0; 2];
    far.read_exact(&mut answer).await.expect("answered");
    tokio::time::sleep(2 * shared.write_timeout).await;
    assert!(!served.is_finished());
    drop(far);
    assert_eq!(served.await.expect("ended"), Ended::Broken);
}
