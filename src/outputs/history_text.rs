//! Samples of history as a file of OpenMetrics text, for `promtool tsdb create-blocks-from
//! openmetrics`.
//!
//! The samples must come family by family, and by series and time within each: promtool drops
//! samples that are not in order without a word.

use std::io::{self, Write};
use std::sync::Arc;

use crate::history::{HistoryFamily, HistorySample, HistorySeries};

use super::text::{escape, labels};

/// Writes samples one by one.
#[derive(Debug)]
pub struct HistoryTextWriter<W> {
    out: W,
    common: Vec<(String, String)>,
    family: Option<HistoryFamily>,
    /// The last series, and its text up to the value.
    series: Option<(Arc<HistorySeries>, Vec<u8>)>,
}

impl<W: Write> HistoryTextWriter<W> {
    /// A writer that gives every series the labels in `common`, too.
    pub fn new(out: W, common: Vec<(String, String)>) -> HistoryTextWriter<W> {
        HistoryTextWriter { out, common, family: None, series: None }
    }

    /// Writes a sample.
    ///
    /// # Errors
    /// That of the output.
    pub fn write(&mut self, sample: &HistorySample) -> io::Result<()> {
        let HistorySample { series, stamp, value } = sample;
        if self.family != Some(series.family) {
            self.family = Some(series.family);
            let row = series.family.family();
            let mut head = Vec::new();
            write!(head, "# HELP {} ", row.name)?;
            escape(&mut head, row.help, true);
            writeln!(head, "\n# TYPE {} gauge", row.name)?;
            self.out.write_all(&head)?;
        }
        let text = match &self.series {
            Some((last, text)) if Arc::ptr_eq(last, series) => text,
            _ => &self.series.insert((Arc::clone(series), named(series, &self.common))).1,
        };
        self.out.write_all(text)?;
        let (seconds, millis) = (stamp.div_euclid(1000), stamp.rem_euclid(1000));
        writeln!(self.out, " {value} {seconds}.{millis:03}")
    }

    /// Ends the text, and gives the output back.
    ///
    /// # Errors
    /// That of the output.
    pub fn end(mut self) -> io::Result<W> {
        self.out.write_all(b"# EOF\n")?;
        Ok(self.out)
    }
}

/// Name and labels of a series.
fn named(series: &HistorySeries, common: &[(String, String)]) -> Vec<u8> {
    let common = common.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut names: Vec<&str> = Vec::new();
    let mut values: Vec<&str> = Vec::new();
    let own = series.labels().map(|(name, value)| -> (&str, &str) { (name, value) });
    for (name, value) in own.chain(common).filter(|(_, value)| !value.is_empty()) {
        names.push(name);
        values.push(value);
    }
    let mut text = series.name().as_bytes().to_vec();
    text.push(b'{');
    text.extend(labels(&names, values.into_iter()));
    text.push(b'}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_heads_escapes_and_an_end() {
        let series = |family, value: &str| {
            let values = Arc::from([Arc::from(value)]);
            Arc::new(HistorySeries { family, account: "a\"b".into(), values })
        };
        let (events, objects) =
            (series(HistoryFamily::Covered, "events"), series(HistoryFamily::Covered, "objects"));
        let common = vec![("job".to_owned(), "exporter".to_owned())];
        let mut writer = HistoryTextWriter::new(Vec::new(), common);
        for (series, stamp, value) in [(&events, 60_001, 60), (&events, 120_001, 60), (&objects, 60_001, -7)]
        {
            writer.write(&HistorySample { series: Arc::clone(series), stamp, value }).unwrap();
        }
        let text = String::from_utf8(writer.end().unwrap()).unwrap();
        let expected = "# HELP cryptolens_history_covered_seconds 60 for every minute that was read, also if nothing happened in it.\n\
             # TYPE cryptolens_history_covered_seconds gauge\n\
             cryptolens_history_covered_seconds{account=\"a\\\"b\",log=\"events\",job=\"exporter\"} 60 60.001\n\
             cryptolens_history_covered_seconds{account=\"a\\\"b\",log=\"events\",job=\"exporter\"} 60 120.001\n\
             cryptolens_history_covered_seconds{account=\"a\\\"b\",log=\"objects\",job=\"exporter\"} -7 60.001\n\
             # EOF\n";
        assert_eq!(text, expected);
        let empty = HistoryTextWriter::new(Vec::new(), Vec::new()).end().unwrap();
        assert_eq!(empty, b"# EOF\n");
    }
}
