//! The binary: parses, runs, and maps errors to exit codes: 0 ok, 1 failed at run time, 2 bad usage
//! or configuration.

use std::io::Write as _;
use std::process::ExitCode;

use cryptolens_exporter::cli::{self, CommandLine};
use cryptolens_exporter::commands::{self, CommandFailure};
use cryptolens_exporter::config::setting::CommandName;
use cryptolens_exporter::config::table;
use cryptolens_exporter::cryptolens::token;

/// That of musl has one lock for all threads. `.cargo/config.toml` has the settings of this one.
#[cfg(all(target_env = "musl", target_arch = "x86_64"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Failed at run time.
const FAILED: u8 = 1;
/// Bad usage.
const BAD_USAGE: u8 = 2;

fn main() -> ExitCode {
    // The memory of this process holds tokens, and a core file is as readable as its directory.
    // A system that cannot do it leaves no other way.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    let typed = match cli::parse(std::env::args_os()) {
        Ok(CommandLine::Run(typed)) => typed,
        Ok(CommandLine::Print(page)) => return print(&page),
        Err(error) => return refused(&error),
    };
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if typed.name == CommandName::Serve {
        // Work that takes long runs on threads of its own. To hand each piece of an answer from
        // thread to thread would only make catching up a tenth slower.
        builder.worker_threads(1);
    }
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let text = format!("cannot start the runtime: {error}");
            return end(&CommandFailure { code: FAILED, text, logged: false });
        }
    };
    let result = runtime.block_on(commands::run(typed.name, &typed.flags));
    // Nothing that is still running is worth waiting for.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => end(&failure),
    }
}

fn print(page: &[u8]) -> ExitCode {
    match std::io::stdout().write_all(page) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = format!("cannot write to standard output: {error}");
            end(&CommandFailure { code: FAILED, text, logged: false })
        }
    }
}

/// Says what is wrong with the command line, or prints the page that was asked for (`--help`).
fn refused(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    let redacted = without_tokens(&text);
    if redacted == text {
        error.exit();
    }
    let _ = write!(std::io::stderr(), "{redacted}");
    ExitCode::from(BAD_USAGE)
}

/// The text without any token, also where it was typed in the wrong place.
fn without_tokens(text: &str) -> String {
    // A token that the rules do not recognise is at least known.
    let own = std::env::var(table::TOKEN.variable).ok().filter(|token| token.trim().len() >= 8);
    let text = own.map_or_else(|| text.to_owned(), |own| text.replace(own.trim(), "(not shown)"));
    token::redact(&text).into_owned()
}

fn end(failure: &CommandFailure) -> ExitCode {
    let text = without_tokens(&failure.text);
    if failure.logged {
        tracing::error!(error = text, "ended");
    } else {
        // Nobody reads it if this fails too.
        let _ = writeln!(std::io::stderr(), "error: {text}");
    }
    ExitCode::from(failure.code)
}
