//! What is built for other machines: `cross.toml`, the README's table and `systemd/build-deb` name the same targets.
//!
//! `cross` itself needs containers and is not run here. Its file is therefore read as `cross` 0.2.5 reads it: by the keys of
//! its `docs/cross_toml.md`. A key that it does not know it only warns of, and here is an error.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

/// `cross.toml`, with the keys that cross 0.2.5 documents and that this project uses.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CrossToml {
    build: Build,
    target: BTreeMap<String, Target>,
}

/// `[build]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Build {
    default_target: String,
}

/// `[target.TRIPLE]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Target {
    runner: Runner,
}

/// The runners there are; cross itself takes any text and fails in the container.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Runner {
    Native,
    QemuUser,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are in the workspace").to_owned()
}

#[track_caller]
fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("cannot read {path}: {error}"))
}

#[track_caller]
fn cross_toml() -> CrossToml {
    toml::from_str(&read("cross.toml")).unwrap_or_else(|error| panic!("cross.toml: {error}"))
}

/// The first column of the README's table.
#[track_caller]
fn readme_targets() -> BTreeSet<String> {
    let readme = read("README.md");
    let section = readme.split("## Build for a gateway\n").nth(1).expect("the README has a section for it");
    let section = section.split("\n## ").next().expect("a section ends");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    rows.map(str::to_owned).collect()
}

#[test]
fn cross_toml_has_exactly_the_targets_that_the_readme_names() {
    let cross = cross_toml();
    let targets: BTreeSet<String> = cross.target.keys().cloned().collect();
    assert!(targets.len() >= 8, "{targets:?}");
    assert_eq!(targets, readme_targets());
    assert!(targets.contains(&cross.build.default_target), "{} is none of them", cross.build.default_target);
    for (name, target) in &cross.target {
        let native = name.starts_with("x86_64-");
        assert_eq!(target.runner, if native { Runner::Native } else { Runner::QemuUser }, "{name}");
    }
}

#[test]
fn every_target_is_one_that_the_compiler_knows() {
    let output =
        Command::new("rustc").args(["--print", "target-list"]).output().expect("rustc is there: it built this");
    let known = String::from_utf8(output.stdout).expect("targets are ASCII");
    let known: BTreeSet<&str> = known.lines().collect();
    for name in cross_toml().target.keys() {
        assert!(known.contains(name.as_str()), "{name} is no target of this compiler");
    }
}

#[test]
fn the_debian_packages_are_built_for_targets_that_cross_toml_has_too() {
    let cross = cross_toml();
    let script = read("systemd/build-deb");
    let function = script.split("rust_name() {").nth(1).and_then(|rest| rest.split('}').next());
    let function = function.expect("build-deb says what Rust calls an architecture");
    let named: BTreeSet<&str> =
        function.lines().filter_map(|line| line.split("echo ").nth(1)?.split(' ').next()).collect();
    let expected = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "armv7-unknown-linux-gnueabihf"];
    assert_eq!(named, BTreeSet::from(expected));
    assert!(expected.iter().all(|target| cross.target.contains_key(*target)));
}

#[test]
fn build_deb_refuses_an_architecture_that_it_does_not_build() {
    let output = Command::new(root().join("systemd/build-deb")).arg("armel").output().expect("bash is there");
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("armel") && error.contains("armhf"), "{error}");
}
