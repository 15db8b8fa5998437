//! The verdict on requests among which the scan finds no incident.
//!
//! Promises: nothing is called free of an incident while the ratio beside it says otherwise. Where
//! few requests fail in large part, that is too little to judge by; where many do and no other time
//! is known, nothing shows whether that is unusual.

use super::minute::MinuteCount;

/// From this part of failures on, a ratio is high whatever is known of other times.
pub(in crate::report) const HIGH_RATIO: f64 = 0.25;
/// A ratio is high against the usual one if it is so many times as high, at least,
const MULTIPLE: f64 = 2.0;
/// and if its log-likelihood ratio against it is at least this: by chance, one of 70 times is.
const LEAST_EVIDENCE: f64 = 3.0;
/// Failures that are usual have this part of the number that is seen, at least.
const USUAL_PART: f64 = 0.5;
/// With fewer requests, a high ratio proves nothing where no other time is known.
const FEW: u64 = 100;

/// The verdict on requests without an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::report) enum Calmness {
    /// As large a part fails as usual, or a small one.
    Calm,
    /// A larger part of fewer requests fails: no more than usual.
    NoMoreThanUsual,
    /// A large part of few requests fails, which may be an incident that begins, or chance.
    TooFew,
    /// A large part of many requests fails, and no other time is known.
    NothingToCompare,
}

/// Judges requests without an incident, by the requests of the same times of other days; those may
/// be none. There are `times` of them.
#[allow(clippy::cast_precision_loss, reason = "counts of a log are far below 2^53")]
pub(in crate::report) fn calmness(
    count: MinuteCount,
    (usual, times): (MinuteCount, usize),
    least_failures: u64,
) -> Calmness {
    let Some(ratio) = count.ratio().filter(|_| count.failed >= least_failures.max(1)) else {
        return Calmness::Calm;
    };
    let Some(usual_ratio) = usual.ratio().filter(|_| times > 0) else {
        return match ratio {
            ratio if ratio < HIGH_RATIO => Calmness::Calm,
            _ if count.all < FEW => Calmness::TooFew,
            _ => Calmness::NothingToCompare,
        };
    };
    let is_higher = ratio >= MULTIPLE * usual_ratio
        && (ratio >= HIGH_RATIO || evidence(count, usual_ratio) >= LEAST_EVIDENCE);
    let usual_failures = usual.failed as f64 / times as f64;
    if !is_higher {
        Calmness::Calm
    } else if usual_failures >= USUAL_PART * count.failed as f64 {
        Calmness::NoMoreThanUsual
    } else {
        Calmness::TooFew
    }
}

/// The log-likelihood ratio of a count against a ratio that is known.
#[allow(clippy::cast_precision_loss, reason = "counts of a log are far below 2^53")]
fn evidence(count: MinuteCount, ratio: f64) -> f64 {
    let part = |some: u64, expected: f64| match some {
        0 => 0.0,
        some => some as f64 * (some as f64 / expected.max(f64::MIN_POSITIVE)).ln(),
    };
    let all = count.all as f64;
    part(count.failed, all * ratio) + part(count.all - count.failed, all * (1.0 - ratio))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judged(failed: u64, all: u64, usual: Option<(u64, u64)>) -> Calmness {
        let times = usize::from(usual.is_some());
        let (usual_failed, usual_all) = usual.unwrap_or_default();
        let usual = MinuteCount { failed: usual_failed, all: usual_all };
        calmness(MinuteCount { failed, all }, (usual, times), 1)
    }

    #[test]
    fn a_large_part_of_few_requests_is_not_called_calm() {
        for (failed, all, usual, expected) in [
            (0, 0, None, Calmness::Calm),
            (0, 9, None, Calmness::Calm),
            (1, 9, None, Calmness::Calm),
            (1, 1, None, Calmness::TooFew),
            (19, 33, None, Calmness::TooFew),
            (190, 330, None, Calmness::NothingToCompare),
            (30, 330, None, Calmness::Calm),
            (19, 33, Some((1, 33)), Calmness::TooFew),
            (19, 33, Some((18, 33)), Calmness::Calm),
            // Heartbeats are missing: the same failures are a larger part.
            (19, 33, Some((20, 500)), Calmness::NoMoreThanUsual),
            (1, 12, Some((20, 1000)), Calmness::Calm),
            (10, 100, Some((3, 100)), Calmness::TooFew),
            (1, 2, Some((0, 100)), Calmness::TooFew),
            (1, 2, Some((0, 0)), Calmness::TooFew),
        ] {
            assert_eq!(judged(failed, all, usual), expected, "{failed} of {all}, usual {usual:?}");
        }
    }

    proptest! {
        /// Whatever the numbers, a quarter of failures is called calm only where that is usual.
        #[test]
        fn calm_contradicts_no_ratio(
            failed in 0_u64..50, succeeded in 0_u64..50, usual in proptest::option::of((0_u64..50, 0_u64..50)),
        ) {
            let all = failed + succeeded;
            let usual = usual.map(|(failed, other)| (failed, failed + other));
            if all > 0 && failed * 4 >= all && judged(failed, all, usual) == Calmness::Calm {
                let (usual_failed, usual_all) = usual.unwrap();
                prop_assert!(usual_failed * all * 2 > failed * usual_all, "{failed} of {all}, {usual:?}");
            }
        }
    }
}
