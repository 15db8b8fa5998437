//! Where the labels of the marks of a chart stand, so that none of them is printed over another.
//!
//! A drawing is the same on every screen. On a narrow one it is drawn smaller and its letters larger
//! (`style.css`), so that the rows have room for the larger letters.

use super::axis::as_f64;

/// Units that a letter takes on average, at the 20 px of a narrow screen in bold.
const LETTER: f64 = 12.2;
/// Units that a digit takes, at 20 px and at 11 px.
const NARROW_DIGIT: f64 = 12.8;
const WIDE_DIGIT: f64 = 7.0;
/// The distance of a label from its mark.
pub(super) const GAP: f64 = 6.0;
/// A narrow screen shows this much of what passes the ends of a drawing, on the margin of the page.
const MARGIN: f64 = 20.0;
/// More rows of numbers than these are a smear.
const MOST_ROWS: usize = 3;

/// A label beside its mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Beside {
    /// False where it begins at the mark, true where it ends there.
    pub(super) is_left: bool,
    /// From the top.
    pub(super) row: usize,
}

/// Places a label of some letters beside each mark of a drawing of this width. The marks are in the
/// order of time.
pub(super) fn beside(marks: &[(f64, usize)], width: f64) -> Vec<Beside> {
    let span = |(x, letters): (f64, usize), is_left: bool| {
        let reach = GAP + LETTER * as_f64(letters);
        if is_left { (x - reach, x) } else { (x, x + reach) }
    };
    let side = |mark: &(f64, usize)| {
        let fits = |is_left: &bool| {
            let (from, to) = span(*mark, *is_left);
            from >= -MARGIN && to <= width + MARGIN
        };
        // The line of another mark should not cross it.
        let is_free = |is_left: &bool| {
            let (from, to) = span(*mark, *is_left);
            marks.iter().all(|(x, _)| *x <= from || *x >= to)
        };
        let sides = || [false, true].into_iter().filter(fits);
        sides().find(is_free).or_else(|| sides().next()).unwrap_or(mark.0 > width / 2.0)
    };
    let mut placed: Vec<Beside> = marks.iter().map(|mark| Beside { is_left: side(mark), row: 0 }).collect();
    // A line begins at the row of its label. The label that is nearest to its end of the drawing takes the
    // first row, so that the lines of the others begin below it.
    let is_left = |index: &usize| placed.get(*index).is_some_and(|label| label.is_left);
    let (left, right): (Vec<usize>, Vec<usize>) = (0..marks.len()).partition(is_left);
    let mut rows = LabelRows::default();
    for index in left.into_iter().rev().chain(right) {
        if let Some((mark, label)) = marks.get(index).zip(placed.get_mut(index)) {
            label.row = rows.take(span(*mark, label.is_left));
        }
    }
    placed
}

/// Numbers above their marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Above {
    /// The row of each number, from the bottom.
    pub(super) rows: Vec<usize>,
    /// True where they have room on a wide screen only.
    pub(super) is_wide_only: bool,
}

/// Places a number of some digits above each mark; `None` where there are too many of them.
pub(super) fn above(marks: &[(f64, usize)]) -> Option<Above> {
    let placed = |digit: f64| {
        let mut rows = LabelRows::default();
        let take = |(x, digits): &(f64, usize)| {
            let half = (digit * as_f64(*digits) + 2.0) / 2.0;
            rows.take((x - half, x + half))
        };
        let rows: Vec<usize> = marks.iter().map(take).collect();
        rows.iter().all(|row| *row < MOST_ROWS).then_some(rows)
    };
    let narrow = placed(NARROW_DIGIT).map(|rows| Above { rows, is_wide_only: false });
    narrow.or_else(|| placed(WIDE_DIGIT).map(|rows| Above { rows, is_wide_only: true }))
}

/// The spans that are taken in each row.
#[derive(Default)]
struct LabelRows(Vec<Vec<(f64, f64)>>);

impl LabelRows {
    /// Takes a span of the first row in which it is free.
    fn take(&mut self, (from, to): (f64, f64)) -> usize {
        let is_free = |row: &Vec<(f64, f64)>| row.iter().all(|(begin, end)| to <= *begin || from >= *end);
        let index = self.0.iter().position(is_free).unwrap_or(self.0.len());
        match self.0.get_mut(index) {
            Some(row) => row.push((from, to)),
            None => self.0.push(vec![(from, to)]),
        }
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sides_and_rows(marks: &[(f64, usize)]) -> Vec<(bool, usize)> {
        beside(marks, 920.0).into_iter().map(|label| (label.is_left, label.row)).collect()
    }

    #[test]
    fn labels_of_marks_do_not_overlap() {
        // An incident that goes on: both marks are at the end of the chart.
        assert_eq!(sides_and_rows(&[(868.0, 34), (877.0, 22)]), [(true, 1), (true, 0)]);
        // Both at its beginning.
        assert_eq!(sides_and_rows(&[(60.0, 34), (70.0, 22)]), [(false, 0), (false, 1)]);
        // In the middle there is room on both sides.
        assert_eq!(sides_and_rows(&[(513.0, 34), (529.0, 22)]), [(true, 0), (false, 0)]);
        // A change, the onset and the end of an incident within a week.
        assert_eq!(
            sides_and_rows(&[(491.1, 41), (491.3, 29), (493.8, 19)]),
            [(true, 0), (false, 0), (false, 1)]
        );
        assert!(sides_and_rows(&[]).is_empty());
    }

    #[test]
    fn numbers_that_have_no_room_are_left_out() {
        let every = |distance: f64, count: usize| -> Vec<(f64, usize)> {
            (0..count).map(|index| (46.0 + distance * as_f64(index), 2)).collect()
        };
        let shown = |marks: &[(f64, usize)]| above(marks).map(|above| above.is_wide_only);
        assert_eq!(above(&every(60.0, 14)), Some(Above { rows: vec![0; 14], is_wide_only: false }));
        assert_eq!(shown(&every(12.0, 14)), Some(false));
        assert_eq!(shown(&every(7.0, 30)), Some(true));
        assert_eq!(shown(&every(4.0, 38)), None);
    }
}
