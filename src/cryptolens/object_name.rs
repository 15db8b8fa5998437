//! The names of the codes of the Object Log (vendor page V3/model/ObjectLog).
//!
//! The vendor's page gives their order and not their numbers, so the caller says which number is
//! the first.

const RESOURCE_TYPES: [&str; 7] = [
    "unspecified",
    "customer",
    "issued_license",
    "license_key",
    "license_issuance",
    "product",
    "data_object",
];
const ACTIONS: [&str; 4] = ["none", "added", "updated", "deleted"];

/// The name of a code that has none.
pub const UNKNOWN: &str = "unknown";

/// The resource type of a code, where the first has the number `first`.
pub fn resource_type(code: Option<i64>, first: i64) -> &'static str {
    name(&RESOURCE_TYPES, code, first)
}

/// The action of a code, where the first has the number `first`.
pub fn action(code: Option<i64>, first: i64) -> &'static str {
    name(&ACTIONS, code, first)
}

fn name(names: &[&'static str], code: Option<i64>, first: i64) -> &'static str {
    let index = code.and_then(|code| usize::try_from(code.checked_sub(first)?).ok());
    index.and_then(|index| names.get(index)).copied().unwrap_or(UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_count_from_the_first() {
        assert_eq!((resource_type(Some(3), 0), action(Some(2), 0)), ("license_key", "updated"));
        assert_eq!((resource_type(Some(3), 1), action(Some(2), 1)), ("issued_license", "added"));
        for code in [None, Some(0), Some(-1), Some(8), Some(i64::MIN)] {
            assert_eq!(resource_type(code, 1), UNKNOWN, "{code:?}");
        }
    }
}
