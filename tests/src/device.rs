//! A device in the field: publishes telemetry with a window of unacknowledged publishes, and after any break comes
//! back, finds its session, and sends again what was not acknowledged, as MQTT asks of it.
//!
//! What it keeps is what the tests judge by: which publishes were acknowledged, in which order, and whether the
//! server ever forgot its session.

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::flux::Flux;
use crate::mqtt::packet::{self, Connect, Publish};
use crate::mqtt::{Client, Packet, Qos, Silence, Version};

/// How long a device that shall finish tries to have everything acknowledged.
const FINISH_WITHIN: Duration = Duration::from_secs(120);

/// How a device behaves.
#[derive(Debug, Clone)]
pub struct Device {
    /// Client id, and the device in its topic.
    pub name: String,
    /// MQTT version.
    pub version: Version,
    /// QoS 1 or 2.
    pub qos: Qos,
    /// Publishes sent ahead of their acknowledgement.
    pub window: usize,
    /// Asks for a session that lasts; without one it throws away what was unacknowledged when a connection breaks.
    pub lasting: bool,
    /// The last level of its topic, by which a rule may choose the lane.
    pub kind: &'static str,
    /// Least time between two publishes.
    pub pause: Duration,
}

impl Device {
    /// QoS 1, window 20, a lasting session, no pause.
    #[must_use]
    pub fn new(name: &str, version: Version) -> Self {
        Self {
            name: name.to_owned(),
            version,
            qos: Qos::AtLeastOnce,
            window: 20,
            lasting: true,
            kind: "telemetry",
            pause: Duration::ZERO,
        }
    }

    /// Where it publishes.
    #[must_use]
    pub fn topic(&self) -> String {
        format!("devices/{}/{}", self.name, self.kind)
    }

