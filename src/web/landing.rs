//! The landing page: which build this is, where to look, and how each log is doing, at a glance.

use chrono::{DateTime, SecondsFormat};
use maud::{DOCTYPE, Markup, html};

use crate::VERSION;
use crate::cryptolens::LogKind;
use crate::ingest::LogView;
use crate::ledger::{AccountState, Committed};
use crate::snapshot::Snapshots;
use crate::text::thousands;

const STYLE: &str = "\
:root{color-scheme:light dark;--page:#f5f6f8;--card:#fff;--line:#e2e5ea;--text:#1b1f24;--quiet:#5f6873;--link:#0a5cc2;\
--good:#17752f;--bad:#c02424;--soon:#8a5a00;font:15px/1.45 system-ui,-apple-system,'Segoe UI',sans-serif}\
@media(prefers-color-scheme:dark){:root{--page:#111418;--card:#191d23;--line:#2c323b;--text:#e5e8ec;--quiet:#98a2ae;\
--link:#7db8ff;--good:#5fca7d;--bad:#ff8b81;--soon:#e2b345}}\
body{margin:0;background:var(--page);color:var(--text)}\
main{max-width:72rem;margin:0 auto;padding:2.5rem 1.25rem}\
h1{font-size:1.5rem;line-height:1.2;margin:0;letter-spacing:-.01em}\
header p{margin:.35rem 0 0;color:var(--quiet)}\
nav{display:flex;gap:1.25rem;margin:1rem 0 1.5rem}\
a{color:var(--link);text-underline-offset:.2em}\
.alert{padding:.7rem 1rem;background:var(--card);border:1px solid var(--bad);border-radius:.5rem;color:var(--bad);font-weight:600}\
.card{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:.6rem}\
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\
th,td{text-align:left;vertical-align:top;padding:.65rem 1rem;white-space:nowrap}\
thead th{font-size:.8rem;font-weight:600;color:var(--quiet)}\
tbody tr{border-top:1px solid var(--line)}\
tbody th{font-weight:600}\
.number{text-align:right}\
small{display:block;font-size:.8rem;color:var(--quiet)}\
.state{font-weight:600}\
.state::before{content:'';display:inline-block;width:.55em;height:.55em;margin-right:.5em;border-radius:50%;background:currentColor}\
.good{color:var(--good)}.bad{color:var(--bad)}.soon{color:var(--soon)}.quiet{color:var(--quiet)}\
footer{margin-top:1rem;font-size:.8rem;color:var(--quiet)}";

/// For what there is not, or not yet.
const NOTHING: &str = "\u{2013}";

/// Everything on it comes from this process: times, counts and words of its own.
pub(super) fn page(snapshots: &Snapshots, telemetry_path: &str, now: i64) -> Markup {
    let targets = snapshots.targets();
    let committed = snapshots.committed();
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
                main {
                    header {
                        h1 { "cryptolens-exporter" }
                        p { "Counts every entry of the Cryptolens logs exactly once. Version " (VERSION) "." }
                    }
                    nav {
                        a href=(telemetry_path) { "Metrics" }
                        a href="/-/ready" { "Ready" }
                        a href="/-/healthy" { "Healthy" }
                    }
                    @if committed.is_none() {
                        p class="alert" { "The ledger cannot be read. Counting waits until it can; see the log." }
                    }
                    div class="card" {
                        table {
                            thead {
                                tr {
                                    th scope="col" { "Account" }
                                    th scope="col" { "Log" }
                                    th scope="col" { "State" }
                                    th scope="col" { "Last poll" }
                                    th scope="col" { "Newest entry" }
                                    th scope="col" class="number" { "Counted" }
                                    th scope="col" { "Catching up" }
                                    th scope="col" { "Last error" }
                                }
                            }
                            @for (name, account) in &targets.accounts {
                                tbody {
                                    @for (index, (log, status)) in account.logs.iter().enumerate() {
                                        tr {
                                            @if index == 0 {
                                                th scope="rowgroup" rowspan=(account.logs.len()) { (name) }
                                            }
                                            (cells(name, *log, &status.view(), committed.as_deref(), now))
                                        }
                                    }
                                }
                            }
                        }
                    }
                    footer {
                        "As of " (moment(now)) ". Times are UTC. "
                        "Newest entry: the time of the newest entry counted. "
                        "Last error: since the exporter was started."
                    }
                }
            }
        }
    }
}

