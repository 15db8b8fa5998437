//! A set of members: exact while it is small, a sketch beyond.
//!
//! Up to 819 members are kept as they are, in 5 bytes each (4,095 bytes at most). The next one
//! turns the set into a sketch of 4,096 bytes, whose estimate has a standard error of 1 % for 1,000
//! members and of
//! 1.2 % for 100,000 and more. Both are functions of the members alone: the members of an exact set
//! have the 40 bits that the sketch looks at.

use super::estimate;
use super::member::UsageMember;
use super::sketch::{REGISTERS, Sketch};

/// The most members that are kept exactly: as many as fit into less than the bytes of a sketch.
const MOST_EXACT: usize = 819;
/// The bytes of a member.
const MEMBER_BYTES: usize = 5;

/// A set of license keys or machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageSet(Members);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Members {
    /// In ascending order.
    Exact(Vec<UsageMember>),
    /// At least 820 members.
    Sketch(Sketch),
}

/// The bytes are not those of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a set of usage cannot be read")]
pub struct UnreadableUsageSet;

impl Default for UsageSet {
    fn default() -> UsageSet {
        UsageSet(Members::Exact(Vec::new()))
    }
}

impl UsageSet {
    /// Adds a member. Returns true if the set changes.
    pub fn insert(&mut self, member: UsageMember) -> bool {
        match &mut self.0 {
            Members::Sketch(sketch) => sketch.insert(member),
            Members::Exact(members) => {
                let Err(place) = members.binary_search(&member) else { return false };
                if members.len() < MOST_EXACT {
                    members.insert(place, member);
                } else {
                    let mut sketch = sketch_of(members);
                    sketch.insert(member);
                    self.0 = Members::Sketch(sketch);
                }
                true
            }
        }
    }

    /// Adds all members of another set. Returns true if this one changes.
    pub fn merge(&mut self, other: &UsageSet) -> bool {
        match &other.0 {
            Members::Exact(members) => {
                members.iter().fold(false, |changes, member| self.insert(*member) | changes)
            }
            Members::Sketch(other) => match &mut self.0 {
                Members::Sketch(sketch) => sketch.merge(other),
                Members::Exact(members) => {
                    let mut sketch = sketch_of(members);
                    sketch.merge(other);
                    self.0 = Members::Sketch(sketch);
                    true
                }
            },
        }
    }

    /// True if it has no member.
    pub fn is_empty(&self) -> bool {
        matches!(&self.0, Members::Exact(members) if members.is_empty())
    }

    /// The number of members: exact up to 819, an estimate beyond. It never falls while members are
    /// added.
    pub fn count(&self) -> u64 {
        match &self.0 {
            Members::Exact(members) => count_of(members.len()),
            // A sketch has more members than any exact set.
            Members::Sketch(sketch) => estimate::members(&sketch.states()).max(count_of(MOST_EXACT) + 1),
        }
    }

    /// The set as the ledger keeps it: 5 bytes for each member of an exact set, else 4,096.
    pub fn to_bytes(&self) -> Vec<u8> {
        match &self.0 {
            Members::Exact(members) => {
                let bytes = members.iter().flat_map(|member| {
                    let [_, _, _, bytes @ ..] = member.get().to_be_bytes();
                    bytes
                });
                bytes.collect()
            }
            Members::Sketch(sketch) => sketch.to_bytes(),
        }
    }

    /// The set with these bytes.
    ///
    /// # Errors
    /// [`UnreadableUsageSet`] if no set has them.
    pub fn from_bytes(bytes: &[u8]) -> Result<UsageSet, UnreadableUsageSet> {
        if bytes.len() == REGISTERS {
            let sketch = Sketch::from_bytes(bytes).ok_or(UnreadableUsageSet)?;
            return Ok(UsageSet(Members::Sketch(sketch)));
        }
        let (members, rest) = bytes.as_chunks::<MEMBER_BYTES>();
        let member = |[a, b, c, d, e]: &[u8; MEMBER_BYTES]| {
            UsageMember::new(u64::from_be_bytes([0, 0, 0, *a, *b, *c, *d, *e]))
        };
        let members: Option<Vec<UsageMember>> = members.iter().map(member).collect();
        let members =
            members.filter(|members| members.len() <= MOST_EXACT && members.is_sorted_by(|a, b| a < b));
        let members = members.filter(|_| rest.is_empty()).ok_or(UnreadableUsageSet)?;
        Ok(UsageSet(Members::Exact(members)))
    }
}

impl Extend<UsageMember> for UsageSet {
    fn extend<T: IntoIterator<Item = UsageMember>>(&mut self, members: T) {
        members.into_iter().for_each(|member| {
            self.insert(member);
        });
    }
}

fn sketch_of(members: &[UsageMember]) -> Sketch {
    let mut sketch = Sketch::new();
    members.iter().for_each(|member| {
        sketch.insert(*member);
    });
    sketch
}

