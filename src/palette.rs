//! The colours of the landing page and of the reports: one table for both, light and dark.
//!
//! A style sheet names a colour by its variable, as `var(--ink)`, after [`style`] has defined it. A
//! drawing also carries the light value as an attribute, so that it can be read where a mail program
//! removes the style sheet. Paper is always light.

use std::fmt::Write as _;

/// One colour, as it is on a light and on a dark screen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Colour {
    /// The variable is called so, with `--` before it.
    name: &'static str,
    pub(crate) light: &'static str,
    dark: &'static str,
}

macro_rules! colours {
    ($($(#[$doc:meta])* $constant:ident = $name:literal, $light:literal, $dark:literal;)*) => {
        $($(#[$doc])* pub(crate) const $constant: Colour = Colour { name: $name, light: $light, dark: $dark };)*
        const ALL: &[Colour] = &[$($constant),*];
    };
}

colours! {
    /// The page.
    PAPER = "paper", "#ffffff", "#12161b";
    /// A card or a command on it.
    SOFT = "soft", "#f5f7f9", "#1a2027";
    /// Text.
    INK = "ink", "#1b2027", "#e7eaee";
    /// Text that is read second.
    WEAK = "weak", "#57606a", "#a2acb8";
    /// Lines between parts of a page.
    LINE = "line", "#d8dde3", "#323a44";
    /// Lines within a chart or table.
    GRID = "grid", "#e6e9ed", "#262d36";
    /// Failures.
    BAD = "bad", "#c2321f", "#ef6a55";
    BAD_INK = "bad-ink", "#a82a19", "#ff8a77";
    /// Successes, and what is neither.
    GOOD = "good", "#8fa8bd", "#5f7d96";
    GOOD_INK = "good-ink", "#1f6b45", "#6fcf9b";
    /// What is neither good nor bad, and links.
    ACCENT = "accent", "#1f6f8b", "#4fb0cf";
    /// Worth a look.
    WARN = "warn", "#e3a34f", "#c98a35";
    WARN_INK = "warn-ink", "#8a5a00", "#e2b345";
    /// A moment in a chart.
    MARK = "mark", "#5b3e96", "#b79cf0";
    /// The background of an incident.
    SHADE = "shade", "#fbeeea", "#2b1d1c";
    /// Levels of a strip below [`GOOD`].
    LEVEL_0 = "level-0", "#eef1f4", "#20262d";
    LEVEL_1 = "level-1", "#cfdce7", "#34495a";
}

/// The rules that define the variables.
pub(crate) fn style() -> String {
    let variables = |of: fn(&Colour) -> &'static str| {
        ALL.iter().fold(String::new(), |mut text, colour| {
            // A string takes everything.
            let _ = write!(text, "--{}:{};", colour.name, of(colour));
            text
        })
    };
    format!(
        ":root{{color-scheme:light dark;{}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{}}}}}\n",
        variables(|colour| colour.light),
        variables(|colour| colour.dark)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The relative luminance of WCAG 2.
    fn luminance(colour: &str) -> f64 {
        let part = |at: usize| {
            let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
    }

    fn contrast(one: &str, other: &str) -> f64 {
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    /// 4.5 is what WCAG 2 asks of text of any size.
    #[test]
    fn text_can_be_read_on_every_background() {
        for ink in [INK, WEAK, BAD_INK, GOOD_INK, WARN_INK, ACCENT] {
            for paper in [PAPER, SOFT] {
                for (ink_value, paper_value) in [(ink.light, paper.light), (ink.dark, paper.dark)] {
                    let found = contrast(ink_value, paper_value);
                    assert!(found >= 4.5, "{} on {}: {found:.2}", ink.name, paper.name);
                }
            }
        }
    }

    #[test]
    fn each_colour_is_defined_once_for_light_and_once_for_dark() {
        let style = style();
        for colour in ALL {
            for value in [colour.light, colour.dark] {
                let rule = format!("--{}:{value};", colour.name);
                assert_eq!(style.matches(&rule).count(), 1, "{rule}");
            }
        }
    }
}
