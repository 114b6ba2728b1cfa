//! A store whose files were changed in any way opens, and serves nothing that was not written: damage is found by the
//! sums. Frames with good sums and any body (as no medium makes them, but a later version might) harm nothing either.
#![no_main]

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use tidegate::store::{LaneId, NewRecord, Options, Origin, ReadLimit, Store, Submission};
use tidegate_fuzz::MemoryDisk;

#[derive(Debug, Arbitrary)]
enum Damage {
    Flip {
        at: u16,
        bits: u8,
    },
    Overwrite {
        at: u16,
        bytes: Vec<u8>,
    },
    Insert {
        at: u16,
        bytes: Vec<u8>,
    },
    Cut {
        at: u16,
    },
    Append {
        bytes: Vec<u8>,
    },
    /// A frame that is good but for what stands in it.
    Frame {
        ahead: u8,
        body: Vec<u8>,
    },
}

fn options() -> Options {
    Options { max_size: 4 << 20, max_sessions: 8, ..Options::new("/store".into(), "gw", &["critical", "normal"]) }
}

type Written = BTreeMap<(String, u8, u64), Vec<u8>>;

/// A store with a few records in two lanes, and what they are.
static TEMPLATE: LazyLock<(MemoryDisk, Written)> = LazyLock::new(|| {
    let disk = MemoryDisk::default();
    let (store, _) = Store::open_on(options(), Arc::new(disk.clone())).expect("an empty store opens");
    for number in 0..20_u16 {
        let mut submission = Submission::new();
        let payload = vec![number as u8; usize::from(number) * 7];
        let origin = (number % 5 == 0).then_some(Origin { session: 1, packet_id: number + 1 });
        let record = NewRecord { device: "d", topic: "d/t", payload: &payload, stamp: tidegate::clock::Stamp::default(), origin, will: false };
        submission.push(LaneId((number % 2) as u8), &record);
        let done = submission.on_commit();
        store.submit(submission);
        done.blocking_recv().expect("it is committed");
    }
    let written = read(&store);
    assert_eq!(written.len(), 20);
    (disk, written)
});

fn read(store: &Store) -> Written {
    let mut all = Written::new();
    for lane in [0, 1] {
        let (mut reader, mut from) = (store.reader(LaneId(lane)), 0);
        while let Ok(chunk) = reader.read(from, ReadLimit { records: 100, bytes: 1 << 20 }) {
            let Some(last) = chunk.last_seq() else { break };
            assert!(last >= from, "numbers go up");
            for record in chunk.iter() {
                all.insert((record.epoch.to_owned(), lane, record.seq), record.payload.to_vec());
            }
            from = last + 1;
        }
    }
    all
}

fn apply(damage: &Damage, bytes: &mut Vec<u8>) {
    let place = |at: u16| usize::from(at).min(bytes.len());
    match damage {
        Damage::Flip { at, bits } => {
            if let Some(byte) = bytes.get_mut(usize::from(*at)) {
                *byte ^= bits;
            }
        }
        Damage::Overwrite { at, bytes: new } => {
            for (old, new) in bytes.iter_mut().skip(usize::from(*at)).zip(new) {
                *old = *new;
            }
        }
        Damage::Insert { at, bytes: new } => {
            let at = place(*at);
            bytes.splice(at..at, new.iter().copied());
        }
        Damage::Cut { at } => {
            let at = place(*at);
            bytes.truncate(at);
        }
        Damage::Append { bytes: new } => bytes.extend_from_slice(new),
        Damage::Frame { ahead, body } => frame(bytes, *ahead, body),
    }
}

/// Appends a frame whose sum is right.
fn frame(bytes: &mut Vec<u8>, ahead: u8, body: &[u8]) {
    let Some(salt) = bytes.get(8..12).and_then(|salt| salt.try_into().ok()).map(u32::from_le_bytes) else { return };
    // The last good number is somewhere below 64 in a template of 20 records.
    let mut covered = (body.len() as u32).to_le_bytes().to_vec();
    covered.extend(u64::from(ahead % 64).to_le_bytes());
    covered.extend_from_slice(body);
    bytes.extend(crc32c::crc32c_append(salt, &covered).to_le_bytes());
    bytes.extend(covered);
}

fuzz_target!(|damages: Vec<(u8, Damage)>| {
    let (template, written) = &*TEMPLATE;
    let disk = template.copied();
    let paths = disk.paths(".seg");
    for (file, damage) in damages.iter().take(8) {
        disk.change(&paths[usize::from(*file) % paths.len()], |bytes| apply(damage, bytes));
    }
    let forged = damages.iter().any(|(_, damage)| matches!(damage, Damage::Frame { .. }));
    let (store, _) = Store::open_on(options(), Arc::new(disk.clone())).expect("a damaged store opens");
    let found = read(&store);
    for (id, payload) in &found {
        assert!(forged || written.get(id) == Some(payload), "{id:?} was never written so");
    }
    drop(store);
    let (store, _) = Store::open_on(options(), Arc::new(disk)).expect("it opens again");
    let again = read(&store);
    assert!(again == found, "a second start found other records than the first");
});
