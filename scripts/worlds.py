"""The worlds that queries are run against: the compose file's Prometheus and Alertmanager over a healthy demo, and exporters whose
simulators misbehave, each in its own way.

A Prometheus that has just started knows no last week, so it is given one: blocks that promtool makes of what an exporter
shows now, as if it had come evenly over the month before.
"""

import contextlib
import dataclasses
import http.server
import json
import os
import pathlib
import re
import resource
import subprocess
import threading
import time
import urllib.parse
import urllib.request

import yaml

from queries import ROOT
from running import Failure, Process, fetch, free_port, wait_for

TOOLS = pathlib.Path(os.environ.get("TOOLS_DIR", ROOT / "target" / "tools")).resolve() / "bin"
# "-3" for Prometheus 3, "" for Debian's, which is of the 2.x line.
PROMETHEUS = TOOLS / f"prometheus{os.environ.get('PROMETHEUS_SUFFIX', '')}"
PROMTOOL = TOOLS / f"promtool{os.environ.get('PROMETHEUS_SUFFIX', '')}"
JOB = "cryptolens-exporter"
DAY = 86400


def compose_command(service, folder, port):
    """The command line of a service in compose.yaml, with its folders in `folder` and its port on the loopback."""
    command = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"][service]["command"]
    made = []
    for argument in command:
        # Prometheus 2 takes OTLP by another flag, and nothing is pushed to it here.
        if argument == "--web.enable-otlp-receiver" and PROMETHEUS.name != "prometheus-3":
            continue
        flag, _, value = argument.partition("=")
        made.append(f"{flag}={folder}{value}" if value.startswith("/") else argument)
    return [*made, f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]


class Server(Process):
    """Something with a page that says when it is ready."""

    def wait_until_ready(self, name):
        def answer():
            if self.running.poll() is not None:
                raise Failure(f"{name} ended: {self.output()}")
            return fetch(f"{self.url}/-/ready")

        try:
            wait_for(f"{name} to be ready", answer)
        except Failure:
            self.stop()
            raise


class Alertmanager(Server):
    """With the command line and the configuration of the compose file."""

    def __init__(self, folder):
        self.port = free_port()
        place = folder / "etc" / "alertmanager"
        place.mkdir(parents=True)
        (place / "alertmanager.yml").write_text((ROOT / "compose" / "alertmanager.yml").read_text())
        super().__init__(TOOLS / "prometheus-alertmanager", *compose_command("alertmanager", folder, self.port))
        self.url = f"http://127.0.0.1:{self.port}"
        self.wait_until_ready("alertmanager")

    def alerts(self, **labels):
        """The alerts with these labels that are firing, inhibited or not."""
        found = json.loads(fetch(f"{self.url}/api/v2/alerts"))
        return [alert for alert in found if labels.items() <= alert["labels"].items()]

    def add(self, *labels):
        fetch(f"{self.url}/api/v2/alerts", "POST", [{"labels": one} for one in labels])


class Prometheus(Server):
    """With the command line of the compose file, and its configuration but for the addresses."""

    def __init__(self, folder, targets, alertmanager, rules, scrape_interval=None, port=None):
        self.port = port or free_port()
        self.folder = folder
        place = folder / "etc" / "prometheus"
        (place / "rules").mkdir(parents=True)
        config = yaml.safe_load((ROOT / "compose" / "prometheus.yml").read_text())
        rewrite(config, "exporter:10460", targets)
        rewrite(config, "alertmanager:9093", [f"127.0.0.1:{alertmanager.port}"])
        if scrape_interval:
            config["global"] = {"scrape_interval": scrape_interval, "evaluation_interval": scrape_interval}
        (place / "prometheus.yml").write_text(yaml.safe_dump(config))
        (place / "rules" / "cryptolens.rules.yml").write_text(rules)
        self.data.mkdir(exist_ok=True)
        super().__init__(PROMETHEUS, *compose_command("prometheus", folder, self.port))
        self.url = f"http://127.0.0.1:{self.port}"
        self.wait_until_ready("prometheus")

    @property
    def data(self):
        return self.folder / "prometheus"

    def ask(self, path, **parameters):
        body = urllib.parse.urlencode(parameters, doseq=True)
        return json.loads(fetch(f"{self.url}/api/v1/{path}?{body}"))["data"]

    def query(self, expression):
        found = self.ask("query", query=expression)
        if found["resultType"] == "scalar":
            return [{"metric": {}, "value": found["result"]}]
        return found["result"]

    def query_range(self, expression, start, end, step):
        return self.ask("query_range", query=expression, start=start, end=end, step=step)["result"]

    def firing(self):
        return {
            rule["name"]
            for group in self.ask("rules")["groups"]
            for rule in group["rules"]
            if rule.get("state") == "firing"
        }


def rewrite(config, address, targets):
    """Puts `targets` where the compose file's network would have `address`."""
    lists = [part["static_configs"][0] for part in (*config["scrape_configs"], *config["alerting"]["alertmanagers"])]
    wanted = [one for one in lists if one["targets"] == [address]]
    if len(wanted) != 1:
        raise Failure(f"compose/prometheus.yml: {address} is not a target")
    wanted[0]["targets"] = targets


