//! Names the shared library by the version of its ABI, so that a program never meets another one than it was built for.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libcounterfoil_sdk.so.1");
    }
}
