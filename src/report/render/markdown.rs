//! Markdown as GitHub reads it, for tickets, chat and the body of a mail.
//!
//! A text of a log is escaped, so that it is neither a link nor a tag, and a `@` in it calls nobody.
//! GitHub looks for addresses, people and issues in the words that are shown, after it has resolved
//! escapes and entities; an empty comment between two letters, which nobody sees, parts such a word.

use super::{shade, words};
use crate::report::document::{
    Block, ChartBlock, ChartMerge, Document, FigureBlock, FindingBlock, GridBlock, Measure, MethodBlock,
    Phrase, Prose, ShareBlock, StepBlock, TableBlock,
};
use crate::text::thousands;

/// The most columns of a sparkline.
const WIDEST: usize = 100;
const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The document.
pub(super) fn markdown(document: &Document, top: usize) -> String {
    let mut out = format!("# {}\n\n", escaped(&words::visible(&document.headline)));
    let label = words::period_label(document).map(|label| format!(" ({label})")).unwrap_or_default();
    out += &format!(
        "{} · {}. **{}**{label}",
        document.title,
        escaped(&document.account),
        words::period(document)
    );
    let lead = escaped(&document.lead);
    out += &if lead.is_empty() { ".\n".to_owned() } else { format!(". {lead}\n") };
    for block in &document.blocks {
        out.push('\n');
        match block {
            Block::Figures(block) => figures(block, &mut out),
            Block::Findings(block) => findings(block, &mut out),
            Block::Shares(block) => shares(block, &mut out),
            Block::Chart(block) => chart(block, &mut out),
            Block::Grid(block) => grid(block, &mut out),
            Block::Table(block) => table(block, top, &mut out),
            Block::Steps(block) => steps(block, &mut out),
            Block::Method(block) => method(block, &mut out),
        }
    }
    out
}

fn figures(block: &FigureBlock, out: &mut String) {
    *out += "| | | |\n|---|--:|---|\n";
    for item in &block.items {
        let value = words::shown(&item.value, item.kind);
        *out += &format!("| {} | **{}** | {} |\n", item.label, escaped(&value), escaped(&item.note));
    }
}

fn findings(block: &FindingBlock, out: &mut String) {
    *out += &format!("## {}\n\n", escaped(&block.title));
    for (number, item) in (1..).zip(&block.items) {
        *out += &format!("{number}. **{}.** {}\n", item.label, prose(&item.text));
    }
}

fn shares(block: &ShareBlock, out: &mut String) {
    *out += &format!("## {}\n\n| | | |\n|---|--:|--:|\n", escaped(&block.title));
    for item in &block.items {
        let share = words::shown(&item.share.into(), Measure::Ratio);
        *out += &format!("| {} | {} | {} |\n", item.label, escaped(&share), thousands(item.value));
    }
}

fn grid(block: &GridBlock, out: &mut String) {
    let lines = shade::lines(block).join("\n");
    *out +=
        &format!("## {}\n\n```\n{lines}\n```\n\n{}\n", escaped(&block.title), escaped(&shade::legend(block)));
}

fn chart(block: &ChartBlock, out: &mut String) {
    *out += &format!("## {}\n\n```\n", escaped(&block.title));
    let each = block.x.len().div_ceil(WIDEST).max(1);
    let merged = |values: &[u64]| -> Vec<u64> {
        let part = |part: &[u64]| match block.merge {
            ChartMerge::Sum => part.iter().sum::<u64>(),
            ChartMerge::Highest => part.iter().copied().max().unwrap_or(0),
        };
        values.chunks(each).map(part).collect()
    };
    let mut all = vec![0; block.x.len()];
    for series in &block.stack {
        for (sum, value) in all.iter_mut().zip(&series.values) {
            *sum += value.unwrap_or(0);
        }
    }
    let all = merged(&all);
    let highest = all.iter().copied().max().unwrap_or(0);
    let first = block.stack.first().filter(|_| block.stack.len() > 1);
    let label_width = first.map_or(3, |series| series.label.chars().count().max(3));
    *out += &format!("{:label_width$}  {}\n", "all", sparkline(&all, highest));
    let mut scales = String::new();
    if let Some(series) = first {
        let values: Vec<u64> = series.values.iter().map(|value| value.unwrap_or(0)).collect();
        let values = merged(&values);
        // On the scale of all, a few failures among many requests are a flat line.
        let most = values.iter().copied().max().unwrap_or(0);
        *out += &format!("{:label_width$}  {}\n", series.label, sparkline(&values, most));
        let (highest, most) = (thousands(highest), thousands(most));
        scales =
            format!("Each line has its own scale: █ is {highest} for all, {most} for {}. ", series.label);
    }
    *out += &format!("```\n\n{}\n", escaped(&format!("{scales}{}", block.alt)));
}

fn sparkline(values: &[u64], highest: u64) -> String {
    let level = |value: &u64| {
        // Rounded up: what is not nothing is seen.
        let level = (value * 8).div_ceil(highest.max(1));
        usize::try_from(level).ok().and_then(|level| LEVELS.get(level)).copied().unwrap_or('█')
    };
    let line: String = values.iter().map(level).collect();
    line.trim_end().to_owned()
}

