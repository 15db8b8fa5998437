//! The definition of a metric family: its name, type, labels, persistence and help text.

/// The type of a family.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FamilyType {
    /// Only ever rises; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations by upper bound. The bounds are those of the label `le`, without `+Inf`.
    Histogram(&'static [f64]),
}

impl FamilyType {
    /// The name of the type in the exposition formats.
    pub const fn name(self) -> &'static str {
        match self {
            FamilyType::Counter => "counter",
            FamilyType::Gauge => "gauge",
            FamilyType::Histogram(_) => "histogram",
        }
    }

    /// The upper bounds of a histogram; empty for the other types.
    pub const fn bounds(self) -> &'static [f64] {
        match self {
            FamilyType::Histogram(bounds) => bounds,
            FamilyType::Counter | FamilyType::Gauge => &[],
        }
    }
}

/// Where the values of a family live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// In the ledger: the values survive restarts.
    Ledger,
    /// In the process: the values start with it.
    Process,
}

/// One metric family, as every output describes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Family {
    /// The name, as on `/metrics`.
    pub name: &'static str,
    /// The type.
    pub family_type: FamilyType,
    /// The names of its labels, in the order in which they are shown.
    pub labels: &'static [&'static str],
    /// Whether its values survive restarts.
    pub persistence: Persistence,
    /// One or two sentences.
    pub help: &'static str,
}

impl Family {
    /// The upper bounds of a histogram; empty for the other types.
    pub const fn bounds(&self) -> &'static [f64] {
        self.family_type.bounds()
    }
}
