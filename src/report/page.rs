//! The page of `--format=html`: one file that loads nothing, for light and dark screens, and for paper.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::chart::{BAD, GOOD, GRID, INK, OTHER, PAPER};
use super::text::Column;
use crate::text;

const STYLE: &str = "
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1f2430; --weak: #5b6270; --grid: #d9dde3;
  --good: #2e7d5b; --bad: #c2413b; --other: #8a8f98; --note: #fff6e0; }
@media screen and (prefers-color-scheme: dark) { :root { --paper: #14171c; --ink: #e6e8ec; --weak: #a3abb8; --grid: #343a45;
  --good: #4fb58a; --bad: #f0716a; --other: #9aa1ac; --note: #3a3015; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem; max-width: 64rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { margin: .25rem 0; } .weak { color: var(--weak); } .note { background: var(--note); padding: .5rem .75rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem; margin: 1rem 0; }
.figures div { border: 1px solid var(--grid); border-radius: 6px; padding: .6rem .8rem; }
.figures b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; } .good { color: var(--good); }
.bad { color: var(--bad); }
.table { overflow-x: auto; overflow-wrap: normal; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--grid); text-align: left; vertical-align: top; }
th { color: var(--weak); font-weight: 600; white-space: nowrap; }
.number { text-align: right; white-space: nowrap; }
.whole { white-space: nowrap; } .long { min-width: 14rem; }
figure { margin: 1rem 0; padding: .25rem; border: 1px solid var(--grid); border-radius: 6px; overflow-x: auto; }
svg { display: block; width: 100%; height: auto; } svg text { font-family: inherit; }
svg.small { max-width: 35rem; } svg.wide { min-width: 36rem; }
.heat { border-spacing: 2px; border-collapse: separate; table-layout: fixed; min-width: 36rem; }
.heat td, .heat th { padding: 0; border: 0; height: 1.4rem; font-size: .7rem; text-align: center; }
.heat th:first-child { width: 5.5rem; text-align: left; } .heat td { position: relative; border-radius: 2px; }
@media print { :root { color-scheme: light; } body { max-width: none; padding: 0; } h2 { break-after: avoid; }
  figure, tr { break-inside: avoid; } figure, .table { overflow: visible; } svg.wide { min-width: 0; } * { print-color-adjust: exact; } }
";

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// A whole page.
pub(super) fn page(title: &str, content: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                // Nothing is loaded and no script runs, whatever stands in a log.
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                // An empty icon, so that no browser asks for one.
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(STYLE)) (PreEscaped(chart_colours())) }
            }
            body { (content) }
        }
    }
    .into_string()
}

/// Charts have their colours written as attributes, which any rule of a style sheet overrides.
fn chart_colours() -> String {
    let variables =
        [(PAPER, "paper"), (INK, "ink"), (GRID, "grid"), (GOOD, "good"), (BAD, "bad"), (OTHER, "other")];
    variables
        .iter()
        .map(|((_, colour), name)| {
            format!(
                "svg [fill=\"{colour}\"] {{ fill: var(--{name}); }} \
                 svg [stroke=\"{colour}\"] {{ stroke: var(--{name}); }}\n"
            )
        })
        .collect()
}

/// A chart, with words for who can't see it.
pub(super) fn figure(svg: &str, description: &str, small: bool) -> Markup {
    let class = if small { "small" } else { "wide" };
    let described = svg.replacen("<svg ", &format!("<svg role=\"img\" class=\"{class}\" "), 1);
    html! { figure aria-label=(description) { (PreEscaped(described)) } }
}

/// A table; each row has as many cells as there are columns.
pub(super) fn table(columns: &[Column], rows: impl IntoIterator<Item = Vec<String>>) -> Markup {
    html! {
        div.table {
            table {
                thead { tr { @for column in columns {
                    @match column {
                        Column::Text(name) => th { (name) },
                        Column::Number(name) => th.number { (name) },
                    }
                } } }
                tbody { @for row in rows { tr { @for (column, text) in columns.iter().zip(row) {
                    @match column {
                        Column::Text(_) => td class=(if is_whole(&text) { "whole" } else { "long" }) {
                            (text::fit(&text, usize::MAX))
                        },
                        Column::Number(_) => td.number { (text) },
                    }
                } } } }
            }
        }
    }
}

/// True for a time, a pseudonym, a word: what is better scrolled to than broken.
fn is_whole(text: &str) -> bool {
    text.len() <= 40 && !text.contains(char::is_whitespace)
}

/// Large numbers side by side: name, number, and a class for its colour.
pub(super) fn figures(figures: &[(&str, String, &str)]) -> Markup {
    html! {
        div.figures { @for (name, number, class) in figures { div { (name) b class=(class) { (number) } } } }
    }
}
