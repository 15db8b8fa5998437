//! SVG: one drawing of a document as a file of its own.

use super::drawing::Drawing;
use crate::report::document::Block;
use crate::report::error::ReportError;

/// The drawing of a block.
///
/// # Errors
/// [`ReportError::Usage`] for a block that is not drawn.
pub(in crate::report) fn svg(block: &Block) -> Result<String, ReportError> {
    let drawing = Drawing::new(block);
    drawing.map(|drawing| drawing.alone()).ok_or_else(|| {
        ReportError::Usage(
            "--format=svg has no meaning for this report; --format=html has its charts".to_owned(),
        )
    })
}
