"""Situations that a real process is too quick or too healthy for, as blocks of a real Prometheus, and what the dashboards must
show in each. Run by scripts/queries-check; `scripts/situations [NAME...]` keeps the Prometheus, for pictures.

Each situation is a job of its own, all with the account `default`: what a panel shows of one must hold nothing of another.
The rows of a situation follow from its rates alone, so that true counts are known; rows are whole numbers, and a row is
counted by the first scrape that can see it.
"""

import contextlib
import dataclasses
import functools
import itertools
import json
import math
import pathlib
import sys
import tempfile
import threading
import time

import yaml

import queries
import worlds
from running import Process

DAY = 86400
CELL = 15
PRODUCTS = {"3349": "Meridian CAD", "3350": "Meridian Viewer", "5110": "PlateWorks"}
BOUNDS = [5, 15, 30, 60, 120, 300, 900, 3600, 21600, 86400, 604800]
# Event type, outcome, state, share of the requests of its outcome.
KINDS = [
    ("activation", "success", "2014", 0.7),
    ("validation", "success", "1010", 0.29),
    ("activation", "success", "2015", 0.01),
    ("activation", "failure", "2024", 0.4),
    ("activation", "failure", "2020", 0.3),
    ("validation", "failure", "1020", 0.3),
]
PAIRS = list(dict.fromkeys(kind[:2] for kind in KINDS))
LATENCY = 7


def steady(_product, _ago):
    return 0.05


