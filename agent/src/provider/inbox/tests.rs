use std::sync::atomic::{AtomicBool, Ordering};

use base64::engine::general_purpose::STANDARD;
use tidegate_protocol::notice::{Content, Notice, Scope, SigningKey, seal};

use super::*;
use crate::clock::SetClock;

/// 2026-11-22T08:30:00Z.
pub(super) const NOW: u64 = 1_795_336_200_000;

pub(super) const DAY: u64 = 86_400_000;

pub(super) fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32], Some(&format!("ops-{number}"))).expect("a key")
}

pub(super) fn information(id: &str, issued_ms: u64) -> Notice {
    let (scope, content, why) = (Scope::Fleet, Content::Information, "closed\u{202e} today".to_owned());
    Notice { id: id.into(), issued_ms, expires_ms: issued_ms + DAY, scope, content, why }
}

pub(super) fn sealed(id: &str, issued_ms: u64) -> Vec<u8> {
    seal(&information(id, issued_ms), &key(1)).expect("sealed")
}

/// An inbox of `gw-1` that believes one key, and what it handed on.
pub(super) struct Tried {
    pub(super) inbox: Inbox,
    pub(super) clock: Arc<SetClock>,
    handed: Arc<Mutex<Vec<Input>>>,
    pub(super) open: Arc<AtomicBool>,
}

impl Tried {
    pub(super) fn new(trusted: bool) -> Self {
        let clock = Arc::new(SetClock::at(Stamp { wall_ms: NOW, uptime_ms: 1000, boot: 1, trusted }));
        let (handed, open) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(true)));
        let hand: Hand = {
            let (handed, open) = (Arc::clone(&handed), Arc::clone(&open));
            Arc::new(move |input| {
                open.load(Ordering::SeqCst).then(|| {
                    handed.lock().expect("not poisoned").push(input);
                    Vec::new()
                })
            })
        };
        let inbox = Inbox::new("gw-1", clock.clone(), hand);
        inbox.pin(Some(Keys::new(vec![key(1).public().clone()]).expect("a key")));
        Self { inbox, clock, handed, open }
    }

    /// Ids of the notices that were handed on, with how they came.
    pub(super) fn handed(&self) -> Vec<String> {
        let handed = self.handed.lock().expect("not poisoned");
        let name = |input: &Input| match input {
            Input::Notice { notice, key, via } => format!("{} {key} {via}", notice.id),
            other => panic!("{other:?}"),
        };
        handed.iter().map(name).collect()
    }

    pub(super) fn refused(&self, code: &str) -> u64 {
        self.inbox.standing().refused.get(code).copied().unwrap_or(0)
    }
}

#[test]
fn what_is_rightly_signed_is_handed_on_once_and_a_repeat_is_said_to_be_one() {
    let tried = Tried::new(true);
    let envelope = sealed("n-1", NOW);
    let told = tried.inbox.take(&envelope, Via::Socket);
    assert_eq!((told.verdict.as_str(), told.id.as_str(), told.kind.as_str()), ("accepted", "n-1", "information"));
    assert_eq!((told.key.as_str(), told.why.as_str()), ("ops-1", "closed\\u{202e} today"));
    assert_eq!((told.says.as_str(), told.follows.len()), ("something that people should know", 0));
    let told = tried.inbox.take_base64(&STANDARD.encode(&envelope), Via::Socket);
    assert_eq!((told.verdict.as_str(), &*told.follows[0]), ("repeated", "nothing: it was taken in before"));
    assert_eq!(tried.inbox.take(&sealed("n-1", NOW + 1), Via::Folder).verdict, "amended");
    assert_eq!(tried.inbox.take(&envelope, Via::Socket).code, "older");
    assert_eq!(tried.handed(), ["n-1 ops-1 socket", "n-1 ops-1 folder"]);
    let standing = tried.inbox.standing();
    assert_eq!((standing.accepted, standing.repeated, standing.refused.len()), (2, 1, 1));
    assert_eq!(standing.keys, ["ops-1"]);
}

