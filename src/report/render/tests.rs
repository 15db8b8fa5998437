//! Whole outputs of one document made by hand, in every format.
//!
//! After a wanted change, `UPDATE_EXPECT=1 cargo test --lib report::render` writes the golden files
//! anew.

use std::path::Path;

use expect_test::expect_file;
use unicode_width::UnicodeWidthStr as _;

use super::*;
use crate::report::document::{
    Block, ChartBlock, ChartLimit, ChartMark, ChartMerge, ChartSeries, Datum, FigureBlock, FigureItem,
    FindingBlock, FindingItem, Level, LookupState, MarkRole, Measure, MethodBlock, Moment, Period, Prose,
    SeriesRole, StepBlock, StepItem, TableBlock, TableColumn, TableExtent,
};
use crate::report::zone::Zone;

/// 2026-11-25T15:46:42Z
const FROM: i64 = 1_795_621_602;
/// A text that would break out of a careless renderer.
const HOSTILE: &str = "<b>O'Brien</b> | *Söhne* & @all =1+1\u{1b}[31m \u{202e}";

fn moment(at: i64) -> Moment {
    Moment { at, zone: Zone::UTC }
}

/// A document with every block and every kind of value.
fn document() -> Document {
    let period = Period::new((FROM, FROM + 7200), Zone::UTC, "2 h".to_owned(), true);
    let mut document = Document::new("cryptolens-exporter/report/example", "Incident report", period);
    document.level = Level::Problem;
    document.headline = "5 of 17 Meridian CAD customers have been locked out since 16:53 UTC".to_owned();
    document.lead = "Product 3349; the other five products are as usual.".to_owned();
    document.account = "Meridian Software".to_owned();
    document.identities = "customers";
    document.scope.product_id = Some(3349);
    document.command = "cryptolens-exporter report incident --since=2h --product=3349".to_owned();
    document.read.rows = 1436;
    document.read.first_id = Some(2_401_727_032);
    document.read.last_id = Some(2_401_731_337);
    document.read.skipped = vec![("without_time", 1)];
    document.read.looked_up = vec![("GetProducts", LookupState::Answered), ("GetKeys", LookupState::Denied)];
    document.blocks = vec![
        figures(),
        findings(),
        Block::Chart(chart()),
        Block::Table(customers()),
        Block::Table(products()),
        Block::Steps(StepBlock {
            id: "next",
            title: "Next",
            items: vec![StepItem {
                text: "What one customer sees:".to_owned(),
                command: "cryptolens-exporter report customer HCGXC --since=1d --product=3349 --format=markdown --identities=customers"
                    .to_owned(),
            }],
        }),
        Block::Method(MethodBlock {
            id: "method",
            title: "Method and limits",
            items: vec![
                ("Counted", "1,436 rows of the Web API Log, ids 2401727032 to 2401731337, each once.".to_owned()),
                ("Not known", "what the applications showed.".to_owned()),
            ],
        }),
    ];
    document
}

fn figures() -> Block {
    let mut machines = FigureItem::new("active_machines", "Active machines", Datum::Nothing, Measure::Count);
    machines.previous = Datum::Whole(460);
    machines.change = Some(0.0065);
    let items = vec![
        FigureItem::new("failure_ratio_now", "Failing now", Datum::Fraction(0.6296), Measure::Ratio)
            .note("of the last 10 min; usual 3.0%")
            .bad_if(true),
        FigureItem::new("since_seconds", "Since", Datum::Whole(3165), Measure::Duration)
            .note("16:53:57 UTC, no sign of an end, whatever else this long sentence may want to add to it"),
        FigureItem::new("failed", "Requests failed", Datum::Whole(1165), Measure::Count),
        machines,
    ];
    Block::Figures(FigureBlock { id: "figures", items })
}

