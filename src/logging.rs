//! Log lines: to standard error, one per event, as logfmt or JSON.
//!
//! Promises: libraries write no lines, so that none of them can put a request, and with it a token,
//! into one, or repeat what the exporter logs once.

use tracing::Level;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Severity and format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogSettings {
    /// Least severity.
    pub level: LogLevel,
    /// Format of a line.
    pub format: LogFormat,
}

/// Least severity to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// An operator must act.
    Error,
    /// Something is wrong, and nothing is lost.
    Warn,
    /// Each step of the exporter.
    #[default]
    Info,
    /// Each request.
    Debug,
    /// Everything.
    Trace,
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// `key=value` pairs.
    #[default]
    Logfmt,
    /// One JSON object per line.
    Json,
}

/// Starts to write events as lines. Has no effect the second time.
pub fn start(settings: LogSettings) {
    let level = LevelFilter::from_level(Level::from(settings.level));
    let filter = Targets::new().with_target("cryptolens_exporter", level);
    let layer = match settings.format {
        LogFormat::Logfmt => tracing_logfmt::builder().layer().with_writer(std::io::stderr).boxed(),
        LogFormat::Json => tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_writer(std::io::stderr)
            .boxed(),
    };
    // A subscriber that is there already stays: a test may have set it up.
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
}
