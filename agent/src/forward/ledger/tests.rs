//! Tests of what is committed, and with what.

use super::*;
use proptest::prelude::*;

fn ledger(waiting: u64, unsent: u64) -> Ledger {
    Ledger::new([(Ranges::from(waiting), Ranges::from(unsent))].into_iter())
}

#[test]
fn a_batch_is_announced_only_once_the_commit_is_on_flash() {
    let (store, _folder) = crate::forward::tests::open_store();
    let mut ledger = ledger(5, 7);
    assert!(ledger.is_announced(0, Span::new(5, 7)), "what an earlier run announced stays so");
    ledger.announce(0, Span::new(5, 20));
    assert!(!ledger.is_announced(0, Span::new(5, 8)));
    assert!(ledger.is_claimed(0, Span::new(5, 20)) && !ledger.is_claimed(0, Span::new(5, 21)));
    ledger.submit(&store, true);
    assert!(!ledger.is_announced(0, Span::new(7, 8)), "submitted is not committed");
    ledger.announce(0, Span::new(15, 30));
    let commit = ledger.committing.take().expect("one is under way");
    commit.blocking_recv().expect("the store answers");
    ledger.committed();
    assert!(ledger.is_announced(0, Span::new(5, 20)));
    assert!(!ledger.is_announced(0, Span::new(20, 21)), "what came meanwhile is in the next commit");
}

#[test]
fn an_acknowledgement_travels_with_an_announcement_that_is_near_and_else_alone() {
    let (store, _folder) = crate::forward::tests::open_store();
    let mut ledger = ledger(0, 0);
    ledger.acknowledge(0, Span::new(0, 3));
    ledger.submit(&store, true);
    assert!(ledger.committing.is_none(), "it waits for the announcement");
    ledger.announce(0, Span::new(3, 9));
    ledger.submit(&store, true);
    assert!(ledger.committing.take().is_some());
    ledger.committed();
    ledger.submit(&store, false);
    assert!(ledger.committing.is_none(), "there is nothing new");
    ledger.acknowledge(0, Span::new(3, 4));
    ledger.submit(&store, false);
    assert!(ledger.committing.is_some());
}

proptest! {
    /// Whatever is done with in whatever order: the store never has to fill a hole, nothing is acknowledged that is not
    /// done, and in the end all is.
    #[test]
    fn acknowledgements_out_of_order_never_make_more_ranges_than_the_store_keeps(
        keys in proptest::collection::vec(any::<u64>(), 300),
    ) {
        let mut order: Vec<u64> = (0..keys.len() as u64).collect();
        order.sort_by_key(|seq| keys[*seq as usize]);
        let mut ledger = ledger(0, 0);
        let (mut done, mut acknowledged) = (Spans::default(), Spans::default());
        for seq in order {
            let span = Span::new(seq, seq + 1);
            done.insert(span);
            ledger.acknowledge(0, span);
            let marks = &mut ledger.lanes[0];
            for span in marks.take_done() {
                prop_assert!(done.covers(span), "{span:?} was acknowledged and is not done");
                acknowledged.insert(span);
            }
            prop_assert!(marks.waiting.iter().count() <= ACKNOWLEDGED_RANGES);
            prop_assert_eq!(holes(&marks.waiting), acknowledged.iter().collect::<Vec<_>>());
        }
        prop_assert_eq!(ledger.lanes[0].waiting.clone(), Ranges::from(keys.len() as u64));
    }
}