# A month, given afterwards


def samples(page, families):
    """(series, value) of some families on a page."""
    for line in page.splitlines():
        name = re.match(r"\w+", line)
        if (name and re.sub(r"_(bucket|sum|count)$", "", name[0]) in families) or (name and name[0] in families):
            series, value = line.rsplit(" ", 1)
            yield series, float(value)


def backfill(prometheus_data, scratch, address, page, families, times, since, until):
    """Blocks in which the counters of `page` rose evenly from 0 at `since` to their value at `until`; timestamps are of then."""
    by_family = {}
    for series, value in samples(page, families):
        name = re.match(r"\w+", series)[0]
        labels = series[len(name) :].strip("{}")
        by_family.setdefault(name, []).append((f'{name}{{{labels},job="{JOB}",instance="{address}"}}', value))
    path = scratch / "history.om"
    with path.open("w") as file:
        for name, found in by_family.items():
            # A kind without a suffix that OpenMetrics would ask for.
            file.write(f"# TYPE {name} unknown\n")
            for series, value in found:
                for at in times:
                    share = max(0, min(1, (at - since) / (until - since)))
                    then = (
                        at
                        if name.endswith("timestamp_seconds")
                        else value
                        if name.endswith("_info")
                        else round(value * share)
                    )
                    file.write(f"{series} {then} {at}\n")
        file.write("# EOF\n")
    tool(prometheus_data, "tsdb", "create-blocks-from", "openmetrics", path, prometheus_data)


