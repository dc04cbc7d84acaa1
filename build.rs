//! What cargo does not see by itself: the files that are compiled in, and how the program is laid out.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    // A new migration must rebuild the binary that holds it.
    for held in ["migrations", "templates", "scripts", ORDER] {
        println!("cargo::rerun-if-changed={held}");
    }
    lay_out();
}

/// Functions that a server runs, as `.cargo/record-order` found them.
const ORDER: &str = ".cargo/order.txt";

/// Puts what a server runs next to each other. A system reads a program in pieces of 64 KiB around each function that is
/// called, so what is scattered keeps most of the program in memory: ten megabytes that no gateway ever runs.
///
/// It is for the linker that comes with the compiler; where another one is wanted, the program is laid out as it comes.
fn lay_out() {
    let env = |name: &str| std::env::var(name).unwrap_or_default();
    let released = env("PROFILE") == "release" && env("TARGET") == env("HOST");
    let own_linker = !env("RUSTC_LINKER").is_empty() || env("CARGO_ENCODED_RUSTFLAGS").contains("link");
    let order = Path::new(&env("CARGO_MANIFEST_DIR")).join(ORDER);
    if !released || own_linker || !order.exists() {
        return;
    }
    let Some(lld) = lld(&env("RUSTC"), &env("HOST")) else { return };
    println!("cargo::rustc-link-arg-bins=-B{}", lld.display());
    println!("cargo::rustc-link-arg-bins=-fuse-ld=lld");
    println!("cargo::rustc-link-arg-bins=-Wl,--symbol-ordering-file={},--no-warn-symbol-ordering", order.display());
}

/// The folder of the compiler's own linker.
fn lld(rustc: &str, host: &str) -> Option<PathBuf> {
    let sysroot = Command::new(rustc).args(["--print", "sysroot"]).output().ok()?;
    let sysroot = PathBuf::from(String::from_utf8(sysroot.stdout).ok()?.trim());
    let folder = sysroot.join("lib/rustlib").join(host).join("bin/gcc-ld");
    (host.contains("linux") && folder.join("ld.lld").exists()).then_some(folder)
}
