use super::*;
use proptest::prelude::*;

/// A root folder with these files.
fn root(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("there is room for a test");
    for (path, content) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("it can be made");
        std::fs::write(path, content).expect("it can be written");
    }
    folder
}

fn words(source: &Source, files: &[(&str, &[u8])]) -> Vec<String> {
    let identity = identity(source, root(files).path()).expect("it can be told").expect("a source is configured");
    identity.split(' ').map(str::to_owned).collect()
}

fn keys(files: &[(&str, &[u8])]) -> Vec<String> {
    words(&Source::Board, files).iter().filter_map(|word| Some(word.split_once('=')?.0.to_owned())).collect()
}

const TREE: &str = "sys/firmware/devicetree/base/serial-number";
const CPU: &str = "proc/cpuinfo";
const UUID: &str = "sys/class/dmi/id/product_uuid";

#[test]
fn a_source_is_written_as_it_is_read_and_nothing_else_is_one() {
    for text in ["board", "none", "network:eth0", "network:enx00e04c680001"] {
        assert_eq!(text.parse::<Source>().expect("it is one").to_string(), text);
    }
    assert_eq!(Source::default(), Source::Board);
    for text in ["", "Board", "cpu", "network", "eth0", "networks:eth0"] {
        assert_eq!(text.parse::<Source>(), Err(SourceError::Unknown(text.into())), "{text}");
    }
    for text in ["network:", "network:..", "network:a/b", "network:a b", "network:a=b", "network:sixteen-letters-"] {
        assert_eq!(text.parse::<Source>(), Err(SourceError::Interface(text.into())), "{text}");
    }
}

#[test]
fn each_number_of_a_board_has_a_key_of_its_own() {
    assert_eq!(keys(&[(TREE, b"10000000a1b2c3d4\0")]), ["board/device-tree"]);
    assert_eq!(keys(&[("proc/device-tree/serial-number", b"10000000a1b2c3d4\0")]), ["board/device-tree"]);
    let cpuinfo = b"processor\t: 0\nHardware\t: BCM2835\nSerial\t\t: 10000000a1b2c3d4\nModel\t\t: Raspberry Pi\n";
    assert_eq!(keys(&[(TREE, b"10000000a1b2c3d4\0"), (CPU, cpuinfo)]), ["board/device-tree", "board/cpu"]);
    let pc: &[(&str, &[u8])] = &[
        (UUID, b"4c4c4544-0042-3510-8054-b4c04f4d5932\n"),
        ("sys/class/dmi/id/board_serial", b"/7B5TMY2/CNFCW0088400B9/\n"),
        ("sys/class/dmi/id/product_serial", b"7B5TMY2\n"),
    ];
    assert_eq!(keys(pc), ["board/system-uuid", "board/baseboard", "board/system"]);
}

#[test]
fn a_fingerprint_is_the_same_for_the_same_number_and_shows_nothing_of_it() {
    let of = |number: &[u8]| words(&Source::Board, &[(TREE, number)]).remove(0);
    let one = of(b"10000000a1b2c3d4\0");
    assert_eq!(one, of(b"10000000A1B2C3D4\n"));
    assert_ne!(one, of(b"10000000a1b2c3d5\0"));
    let print = one.strip_prefix("board/device-tree=").expect("the key stands first");
    assert!(print.len() == 16 && print.bytes().all(|byte| byte.is_ascii_hexdigit()), "{print}");
    // It lies in stores: were it made otherwise, every gateway would take itself for another after an update.
    assert_eq!(one, "board/device-tree=b42e76609b3c4c3e");
}

#[test]
fn what_makers_leave_in_the_place_of_a_number_is_none() {
    let placeholders: &[&[u8]] = &[
        b"To be filled by O.E.M.\n",
        b"Default string\n",
        b"System Serial Number\n",
        b"Not Specified\n",
        b"00000000-0000-0000-0000-000000000000\n",
        b"ffffffff-ffff-ffff-ffff-ffffffffffff\n",
        b"03000200-0400-0500-0006-000700080009\n",
        b"0000000000000000\0",
        b"0123456789\n",
        b"123456789\n",
        b"None\n",
        b"........\n",
        b"abc\n",
        b" \n",
        b"",
    ];
    for text in placeholders {
        let found = identity(&Source::Board, root(&[(UUID, text), (TREE, text)]).path());
        assert!(matches!(found, Err(Unknown::Board)), "{:?}: {found:?}", String::from_utf8_lossy(text));
    }
    assert!(matches!(identity(&Source::Board, root(&[]).path()), Err(Unknown::Board)));
    let long = "ab".repeat(LONGEST);
    assert!(matches!(identity(&Source::Board, root(&[(TREE, long.as_bytes())]).path()), Err(Unknown::Board)));
}

fn interface(address: &str, assigned: &str) -> Result<Option<String>, Unknown> {
    let files: [(&str, &[u8]); 2] = [
        ("sys/class/net/eth0/address", address.as_bytes()),
        ("sys/class/net/eth0/addr_assign_type", assigned.as_bytes()),
    ];
    identity(&Source::Network("eth0".into()), root(&files).path())
}

#[test]
fn only_an_address_that_its_maker_gave_tells_the_hardware() {
    let told = interface("dc:a6:32:01:02:03\n", "0\n").expect("it is a maker's").expect("a source is configured");
    assert!(told.starts_with("network/eth0="), "{told}");
    assert_eq!(Some(told), interface("DC:A6:32:01:02:03\n", "0\n").expect("case says nothing"));
    for (address, assigned) in [
        ("dc:a6:32:01:02:03", "1"),
        ("dc:a6:32:01:02:03", "2"),
        ("dc:a6:32:01:02:03", "3"),
        ("de:a6:32:01:02:03", "0"),
        ("01:00:5e:01:02:03", "0"),
        ("00:00:00:00:00:00", "0"),
        ("ff:ff:ff:ff:ff:ff", "0"),
        ("dc:a6:32:01:02", "0"),
        ("dc:a6:32:01:02:03:04", "0"),
        ("dc:a6:32:01:02:+3", "0"),
        ("", "0"),
    ] {
        assert!(matches!(interface(address, assigned), Err(Unknown::Address { .. })), "{address} {assigned}");
    }
    let absent = identity(&Source::Network("eth0".into()), root(&[]).path());
    assert!(matches!(absent, Err(Unknown::Interface { .. })), "{absent:?}");
}

#[test]
fn no_source_asks_nothing() {
    assert_eq!(identity(&Source::None, Path::new("/nowhere")).expect("nothing is read"), None);
}

proptest! {
    #[test]
    fn whatever_the_files_hold_it_is_words_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let cpuinfo = [b"Serial\t: ", &bytes[..]].concat();
        if let Ok(told) = identity(&Source::Board, root(&[(TREE, &bytes), (CPU, &cpuinfo), (UUID, &bytes)]).path()) {
            for word in told.expect("a source is configured").split(' ') {
                let (key, print) = word.split_once('=').expect("a key and a fingerprint");
                prop_assert!(key.starts_with("board/") && print.len() == 16, "{word}");
            }
        }
    }
}

#[test]
fn what_cannot_be_told_is_logged_once_for_each_cause() {
    let last = Mutex::new(None);
    let asked = ["no serial number", "no serial number", "eth0 is gone", "eth0 is gone", "no serial number"];
    let logged: Vec<bool> = asked.iter().map(|cause| is_news(&last, (*cause).to_owned())).collect();
    assert_eq!(logged, [true, false, true, false, true]);
}
