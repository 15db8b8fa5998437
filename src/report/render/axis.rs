//! Where the labels of a time axis stand, and how high a scale is.

use chrono::Timelike as _;

use crate::report::document::{ChartBlock, Moment};
use crate::report::window::local;

const HOUR: i64 = 3600;
const DAY: i64 = 86_400;
/// Distances of labels, in seconds.
const EVERY: [i64; 10] = [300, 600, 900, 1800, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY];

/// Distances of labels in days.
const DAY_DISTANCES: [usize; 6] = [1, 2, 3, 7, 14, 28];

/// A label below the axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    /// Fractional index of a column.
    pub(super) at: f64,
    pub(super) label: String,
}

/// Labels at round local times, no two of them nearer than `least_gap` columns.
pub(super) fn ticks(chart: &ChartBlock, least_gap: usize) -> Vec<Tick> {
    if chart.step >= DAY {
        return by_day(chart, least_gap);
    }
    let room = chart.step.saturating_mul(i64::try_from(least_gap).unwrap_or(i64::MAX));
    let every = EVERY.into_iter().find(|every| *every >= room.max(chart.step)).unwrap_or(DAY);
    // Where there is no room for each midnight, some of them are left out.
    let days = usize::try_from(room.saturating_add(DAY - 1) / DAY).unwrap_or(1);
    let each = DAY_DISTANCES.iter().copied().find(|distance| *distance >= days).unwrap_or(days.max(1));
    let tick = |(column, moment): (usize, &Moment)| {
        let seconds = i64::from(local(moment.at, moment.zone).num_seconds_from_midnight());
        let wait = (every - seconds % every) % every;
        let time = local(moment.at + wait, moment.zone);
        let is_midnight = time.hour() == 0 && time.minute() == 0;
        let form = if is_midnight { "%-d %b" } else { "%H:%M" };
        // A column holds the label whose time is within it.
        (wait < chart.step).then(|| Tick {
            at: as_f64(column) + ratio(wait, chart.step),
            label: time.format(form).to_string(),
        })
    };
    chart.x.iter().enumerate().filter_map(tick).step_by(each).collect()
}

/// Labels of the first column and of others at equal distances from it. They stand below the middle of
/// the column, because its beginning is as near to the column before.
fn by_day(chart: &ChartBlock, least_gap: usize) -> Vec<Tick> {
    let is_month = chart.step > 28 * DAY;
    let form = if is_month { "%b %Y" } else { "%-d %b" };
    let distances: &[usize] = if is_month { &[1, 2, 3, 6, 12] } else { &DAY_DISTANCES };
    let every = distances.iter().copied().find(|distance| *distance >= least_gap).unwrap_or(least_gap.max(1));
    let label = |moment: &Moment| local(moment.at, moment.zone).format(form).to_string();
    let columns = chart.x.iter().enumerate().step_by(every);
    columns.map(|(column, moment)| Tick { at: as_f64(column) + 0.5, label: label(moment) }).collect()
}

#[allow(clippy::cast_precision_loss, reason = "a chart has 744 columns at most")]
pub(super) const fn as_f64(number: usize) -> f64 {
    number as f64
}

#[allow(clippy::cast_precision_loss, reason = "seconds of a column")]
fn ratio(part: i64, whole: i64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// A round number not below `highest`, and the distance of the lines below it, of which there are up to
/// five.
pub(super) fn scale(highest: f64) -> (f64, f64) {
    scale_of(highest, 5.0)
}

/// The same for a low panel, which has up to two lines above its axis.
pub(super) fn panel_scale(highest: f64) -> (f64, f64) {
    scale_of(highest, 2.0)
}

fn scale_of(highest: f64, most_lines: f64) -> (f64, f64) {
    let highest = highest.max(1.0);
    let mut unit: f64 = 1.0;
    loop {
        for factor in [1.0, 2.0, 2.5, 4.0, 5.0] {
            let distance = unit * factor;
            let is_whole = distance >= 1.0 && distance.fract() == 0.0;
            if is_whole && distance * most_lines >= highest {
                let lines = (highest / distance).ceil().max(1.0);
                return (lines * distance, distance);
            }
        }
        unit *= 10.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::document::{ChartMerge, Moment};
    use crate::report::zone::Zone;

    fn chart(from: i64, step: i64, columns: i64, zone: Zone) -> ChartBlock {
        let x = (0..columns).map(|column| Moment { at: from + column * step, zone }).collect();
        ChartBlock {
            id: "x",
            title: String::new(),
            alt: String::new(),
            x,
            step,
            stack: Vec::new(),
            limit: None,
            marks: Vec::new(),
            shade: Vec::new(),
            ratio: None,
            merge: ChartMerge::Sum,
        }
    }

    fn labels(chart: &ChartBlock, gap: usize) -> Vec<String> {
        ticks(chart, gap).into_iter().map(|tick| format!("{:.2} {}", tick.at, tick.label)).collect()
    }

    #[test]
    fn labels_are_round_local_times() {
        // 2026-11-25T15:46:42Z
        let chart_of_two_hours = chart(1_795_621_602, 120, 60, Zone::UTC);
        assert_eq!(
            labels(&chart_of_two_hours, 12),
            ["6.65 16:00", "21.65 16:30", "36.65 17:00", "51.65 17:30"]
        );
        // October 2026, by day.
        let month = chart(1_790_812_800, DAY, 31, Zone::UTC);
        assert_eq!(
            labels(&month, 7),
            ["0.50 1 Oct", "7.50 8 Oct", "14.50 15 Oct", "21.50 22 Oct", "28.50 29 Oct"]
        );
        assert_eq!(labels(&month, 3)[..3], ["0.50 1 Oct", "3.50 4 Oct", "6.50 7 Oct"]);
    }

    #[test]
    fn scales_are_round_and_hold_the_highest() {
        for (highest, expected) in
            [(0.0, (1.0, 1.0)), (5.0, (5.0, 1.0)), (13.0, (16.0, 4.0)), (12_446.0, (12_500.0, 2500.0))]
        {
            assert_eq!(scale(highest), expected, "{highest}");
        }
        for (highest, expected) in
            [(0.0, (1.0, 1.0)), (1.2, (2.0, 1.0)), (8.3, (10.0, 5.0)), (100.0, (100.0, 50.0))]
        {
            assert_eq!(panel_scale(highest), expected, "{highest}");
        }
    }
}
