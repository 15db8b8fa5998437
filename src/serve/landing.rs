//! The landing page: which build this is, where to look, and how each log is doing, at a glance.

use chrono::DateTime;
use maud::{DOCTYPE, Markup, html};

use crate::cli::VERSION;
use crate::cryptolens::LogKind;
use crate::ingest::LogView;
use crate::ledger::{AccountState, Committed};
use crate::snapshot::Exposition;

const STYLE: &str = "\
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}\
body{max-width:64rem;margin:2rem auto;padding:0 1rem}\
.wide{overflow-x:auto}\
table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.35rem .8rem .35rem 0;border-bottom:1px solid #8884;white-space:nowrap}\
.number{text-align:right;font-variant-numeric:tabular-nums}\
.bad{color:#c22;font-weight:600}.good{color:#183}\
@media(prefers-color-scheme:dark){.bad{color:#f77}.good{color:#6c8}}\
small{opacity:.7}";

/// Everything on it comes from this process: times, counts and words of its own.
pub(super) fn page(exposition: &Exposition, telemetry_path: &str, now: i64) -> Markup {
    let board = exposition.board();
    let committed = exposition.committed();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                title { "cryptolens-exporter" }
                style { (STYLE) }
            }
            body {
                h1 { "cryptolens-exporter" }
                p { "Counts every entry of the Cryptolens logs exactly once. Version " (VERSION) "." }
                ul {
                    li { a href=(telemetry_path) { "Metrics" } }
                    li { a href="/-/healthy" { "Healthy" } " \u{b7} " a href="/-/ready" { "Ready" } }
                }
                @if committed.is_none() {
                    p class="bad" { "The ledger cannot be read. Counting waits until it can; see the log." }
                }
                div class="wide" {
                    table {
                        thead {
                            tr {
                                th { "Account" } th { "Log" } th { "State" } th { "Last poll" } th { "Newest entry" }
                                th class="number" { "Counted" }
                            }
                        }
                        tbody {
                            @for (name, account) in &board.accounts {
                                @for (log, status) in &account.logs {
                                    (row(name, *log, &status.view(), committed.as_deref(), now))
                                }
                            }
                        }
                    }
                }
                p { small { "Times are UTC. Newest entry: time of the newest entry counted." } }
            }
        }
    }
}

fn row(name: &str, log: LogKind, view: &LogView, committed: Option<&Committed>, now: i64) -> Markup {
    let account = committed.and_then(|committed| committed.accounts.get(name));
    let newest = account.and_then(|account| account.logs.get(&log)).and_then(|log| log.last_entry);
    html! {
        tr {
            td { (name) }
            td { (log) }
            td {
                @match (view.trouble, view.catching_up, view.up) {
                    (Some(trouble), _, _) => span class="bad" { (trouble.name()) },
                    (None, true, _) => "catching up",
                    (None, false, true) => span class="good" { "ok" },
                    (None, false, false) => "waiting",
                }
            }
            td { (when(view.last_pass, now)) }
            td { (when(newest, now)) }
            td class="number" { @if let Some(account) = account { (counted(account, log)) } @else { "\u{2013}" } }
        }
    }
}

fn counted(account: &AccountState, log: LogKind) -> u64 {
    let tally = &account.tally;
    match log {
        LogKind::WebApi => tally.entries.iter().map(|(_, rows)| rows).sum(),
        LogKind::Events => tally.events.iter().map(|(_, rows)| rows).sum(),
        LogKind::Objects => tally.objects.iter().map(|(_, rows)| rows).sum(),
    }
}

/// As `2026-01-31 08:00:00 (12s ago)`.
fn when(time: Option<i64>, now: i64) -> String {
    let Some((seconds, time)) = time.and_then(|time| Some((time, DateTime::from_timestamp(time, 0)?))) else {
        return "\u{2013}".to_owned();
    };
    let ago = u64::try_from(now.saturating_sub(seconds)).unwrap_or(0);
    // Two units are enough to see whether something is wrong.
    let ago = humantime::format_duration(std::time::Duration::from_secs(ago)).to_string();
    let ago: Vec<&str> = ago.split(' ').take(2).collect();
    format!("{} ({} ago)", time.format("%F %T"), ago.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_with_their_age() {
        assert_eq!(when(None, 5), "\u{2013}");
        assert_eq!(when(Some(1_767_225_600), 1_767_225_612), "2026-01-01 00:00:00 (12s ago)");
        assert_eq!(when(Some(1_767_225_600), 1_767_225_600 + 90_061), "2026-01-01 00:00:00 (1day 1h ago)");
        assert_eq!(when(Some(1_767_225_600), 0), "2026-01-01 00:00:00 (0s ago)", "a clock behind");
    }
}
