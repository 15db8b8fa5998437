"""Whether the dashboard History and the command `report` give the same numbers of the same time, which they reach in different
ways: one by the samples that an exporter sent, the other by reading the log again. Run by scripts/queries-check."""

import datetime
import json
import os
import subprocess

import situations
from running import Failure

HOUR, DAY = 3600, 86400


def report(binary, world, log, first, last):
    """The numbers of a log between two times."""
    times = [datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for at in (first, last)]
    done = subprocess.run(
        [
            binary,
            "report",
            log,
            f"--api.url={world.api}/api",
            f"--from={times[0]}",
            f"--to={times[1]}",
            "--timezone=UTC",
            "--format=json",
            *(["--no-comparison"] if log == "web-api" else []),
        ],
        env={**os.environ, "CRYPTOLENS_TOKEN": "simulated"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Failure(f"report {log}: {done.stderr}")
    return json.loads(done.stdout)


def checks(prometheus, binary, world, first, last):
    """(what, whether it holds, what was seen), of a time that begins at midnight (UTC) and ends on a full minute."""
    requests, events = (report(binary, world, log, first, last) for log in ("web-api", "events"))
    shown = situations.Shown(prometheus, last, ".+", {"account": world.name})
    span = last - first

    def same(what, seen, wanted):
        return f"{world.name}, History as report: {what}", seen == wanted and bool(wanted), f"{seen}, report {wanted}"

    def bars(panel, *labels, step=DAY):
        """{(start, labels): value} of a graph."""
        text, _ = shown.query(f"History / {panel}", step=step)
        found = prometheus.query_range(text, first, last // step * step, step)
        return {
            (int(at), *(one["metric"][label] for label in labels)): float(value)
            for one in found
            for at, value in one["values"]
            if float(value)
        }

    total = requests["total"]
    yield same("requests", shown.value("History / Requests", span), total["requests"])
    yield same("failed requests", shown.value("History / Failed requests", span), total["failure"])
    yield same("failure ratio", shown.value("History / Failure ratio", span), total["failure_ratio"])
    for letter, outcome in (("A", "success"), ("B", "failure")):
        seen = sum(bars(f"Requests by outcome {letter}", step=HOUR).values())
        yield same(f"bars of {outcome}", seen, total[outcome])
    seen = {}
    for (start, _), value in bars("Requests by day and product", "product_id").items():
        seen[start] = seen.get(start, 0) + value
    wanted = {
        int(datetime.datetime.fromisoformat(f"{day['date']}T00:00:00+00:00").timestamp()): day["requests"]
        for day in requests["days"]
        if day["requests"]
    }
    yield same("requests of each day", seen, wanted)
    if span <= DAY:
        seen = {
            product: value for (_, product), value in bars("Failure ratio by day and product", "product_id").items()
        }
        wanted = {str(one["product_id"]): one["failure_ratio"] for one in requests["products"] if one["failure_ratio"]}
        yield same("failure ratio of each product", seen, wanted)
    seen = {}
    for (_, weekday, hour), value in bars("Requests by hour of the week", "weekday", "hour", step=HOUR).items():
        seen[int(weekday), int(hour)] = seen.get((int(weekday), int(hour)), 0) + value
    weekdays = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
    wanted = {
        (weekdays.index(one["weekday"]), one["hour"]): one["requests"]
        for one in requests["hours_of_week"]
        if one["requests"]
    }
    yield same("hours of the week", seen, wanted)
    wanted = sorted((one["requests"] for one in requests["states"] if one["outcome"] == "failure"), reverse=True)
    seen = sorted((value for _, value in shown.now("History / Top failing states", span)), reverse=True)
    yield same("failing states", seen, wanted[:15])
    wanted = {
        (int(datetime.datetime.fromisoformat(f"{day['date']}T00:00:00+00:00").timestamp()), one["currency"]): one["sum"]
        for day in events["days"]
        for one in day["values"]
    }
    yield same("value by day and currency", bars("Value by day and currency", "currency"), wanted)
