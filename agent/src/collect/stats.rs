//! What the intake counts, for `status` and the metrics page.
//!
//! Counters are relaxed atomics: each stands for itself, and a reader may see two of them at slightly different
//! moments. They begin at zero with the process; what must survive a restart is counted by the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

use super::devices::Devices;

/// A count that one or more tasks raise.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    /// Takes away from it; for counts of what is there now.
    pub fn sub(&self, count: u64) {
        self.0.fetch_sub(count, Relaxed);
    }

    /// Sets it; for counts of what is there now.
    pub fn set(&self, count: u64) {
        self.0.store(count, Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// The counters, shared by the listener, the broker client and whoever shows them.
        #[derive(Debug, Default)]
        pub struct Stats {
            $($(#[$doc])* pub $name: Counter,)+
            /// The devices that were heard.
            pub devices: Arc<Devices>,
        }

        /// The counters' values at one time.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Snapshot {
            $($(#[$doc])* pub $name: u64,)+
        }

        impl Stats {
            /// The values as they stand.
            pub fn snapshot(&self) -> Snapshot {
                Snapshot { $($name: self.$name.get(),)+ }
            }
        }
    };
}

counters! {
    /// Records committed to flash, from the listener and from brokers.
    collected,
    /// Bytes of payload in them.
    collected_bytes,
    /// QoS 2 publishes that were known already and not stored again.
    repeats,
    /// Last wills stored.
    wills,
    /// Publishes refused because no rule matches their topic.
    refused_topic,
    /// Publishes refused because their device is not allowed.
    refused_device,
    /// Publishes refused because they are too large.
    refused_size,
    /// Publishes refused because the rule for their fields cannot treat them.
    refused_fields,
    /// Records stored as they came although the rule for their fields cannot treat them, because it says so.
    untreated,
    /// Device connections open now.
    connections,
    /// Device connections accepted in all.
    connections_total,
    /// Connections refused because there were as many as allowed.
    connections_refused,
    /// Connections ended because a client broke the protocol.
    malformed,
    /// Connections ended because nothing was heard in one and a half times the keep-alive, or no CONNECT in time.
    timeouts,
    /// Connections ended because the client did not read what was sent to it.
    not_reading,
    /// CONNECTs refused for their user name or password.
    not_authorized,
    /// Connections refused or ended because their client identifier is not listed.
    unlisted_client_id,
    /// Connections refused or ended because their user name is not listed.
    unlisted_user,
    /// Connections refused or ended because no name of their certificate is listed.
    unlisted_certificate,
    /// TLS handshakes that failed.
    tls_failed,
    /// Connections taken over by another with the same client id.
    taken_over,
    /// Lasting sessions kept now.
    sessions,
    /// Connections to brokers that are up now.
    brokers,
    /// Times a connection to a broker was made anew.
    broker_reconnects,
}
