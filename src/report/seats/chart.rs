//! The chart of the seats of one key over time, with the moments at which a machine was refused.

use super::history::{Action, History};
use crate::report::count::of_length;
use crate::report::detector::{RefusalTracker, SeatDenial};
use crate::report::document::{
    ChartBlock, ChartLimit, ChartMark, ChartMerge, ChartSeries, MarkRole, Moment, SeriesRole,
};
use crate::report::render::words;
use crate::report::text::{capitalised_name, counted};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// The most columns.
const MOST_COLUMNS: i64 = 744;
/// Lengths of a column, in seconds.
const STEPS: [i64; 8] = [60, 600, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY];

/// The most seats in use in each column, against the limit. `name` is that of the key or its customer.
#[allow(clippy::cast_precision_loss, reason = "seats, and seconds of a period")]
pub(super) fn seats_over_time(history: &History, name: &str) -> ChartBlock {
    let window = history.window;
    let moment = |at: i64| Moment { at, zone: window.zone };
    let every = STEPS.into_iter().find(|step| window.seconds() <= step * MOST_COLUMNS);
    let step = every.unwrap_or_else(|| window.seconds() / MOST_COLUMNS / DAY * DAY + DAY);
    let begins: Vec<i64> = (window.from..window.to).step_by(usize::try_from(step).unwrap_or(1)).collect();
    let mark = |at: i64| ChartMark {
        at: (at - window.from) as f64 / step as f64,
        time: moment(at),
        role: MarkRole::Refused,
        label: format!("{} refused", words::minute(moment(at))),
    };
    let refusals = refusals_of(history);
    let name = capitalised_name(name);
    ChartBlock {
        id: "seats_over_time",
        title: match step {
            HOUR => format!("{name}: seats in use, by hour"),
            DAY => format!("{name}: seats in use, by day"),
            60 => format!("{name}: seats in use, every minute"),
            step => format!("{name}: seats in use, every {}", words::spelled_duration(step)),
        },
        alt: format!(
            "Column chart of the most seats in use at once: {} at most. Refused {}.",
            history.most().0,
            counted(of_length(refusals.len()), "time", "times")
        ),
        x: begins.iter().map(|at| moment(*at)).collect(),
        step,
        stack: vec![ChartSeries {
            id: "used",
            label: "seats in use",
            role: SeriesRole::Accent,
            values: peaks(history, &begins, step).into_iter().map(Some).collect(),
        }],
        limit: history
            .limit
            .map(|limit| ChartLimit { value: limit as f64, label: counted(limit, "seat", "seats") }),
        marks: refusals.into_iter().map(mark).collect(),
        shade: Vec::new(),
        ratio: None,
        merge: ChartMerge::Highest,
    }
}

/// The most seats in use in each column.
fn peaks(history: &History, begins: &[i64], step: i64) -> Vec<u64> {
    let mut values = vec![0; begins.len()];
    let first = begins.first().copied().unwrap_or(history.window.from);
    let ends = history.steps.iter().skip(1).map(|(time, _)| *time).chain([history.window.to]);
    for ((time, used), end) in history.steps.iter().zip(ends) {
        let column = |at: i64| usize::try_from((at - first).max(0) / step.max(1)).unwrap_or(0);
        if *time >= end {
            continue;
        }
        for value in values.iter_mut().take(column(end - 1) + 1).skip(column(*time)) {
            *value = (*value).max(*used);
        }
    }
    values
}

/// The moments at which a machine was refused, without retries.
fn refusals_of(history: &History) -> Vec<i64> {
    let mut tracker = RefusalTracker::new();
    let mut begins = Vec::new();
    for entry in &history.entries {
        let machine = entry.machine.as_deref().map(|code| crate::usage::machine_code(code).into_owned());
        match entry.action {
            Action::Refusal => {
                if tracker.refused(&machine, entry.time) != SeatDenial::Again {
                    begins.push(entry.time);
                }
            }
            Action::Activation | Action::Verification => {
                tracker.seated(&machine, entry.time);
            }
            Action::Deactivation | Action::Expiry => {}
        }
    }
    begins
}
