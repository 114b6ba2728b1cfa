//! A count of bytes that is never passed, over real sockets on loopback.

use super::*;
use std::time::Instant;

fn total(wire: &Wire) -> u64 {
    let counts = wire.counts();
    counts.sent + counts.received
}

fn is_spent(result: io::Result<()>) -> bool {
    result.expect_err("there is no room").kind() == io::ErrorKind::QuotaExceeded
}

/// Writes until there is no room.
async fn fill(stream: &mut WireStream) {
    loop {
        if let Err(error) = stream.write_all(&[7; 10_000]).await {
            assert!(is_spent(Err(error)));
            return;
        }
    }
}

#[tokio::test]
async fn whatever_is_written_the_count_stays_below_and_most_of_it_is_used() {
    for ceiling in [40_000, 400_000, 4_000_000] {
        let wire = Wire::new(Options::default());
        wire.set_ceiling(Some(ceiling), Some(ceiling));
        let port = peer(0, 0).await;
        let mut stream = open(&wire, port).await;
        fill(&mut stream).await;
        drop(stream);
        let used = total(&wire);
        assert!(used <= ceiling && used + 2 * TAIL > ceiling, "{used} of {ceiling}");
        let refused = wire.connect(&target("127.0.0.1", port, false)).await.expect_err("there is no room");
        assert!(matches!(refused, WireError::Spent), "{refused:?}");
        assert!(total(&wire) <= ceiling);
        // More is permitted: it goes on at once.
        wire.set_ceiling(Some(2 * ceiling), Some(2 * ceiling));
        fill(&mut open(&wire, port).await).await;
        assert!(total(&wire) <= 2 * ceiling);
        wire.set_ceiling(None, None);
        open(&wire, port).await.write_all(&vec![7; 100_000]).await.expect("nothing is limited");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_cut_before_it_passes() {
    let wire = Wire::new(Options::default());
    let ceiling = 200_000;
    wire.set_ceiling(Some(ceiling), Some(ceiling));
    let mut stream = open(&wire, peer(1_000, usize::MAX).await).await;
    let mut read = 0;
    let error = loop {
        match stream.read(&mut [0; 5_000]).await {
            Ok(bytes) => read += bytes,
            Err(error) => break error,
        }
    };
    assert!(is_spent(Err(error)) && read > 150_000, "{read}");
    assert!(total(&wire) <= ceiling, "{}", total(&wire));
    // What the peer had on the way is answered by resets and comes to nothing.
    drop(stream);
    assert!(total(&wire) <= ceiling, "{}", total(&wire));
}

#[tokio::test]
async fn what_nobody_reads_is_no_more_than_the_window() {
    let wire = Wire::new(Options::default());
    let ceiling = 30_000;
    wire.set_ceiling(Some(ceiling), Some(ceiling));
    let stream = open(&wire, peer(1_000, usize::MAX).await).await;
    let mut last = 0;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        last = total(&wire);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(last > 2_000 && last < TAIL, "{last}");
    drop(stream);
}

#[tokio::test]
async fn the_critical_class_has_what_others_may_not_use() {
    let wire = Wire::new(Options::default());
    wire.set_ceiling(Some(200_000), Some(100_000));
    let port = peer(0, 0).await;
    fill(&mut open(&wire, port).await).await;
    assert!(total(&wire) <= 100_000);
    assert!(matches!(wire.connect(&target("127.0.0.1", port, false)).await, Err(WireError::Spent)));
    let critical = wire.for_class(Class::Critical);
    fill(&mut open(&critical, port).await).await;
    assert!(total(&wire) <= 200_000 && total(&wire) > 150_000, "{}", total(&wire));
}

#[tokio::test]
async fn a_connection_that_idles_is_cut_once_others_have_used_what_there_is() {
    let wire = Wire::new(Options::default());
    let port = peer(0, 0).await;
    let mut idle = open(&wire, port).await;
    open(&wire, port).await.write_all(&vec![7; 50_000]).await.expect("it is taken");
    wire.set_ceiling(Some(40_000), Some(40_000));
    wire.keep_ceiling();
    let ended = tokio::time::timeout(Duration::from_secs(5), idle.read(&mut [0; 10])).await;
    assert!(!matches!(ended, Err(_) | Ok(Ok(1..))), "{ended:?}");
}
