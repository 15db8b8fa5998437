//! When people work: how busy an hour of the week is, compared with the week's mean.

use super::DAY;

/// Requests per hour of a working day, UTC, relative to each other; machines that never sleep keep
/// the night above 0.
const WORKING_DAY: [f64; 24] = [
    0.30, 0.27, 0.25, 0.25, 0.30, 0.45, 0.90, 1.70, 2.40, 2.70, 2.75, 2.50, 2.10, 2.50, 2.70, 2.50, 2.10,
    1.60, 1.20, 0.95, 0.75, 0.60, 0.45, 0.35,
];
const WEEKEND: f64 = 0.35;

/// Monday is 0. Day 0 of the Unix clock was a Thursday.
pub(super) fn weekday(day: i64) -> i64 {
    (day + 3).rem_euclid(7)
}

pub(super) fn is_weekend(day: i64) -> bool {
    weekday(day) >= 5
}

/// How busy this moment is; 1 on average over a week.
pub(super) fn weight(time: i64) -> f64 {
    let hour = (time.rem_euclid(DAY) / 3600) as usize;
    let day = if is_weekend(time.div_euclid(DAY)) { WEEKEND } else { 1.0 };
    let mean = WORKING_DAY.iter().sum::<f64>() / 24.0 * (5.0 + 2.0 * WEEKEND) / 7.0;
    WORKING_DAY[hour % 24] * day / mean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_a_week_is_one() {
        let mean = (0..168).map(|hour| weight(hour * 3600)).sum::<f64>() / 168.0;
        assert!((mean - 1.0).abs() < 1e-9, "{mean}");
    }

    #[test]
    fn weekdays_are_counted_from_monday() {
        // 2026-01-05 is a Monday.
        let monday = 1_767_571_200 / DAY;
        assert_eq!(weekday(monday), 0);
        assert!(is_weekend(monday + 5) && is_weekend(monday + 6) && !is_weekend(monday + 7));
    }
}
