//! The binary: parses, runs, and maps errors to exit codes: 0 ok, 1 failed at run time, 2 bad usage or configuration.

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use cryptolens_exporter::cli::{self, CheckArgs, Command, DemoArgs, ServeArgs};
use cryptolens_exporter::commands::{check, demo, healthcheck};
use cryptolens_exporter::config::{self, LogFormat, LogSettings, SystemEnvironment};
use cryptolens_exporter::cryptolens::token;
use cryptolens_exporter::report::{self, Task};
use cryptolens_exporter::{daemon, logging};

/// Failed at run time.
const FAILED: u8 = 1;
/// Bad usage or configuration.
const BAD: u8 = 2;

/// What to say, and the exit code.
struct Failure {
    code: u8,
    text: String,
    /// True to say it as a line of the log, which has been set up.
    logged: bool,
}

impl Failure {
    fn bad(error: impl Display) -> Failure {
        Failure { code: BAD, text: error.to_string(), logged: false }
    }

    fn failed(error: impl Display) -> Failure {
        Failure { code: FAILED, text: error.to_string(), logged: false }
    }

    /// Of what runs on and logs: who reads its standard error reads lines of the log.
    fn logged(error: impl Display) -> Failure {
        Failure { logged: true, ..Failure::failed(error) }
    }

    /// Of what answers once and seldom logs: a plain line for people, unless lines for machines are wanted.
    fn once(error: impl Display, log: LogSettings) -> Failure {
        Failure { logged: log.format == LogFormat::Json, ..Failure::failed(error) }
    }
}

fn main() -> ExitCode {
    // The memory of this process holds tokens, and a core file is as readable as its directory.
    // Where the system cannot do without, it cannot be helped.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    let cli = match cli::try_parse_from(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return refused(&error),
    };
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Command::Serve(_) = cli.command {
        // Whatever takes long is done aside. Handing each piece of an answer from thread to thread would only make catching
        // up a tenth slower.
        builder.worker_threads(1);
    }
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return end(&Failure::failed(format_args!("cannot start the runtime: {error}"))),
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Serve(args) => serve(args).await,
            Command::Demo(args) => demo(args).await,
            Command::Check(args) => check(args).await,
            Command::Report(args) => report(Task::Report(args)).await,
            Command::Audit(args) => report(Task::Audit(args)).await,
            Command::Export(args) => report(Task::Export(args)).await,
            Command::Healthcheck(args) => healthcheck::run(args).await.map_err(Failure::failed),
            Command::Simulate(args) => {
                cryptolens_simulator::run(args, daemon::told_to_end()).await.map_err(Failure::failed)
            }
        }
    });
    // Nothing that is still running is worth waiting for.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => end(&failure),
    }
}

/// Says what is wrong with what was typed, or what was asked for (`--help`).
fn refused(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    let redacted = without_tokens(&text);
    if redacted == text {
        error.exit();
    }
    let _ = write!(std::io::stderr(), "{redacted}");
    ExitCode::from(BAD)
}

/// What may be repeated of what was typed.
fn without_tokens(text: &str) -> String {
    // One that the rules do not recognise is at least known.
    let own = std::env::var(cli::TOKEN_VARIABLE).ok().filter(|token| token.trim().len() >= 8);
    let text = own.map_or_else(|| text.to_owned(), |own| text.replace(own.trim(), "(not shown)"));
    token::redact(&text).into_owned()
}

fn end(failure: &Failure) -> ExitCode {
    let text = without_tokens(&failure.text);
    if failure.logged {
        tracing::error!(error = text, "ended");
    } else {
        // Nobody is left to tell if this fails too.
        let _ = writeln!(std::io::stderr(), "error: {text}");
    }
    ExitCode::from(failure.code)
}

async fn serve(args: ServeArgs) -> Result<(), Failure> {
    let settings = config::load(&args, &SystemEnvironment).map_err(Failure::bad)?;
    logging::start(settings.log);
    daemon::run(settings, || config::load(&args, &SystemEnvironment)).await.map_err(Failure::logged)
}

async fn demo(args: DemoArgs) -> Result<(), Failure> {
    let settings = config::load_demo(&args, &SystemEnvironment).map_err(Failure::bad)?;
    logging::start(settings.log);
    demo::run(settings).await.map_err(Failure::logged)
}

async fn report(task: Task) -> Result<(), Failure> {
    report::run(task, daemon::told_to_end())
        .await
        .map_err(|error| Failure { code: error.exit_code(), ..Failure::failed(error) })
}

async fn check(args: CheckArgs) -> Result<(), Failure> {
    let settings = config::load(&args.serve, &SystemEnvironment).map_err(Failure::bad)?;
    logging::start(settings.log);
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let mut output = std::io::stdout();
    if args.config_only {
        let _ = writeln!(output, "the configuration is valid");
        return Ok(());
    }
    let findings = check::run(&settings).await.map_err(|error| Failure::once(error, settings.log))?;
    let _ = output.write_all(findings.table().as_bytes());
    if findings.all_well() {
        Ok(())
    } else {
        Err(Failure::once("not everything works; see the table", settings.log))
    }
}