/// What was forgotten to make room for it is no word on the notice itself.
#[test]
fn of_what_the_machine_did_only_that_is_told_which_is_about_the_notice() {
    let clock = Arc::new(SetClock::at(Stamp { wall_ms: NOW, uptime_ms: 1000, boot: 1, trusted: true }));
    let entry = |id: &str, did: &str| Entry {
        at_ms: NOW,
        trusted: true,
        what: "maintenance".into(),
        id: id.into(),
        source: String::new(),
        text: String::new(),
        did: did.into(),
        from_ms: None,
        until_ms: None,
        clause: None,
        ..Entry::default()
    };
    let entries = vec![entry("n-1", "told ahead"), entry("p-7", "forgotten"), entry("", "forgotten, too")];
    let inbox = Inbox::new("gw-1", clock, Arc::new(move |_| Some(entries.clone())));
    inbox.pin(Some(Keys::new(vec![key(1).public().clone()]).expect("a key")));
    assert_eq!(inbox.take(&sealed("n-1", NOW), Via::Socket).follows, ["told ahead"]);
}

#[test]
fn one_that_may_have_been_forgotten_to_make_room_is_refused_for_it_has_no_effect() {
    let clock = Arc::new(SetClock::at(Stamp { wall_ms: NOW, uptime_ms: 1000, boot: 1, trusted: true }));
    let did = crate::provider::machine::forgotten().to_string();
    let entry = Entry { id: "n-1".into(), did, ..Entry::default() };
    let inbox = Inbox::new("gw-1", clock, Arc::new(move |_| Some(vec![entry.clone()])));
    inbox.pin(Some(Keys::new(vec![key(1).public().clone()]).expect("a key")));
    let told = inbox.take(&sealed("n-1", NOW), Via::Socket);
    assert_eq!((told.verdict.as_str(), told.code.as_str()), ("refused", "forgotten"));
    assert_eq!((inbox.standing().accepted, inbox.standing().refused.get("forgotten")), (0, Some(&1)));
    assert_eq!(inbox.take(&sealed("n-1", NOW), Via::Socket).verdict, "repeated");
}

#[test]
fn what_is_refused_is_counted_by_reason_and_the_last_are_shown() {
    let tried = Tried::new(true);
    let notice = information("n-1", NOW);
    let other =
        seal(&Notice { scope: Scope::Gateways(vec!["gw-2".into()]), ..notice.clone() }, &key(1)).expect("sealed");
    let borrowed = SigningKey::from_seed(&[2; 32], Some("ops-1")).expect("a key");
    let large = vec![0; ENVELOPE_BYTES + 1];
    for (envelope, code) in [
        (tidegate_protocol::notice::wire::write(&notice), "unsigned"),
        (seal(&notice, &key(2)).expect("sealed"), "unknown_key"),
        (seal(&notice, &borrowed).expect("sealed"), "bad_signature"),
        (other, "not_for_this_gateway"),
        (sealed("n-1", NOW - 2 * DAY), "expired"),
        (sealed("n-1", NOW + DAY), "not_yet_issued"),
        (large, "too_large"),
        (b"PLEASE STOP".to_vec(), "malformed"),
    ] {
        let told = tried.inbox.take(&envelope, Via::Socket);
        assert_eq!((told.verdict.as_str(), told.code.as_str()), ("refused", code));
        assert!(!told.why.is_empty() && told.id.is_empty());
        assert_eq!(tried.refused(code), 1);
    }
    assert_eq!(tried.inbox.take_base64("no base64!", Via::Socket).code, "malformed");
    assert_eq!(tried.inbox.take_base64(&"A".repeat(3 * ENVELOPE_BYTES), Via::Socket).code, "too_large");
    let standing = tried.inbox.standing();
    assert_eq!((standing.last.len(), standing.refused.values().sum::<u64>()), (SHOWN, 10));
    let last = standing.last.back().expect("one");
    assert_eq!((last.at_ms, last.from.as_str(), last.code.as_str()), (NOW, "socket", "too_large"));
    assert_eq!(tried.handed(), Vec::<String>::new());
}

