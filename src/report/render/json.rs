//! JSON: the document as it is, for programs.

use crate::report::document::Document;
use crate::report::error::ReportError;

/// The document, with a line feed at its end.
pub(super) fn json(document: &Document) -> Result<String, ReportError> {
    let json =
        serde_json::to_string_pretty(document).map_err(|error| ReportError::Draw(error.to_string()))?;
    Ok(json + "\n")
}