@dataclasses.dataclass(eq=False)
class Situation:
    """Times are seconds before the end. `up`: when each replica (its own labels) is scraped."""

    name: str
    per_minute: float = 12
    failing: object = steady
    up: tuple = (({}, 9 * DAY, 0),)
    labels: dict = dataclasses.field(default_factory=dict)
    # When a replica, by its instance, is scraped and reads nothing.
    stuck: dict = dataclasses.field(default_factory=dict)
    # Samples of the history, by labels of the replica that wrote it.
    history: tuple = ()
    # The API answers requests until then.
    read_until: int = 0
    day: bool = True
    week: bool = True
    # Names of alerts that fire: labels, since.
    alerts: tuple = ()
    swing: bool = False

    def share(self, product):
        return {"3349": 0.5, "3350": 0.3, "5110": 0.2}[product]

    @functools.cache  # noqa: B019
    def happened(self, product, number, end):
        """Rows of a kind by cell, counted from 9 days before the end."""
        _, outcome, _, part = KINDS[number]
        total, made = 0.0, []
        # Kinds do not come in step.
        total = number / len(KINDS) + int(product) % 7 / 7
        for cell in range(9 * DAY // CELL):
            ago = 9 * DAY - cell * CELL
            failing = self.failing(product, ago)
            busy = self.per_minute * (1 + 0.25 * math.sin((end - ago) / 1500) if self.swing else 1)
            total += busy * CELL / 60 * self.share(product) * part * (failing if outcome == "failure" else 1 - failing)
            made.append(int(total))
        return made

    def until(self, product, number, end, at):
        """Rows of a kind that happened before a time."""
        cell = int((at - (end - 9 * DAY)) // CELL)
        made = self.happened(product, number, end)
        return made[max(0, min(cell, len(made) - 1))]

    @functools.cache  # noqa: B019
    def every(self, end, at):
        """Rows of all kinds that happened before a time."""
        return sum(self.until(product, number, end, at) for product in PRODUCTS for number in range(len(KINDS)))

    def truth(self, end, since, until=0, product=None, outcome=None, state=None):
        """Rows that happened between two times before the end."""
        return sum(
            self.until(one, number, end, end - until) - self.until(one, number, end, end - since)
            for one in PRODUCTS
            if product in (None, one)
            for number, (_, its, code, _) in enumerate(KINDS)
            if outcome in (None, its) and state in (None, code)
        )

    def scrapes(self, end, spans):
        times = []
        if self.week:
            times += range(end - 7 * DAY - 5400, end - 7 * DAY + 5400, 60)
        if self.day:
            times += range(end - 26 * 3600, end - 7200, 60)
        times += range(end - 7200, end + 1, 30)
        return [at for at in times if any(end - since <= at <= end - until for since, until in spans)]

    def samples(self, end):
        """(metric, labels, [(time, value)]) of every series."""
        # The spans of one replica are one series, with holes.
        for own, spans in itertools.groupby(self.up, key=lambda span: span[0]):
            labels = {"job": self.name, "instance": f"{self.name}:10460", **self.labels, **own}
            stuck = self.stuck.get(labels["instance"], (0, 1))
            pages = list(self.replica(end, [(since, until) for _, since, until in spans], stuck))
            for position, (metric, its) in enumerate(self.series(labels)):
                yield metric, its, [(at, values[position]) for at, values in pages]
        for own, since, until in self.history:
            yield from self.happened_by_minute({"job": self.name, **self.labels, **own}, end, since, until)
        for alert, since in self.alerts:
            labels = {"alertname": alert["alertname"], "job": self.name, "account": "default", **self.labels, **alert}
            times = range(end - since, end + 1, 30)
            yield "ALERTS", {**labels, "alertstate": "firing"}, [(at, 1) for at in times]
            yield "ALERTS_FOR_STATE", labels, [(at, end - since) for at in times]

    def happened_by_minute(self, labels, end, since, until):
        """(metric, labels, [(time, value)]) of the history of one replica: a sample of each minute that is not 0."""
        account = {**labels, "account": "default"}
        minutes = range(-(-(end - since) // 60) * 60, (end - until) // 60 * 60, 60)

        def series(metric, its, value):
            samples = [(f"{minute}.001", value(minute)) for minute in minutes]
            yield f"cryptolens_history_{metric}", {**account, **its}, [one for one in samples if one[1]]

        def rows(product, numbers):
            return lambda minute: sum(
                self.until(product, number, end, minute + 60) - self.until(product, number, end, minute)
                for number in numbers
            )

        for product in PRODUCTS:
            for number, (event_type, outcome, state, _) in enumerate(KINDS):
                its = {"product_id": product, "event_type": event_type, "outcome": outcome}
                yield from series("web_api_log_states", {**its, "state": state}, rows(product, [number]))
            for pair in PAIRS:
                numbers = [number for number, kind in enumerate(KINDS) if kind[:2] == pair]
                its = {"product_id": product, "event_type": pair[0], "outcome": pair[1]}
                yield from series("web_api_log_entries", its, rows(product, numbers))
        event = {"product_id": "3349", "event_name": "purchase"}
        yield from series(
            "event_log_entries", {**event, "feature_name": "unnamed"}, lambda minute: int(minute % 600 == 0)
        )
        yield from series("event_value", {**event, "currency": "EUR"}, lambda minute: 250 * int(minute % 600 == 0))
        yield from series(
            "object_log_entries",
            {"resource_type": "customer", "action": "added"},
            lambda minute: int(minute % 1200 == 0),
        )
        for log in ("web_api", "events", "objects"):
            yield from series("covered_seconds", {"log": log}, lambda _: 60)

    def replica(self, end, spans, stuck):
        """(time, values) of every scrape of a replica."""
        counts = {(product, number): None for product in PRODUCTS for number in range(len(KINDS))}
        ages = [0] * (len(BOUNDS) + 1)
        before = seen_before = None
        catching_until = 0
        for at in self.scrapes(end, spans):
            is_stuck = end - stuck[0] <= at <= end - stuck[1]
            readable = at <= end - self.read_until and not is_stuck
            gap = before is not None and at - before > 300
            week_apart = before is not None and at - before > 2 * DAY
            seen = at - LATENCY if readable else end - (stuck[0] if is_stuck else self.read_until)
            if before is not None and end - stuck[1] < at <= end - stuck[1] + 60:
                catching_until = at + 60
            # After a gap the ledger's values are there first; the next scrape has what happened
            # meanwhile.
            if gap and not week_apart:
                seen, catching_until = before - LATENCY, at + 90
            for product, number in counts:
                counts[product, number] = self.until(product, number, end, seen)
            if before is not None:
                start = seen_before
                for cell in range(int(start // CELL), int(seen // CELL)):
                    moment = cell * CELL
                    rows = self.every(end, moment + CELL) - self.every(end, moment)
                    age = 8 if week_apart else max(1, at - moment - CELL)
                    for position, bound in enumerate([*BOUNDS, math.inf]):
                        if age <= bound:
                            ages[position] += rows
            before, seen_before = at, seen
            yield (
                at,
                self.values(
                    counts,
                    ages,
                    at,
                    catching=at < catching_until,
                    readable=readable,
                    seen=seen,
                    started=next(end - since for since, until in spans if end - since <= at <= end - until),
                ),
            )

    def series(self, labels):
        """(metric, labels) of what a replica exports, in the order of `values`."""
        account = {**labels, "account": "default"}
        for product in PRODUCTS:
            for event_type, outcome, state, _ in KINDS:
                yield (
                    "cryptolens_web_api_log_states_total",
                    {**account, "product_id": product, "event_type": event_type, "outcome": outcome, "state": state},
                )
        for product in PRODUCTS:
            for event_type, outcome in PAIRS:
                yield (
                    "cryptolens_web_api_log_entries_total",
                    {**account, "product_id": product, "event_type": event_type, "outcome": outcome},
                )
        ages = {**account, "event_type": "activation", "outcome": "success"}
        for bound in [*BOUNDS, "+Inf"]:
            yield "cryptolens_web_api_log_entry_age_seconds_bucket", {**ages, "le": str(bound)}
        yield "cryptolens_web_api_log_entry_age_seconds_count", ages
        for log in ("event", "object"):
            for bound in [*BOUNDS, "+Inf"]:
                yield f"cryptolens_{log}_log_entry_age_seconds_bucket", {**account, "le": str(bound)}
            yield f"cryptolens_{log}_log_entry_age_seconds_count", account
        for product, name in PRODUCTS.items():
            yield "cryptolens_product_info", {**account, "product_id": product, "product_name": name}
        for log in ("web_api", "events", "objects"):
            for metric in (
                "up",
                "exporter_catching_up",
                "exporter_last_poll_timestamp_seconds",
                "log_last_entry_timestamp_seconds",
                "exporter_cursor_id",
                "exporter_newest_id",
                "exporter_origin_timestamp_seconds",
                "exporter_rows_counted_total",
                "exporter_history_sealed_until_timestamp_seconds",
            ):
                yield f"cryptolens_{metric}", {**account, "log": log}
        for state, description in (
            ("2024", "floating activation refused: no free seat"),
            ("2020", "activation failed"),
        ):
            yield (
                "cryptolens_state_info",
                {
                    **labels,
                    "state": state,
                    "event_type": "activation",
                    "outcome": "failure",
                    "description": description,
                },
            )
        yield "cryptolens_exporter_build_info", {**labels, "version": "0.1.0", "commit": "synthetic"}
        yield "cryptolens_exporter_ledger_up", labels
        yield "cryptolens_exporter_ledger_foreign_writes_total", labels
        yield "process_start_time_seconds", labels
        yield "up", labels
        target = {**labels, "target": "prometheus"}
        yield "cryptolens_exporter_history_sent_samples_total", target
        yield "cryptolens_exporter_history_pending_samples", target
        yield "cryptolens_exporter_history_last_success_timestamp_seconds", target
        yield "cryptolens_exporter_history_dropped_samples_total", {**target, "reason": "refused"}

    def values(self, counts, ages, at, *, catching, readable, seen, started):
        made = [counts[product, number] for product in PRODUCTS for number in range(len(KINDS))]
        made += [
            sum(counts[product, number] for number, kind in enumerate(KINDS) if kind[:2] == pair)
            for product in PRODUCTS
            for pair in PAIRS
        ]
        # Rows of the other logs are as old, and a bucket older, so that a day has old ones.
        older = [0, *ages[:-2], ages[-1]]
        made += [*ages, ages[-1], *ages, ages[-1], *older, ages[-1]] + [1] * len(PRODUCTS)
        for log in ("web_api", "events", "objects"):
            made += [
                int(readable),
                int(catching and log == "web_api"),
                at - 4 if readable else int(seen),
                int(seen) - 20,
                int(seen) // 5,
                int(seen) // 5,
                0,
                sum(counts.values()),
                int(seen) // 60 * 60 - 120,
            ]
        return [*made, 1, 1, 1, 1, 0, started, 1, at, 0, at - 10, 0]


def from_end(seconds, share, product="5110"):
    """A spike of one product that still goes on."""
    return lambda one, ago: share if one == product and ago <= seconds else 0.05


MINUTE, HOUR = 60, 3600
OPERATOR = {
    "cluster": "eu-1",
    "namespace": "licensing",
    "service": "licensing-cryptolens-exporter",
    "container": "exporter",
    "endpoint": "http",
}
SITUATIONS = {
    one.name: one
    for one in (
        Situation(
            "spike",
            failing=from_end(25 * MINUTE, 0.85),
            swing=True,
            alerts=(
                ({"alertname": "CryptolensFailureSpike", "severity": "critical", "product_id": "5110"}, 17 * MINUTE),
                ({"alertname": "CryptolensSeatLimitReached", "severity": "warning", "product_id": "5110"}, 10 * MINUTE),
                ({"alertname": "CryptolensPermissionDenied", "severity": "warning", "log": "objects"}, 80 * MINUTE),
            ),
        ),
        # A second exporter in the same Prometheus, with the same account name and another product
        # that fails.
        Situation(
            "staging",
            failing=from_end(9 * DAY, 0.9, "3350"),
            day=False,
            alerts=(
                (
                    {
                        "alertname": "CryptolensErrorBudgetBurn",
                        "severity": "critical",
                        "product_id": "3350",
                        "window": "1h",
                    },
                    HOUR,
                ),
            ),
        ),
        Situation("gap", up=(({}, 9 * DAY, 50 * MINUTE), ({}, 10 * MINUTE + 30, 0)), swing=True),
        Situation("gap-of-a-night", up=(({}, 9 * DAY, 10 * HOUR), ({}, 10 * MINUTE + 30, 0)), swing=True),
        Situation(
            "operator",
            up=(({"pod": "licensing-0", "instance": "licensing-0"}, 9 * DAY, 0),),
            labels=OPERATOR,
            failing=from_end(40 * MINUTE, 0.6),
            week=False,
        ),
        Situation(
            "replicas",
            up=(
                ({"instance": "a:10460", "pod": "licensing-0"}, 9 * DAY, 0),
                ({"instance": "b:10460", "pod": "licensing-1"}, 9 * DAY, 50 * MINUTE),
                ({"instance": "b:10460", "pod": "licensing-1"}, 10 * MINUTE + 30, 0),
            ),
            labels={"namespace": "licensing"},
            day=False,
        ),
        Situation(
            "moved",
            up=(
                ({"instance": "10.0.0.7:10460", "pod": "licensing-0"}, 9 * DAY, 30 * MINUTE),
                ({"instance": "10.0.3.9:10460", "pod": "licensing-0"}, 29 * MINUTE + 30, 0),
            ),
            labels={"namespace": "licensing"},
            day=False,
        ),
        # The replica that was ahead dies while the other, which could not reach the API for half an hour, is behind.
        Situation(
            "leader-dies",
            up=(
                ({"instance": "licensing-0", "pod": "licensing-0"}, 9 * DAY, 70 * MINUTE),
                ({"instance": "licensing-1", "pod": "licensing-1"}, 9 * DAY, 0),
            ),
            stuck={"licensing-1": (90 * MINUTE, 65 * MINUTE)},
            labels={"namespace": "licensing"},
            history=(({"instance": "licensing-0"}, DAY, 73 * MINUTE), ({"instance": "licensing-1"}, DAY, 3 * MINUTE)),
            day=False,
            week=False,
        ),
        # One of two replicas is cut off from the API for half an hour, and its history is lost for as long.
        Situation(
            "cut-off",
            up=(
                ({"instance": "licensing-0", "pod": "licensing-0"}, 9 * DAY, 0),
                ({"instance": "licensing-1", "pod": "licensing-1"}, 9 * DAY, 0),
            ),
            stuck={"licensing-1": (95 * MINUTE, 65 * MINUTE)},
            labels={"namespace": "licensing"},
            history=(
                ({"instance": "licensing-0"}, DAY, 3 * MINUTE),
                ({"instance": "licensing-1"}, DAY, 95 * MINUTE),
                ({"instance": "licensing-1"}, 65 * MINUTE, 3 * MINUTE),
            ),
            day=False,
            week=False,
        ),
        # Thin traffic, and a time of which nothing is known. A second exporter writes to the same place.
        Situation(
            "history-gap",
            per_minute=1 / 6,
            history=(({"instance": "a"}, DAY, 9 * HOUR), ({"instance": "a"}, 5 * HOUR, 3 * MINUTE)),
            day=False,
            week=False,
        ),
        Situation("thin", per_minute=1 / 3),
        Situation(
            "thin-and-failing",
            per_minute=1 / 3,
            failing=lambda _, ago: 1.0 if ago <= 2 * HOUR else 0.05,
            alerts=(({"alertname": "CryptolensNoSuccess", "severity": "critical", "product_id": "3349"}, 80 * MINUTE),),
        ),
        Situation("first-day", up=(({}, 3 * HOUR, 0),), week=False),
        Situation("down", up=(({}, 9 * DAY, 20 * MINUTE),), day=False, week=False),
        Situation("refused", read_until=HOUR + 5 * MINUTE, day=False, week=False),
    )
}


def write(path, end, names):
    """One OpenMetrics file of some situations."""
    by_metric = {}
    for name in names:
        for metric, labels, samples in SITUATIONS[name].samples(end):
            series = ",".join(f"{key}={json.dumps(text, ensure_ascii=False)}" for key, text in labels.items())
            by_metric.setdefault(metric, []).append((series, samples))
    with path.open("w") as file:
        for metric, found in by_metric.items():
            file.write(f"# TYPE {metric} unknown\n")
            for series, samples in found:
                start = f"{metric}{{{series}}}"
                file.writelines(f"{start} {value} {at}\n" for at, value in samples)
        file.write("# EOF\n")


class Restartable(worlds.Prometheus):
    """Prometheus looks for new blocks when it starts, and otherwise once a minute only."""

    def restart(self):
        self.stop()
        Process.__init__(self, worlds.PROMETHEUS, *worlds.compose_command("prometheus", self.folder, self.port))
        self.wait_until_ready("prometheus")


def layers():
    """The recording rules that the dashboards need: what a layer reads, those before it record."""
    recording = {}
    for rule in queries.rules():
        if "record" in rule:
            recording.setdefault(rule["record"], []).append(rule)

    def reads(text):
        return {metric for metric, _ in queries.selectors(queries.parsed(text)) if metric in recording}

    pending = set().union(
        *(
            reads(
                queries.filled(
                    query, dict.fromkeys(("cluster", "namespace", "job", "instance", "account", "product"), "any")
                )
            )
            for query in queries.of_dashboards()
        )
    )
    needed = set()
    while pending:
        name = pending.pop()
        needed.add(name)
        pending |= set().union(*(reads(rule["expr"]) for rule in recording[name])) - needed
    done = set()
    while needed - done:
        layer = {
            name for name in needed - done if all(reads(rule["expr"]) - {name} <= done for rule in recording[name])
        }
        if not layer:
            raise ValueError(f"rules that read each other: {needed - done}")
        yield [rule for name in sorted(layer) for rule in recording[name]]
        done |= layer


def start(stack, folder, names, alertmanager=None, past=150 * MINUTE):
    """A Prometheus with these situations, and what its rules would have recorded of them; (Prometheus, end)."""
    folder.mkdir(parents=True, exist_ok=True)
    end = int(time.time()) // 30 * 30 - 60
    data = folder / "prometheus"
    data.mkdir()
    write(folder / "situations.om", end, names)
    worlds.tool(folder, "tsdb", "create-blocks-from", "openmetrics", folder / "situations.om", data)
    (folder / "situations.om").unlink()
    prometheus = stack.enter_context(
        Restartable(folder, [f"127.0.0.1:{worlds.free_port()}"], alertmanager, queries.RULES.read_text())
    )
    spans = [(end - past, end)]
    if any(SITUATIONS[name].week for name in names):
        spans.insert(0, (end - 7 * DAY - 1800, end - 7 * DAY + 1800))
    for number, layer in enumerate(layers()):
        (folder / f"past{number}.yml").write_text(
            yaml.safe_dump({"groups": [{"name": "past", "rules": layer}]}, sort_keys=False)
        )
        for since, until in spans:
            worlds.tool(
                folder,
                "tsdb",
                "create-blocks-from",
                "rules",
                f"--url={prometheus.url}",
                f"--start={since}",
                f"--end={until}",
                "--eval-interval=60s",
                f"--output-dir={data}",
                folder / f"past{number}.yml",
            )
        prometheus.restart()
    return prometheus, end


# Values that the dashboards must show


@dataclasses.dataclass
class Shown:
    """The panels of one job, as at the end of the situations."""

    prometheus: object
    end: int
    job: str
    chosen: dict = dataclasses.field(default_factory=dict)

    def query(self, panel, span=HOUR, step=None):
        (found,) = (one for one in queries.of_dashboards() if one.where == panel)
        chosen = {
            "cluster": ".*",
            "namespace": ".*",
            "instance": ".+",
            "account": ".+",
            "product": ".+",
            "job": self.job,
            **self.chosen,
        }
        found = dataclasses.replace(found, span=span, step=step or found.step, end=self.end)
        return queries.filled(found, chosen), found.step

    def now(self, panel, span=HOUR):
        """[(labels, value)] of a stat or a table."""
        found = self.prometheus.ask("query", query=self.query(panel, span)[0], time=self.end)["result"]
        return [(one["metric"], float(one["value"][1])) for one in found]

    def value(self, panel, span=HOUR):
        """The number that a stat shows, or none."""
        found = self.now(panel, span)
        return found[0][1] if found else None

    def by(self, panel, label, span=HOUR):
        return {labels.get(label, ""): value for labels, value in self.now(panel, span)}

    def drawn(self, panel, span=HOUR):
        """{legend labels: [values]} of a graph."""
        text, step = self.query(panel, span)
        found = self.prometheus.query_range(text, self.end - span, self.end, max(step, span // 300))
        return {
            tuple(sorted(one["metric"].items())): [(int(at), float(value)) for at, value in one["values"]]
            for one in found
        }

    def bars(self, panel, since, until, step=HOUR):
        """{start: value} of the one series of a graph, with bars of so many seconds that start at multiples of it."""
        text, _ = self.query(panel, span=until - since, step=step)
        made = {}
        for one in self.prometheus.query_range(text, -(-since // step) * step, until // step * step, step):
            made.update((int(at), float(value)) for at, value in one["values"])
        return made


def of_history(shown, situation, end, span):
    """(what, whether it holds, what was seen): every hour and the whole are exact, whichever panel shows them."""
    # Whole hours, of which the last is complete.
    first, last = -(-(end - span) // HOUR) * HOUR, (end - 5 * MINUTE) // HOUR * HOUR

    def truth(since, until, outcome=None):
        return sum(
            situation.until(product, number, end, until) - situation.until(product, number, end, since)
            for product in PRODUCTS
            for number, kind in enumerate(KINDS)
            if outcome in (None, kind[1])
        )

    for letter, outcome in (("A", "success"), ("B", "failure")):
        seen = shown.bars(f"History / Requests by outcome {letter}", first, last - HOUR)
        wanted = {at: truth(at, at + HOUR, outcome) for at in range(first, last, HOUR)}
        yield f"{shown.job}: {outcome} of every hour, exactly", seen == wanted, f"{seen}, truth {wanted}"
    ended = dataclasses.replace(shown, end=last)
    for panel, outcome in (("Requests", None), ("Failed requests", "failure")):
        seen, wanted = ended.value(f"History / {panel}", last - first), truth(first, last, outcome)
        yield f"{shown.job}: {panel}, exactly", seen == wanted, f"{seen}, truth {wanted}"
    seen = ended.value("History / Failure ratio", last - first)
    wanted = truth(first, last, "failure") / truth(first, last)
    yield f"{shown.job}: failure ratio", near(seen, wanted, 1e-9, 1e-9), f"{seen}, truth {wanted}"
    seen = sum(ended.by("History / Top failing states", "state", last - first).values())
    wanted = truth(first, last, "failure")
    yield f"{shown.job}: failing states, exactly", seen == wanted, f"{seen}, truth {wanted}"
    week = shown.prometheus.query_range(
        shown.query("History / Requests by hour of the week")[0], first, last - HOUR, HOUR
    )
    seen = {(one["metric"]["weekday"], one["metric"]["hour"]): float(one["values"][0][1]) for one in week}
    wanted = {}
    for at in range(first, last, HOUR):
        then = time.gmtime(at)
        wanted[str(then.tm_wday), f"{then.tm_hour:02}"] = truth(at, at + HOUR)
    yield f"{shown.job}: hours of the week, exactly", seen == wanted, f"{seen}, truth {wanted}"
    (value,) = shown.bars("History / Value by day and currency", first, first).values()
    wanted = sum(250 for minute in range(first, first + HOUR, 60) if minute % 600 == 0)
    yield f"{shown.job}: value of an hour", value == wanted, f"{value}, truth {wanted}"


def near(value, wanted, share=0.04, least=2):
    return value is not None and abs(value - wanted) <= max(least, share * wanted)


CATCHING_UP, NOT_READ = -1, -3
SUCCESS = "Licensing overview / Success"
REQUESTS = "Licensing overview / Requests, 15 min"
REFUSALS = "Licensing overview / Seat refusals, 1 hour"
STATES = "Licensing overview / Top failing states"
PRODUCTS_NOW = "Licensing overview / Products now"
TIMELINE = "Licensing overview / Failing products, and since when"
FIRING = "Licensing overview / Firing alerts"


@dataclasses.dataclass
class Checks:
    """Checks of several situations, each as (what, whether it holds, what was seen)."""

    prometheus: object
    end: int

    def of(self, name, **chosen):
        return Shown(self.prometheus, self.end, name, chosen), SITUATIONS[name]

    def shares(self, situation, window):
        good, bad = (situation.truth(self.end, window, outcome=outcome) for outcome in ("success", "failure"))
        return good / (good + bad)

    def failures(self, shown, situation, span, since=None):
        """Whether the table of failing states has the true counts."""
        seen = shown.by(STATES, "state", span)
        seen.pop("", None)
        wanted = {state: situation.truth(self.end, since or span, state=state) for state in ("2024", "2020", "1020")}
        return seen.keys() == wanted.keys() and all(
            near(seen[state], wanted[state]) for state in wanted
        ), f"{seen}, truth {wanted}"

    def counts(self, name, *, window, refused, old=False):
        shown, situation = self.of(name)
        seen, wanted = shown.value(f"{REQUESTS} A"), situation.truth(self.end, window)
        yield f"{name}: requests of 15 minutes", near(seen, wanted), f"{seen}, truth {wanted}"
        yield (
            f"{name}: a caption where they hold older rows, and only there",
            bool(shown.now(f"{REQUESTS} B")) == old,
            shown.now(f"{REQUESTS} B"),
        )
        seen, wanted = shown.value(f"{REFUSALS} A"), situation.truth(self.end, refused, state="2024")
        yield f"{name}: seat refusals of an hour", near(seen, wanted), f"{seen}, truth {wanted}"


def checks(prometheus, end):
    """(what, whether it holds, what was seen) of every situation. Spans are 1 h and 24 h, 10 minutes after a catch-up."""

    made = Checks(prometheus, end)
    of, shares, failures, counts = made.of, made.shares, made.failures, made.counts

    shown, situation = of("gap")
    yield "gap: success says catching up, not no traffic", shown.value(SUCCESS) == CATCHING_UP, shown.now(SUCCESS)
    yield from counts("gap", window=50 * MINUTE, refused=HOUR, old=True)
    for span in (HOUR, DAY):
        yield f"gap: failing states at {span // HOUR} h", *failures(shown, situation, span)
    yield (
        "gap: products say catching up",
        set(shown.by(f"{PRODUCTS_NOW} B", "product_id").values()) == {CATCHING_UP},
        shown.now(f"{PRODUCTS_NOW} B"),
    )
    yield "gap: no log is unread", shown.value("Licensing overview / Unread logs") == 0, ""
    rates = [
        value for values in shown.drawn("Licensing overview / Requests by outcome").values() for _, value in values
    ]
    yield "gap: what is read at once is no spike of requests", max(rates) < 2 * situation.per_minute, max(rates)
    for panel in ("Failure ratio by product", "Failure ratio by event type"):
        ratios = [
            value for values in shown.drawn(f"Licensing overview / {panel}", 2 * HOUR).values() for _, value in values
        ]
        yield f"gap: no peak at its edges: {panel}", max(ratios) < 0.2, max(ratios)
    starts = [value for values in shown.drawn("Exporter health / Restarts", 2 * HOUR).values() for _, value in values]
    yield "gap: the restart after it is shown once", sum(starts) == 1, sum(starts)

    shown, situation = of("gap-of-a-night")
    yield "gap of a night: success says catching up", shown.value(SUCCESS) == CATCHING_UP, shown.now(SUCCESS)
    yield from counts("gap-of-a-night", window=10 * HOUR, refused=10 * HOUR, old=True)
    yield "gap of a night: refusals have a caption", bool(shown.now(f"{REFUSALS} B")), shown.now(f"{REFUSALS} B")
    yield "gap of a night: failing states at 24 h", *failures(shown, situation, DAY)
    yield "gap of a night: failing states at 1 h", *failures(shown, situation, HOUR, 10 * HOUR)
    yield (
        "gap of a night: they say that rows are older than an hour",
        any("older than 1 h" in text for text in shown.by(STATES, "description")),
        shown.by(STATES, "description"),
    )

    shown, situation = of("spike")
    labels, value = shown.now(SUCCESS)[0]
    yield (
        "spike: success",
        near(value, shares(situation, 15 * MINUTE), 0.02, 0.02) and "fires" in labels["level"],
        f"{value} {labels}",
    )
    ends = {dict(labels)["product_name"]: values[-1][1] for labels, values in shown.drawn(TIMELINE).items()}
    yield "spike: one product is red now", ends == {"PlateWorks": 4, "Meridian CAD": 0, "Meridian Viewer": 0}, ends
    firing = set(shown.by(FIRING, "alertname"))
    yield (
        "spike: alerts, and those without a product",
        firing == {"CryptolensFailureSpike", "CryptolensSeatLimitReached", "CryptolensPermissionDenied"},
        firing,
    )
    other, _ = of("spike", product="3349")
    yield (
        "spike: alerts of another product are not listed",
        set(other.by(FIRING, "alertname")) == {"CryptolensPermissionDenied"},
        other.by(FIRING, "alertname"),
    )
    yield "spike: and do not colour it", "fires" not in other.now(SUCCESS)[0][0]["level"], other.now(SUCCESS)
    yield (
        "spike: a state without a description is said in words",
        "validation failed" in shown.by(STATES, "description"),
        shown.by(STATES, "description"),
    )
    marks = {dict(labels)["alertname"] for labels in shown.drawn("annotation / Licensing overview / Firing alerts")}
    yield (
        "spike: alerts of the exporter mark its own dashboard only",
        marks == {"CryptolensFailureSpike", "CryptolensSeatLimitReached"},
        marks,
    )
    marks = {dict(labels)["alertname"] for labels in shown.drawn("annotation / Exporter health / Firing alerts")}
    yield "spike: and those of customers do not", marks == {"CryptolensPermissionDenied"}, marks

    shown, situation = of("staging")
    firing = set(shown.by(FIRING, "alertname"))
    yield "a second exporter with the same account: its own alerts", firing == {"CryptolensErrorBudgetBurn"}, firing
    value = shown.value(SUCCESS)
    yield (
        "a second exporter with the same account: its own success",
        near(value, shares(situation, 15 * MINUTE), 0.02, 0.02),
        value,
    )
    both = Shown(prometheus, end, "(spike|staging)")
    rows = [(labels["job"], labels["product_id"]) for labels, _ in both.now(f"{PRODUCTS_NOW} A")]
    yield "both exporters: a row each for a product that both have", len(rows) == len(set(rows)) == 6, rows

    for chosen in ({}, {"cluster": "eu-1", "namespace": "licensing"}):
        shown, situation = of("operator", **chosen)
        value = shown.value(SUCCESS)
        yield (
            f"operator: success with {chosen or 'all'}",
            near(value, shares(situation, 15 * MINUTE), 0.02, 0.02),
            value,
        )
    shown, _ = of("operator", namespace="elsewhere")
    yield "operator: nothing of another namespace", shown.value(SUCCESS) is None, shown.now(SUCCESS)

    shown, situation = of("replicas")
    yield from counts("replicas", window=15 * MINUTE, refused=HOUR)
    value = shown.value(SUCCESS)
    yield (
        "replicas: success, while one of them catches up",
        near(value, shares(situation, 15 * MINUTE), 0.02, 0.02),
        value,
    )
    yield "replicas: failing states", *failures(shown, situation, HOUR)
    rates = [
        value for values in shown.drawn("Licensing overview / Requests by outcome").values() for _, value in values
    ]
    yield "replicas: no sum and no spike of requests", max(rates) < 1.3 * situation.per_minute, max(rates)

    shown, situation = of("moved")
    yield from counts("moved", window=15 * MINUTE, refused=HOUR)
    yield "moved: failing states", *failures(shown, situation, HOUR)
    yield "moved: no log is unread", shown.value("Licensing overview / Unread logs") == 0, ""

    yield from checks_of_replicas(prometheus, end)

    shown, situation = of("thin")
    labels, value = shown.now(SUCCESS)[0]
    wanted = shares(situation, {"last hour": HOUR, "last 6 hours": 6 * HOUR}.get(labels["window"], 0) or HOUR)
    yield (
        "thin traffic: success of a longer time, which is named",
        labels["window"] in ("last hour", "last 6 hours") and near(value, wanted, 0.03, 0.03),
        f"{value} {labels}",
    )
    states = {value for values in shown.drawn(TIMELINE).values() for _, value in values}
    yield "thin traffic: is not called catching up", CATCHING_UP not in states, states
    yield "thin traffic: a failure is too little to judge", not states & {1, 2}, states
    yield "thin traffic: failing states at 24 h", *failures(shown, situation, DAY)
    shown, _ = of("thin-and-failing")
    yield (
        "thin traffic that fails: success is coloured by the alert",
        "fires" in shown.now(SUCCESS)[0][0]["level"],
        shown.now(SUCCESS),
    )

    shown, situation = of("first-day")
    yield (
        "first day: no last week",
        not shown.now("Licensing overview / A week ago"),
        shown.now("Licensing overview / A week ago"),
    )
    yield "first day: success", near(shown.value(SUCCESS), 0.95, 0.03, 0.03), shown.now(SUCCESS)
    yield "first day: failing states at 24 h", *failures(shown, situation, DAY, 3 * HOUR)

    shown, _ = of("refused")
    for panel in (SUCCESS, f"{REQUESTS} A", f"{REFUSALS} A", "Licensing overview / Overdrafts, 1 hour A"):
        yield f"refused: {panel} says not read, not 0", shown.value(panel) == NOT_READ, shown.now(panel)
    yield "refused: unread logs", shown.value("Licensing overview / Unread logs") == 3, ""
    yield (
        "refused: the table of states says that the log is not read",
        any("not being read" in text for text in shown.by(STATES, "description")),
        "",
    )
    yield (
        "refused: products say not read",
        set(shown.by(f"{PRODUCTS_NOW} A", "product_id").values()) == {NOT_READ},
        shown.now(f"{PRODUCTS_NOW} A"),
    )
    last = [values[-1][0] for values in shown.drawn("Licensing overview / Requests by outcome", 2 * HOUR).values()]
    yield "refused: no line at 0", max(last) < end - HOUR, [end - at for at in last]

    shown, _ = of("down")
    yield "down: unread logs", shown.value("Licensing overview / Unread logs") == 3, ""
    yield "down: exporters", shown.value("Exporter health / Exporters down") == 1, ""
    yield "down: success", shown.value(SUCCESS) == NOT_READ, shown.now(SUCCESS)

    shown = Shown(prometheus, end, "nobody")
    for query in queries.of_dashboards():
        if any(
            query.where.startswith(panel)
            for panel in (
                SUCCESS,
                REQUESTS,
                REFUSALS,
                "Licensing overview / Unread logs",
                "Licensing overview / Overdrafts",
                "Exporter health / Exporters down",
                "Exporter health / Logs not readable",
                "Exporter health / Ledger",
                "Events / Events, last hour",
                "Object changes / Changes, last day",
            )
        ):
            yield f"no exporter: {query.where} shows no number", not shown.now(query.where), shown.now(query.where)


def checks_of_replicas(prometheus, end):
    """Checks of two replicas of which one dies or is cut off, and that their history is exact; the rest is as in `checks`."""
    made = Checks(prometheus, end)
    of, shares, failures, counts = made.of, made.shares, made.failures, made.counts

    for name in ("leader-dies", "cut-off"):
        shown, situation = of(name)
        yield from counts(name, window=15 * MINUTE, refused=HOUR)
        yield f"{name}: failing states at 1 h", *failures(shown, situation, HOUR)
        rates = [
            value
            for values in shown.drawn("Licensing overview / Requests by outcome", 2 * HOUR).values()
            for _, value in values
        ]
        yield f"{name}: no sum and no spike of requests", max(rates) < 1.3 * situation.per_minute, max(rates)
        value = shown.value(SUCCESS)
        yield f"{name}: success", near(value, shares(situation, 15 * MINUTE), 0.02, 0.02), value
        yield from of_history(shown, situation, end, DAY)

    shown, situation = of("history-gap")
    yield from of_history(shown, situation, end, 4 * HOUR)
    bars = shown.bars("History / Requests by outcome B", end - DAY, end)
    unknown = [at for at in bars if end - 9 * HOUR <= at <= end - 6 * HOUR]
    yield "history with a gap: what is not known is not drawn", not unknown, unknown
    quiet = [at for at, value in bars.items() if value == 0]
    yield "history with a gap: an hour without a failure is 0", bool(quiet), bars
    levels = set(shown.bars("History / Coverage", end - DAY, end).values())
    yield "history with a gap: coverage is whole, in part and none", levels == {0, 1, 2}, levels
    value = shown.value("History / Covered", DAY)
    yield "history with a gap: the covered share", near(value, 20 / 24, 0.01, 0.01), value
    both = Shown(prometheus, end, "(history-gap|cut-off)")
    values = [
        one.bars("History / Requests by outcome A", end - 4 * HOUR, end) for one in (both, shown, of("cut-off")[0])
    ]
    yield (
        "two exporters of one account name: their sum",
        all(values[0][at] == values[1][at] + values[2][at] for at in values[0]),
        values,
    )


def serve(names):
    """Keeps a Prometheus with these situations until it is interrupted, for pictures."""
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        alertmanager = stack.enter_context(worlds.Alertmanager(folder / "alertmanager"))
        prometheus, end = start(stack, folder / "situations", names or list(SITUATIONS), alertmanager)
        print(prometheus.url, end, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    serve(sys.argv[1:])
