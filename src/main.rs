//! The binary. Its commands are not wired up yet.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(2)
}
