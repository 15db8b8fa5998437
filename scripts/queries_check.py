"""Runs every query of every panel, variable, annotation and rule through the API of a real Prometheus. See scripts/queries-check."""

import contextlib
import json
import pathlib
import re
import sys
import tempfile
import time
import urllib.error

import yaml

import queries
import report_match
import situations
import worlds
from running import Failure, fetch, free_port, wait_for
from worlds import DAY, JOB, WORLDS, Alertmanager, Prometheus

# Queries that are rightly empty over a healthy demo, and why. Each must return something over the
# worlds that misbehave.
EMPTY = {
    "Exporter health / API errors by result": "no request failed",
    "Licensing overview / Failures by state": "no request failed in these minutes",
    "Licensing overview / What to run": "no request failed in these minutes",
    "Licensing overview / Seat refusals and overdrafts A": "nobody found all seats taken in these minutes",
    "Licensing overview / Seat refusals and overdrafts B": "nobody used an overdraft in these minutes",
    "Licensing overview / Requests, 15 min B": "no row is old",
    "Licensing overview / Seat refusals, 1 hour B": "no row is old",
    "Licensing overview / Overdrafts, 1 hour B": "no row is old",
    "Exporter health / Samples sent and dropped B": "no sample is dropped",
    "Exporter health / Counts that differ from the log": "the counts are equal",
    "Exporter health / Runs that failed": "the archive does not fail",
    "Usage / Seats in use against the limit": "the demo names no license",
    "Events / Events, last hour B": "no row is old",
    "Events / Events with a value, last hour B": "no row is old",
    "Object changes / Changes, last day B": "no row is old",
    "Object changes / Deletions, last day B": "no row is old",
    "Licensing overview / Firing alerts": "no alert fires",
    "variable / cluster": "these targets have no such label",
    "variable / namespace": "these targets have no such label",
    "Exporter health / Firing alerts of the exporter": "no alert fires",
    **{
        f"annotation / {title} / {name}": why
        for title in ("Licensing overview", "Events", "Object changes", "Usage", "History", "Exporter health")
        for name, why in (
            ("Firing alerts", "no alert fires"),
            ("Catching up", "no log is far behind"),
            ("Exporter restarts", "no restart in these minutes"),
        )
    },
}
# A minute of the history is complete when late rows of it have been waited for.
NOT_COMPLETE = "these minutes are not complete yet"
EMPTY.update((query.where, NOT_COMPLETE) for query in queries.of_dashboards() if query.where.startswith("History /"))
ALERT = "nothing is wrong"
# Rules that need more than the worlds have: what promtool alone shows (prometheus/tests), and why.
BY_PROMTOOL = {
    "alert CryptolensErrorBudgetBurn 6h": "needs data of most of six hours",
    "alert CryptolensErrorBudgetBurnAll 6h": "needs data of most of six hours",
    "alert CryptolensErrorBudgetBurnSlow 1d": "needs data of most of a day",
    "alert CryptolensErrorBudgetBurnSlow 3d": "needs data of most of three days",
    "alert CryptolensErrorBudgetBurnAllSlow 1d": "needs data of most of a day",
    "alert CryptolensErrorBudgetBurnAllSlow 3d": "needs data of most of three days",
    "alert CryptolensNoSuccess": "needs six hours of history and thin traffic",
    "alert CryptolensLogReplaced": "needs a log that begins anew",
    "History / Requests by outcome C": "needs a request of an unknown outcome",
    "Exporter health / Samples sent and dropped B": "needs a target that refuses samples",
    "Exporter health / Counts that differ from the log": "needs counts of the vendor that differ from the log",
    "alert CryptolensLicensesRefused": "needs usage.active where seats are refused",
    "alert CryptolensLicenseSeatsNearlyUsed": "needs usage.seats and a license that the configuration names",
    "alert CryptolensActiveMachinesDropped": "needs the active machines of a week ago",
    "alert CryptolensHistoryDropped": "needs a target that refuses samples",
    "alert CryptolensHistoryBacklog": "needs a target that takes too few samples",
    "alert CryptolensHistoryBehind": "needs a log whose minutes do not become complete",
    "alert CryptolensArchiveBehind": "needs an archive without success for three days",
    "alert CryptolensArchiveLosesRows": "needs an archive without success for 20 days",
    "alert CryptolensReconcileDifference": "needs counts of the vendor that differ from the log",
    "alert CryptolensLedgerForeignWrites": "needs somebody who writes to the ledger beside the exporter",
    "alert CryptolensFailureSpikeAll": "needs several products that fail at the same time",
    "alert CryptolensErrorBudgetBurnAll 1h": "needs several products that fail at the same time",
    "account_product:cryptolens_web_api_log_failures_per_entries:last_week": "needs what was recorded a week ago",
    "account:cryptolens_web_api_log_failures_per_entries:last_week": "needs what was recorded a week ago",
    "account_log:cryptolens_log_last_entry_age_seconds:max1w": "needs newest entries of more than a week",
}

