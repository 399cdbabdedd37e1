//! Tells cargo that the migrations are part of the program: a new file there must be compiled in.

fn main() {
    println!("cargo:rerun-if-changed=src/migrations");
    println!("cargo:rerun-if-changed=src/gateway/migrations");
}