fn table(block: &TableBlock, top: usize, out: &mut String) {
    *out += &format!("## {}\n", escaped(&block.title));
    let most = block.most_rows(top, false);
    // A head without a row under it says nothing.
    if block.rows.is_empty() {
        *out += &format!("\n{}\n", words::NO_ROW);
    } else {
        rows(block, most, out);
    }
    let further = words::further(block.rows.len(), most);
    let note = words::note_on_columns(block, |index| is_shown(block, index));
    for note in further.into_iter().chain(Some(note).filter(|note| !note.is_empty())) {
        *out += &format!("\n{}\n", escaped(&note));
    }
}

fn rows(block: &TableBlock, most: usize, out: &mut String) {
    let shown: Vec<usize> = (0..block.columns.len()).filter(|index| is_shown(block, *index)).collect();
    let columns: Vec<_> = shown.iter().filter_map(|index| block.columns.get(*index)).collect();
    let heads: Vec<&str> = columns.iter().map(|column| column.label).collect();
    *out += &format!("\n| {} |\n|", heads.join(" | "));
    for column in &columns {
        *out += if column.kind.is_number() { "--:|" } else { "---|" };
    }
    out.push('\n');
    for row in block.rows.iter().take(most) {
        let cells = shown.iter().zip(&columns).filter_map(|(index, column)| Some((row.get(*index)?, column)));
        let cells: Vec<String> =
            cells.map(|(value, column)| escaped(&words::shown(value, column.kind))).collect();
        *out += &format!("| {} |\n", cells.join(" | "));
    }
}

fn is_shown(block: &TableBlock, index: usize) -> bool {
    block.columns.get(index).is_some_and(|column| !column.kind.is_drawn() && !column.is_page_only)
}

fn steps(block: &StepBlock, out: &mut String) {
    *out += &format!("## {}\n\n", block.title);
    for item in &block.items {
        let command = words::sentence(&item.command);
        *out += &format!("- {}\n  ```sh\n  {command}\n  ```\n", escaped(&item.text));
    }
}

fn method(block: &MethodBlock, out: &mut String) {
    *out += &format!("## {}\n\n", block.title);
    for (name, text) in &block.items {
        *out += &format!("- **{name}**: {}\n", escaped(text));
    }
}

fn prose(prose: &Prose) -> String {
    let phrase = |phrase: &Phrase| {
        let text = words::of_phrase(phrase);
        match phrase {
            Phrase::Plain(_) => escaped(&text),
            Phrase::Strong(_) => format!("**{}**", escaped(&text)),
            Phrase::Code(_) => code(&text),
        }
    };
    prose.0.iter().map(phrase).collect()
}

/// A span of code, whose fence is longer than any run of backticks in it.
fn code(text: &str) -> String {
    if !text.contains('`') {
        return format!("`{}`", text.replace('|', "\\|"));
    }
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    format!("{fence} {} {fence}", text.replace('|', "\\|"))
}

/// A text that is no markup.
fn escaped(text: &str) -> String {
    let text = crate::text::fit(text, usize::MAX);
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let (before, rest) = text.split_at(at);
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '~' | '#' => out.extend(['\\', c]),
            // GitHub takes no escape for it.
            '&' => out += "&amp;",
            c => out.push(c),
        }
        if begins_link(before, rest) {
            out += "<!-- -->";
        }
    }
    out
}

/// True if a link would begin at the first character of `rest`, or end the first part of one:
/// `https://`, `www.`, `a@example.com`, `@all`, `#1`, `GH-1`.
fn begins_link(before: &str, rest: &str) -> bool {
    let ends_with = |end: &str| {
        let begin = before.len().checked_sub(end.len()).and_then(|begin| before.get(begin..));
        begin.is_some_and(|begin| begin.eq_ignore_ascii_case(end))
    };
    let is_number = |rest: &str| rest.chars().nth(1).is_some_and(|c| c.is_ascii_digit());
    match rest.chars().next() {
        Some('@') => true,
        Some(':') => rest.starts_with("://"),
        Some('.') => ends_with("www"),
        Some('#') => is_number(rest),
        Some('-') => ends_with("gh") && is_number(rest),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_of_a_log_is_markup() {
        assert_eq!(
            escaped("a|b <img> [x](y) @all #1"),
            "a\\|b \\<img\\> \\[x\\](y) @<!-- -->all \\#<!-- -->1"
        );
        for (text, expected) in [
            ("https://example.com", "https:<!-- -->//example.com"),
            ("Www.example.com", "Www.<!-- -->example.com"),
            ("ann@example.com", "ann@<!-- -->example.com"),
            ("gh-12, a-b 10:30 no. 1", "gh-<!-- -->12, a-b 10:30 no. 1"),
        ] {
            assert_eq!(escaped(text), expected);
        }
        assert_eq!(code("a `b` | c"), "`` a `b` \\| c ``");
        assert_eq!(sparkline(&[0, 1, 100], 100), " ▁█");
    }
}
