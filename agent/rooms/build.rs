//! Packs the texts that the program carries for people into one compressed file, `texts.z`: the catalogue of the Japanese and
//! the pages of codes, 410 kB that a gateway needs seldom, and an update over a SIM always. `agent/src/texts.rs` reads it.
//!
//! ```text
//! zlib( *( name " " bytes "\n" text ) )
//! ```

use std::io::Write as _;
use std::path::Path;
use std::{env, fs};

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    for (folder, ending) in [("agent/src/language/ja", "toml"), ("docs/errors", "md")] {
        let folder = root.join(folder);
        println!("cargo::rerun-if-changed={}", folder.display());
        let entries = fs::read_dir(&folder).expect("the source is there");
        let mut files: Vec<_> = entries.map(|entry| entry.expect("a file of the source").path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == ending));
        // Sorted, so that the same source makes the same program.
        files.sort();
        for file in files {
            println!("cargo::rerun-if-changed={}", file.display());
            let text = fs::read_to_string(&file).expect("a text of the source");
            let name = file.file_name().and_then(|name| name.to_str()).expect("a plain name");
            write!(packed, "{name} {}\n{text}", text.len()).expect("memory takes it");
        }
    }
    let packed = packed.finish().expect("memory takes it");
    let out = env::var_os("OUT_DIR").expect("Cargo names it");
    fs::write(Path::new(&out).join("texts.z"), packed).expect("the build's own folder can be written");
}
