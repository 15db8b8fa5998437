//! The chart of the requests over time, with what happened when.

use chrono::{Datelike as _, Months, NaiveDate, NaiveTime};

use super::trail::Trail;
use crate::report::count::of_length;
use crate::report::detector::{NO_FREE_SEAT, Sighting};
use crate::report::document::{ChartBlock, ChartMark, ChartMerge, ChartSeries, MarkRole, Moment, SeriesRole};
use crate::report::window::{Window, local};
use crate::text::thousands;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// The longest period whose columns are days.
const MOST_DAYS: i64 = 92;
/// The most columns of a chart.
const MOST_COLUMNS: usize = 744;

/// The columns of a chart over a period: two minutes up to three hours, ten up to twelve, an hour up
/// to three days, a day of the zone up to 92 days, else months. The first and the last day or month
/// are as much of it as the period has.
pub(super) struct TimeColumns {
    window: Window,
    begins: Vec<i64>,
    /// Seconds of a column; a day or a month may be longer or shorter.
    pub(super) step: i64,
    /// Months of a column, where it has some.
    months: usize,
}

impl TimeColumns {
    pub(super) fn new(window: Window) -> TimeColumns {
        let equal = |step: i64| {
            let begins = (window.from..window.to).step_by(usize::try_from(step).unwrap_or(1)).collect();
            TimeColumns { window, begins, step, months: 0 }
        };
        match window.seconds() {
            seconds if seconds <= 3 * HOUR => equal(120),
            seconds if seconds <= 12 * HOUR => equal(600),
            seconds if seconds <= 3 * DAY => equal(HOUR),
            // Clocks that are set back make a day an hour longer.
            seconds if seconds <= MOST_DAYS * DAY + HOUR => TimeColumns::days(window),
            _ => TimeColumns::months(window),
        }
    }

    fn days(window: Window) -> TimeColumns {
        let begins = midnights(window, |date| date.succ_opt());
        TimeColumns { window, begins, step: DAY, months: 0 }
    }

    fn months(window: Window) -> TimeColumns {
        let all = usize::try_from(window.seconds() / (28 * DAY)).unwrap_or(usize::MAX).saturating_add(2);
        let months = all.div_ceil(MOST_COLUMNS);
        let each = Months::new(u32::try_from(months).unwrap_or(u32::MAX));
        let next = |date: NaiveDate| date.with_day(1)?.checked_add_months(each);
        let step = 30 * DAY * i64::try_from(months).unwrap_or(1);
        TimeColumns { window, begins: midnights(window, next), step, months }
    }

    /// The columns for counts that are known by day only, the last of which are there in full.
    fn of_days(window: Window) -> TimeColumns {
        let most = i64::try_from(MOST_COLUMNS - 2).unwrap_or(i64::MAX);
        if window.seconds() <= most * DAY { TimeColumns::days(window) } else { TimeColumns::months(window) }
    }

    /// The column in which a day begins, or the first one for the day in which the period does.
    fn column_of_day(&self, date: NaiveDate) -> Option<usize> {
        let midnight = self.window.zone.moment(date.and_time(NaiveTime::MIN))?;
        self.column(midnight.max(self.window.from))
    }

    pub(super) const fn len(&self) -> usize {
        self.begins.len()
    }

    /// The beginning of each column.
    pub(super) fn moments(&self) -> Vec<Moment> {
        let moment = |at: &i64| Moment { at: *at, zone: self.window.zone };
        self.begins.iter().map(moment).collect()
    }

    /// A column in words.
    pub(super) fn name(&self) -> String {
        match (self.step, self.months) {
            (120, _) => "every 2 minutes".to_owned(),
            (600, _) => "every 10 minutes".to_owned(),
            (HOUR, _) => "by hour".to_owned(),
            (_, 0) => "by day".to_owned(),
            (_, 1) => "by month".to_owned(),
            (_, months) => format!("by {months} months"),
        }
    }

    /// The column of a moment in the period.
    pub(super) fn column(&self, at: i64) -> Option<usize> {
        if !self.window.contains(at) {
            return None;
        }
        self.begins.partition_point(|begin| *begin <= at).checked_sub(1)
    }

    /// Where a column ends.
    fn end(&self, column: usize) -> i64 {
        self.begins.get(column + 1).copied().unwrap_or(self.window.to)
    }

    /// A series without a row: 0 in each column, and nothing before the log begins.
    pub(super) fn empty(&self, oldest: Option<i64>) -> StepCounts {
        let is_known = |column: usize| oldest.is_none_or(|oldest| self.end(column) > oldest);
        (0..self.len()).map(|column| is_known(column).then_some(0)).collect()
    }

