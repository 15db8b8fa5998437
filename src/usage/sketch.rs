//! A sketch of many members in 4,096 bytes: UltraLogLog with p = 12.
//!
//! The first 12 bits of a member name a register, the number of zeros after them is its level:
//! level 1 has half of the members, level 2 a quarter. A register keeps the highest level that was
//! seen, and whether each of the two levels below it was. So it is a function of the set of levels
//! that were seen, whatever their order.

use super::member::UsageMember;

/// The number of registers.
pub(super) const REGISTERS: usize = 4096;
/// The bits of a member after those that name the register.
const LEVEL_BITS: u32 = 28;
/// The highest level: all bits are zeros.
pub(super) const HIGHEST_LEVEL: u8 = 29;
/// One more than the largest value of a register.
pub(super) const STATES: usize = 4 * (HIGHEST_LEVEL as usize + 1);

/// The levels that a register has seen, in 8 bits: four times the highest one, plus 2 if the level
/// below it was seen, plus 1 for the one below that. 0 is a register without members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Register(u8);

impl Register {
    /// The register with this value; `None` for one that cannot arise.
    pub(super) fn new(value: u8) -> Option<Register> {
        let register = Register(value);
        (usize::from(value) < STATES && Register::of(register.seen()) == register).then_some(register)
    }

    pub(super) const fn value(self) -> u8 {
        self.0
    }

    /// The highest level; 0 if there is none.
    pub(super) const fn highest(self) -> u8 {
        self.0 >> 2
    }

    /// True if the level one below the highest was seen.
    pub(super) const fn has_second(self) -> bool {
        self.0 & 2 != 0
    }

    /// True if the level two below the highest was seen.
    pub(super) const fn has_third(self) -> bool {
        self.0 & 1 != 0
    }

    /// The register with one more level.
    pub(super) fn with_level(self, level: u8) -> Register {
        Register::of(self.seen() | 1 << level)
    }

    /// The register that has seen what either has.
    pub(super) fn merged(self, other: Register) -> Register {
        Register::of(self.seen() | other.seen())
    }

    /// The known levels as bits.
    const fn seen(self) -> u64 {
        if self.0 == 0 { 0 } else { ((4 | (self.0 & 3)) as u64) << self.highest() >> 2 }
    }

    /// Forgets all but the three highest places.
    fn of(seen: u64) -> Register {
        // There is no level 0.
        let seen = seen & !1;
        let Some(highest) = seen.checked_ilog2() else { return Register(0) };
        // Levels are below 30, so both parts fit.
        let low = u8::try_from((seen << 2 >> highest) & 3).unwrap_or_default();
        Register(u8::try_from(highest << 2).unwrap_or_default() | low)
    }
}

/// Place and level of a member.
pub(super) fn placed(member: UsageMember) -> (usize, u8) {
    let place = usize::try_from(member.get() >> LEVEL_BITS).unwrap_or_default();
    let rest = member.get() & ((1 << LEVEL_BITS) - 1);
    let zeros = rest.leading_zeros() - (u64::BITS - LEVEL_BITS);
    (place, u8::try_from(zeros + 1).unwrap_or(HIGHEST_LEVEL))
}

/// A sketch of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sketch(Box<[Register]>);

impl Sketch {
    pub(super) fn new() -> Sketch {
        Sketch(vec![Register::default(); REGISTERS].into_boxed_slice())
    }

    /// Adds a member. Returns true if the sketch changes.
    pub(super) fn insert(&mut self, member: UsageMember) -> bool {
        let (place, level) = placed(member);
        let Some(register) = self.0.get_mut(place) else { return false };
        let before = std::mem::replace(register, register.with_level(level));
        *register != before
    }

    /// Adds all members of another sketch. Returns true if this one changes.
    pub(super) fn merge(&mut self, other: &Sketch) -> bool {
        let mut changes = false;
        for (register, other) in self.0.iter_mut().zip(&other.0) {
            let merged = register.merged(*other);
            changes |= merged != *register;
            *register = merged;
        }
        changes
    }

    /// The number of registers in each state, by their values.
    pub(super) fn states(&self) -> [u32; STATES] {
        let mut registers = [0_u32; STATES];
        for register in &self.0 {
            if let Some(count) = registers.get_mut(usize::from(register.value())) {
                *count += 1;
            }
        }
        registers
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().map(|register| register.value()).collect()
    }

    /// `None` for bytes that are no sketch.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Sketch> {
        let registers: Option<Box<[Register]>> = bytes.iter().map(|value| Register::new(*value)).collect();
        registers.filter(|registers| registers.len() == REGISTERS).map(Sketch)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_level_is_one_more_than_the_zeros_after_the_place() {
        let at = |value| placed(UsageMember::new(value).unwrap());
        assert_eq!(at(0), (0, 29));
        assert_eq!(at(1), (0, 28));
        assert_eq!(at(1 << 27), (0, 1));
        assert_eq!(at(UsageMember::MAX), (4095, 1));
        assert_eq!(at(5 << 28 | 1 << 26), (5, 2));
    }

    #[test]
    fn only_states_that_arise_are_registers() {
        let states = (0..=u8::MAX).filter(|value| Register::new(*value).is_some()).count();
        // None, level 1, level 2 with or without level 1, four of each higher level.
        assert_eq!(states, 1 + 1 + 2 + 4 * 27);
    }

    proptest! {
        /// A register says what the rule says, and nothing of the order.
        #[test]
        fn a_register_knows_the_highest_level_and_the_two_below(levels in prop::collection::vec(1_u8..=29, 0..12)) {
            let register = levels.iter().fold(Register::default(), |register, level| register.with_level(*level));
            let seen: BTreeSet<u8> = levels.iter().copied().collect();
            let highest = seen.last().copied().unwrap_or_default();
            prop_assert_eq!(register.highest(), highest);
            let below = |distance| highest > distance && seen.contains(&(highest - distance));
            prop_assert_eq!((register.has_second(), register.has_third()), (below(1), below(2)));
            prop_assert_eq!(Register::new(register.value()), Some(register));
        }
    }
}
