"""Runs the exporter against its real peers: Prometheus scrapes it, promtool and prometheus_client read its page.

    scripts/peers-check target/debug/cryptolens-exporter

Starts everything itself, on free ports of this machine, and stops it again. Exit code 0 if every check holds.
"""

import contextlib
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse

from prometheus_client.parser import text_string_to_metric_families

from running import TOOLS, Failure, Process, check, fetch, free_port, held, wait_for

ENTRIES = "cryptolens_web_api_log_entries_total"


class Prometheus(Process):
    def __init__(self, folder, targets):
        config = folder / "prometheus.yml"
        jobs = [
            {"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]} for name, port in targets.items()
        ]
        # JSON is YAML.
        config.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}))
        self.port = free_port()
        super().__init__(
            TOOLS / "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
        )

    def query(self, expression):
        query = urllib.parse.urlencode({"query": expression})
        answer = json.loads(fetch(f"http://127.0.0.1:{self.port}/api/v1/query?{query}"))
        return [(sample["metric"], float(sample["value"][1])) for sample in answer["data"]["result"]]

    def value(self, expression):
        samples = self.query(expression)
        return samples[0][1] if samples else None


def page(port):
    return fetch(f"http://127.0.0.1:{port}/metrics")


def total(text, name):
    families = text_string_to_metric_families(text)
    return sum(sample.value for family in families for sample in family.samples if sample.name == name)


def check_page(text):
    linted = subprocess.run(
        [TOOLS / "promtool", "check", "metrics"], input=text, text=True, capture_output=True, check=False
    )
    check(
        "promtool check metrics is clean",
        linted.returncode == 0 and not linted.stderr.strip(),
        linted.stderr.strip() or "no complaint",
    )
    families = list(text_string_to_metric_families(text))
    samples = sum(len(family.samples) for family in families)
    lines = sum(1 for line in text.splitlines() if line and not line.startswith("#"))
    check("prometheus_client reads every sample", samples == lines, f"{samples} of {lines}")


def demo(binary, folder):
    """The backfill of demo, as Prometheus sees it."""
    port = free_port()
    with Prometheus(folder, {"demo": port}) as prometheus:
        wait_for("prometheus", lambda: prometheus.query("up"))
        with Process(binary, "demo", f"--web.listen-address=127.0.0.1:{port}", "--poll.interval=1s") as demo:
            wait_for("the backfill", lambda: "Counted" in demo.output())
            simulator = wait_for("its address", lambda: demo.output().split("message=simulating url=")[1].split()[0])
            wait_for("a scrape of it", lambda: prometheus.value(f"sum({ENTRIES})"))
            check("up of demo", prometheus.value('up{job="demo"}') == 1, 1)
            check_page(page(port))
            time.sleep(20)
            entries = prometheus.value(f"sum({ENTRIES})")
            grown = prometheus.value(f"sum(increase({ENTRIES}[2m]))")
            check("the backfill is no increase", grown < 60, f"increase {grown:.1f} after {entries:.0f} entries")

            fetch(f"{simulator}/simulator/clock", "PUT", {"frozen": True})

            def agrees():
                truth = json.loads(fetch(f"{simulator}/simulator/truth?log=web_api"))["web_api"]["rows"]
                return prometheus.value(f"sum({ENTRIES})") == truth and truth

            truth = wait_for("prometheus to show what the simulator served", agrees)
            check("sum of the entries equals the simulator's truth", True, truth)


def first_failure(binary, folder):
    """A state that was never seen before shows in increase()."""
    port, simulator_port = free_port(), free_port()
    api = f"http://127.0.0.1:{simulator_port}"
    with (
        Process(binary, "simulate", f"--listen-address=127.0.0.1:{simulator_port}", "--requests-per-minute=0"),
        Prometheus(folder, {"serve": port}) as prometheus,
        serve(binary, folder, port, api),
    ):
        refused = 'cryptolens_web_api_log_states_total{state="2024",product_id="3349"}'
        wait_for("a pair at 0", lambda: prometheus.query(refused))
        check("a refusal that never happened is 0", prometheus.value(refused) == 0, 0)
        time.sleep(2)
        row = {"id": 3_000_000_000, "productId": 3349, "time": int(time.time()), "state": 2024}
        fetch(f"{api}/simulator/rows", "POST", {"log": "web_api", "rows": [row]})
        grown = wait_for("the first refusal", lambda: prometheus.value(f"increase({refused.replace('}', '}[1m]')})"))
        check("the first refusal shows in increase()", grown > 0, f"{grown:.2f}")


@contextlib.contextmanager
def serve(binary, folder, port, api):
    with Process(
        binary,
        "serve",
        "--since=all",
        f"--api.url={api}/api",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--storage.path={folder / 'ledger'}",
        "--poll.interval=1s",
        env={"CRYPTOLENS_TOKEN": "peers-check"},
    ) as process:
        yield process


def kills(binary, folder):
    """Killed and started again while traffic flows: to Prometheus the counters just go on."""
    port, simulator_port = free_port(), free_port()
    api = f"http://127.0.0.1:{simulator_port}"
    simulate = ["simulate", f"--listen-address=127.0.0.1:{simulator_port}"]
    with (
        Process(binary, *simulate, "--requests-per-minute=6000", "--history=10m"),
        Prometheus(folder, {"serve": port}) as prometheus,
    ):
        for round_ in range(4):
            with serve(binary, folder, port, api) as exporter:
                wait_for("entries", lambda: total(page(port), ENTRIES))
                if round_ == 0:
                    wait_for("a first sample", lambda: prometheus.value(f"sum({ENTRIES})"))
                    first = prometheus.value(f"sum({ENTRIES})")
                time.sleep(4)
                exporter.stop(signal.SIGKILL)
        with serve(binary, folder, port, api):
            fetch(f"{api}/simulator/clock", "PUT", {"frozen": True})

            def agrees():
                truth = json.loads(fetch(f"{api}/simulator/truth?log=web_api"))["web_api"]["rows"]
                return prometheus.value(f"sum({ENTRIES})") == truth and truth

            truth = wait_for("prometheus to show what the simulator served", agrees)
            check("entries after four kills equal the simulator's truth", True, truth)
            resets = prometheus.value(f"sum(resets({ENTRIES}[5m]))")
            check("no counter was reset by a kill", resets == 0, resets)
            peak = prometheus.value(f"max_over_time(sum(increase({ENTRIES}[10s]))[5m:1s])")
            grown = truth - first
            check("traffic flowed meanwhile", grown > 100, f"{grown:.0f} entries")
            check("a kill makes no spike", peak < grown, f"at most {peak:.0f} in 10 s of {grown:.0f}")


def main():
    binary = pathlib.Path(sys.argv[1]).resolve()
    for part in (demo, first_failure, kills):
        print(f"# {part.__doc__}")
        with tempfile.TemporaryDirectory() as folder:
            part(binary, pathlib.Path(folder))
    print(f"{len(held)} passed, 0 failed")


try:
    main()
except Failure as failure:
    sys.exit(f"FAIL {failure}")
