//! A strict reader of the Prometheus text format: whatever is odd about a page fails the test.

use std::collections::{BTreeMap, BTreeSet};

use cryptolens_exporter::metrics::{FamilyType, Persistence};
use cryptolens_exporter::tally::families::FAMILIES;

/// A name with its labels, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
}

impl Series {
    pub(crate) fn new(name: &str, labels: &[(&str, &str)]) -> Series {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Series { name: name.to_owned(), labels: labels.collect() }
    }

    fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        let has = |(label, value): &(&str, &str)| self.labels.get(*label).is_some_and(|own| own == value);
        self.name == name && labels.iter().all(has)
    }
}

/// One answer of `/metrics`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Page {
    /// Type by family.
    pub(crate) types: BTreeMap<String, String>,
    pub(crate) samples: BTreeMap<Series, f64>,
}

impl Page {
    pub(crate) fn parse(text: &str) -> Page {
        let mut page = Page::default();
        let mut helped = BTreeSet::new();
        let mut family = String::new();
        assert!(text.is_empty() || text.ends_with('\n'), "the last line is cut");
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("no help: {line}"));
                assert!(!help.is_empty() && helped.insert(name.to_owned()), "described twice: {line}");
                name.clone_into(&mut family);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("no type: {line}"));
                assert!(name == family && ["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(page.types.insert(name.to_owned(), kind.to_owned()), None, "{line}");
            } else {
                let (series, value) = sample(line);
                let kind = page.types.get(&family).unwrap_or_else(|| panic!("no type before: {line}"));
                let suffix = series.name.strip_prefix(&family).unwrap_or_else(|| panic!("stray: {line}"));
                let fits = if kind == "histogram" {
                    ["_bucket", "_sum", "_count"].contains(&suffix)
                } else {
                    suffix.is_empty()
                };
                assert!(fits, "not of {family}: {line}");
                assert_eq!(page.samples.insert(series, value), None, "twice: {line}");
            }
        }
        page
    }

    pub(crate) fn has_family(&self, name: &str) -> bool {
        self.types.contains_key(name)
    }

    /// The value of the only series with this name and, among others, these labels.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut found = self.samples.iter().filter(|(series, _)| series.has(name, labels));
        let value = found.next().map(|(_, value)| *value);
        assert!(found.next().is_none(), "{name} {labels:?} is more than one series");
        value
    }

    /// The sum over all series with this name and, among others, these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.samples.iter().filter(|(series, _)| series.has(name, labels)).map(|(_, value)| value).sum()
    }
}

/// One line, as `name{label="value",...} 1`.
fn sample(line: &str) -> (Series, f64) {
    let name_end = line.find(['{', ' ']).unwrap_or_else(|| panic!("no sample: {line}"));
    let (name, mut rest) = line.split_at(name_end);
    let fit = |c: char| c.is_ascii_alphanumeric() || c == '_';
    assert!(!name.is_empty() && name.chars().all(fit), "bad name: {line}");
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("bad labels: {line}"));
            assert!(!label.is_empty() && label.chars().all(fit), "bad label {label:?}: {line}");
            let (value, after) = quoted(after).unwrap_or_else(|| panic!("bad value: {line}"));
            assert_eq!(labels.insert(label.to_owned(), value), None, "label twice: {line}");
            match after.strip_prefix(',') {
                Some(more) => rest = more,
                None => {
                    rest = after.strip_prefix('}').unwrap_or_else(|| panic!("no end: {line}"));
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ').and_then(|value| value.parse().ok());
    let value = value.unwrap_or_else(|| panic!("bad value: {line}"));
    (Series { name: name.to_owned(), labels }, value)
}

/// A label value up to its closing quote, unescaped, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                plain @ ('\\' | '"') => plain,
                _ => return None,
            }),
            other => value.push(other),
        }
    }
    None
}

/// Sees that no counter of the ledger, no bucket, count or sum, and no cursor ever goes down or
/// goes away.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    highest: BTreeMap<Series, f64>,
    pub(crate) scrapes: u64,
}

impl Watch {
    pub(crate) fn see(&mut self, page: &Page) {
        self.scrapes += 1;
        for (series, value) in page.samples.iter().filter(|(series, _)| only_rises(&series.name)) {
            let highest = self.highest.entry(series.clone()).or_insert(*value);
            assert!(*highest <= *value, "{series:?} went down from {highest} to {value}");
            *highest = *value;
        }
        for series in self.highest.keys() {
            assert!(page.samples.contains_key(series), "{series:?} went away");
        }
    }

    /// How many series of a family were seen.
    pub(crate) fn seen(&self, name: &str) -> usize {
        self.highest.keys().filter(|series| series.name == name).count()
    }
}

fn only_rises(name: &str) -> bool {
    name == "cryptolens_exporter_cursor_id"
        || FAMILIES.iter().filter(|family| family.persistence == Persistence::Ledger).any(|family| {
            name.strip_prefix(family.name).is_some_and(|suffix| match family.family_type {
                FamilyType::Counter => suffix.is_empty(),
                FamilyType::Histogram(_) => ["_bucket", "_sum", "_count"].contains(&suffix),
                FamilyType::Gauge => false,
            })
        })
}
