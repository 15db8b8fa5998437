//! The charts, as SVG that stands alone or within a page.
//!
//! Colours are fixed in the file, so that it looks the same anywhere; the page of [`super::page`]
//! overrides them by their values for a dark screen. Text is drawn as text, and no font is needed
//! to make the file.

use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::{
    Cartesian2d, ChartBuilder, ChartContext, DrawingArea, IntoDrawingArea, IntoFont, LineSeries, PathElement,
    Rectangle, Text,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, RGBColor, ShapeStyle, TextStyle};

use super::error::ReportError;
use super::text::{percent, thousands};

/// The colours, as they are written in the SVG.
pub(super) const PAPER: (RGBColor, &str) = (RGBColor(255, 255, 255), "#FFFFFF");
pub(super) const INK: (RGBColor, &str) = (RGBColor(31, 36, 48), "#1F2430");
pub(super) const GRID: (RGBColor, &str) = (RGBColor(217, 221, 227), "#D9DDE3");
pub(super) const GOOD: (RGBColor, &str) = (RGBColor(46, 125, 91), "#2E7D5B");
pub(super) const BAD: (RGBColor, &str) = (RGBColor(194, 65, 59), "#C2413B");
pub(super) const OTHER: (RGBColor, &str) = (RGBColor(138, 143, 152), "#8A8F98");

const WIDE: (u32, u32) = (960, 320);
const FONT: &str = "sans-serif";
/// A third more than the pixels that it becomes: without a font at hand, an em is taken for a line.
const FONT_SIZE: i32 = 16;
const TITLE_SIZE: i32 = 20;
/// More labels than this would overlap.
const LABELS: usize = 12;

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Axes = Cartesian2d<RangedCoordf64, RangedCoordf64>;

/// One bar of parts that stand on each other.
#[derive(Debug, Clone)]
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) parts: Vec<(f64, RGBColor)>,
    /// Written above it; empty for nothing.
    pub(super) value: String,
}

/// The quantity on the vertical axis.
#[derive(Debug, Clone, Copy)]
pub(super) enum Axis {
    Number,
    Share,
}

impl Axis {
    fn label(self, value: f64) -> String {
        match self {
            Axis::Share => percent(Some(value)).replace(".00 ", " "),
            // Labels of counts are whole numbers, far below 2^53.
            #[allow(clippy::cast_possible_truncation)]
            Axis::Number => thousands(value.round() as i64),
        }
    }
}

/// Bars side by side, each as high as its parts together. `legend` names the colours.
pub(super) fn bars(
    title: &str,
    bars: &[Bar],
    axis: Axis,
    legend: &[(&str, RGBColor)],
) -> Result<String, ReportError> {
    let few = bars.len() <= 4;
    let size = if few { (560, 360) } else { WIDE };
    let height = |bar: &Bar| bar.parts.iter().map(|(part, _)| part).sum::<f64>();
    let highest = bars.iter().map(height).fold(0.0, f64::max);
    let top = match axis {
        // Room for what is written above a bar of nearly everything.
        Axis::Share => 1.1,
        Axis::Number => round_up(highest),
    };
    let end = as_f64(bars.len().max(1));
    drawn(title, size, legend, |canvas| {
        let mut chart = axes(canvas, 0.0..end, 0.0..top, axis)?;
        let half = if few { 0.3 } else { 0.42 };
        for (index, bar) in bars.iter().enumerate() {
            let middle = as_f64(index) + 0.5;
            let mut base = 0.0;
            let parts = bar.parts.iter().filter(|(part, _)| *part > 0.0).map(|(part, colour)| {
                let lower = base;
                base += part;
                Rectangle::new([(middle - half, lower), (middle + half, base)], colour.filled())
            });
            chart.draw_series(parts).map_err(failed)?;
        }
        let every = bars.len().div_ceil(LABELS).max(1);
        for (index, bar) in bars.iter().enumerate() {
            let middle = as_f64(index) + 0.5;
            if index % every == 0 {
                let (x, y) = chart.plotting_area().map_coordinate(&(middle, 0.0));
                write(canvas, &bar.label, (x, y + 8), HPos::Center)?;
            }
            if !bar.value.is_empty() {
                let (x, y) = chart.plotting_area().map_coordinate(&(middle, height(bar)));
                // On paper of its own, so that no line of the grid strikes it through.
                let half = i32::try_from(bar.value.chars().count()).unwrap_or(0) * 4;
                let paper = Rectangle::new([(x - half, y - 20), (x + half, y - 3)], PAPER.0.filled());
                canvas.draw(&paper).map_err(failed)?;
                write(canvas, &bar.value, (x, y - 18), HPos::Center)?;
            }
        }
        Ok(())
    })
}

