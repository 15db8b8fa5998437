//! A small random generator whose numbers never change.
//!
//! The simulated history must be the same for the same seed in every process and after every
//! upgrade of a dependency. The `rand` crate promises that for its generators but not for its
//! distributions, so the few that are needed stand here, over SplitMix64. Nothing here is fit for
//! secrets.

const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// Scrambles one word so that neighbouring inputs give unrelated outputs.
fn scramble(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Hashes a few words to one: a random number that belongs to exactly these words.
pub(crate) fn hash_of(words: &[u64]) -> u64 {
    words.iter().fold(GOLDEN_GAMMA, |hash, word| {
        scramble(hash.wrapping_add(GOLDEN_GAMMA) ^ scramble(word.wrapping_add(GOLDEN_GAMMA)))
    })
}

/// Turns a random word into a number in `0.0..1.0`.
pub(crate) fn unit_of(word: u64) -> f64 {
    (word >> 11) as f64 / (1_u64 << 53) as f64
}

/// SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    /// The stream of numbers that belongs to these words.
    pub(crate) fn for_stream(words: &[u64]) -> Self {
        Self { state: hash_of(words) }
    }

    pub(crate) fn next_word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN_GAMMA);
        scramble(self.state)
    }

    /// A number in `0..bound`; 0 if the bound is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_word()) * u128::from(bound)) >> 64) as u64
    }

    /// An index into something of this length.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// A number in `low..high`; `low` if the range is empty.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below(high.saturating_sub(low).max(0) as u64) as i64
    }

    /// A number in `0.0..1.0`.
    pub(crate) fn unit(&mut self) -> f64 {
        unit_of(self.next_word())
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// How often something happens that happens `mean` times on average.
    pub(crate) fn poisson(&mut self, mean: f64) -> u64 {
        if mean <= 0.0 {
            return 0;
        }
        if mean > 30.0 {
            // Close enough to a normal distribution from here on.
            let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
            let deviation = radius * (std::f64::consts::TAU * self.unit()).cos();
            return (mean + mean.sqrt() * deviation).round().max(0.0) as u64;
        }
        let limit = (-mean).exp();
        let mut product = self.unit();
        let mut count = 0;
        while product > limit {
            product *= self.unit();
            count += 1;
        }
        count
    }

    /// An index drawn in proportion to the weights.
    pub(crate) fn weighted(&mut self, weights: impl Iterator<Item = u64> + Clone) -> usize {
        let total: u64 = weights.clone().sum();
        let mut rest = self.below(total);
        for (index, weight) in weights.enumerate() {
            if rest < weight {
                return index;
            }
            rest -= weight;
        }
        0
    }

    /// Puts the items in a random order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            items.swap(index, self.index(index + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first outputs of SplitMix64 from state 0, as published with the algorithm. A history
    /// that was simulated once must be the same after every change of this module.
    #[test]
    fn the_generator_is_splitmix64() {
        let mut random = Random { state: 0 };
        let first = [random.next_word(), random.next_word(), random.next_word()];
        assert_eq!(first, [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f]);
        assert_ne!(hash_of(&[1, 2]), hash_of(&[2, 1]));
    }

    #[test]
    fn poisson_keeps_its_mean() {
        let mut random = Random::for_stream(&[7]);
        for mean in [0.3, 4.0, 200.0] {
            let total: u64 = (0..4000).map(|_| random.poisson(mean)).sum();
            let measured = total as f64 / 4000.0;
            assert!((measured - mean).abs() < 0.1 * mean, "{measured} for {mean}");
        }
    }

    #[test]
    fn weights_are_respected() {
        let mut random = Random::for_stream(&[9]);
        let hits = (0..1000).filter(|_| random.weighted([0, 9, 1].into_iter()) == 1).count();
        assert!((850..950).contains(&hits), "{hits}");
    }
}