#[test]
fn what_a_newer_sender_adds_is_counted_and_told_to_whoever_brings_it() {
    let opened = |content, unknown: &[&str]| Opened {
        notice: Notice { content, ..information("n-1", NOW) },
        kid: "ops-1".into(),
        unknown: unknown.iter().map(|name| (*name).to_owned()).collect(),
        unknown_count: unknown.len(),
    };
    let newer = opened(Content::Information, &["colour", "shape"]);
    let told = told(&newer, Turn::New, Vec::new());
    assert_eq!((told.unknown_count, told.unknown), (2, vec!["colour".to_owned(), "shape".to_owned()]));
    assert!(is_not_wholly_known(&newer));
    assert!(is_not_wholly_known(&opened(Content::Unknown { kind: "tide".into() }, &[])));
    assert!(!is_not_wholly_known(&opened(Content::Information, &[])));

    let tried = Tried::new(true);
    let whole = tried.inbox.take(&sealed("n-1", NOW), Via::Socket);
    assert_eq!((whole.unknown_count, tried.inbox.standing().not_wholly_known), (0, 0));
}

#[test]
fn without_a_right_clock_what_is_signed_is_taken_in_and_its_time_is_not_judged() {
    let tried = Tried::new(false);
    for issued_ms in [NOW - 300 * DAY, NOW + 300 * DAY] {
        assert_eq!(tried.inbox.take(&sealed(&format!("n-{issued_ms}"), issued_ms), Via::Socket).verdict, "accepted");
    }
}

#[test]
fn nobody_is_believed_while_no_key_is_pinned_and_a_key_that_is_taken_away_is_believed_no_more() {
    let tried = Tried::new(true);
    tried.inbox.pin(None);
    assert_eq!(tried.inbox.take(&sealed("n-1", NOW), Via::Socket).code, "no_keys");
    tried.inbox.pin(Some(Keys::new(vec![key(2).public().clone()]).expect("a key")));
    assert_eq!(tried.inbox.take(&sealed("n-1", NOW), Via::Socket).code, "unknown_key");
    assert_eq!(tried.handed(), Vec::<String>::new());
}

#[test]
fn what_cannot_be_handed_on_yet_is_neither_refused_for_good_nor_remembered() {
    let tried = Tried::new(true);
    tried.open.store(false, Ordering::SeqCst);
    let told = tried.inbox.take(&sealed("n-1", NOW), Via::Socket);
    assert_eq!((told.verdict.as_str(), told.code.as_str()), ("refused", "not_now"));
    assert_eq!(tried.inbox.standing().refused.len(), 0);
    tried.open.store(true, Ordering::SeqCst);
    assert_eq!(tried.inbox.take(&sealed("n-1", NOW), Via::Socket).verdict, "accepted");
    assert_eq!(tried.handed(), ["n-1 ops-1 socket"]);
}

#[test]
fn a_reason_is_told_once_a_minute_at_warn_level_however_often_it_comes() {
    let tried = Tried::new(true);
    let warned = |tried: &Tried| tried.inbox.state().told.get("malformed").copied();
    for _ in 0..1000 {
        tried.inbox.take(b"rubbish", Via::Folder);
    }
    assert_eq!(warned(&tried), Some((1000, 999)));
    tried.clock.advance(PAUSE);
    tried.inbox.take(b"rubbish", Via::Folder);
    assert_eq!(warned(&tried), Some((1000 + PAUSE, 0)));
    assert_eq!(tried.refused("malformed"), 1001);
}

#[test]
fn what_follows_is_said_of_every_kind() {
    for (content, expected) in [
        (Content::Quota { until_ms: NOW }, "nothing is sent until 2026-11-22T08:30:00Z"),
        (
            Content::Emergency { from_ms: 0, until_ms: None },
            "only lanes that go first are sent at once until it is withdrawn",
        ),
        (Content::Withdrawn, "what it said before no longer holds"),
        (
            Content::Unknown { kind: "\u{1b}x".into() },
            "something of the kind \\u{1b}x, which this version does not know; update Tidegate",
        ),
    ] {
        assert_eq!(follows(&content).to_string(), expected);
    }
}