fn findings() -> Block {
    let onset = Prose::default()
        .plain("First failure at ")
        .strong("16:53:57")
        .plain(" (row 2401729492, state 2020). Before: 13 of 263 requests failed (4.9%); since: 165 of 266.");
    let changes = Prose::default()
        .strong("139 s earlier")
        .plain(", user 22 changed product 3349: ")
        .code("BlockExpiredLicenses false → true")
        .plain(format!(". Said {HOSTILE}."));
    let items = vec![
        FindingItem {
            id: "onset",
            label: "Since when",
            text: onset,
            basis: "Log-likelihood ratio 109; 20 or more is reported.".to_owned(),
            facts: vec![
                ("time", Datum::Time(moment(FROM + 4035))),
                ("row_id", Datum::Whole(2_401_729_492)),
                ("product_id", Datum::Whole(3349)),
            ],
        },
        FindingItem {
            id: "changes",
            label: "Changed before",
            text: changes,
            basis: String::new(),
            facts: Vec::new(),
        },
    ];
    Block::Findings(FindingBlock { id: "findings", title: "What is known".to_owned(), items })
}

fn chart() -> ChartBlock {
    let columns = 0..60_u64;
    let failed =
        columns.clone().map(|column| Some(if column < 34 { column % 9 / 8 } else { 5 + column % 3 }));
    let succeeded = columns
        .map(|column| if column == 7 { None } else { Some(if column < 34 { 8 + column % 3 } else { 4 }) });
    ChartBlock {
        id: "requests",
        title: "Requests of Meridian CAD, every 2 minutes".to_owned(),
        alt: "Until 16:53 few requests fail; from then on most do.".to_owned(),
        x: (0..60).map(|column| moment(FROM + 120 * column)).collect(),
        step: 120,
        stack: vec![
            ChartSeries { id: "failed", label: "failed", role: SeriesRole::Bad, values: failed.collect() },
            ChartSeries {
                id: "succeeded",
                label: "succeeded",
                role: SeriesRole::Good,
                values: succeeded.collect(),
            },
        ],
        limit: Some(ChartLimit { value: 9.5, label: "more than usual".to_owned() }),
        marks: vec![
            ChartMark {
                at: 32.5,
                time: moment(FROM + 3900),
                role: MarkRole::Change,
                label: "16:51:38 product changed by user 22".to_owned(),
            },
            ChartMark {
                at: 33.625,
                time: moment(FROM + 4035),
                role: MarkRole::Onset,
                label: "16:53:57 first failure".to_owned(),
            },
        ],
        shade: vec![(33.625, 60.0)],
        ratio: None,
        merge: ChartMerge::Sum,
    }
}

fn customers() -> TableBlock {
    let row = |name: &str, key: &str, failed: i64, machines: i64, change: f64| {
        vec![
            Datum::from(name),
            Datum::from(key),
            Datum::Whole(failed),
            Datum::Whole(machines),
            Datum::Time(moment(FROM + 3900)),
            Datum::from("2020"),
            Datum::Fraction(change),
            Datum::Levels(vec![0, 1, 2, 3, 4]),
        ]
    };
    TableBlock {
        id: "customers",
        title: "Customers hit (3)".to_owned(),
        columns: vec![
            TableColumn::new("customer", "customer", Measure::Text),
            TableColumn::new("key", "key", Measure::Code).under(),
            TableColumn::new("failed", "failed", Measure::Count).bar(),
            TableColumn::new("machines", "machines", Measure::Count).rank(1),
            TableColumn::new("last_success", "last success", Measure::Time).rank(2),
            TableColumn::new("state", "state", Measure::Code).rank(3),
            TableColumn::new("change", "change", Measure::Points).rank(4),
            TableColumn::new("days", "1 to 5 October", Measure::Strip),
        ],
        rows: vec![
            row(HOSTILE, "…-HCGXC", 67, 2, 0.008),
            row("Ostra Design Studio", "…-KYTFE", 39, 1, -0.012),
            row(
                "東京デザイン株式会社と長い名前の会社と長い名前の会社と長い名前の会社",
                "…-QKCII",
                1234,
                1,
                0.0,
            ),
        ],
        hot: Vec::new(),
        omitted: 0,
        extent: TableExtent::Top,
        note: "Machines, people and addresses are not shown.".to_owned(),
    }
}