checks = 0
problems = []


def check(what, holds, seen=""):
    global checks
    checks += 1
    if not holds:
        problems.append(f"{what}: {seen}")
    print(f"{'ok  ' if holds else 'FAIL'} {what}{f': {seen}' if seen != '' else ''}", flush=True)


# Variables


def offered(prometheus, variable, chosen):
    """The values that a variable's query offers, as Grafana asks for them."""
    text = queries.filled(queries.Query(variable["name"], variable["query"]), chosen)
    if found := re.fullmatch(r"label_values\((.+), (\w+)\)", text, re.DOTALL):
        return sorted(prometheus.ask(f"label/{found[2]}/values", **{"match[]": found[1]}))
    found = re.fullmatch(r"query_result\((.+)\)", text, re.DOTALL)
    pattern = re.compile(variable["regex"].strip("/").replace("(?<", "(?P<"))
    values = []
    for sample in prometheus.query(found[1]):
        labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample["metric"].items()) if name != "__name__")
        if matched := pattern.search(f"{{{labels}}} {sample['value'][1]} {sample['value'][0]}"):
            values.append((matched["value"], matched["text"]))
    return sorted(values)


def variables(prometheus):
    """The values that each variable offers, its text if all of them are chosen one by one, and how many they are."""
    every, chosen, rows = {}, {}, []
    for dashboard in queries.dashboards():
        for variable in dashboard["templating"]["list"]:
            if variable["type"] != "query" or variable["name"] in every:
                continue
            values = offered(prometheus, variable, chosen)
            every[variable["name"]] = values
            plain = [value[0] if isinstance(value, tuple) else value for value in values]
            rows.append((queries.Query(f"variable / {variable['name']}", variable["query"]), len(values)))
            # Where targets have no such label, All is chosen.
            nothing = ".*" if variable["name"] in PLACE else "nothing"
            chosen[variable["name"]] = queries.alternation(plain) if plain else nothing
    return every, chosen, rows


# Labels that these targets do not have, and that targets elsewhere may have.
PLACE = ("cluster", "namespace")
NOT_HERE = {*PLACE, "service", "pod", "node"}
# Values of the variables that select everything.
ALL = {**dict.fromkeys(("job", "instance", "account", "product"), ".+"), **dict.fromkeys(PLACE, ".*")}


# Queries


def returned(prometheus, query, chosen, since=None):
    """How many series a query returns, now or at any time since then; an error of Prometheus is a problem."""
    text = queries.filled(query, chosen)
    now = int(time.time())
    try:
        if since is not None:
            return len(prometheus.query_range(text, since, now, 5))
        if query.instant:
            return len(prometheus.query(text))
        return len(prometheus.query_range(text, now - 60, now, queries.SCRAPE_INTERVAL))
    except urllib.error.HTTPError as error:
        problems.append(f"{query.where}: {json.loads(error.read())['error']}")
        return 0


def unexplained(query, count):
    return (
        not count
        and query.where not in EMPTY
        and query.where not in BY_PROMTOOL
        and not query.where.startswith("alert ")
    )


def only_invented(query):
    """Whether only the situations can be expected to show it."""
    return EMPTY.get(query.where) in ("no row is old", NOT_COMPLETE)


def returned_by_demo(prometheus, all_queries, chosen):
    """Series by query. At night the demo's traffic is thin, so what is empty gets some time."""
    counts = {query: returned(prometheus, query, chosen) for query in all_queries}
    end = time.monotonic() + 90
    while time.monotonic() < end and (again := [query for query, count in counts.items() if unexplained(query, count)]):
        time.sleep(5)
        counts.update({query: returned(prometheus, query, chosen) for query in again})
    return counts