fn count_of(members: usize) -> u64 {
    u64::try_from(members).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::usage::UsageSecret;

    /// Members that are spread like hashes.
    fn spread(number: u64) -> UsageMember {
        let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        UsageMember::new((mixed ^ (mixed >> 32)) >> 24).unwrap()
    }

    fn set(members: impl IntoIterator<Item = UsageMember>) -> UsageSet {
        let mut set = UsageSet::default();
        set.extend(members);
        set
    }

    /// Members of some hundred to two thousand, some of them in one register.
    fn members() -> impl Strategy<Value = Vec<UsageMember>> {
        let anywhere = 0..=UsageMember::MAX;
        let crowded = (0_u64..3, 0_u32..29, any::<u64>())
            .prop_map(|(place, zeros, rest)| place << 28 | ((1 << 27 | (rest & ((1 << 27) - 1))) >> zeros));
        let member =
            prop_oneof![5 => anywhere, 1 => crowded].prop_map(|value| UsageMember::new(value).unwrap());
        prop_oneof![
            1 => prop::collection::vec(member.clone(), 0..100),
            2 => prop::collection::vec(member.clone(), 780..860),
            1 => prop::collection::vec(member, 860..2500),
        ]
    }

    #[test]
    fn a_set_is_exact_up_to_819_members() {
        let mut set = UsageSet::default();
        assert!(set.is_empty() && set.to_bytes().is_empty());
        for number in 0..819 {
            assert!(set.insert(spread(number)) && !set.insert(spread(number)));
            assert_eq!(set.count(), number + 1);
        }
        assert_eq!(set.to_bytes().len(), 4095);
        assert!(set.insert(spread(819)));
        assert_eq!(set.to_bytes().len(), 4096);
        assert!(set.count() >= 820);
    }

    /// For each of 100 secrets: at most 5 % off, and 1.3 % in the root of the mean square.
    #[test]
    fn beyond_819_the_count_is_near_the_truth() {
        const SIZES: [u32; 6] = [820, 1000, 3000, 10_000, 30_000, 100_000];
        let mut squares = [0.0; SIZES.len()];
        for number in 0..100 {
            let secret = UsageSecret::from_bytes([number; 16]);
            let mut set = UsageSet::default();
            let mut members = (0_u64..).filter_map(|key| secret.license_key(&key.to_string()));
            let mut added = 0;
            for (size, squares) in SIZES.iter().zip(&mut squares) {
                set.extend(members.by_ref().take(usize::try_from(size - added).unwrap()));
                added = *size;
                let count = f64::from(u32::try_from(set.count()).unwrap());
                let error = count / f64::from(*size) - 1.0;
                assert!(error.abs() < 0.05, "{count} for {size} with secret {number}");
                *squares += error * error;
            }
        }
        let errors = squares.map(|squares| (squares / 100.0_f64).sqrt());
        println!("root of the mean square for {SIZES:?}: {errors:.4?}");
        assert!(errors.iter().all(|error| *error <= 0.013), "{errors:?}");
    }

    #[test]
    fn bytes_that_are_no_set_are_refused() {
        let small = set((0..3).map(spread)).to_bytes();
        let swapped = [&small[5..10], &small[..5]].concat();
        let twice = [&small[..5], &small[..5]].concat();
        let large = set((0..1000).map(spread)).to_bytes();
        // Level 1 has nothing below it.
        let impossible = [&[5], &large[1..]].concat();
        let too_many = [&large[..], &[0; 4]].concat();
        for bytes in [&small[1..], &swapped, &twice, &impossible, &too_many, &large[1..]] {
            assert_eq!(UsageSet::from_bytes(bytes), Err(UnreadableUsageSet), "{} bytes", bytes.len());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

        /// Any order, cut into pages, repetition and tree of merges gives the same bytes.
        #[test]
        fn the_bytes_depend_on_the_members_alone(
            members in members(),
            order in any::<u64>(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
            merges in prop::collection::vec(any::<(prop::sample::Index, prop::sample::Index)>(), 6),
        ) {
            let expected = set(members.iter().copied());
            let truth = BTreeSet::from_iter(&members).len();
            prop_assert_eq!(matches!(expected.0, Members::Exact(_)), truth <= MOST_EXACT);

            let mut shuffled: Vec<UsageMember> = members.iter().chain(members.iter().step_by(3)).copied().collect();
            shuffled.sort_by_key(|member| member.get().wrapping_mul(order | 1));
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(shuffled.len() + 1)).collect();
            cuts.extend([0, shuffled.len()]);
            cuts.sort_unstable();
            // Pages overlap, as a page that is read again does.
            let pages = cuts.windows(2).map(|cut| set(shuffled[cut[0].saturating_sub(7)..cut[1]].iter().copied()));
            let mut parts: Vec<UsageSet> = pages.collect();
            let mut merges = merges.iter();
            while parts.len() > 1 {
                let (one, other) = merges.next().unwrap();
                let other = parts.swap_remove(other.index(parts.len()));
                let one = one.index(parts.len());
                // Through the ledger, too.
                let mut merged = UsageSet::from_bytes(&parts[one].to_bytes()).unwrap();
                merged.merge(&other);
                parts[one] = merged;
            }
            prop_assert_eq!(parts[0].to_bytes(), expected.to_bytes());
            prop_assert_eq!(&UsageSet::from_bytes(&expected.to_bytes()).unwrap(), &expected);
            if truth <= MOST_EXACT {
                prop_assert_eq!(expected.count(), u64::try_from(truth).unwrap());
            }
        }

        #[test]
        fn a_union_has_at_least_as_many_members_as_each_part(one in members(), other in members()) {
            let (one, other) = (set(one), set(other));
            let mut union = one.clone();
            let changes = union.merge(&other);
            prop_assert_eq!(changes, union != one);
            prop_assert!(union.count() >= one.count().max(other.count()));
        }
    }

    proptest! {
        // An estimate takes a millisecond without optimisation.
        #![proptest_config(ProptestConfig { cases: 30, ..ProptestConfig::default() })]

        /// A change is reported exactly if the bytes change, and never lowers the count.
        #[test]
        fn the_count_never_falls(members in members(), more in members()) {
            let mut set = set(members);
            let mut count = set.count();
            for member in more.into_iter().take(40) {
                let before = set.to_bytes();
                let changes = set.insert(member);
                prop_assert_eq!(changes, set.to_bytes() != before);
                let after = if changes { set.count() } else { count };
                prop_assert!(after >= count, "from {} to {}", count, after);
                count = after;
            }
        }
    }
}
