//! The binary. Its other commands are not wired up yet.

use std::io::Write as _;
use std::process::ExitCode;

use cryptolens_exporter::cli::{self, Command};
use cryptolens_exporter::report::{self, ReportError, Task};

#[tokio::main]
async fn main() -> ExitCode {
    let cli = cli::try_parse_from(std::env::args_os()).unwrap_or_else(|error| error.exit());
    let done: Result<(), ReportError> = match cli.command {
        Command::Report(args) => report::run(Task::Report(args)).await,
        Command::Audit(args) => report::run(Task::Audit(args)).await,
        Command::Export(args) => report::run(Task::Export(args)).await,
        _ => return ExitCode::from(2),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody reads a closed standard error.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
