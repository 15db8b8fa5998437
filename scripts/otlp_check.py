"""Pushes the metrics of the demo to a real Prometheus 3 and through a real OpenTelemetry Collector, and compares every series with
the scraped one. On its way, every push is parsed with OpenTelemetry's own message types. Kills the exporter with SIGKILL, and looks
whether each series is as old as before.

    scripts/otlp-check target/debug/cryptolens-exporter

Starts everything itself, on free ports of this machine, and stops it again. Exit code 0 if every check holds. A peer that
scripts/tools could not install is named and left out.
"""

import concurrent.futures
import json
import pathlib
import signal
import sys
import tempfile
import time
import urllib.parse

from otlp_receiver import Receiver, births
from running import TOOLS, Failure, Process, check, fetch, free_port, held, wait_for

ENTRIES = "cryptolens_web_api_log_entries_total"
# Labels that say by which way a series came.
WAY = {"job", "instance", "exported_job", "exported_instance", "otel_scope_name", "otel_scope_version"}
# Families whose values change while nothing is counted.
VOLATILE = ("process_", "cryptolens_exporter_api_", "cryptolens_exporter_otlp_", "cryptolens_exporter_ledger_commit")
# Families that follow the clock: each poll moves them, so that the way that is behind has those of an earlier one. How far
# they may be apart, in seconds.
CLOCKS = {"cryptolens_exporter_last_poll_timestamp_seconds": 60}
# Families about the scrape itself, and of the way.
OWN = ("cryptolens_exporter_http_",)
KILLS = 5


class Prometheus(Process):
    """Scrapes some targets, and receives OTLP and remote write."""

    def __init__(self, folder, targets):
        self.port = free_port()
        config = folder / "prometheus.yml"
        jobs = [
            {"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]} for name, port in targets.items()
        ]
        # JSON is YAML.
        config.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}))
        super().__init__(
            TOOLS / "prometheus-3",
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--web.enable-otlp-receiver",
            "--web.enable-remote-write-receiver",
            "--enable-feature=created-timestamp-zero-ingestion",
            "--log.level=warn",
        )

    def query(self, expression):
        query = urllib.parse.urlencode({"query": expression})
        answer = json.loads(fetch(f"http://127.0.0.1:{self.port}/api/v1/query?{query}"))
        return [(sample["metric"], float(sample["value"][1])) for sample in answer["data"]["result"]]

    def value(self, expression):
        samples = self.query(expression)
        return samples[0][1] if samples else None

    def series(self, way):
        """Values by name and labels, without the labels of the way."""
        names = '__name__=~"cryptolens_.+|process_.+"'
        found = {}
        for metric, value in self.query(f"{{{names},{way}}}"):
            # Prometheus 3 scrapes the bound of a bucket as 1.0, and receives it as 1.
            bounds = {"le": str(float(metric["le"]))} if "le" in metric else {}
            labels = frozenset((name, text) for name, text in {**metric, **bounds}.items() if name not in WAY)
            found[labels] = value
        return found


def name_of(labels):
    return dict(labels)["__name__"]


def comparable(series):
    return {labels: value for labels, value in series.items() if not name_of(labels).startswith(OWN)}


def difference(scraped, pushed):
    """The differences: series that only one has, or that differ in value; empty if they say the same."""
    scraped, pushed = comparable(scraped), comparable(pushed)
    wrong = [f"only scraped: {sorted(labels)}" for labels in scraped.keys() - pushed.keys()]
    wrong += [f"only pushed: {sorted(labels)}" for labels in pushed.keys() - scraped.keys()]
    for labels in scraped.keys() & pushed.keys():
        apart = abs(scraped[labels] - pushed[labels])
        is_same = scraped[labels] == pushed[labels] or apart <= CLOCKS.get(name_of(labels), 0)
        if not name_of(labels).startswith(VOLATILE) and not is_same:
            wrong.append(f"{scraped[labels]} scraped, {pushed[labels]} pushed: {sorted(labels)}")
    return wrong


def compare(prometheus, what, scraped_way, pushed_way):
    def agree():
        # Between two scrapes one of the ways can be ahead.
        scraped, pushed = prometheus.series(scraped_way), prometheus.series(pushed_way)
        wrong = difference(scraped, pushed)
        agree.last = wrong
        return not wrong and len(comparable(scraped))

    try:
        series = wait_for(what, agree, 60)
    except Failure as failure:
        raise Failure(f"{what}: {len(agree.last)} differences, such as {agree.last[:3]}") from failure
    check(what, series > 300, f"{series} series are the same")


