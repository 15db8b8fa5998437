//! How many label sets one account may have. Limits bound series, never values: rows that a limit
//! keeps out are counted under `other`.

/// Which limit a family has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitClass {
    /// That of counters.
    Sets,
    /// That of histograms.
    HistogramSets,
}

/// The limits of one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Label sets of a counter.
    pub sets: usize,
    /// Label sets of a histogram.
    pub histogram_sets: usize,
    /// Products, configured ones not counted.
    pub products: usize,
    /// Currencies.
    pub currencies: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { sets: 2000, histogram_sets: 300, products: 200, currencies: 20 }
    }
}

impl Limits {
    /// The limit of a class, in label sets.
    pub const fn of(&self, class: LimitClass) -> usize {
        match class {
            LimitClass::Sets => self.sets,
            LimitClass::HistogramSets => self.histogram_sets,
        }
    }
}
