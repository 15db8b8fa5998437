//! How far reading has come, for somebody who waits at a terminal, in one line of 80 columns. Quiet
//! where standard error is none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::text::{counted, thousands};
use super::window::{Window, local};
use super::zone::Zone;

/// Cloning shares the line.
#[derive(Clone)]
pub(crate) struct Progress {
    bar: ProgressBar,
    window: Option<Window>,
    zone: Zone,
    rows: Arc<AtomicU64>,
    since: Instant,
}

impl Progress {
    /// For reading all of `window`; without one there is no end to measure by.
    pub(crate) fn new(log: &str, window: Option<Window>, zone: Zone) -> Progress {
        let (bar, template) = match window {
            Some(window) => {
                let length = u64::try_from(window.seconds()).unwrap_or(0);
                (ProgressBar::new(length), "{spinner} {prefix} [{bar:12}] {msg}")
            }
            None => (ProgressBar::new_spinner(), "{spinner} {prefix} {msg}"),
        };
        // indicatif itself shows nothing where standard error is no terminal.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(log.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        Progress { bar, window, zone, rows: Arc::default(), since: Instant::now() }
    }

    /// For a reading that nobody waits for.
    pub(crate) fn hidden() -> Progress {
        let bar = ProgressBar::hidden();
        Progress { bar, window: None, zone: Zone::UTC, rows: Arc::default(), since: Instant::now() }
    }

    /// A page was read on the way back to the beginning of the window, down to `time`.
    pub(super) fn back(&self, rows: usize, time: Option<i64>) {
        let done = self.window.zip(time).map(|(window, time)| window.to.saturating_sub(time));
        self.read(rows, time, done);
    }

    /// A page was read on the way to the end of the window, up to `time`.
    pub(crate) fn forward(&self, rows: usize, time: Option<i64>) {
        let done = self.window.zip(time).map(|(window, time)| time.saturating_sub(window.from));
        self.read(rows, time, done);
    }

    fn read(&self, rows: usize, time: Option<i64>, done: Option<i64>) {
        let new = u64::try_from(rows).unwrap_or(0);
        let rows = self.rows.fetch_add(new, Ordering::Relaxed) + new;
        if let (Some(done), Some(length)) = (done, self.bar.length()) {
            self.bar.set_position(u64::try_from(done).unwrap_or(0).min(length));
        }
        let millis = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = thousands(rows.saturating_mul(1000) / millis);
        let minute = |time| local(time, self.zone).format(", at %Y-%m-%d %H:%M").to_string();
        let at = time.map(minute).unwrap_or_default();
        self.bar.set_message(format!("{}, {rate}/s{at}", counted(rows, "entry", "entries")));
    }

    /// Something that whoever waits should know now.
    pub(super) fn note(&self, text: &str) {
        self.bar.println(text);
    }

    /// Takes the line away.
    pub(crate) fn done(&self) {
        self.bar.finish_and_clear();
    }
}
