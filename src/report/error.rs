//! Why there is no report, in the classes that decide the exit code and what to tell.

use std::io;
use std::path::PathBuf;

use crate::advice;
use crate::cryptolens::{ApiError, ClientError, Endpoint};
use crate::ledger::OpenError;

/// Why a report, audit or export was not made. No variant holds personal data or text from the API.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The command line asks for something that is impossible.
    #[error("{0}")]
    Usage(String),
    /// The client can't be set up.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The API refused, or still failed after several attempts.
    #[error("{}: {error}; {}", .endpoint.name(), advice::for_command(.error, *.endpoint))]
    Api {
        /// The method that was called.
        endpoint: Endpoint,
        /// Its answer.
        error: ApiError,
    },
    /// Pages that would leave rows out.
    #[error("{}: {fault}, so entries could be missing; nothing is shown", .endpoint.name())]
    Pages {
        /// The method that was called.
        endpoint: Endpoint,
        /// The fault of its pages.
        fault: PageFault,
    },
    /// The output can't be written.
    #[error("cannot write {}: {error}", .path.as_deref().map_or("to standard output".into(), |path| path.to_string_lossy()))]
    Write {
        /// None for standard output.
        path: Option<PathBuf>,
        /// The error of the operating system.
        error: io::Error,
    },
    /// An export stopped, and can be gone on with.
    #[error("{error}; what was exported is kept in {}, and --resume goes on after it", .path.display())]
    CutOff {
        /// The unfinished file.
        path: PathBuf,
        /// Why it stopped.
        error: Box<ReportError>,
    },
    /// The output that shall be gone on with can't be read.
    #[error("cannot resume from {}: {reason}", .path.display())]
    Resume {
        /// The file.
        path: PathBuf,
        /// Why not, and what to do.
        reason: String,
    },
    /// The report was written, and a condition of `--fail-on` holds.
    #[error("--fail-on={condition}: {headline}")]
    FailOn {
        /// The condition.
        condition: &'static str,
        /// The headline of the report, which names nobody.
        headline: String,
    },
    /// A reconciliation was written, and some of its differences have no explanation.
    #[error("{counts} {} without an explanation", if *.counts == 1 { "count differs" } else { "counts differ" })]
    Unexplained {
        /// How many counts differ so.
        counts: u64,
    },
    /// The ledger can't be read.
    #[error("{0}")]
    Ledger(#[from] OpenError),
    /// The ledger does not count what is to be compared.
    #[error("the ledger in {} counts no Web API Log of an account {account}", .directory.display())]
    NotInLedger {
        /// Where it is.
        directory: PathBuf,
        /// The name of the account.
        account: String,
    },
    /// A chart or table could not be drawn.
    #[error("could not draw: {0}")]
    Draw(String),
    /// The user asked to stop.
    #[error("interrupted before everything was read")]
    Interrupted,
}

/// A fault of the pages as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PageFault {
    /// Ids neither rise nor fall as asked.
    #[error("the entries are not in the order that was asked for")]
    Order,
    /// A page that is not empty and holds no id to go on from.
    #[error("no entry of a page has an id")]
    NoId,
}

impl ReportError {
    /// 2 for bad usage or configuration, 3 for a report that was written and a condition of
    /// `--fail-on` that holds or a difference without an explanation, 1 for what failed at run
    /// time.
    pub const fn exit_code(&self) -> u8 {
        match self {
            ReportError::Usage(_) | ReportError::Client(_) => 2,
            ReportError::FailOn { .. } | ReportError::Unexplained { .. } => 3,
            _ => 1,
        }
    }
}
