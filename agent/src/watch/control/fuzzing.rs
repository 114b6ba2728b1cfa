//! A line on the control socket, for fuzzing.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use super::{Answer, Answers, Reply, Rooms, Streams, answer, encode};
use crate::provider::question;
use crate::store::look;
use crate::watch::Status;

/// Longest answer to a line that is not understood, in bytes: the names of what is answered, in a sentence.
const LONGEST: usize = 1_024;

/// Answers a line, and reads it, or what it asks, as the questions that rooms take.
///
/// # Panics
/// If an answer is not one line, a question is read otherwise than it is written, or a whole id is not its record's.
#[cfg_attr(not(feature = "fuzzing"), allow(unreachable_pub, reason = "it is handed on with the feature"))]
pub fn control(line: &[u8]) {
    let room: Streams = Arc::new(|_, _| Ok(String::new()));
    let rooms: Rooms = Arc::new([("buffer", room.clone()), ("provider", room)]);
    let answers = Answers { source: Arc::new(Status::default), rooms, looking: Arc::new(Semaphore::new(1)) };
    match answer(line, &answers) {
        Reply::One(said) => {
            let bytes = encode(&said);
            assert_eq!(bytes.iter().position(|byte| *byte == b'\n'), Some(bytes.len() - 1));
            assert!(matches!(said, Answer::Ok(_)) || bytes.len() <= LONGEST, "{} bytes", bytes.len());
        }
        Reply::Many(_, ask) => read(ask.get()),
    }
    if let Ok(text) = std::str::from_utf8(line) {
        read(text);
    }
}

fn read(text: &str) {
    same_again::<question::Ask>(text);
    same_again::<look::Ask>(text);
    if let (Some(id), [gateway, epoch, lane, seq]) =
        (look::AsideId::read(text), &text.trim().split('/').collect::<Vec<_>>()[..])
    {
        assert!(seq.parse().is_ok_and(|seq| id.matches(gateway, epoch, lane, seq)), "{id:?}");
    }
}

fn same_again<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(text: &str) {
    let Ok(ask) = serde_json::from_str::<T>(text) else { return };
    let written = serde_json::to_string(&ask).expect("what was read from JSON is JSON");
    assert_eq!(serde_json::from_str::<T>(&written).ok(), Some(ask), "{written}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fuzzed_is_asked() {
        for line in [
            "{\"request\":\"status\"}",
            "{\"request\":\"provider\",\"ask\":{\"hold\":{\"for_ms\":5,\"why\":\"x\"}}}",
            "{\"request\":\"buffer\",\"ask\":{\"retry\":{\"id\":\"normal/5\"}}}",
            "gw-1/k3v9/normal/5",
            "nonsense",
        ] {
            control(line.as_bytes());
        }
        assert!(serde_json::from_str::<question::Ask>("{\"hold\":{\"for_ms\":5,\"why\":\"x\"}}").is_ok());
        assert!(serde_json::from_str::<look::Ask>("{\"retry\":{\"id\":\"normal/5\"}}").is_ok());
    }
}