def collector_config(folder, receiver, exporter, prometheus):
    """The configuration in docs/otlp.md as it stands, but for the ports."""
    text = (pathlib.Path(__file__).parent.parent / "docs" / "otlp.md").read_text(encoding="utf-8")
    config = text.split("```yaml\n# otel-collector.yaml\n")[1].split("```")[0]
    for port, free in ((4318, receiver), (8889, exporter), (9090, prometheus)):
        config = config.replace(f":{port}", f":{free}")
    path = folder / "collector.yaml"
    path.write_text(config)
    return path


def start_demo(binary, port, endpoint, metrics_endpoint=None):
    env = {"OTEL_METRIC_EXPORT_INTERVAL": "1000", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    if metrics_endpoint:
        env["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"] = metrics_endpoint
    return Process(binary, "demo", f"--web.listen-address=127.0.0.1:{port}", "--poll.interval=1s", env=env)


def simulator_of(demo):
    wait_for("the backfill", lambda: "Counted" in demo.output())
    return wait_for("its address", lambda: demo.output().split("message=simulating url=")[1].split()[0])


def to_prometheus(binary, folder):
    port = free_port()
    with Prometheus(folder, {"demo": port}) as prometheus:
        wait_for("prometheus", lambda: prometheus.query("up"))
        endpoint = f"http://127.0.0.1:{prometheus.port}/api/v1/otlp"
        with Receiver(forward=endpoint) as receiver, start_demo(binary, port, receiver.endpoint) as demo:
            simulator = simulator_of(demo)
            time.sleep(3)
            fetch(f"{simulator}/simulator/clock", "PUT", {"frozen": True})
            pushed = 'job="cryptolens-exporter"'
            compare(prometheus, "scraped and pushed to Prometheus 3", 'job="demo"', pushed)
            new_series(prometheus, simulator, pushed)
            demo.stop()
            # Long for a busy machine, and far below the five minutes after which Prometheus forgets by itself.
            gone = wait_for("the end of the series", lambda: not prometheus.query(f"{ENTRIES}{{{pushed}}}"), 60)
            check("a stop ends the pushed series at once", gone, "no series is left")
            parsed(receiver, 10)


def new_series(prometheus, simulator, pushed):
    """The first row of a new label set is an increase, as its counter was born at 0 before it."""
    product = 4242
    fetch(f"{simulator}/simulator/clock", "PUT", {"frozen": False})
    time.sleep(2)
    add_row(simulator, product)
    selector = f'{ENTRIES}{{{pushed},product_id="{product}",event_type="floating_activation",outcome="success"}}'
    any_type = f'sum(increase({ENTRIES}{{{pushed},product_id="{product}"}}[1m]))'
    wait_for("the new series", lambda: prometheus.value(f'sum({ENTRIES}{{{pushed},product_id="{product}"}})') == 1)
    increase = wait_for("its increase", lambda: prometheus.value(any_type), 30)
    check("the first row of a new series is an increase", increase > 0, f"{increase:.2f} for {selector}")


def add_row(simulator, product):
    highest = json.loads(fetch(f"{simulator}/simulator/truth?log=web_api"))["web_api"]["highest_id"]
    row = {"id": highest + 1_000_000, "productId": product, "time": int(time.time()), "state": 2014}
    fetch(f"{simulator}/simulator/rows", "POST", {"log": "web_api", "rows": [row]})


def through_collector(binary, folder):
    if not (TOOLS / "otelcol").exists():
        print("left out: the Collector, which scripts/tools could not install")
        return
    port, collector_port, exporter = free_port(), free_port(), free_port()
    with Prometheus(folder, {"demo": port, "collector": exporter}) as prometheus:
        wait_for("prometheus", lambda: prometheus.query("up"))
        config = collector_config(folder, collector_port, exporter, prometheus.port)
        with (
            Receiver(forward=f"http://127.0.0.1:{collector_port}") as receiver,
            Process(TOOLS / "otelcol", f"--config={config}", "--set=service.telemetry.metrics.level=none") as collector,
            start_demo(binary, port, receiver.endpoint) as demo,
        ):
            simulator = simulator_of(demo)
            time.sleep(3)
            fetch(f"{simulator}/simulator/clock", "PUT", {"frozen": True})
            try:
                compare(prometheus, "scraped and shown by the Collector", 'job="demo"', 'job="collector"')
                compare(
                    prometheus, "scraped and written on by the Collector", 'job="demo"', 'job="cryptolens-exporter"'
                )
            except Failure as failure:
                raise Failure(f"{failure}\n{collector.output()[-2000:]}") from failure
            parsed(receiver, 5)


def parsed(receiver, at_least):
    pushes = receiver.parsed()
    check("each push is what OpenTelemetry's own parser expects", pushes >= at_least, f"{pushes} pushes were parsed")


def births_survive(binary, folder):
    """Each start of the exporter is ended with SIGKILL, the first one while the history is counted."""
    simulate = (
        "simulate",
        "--listen-address=127.0.0.1:0",
        "--history=2d",
        "--requests-per-minute=20",
        "--fault=slow:60",
    )
    with Receiver() as receiver, Process(binary, *simulate) as simulated:
        url = wait_for("the simulator", lambda: simulated.output().split("http://")[1].split()[0].split("/")[0])
        known, starts_of_process = {}, set()
        for kill in range(KILLS):
            first = len(receiver.pushes)
            with start_serve(binary, f"http://{url}", folder, receiver) as exporter:
                wait_for("a push", lambda first=first: len(receiver.pushes) > first and births(receiver.pushes[-1]))
                if kill > 1:
                    # A row of the first poll would be as old as the origin.
                    wait_for("counts", lambda: any(name == ENTRIES for name, _ in births(receiver.pushes[-1])))
                    product = str(7000 + kill)
                    add_row(f"http://{url}", 7000 + kill)
                    wait_for("the new product", lambda product=product: has_product(receiver.pushes[-1], product))
                exporter.stop(signal.SIGKILL)
            for push in receiver.pushes[first:]:
                compare_births(known, starts_of_process, births(push))
            if gone := known.keys() - births(receiver.pushes[-1]).keys():
                raise Failure(f"{len(gone)} series are gone after SIGKILL {kill}, such as {next(iter(gone))}")
        parsed(receiver, KILLS)
        processes, ages = len(starts_of_process), len({known[series] for series in known if series[0] == ENTRIES})
        # The origin of the log, and a new product in all processes but two.
        right = processes == KILLS and ages == KILLS - 1 and len(known) > 300
        seen = f"{len(known)} series with {ages} births in {processes} processes"
        check("each series is as old after SIGKILL as before", right, seen)


def start_serve(binary, url, folder, receiver):
    return Process(
        binary,
        "serve",
        f"--api.url={url}/api",
        f"--storage.path={folder / 'data'}",
        "--web.listen-address=127.0.0.1:0",
        "--poll.interval=1s",
        "--since=all",
        f"--otlp.endpoint={receiver.endpoint}",
        env={"CRYPTOLENS_TOKEN": "any", "OTEL_METRIC_EXPORT_INTERVAL": "1000"},
    )


def has_product(push, product):
    return any(name == ENTRIES and ("product_id", product) in labels for name, labels in births(push))


def surviving_families():
    """Those that docs/metrics.md says survive restarts."""
    text = (pathlib.Path(__file__).parent.parent / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")] for line in text.splitlines() if line.startswith("| `")]
    return {row[1].strip("`") for row in rows if row[4] == "yes"}


def compare_births(known, starts_of_process, pushed):
    surviving = surviving_families()
    for (name, labels), start in pushed.items():
        if name not in surviving:
            if name == "process_cpu_seconds_total":
                starts_of_process.add(start)
        elif start == 0:
            # The first row of the log is not read yet: nothing is counted, and the birth is not known.
            if known.get((name, labels)):
                raise Failure(f"{name} {sorted(labels)} lost its birth time")
        elif known.setdefault((name, labels), start) != start:
            before = known[name, labels]
            raise Failure(f"{name} {sorted(labels)} was born at {before}, and after SIGKILL at {start}")


def run(part, binary):
    with tempfile.TemporaryDirectory() as folder:
        part(binary, pathlib.Path(folder))


def main():
    binary = pathlib.Path(sys.argv[1]).resolve()
    if not (TOOLS / "prometheus-3").exists():
        print("left out: everything, as scripts/tools could not install Prometheus 3")
        return
    # Each of them waits most of its time.
    with concurrent.futures.ThreadPoolExecutor() as threads:
        parts = [threads.submit(run, part, binary) for part in (births_survive, to_prometheus, through_collector)]
        for part in concurrent.futures.as_completed(parts):
            part.result()
    print(f"{len(held)} checks hold")


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"FAIL {failure}")
