//! Hands the linker the order in which the functions lie in the program, where the environment names one (`TIDEGATE_ORDER`, a
//! linker script): `systemd/build-deb` does, and what it is worth says `systemd/order`. It is here so that Cargo links anew
//! when that file has changed, and compiles nothing else anew. Without it, as in every other build, this does nothing: not each
//! linker takes such a script (mold takes none).
#![forbid(unsafe_code)]

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=TIDEGATE_ORDER");
    if let Ok(order) = std::env::var("TIDEGATE_ORDER") {
        println!("cargo::rerun-if-changed={order}");
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{order}");
    }
}
