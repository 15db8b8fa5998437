//! Values of a document as words, the same in every format that people read.

use std::borrow::Cow;

use chrono::Datelike as _;

use crate::report::document::{Datum, Document, Level, Measure, Moment, Phrase, TableBlock};
use crate::report::window::{self, Window, local};
use crate::text::{self, thousands};

/// Stands for a value that is not known.
pub(in crate::report) const NOTHING: &str = "–";
/// Stands for the rows of a table that has none.
pub(super) const NO_ROW: &str = "None.";
/// The longest text of a log that is shown, in characters.
const LONGEST: usize = 200;

/// A value as words.
pub(in crate::report) fn shown(value: &Datum, kind: Measure) -> String {
    match (value, kind) {
        (Datum::Nothing, _) => NOTHING.to_owned(),
        (Datum::Whole(number), Measure::Duration) => duration(*number),
        (Datum::Whole(number), Measure::Code) => number.to_string(),
        (Datum::Whole(number), _) => thousands(*number),
        (Datum::Fraction(number), Measure::Points) => signed(*number * 100.0, " pts"),
        (Datum::Fraction(number), Measure::Change) => signed(*number * 100.0, "%"),
        (Datum::Fraction(number), _) => percent(*number),
        (Datum::Time(moment), Measure::Instant) => window::shown(moment.at, moment.zone),
        (Datum::Time(moment), _) => minute(*moment),
        (Datum::Words(text), _) => visible(text).into_owned(),
        (Datum::Trend { all, .. }, _) => joined(all),
        (Datum::Levels(levels), _) => joined(levels),
    }
}

fn joined<T: ToString>(numbers: &[T]) -> String {
    numbers.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

/// A text of a log in which everything can be seen, cut where it is very long.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    if text.chars().nth(LONGEST).is_none() {
        return text::fit(text, LONGEST);
    }
    Cow::Owned(format!("{}…", text::fit(text, LONGEST)))
}

/// A sentence or a command in which everything can be seen: these are longer than names, and make
/// no sense where they are cut.
pub(super) fn sentence(text: &str) -> Cow<'_, str> {
    text::fit(text, usize::MAX)
}

/// The words of a phrase.
pub(super) fn of_phrase(phrase: &Phrase) -> Cow<'_, str> {
    let (Phrase::Plain(text) | Phrase::Strong(text) | Phrase::Code(text)) = phrase;
    sentence(text)
}

/// As `5.7%`. What is not nothing is not shown as nothing, nor as everything.
pub(in crate::report) fn percent(ratio: f64) -> String {
    match ratio {
        ratio if ratio > 0.0 && ratio < 0.0005 => "<0.1%".to_owned(),
        ratio if (0.9995..1.0).contains(&ratio) => ">99.9%".to_owned(),
        ratio => format!("{:.1}%", ratio * 100.0),
    }
}

fn signed(number: f64, unit: &str) -> String {
    let rounded = format!("{:.1}", number.abs());
    let sign = match number {
        _ if rounded == "0.0" => "±",
        number if number < 0.0 => "−",
        _ => "+",
    };
    format!("{sign}{rounded}{unit}")
}

/// As `52 min`, `2 h 19 min`, `3 d 10 h`: the two largest units, rounded down.
pub(in crate::report) fn duration(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds % 86_400 / 3600, seconds % 3600 / 60);
    let two = |large: i64, unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{large} {unit}"),
        small => format!("{large} {unit} {small} {small_unit}"),
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => two(hours, "h", minutes, "min"),
        (days, hours, _) => two(days, "d", hours, "h"),
    }
}

/// As `2 hours`, `12 days`, or as [`duration`] says it where it is not a number of one unit.
pub(in crate::report) fn spelled_duration(seconds: i64) -> String {
    let of = |unit: i64, one: &str| match seconds / unit {
        1 => format!("1 {one}"),
        several => format!("{several} {one}s"),
    };
    match seconds {
        seconds if seconds > 0 && seconds % 86_400 == 0 => of(86_400, "day"),
        seconds if seconds > 0 && seconds % 3600 == 0 => of(3600, "hour"),
        seconds if seconds > 0 && seconds < 7200 && seconds % 60 == 0 => of(60, "minute"),
        seconds => duration(seconds),
    }
}

