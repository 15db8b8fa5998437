//! JSON, for programs.

use serde::Serialize;

use crate::report::error::ReportError;

/// A document or a report as it is, with a line feed at its end.
pub(in crate::report) fn json(report: &impl Serialize) -> Result<String, ReportError> {
    let json = serde_json::to_string_pretty(report).map_err(|error| ReportError::Draw(error.to_string()))?;
    Ok(json + "\n")
}