fn products() -> TableBlock {
    let trend = |bad: u64| Datum::Trend { all: vec![9, 8, 0, 7, 10], bad: vec![0, bad, 0, bad, 2 * bad] };
    TableBlock {
        id: "products",
        title: "All products in these 2 hours".to_owned(),
        columns: vec![
            TableColumn::new("product", "product", Measure::Text),
            TableColumn::new("product_id", "id", Measure::Code).under(),
            TableColumn::new("requests", "requests", Measure::Count),
            TableColumn::new("ratio", "failure ratio", Measure::Ratio),
            TableColumn::new("change", "per day", Measure::Change).rank(1),
            TableColumn::new("lasted", "lasted", Measure::Duration).rank(2),
            TableColumn::new("trend", "every 5 minutes", Measure::Trend),
        ],
        rows: vec![
            vec![
                Datum::from("Meridian CAD"),
                Datum::Whole(3349),
                Datum::Whole(529),
                Datum::Fraction(0.336_483),
                Datum::Fraction(-0.011),
                Datum::Whole(8340),
                trend(3),
            ],
            vec![
                Datum::from("Field Notes"),
                Datum::Whole(7733),
                Datum::Whole(1_108_000),
                Datum::Nothing,
                Datum::Nothing,
                Datum::Nothing,
                trend(0),
            ],
        ],
        hot: vec![0],
        omitted: 0,
        extent: TableExtent::Top,
        note: String::new(),
    }
}

fn style() -> Style<'static> {
    Style { screen: Screen { colour: false, width: Some(80) }, top: 20, table: None }
}

fn rendered(format: ReportFormat, style: Style<'_>) -> String {
    render(&document(), format, style).unwrap()
}

fn assert_golden(name: &str, actual: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/report/golden");
    expect_file![folder.join(name)].assert_eq(actual);
}

#[test]
fn each_format_writes_the_whole_document() {
    assert_golden("document.txt", &rendered(ReportFormat::Text, style()));
    assert_golden("document.html", &rendered(ReportFormat::Html, style()));
    assert_golden("document.md", &rendered(ReportFormat::Markdown, style()));
    assert_golden("document.json", &rendered(ReportFormat::Json, style()));
    let mut tables = String::new();
    for file in all_tables(&document()).unwrap() {
        tables += &format!("== {}\n{}", file.name, file.content);
    }
    assert_golden("document.csv", &tables);
}

#[test]
fn no_line_is_wider_than_the_screen_but_commands() {
    for width in [40, 60, 80, 100, 200] {
        let screen = Screen { colour: false, width: Some(width) };
        let text = rendered(ReportFormat::Text, Style { screen, ..style() });
        for line in text.lines().filter(|line| !line.starts_with("    $ ")) {
            assert!(line.width() <= usize::from(width), "{width}: {line}");
        }
        assert!(text.contains("1,234"), "{width}: a number that matters is not shown\n{text}");
    }
}

#[test]
fn colour_is_on_a_terminal_only_and_changes_no_letter() {
    let plain = rendered(ReportFormat::Text, style());
    assert!(!plain.contains('\u{1b}'));
    let screen = Screen { colour: true, width: Some(80) };
    let coloured = rendered(ReportFormat::Text, Style { screen, ..style() });
    assert!(coloured.contains("\u{1b}["));
    let mut stripped = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        stripped += before;
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    stripped += rest;
    let letters = |text: &str| text.split_whitespace().collect::<String>();
    assert_eq!(letters(&stripped), letters(&plain));
}

#[test]
fn texts_of_a_log_are_inert_in_every_format() {
    let html = rendered(ReportFormat::Html, style());
    assert!(
        !html.contains("<b>O'Brien")
            && !html.contains("<script")
            && !html.contains("http:")
            && !html.contains("https:"),
        "{html}"
    );
    for format in [ReportFormat::Text, ReportFormat::Html, ReportFormat::Markdown] {
        let shown = rendered(format, style());
        assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'), "{format:?}");
    }
    let markdown = rendered(ReportFormat::Markdown, style());
    assert!(markdown.contains("\\<b\\>O'Brien\\</b\\> \\| \\*Söhne\\* &amp; @<!-- -->all"), "{markdown}");
}

