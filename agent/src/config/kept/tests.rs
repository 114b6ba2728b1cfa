use super::*;
use crate::store::disk::OsDisk;
use crate::store::disk::simulated::SimulatedDisk;
use proptest::prelude::*;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::sync::Arc;

fn kept(text: &str) -> Kept {
    Kept { text: text.into(), source: "/etc/tidegate/tidegate.toml".into(), kept_ms: 1_795_500_000_000, trusted: true }
}

#[test]
fn what_is_kept_is_for_its_owner_alone_and_written_only_if_it_changed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    assert_eq!(read(&OsDisk, folder.path()).expect("nothing is no error"), None);
    assert!(write(&OsDisk, folder.path(), &kept("a = 1\n")).expect("it is written"));
    let about = || std::fs::metadata(file(folder.path())).expect("it is there");
    let (mode, inode) = (about().permissions().mode() & 0o777, about().ino());
    assert_eq!(mode, 0o600);
    let later = Kept { kept_ms: 9, trusted: false, ..kept("a = 1\n") };
    assert!(!write(&OsDisk, folder.path(), &later).expect("nothing to write"));
    assert_eq!(about().ino(), inode);
    let cut_off = folder.path().join(FOLDER).join(NEW);
    std::fs::write(&cut_off, "url = \"https://h/secret").expect("a file");
    assert!(!write(&OsDisk, folder.path(), &later).expect("nothing to write") && !cut_off.exists());
    assert!(write(&OsDisk, folder.path(), &kept("a = 2\n")).expect("it is written"));
    assert_ne!(about().ino(), inode);
    assert_eq!(read(&OsDisk, folder.path()).expect("it is whole"), Some(kept("a = 2\n")));
}

#[test]
fn what_is_kept_is_a_configuration_that_can_be_put_back() {
    let text = "[gateway]\nid = \"gw\"\n";
    let all = encode(&kept(text));
    let lines: Vec<&str> = all.lines().collect();
    assert!(lines[..2].iter().all(|line| line.starts_with("# ")), "{all}");
    assert!(all.ends_with(text));
    // What `printf a | sha256sum` says.
    assert!(fingerprint("a").starts_with("ca978112ca1bbdcafac231b39a23dc4d"));
}

#[test]
fn it_is_looked_for_where_a_person_says_then_where_systemd_says_then_in_the_store_then_in_the_default_place() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let source = folder.path().join("tidegate.toml");
    let of = |state: Option<&str>, systemd: Option<&str>| {
        Places::new(&source, state.map(Path::new), systemd.map(OsStr::new))
            .candidates()
            .iter()
            .map(|path| path.display().to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(of(None, None), [STATE], "the file is not there");
    // Cut in the middle of a line behind [store].
    std::fs::write(&source, "[store]\npath = \"/data/tidegate\"\n[forward.flux]\nkind = \"webh").expect("a file");
    assert_eq!(of(None, None), ["/data/tidegate", STATE]);
    assert_eq!(of(None, Some("/var/lib/private/a:/var/lib/b")), ["/var/lib/private/a", "/data/tidegate", STATE]);
    assert_eq!(of(Some("/x"), Some("/y")), ["/x", "/data/tidegate", STATE]);
    std::fs::write(&source, "").expect("a file");
    assert_eq!(of(None, None), [STATE], "the store's default is the same folder");
    let places = Places::new(Path::new("tidegate.toml"), None, None);
    assert!(places.source().is_absolute());
    assert_eq!(places.home(Path::new("/store")), Path::new("/store"));
}

#[test]
fn what_was_kept_of_another_file_or_is_damaged_is_not_used_and_said() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let places = Places::new(Path::new("/etc/tidegate/other.toml"), Some(folder.path()), None);
    write(&OsDisk, folder.path(), &kept("a = 1\n")).expect("it is written");
    let found = places.find(&OsDisk);
    assert!(found.kept.is_none());
    assert!(found.problems[0].to_string().contains("/etc/tidegate/tidegate.toml"), "{:?}", found.problems);
    let places = Places::new(Path::new("/etc/tidegate/tidegate.toml"), Some(folder.path()), None);
    assert_eq!(places.find(&OsDisk).kept, Some((kept("a = 1\n"), file(folder.path()))));
    let whole = std::fs::read(file(folder.path())).expect("it is there");
    for len in 0..whole.len() {
        std::fs::write(file(folder.path()), &whole[..len]).expect("a file");
        let found = places.find(&OsDisk);
        assert!(found.kept.is_none() && matches!(found.problems[..], [KeptError::Damaged { .. }]), "{len}: {found:?}");
    }
    std::fs::write(file(folder.path()), [0xff, 0xfe]).expect("a file");
    assert!(matches!(read(&OsDisk, folder.path()), Err(KeptError::Damaged { .. })));
}

proptest! {
    #[test]
    fn what_is_kept_reads_back_whatever_the_text_and_the_path(text in ".{0,300}", source in ".{1,40}", kept_ms: u64, trusted: bool) {
        let one = Kept { text, source, kept_ms, trusted };
        prop_assert_eq!(decode(&encode(&one)), Ok(one));
    }

    #[test]
    fn a_byte_that_is_changed_is_noticed(at in 0_usize..1000, change in 1_u8..128) {
        let mut bytes = encode(&kept("[gateway]\nid = \"gw-1\"\n")).into_bytes();
        let at = at % bytes.len();
        bytes[at] ^= change;
        if let Ok(text) = String::from_utf8(bytes) {
            prop_assert!(decode(&text).is_err());
        }
    }

    /// Wherever the power goes: the old one or the new one, as a whole, and the next keeping works.
    #[test]
    fn a_power_cut_leaves_the_old_one_or_the_new_one(seed: u64, calls in 0_u32..14) {
        let disk = SimulatedDisk::new();
        disk.seed(seed);
        let folder = Path::new("/store");
        let (old, new) = (kept("id = \"old\"\n"), kept("id = \"new, and longer\"\n"));
        disk.create_dir_all(folder).expect("a folder");
        disk.sync_dir(Path::new("/")).expect("synced");
        write(&disk, folder, &old).expect("the disk is fine");
        disk.die_after(calls);
        let answered = write(&disk, folder, &new);
        let after: Arc<dyn Disk> = Arc::new(disk.cut());
        let found = read(&*after, folder).expect("it is whole");
        match answered {
            Ok(_) => prop_assert_eq!(found, Some(new.clone())),
            Err(_) => prop_assert!(found == Some(old) || found == Some(new.clone()), "{:?}", found),
        }
        write(&*after, folder, &new).expect("the disk is fine");
        prop_assert_eq!(read(&*after, folder).expect("it is whole"), Some(new));
    }
}