def tool(cwd, *arguments):
    done = subprocess.run([PROMTOOL, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"promtool {' '.join(map(str, arguments))}: {done.stdout}{done.stderr}")


# Exporters


class OtlpReceiver(http.server.BaseHTTPRequestHandler):
    """Takes every push: an empty answer is success."""

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def otlp_receiver():
    """The endpoint of a receiver."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), OtlpReceiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def history_to(port, address):
    """Flags by which an exporter writes its history to the Prometheus on a port, as the instance that is scraped."""
    return (f"--history.remote-write.url=http://127.0.0.1:{port}/api/v1/write", f"--history.labels=instance={address}")


@contextlib.contextmanager
def demo(binary, prometheus_port):
    """(address, page) of a demo that has counted its month, pushes by OpenTelemetry, and writes its history to a Prometheus."""
    port = free_port()
    with (
        otlp_receiver() as endpoint,
        Process(
            binary,
            "demo",
            f"--web.listen-address=127.0.0.1:{port}",
            f"--otlp.endpoint={endpoint}",
            "--usage.seats",
            *history_to(prometheus_port, f"127.0.0.1:{port}"),
            env={"OTEL_METRIC_EXPORT_INTERVAL": "5000"},
        ) as process,
    ):
        wait_for("the demo", lambda: "Counted" in process.output())
        # Its families are published when each log's first poll is complete.
        yield f"127.0.0.1:{port}", wait_for("its page", lambda: fetch(f"http://127.0.0.1:{port}/metrics"))


@dataclasses.dataclass
class World:
    """A simulator that may misbehave, and an exporter of an account that is named like the world."""

    name: str
    simulate: tuple = ("--requests-per-minute=60", "--history=10m")
    serve: tuple = ()
    account: dict = dataclasses.field(default_factory=dict)
    # Reads the simulator of another world, as a replica of its exporter.
    replica_of: str = ""
    writes_history: bool = False
    # Its account names a license of the simulator.
    names_license: bool = False
    # Archives each minute what was counted a minute ago.
    archives: bool = False

    def start(self, stack, binary, folder, prometheus_port):
        self.binary, self.stack = binary, stack
        self.folder = folder / self.name
        self.folder.mkdir()
        port, self.port = free_port(), free_port()
        self.address = f"127.0.0.1:{self.port}"
        if self.replica_of:
            self.api = WORLDS[self.replica_of].api
        else:
            self.api = f"http://127.0.0.1:{port}"
            stack.enter_context(Process(binary, "simulate", f"--listen-address=127.0.0.1:{port}", *self.simulate))
            wait_for(f"the simulator of {self.name}", lambda: fetch(f"{self.api}/simulator"))
        if self.writes_history:
            self.serve = (*self.serve, *history_to(prometheus_port, self.address))
        if self.archives:
            path = self.folder / "archive"
            self.serve = (*self.serve, f"--archive.path={path}", "--archive.interval=1m", "--archive.delay=1m")
        account = {"name": self.replica_of or self.name, "token_file": "token", "since": "all", **self.account}
        if self.names_license:
            (self.folder / "license-key").write_text(self.floating_key(PRODUCT))
            account["licenses"] = [{"name": "named", "product_id": PRODUCT, "key_file": "license-key"}]
        config = {"accounts": [account]}
        self.new_token()
        (self.folder / "config.yml").write_text(json.dumps(config))
        self.serve_again()
        return self

    def serve_again(self):
        command = [
            f"--config.file={self.folder / 'config.yml'}",
            f"--api.url={self.api}/api",
            f"--web.listen-address={self.address}",
            f"--storage.path={self.folder / 'ledger'}",
        ]
        if not any(flag.startswith("--poll.interval=") for flag in self.serve):
            command.append("--poll.interval=1s")
        # A limit on the size of files shall be an error of the write, as on a full disk, and no signal.
        self.exporter = Process(self.binary, "serve", *command, *self.serve, restore_signals=False)
        self.stack.enter_context(self.exporter)
        wait_for(f"the exporter of {self.name}", lambda: fetch(f"http://{self.address}/-/healthy"))

    def floating_key(self, product):
        """The first license key of a product whose seats are limited."""
        form = urllib.parse.urlencode({"token": "any", "ProductId": product}).encode()
        with urllib.request.urlopen(f"{self.api}/api/product/GetKeys", data=form, timeout=120) as answer:
            keys = json.load(answer)["licenseKeys"]
        return next(key["key"] for key in keys if (key.get("maxNoOfMachines") or 0) > 0)

    def run(self, *words):
        """A command that somebody types where the exporter runs."""
        typed = [self.binary, *words, f"--config.file={self.folder / 'config.yml'}", f"--api.url={self.api}/api"]
        return subprocess.run(typed, capture_output=True, text=True, timeout=120, check=False)

    def page(self):
        return fetch(f"http://{self.address}/metrics")

    def new_token(self):
        """Is tried at once, where a refused one is tried every five minutes."""
        (self.folder / "token").write_text(f"simulated-{time.time_ns()}")

    def fault(self, *faults):
        fetch(f"{self.api}/simulator/faults", "PUT", list(faults))

    def spike(self, seconds, share, product=None):
        fetch(f"{self.api}/simulator/spike", "POST", {"product": product, "seconds": seconds, "failure_share": share})

    def add(self, log, rows):
        fetch(f"{self.api}/simulator/rows", "POST", {"log": log, "rows": rows})

    def fill_disk(self):
        resource.prlimit(self.exporter.running.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))

    def restart(self, corrupt=False):
        self.exporter.stop()
        if corrupt:
            for file in (self.folder / "ledger").glob("ledger.db*"):
                file.unlink()
            (self.folder / "ledger" / "ledger.db").write_bytes(b"not a database, " * 4096)
        self.serve_again()


# One that every simulator has.
PRODUCT = 3349
# Where no receiver is.
NOBODY = "http://127.0.0.1:1"
BUSY = ("--requests-per-minute=600", "--history=1m", "--late-fraction=0")
WORLDS = {
    # With some calm before it: `report incident` compares.
    "spike": World("spike", ("--requests-per-minute=600", "--history=10m", "--late-fraction=0")),
    "burning": World("burning", BUSY, (f"--history.remote-write.url={NOBODY}/api/v1/write",)),
    "crowded": World(
        "crowded",
        (*BUSY[:2], "--late-fraction=0.1", "--late-max=10s"),
        account={"products": [{"id": 3349, "name": "named otherwise"}]},
    ),
    "quiet": World(
        "quiet",
        ("--requests-per-minute=600", "--history=3h"),
        ("--poll.interval.objects=1d",),
        writes_history=True,
    ),
    # Began later than the other, and so has counted less.
    "quiet-replica": World(
        "quiet-replica",
        account={"since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600))},
        replica_of="quiet",
        writes_history=True,
    ),
    "behind": World("behind", ("--requests-per-minute=1", "--history=60d", "--fault=slow:2500")),
    "refused": World("refused", (*BUSY, "--fault=unable_to_authenticate")),
    "unpaid": World("unpaid", (*BUSY, "--fault=no_subscription")),
    "denied": World("denied", (*BUSY, "--deny=GetObjectLog")),
    "failing": World(
        "failing",
        (*BUSY, "--fault=bad_gateway_html=0.5", "--fault=truncated_json"),
        # No directory is below a device.
        ("--api.timeout=1s", f"--otlp.endpoint={NOBODY}", "--archive.path=/dev/null/archive"),
    ),
    # Long enough for a day on which the vendor has counted everything.
    "seats": World(
        "seats",
        ("--requests-per-minute=6", "--history=5d"),
        ("--usage.seats", "--reconcile.interval=1h"),
        names_license=True,
        archives=True,
    ),
    "full-disk": World("full-disk", BUSY),
    "restarting": World("restarting", BUSY),
}


def misbehave(worlds):
    """Sets up what is needed once the worlds run; their simulators' faults go on by themselves."""
    now = int(time.time())
    fetch(f"{worlds['quiet'].api}/simulator/clock", "PUT", {"frozen": True})
    worlds["burning"].spike(600, 0.95)
    crowded = worlds["crowded"]
    first = 5_000_000_000
    crowded.add(
        "events",
        [
            {
                "id": first + n,
                "productId": 3349,
                "time": now,
                "featureName": f"file-{n}",
                "eventName": "opened",
                "value": 7,
                "currency": "EUR",
            }
            for n in range(2200)
        ],
    )
    crowded.fault(
        {"kind": "duplicate_adjacent", "probability": 0.5},
        {"kind": "malformed_missing_id", "probability": 0.5, "count": 20},
    )