/// Names are cut where they are very long; a sentence would lose its meaning.
#[test]
fn sentences_are_whole_in_every_format() {
    let mut document = document();
    let long = |end: &str| format!("{} {end}", "word ".repeat(60).trim_end());
    document.lead = long("lead");
    for block in &mut document.blocks {
        match block {
            Block::Figures(block) => block.items[0].note = long("figure"),
            Block::Table(block) => block.note = long("table"),
            Block::Steps(block) => block.items[0].text = long("step"),
            _ => {}
        }
    }
    for format in [ReportFormat::Text, ReportFormat::Html, ReportFormat::Markdown] {
        let shown = render(&document, format, style()).unwrap();
        let shown: Vec<&str> = shown.split_whitespace().collect();
        let shown = shown.join(" ");
        for end in ["lead", "figure", "table", "step"] {
            assert!(shown.contains(&format!("word {end}")), "{end} in {format:?}: {shown}");
        }
    }
}

/// A step holds what was typed, or a text of a log.
#[test]
fn commands_move_no_cursor() {
    let mut document = document();
    let item = StepItem { text: HOSTILE.to_owned(), command: format!("echo {HOSTILE}\n```\n# done") };
    document.blocks = vec![Block::Steps(StepBlock { id: "next", title: "Next", items: vec![item] })];
    for format in [ReportFormat::Text, ReportFormat::Html, ReportFormat::Markdown] {
        let shown = render(&document, format, style()).unwrap();
        assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'), "{format:?}: {shown}");
        assert!(!shown.contains("\n```\n#"), "{format:?}: {shown}");
    }
}

#[test]
fn longer_tables_say_how_many_rows_are_missing_and_programs_get_all() {
    let style = Style { top: 2, ..style() };
    for format in [ReportFormat::Text, ReportFormat::Html, ReportFormat::Markdown] {
        let shown = rendered(format, style);
        assert!(shown.contains("1 further row; --top=3 shows all."), "{format:?}: {shown}");
        assert!(!shown.contains("東京"), "{format:?}");
    }
    for format in [ReportFormat::Json, ReportFormat::Csv] {
        assert!(rendered(format, style).contains("東京"), "{format:?}");
    }
}

#[test]
fn tables_are_named_and_a_wrong_name_is_bad_usage() {
    let of = |table| render(&document(), ReportFormat::Csv, Style { table, ..style() });
    assert_eq!(of(Some("list")).unwrap(), "figures\nrequests\ncustomers\nproducts\n");
    assert!(of(None).unwrap().starts_with("customer,key,failed"));
    assert!(
        of(Some("requests")).unwrap().starts_with("from,failed,succeeded\n\"2026-11-25T15:46:42Z\",0,8\n")
    );
    let error = of(Some("keys")).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert_eq!(
        error.to_string(),
        "--table: found \"keys\", expected list or one of figures, requests, customers, products"
    );
}

#[test]
fn tables_without_rows_have_no_head() {
    let mut document = document();
    let Block::Table(table) = &mut document.blocks[3] else { panic!("not a table") };
    table.rows.clear();
    for format in [ReportFormat::Text, ReportFormat::Html, ReportFormat::Markdown] {
        let shown = render(&document, format, style()).unwrap();
        assert!(!shown.contains("last success"), "{format:?}: {shown}");
        for kept in ["Customers hit (3)", "Machines, people and addresses are not shown."] {
            assert!(shown.contains(kept), "{format:?}: {shown}");
        }
    }
    assert!(render(&document, ReportFormat::Json, style()).unwrap().contains("last success"));
}

/// Every number that a reader sees in the text is in the other formats too.
#[test]
fn formats_hold_equal_numbers() {
    let text = rendered(ReportFormat::Text, style());
    let html = rendered(ReportFormat::Html, style());
    let markdown = rendered(ReportFormat::Markdown, style());
    for number in
        ["63.0%", "52 min", "1,165", "67", "39", "1,234", "529", "33.6%", "1,108,000", "−1.1%", "2 h 19 min"]
    {
        for (format, shown) in [("text", &text), ("html", &html), ("markdown", &markdown)] {
            assert!(shown.contains(number), "{number} in {format}");
        }
    }
}