def names(prometheuses, all_queries):
    """Metrics and labels that no target exports and no rule records. Some families are there only once a row needs them."""
    labels = {}
    for query in all_queries:
        expression = queries.parsed(queries.filled(query, ALL))
        grouped = set(queries.grouping_labels(expression)) - set(queries.made_labels(expression))
        for metric, matched in queries.selectors(expression):
            if metric is None:
                yield f"{query.where}: a selector without a metric"
                continue
            if metric not in labels:
                start = int(time.time()) - 7200
                labels[metric] = {
                    label for one in prometheuses for label in one.ask("labels", **{"match[]": metric}, start=start)
                }
            if not labels[metric] and metric not in BY_PROMTOOL:
                yield f"{query.where}: no such metric: {metric}"
            for label in set(matched) - labels[metric] - NOT_HERE if labels[metric] else ():
                yield f"{query.where}: {metric} has no label {label}"
        known = set().union(*labels.values())
        for label in grouped - known - NOT_HERE:
            yield f"{query.where}: no metric has the label {label}"


# The two Prometheus


def healthy(stack, binary, folder, alertmanager):
    """The compose file's Prometheus over a demo, with a last week."""
    port = free_port()
    address, page = stack.enter_context(worlds.demo(binary, port))
    now = int(time.time())
    data = folder / "prometheus"
    data.mkdir(parents=True)
    # Without the ages: the demo's month was counted at once, and its rows were old then.
    counted = set(
        re.findall(r"# TYPE (cryptolens_(?:web_api|event|object|floating|data|product)_(?!log_entry_age)\w+) ", page)
    )
    logs = {
        "cryptolens_web_api_log_entries_total",
        "cryptolens_event_log_entries_total",
        "cryptolens_object_log_entries_total",
    }

    def given(families, start, end, step, since=now - 30 * DAY):
        worlds.backfill(data, folder, address, page, families, range(start, end, step), since, now)

    # The last hour as busy as if the month had come within a day: at night, and just started, a
    # demo would leave panels empty.
    given(counted, now - 3600, now - 10, 60, now - DAY)
    given(logs, now - 7 * DAY - 2 * 3600, now - 7 * DAY + 2 * 3600, 120)
    given(logs, now - 2 * DAY, now - DAY // 3, 6 * 3600)
    given({"cryptolens_log_last_entry_timestamp_seconds"}, now - 7 * DAY - 2 * 3600, now - 7 * DAY, 600)
    rules = queries.RULES.read_text()
    return stack.enter_context(Prometheus(folder, [address], alertmanager, rules, port=port)), address


def troubled(stack, binary, folder, alertmanager):
    """Each world's exporter, one that is not there, and the rules with a minute as a second."""
    (folder / "worlds").mkdir(parents=True)
    port = free_port()
    started = {name: world.start(stack, binary, folder / "worlds", port) for name, world in WORLDS.items()}
    quiet = started["quiet"]
    wait_for("the quiet world's rows", lambda: "cryptolens_web_api_log_entries_total" in quiet.page())
    worlds.misbehave(started)
    now = int(time.time())
    (folder / "prometheus").mkdir()
    # What 1w and a day more become.
    worlds.backfill(
        folder / "prometheus",
        folder,
        quiet.address,
        quiet.page(),
        {"cryptolens_web_api_log_entries_total", "cryptolens_log_last_entry_timestamp_seconds"},
        range(now - 8 * 1440 - 120, now - 70, 20),
        now - 9 * 1440,
        now - 70,
    )
    targets = [world.address for world in started.values()] + [f"127.0.0.1:{worlds.free_port()}"]
    rules = yaml.safe_dump({"groups": queries.shortened(queries.groups())}, sort_keys=False)
    prometheus = stack.enter_context(Prometheus(folder, targets, alertmanager, rules, "1s", port))
    wait_for("prometheus", lambda: prometheus.query("up"))
    # What the rules would have recorded.
    wanted = {
        "account_product:cryptolens_web_api_log_entries:rate1h",
        "account_log:cryptolens_log_last_entry_age_seconds:min",
    }
    past = [
        rule for group in queries.shortened(queries.groups()) for rule in group["rules"] if rule.get("record") in wanted
    ]
    (folder / "past.yml").write_text(yaml.safe_dump({"groups": [{"name": "past", "rules": past}]}))
    worlds.tool(
        folder,
        "tsdb",
        "create-blocks-from",
        "rules",
        f"--url={prometheus.url}",
        f"--start={now - 8 * 1440}",
        f"--end={now - 90}",
        "--eval-interval=20s",
        f"--output-dir={prometheus.data}",
        folder / "past.yml",
    )
    return prometheus, started


def go_wrong(started):
    """Does what happens once in the lives of the worlds."""
    restarting = started["restarting"]
    for round_ in range(5):
        time.sleep(3)
        restarting.restart(corrupt=round_ == 2)
        for name in ("refused", "unpaid", "denied"):
            started[name].new_token()
    started["full-disk"].fill_disk()
    started["quiet-replica"].exporter.stop()
    now = int(time.time())
    row = {"productId": 3349, "time": now}
    started["crowded"].add(
        "web_api", [{"id": 6_000_000_000 + n, "state": 2024 if n % 2 else 2015, **row} for n in range(60)]
    )
    # Beyond the limit of series, once Prometheus has seen how many rows were beyond it before.
    named = {"eventName": "opened", "featureName": "one more"}
    started["crowded"].add("events", [{"id": 6_000_000_000 + n, **named, **row} for n in range(60)])


def spike(world, prometheus, alertmanager):
    """A spike of failures reaches Alertmanager within two minutes, names its product, and resolves."""
    name = "CryptolensFailureSpike"
    wait_for(
        "a minute of calm",
        lambda: prometheus.query('account:cryptolens_web_api_log_failures_per_entries:ratio_rate1h{account="spike"}'),
    )
    wait_for("calm before the spike", lambda: not alertmanager.alerts(alertname=name, account="spike"))
    product = 3349
    began = time.monotonic()
    world.spike(25, 0.9, product)
    alert = wait_for("the spike in Alertmanager", lambda: alertmanager.alerts(alertname=name, account="spike"))[0]
    check(
        "the spike reached Alertmanager within two minutes",
        time.monotonic() - began < 120,
        f"after {time.monotonic() - began:.0f} s",
    )
    products = {one["labels"]["product_id"] for one in alertmanager.alerts(alertname=name, account="spike")}
    check("of one product", products == {str(product)}, products)
    wanted = rf"cryptolens-exporter report incident --account=spike --product={product} --at=\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"
    description = alert["annotations"]["description"]
    check("it says what to run", re.search(wanted, description), description)
    words = description[description.index("report incident") :].split()
    answer = world.run(*words)
    check("which runs", answer.returncode in (0, 3), answer.stderr)
    check("and says who is hit", "locked out" in answer.stdout.split("\n")[0], answer.stdout)
    check("with the change before it", "BlockExpiredLicenses" in answer.stdout)
    check(
        "it names the product",
        f"product {product}" not in alert["annotations"]["summary"],
        alert["annotations"]["summary"],
    )
    wait_for("its end in Alertmanager", lambda: not alertmanager.alerts(alertname=name, account="spike"))
    check("it resolved", True, f"{time.monotonic() - began:.0f} s after the spike began, which lasted 25 s")


def compose(prometheus, address, alertmanager):
    """The compose file's Prometheus scrapes, knows its Alertmanager, and evaluates every rule."""
    # Three scrapes and what follows from them.
    wait_for(
        "three scrapes of the demo",
        lambda: int(prometheus.query(f'count_over_time(up{{instance="{address}"}}[5m])')[0]["value"][1]) > 3,
    )
    check("the compose file's Prometheus scrapes the exporter", prometheus.query("up")[0]["value"][1] == "1")
    known = [one["url"] for one in prometheus.ask("alertmanagers")["activeAlertmanagers"]]
    check("and knows its Alertmanager", known == [f"{alertmanager.url}/api/v2/alerts"], known)

    def health():
        return {rule["name"]: rule["health"] for group in prometheus.ask("rules")["groups"] for rule in group["rules"]}

    wait_for("an evaluation of every rule", lambda: "unknown" not in health().values())
    check("every rule is evaluated", set(health().values()) == {"ok"}, f"{len(health())} names")
    check("no alert fires over a healthy demo", not prometheus.firing(), prometheus.firing() or "none")


def filled_in(prometheus, address):
    """The values that the variables offer for the demo, all of them chosen one by one."""
    every, chosen, rows = variables(prometheus)
    check("variable job", every["job"] == [JOB], every["job"])
    check("variable instance", every["instance"] == [address], every["instance"])
    check("variable account", every["account"] == ["default"], every["account"])
    check(
        "variable product, by name",
        len(every["product"]) == 6 and all(value != name for value, name in every["product"]),
        every["product"],
    )
    return chosen, rows


def pushes(prometheus, queries_of_panels):
    """An exporter that never reached its receiver shows how long it has been trying, one that does not push shows nothing."""
    panels = {query.where: query for query in queries_of_panels}
    age = queries.filled(panels["Exporter health / Age of the last push"], ALL)
    result = queries.filled(panels["Exporter health / Pushes by result"], ALL)
    of_failing = {WORLDS["failing"].address}
    wait_for("an age of the last push", lambda: prometheus.query(age))
    found = {sample["metric"]["instance"]: float(sample["value"][1]) for sample in prometheus.query(age)}
    check("the age of a push that never succeeded counts from the start", found.keys() == of_failing, found)
    check("which is some time ago", all(0 < value < 3600 for value in found.values()), found)
    tries = wait_for("a push", lambda: prometheus.query(result))
    results = {(sample["metric"]["instance"], sample["metric"]["result"]) for sample in tries}
    check("its pushes are unreachable", results == {(*of_failing, "unreachable")}, results)


def history(prometheus, binary, world):
    """The dashboard History shows the numbers of the command `report`, of two replicas of which one began later and has ended.
    The clock of their simulator stands still."""

    def metric(name, **labels):
        # As it is now: what Prometheus has of it is older than the samples that were sent.
        page = fetch(f"http://{world.address}/metrics")
        wanted = "".join(f'(?=[^}}]*\\b{label}="{value}")' for label, value in labels.items())
        return sum(
            float(value)
            for value in re.findall(rf"^cryptolens_exporter_{name}{{{wanted}[^}}]*}} (.+)$", page, re.MULTILINE)
        )

    began, logs = time.time(), ("web_api", "events")
    # A poll that began after the clock was stopped has read all that there will be.
    wait_for(
        "the logs to be read to their ends",
        lambda: all(metric("last_poll_timestamp_seconds", log=log) > began + 5 for log in logs),
    )
    wait_for(
        "the history to be sent",
        lambda: metric("history_sent_samples_total") > 0 and not metric("history_pending_samples"),
    )
    last = min(int(metric("history_sealed_until_timestamp_seconds", log=log)) for log in logs) // 60 * 60
    first = (last - 5400) // DAY * DAY
    for what, holds, seen in report_match.checks(prometheus, binary, world, first, last):
        check(what, holds, "" if holds else seen)


def inhibitions(alertmanager):
    """The compose file's inhibitions work on the labels that the alerts have."""
    labels = {"namespace": "a", "job": "x", "account": "inhibitions", "product_id": "1"}
    slow, fast = "CryptolensErrorBudgetBurnSlow", "CryptolensErrorBudgetBurn"
    alertmanager.add(
        {"alertname": "CryptolensFailureSpike", "severity": "critical", **labels},
        {"alertname": fast, "severity": "critical", "window": "1h", **labels},
        {"alertname": fast, "severity": "critical", "window": "1h", **labels, "product_id": "2"},
        {"alertname": slow, "severity": "warning", "window": "3d", **labels, "product_id": "2"},
        # The same account name elsewhere: another job, another namespace.
        {"alertname": fast, "severity": "critical", "window": "1h", **labels, "job": "y"},
        {"alertname": slow, "severity": "warning", "window": "3d", **labels, "namespace": "b", "product_id": "2"},
    )

    def silent():
        found = alertmanager.alerts(account="inhibitions")
        keys = ("alertname", "namespace", "job", "product_id")
        return {tuple(alert["labels"][key] for key in keys): bool(alert["status"]["inhibitedBy"]) for alert in found}

    wanted = {
        ("CryptolensFailureSpike", "a", "x", "1"): False,
        (fast, "a", "x", "1"): True,
        (fast, "a", "x", "2"): False,
        (slow, "a", "x", "2"): True,
        (fast, "a", "y", "1"): False,
        (slow, "b", "x", "2"): False,
    }
    with contextlib.suppress(Failure):
        wait_for("inhibitions", lambda: silent() == wanted, 20)
    check(
        "a spike silences its product's burn, a fast burn the slow one, and neither another exporter's",
        silent() == wanted,
        f"{sum(silent().values())} of {len(silent())} silent",
    )


def table(rows, wide):
    """A table of each query, how many series came back over the demo and over the worlds that misbehave, and why none did."""
    width = max(len(query.where) for query, *_ in rows)
    print(f"\n{'QUERY OF':{width}}  SERIES  UNDER FAULTS  QUERY", flush=True)
    for query, count, faulty, reason in rows:
        text = re.sub(r"\s+", " ", query.text).strip()
        if not wide and len(text) > 100:
            text = text[:99] + "…"
        print(
            f"{query.where:{width}}  {count:6}  {faulty:12}  {f'(0: {reason}) ' if reason and not count else ''}{text}"
        )


def main():
    binary = pathlib.Path(sys.argv[1]).resolve()
    wide = "--wide" in sys.argv[2:]
    began, began_at = time.monotonic(), int(time.time())
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        alertmanager = stack.enter_context(Alertmanager(folder / "alertmanager"))
        well, address = healthy(stack, binary, folder / "healthy", alertmanager)
        ill, started = troubled(stack, binary, folder / "troubled", alertmanager)
        print(f"# everything runs after {time.monotonic() - began:.0f} s", flush=True)
        go_wrong(started)

        compose(well, address, alertmanager)
        inhibitions(alertmanager)
        chosen, offers = filled_in(well, address)
        panels, rules = list(queries.of_dashboards()), list(queries.of_rules(queries.rules()))
        counts = returned_by_demo(well, [*panels, *rules], chosen)
        pushes(ill, panels)
        history(ill, binary, started["quiet"])

        spike(started["spike"], ill, alertmanager)
        # The rules that this Prometheus has, by the same names.
        short = {
            query.where: query
            for query in queries.of_rules(
                rule for group in queries.shortened(queries.groups()) for rule in group["rules"]
            )
        }
        missing = {query for query, count in counts.items() if not count}
        faulty = {}
        # Ends as soon as each has shown; a busy machine takes minutes for some.
        end = time.monotonic() + 300
        while True:
            # What is empty over the demo shows under faults at some time; everything else goes
            # through there as well.
            faulty.update(
                {
                    query: returned(
                        ill, short.get(query.where, query), ALL, began_at - 30 if query in missing else None
                    )
                    for query in counts
                    if not faulty.get(query)
                }
            )
            awaited = [query for query in missing if not only_invented(query) and query.where not in BY_PROMTOOL]
            if all(faulty[query] for query in awaited) or time.monotonic() > end:
                break
            time.sleep(5)
        invented, invented_end = situations.start(
            stack, folder / "situations", list(situations.SITUATIONS), alertmanager
        )
        for what, holds, seen in situations.checks(invented, invented_end):
            check(what, holds, "" if holds else seen)
        # What neither has, such as old rows, a first day or a place, the situations have.
        for query in [query for query in missing if not faulty[query]]:
            faulty[query] = len(invented.query_range(queries.filled(query, ALL), invented_end - 7200, invented_end, 60))
        problems.extend(names([well, ill, invented], [*panels, *rules]))
        _, _, ill_offers = variables(ill)
        _, _, invented_offers = variables(invented)
        alerts = {rule["alert"] for rule in queries.rules() if "alert" in rule}
        fired = {
            one["metric"]["alertname"]
            for one in ill.query_range('ALERTS{alertstate="firing"}', began_at, int(time.time()), 5)
        }

    rows = [
        (query, count, ill_count or invented_count, EMPTY.get(query.where))
        for (query, count), (_, ill_count), (_, invented_count) in zip(offers, ill_offers, invented_offers, strict=True)
    ]
    rows += [
        (query, count, faulty[query], ALERT if query.where.startswith("alert ") else EMPTY.get(query.where))
        for query, count in counts.items()
    ]
    table(rows, wide)
    for query, count, under_faults, _ in rows:
        if unexplained(query, count):
            problems.append(f"{query.where}: returns nothing over a healthy demo, and no reason is given")
        if not count and not under_faults and query.where not in BY_PROMTOOL:
            problems.append(f"{query.where}: returns nothing, not even under faults")
    unknown = EMPTY.keys() - {query.where for query, *_ in rows}
    problems.extend(f"{where}: a reason is given for a query that is not there" for where in unknown)
    print(
        f"\n{len(rows)} queries, {sum(not row[1] for row in rows)} rightly empty over a healthy demo; {len(fired)} of {len(alerts)} alerts fired under "
        f"faults within {time.monotonic() - began:.0f} s"
    )
    for problem in dict.fromkeys(problems):
        print(f"FAIL {problem}")
    print(f"{checks} passed, {len(problems)} failed")
    sys.exit(1 if problems else 0)


try:
    main()
except Failure as failure:
    sys.exit(f"FAIL {failure}")
