//! What the kernel says a process has used.

use std::time::Duration;

/// What a process has used up to now.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// User and system time, all its threads.
    pub cpu: Duration,
    /// Highest resident memory so far, in KiB (`VmHWM`).
    pub peak_kib: u64,
    /// Resident memory now, in KiB (`VmRSS`).
    pub resident_kib: u64,
    /// Bytes it caused to be written to storage (`write_bytes` of `/proc/PID/io`: page-cache pages made dirty, whole
    /// pages each time, so it is an upper figure for small appends).
    pub written: u64,
}

impl Usage {
    /// Reads it; `None` if there is no such process.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // Fields 14 and 15, counted after the command name, which may hold spaces but ends with the last bracket.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        let io = std::fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
        let written = io.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.trim().parse().ok()?;
        Some(Self {
            cpu: Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()),
            peak_kib: proc_status_kib(pid, "VmHWM")?,
            resident_kib: proc_status_kib(pid, "VmRSS")?,
            written,
        })
    }

    /// What was used since `before`; memory is as it is now.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self { cpu: self.cpu.saturating_sub(before.cpu), written: self.written.saturating_sub(before.written), ..*self }
    }
}

/// A figure in KiB from `/proc/PID/status`, such as `VmRSS` or `VmHWM`.
#[must_use]
pub fn proc_status_kib(pid: u32, field: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find(|line| line.split(':').next() == Some(field))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
