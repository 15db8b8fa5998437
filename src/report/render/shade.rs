//! A field of counts as characters, for the formats that cannot draw.

use super::axis::as_f64;
use crate::report::document::GridBlock;
use crate::text::thousands;

/// From nothing to the highest.
const SHADES: [char; 5] = ['·', '░', '▒', '▓', '█'];
/// Labels of columns stand this far apart.
const LABELS: usize = 6;

/// The names of some columns, then a line for each row.
pub(super) fn lines(block: &GridBlock) -> Vec<String> {
    let width = block.rows.iter().map(|row| row.label.chars().count()).max().unwrap_or(0);
    let mut head = " ".repeat(width + 1);
    for (column, name) in block.columns.iter().enumerate().step_by(LABELS) {
        let room = (width + 1 + column).saturating_sub(head.chars().count());
        head += &" ".repeat(room);
        head += name;
    }
    let highest = block.highest();
    let row = |label: &str, values: &[u64]| {
        let shades: String = values.iter().map(|value| shade(*value, highest)).collect();
        format!("{label:width$} {shades}")
    };
    std::iter::once(head).chain(block.rows.iter().map(|line| row(line.label, &line.values))).collect()
}

/// The count that the deepest shade stands for.
pub(super) fn legend(block: &GridBlock) -> String {
    format!("█ is up to {} {}. {}", thousands(block.highest()), block.unit, block.note)
}

/// What is not nothing is seen.
fn shade(value: u64, highest: u64) -> char {
    let deepest = SHADES.len() - 1;
    #[allow(clippy::cast_precision_loss, reason = "five shades")]
    let part = value as f64 / highest.max(1) as f64;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 4")]
    let level = (part * as_f64(deepest)).ceil() as usize;
    SHADES.get(level.min(deepest)).copied().unwrap_or('█')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_count_is_seen_and_the_highest_is_full() {
        for (value, expected) in
            [(0, '·'), (1, '░'), (250, '░'), (251, '▒'), (750, '▓'), (751, '█'), (1000, '█')]
        {
            assert_eq!(shade(value, 1000), expected, "{value}");
        }
        assert_eq!(shade(0, 0), '·');
    }
}