fn cells(name: &str, log: LogKind, view: &LogView, committed: Option<&Committed>, now: i64) -> Markup {
    let account = committed.and_then(|committed| committed.accounts.get(name));
    let newest = account.and_then(|account| account.logs.get(&log)).and_then(|log| log.last_entry);
    html! {
        td { (log) }
        td {
            @match (view.current_error, view.up) {
                (Some(trouble), _) => span class="state bad" { (trouble.name()) },
                (None, true) => span class="state good" { "ok" },
                (None, false) => span class="state quiet" { "waiting" },
            }
        }
        td { (when(view.last_poll, now)) }
        td { (when(newest, now)) }
        td class="number" {
            @if let Some(account) = account { (thousands(counted(account, log))) } @else { (NOTHING) }
        }
        td { @if view.catching_up { span class="soon" { "yes" } } @else { span class="quiet" { "no" } } }
        td {
            @match view.last_error {
                Some((trouble, at)) => { (trouble.name()) small { time datetime=(stamp(at)) { (ago(at, now)) } } },
                None => span class="quiet" { (NOTHING) },
            }
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

/// How long ago, which tells at a glance whether something is wrong, and the time itself to look up
/// elsewhere.
fn when(time: Option<i64>, now: i64) -> Markup {
    html! {
        @match time {
            Some(time) => time datetime=(stamp(time)) { (ago(time, now)) small { (moment(time)) } },
            None => span class="quiet" { (NOTHING) },
        }
    }
}

/// As `2026-01-31 08:00:00`.
fn moment(seconds: i64) -> String {
    DateTime::from_timestamp(seconds, 0)
        .map_or_else(|| NOTHING.to_owned(), |time| time.format("%F %T").to_string())
}

/// The same for machines.
fn stamp(seconds: i64) -> String {
    let time = DateTime::from_timestamp(seconds, 0);
    time.map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true)).unwrap_or_default()
}

/// In the two largest units, as `1 d 1 h ago`.
fn ago(time: i64, now: i64) -> String {
    let seconds = now.saturating_sub(time);
    if seconds <= 0 {
        return "just now".to_owned();
    }
    let units = [("d", 86_400, i64::MAX), ("h", 3600, 24), ("min", 60, 60), ("s", 1, 60)];
    let parts = units.map(|(unit, size, most)| (seconds / size % most, unit));
    let parts = parts.iter().skip_while(|(count, _)| *count == 0).take(2).filter(|(count, _)| *count > 0);
    let parts: Vec<String> = parts.map(|(count, unit)| format!("{count} {unit}")).collect();
    format!("{} ago", parts.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_in_two_units() {
        for (age, text) in [
            (-5, "just now"),
            (0, "just now"),
            (12, "12 s ago"),
            (60, "1 min ago"),
            (3599, "59 min 59 s ago"),
            (3601, "1 h ago"),
            (90_061, "1 d 1 h ago"),
            (400 * 86_400, "400 d ago"),
        ] {
            assert_eq!(ago(1_767_225_600 - age, 1_767_225_600), text);
        }
    }

    #[test]
    fn times_are_shown_with_their_age() {
        let shown = when(Some(1_767_225_600), 1_767_225_612).into_string();
        assert_eq!(
            shown,
            "<time datetime=\"2026-01-01T00:00:00Z\">12 s ago<small>2026-01-01 00:00:00</small></time>"
        );
        assert!(when(None, 5).into_string().contains(NOTHING));
        assert_eq!(moment(i64::MAX), NOTHING);
    }
}
