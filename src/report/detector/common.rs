//! Finds the attribute that customers who are hit have in common, and the others have not.

use std::collections::BTreeSet;

/// Part of the customers who are hit that an attribute has at least, to be in common.
const LEAST_OF_HIT: f64 = 0.9;
/// Part of the others that has it at most.
const MOST_OF_OTHERS: f64 = 0.1;

/// Something that a key may have, such as an expiry date in the past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::report) struct Attribute {
    /// Ends the sentence "All 5 keys ...", as `are past their expiry date`.
    pub(in crate::report) several: String,
    /// Ends the sentence "The key ...", as `is past its expiry date`.
    pub(in crate::report) one: String,
    /// The keys that have it.
    pub(in crate::report) keys: BTreeSet<u32>,
    /// The keys of which it is known whether they have it; none where it is known of all.
    pub(in crate::report) known: Option<BTreeSet<u32>>,
}

/// An attribute that separates those who are hit from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::report) struct SharedAttribute<'a> {
    pub(in crate::report) attribute: &'a Attribute,
    /// Keys that are hit and have it.
    pub(in crate::report) of_hit: usize,
    /// Other keys that have it.
    pub(in crate::report) of_others: usize,
    /// Other keys that it is compared with.
    pub(in crate::report) compared: usize,
}

/// The attribute that separates best; of equals the first. None where nobody else was seen:
/// everything would be in common. Other keys of which nothing is known are not compared with, and a
/// key that is hit does not have what is not known of it.
pub(in crate::report) fn in_common<'a>(
    hit: &[u32],
    others: &[u32],
    attributes: &'a [Attribute],
) -> Option<SharedAttribute<'a>> {
    if hit.is_empty() || others.is_empty() {
        return None;
    }
    let mut best: Option<(f64, SharedAttribute<'a>)> = None;
    for attribute in attributes {
        let of = |keys: &[u32]| keys.iter().filter(|key| attribute.keys.contains(key)).count();
        let is_known = |key: &&u32| attribute.known.as_ref().is_none_or(|known| known.contains(key));
        let compared = others.iter().filter(is_known).count();
        if compared == 0 {
            continue;
        }
        let (of_hit, of_others) = (of(hit), of(others));
        let (part_of_hit, part_of_others) = (part(of_hit, hit.len()), part(of_others, compared));
        let separates = part_of_hit >= LEAST_OF_HIT && part_of_others <= MOST_OF_OTHERS;
        let margin = part_of_hit - part_of_others;
        if separates && best.as_ref().is_none_or(|(highest, _)| margin > *highest) {
            best = Some((margin, SharedAttribute { attribute, of_hit, of_others, compared }));
        }
    }
    best.map(|(_, shared)| shared)
}

#[allow(clippy::cast_precision_loss, reason = "numbers of customers")]
fn part(some: usize, all: usize) -> f64 {
    some as f64 / all.max(1) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn attribute(name: &str, keys: &[u32]) -> Attribute {
        let keys = keys.iter().copied().collect();
        Attribute { several: name.to_owned(), one: name.to_owned(), keys, known: None }
    }

    #[test]
    fn the_attribute_that_separates_best_is_in_common() {
        let (hit, others) = ([1, 2, 3], [4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
        let attributes = [
            attribute("floating", &[1, 2, 3, 4, 5, 6]),
            attribute("nearly", &[1, 2, 3, 4]),
            attribute("expired", &[1, 2, 3]),
            attribute("blocked", &[1, 2]),
        ];
        let shared = in_common(&hit, &others, &attributes).unwrap();
        assert_eq!((shared.attribute.several.as_str(), shared.of_hit, shared.of_others), ("expired", 3, 0));
        assert_eq!(in_common(&hit, &others, &attributes[..1]), None);
        assert_eq!(in_common(&hit, &others, &attributes[3..]), None);
        assert_eq!(in_common(&hit, &[], &attributes), None, "nobody to compare with");
        assert_eq!(in_common(&[], &others, &attributes), None);
    }

    #[test]
    fn keys_of_which_nothing_is_known_are_not_compared_with() {
        let (hit, others) = ([1, 2, 3], [4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
        let with = |known: &[u32], keys: &[u32]| Attribute {
            known: Some(known.iter().copied().collect()),
            ..attribute("expired", keys)
        };
        let expired = [with(&[1, 2, 3, 4, 5], &[1, 2, 3])];
        let shared = in_common(&hit, &others, &expired).unwrap();
        assert_eq!((shared.of_hit, shared.of_others, shared.compared), (3, 0, 2));
        // One of two is no tenth, though it is one of ten.
        assert_eq!(in_common(&hit, &others, &[with(&[1, 2, 3, 4, 5], &[1, 2, 3, 4])]), None);
        assert_eq!(in_common(&hit, &others, &[with(&[1, 2, 3], &[1, 2, 3])]), None);
    }

    proptest! {
        #[test]
        fn what_is_in_common_keeps_both_bounds(
            hit in proptest::collection::btree_set(0_u32..30, 1..15),
            sets in proptest::collection::vec(proptest::collection::btree_set(0_u32..60, 0..40), 0..6),
        ) {
            let others: Vec<u32> = (0..60).filter(|key| !hit.contains(key)).collect();
            let hit: Vec<u32> = hit.into_iter().collect();
            let attributes: Vec<Attribute> = sets.into_iter()
                .map(|keys| Attribute { several: String::new(), one: String::new(), keys, known: None }).collect();
            if let Some(shared) = in_common(&hit, &others, &attributes) {
                prop_assert!(shared.of_hit * 10 >= hit.len() * 9 && shared.of_others * 10 <= others.len());
            }
        }
    }
}