    /// Starts it with payloads that count: `{"n":0}`, `{"n":1}` and so on until it is told to finish.
    #[must_use]
    pub fn start_counting(self, address: SocketAddr) -> Running {
        self.start(address, (0_u64..).map(|n| format!(r#"{{"n":{n}}}"#)))
    }

    /// Starts it with these payloads.
    #[must_use]
    pub fn start(self, address: SocketAddr, payloads: impl Iterator<Item = String> + Send + 'static) -> Running {
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name(self.name.clone())
            .spawn(move || {
                Publisher {
                    device: self,
                    address,
                    payloads: Box::new(payloads),
                    shared: for_thread,
                    pending: VecDeque::new(),
                    next_id: 1,
                    exhausted: false,
                    outcome: Outcome::default(),
                }
                .run()
            })
            .expect("a thread for a device");
        Running { shared, thread }
    }
}

#[derive(Debug, Default)]
struct Shared {
    finish: AtomicBool,
    acknowledged: AtomicU64,
}

/// What a device saw.
#[derive(Debug, Default, Clone)]
pub struct Outcome {
    /// Payloads of acknowledged publishes, in the order of their acknowledgements.
    pub acknowledged: Vec<String>,
    /// How often it connected.
    pub connects: usize,
    /// How often a lasting session it had was gone.
    pub sessions_lost: usize,
    /// Publishes sent again with DUP.
    pub resent: usize,
}

impl Outcome {
    /// Waits until everything acknowledged was delivered as records of `device`, then fails unless it came in the
    /// order of publication. A publish that was sent again after a break may be stored twice, but only after its
    /// first copy and with an id of its own; `once` forbids that too.
    #[track_caller]
    pub fn assert_delivered(&self, flux: &Flux, device: &str, once: bool, bound: Duration) {
        let start = Instant::now();
        let (mut delivered, mut looked_at): (Vec<String>, usize) = (Vec::new(), 0);
        let mut missing: HashSet<&str> = self.acknowledged.iter().map(String::as_str).collect();
        while !missing.is_empty() {
            let fresh = flux.look(|log| {
                let events = log.delivered_from(looked_at).filter(|event| event.device == device);
                let fresh: Vec<String> = events.map(|event| event.payload.get().to_owned()).collect();
                looked_at = log.delivered();
                fresh
            });
            for payload in &fresh {
                missing.remove(payload.as_str());
            }
            delivered.extend(fresh);
            assert!(
                missing.is_empty() || start.elapsed() < bound,
                "{device}: {} of {} acknowledged publishes were not delivered within {bound:?}, such as {:?}",
                missing.len(),
                self.acknowledged.len(),
                missing.iter().next()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut seen = HashSet::new();
        let firsts: Vec<&String> = delivered.iter().filter(|payload| seen.insert(payload.as_str())).collect();
        assert!(!once || firsts.len() == delivered.len(), "{device}: a publish was stored twice");
        let acknowledged: HashSet<&str> = self.acknowledged.iter().map(String::as_str).collect();
        let of_acknowledged: Vec<&String> =
            firsts.into_iter().filter(|payload| acknowledged.contains(payload.as_str())).collect();
        let wrong = of_acknowledged.iter().zip(&self.acknowledged).find(|(came, sent)| **came != *sent);
        assert!(wrong.is_none(), "{device}: out of order: (came, sent) is {wrong:?}");
    }
}

/// A device at work.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    thread: JoinHandle<Outcome>,
}

impl Running {
    /// Publishes acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Tells it to publish nothing new, without waiting.
    pub fn tell_to_finish(&self) {
        self.shared.finish.store(true, Ordering::Relaxed);
    }

    /// Lets it have everything it sent acknowledged (the rest of its payloads, if they end), and returns what it saw.
    #[track_caller]
    pub fn finish(self) -> Outcome {
        self.tell_to_finish();
        self.join()
    }

    /// Waits until all its payloads, which must end, are acknowledged.
    #[track_caller]
    pub fn join(self) -> Outcome {
        match self.thread.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

struct Pending {
    id: u16,
    payload: String,
    released: bool,
}

struct Publisher {
    device: Device,
    address: SocketAddr,
    payloads: Box<dyn Iterator<Item = String> + Send>,
    shared: Arc<Shared>,
    pending: VecDeque<Pending>,
    next_id: u16,
    exhausted: bool,
    outcome: Outcome,
}

impl Publisher {
    fn run(mut self) -> Outcome {
        let mut finish_by: Option<Instant> = None;
        loop {
            if self.done() {
                return self.outcome;
            }
            if self.shared.finish.load(Ordering::Relaxed) {
                let by = *finish_by.get_or_insert_with(|| Instant::now() + FINISH_WITHIN);
                assert!(Instant::now() < by, "{}: {} unacknowledged", self.device.name, self.pending.len());
            }
            let mut connect = Connect::new(self.device.version, &self.device.name);
            if self.device.lasting {
                connect = connect.lasting();
            }
            let Some((client, session_present)) = Client::try_connect(self.address, &connect) else {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            };
            self.connected(session_present);
            if self.talk(client).is_some() {
                return self.outcome;
            }
        }
    }

    fn connected(&mut self, session_present: bool) {
        let had_one = self.device.lasting && self.outcome.connects > 0;
        self.outcome.connects += 1;
        if session_present {
            return;
        }
        if had_one {
            self.outcome.sessions_lost += 1;
        }
        self.pending.clear(); // what MQTT makes of a session that is not there
    }

    fn done(&self) -> bool {
        self.pending.is_empty() && (self.exhausted || self.shared.finish.load(Ordering::Relaxed))
    }

    /// Resends, publishes, takes acknowledgements; `Some` when done, `None` when the connection broke.
    fn talk(&mut self, mut client: Client) -> Option<()> {
        let topic = self.device.topic();
        for entry in &self.pending {
            let bytes = if entry.released {
                packet::pubrel(entry.id)
            } else {
                self.outcome.resent += 1;
                self.encode(&topic, entry, true)
            };
            client.try_send(&bytes).ok()?;
        }
        let mut next_at = Instant::now();
        loop {
            if self.done() {
                client.disconnect();
                return Some(());
            }
            let now = Instant::now();
            let may_publish = !self.exhausted && !self.shared.finish.load(Ordering::Relaxed);
            if may_publish && self.pending.len() < self.device.window && now >= next_at {
                self.publish_next(&topic, &mut client)?;
                next_at = now + self.device.pause;
                continue;
            }
            match client.receive(self.patience(next_at, may_publish)) {
                Ok(packet) => self.take(&packet, &mut client)?,
                Err(Silence::TimedOut) => {}
                Err(Silence::Closed) => return None,
            }
        }
    }

    /// How long to wait for an acknowledgement before looking up again.
    fn patience(&self, next_at: Instant, may_publish: bool) -> Duration {
        let look_up = Duration::from_millis(100);
        if may_publish && self.pending.len() < self.device.window {
            next_at.saturating_duration_since(Instant::now()).clamp(Duration::from_millis(1), look_up)
        } else {
            look_up
        }
    }

    fn publish_next(&mut self, topic: &str, client: &mut Client) -> Option<()> {
        let Some(payload) = self.payloads.next() else {
            self.exhausted = true;
            return Some(());
        };
        let entry = Pending { id: self.next_id, payload, released: false };
        self.next_id = if self.next_id == u16::MAX { 1 } else { self.next_id + 1 };
        let bytes = self.encode(topic, &entry, false);
        self.pending.push_back(entry);
        client.try_send(&bytes).ok()
    }

    fn encode(&self, topic: &str, entry: &Pending, dup: bool) -> Vec<u8> {
        let publish = Publish {
            topic: topic.as_bytes(),
            payload: entry.payload.as_bytes(),
            qos: self.device.qos,
            id: entry.id,
            dup,
        };
        publish.encode(self.device.version)
    }

    /// Takes an acknowledgement, which must be that of the oldest publish: MQTT asks for that order.
    fn take(&mut self, packet: &Packet, client: &mut Client) -> Option<()> {
        let name = &self.device.name;
        match *packet {
            Packet::Puback { id, reason: ..0x80 } if self.device.qos == Qos::AtLeastOnce => {
                let oldest = self.pending.pop_front().map(|entry| (entry.id, entry.payload));
                match oldest {
                    Some((expected, payload)) if expected == id => self.acknowledged(payload),
                    other => panic!("{name}: PUBACK of {id}, the oldest publish being {other:?}"),
                }
            }
            Packet::Pubrec { id, reason: ..0x80 } if self.device.qos == Qos::ExactlyOnce => {
                let entry = self.pending.iter_mut().find(|entry| !entry.released);
                match entry {
                    Some(entry) if entry.id == id => entry.released = true,
                    _ => panic!("{name}: PUBREC of {id} out of order"),
                }
                client.try_send(&packet::pubrel(id)).ok()?;
            }
            Packet::Pubcomp { id } => match self.pending.pop_front() {
                Some(entry) if entry.id == id && entry.released => self.acknowledged(entry.payload),
                _ => panic!("{name}: PUBCOMP of {id} out of order"),
            },
            ref other => panic!("{name}: {other:?} is no answer to a publish"),
        }
        Some(())
    }

    fn acknowledged(&mut self, payload: String) {
        self.outcome.acknowledged.push(payload);
        self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}
