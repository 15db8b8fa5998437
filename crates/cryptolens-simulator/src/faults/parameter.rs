//! The meaning, default and bounds of a fault's value. The bounds keep a typing mistake from
//! exhausting the machine.

#[derive(Debug, Clone, Copy)]
pub(super) struct Parameter {
    pub(super) meaning: &'static str,
    pub(super) default: u64,
    least: u64,
    most: u64,
}

impl Parameter {
    pub(super) fn allows(self, value: u64) -> bool {
        (self.least..=self.most).contains(&value)
    }
}

pub(super) const fn number(meaning: &'static str, default: u64, least: u64, most: u64) -> Option<Parameter> {
    Some(Parameter { meaning, default, least, most })
}

/// The status of an HTTP response that is not followed by another.
pub(super) const fn status(default: u64) -> Option<Parameter> {
    number("HTTP status", default, 200, 599)
}

/// Up to 1,000 days.
pub(super) const fn seconds(default: u64, least: u64) -> Option<Parameter> {
    number("seconds", default, least, 86_400_000)
}

/// Seconds of the near future, up to a day: its rows are generated, and stay in memory.
pub(super) const fn future_seconds(default: u64) -> Option<Parameter> {
    number("seconds", default, 1, 86_400)
}

pub(super) const fn milliseconds(default: u64) -> Option<Parameter> {
    number("milliseconds", default, 0, 86_400_000)
}

pub(super) const fn mebibytes(default: u64) -> Option<Parameter> {
    number("MiB", default, 1, 1024)
}

pub(super) const fn id(default: u64) -> Option<Parameter> {
    number("id", default, 1, i64::MAX.unsigned_abs())
}
