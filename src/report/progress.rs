//! How far reading has come, for somebody who waits at a terminal. Quiet where standard error is none.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::window::{Window, shown};

/// Shown once a second at most; cloning shares the line.
#[derive(Clone)]
pub(super) struct Progress {
    bar: ProgressBar,
    zone: chrono_tz::Tz,
}

impl Progress {
    /// For reading through `window`; without one there is no end to measure by.
    pub(super) fn new(log: &str, window: Option<&Window>, zone: chrono_tz::Tz) -> Progress {
        let bar = ProgressBar::new_spinner();
        // indicatif itself shows nothing where standard error is no terminal.
        let style = ProgressStyle::with_template("{spinner} {prefix}: {human_pos} entries, {per_sec}, {msg}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        let asked = window.map(|window| format!(" for {window}")).unwrap_or_default();
        bar.set_prefix(format!("reading {log}{asked}"));
        bar.enable_steady_tick(Duration::from_millis(200));
        Progress { bar, zone }
    }

    /// A page was read, the last time in which was `time`.
    pub(super) fn read(&self, rows: usize, time: Option<i64>) {
        self.bar.inc(u64::try_from(rows).unwrap_or(0));
        if let Some(time) = time {
            self.bar.set_message(format!("at {}", shown(time, self.zone)));
        }
    }

    /// Something that whoever waits should know now.
    pub(super) fn note(&self, text: &str) {
        self.bar.println(text);
    }

    /// Takes the line away.
    pub(super) fn done(&self) {
        self.bar.finish_and_clear();
    }
}