/// As `these 2 hours`, `this hour`, or `this time` where it is not a number of one unit, after "in".
pub(in crate::report) fn these(seconds: i64) -> String {
    // A day is one that something is "on", and may not be one of the calendar.
    let spelled = if seconds == 86_400 { "24 hours".to_owned() } else { spelled_duration(seconds) };
    let one = ["hour", "minute"].into_iter().find(|unit| spelled == format!("1 {unit}"));
    match one {
        Some(unit) => format!("this {unit}"),
        None if spelled == duration(seconds) => "this time".to_owned(),
        None => format!("these {spelled}"),
    }
}

/// As `25 Nov 16:51`.
pub(in crate::report) fn minute(moment: Moment) -> String {
    local(moment.at, moment.zone).format("%-d %b %H:%M").to_string()
}

/// As `25 Nov 2026, 15:46 to 17:46 UTC`, or `1 to 31 October 2026, UTC` for whole days.
pub(super) fn period(document: &Document) -> String {
    let period = &document.period;
    let window = Window { from: period.from.at, to: period.to.at, zone: period.timezone };
    let separator = if window.is_of_days() { ", " } else { " " };
    format!("{}{separator}{}", span(window), window.zone)
}

/// As `1 to 31 August 2026`, or `1 Aug 2026, 08:00 to 2 Aug 2026, 08:00`.
pub(in crate::report) fn span(window: Window) -> String {
    let (from, to) = (local(window.from, window.zone), local(window.to, window.zone));
    let last = window.last_day();
    let first = from.date();
    if from.date() == to.date() {
        return format!("{}, {} to {}", from.format("%-d %b %Y"), from.format("%H:%M"), to.format("%H:%M"));
    }
    if !window.is_of_days() {
        let form = "%-d %b %Y, %H:%M";
        return format!("{} to {}", from.format(form), to.format(form));
    }
    let last_day = last.format("%-d %B %Y");
    if first == last {
        last_day.to_string()
    } else if (first.year(), first.month()) == (last.year(), last.month()) {
        format!("{} to {last_day}", first.day())
    } else if first.year() == last.year() {
        format!("{} to {last_day}", first.format("%-d %B"))
    } else {
        format!("{} to {last_day}", first.format("%-d %B %Y"))
    }
}

/// The name of the period, where it says more than [`period`]: a week, a length in hours and minutes, or
/// that the period is not over.
pub(super) fn period_label(document: &Document) -> Option<&str> {
    let label = document.period.label.as_str();
    let shown = period(document);
    let shown: Vec<&str> = shown.split(' ').map(|word| word.trim_end_matches(',')).collect();
    // As `October 2026` after `1 to 31 October 2026`.
    let is_repeated = label.split(' ').all(|word| shown.contains(&word));
    let is_days = label.strip_suffix(" d").is_some_and(|days| days.bytes().all(|byte| byte.is_ascii_digit()));
    (!label.is_empty() && !is_repeated && !is_days).then_some(label)
}

/// The note of a table without the sentences that explain a column which is not shown. These begin with
/// its label, as `Mostly: the most frequent state.`
pub(super) fn note_on_columns(block: &TableBlock, is_shown: impl Fn(usize) -> bool) -> String {
    let hidden: Vec<&str> = (0..)
        .zip(&block.columns)
        .filter(|(index, _)| !is_shown(*index))
        .map(|(_, column)| column.label)
        .collect();
    let explains = |sentence: &&str, label: &&str| {
        let (words, is_lead) = sentence.split_once(": ").map_or(("", false), |(words, _)| (words, true));
        is_lead && words.eq_ignore_ascii_case(label)
    };
    let sentences = block.note.split_inclusive(". ");
    let kept = sentences.filter(|sentence| !hidden.iter().any(|label| explains(sentence, label)));
    kept.collect::<String>().trim_end().to_owned()
}

/// The sign before a headline.
pub(super) const fn sign(level: Level) -> &'static str {
    match level {
        Level::Fine => "✓",
        Level::Notice => "!",
        Level::Problem => "✗",
    }
}

