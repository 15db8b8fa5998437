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
    // `HEAD` itself changes only when another branch is checked out; the file of the branch moves with
    // each commit. Git says where they are, as a linked work tree has its own `HEAD`.
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD".to_owned()].into_iter().chain(branch) {
        // Naming a file that does not exist would run this script on every build.
        if let Some(path) = git(&["rev-parse", "--git-path", &name]).filter(|path| Path::new(path).exists()) {
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

fn commit_from_git() -> Option<String> {
    git(&["rev-parse", "--short", "HEAD"])
}

/// What git answers about the repository of this folder.
fn git(arguments: &[&str]) -> Option<String> {
    // Without this an unpacked archive inside somebody else's repository would report that
    // repository's commit.
    if !Path::new(".git").exists() {
        return None;
    }
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
