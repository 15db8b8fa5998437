//! Hands the commit of the source tree to `--version`, as `CRYPTOLENS_BUILD_COMMIT`.
//!
//! A build without git or outside a repository (a source archive, a container image) still
//! succeeds: it takes
//! `CRYPTOLENS_BUILD_COMMIT` from the builder's environment if set there, and says "unknown" otherwise.
#![allow(clippy::print_stdout, reason = "a build script talks to cargo through standard output")]

use std::path::Path;
use std::process::Command;

const VARIABLE: &str = "CRYPTOLENS_BUILD_COMMIT";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={VARIABLE}");
    // Naming a file that does not exist would run this script on every build.
    for path in ["HEAD".to_owned()].into_iter().chain(branch_file()) {
        let path = format!(".git/{path}");
        if Path::new(&path).exists() {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    let commit = std::env::var(VARIABLE)
        .ok()
        .filter(|commit| !commit.trim().is_empty())
        .or_else(commit_from_git)
        .unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env={VARIABLE}={}", commit.trim());
}

/// The file that moves with each commit; `HEAD` itself changes only when another branch is checked out.
fn branch_file() -> Option<String> {
    let head = std::fs::read_to_string(".git/HEAD").ok()?;
    Some(head.strip_prefix("ref: ")?.trim().to_owned())
}

fn commit_from_git() -> Option<String> {
    // Without this an unpacked archive inside somebody else's repository would report that
    // repository's commit.
    if !Path::new(".git").exists() {
        return None;
    }
    let output = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output().ok()?;
    let commit = String::from_utf8(output.stdout).ok()?;
    let usable = output.status.success() && !commit.trim().is_empty();
    usable.then_some(commit)
}