    /// The fractional column of a moment; one outside of the period is at its nearest end.
    #[allow(clippy::cast_precision_loss, reason = "744 columns, and seconds of one")]
    pub(super) fn position(&self, at: i64) -> f64 {
        if at >= self.window.to {
            return self.len() as f64;
        }
        let column = self.column(at.max(self.window.from)).unwrap_or(0);
        let begin = self.begins.get(column).copied().unwrap_or(at);
        let length = if self.step < DAY { self.step } else { self.end(column) - begin };
        column as f64 + (at.max(begin) - begin) as f64 / length.max(1) as f64
    }

    /// A moment in the chart, with its time before the words.
    pub(super) fn mark(&self, at: i64, (role, words): (MarkRole, &str)) -> ChartMark {
        let time = Moment { at, zone: self.window.zone };
        let shown = second(self.window, at);
        ChartMark { at: self.position(at), time, role, label: format!("{shown} {words}") }
    }
}

/// The beginning of a period and each following local midnight in it, from one date to the next.
fn midnights(window: Window, next: impl Fn(NaiveDate) -> Option<NaiveDate>) -> Vec<i64> {
    let mut begins = vec![window.from];
    let mut date = local(window.from, window.zone).date();
    while let Some(following) = next(date) {
        let Some(begin) = window.zone.moment(following.and_time(NaiveTime::MIN)) else { break };
        if begin >= window.to {
            break;
        }
        // A day that a zone skipped has the beginning of the day after it.
        if begins.last().is_none_or(|last| *last < begin) {
            begins.push(begin);
        }
        date = following;
    }
    begins
}

/// Rows by step; `None` where the log does not reach back.
pub(super) type StepCounts = Vec<Option<u64>>;

/// Rows by column and outcome.
struct ChartedRows {
    failed: StepCounts,
    succeeded: StepCounts,
    /// Those that are in no ratio.
    other: StepCounts,
    /// True if some of the others found no free seat.
    has_refused: bool,
    /// True if some of the others neither succeeded nor failed.
    has_unknown: bool,
}

impl ChartedRows {
    /// Those before `oldest` are not known.
    fn new(rows: impl Iterator<Item = Sighting>, columns: &TimeColumns, oldest: Option<i64>) -> ChartedRows {
        let empty = columns.empty(oldest);
        let mut charted = ChartedRows {
            failed: empty.clone(),
            succeeded: empty.clone(),
            other: empty,
            has_refused: false,
            has_unknown: false,
        };
        for row in rows {
            let Some(column) = columns.column(row.time) else { continue };
            let series = if row.is_in_no_ratio() {
                let is_refused = row.state == NO_FREE_SEAT;
                charted.has_refused |= is_refused;
                charted.has_unknown |= !is_refused;
                &mut charted.other
            } else if row.has_failed() {
                &mut charted.failed
            } else {
                &mut charted.succeeded
            };
            if let Some(value) = series.get_mut(column) {
                *value = Some(value.unwrap_or(0) + 1);
            }
        }
        charted
    }

    /// What the others are; none where there are none.
    const fn name_of_others(&self) -> Option<&'static str> {
        match (self.has_refused, self.has_unknown) {
            (false, false) => None,
            (true, false) => Some("no free seat"),
            (false, true) => Some("neither success nor failure"),
            (true, true) => Some("no free seat, or neither success nor failure"),
        }
    }
}

/// The chart without its marks.
pub(super) fn requests(
    columns: &TimeColumns,
    rows: impl Iterator<Item = Sighting>,
    product: &str,
    oldest: Option<i64>,
) -> ChartBlock {
    let charted = ChartedRows::new(rows, columns, oldest);
    let others = charted.name_of_others();
    let ChartedRows { failed, succeeded, other, .. } = charted;
    let mut stack = vec![
        ChartSeries { id: "failed", label: "failed", role: SeriesRole::Bad, values: failed },
        ChartSeries { id: "succeeded", label: "succeeded", role: SeriesRole::Good, values: succeeded },
    ];
    stack.extend(others.map(|label| ChartSeries {
        id: "other",
        label,
        role: SeriesRole::Accent,
        values: other,
    }));
    ChartBlock {
        id: "requests",
        title: format!("Requests of {product}, {}", columns.name()),
        alt: String::new(),
        x: columns.moments(),
        step: columns.step,
        stack,
        limit: None,
        marks: Vec::new(),
        shade: Vec::new(),
        ratio: None,
        merge: ChartMerge::Sum,
    }
}

/// One part of the columns of a [`daily`] chart.
pub(super) struct DailySeries {
    pub(super) id: &'static str,
    pub(super) label: &'static str,
    pub(super) role: SeriesRole,
    pub(super) days: Vec<(NaiveDate, u64)>,
}