/// Returns the note below a table that has more rows than are shown.
pub(super) fn further(rows: usize, top: usize) -> Option<String> {
    let further = rows.checked_sub(top).filter(|further| *further > 0)?;
    let noun = if further == 1 { "row" } else { "rows" };
    Some(format!(
        "{} further {noun}; --top={rows} shows all.",
        thousands(i64::try_from(further).unwrap_or(i64::MAX))
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::document::{Period, TableColumn};
    use crate::report::zone::Zone;

    #[test]
    fn numbers_have_the_form_of_their_kind() {
        for (value, kind, expected) in [
            (Datum::Whole(284_402), Measure::Count, "284,402"),
            (Datum::Whole(3349), Measure::Code, "3349"),
            (Datum::Whole(59), Measure::Duration, "59 s"),
            (Datum::Whole(3165), Measure::Duration, "52 min"),
            (Datum::Whole(8340), Measure::Duration, "2 h 19 min"),
            (Datum::Whole(3 * 86_400 + 36_000), Measure::Duration, "3 d 10 h"),
            (Datum::Whole(86_400), Measure::Duration, "1 d"),
            (Datum::Fraction(0.6296), Measure::Ratio, "63.0%"),
            (Datum::Fraction(0.000_01), Measure::Ratio, "<0.1%"),
            (Datum::Fraction(0.999_99), Measure::Ratio, ">99.9%"),
            (Datum::Fraction(1.0), Measure::Ratio, "100.0%"),
            (Datum::Fraction(-0.002), Measure::Points, "−0.2 pts"),
            (Datum::Fraction(0.009), Measure::Change, "+0.9%"),
            (Datum::Fraction(-0.000_01), Measure::Change, "±0.0%"),
            (Datum::Nothing, Measure::Ratio, "–"),
            (Datum::from("a\u{1b}[31m"), Measure::Text, "a\u{fffd}[31m"),
        ] {
            assert_eq!(shown(&value, kind), expected, "{value:?}");
        }
    }

    #[test]
    fn periods_are_named_once() {
        let days = |month: u32, day: u32| {
            let date = chrono::NaiveDate::from_ymd_opt(2026, month, day).unwrap();
            date.and_time(chrono::NaiveTime::MIN).and_utc().timestamp()
        };
        for (from, to, label, expected) in [
            (days(10, 1), days(11, 1), "October 2026", "1 to 31 October 2026, UTC"),
            (days(10, 28), days(10, 29), "28 October 2026", "28 October 2026, UTC"),
            (days(10, 28), days(10, 29), "1 d", "28 October 2026, UTC"),
            (days(1, 1), days(12, 1), "2026 so far", "1 January to 30 November 2026, UTC (2026 so far)"),
            (
                days(10, 26),
                days(11, 2),
                "week 44 of 2026",
                "26 October to 1 November 2026, UTC (week 44 of 2026)",
            ),
            (days(10, 1) + 36_000, days(10, 1) + 43_200, "2 h", "1 Oct 2026, 10:00 to 12:00 UTC (2 h)"),
        ] {
            let time = Period::new((from, to), Zone::UTC, label.to_owned(), true);
            let document = Document::new("x", "x", time);
            let label = period_label(&document).map(|label| format!(" ({label})")).unwrap_or_default();
            assert_eq!(format!("{}{label}", period(&document)), expected);
        }
    }

    #[test]
    fn columns_that_are_not_shown_are_not_explained() {
        let columns = vec![
            TableColumn::new("product", "product", Measure::Text),
            TableColumn::new("state", "mostly", Measure::Code),
        ];
        let table = TableBlock::new("x", "x", columns, Vec::new())
            .note("Found by the numbers. Mostly: the most frequent state. Others: as usual.");
        assert_eq!(note_on_columns(&table, |_| true), table.note);
        assert_eq!(note_on_columns(&table, |index| index == 0), "Found by the numbers. Others: as usual.");
    }

    #[test]
    fn rows_that_are_not_shown_are_counted() {
        assert_eq!(further(20, 20), None);
        assert_eq!(further(21, 20).as_deref(), Some("1 further row; --top=21 shows all."));
    }
}
