//! Log lines: to standard error, one per event, as logfmt or JSON.
//!
//! Promises: libraries are not heard, so that none of them can put a request, and with it a token, into a line, or repeat at
//! its own pace what is told once here.

use tracing::Level;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{LogFormat, LogSettings};

/// From now on, events become lines. Has no effect the second time.
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
    // The first one stays; whoever set it up knows better.
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
}