/// A number over time that changes in steps, with a line at its limit. `steps` are times and the
/// number from each on;
/// `label` writes a time.
pub(super) fn steps(
    title: &str,
    steps: &[(i64, u64)],
    (from, to): (i64, i64),
    limit: Option<u64>,
    legend: &[(&str, RGBColor)],
    label: impl Fn(i64) -> String,
) -> Result<String, ReportError> {
    let highest = steps.iter().map(|(_, number)| *number).chain(limit).max().unwrap_or(0);
    let top = round_up(number_f64(highest) * 1.1);
    let x = |time: i64| seconds_f64(time - from);
    drawn(title, WIDE, legend, |canvas| {
        let mut chart = axes(canvas, 0.0..x(to), 0.0..top, Axis::Number)?;
        let mut corners: Vec<(f64, f64)> = Vec::with_capacity(steps.len() * 2 + 1);
        for (time, number) in steps {
            if let Some((_, before)) = corners.last().copied() {
                corners.push((x(*time), before));
            }
            corners.push((x(*time), number_f64(*number)));
        }
        if let Some((_, last)) = corners.last().copied() {
            corners.push((x(to), last));
        }
        let line = ShapeStyle { color: GOOD.0.to_rgba(), filled: false, stroke_width: 2 };
        chart.draw_series(LineSeries::new(corners, line)).map_err(failed)?;
        if let Some(limit) = limit {
            let ends = vec![(0.0, number_f64(limit)), (x(to), number_f64(limit))];
            let line = ShapeStyle { color: BAD.0.to_rgba(), filled: false, stroke_width: 1 };
            chart.draw_series([PathElement::new(ends, line)]).map_err(failed)?;
        }
        for part in 0..=6 {
            let time = from + (to - from) * part / 6;
            let (column, y) = chart.plotting_area().map_coordinate(&(x(time), 0.0));
            let position = match part {
                0 => HPos::Left,
                6 => HPos::Right,
                _ => HPos::Center,
            };
            write(canvas, &label(time), (column, y + 8), position)?;
        }
        Ok(())
    })
}

/// Title, legend, and whatever `draw` draws.
fn drawn(
    title: &str,
    size: (u32, u32),
    legend: &[(&str, RGBColor)],
    draw: impl FnOnce(&Canvas<'_>) -> Result<(), ReportError>,
) -> Result<String, ReportError> {
    let mut svg = String::new();
    {
        let canvas = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        canvas.fill(&PAPER.0).map_err(failed)?;
        let style = TextStyle::from((FONT, TITLE_SIZE).into_font()).color(&INK.0);
        canvas.draw(&Text::new(title.to_owned(), (16, 12), style)).map_err(failed)?;
        let mut left = 16;
        for (name, colour) in legend {
            let square = Rectangle::new([(left, 40), (left + 10, 50)], colour.filled());
            canvas.draw(&square).map_err(failed)?;
            write(&canvas, name, (left + 16, 39), HPos::Left)?;
            // Without a font there is no measure; this is wide enough for lower case of this size.
            left += 40 + i32::try_from(name.chars().count()).unwrap_or(0) * 7;
        }
        draw(&canvas)?;
        canvas.present().map_err(failed)?;
    }
    Ok(svg)
}

fn axes<'a, 'b>(
    canvas: &Canvas<'b>,
    x: std::ops::Range<f64>,
    y: std::ops::Range<f64>,
    axis: Axis,
) -> Result<ChartContext<'a, SVGBackend<'b>, Axes>, ReportError> {
    let mut chart = ChartBuilder::on(canvas)
        .margin(16)
        .margin_top(64)
        .margin_bottom(36)
        .y_label_area_size(60)
        .build_cartesian_2d(x, y)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .y_labels(5)
        .y_max_light_lines(0)
        .bold_line_style(GRID.0)
        .axis_style(GRID.0)
        .label_style(TextStyle::from((FONT, FONT_SIZE).into_font()).color(&INK.0))
        .y_label_formatter(&|value| axis.label(*value))
        .draw()
        .map_err(failed)?;
    Ok(chart)
}

fn write(canvas: &Canvas<'_>, text: &str, at: (i32, i32), position: HPos) -> Result<(), ReportError> {
    let style =
        TextStyle::from((FONT, FONT_SIZE).into_font()).color(&INK.0).pos(Pos::new(position, VPos::Top));
    canvas.draw(&Text::new(text.to_owned(), at, style)).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> ReportError {
    ReportError::Draw(error.to_string())
}

/// The end of an axis that has its labels at round numbers: 1, 2 or 5 times a power of ten, times 5
/// at most.
fn round_up(highest: f64) -> f64 {
    if highest <= 5.0 {
        return 5.0;
    }
    let power = 10_f64.powf(highest.log10().floor());
    let steps = [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    steps.iter().map(|step| step * power).find(|end| *end >= highest).unwrap_or(highest)
}

fn as_f64(index: usize) -> f64 {
    number_f64(u64::try_from(index).unwrap_or(u64::MAX))
}

#[allow(clippy::cast_precision_loss, reason = "a pixel is far coarser")]
const fn number_f64(number: u64) -> f64 {
    number as f64
}

#[allow(clippy::cast_precision_loss, reason = "a pixel is far coarser")]
const fn seconds_f64(seconds: i64) -> f64 {
    seconds as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        for (highest, end) in
            [(0.0, 5.0), (3.0, 5.0), (11.0, 15.0), (99.0, 100.0), (100.0, 100.0), (4_100.0, 5_000.0)]
        {
            assert!((round_up(highest) - end).abs() < 1e-9, "{highest}: {}", round_up(highest));
        }
    }

    #[test]
    fn colours_are_written_as_the_page_expects_them() {
        let bar = Bar {
            label: "<day>".to_owned(),
            parts: vec![(2.0, GOOD.0), (1.0, BAD.0), (1.0, OTHER.0)],
            value: String::new(),
        };
        let svg = bars("a & b", &[bar], Axis::Number, &[("good", GOOD.0)]).unwrap();
        for (_, text) in [PAPER, INK, GRID, GOOD, BAD, OTHER] {
            assert!(svg.contains(&format!("\"{text}\"")), "{text} in {svg}");
        }
        assert!(svg.contains("&lt;day&gt;") && svg.contains("a &amp; b"), "{svg}");
    }
}