/// A chart of counts by day; nothing is known before `oldest`.
pub(super) fn daily(
    (id, things): (&'static str, &str),
    window: Window,
    oldest: Option<i64>,
    series: Vec<DailySeries>,
) -> ChartBlock {
    let columns = TimeColumns::of_days(window);
    let sum = |series: &DailySeries| series.days.iter().map(|(_, number)| number).sum::<u64>();
    let parts: Vec<String> =
        series.iter().map(|part| format!("{} {}", thousands(sum(part)), part.label)).collect();
    let values = |days: &[(NaiveDate, u64)]| {
        let mut values = columns.empty(oldest);
        for (date, number) in days {
            if let Some(value) = columns.column_of_day(*date).and_then(|column| values.get_mut(column)) {
                *value = Some(value.unwrap_or(0) + number);
            }
        }
        values
    };
    let stack = series.iter().map(|part| {
        let DailySeries { id, label, role, .. } = *part;
        ChartSeries { id, label, role, values: values(&part.days) }
    });
    ChartBlock {
        id,
        title: format!("{things} {}", columns.name()),
        alt: format!("Column chart: {}.", parts.join(", ")),
        x: columns.moments(),
        step: columns.step,
        stack: stack.collect(),
        limit: None,
        marks: Vec::new(),
        shade: Vec::new(),
        ratio: None,
        merge: ChartMerge::Sum,
    }
}

/// The time of a moment to the second, with its day where that is not the last one of the period.
pub(super) fn second(window: Window, at: i64) -> String {
    let time = local(at, window.zone);
    let is_last = time.date() == window.last_day();
    time.format(if is_last { "%H:%M:%S" } else { "%-d %b %H:%M:%S" }).to_string()
}

/// The numbers of a small chart of 24 columns.
pub(super) fn trend(trail: &Trail, rows: impl Iterator<Item = Sighting>) -> (Vec<u64>, Vec<u64>) {
    const COLUMNS: i64 = 24;
    let step = (trail.window.seconds() / COLUMNS).max(1);
    let mut all = vec![0; 24];
    let mut bad = vec![0; 24];
    for row in rows {
        let column = usize::try_from((row.time - trail.window.from) / step).unwrap_or(0).min(23);
        if let Some(value) = all.get_mut(column) {
            *value += of_length(1);
        }
        if let Some(value) = bad.get_mut(column).filter(|_| row.has_failed()) {
            *value += 1;
        }
    }
    (all, bad)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::zone::Zone;

    fn columns(from: &str, to: &str, zone: &str) -> (TimeColumns, Vec<String>) {
        let zone: Zone = zone.parse().unwrap();
        let at = |text: &str| zone.moment(text.parse().unwrap()).unwrap();
        let columns = TimeColumns::new(Window { from: at(from), to: at(to), zone });
        let begins =
            columns.begins.iter().map(|begin| local(*begin, zone).format("%F %R").to_string()).collect();
        (columns, begins)
    }

    /// Clocks go forward on 29 March 2026 and back on 25 October.
    #[test]
    fn days_and_months_are_those_of_the_zone() {
        let (days, begins) = columns("2026-03-27T15:30:00", "2026-03-31T00:00:00", "Europe/Stockholm");
        assert_eq!(begins, ["2026-03-27 15:30", "2026-03-28 00:00", "2026-03-29 00:00", "2026-03-30 00:00"]);
        assert_eq!((days.step, days.name().as_str()), (DAY, "by day"));
        let (_, begins) = columns("2026-10-01T00:00:00", "2027-01-01T00:00:00", "Europe/Stockholm");
        assert_eq!(
            (begins.len(), begins[31].as_str()),
            (92, "2026-11-01 00:00"),
            "an hour more than 92 days"
        );
        let (months, begins) = columns("2026-01-15T00:00:00", "2026-04-18T00:00:00", "Europe/Stockholm");
        assert_eq!(begins, ["2026-01-15 00:00", "2026-02-01 00:00", "2026-03-01 00:00", "2026-04-01 00:00"]);
        assert_eq!(months.name(), "by month");
        let half = months.window.zone.moment("2026-02-15T00:00:00".parse().unwrap()).unwrap();
        assert!((months.position(half) - 1.5).abs() < 1e-9);
    }

    #[test]
    fn no_period_has_more_than_744_columns_and_each_moment_is_in_one() {
        for (from, to) in [
            ("0001-01-01T00:00:00", "2026-01-01T00:00:00"),
            ("1964-01-02T00:00:00", "2026-01-01T00:00:00"),
            ("2025-10-01T00:00:00", "2026-01-01T00:00:00"),
            ("2025-12-29T00:00:00", "2026-01-01T00:00:00"),
            ("2025-12-31T12:00:00", "2026-01-01T00:00:00"),
            ("2025-12-31T23:59:59", "2026-01-01T00:00:00"),
        ] {
            for zone in ["UTC", "Europe/Stockholm"] {
                let (columns, begins) = columns(from, to, zone);
                assert!((1..=MOST_COLUMNS).contains(&begins.len()), "{from}: {}", begins.len());
                let window = columns.window;
                assert_eq!(columns.column(window.from), Some(0));
                assert_eq!(columns.column(window.to - 1), Some(begins.len() - 1));
                assert_eq!((columns.column(window.from - 1), columns.column(window.to)), (None, None));
            }
        }
    }
}
