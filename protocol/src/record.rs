//! The record: one publish, as it is named and described everywhere else.
//!
//! A record's id is `(gateway, epoch, lane, seq)`. `epoch` is a short random string drawn when a store is created,
//! and again whenever the highest `seq` used cannot be proved. `seq` counts up by one within a lane. No id that was
//! ever acknowledged to a device or sent to Flux names two records.

/// First value that `seq` may not reach: sequence numbers stay below 2^53 so that a flow that reads them as
/// IEEE 754 doubles, as every JavaScript runtime does, still sees each of them exactly.
pub const SEQ_LIMIT: u64 = 1 << 53;

/// A lane by its place in the configured list, 0 being the first to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub u8);

impl LaneId {
    /// The place in the configured list of lanes.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Where a record's time comes from: gateways have no clock battery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeSource {
    /// The gateway's clock was synchronised when the record was received. Not said in the event.
    #[default]
    Synchronised,
    /// The clock was synchronised later in the same boot, and the time worked out from that.
    Corrected,
    /// By a clock that was not synchronised; it may be years off.
    Unsynchronised,
}

/// A committed record, borrowed from the buffer it was read into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// The gateway that stored it (`[gateway] id`).
    pub gateway: &'a str,
    /// The store's epoch when it was written.
    pub epoch: &'a str,
    /// The lane's name.
    pub lane: &'a str,
    /// Its number within the lane, counting up by one, below [`SEQ_LIMIT`].
    pub seq: u64,
    /// The device as the topic rule named it.
    pub device: &'a str,
    /// The MQTT topic it was published on.
    pub topic: &'a str,
    /// When it was received: milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// How far that time can be believed.
    pub time_source: TimeSource,
    /// The publish's payload, byte for byte.
    pub payload: &'a [u8],
}
