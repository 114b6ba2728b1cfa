//! What everybody on a machine may do with a file, by its mode.

/// What users other than a file's owner and its group may do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposed {
    /// See what is in it.
    Read,
    /// Put something else into it.
    Change,
    /// Both.
    Both,
}

impl Exposed {
    /// By a file's mode (`st_mode` of stat(2)); `None`: nothing.
    pub fn of(mode: u32) -> Option<Self> {
        match (mode & 0o004 != 0, mode & 0o002 != 0) {
            (false, false) => None,
            (true, false) => Some(Self::Read),
            (false, true) => Some(Self::Change),
            (true, true) => Some(Self::Both),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_others_may_do_counts() {
        for (mode, exposed) in [
            (0o100_640, None),
            (0o771, None),
            (0o644, Some(Exposed::Read)),
            (0o602, Some(Exposed::Change)),
            (0o100_666, Some(Exposed::Both)),
        ] {
            assert_eq!(Exposed::of(mode), exposed, "{mode:o}");
        }
    }
}
