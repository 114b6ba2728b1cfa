//! The user that the service runs as: what may be read and written is judged as that user, not as the one who checks.
//!
//! # How it works
//! It is the user of the process that answers on the control socket, else the one that the unit names, else `tidegate` if there
//! is such a user, else whoever checks. Root becomes that user on a thread of its own, and on it alone: on Linux ids belong to
//! threads (credentials(7)), so nothing need be started and nothing has to be changed back. What the unit's sandbox keeps the
//! service from is judged besides ([`super::sandbox`]): no thread can enter that.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use tidegate::watch::Status;

use super::sandbox::{Sandbox, Setting};
use super::unit::Unit;

/// Groups of a user that are taken over at most (`NGROUPS_MAX` is 65,536; a service has a handful).
const GROUPS: usize = 64;

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::command) struct Runner {
    /// Its name, or its number where it has none.
    pub(in crate::command) name: String,
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    /// What its unit keeps it from besides.
    pub(in crate::command) sandbox: Option<Sandbox>,
}

impl Runner {
    /// Finds out who runs, or would run, the service.
    pub(in crate::command) fn find(unit: &Unit, service: Option<&Status>) -> Self {
        let running = service.and_then(|status| std::fs::metadata(format!("/proc/{}", status.pid)).ok());
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let group = std::fs::read_to_string("/etc/group").unwrap_or_default();
        let own =
            || Self::of_ids(&passwd, &group, rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        if let Some(process) = running {
            return Self::of_ids(&passwd, &group, process.uid(), process.gid());
        }
        let named = unit.user().or(Some("tidegate")).and_then(|name| Self::of_name(&passwd, &group, name));
        named.unwrap_or_else(own)
    }

    /// The same user in the unit's sandbox.
    pub(in crate::command) fn within(self, sandbox: Option<Sandbox>) -> Self {
        Self { sandbox, ..self }
    }

    fn of_name(passwd: &str, group: &str, name: &str) -> Option<Self> {
        let fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == name)?;
        let (uid, gid) = (fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?);
        Some(Self { name: name.to_owned(), uid, gid, groups: groups_of(group, name, gid), sandbox: None })
    }

    fn of_ids(passwd: &str, group: &str, uid: u32, gid: u32) -> Self {
        let number = uid.to_string();
        let named = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let name =
            named.into_iter().find(|fields| fields.get(2) == Some(&number.as_str())).map(|fields| fields[0].to_owned());
        let groups = name.as_deref().map_or_else(|| vec![gid], |name| groups_of(group, name, gid));
        Self { name: name.unwrap_or(number), uid, gid, groups, sandbox: None }
    }

    /// Its user and group.
    pub(in crate::command) fn ids(&self) -> (u32, u32) {
        (self.uid, self.gid)
    }

    /// What the unit hides a path with, if it does.
    pub(in crate::command) fn hides(&self, path: &Path) -> Option<Setting> {
        self.sandbox.as_ref().and_then(|sandbox| sandbox.hides(path))
    }

    /// Does something as this user; `None` if that is not possible.
    pub(in crate::command) fn act<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Option<T> {
        let me = rustix::process::geteuid();
        if me.as_raw() == self.uid {
            return Some(work());
        }
        if !me.is_root() {
            return None;
        }
        let on_thread = || -> Option<T> {
            let groups: Vec<Gid> = self.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
            set_thread_groups(&groups).ok()?;
            let (gid, uid) = (Gid::from_raw(self.gid), Uid::from_raw(self.uid));
            set_thread_res_gid(gid, gid, gid).ok()?;
            // Last: without root's id the others cannot be set. It takes root's capabilities away, too (capabilities(7)).
            set_thread_res_uid(uid, uid, uid).ok()?;
            Some(work())
        };
        std::thread::scope(|scope| scope.spawn(on_thread).join().ok().flatten())
    }
}

fn groups_of(group: &str, name: &str, gid: u32) -> Vec<u32> {
    let of_line = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let number = fields.get(2)?.parse().ok()?;
        fields.get(3)?.split(',').any(|member| member == name).then_some(number)
    };
    std::iter::once(gid).chain(group.lines().filter_map(of_line)).take(GROUPS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\ntidegate:x:990:991:Tidegate:/:/usr/sbin/nologin\n";
    const GROUP: &str = "root:x:0:\ngpio:x:997:pi,tidegate\ntidegate:x:991:\ndialout:x:20:pi\n";

    #[test]
    fn a_user_is_found_by_name_and_by_number_with_its_groups() {
        let runner = Runner { name: "tidegate".into(), uid: 990, gid: 991, groups: vec![991, 997], sandbox: None };
        assert_eq!(Runner::of_name(PASSWD, GROUP, "tidegate"), Some(runner.clone()));
        assert_eq!(Runner::of_ids(PASSWD, GROUP, 990, 991), runner);
        assert_eq!(Runner::of_name(PASSWD, GROUP, "nobody"), None);
        assert_eq!(Runner::of_name(PASSWD, GROUP, "broken"), None);
        let unnamed = Runner::of_ids(PASSWD, GROUP, 4000, 5);
        assert_eq!((unnamed.name.as_str(), unnamed.groups), ("4000", vec![5]));
    }

    #[test]
    fn what_root_does_as_somebody_else_is_done_by_them_and_root_stays_root() {
        let me = rustix::process::geteuid();
        let other = Runner { name: "4000".into(), uid: 4000, gid: 4000, groups: vec![4000], sandbox: None };
        if !me.is_root() {
            assert_eq!(other.act(|| ()), None);
            return;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("of-root");
        std::fs::write(&file, "x").expect("a file");
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("mode");
        let read = other.act(|| std::fs::read(&file).map_err(|error| error.kind()));
        assert_eq!(read, Some(Err(std::io::ErrorKind::PermissionDenied)));
        assert!(std::fs::read(&file).is_ok() && rustix::process::geteuid().is_root());
    }
}
