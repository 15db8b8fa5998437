//! The binary. Of its commands only `simulate` is wired up yet.

use std::process::ExitCode;

use cryptolens_exporter::cli::{self, Command};
use cryptolens_exporter::simulator::{self, SimulateArgs};

fn main() -> ExitCode {
    let cli = match cli::try_parse_from(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    match cli.command {
        Command::Simulate(args) => simulate(args),
        Command::Serve(_) | Command::Demo(_) | Command::Check(_) => ExitCode::from(2),
    }
}

#[tokio::main]
async fn simulate(args: SimulateArgs) -> ExitCode {
    match simulator::run(args, interrupted()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if this fails too.
            let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("error: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

/// Ready when somebody asks the process to end; never if that cannot be noticed.
async fn interrupted() {
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    let typed = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = terminated => {}
        () = typed => {}
    }
}
