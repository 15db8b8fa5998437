//! The values that start with the process: gathered when somebody asks, so that they are of now.
//!
//! A part of the program that measures itself implements [`ProcessSource`] and registers it once.
//! The registry knows no family by name.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::family::{Family, FamilyType};
use super::histogram::Durations;
use super::point::BirthTime;

/// A value that may be a fraction.
#[derive(Debug, Clone, PartialEq)]
pub enum ProcessValue {
    /// Of a counter.
    Counter(f64),
    /// Of a gauge.
    Gauge(f64),
    /// Of a histogram.
    Histogram {
        /// Observations by bucket, not cumulative; what is above the last bound is only in `count`.
        buckets: Vec<u64>,
        /// All observations.
        count: u64,
        /// Their sum.
        sum: f64,
    },
}

impl From<Durations> for ProcessValue {
    fn from(durations: Durations) -> ProcessValue {
        let Durations { buckets, count, sum, .. } = durations;
        ProcessValue::Histogram { buckets, count, sum }
    }
}

/// One label set of a family of the process.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessPoint {
    /// Label values in the order of the family.
    pub labels: Vec<Arc<str>>,
    /// The value.
    pub value: ProcessValue,
}

/// A family with its points.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessFamily {
    /// The name.
    pub name: Cow<'static, str>,
    /// The help text.
    pub help: Cow<'static, str>,
    /// The type.
    pub family_type: FamilyType,
    /// The names of the labels.
    pub labels: &'static [&'static str],
    /// The label sets.
    pub points: Vec<ProcessPoint>,
}

impl ProcessFamily {
    /// A family of the family table, without points.
    pub fn of(family: &Family) -> ProcessFamily {
        ProcessFamily {
            name: Cow::Borrowed(family.name),
            help: Cow::Borrowed(family.help),
            family_type: family.family_type,
            labels: family.labels,
            points: Vec::new(),
        }
    }

    /// Adds a label set; `labels` in the order of the family.
    pub fn push(&mut self, labels: &[&str], value: ProcessValue) {
        self.points
            .push(ProcessPoint { labels: labels.iter().map(|label| Arc::from(*label)).collect(), value });
    }

    /// As [`ProcessFamily::push`], for a gauge.
    pub fn gauge(&mut self, labels: &[&str], value: f64) {
        self.push(labels, ProcessValue::Gauge(value));
    }

    /// As [`ProcessFamily::push`], for a counter of whole numbers.
    pub fn counter(&mut self, labels: &[&str], value: u64) {
        // No count comes near 2^53.
        #[allow(clippy::cast_precision_loss)]
        self.push(labels, ProcessValue::Counter(value as f64));
    }

    /// The only label set of a family without labels.
    #[must_use]
    pub fn with(mut self, value: ProcessValue) -> ProcessFamily {
        self.push(&[], value);
        self
    }
}

/// A part of the program that measures itself.
pub trait ProcessSource: Send + Sync {
    /// Its families as of now. Called for each scrape and push: it must not wait.
    fn collect(&self) -> Vec<ProcessFamily>;
}

impl<F: Fn() -> Vec<ProcessFamily> + Send + Sync> ProcessSource for F {
    fn collect(&self) -> Vec<ProcessFamily> {
        self()
    }
}

/// Everything that starts with the process, at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ProcessPart {
    /// Sorted by name; none is empty.
    pub families: Vec<ProcessFamily>,
    /// The start of the process.
    pub born: BirthTime,
}

/// The sources of the process.
pub struct ProcessRegistry {
    sources: RwLock<Vec<Arc<dyn ProcessSource>>>,
    born: BirthTime,
}

impl ProcessRegistry {
    /// A registry of a process that started at `born`.
    pub fn new(born: BirthTime) -> ProcessRegistry {
        ProcessRegistry { sources: RwLock::default(), born }
    }

    /// Adds a source, for as long as the process runs.
    pub fn register(&self, source: Arc<dyn ProcessSource>) {
        self.sources.write().unwrap_or_else(PoisonError::into_inner).push(source);
    }

    /// Everything as of now. Sources that name the same family share it.
    pub fn gather(&self) -> ProcessPart {
        let mut families: BTreeMap<Cow<'static, str>, ProcessFamily> = BTreeMap::new();
        for source in self.sources.read().unwrap_or_else(PoisonError::into_inner).iter() {
            for family in source.collect().into_iter().filter(|family| !family.points.is_empty()) {
                match families.get_mut(&family.name) {
                    Some(known) => known.points.extend(family.points),
                    None => {
                        families.insert(family.name.clone(), family);
                    }
                }
            }
        }
        ProcessPart { families: families.into_values().collect(), born: self.born }
    }
}

impl std::fmt::Debug for ProcessRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProcessRegistry").field("born", &self.born).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(name: &'static str, values: &[f64]) -> ProcessFamily {
        let points = values
            .iter()
            .map(|value| ProcessPoint { labels: Vec::new(), value: ProcessValue::Gauge(*value) })
            .collect();
        let (name, help) = (Cow::Borrowed(name), Cow::Borrowed("Help."));
        ProcessFamily { name, help, family_type: FamilyType::Gauge, labels: &[], points }
    }

    #[test]
    fn families_are_sorted_shared_and_never_empty() {
        let registry = ProcessRegistry::new(BirthTime::at_seconds(7));
        registry.register(Arc::new(|| vec![family("b", &[1.0]), family("c", &[])]));
        registry.register(Arc::new(|| vec![family("b", &[2.0]), family("a", &[3.0])]));
        let part = registry.gather();
        assert_eq!(part.families, [family("a", &[3.0]), family("b", &[1.0, 2.0])]);
        assert_eq!(part.born.known(), Some(7000));
    }
}
