//! The landing page: which build this is, where to look, how each log is doing, and what to run if
//! customers are failing, at a glance.

use chrono::{DateTime, SecondsFormat};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::VERSION;
use crate::cryptolens::LogKind;
use crate::ingest::{LogView, SeenFailure};
use crate::ledger::{AccountState, Committed};
use crate::palette;
use crate::snapshot::{AccountStatus, Snapshots};
use crate::text::thousands;

const STYLE: &str = "\
:root{font:15px/1.45 system-ui,-apple-system,'Segoe UI',sans-serif}\
body{margin:0;background:var(--paper);color:var(--ink)}\
main{max-width:72rem;margin:0 auto;padding:2.5rem 1.25rem}\
h1{font-size:1.5rem;line-height:1.2;margin:0;letter-spacing:-.01em}\
header p{margin:.35rem 0 0;color:var(--weak)}\
nav{display:flex;gap:1.25rem;margin:1rem 0 1.5rem}\
a{color:var(--accent);text-underline-offset:.2em}\
.alert{padding:.7rem 1rem;background:var(--soft);border:1px solid var(--bad);border-radius:.5rem;color:var(--bad-ink);font-weight:600}\
.card{overflow-x:auto;background:var(--soft);border:1px solid var(--line);border-radius:.6rem}\
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\
th,td{text-align:left;vertical-align:top;padding:.65rem 1rem;white-space:nowrap}\
thead th{font-size:.8rem;font-weight:600;color:var(--weak)}\
tbody tr{border-top:1px solid var(--line)}\
tbody th{font-weight:600}\
.number{text-align:right}\
small{display:block;font-size:.8rem;color:var(--weak)}\
.state{font-weight:600}\
.state::before{content:'';display:inline-block;width:.55em;height:.55em;margin-right:.5em;border-radius:50%;background:currentColor}\
.good{color:var(--good-ink)}.bad{color:var(--bad-ink)}.soon{color:var(--warn-ink)}.quiet{color:var(--weak)}\
h2{font-size:1.05rem;margin:2rem 0 .35rem}\
section p{margin:.35rem 0;color:var(--weak)}\
pre{overflow-x:auto;margin:.35rem 0 .9rem;padding:.65rem 1rem;background:var(--soft);border:1px solid var(--line);border-radius:.6rem}\
footer{margin-top:1rem;font-size:.8rem;color:var(--weak)}";

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
                style { (PreEscaped(palette::style())) (STYLE) }
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
                    section {
                        h2 { "If customers are failing" }
                        p {
                            "Since when, who is hit, what they have in common, and what was changed before. "
                            "Run this where the exporter runs, with its token and configuration:"
                        }
                        @for (name, account) in &targets.accounts {
                            (what_to_run(name, account, committed.as_deref(), now))
                        }
                    }
                    footer {
                        "As of " (moment(now)) ". Times are UTC. "
                        "Newest entry: the time of the newest entry counted. "
                        "Last error: since the exporter was started."
                        @if let Some(committed) = &committed {
                            br;
                            (kept(committed.usage.is_some()))
                        }
                    }
                }
            }
        }
    }
}

/// What the ledger keeps of license keys and machines.
const fn kept(counts_usage: bool) -> &'static str {
    if counts_usage {
        "Usage: the ledger keeps keyed hashes of the license keys and machines of the last 31 days, and sketches \
         where there are many; no license key, machine code or name."
    } else {
        "The ledger keeps nothing of single license keys, machines or customers."
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

/// The command that explains the newest failure of an account. Where this process has read none,
/// it looks at the last hours. Accounts without a Web API Log have no failures.
fn what_to_run(name: &str, account: &AccountStatus, committed: Option<&Committed>, now: i64) -> Markup {
    let Some(log) = account.logs.get(&LogKind::WebApi) else { return Markup::default() };
    let failure = log.view().newest_failure;
    html! {
        pre { code { (incident_command(name, failure)) } }
        @if let Some(SeenFailure { time, product }) = failure {
            p {
                "Newest failure of " (name) ": "
                @if let Some(id) = product { (product_name(name, id, committed)) ", " }
                time datetime=(stamp(time)) { (ago(time, now)) } ". "
                "Without --product it looks at all products, without --at at the last two hours."
            }
        }
    }
}

/// As a shell takes it: account names have no characters that mean something there.
fn incident_command(account: &str, failure: Option<SeenFailure>) -> String {
    let product = failure.and_then(|failure| failure.product).map(|id| format!(" --product={id}"));
    let at = failure.map(|failure| format!(" --at={}", stamp(failure.time)));
    let [product, at] = [product, at].map(Option::unwrap_or_default);
    format!("cryptolens-exporter report incident --account={account}{product}{at}")
}

/// The name of a product where it is known, with its id.
fn product_name(account: &str, id: i64, committed: Option<&Committed>) -> String {
    let known = committed.and_then(|committed| committed.accounts.get(account));
    let mut products = known.into_iter().flat_map(|account| account.products.iter());
    let name = products.find(|(known, _)| *known == id).and_then(|(_, name)| name);
    name.map_or_else(|| format!("product {id}"), |name| format!("{name} ({id})"))
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
    fn ages_are_shown_in_two_units() {
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
    fn the_command_has_what_is_known() {
        let command = |failure| incident_command("default", failure);
        let base = "cryptolens-exporter report incident --account=default";
        assert_eq!(command(None), base);
        let time = 1_767_225_600;
        let failure = SeenFailure { time, product: Some(3349) };
        assert_eq!(command(Some(failure)), format!("{base} --product=3349 --at=2026-01-01T00:00:00Z"));
        let nameless = SeenFailure { time, product: None };
        assert_eq!(command(Some(nameless)), format!("{base} --at=2026-01-01T00:00:00Z"));
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
