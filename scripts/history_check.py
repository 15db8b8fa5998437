"""Writes the history of simulated logs to a real Prometheus 3, Debian's Prometheus 2 and VictoriaMetrics, and compares every
minute of every label set, and every hour, with the rows that the simulator served.

    scripts/history-check [--long] [--at=TIME] target/debug/cryptolens-exporter

Time is simulated: the simulator's clock is stopped in the past and set forward, and a proxy in front of it gives its answers
that time. On the way the exporter is killed, the exporter, the API and the receivers are down, rows show up two hours late,
and one of the receivers fails now and then and gets everything twice. The same by `backfill`, into blocks made by promtool
and into a target. Starts everything itself, on free ports of this machine, and stops it again. Exit code 0 if every check
holds. A server that scripts/tools could not install is named and left out.
"""

import argparse
import collections
import email.utils
import http.client
import http.server
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

from running import TOOLS, Failure, Process, check, fetch, free_port, held, wait_for

MINUTE, HOUR, DAY = 60, 3600, 86400
LOGS = ("web_api", "events", "objects")
# Labels that say who sent a sample.
WAY = {"job", "instance", "__name__"}
ENTRIES = "cryptolens_history_web_api_log_entries"
STATES = "cryptolens_history_web_api_log_states"
EVENTS = "cryptolens_history_event_log_entries"
VALUE = "cryptolens_history_event_value"
OBJECTS = "cryptolens_history_object_log_entries"
COVERED = "cryptolens_history_covered_seconds"


class Proxy(http.server.ThreadingHTTPServer):
    """Stands between two programs of the check."""

    daemon_threads = True
    # A program that is killed leaves broken connections behind.
    request_queue_size = 64

    def __init__(self, handler):
        super().__init__(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Forward(http.server.BaseHTTPRequestHandler):
    """Sends a request on as it is."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def body(self):
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def forward(self, body):
        address = urllib.parse.urlsplit(self.server.upstream).netloc
        connection = http.client.HTTPConnection(address, timeout=60)
        try:
            headers = {
                name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")
            }
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def reply(self, status, headers, body, date=None):
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("date", "connection", "content-length", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Date", email.utils.formatdate(date, usegmt=True))
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class ApiForward(Forward):
    """The Web API at a simulated time."""

    def do_POST(self):
        body = self.body()
        if self.server.down:
            self.reply(503, [], b"", self.server.now)
            return
        now = self.server.now
        self.reply(*self.forward(body), date=now)
        if now == self.server.now:
            self.server.answers[self.path.partition("?")[0]] += 1

    do_GET = do_POST  # noqa: N815


class Api(Proxy):
    def __init__(self, upstream, now):
        super().__init__(ApiForward)
        self.upstream, self.now, self.down = upstream, now, False
        # Answers at the present time, by path.
        self.answers = collections.Counter()


class WriteForward(Forward):
    """A receiver that fails now and then, and gets everything twice."""

    def do_POST(self):
        server = self.server
        body = self.body()
        with server.lock:
            server.requests += 1
            # More faults than that are waits for the most part: they double each time.
            fault = server.random.choice(["none"] * 12 + [500, 503, 429, "lost", "broken"])
        if server.down:
            fault = 503
        if isinstance(fault, int):
            self.reply(fault, [("Retry-After", "0")] if fault == 429 else [], b"a fault of the check")
        elif fault == "broken":
            self.close_connection = True
        else:
            first = self.forward(body)
            second = self.forward(body)
            with server.lock:
                server.twice += 1
                if second[0] >= 300:
                    server.refused.append((second[0], second[2]))
            if fault == "lost":
                # It is stored, and the exporter does not know.
                self.close_connection = True
            else:
                self.reply(*first)


class Receiver(Proxy):
    def __init__(self, upstream):
        super().__init__(WriteForward)
        self.upstream, self.down = upstream, False
        self.lock, self.random = threading.Lock(), random.Random(7)
        self.requests = self.twice = 0
        self.refused = []


class Database(Process):
    """Something that takes remote write and answers PromQL."""

    def __init__(self, name, port, *command):
        self.name, self.url = name, f"http://127.0.0.1:{port}"
        super().__init__(*command)

    def wait_until_ready(self):
        wait_for(f"{self.name} to be ready", lambda: self.query("vector(1)", time.time()))
        return self

    def query(self, expression, at):
        query = urllib.parse.urlencode({"query": expression, "time": f"{at:.3f}"})
        answer = json.loads(fetch(f"{self.url}/api/v1/query?{query}"))
        return answer["data"]["result"]

    def write_url(self):
        return f"{self.url}/api/v1/write"


def prometheus(folder, program, name, receiver=True, window="31d", web_config=None, storage=None, scrapes=False):
    port = free_port()
    folder.mkdir(exist_ok=True)
    config = folder / "prometheus.yml"
    tsdb = {"storage": {"tsdb": {"out_of_order_time_window": window}}} if window else {}
    # JSON is YAML.
    itself = [{"job_name": "itself", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}] if scrapes else []
    config.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": itself, **tsdb}))
    command = [
        TOOLS / program,
        f"--config.file={config}",
        f"--storage.tsdb.path={storage or folder / 'tsdb'}",
        "--storage.tsdb.retention.time=60d",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
        "--query.max-samples=500000000",
    ]
    if receiver:
        command.append("--web.enable-remote-write-receiver")
    if web_config:
        command.append(f"--web.config.file={web_config}")
    return Database(name, port, *command)


def victoria_metrics(folder, port=None):
    port = port or free_port()
    return Database(
        "VictoriaMetrics",
        port,
        TOOLS / "victoria-metrics",
        f"-storageDataPath={folder / 'victoria'}",
        f"-httpListenAddr=127.0.0.1:{port}",
        "-retentionPeriod=60d",
        # Without it a sample that is sent twice counts twice.
        "-dedup.minScrapeInterval=1ms",
        "-search.latencyOffset=0s",
        "-search.maxPointsPerTimeseries=1000000",
        "-search.maxSamplesPerQuery=1000000000",
        "-loggerLevel=WARN",
    )


class World:
    """A simulator whose clock stands still, and is set forward."""

    def __init__(self, binary, start, now, rate):
        self.simulator = Process(
            binary,
            "simulate",
            "--listen-address=127.0.0.1:0",
            f"--start={iso(start)}",
            f"--requests-per-minute={rate}",
            "--late-fraction=0.05",
            "--late-max=45s",
        )
        first = wait_for(
            "the simulator", lambda: [line for line in self.simulator.output().splitlines() if "http" in line]
        )
        self.url = "http://" + first[0].split("http://")[1].split("/")[0].split()[0]
        self.start = start
        self.set(now)
        self.api = Api(self.url, now)

    def set(self, now):
        fetch(f"{self.url}/simulator/clock", "PUT", {"frozen": True, "at": now})
        self.now = now

    def forward(self, seconds, read=True):
        """Sets the clock forward, and waits until each log was read at the new time. A running exporter takes
        the time of the API from the median of the last nine answers of a log, so five of them have to be new: it takes a row
        that is more than ten minutes ahead of that for one with a wrong time."""
        self.set(self.now + seconds)
        self.api.now = self.now
        self.api.answers.clear()
        if read:
            methods = ("GetWebAPILog", "GetEvents", "GetObjectLog")
            wait_for(
                "each log to be read", lambda: min(self.api.answers[f"/api/ai/{method}"] for method in methods) >= 5
            )

    def rows(self, log):
        text = fetch(f"{self.url}/simulator/rows?log={log}")
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def late_rows(self, count, ago):
        """Rows that show up now, and happened long ago."""
        for log, time_key in (("web_api", "time"), ("events", "time"), ("objects", "created")):
            known = self.rows(log)
            highest = max(row["id"] for row in known)
            rows = []
            for number in range(count):
                row = dict(random.Random(number).choice(known[-200:]))
                row.pop("visible_at", None)
                row |= {"id": highest + 1 + number, time_key: self.now - ago - number * 7}
                rows.append(row)
            fetch(f"{self.url}/simulator/rows", "POST", {"log": log, "rows": rows, "visible_at": self.now})

    def truth(self, until):
        """Values by family and labels, by minute: counted here, from the rows."""
        truth = collections.defaultdict(collections.Counter)
        for log in LOGS:
            for row in self.rows(log):
                at = row.get("created" if log == "objects" else "time")
                if at is None or not self.start <= at < until:
                    continue
                minute = at - at % MINUTE
                for name, labels, value in cells(log, row):
                    truth[(name, labels)][minute] += value
        return truth

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.simulator.stop()
        self.api.__exit__()


def outcome(state):
    return {"1": "success", "2": "failure"}.get(str(state)[2] if len(str(state)) == 4 else "", "unknown")


def cells(log, row):
    """Families and labels that a row counts in, as far as this check knows the labels."""
    if log == "web_api":
        labels = {"product_id": str(row.get("productId") or 0), "outcome": outcome(row.get("state"))}
        yield ENTRIES, frozenset(labels.items()), 1
        state = row.get("state") or 0
        shown = str(state) if 1000 <= state <= 8999 else "other"
        yield STATES, frozenset({**labels, "state": shown}.items()), 1
    elif log == "events":
        product = str(row.get("productId") or 0)
        event = row.get("eventName") or "unnamed"
        labels = {"product_id": product, "event_name": event, "feature_name": row.get("featureName") or "unnamed"}
        yield EVENTS, frozenset(labels.items()), 1
        if (row.get("value") or 0) > 0:
            currency = (row.get("currency") or "").strip().upper()
            known = currency if len(currency) == 3 and currency.isascii() and currency.isalpha() else "other"
            labels = {"product_id": product, "event_name": event, "currency": known}
            yield VALUE, frozenset(labels.items()), row["value"]
    else:
        yield OBJECTS, frozenset(), 1


# The labels that `cells` knows.
KNOWN = {
    ENTRIES: {"product_id", "outcome"},
    STATES: {"product_id", "outcome", "state"},
    EVENTS: {"product_id", "event_name", "feature_name"},
    VALUE: {"product_id", "event_name", "currency"},
    OBJECTS: set(),
}


def stored(database, world, until, selector):
    """The samples that a database has, by family and labels, by minute. No stamp may be on the edge of a minute."""
    found = collections.defaultdict(collections.Counter)
    for name, known in KNOWN.items():
        for begin in range(world.start, until, DAY):
            end = min(begin + DAY, until)
            # Up to and including the last millisecond, as both ends count for some servers.
            length = (end - begin) * 1000 - 1
            for series in database.query(f"{name}{selector}[{length}ms]", end - 0.001):
                labels = frozenset((key, value) for key, value in series["metric"].items() if key in known)
                for stamp, value in series["values"]:
                    millis = round(float(stamp) * 1000)
                    if not 1 <= millis % (MINUTE * 1000) <= 59_000:
                        raise Failure(f"{database.name}: {name} has a sample at {stamp}")
                    minute = millis // 1000
                    found[(name, labels)][minute - minute % MINUTE] += round(float(value))
    return found


def hourly(database, world, until, selector):
    """Sums of whole hours, as a dashboard asks for them."""
    first = world.start + HOUR - world.start % HOUR
    last = until - until % HOUR
    query = urllib.parse.urlencode(
        {
            "query": f"sum by (outcome) (sum_over_time({ENTRIES}{selector}[1h]))",
            "start": first + HOUR,
            "end": last,
            "step": HOUR,
        }
    )
    answer = json.loads(fetch(f"{database.url}/api/v1/query_range?{query}"))
    found = collections.Counter()
    for series in answer["data"]["result"]:
        for end, value in series["values"]:
            found[(series["metric"]["outcome"], int(end) - HOUR)] += int(float(value))
    return found, first, last


def differences(database, world, until, selector):
    """Minutes of label sets, and hourly sums, of which a database has another value than the rows say; and how many there are."""
    truth, found = world.truth(until), stored(database, world, until, selector)
    minutes = [
        (key[0], sorted(key[1]), iso(minute), truth[key][minute], found[key][minute])
        for key in truth.keys() | found.keys()
        for minute in truth[key].keys() | found[key].keys()
        if truth[key][minute] != found[key][minute]
    ]
    hours, first, last = hourly(database, world, until, selector)
    expected = collections.Counter()
    for (name, labels), of_minutes in truth.items():
        for minute, value in of_minutes.items():
            if name == ENTRIES and first <= minute < last:
                expected[(dict(labels)["outcome"], minute - minute % HOUR)] += value
    wrong = {key: (expected[key], hours[key]) for key in expected.keys() | hours.keys() if expected[key] != hours[key]}
    return sorted(minutes), wrong, sum(len(of_minutes) for of_minutes in truth.values()), len(expected)


def compare(what, database, world, until, selector='{job="cryptolens-exporter"}', least=1000, exporter=None):
    # Of a minute that `until` cuts, the sample has all rows.
    until -= until % MINUTE
    began, seen = time.monotonic(), []
    # A database may show what it took a moment later; what is wrong after that stays wrong.
    for wait in (0, 2, 5, 10, 20):
        time.sleep(wait)
        minutes, hours, cells, sums = differences(database, world, until, selector)
        if not minutes and not hours:
            break
        seen.append(
            f"after {time.monotonic() - began:.0f} s {len(minutes)} of {cells} minutes and {len(hours)} of {sums} hours are wrong,"
            f" such as {minutes[:3]} {list(hours.items())[:3]}"
        )
        if exporter:
            for name, values in exporter.metrics().items():
                if "history" in name or "rows_counted" in name:
                    print(f"# {name}: {dict(values)}")
    else:
        raise Failure(f"{what}: {'; '.join(seen)}")
    for line in seen:
        print(f"# {what}: {line}")
    check(what, cells > least, f"{cells} minutes of label sets and {sums} hours are exact")


def iso(at):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


class Exporter:
    """The exporter over one ledger, killed and started again as the check likes."""

    def __init__(self, binary, folder, world, targets, **settings):
        self.binary, self.port, self.world = binary, free_port(), world
        self.config = folder / "exporter.yml"
        history = {
            "remote_write": [{"url": url, "name": name, "remote_timeout": "5s"} for name, url in targets.items()]
        }
        document = {
            "api": {"url": f"{world.api.url}/api"},
            "since": iso(world.start),
            "poll": {"interval": "1s"},
            "storage": {"path": str(folder / "ledger")},
            "web": {"listen_address": f"127.0.0.1:{self.port}"},
            "log": {"level": "info"},
            "history": history | settings,
        }
        self.config.write_text(json.dumps(document))
        self.process = None
        self.logs = []

    def start(self):
        self.process = Process(
            self.binary, "serve", f"--config.file={self.config}", env={"CRYPTOLENS_TOKEN": "token", "NO_PROXY": "*"}
        )

    def stop(self, number=signal.SIGTERM):
        self.process.stop(number)
        self.logs.append(self.process.output())

    def log(self):
        return "".join(self.logs) + self.process.output()

    def metrics(self):
        samples = collections.defaultdict(dict)
        for line in fetch(f"http://127.0.0.1:{self.port}/metrics").splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                samples[name.partition("{")[0]][name.partition("{")[2]] = float(value)
        return samples

    def kill_while_it_works(self, times, wait=(0.05, 1.5)):
        chance = random.Random(times)
        for _ in range(times):
            time.sleep(chance.uniform(*wait))
            self.stop(signal.SIGKILL)
            self.start()

    def sealed_and_sent(self, until, targets):
        truth = json.loads(fetch(f"{self.world.url}/simulator/truth"))
        rows = sum(truth[log]["rows"] for log in LOGS)

        def done():
            if self.process.running.poll() is not None:
                raise Failure(f"the exporter ended: {self.process.output()[-2000:]}")
            metrics = self.metrics()
            counted = metrics["cryptolens_exporter_rows_counted_total"]
            sealed = metrics["cryptolens_exporter_history_sealed_until_timestamp_seconds"]
            pending = metrics["cryptolens_exporter_history_pending_samples"]
            waits = [value for labels, value in pending.items() if any(f'"{name}"' in labels for name in targets)]
            done.last = (dict(counted), dict(sealed), dict(pending))
            return (
                # A row that shows up late is found when an overlap of real time has passed.
                sum(counted.values()) == rows
                and len(sealed) == len(LOGS)
                and min(sealed.values()) >= until
                and len(waits) == len(targets)
                and sum(waits) == 0
            )

        try:
            wait_for("the history to be sealed and sent", done, 600)
        except Failure as failure:
            raise Failure(f"{failure}: {getattr(done, 'last', None)}\n{self.process.output()[-2000:]}") from failure


def live(binary, folder, options):
    """The whole program against three databases."""
    now = options.at
    begin = now - now % HOUR - options.days * DAY - 12 * HOUR
    with World(binary, begin + 7 * MINUTE, begin + options.days * DAY, options.rate) as world:
        databases = {}
        if (TOOLS / "prometheus-3").exists():
            databases["prometheus-3"] = prometheus(folder / "p3", "prometheus-3", "Prometheus 3")
        if (TOOLS / "prometheus").exists():
            databases["prometheus-2"] = prometheus(folder / "p2", "prometheus", "Prometheus 2")
        victoria_port = free_port()
        if (TOOLS / "victoria-metrics").exists():
            databases["victoria"] = victoria_metrics(folder, victoria_port)
        left_out = {"prometheus-3", "prometheus-2", "victoria"} - databases.keys()
        if left_out:
            print(f"left out: {sorted(left_out)}, which scripts/tools could not install")
        if not databases:
            return
        try:
            for database in databases.values():
                database.wait_until_ready()
            flaky = Receiver(next(iter(databases.values())).url)
            targets = {name: database.write_url() for name, database in databases.items()}
            targets[next(iter(targets))] = f"{flaky.url}/api/v1/write"
            exporter = Exporter(binary, folder, world, targets)
            exporter.start()
            try:
                through_everything(exporter, world, databases, flaky, targets, folder, victoria_port, options)
                for name, database in databases.items():
                    compare(
                        f"{database.name} ({name}), live", database, world, world.now - 3 * MINUTE, exporter=exporter
                    )
                check(
                    "everything was sent twice to one of them, which failed now and then",
                    flaky.twice > 10 and flaky.requests > flaky.twice,
                    f"{flaky.requests} requests, {flaky.twice} sent twice",
                )
                dropped = exporter.metrics()["cryptolens_exporter_history_dropped_samples_total"]
                check("nothing was dropped", sum(dropped.values()) == 0, dropped)
                by_backfill(binary, folder, world, databases)
            finally:
                exporter.stop()
                flaky.__exit__()
        finally:
            for database in databases.values():
                database.stop()


def through_everything(exporter, world, databases, flaky, targets, folder, victoria_port, options):
    exporter.kill_while_it_works(options.kills)
    exporter.sealed_and_sent(world.now - 3 * MINUTE, targets)
    for _ in range(options.steps):
        world.forward(random.Random(world.now).randrange(20, 200))
    # Rows that show up two hours late, twice for the same minutes.
    for _ in range(2):
        world.late_rows(20, 2 * HOUR)
        world.forward(90)
    # The exporter is down for two hours.
    exporter.stop()
    world.forward(2 * HOUR, read=False)
    exporter.start()
    exporter.kill_while_it_works(2)
    # The API is down.
    world.forward(MINUTE)
    world.api.down = True
    world.forward(8 * MINUTE, read=False)
    time.sleep(2)
    world.api.down = False
    world.forward(MINUTE)
    # The receivers are down, one of them for good: it starts again over its disk.
    flaky.down = True
    if "victoria" in databases:
        if options.long:
            # It says yes to samples that it writes to its disk within five seconds, and loses these when it is killed.
            time.sleep(8)
        databases["victoria"].stop(signal.SIGKILL if options.long else signal.SIGTERM)
    for _ in range(options.steps):
        world.forward(5 * MINUTE)
    world.late_rows(10, HOUR)
    exporter.kill_while_it_works(1)
    flaky.down = False
    if "victoria" in databases:
        databases["victoria"] = victoria_metrics(folder, victoria_port).wait_until_ready()
    world.forward(8 * MINUTE)
    exporter.sealed_and_sent(world.now - 3 * MINUTE, targets)


def run(binary, *arguments, code=0):
    done = subprocess.run(
        [str(part) for part in (binary, *arguments)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "CRYPTOLENS_TOKEN": "token", "NO_PROXY": "*"},
        timeout=300,
    )
    if done.returncode != code:
        raise Failure(f"{arguments[0]} ended with {done.returncode}: {done.stderr[-2000:]}{done.stdout[-2000:]}")
    return done.stdout + done.stderr


def by_backfill(binary, folder, world, databases):
    """The same, by a file for promtool, and to a target."""
    until = world.now - 3 * MINUTE
    until -= until % MINUTE
    file = folder / "history.om"
    window = [f"--api.url={world.api.url}/api", f"--since={iso(world.start)}", f"--to={iso(until)}"]
    text = run(binary, "backfill", *window, f"--output={file}")
    check("backfill to a file says what it did", "entries" in text and "samples" in text, text.strip().splitlines()[-1])
    lines = file.read_text().splitlines()
    check("the file ends as it must", lines[-1] == "# EOF" and len(lines) > 1000, f"{len(lines)} lines")
    for suffix in ("-3", ""):
        if not (TOOLS / f"promtool{suffix}").exists() or not (TOOLS / f"prometheus{suffix}").exists():
            continue
        storage = folder / f"blocks{suffix}"
        promtool = [
            TOOLS / f"promtool{suffix}",
            "tsdb",
            "create-blocks-from",
            "openmetrics",
            "--max-block-duration=360h",
        ]
        done = subprocess.run(
            [str(part) for part in (*promtool, file, storage)], check=False, capture_output=True, text=True
        )
        if done.returncode:
            raise Failure(f"promtool{suffix}: {done.stderr}")
        with prometheus(
            folder / f"pb{suffix}", f"prometheus{suffix}", f"promtool{suffix}", storage=storage
        ) as database:
            database.wait_until_ready()
            compare(f"blocks of promtool{suffix}", database, world, until)
    database = next(reversed(databases.values()))
    target = f"--history.remote-write.url={database.write_url()}"
    for _ in range(2):
        run(binary, "backfill", *window, target, "--history.labels=instance=backfill")
    compare(f"{database.name}, by backfill, sent twice", database, world, until, '{instance="backfill"}')
    refused = run(binary, "backfill", *window[:2], f"--output={file}", code=2)
    check("without --to or an instance of its own there is no backfill", "--to" in refused, refused.strip()[:160])


def bad_targets(binary, folder, options):
    """Each trouble has one line in the log, and costs the others nothing."""
    if not (TOOLS / "prometheus-3").exists():
        return
    now = options.at
    users = folder / "web.yml"
    users.write_text('basic_auth_users: {me: "$2y$10$qRTBuFoULoYNA7AQ/F3ck.trZBPyjV64.oA4ZsSBCIWvXuvQlQTuu"}\n')
    begin = now - now % HOUR - 30 * HOUR
    with (
        # Every sample that is refused costs two requests, so there are few.
        World(binary, begin, begin + 3 * HOUR, 2) as world,
        prometheus(folder / "good", "prometheus-3", "good") as good,
        prometheus(folder / "off", "prometheus-3", "off", receiver=False) as off,
        # It has newer samples of its own, so that all of these are too old for it.
        prometheus(folder / "short", "prometheus-3", "short", window=None, scrapes=True) as short,
        prometheus(folder / "closed", "prometheus-3", "closed", web_config=users) as closed,
    ):
        for database in (good, off, short):
            database.wait_until_ready()
        wait_for("samples of its own", lambda: short.query("up", time.time()))
        targets = {
            "good": good.write_url(),
            "nobody": f"http://127.0.0.1:{free_port()}/api/v1/write",
            "off": off.write_url(),
            "short": short.write_url(),
            "closed": closed.write_url(),
        }
        exporter = Exporter(binary, folder, world, targets)
        exporter.start()
        try:
            exporter.sealed_and_sent(world.now - 3 * MINUTE, ["good"])
            compare("a good target beside bad ones", good, world, world.now - 3 * MINUTE, least=100, exporter=exporter)
            dropped = wait_for("refused samples", lambda: lost(exporter, "short"), 400)
            check("samples that are too old are counted", sum(dropped.values()) > 0, dropped)
            for name, level, word in (
                ("nobody", "warn", "no connection"),
                ("off", "error", "--web.enable-remote-write-receiver"),
                ("closed", "error", "credentials"),
                ("short", "error", "out_of_order_time_window"),
            ):
                lines = [line for line in exporter.log().splitlines() if f"receiver={name}" in line]
                check(
                    f"{name} has one line in the log", len(lines) == 1 and level in lines[0] and word in lines[0], lines
                )
        finally:
            exporter.stop()
        table = run(binary, "check", f"--config.file={exporter.config}", code=1)
        text = " ".join(table.split())
        for name, word in (
            ("good", "ok"),
            ("nobody", "no connection"),
            ("off", "HTTP 404"),
            ("short", "last hour only"),
            ("closed", "HTTP 401"),
        ):
            after = text.partition(f"history to {name} ")[2][:60]
            check(f"check: history to {name}", word in after, after)
        full_outbox(binary, folder / "full", world, targets["nobody"])


def lost(exporter, target):
    dropped = exporter.metrics()["cryptolens_exporter_history_dropped_samples_total"]
    return {labels: value for labels, value in dropped.items() if f'target="{target}"' in labels and value}


def full_outbox(binary, folder, world, url):
    """A database that is down for long: the oldest samples are dropped, and the rest is counted on."""
    folder.mkdir()
    exporter = Exporter(binary, folder, world, {"nobody": url}, outbox_limit=100)
    exporter.start()
    try:
        dropped = wait_for("a full outbox", lambda: lost(exporter, "nobody"))
        check("a full outbox is counted", all("outbox_full" in labels for labels in dropped), dropped)
        lines = [line for line in exporter.log().splitlines() if "outbox" in line and "error" in line]
        check("and logged once", len(lines) == 1, lines)
        truth = json.loads(fetch(f"{world.url}/simulator/truth"))

        def counted():
            rows = exporter.metrics()["cryptolens_exporter_rows_counted_total"]
            return sum(rows.values()) == sum(truth[log]["rows"] for log in LOGS)

        check("counting goes on", wait_for("all rows", counted), "all rows are counted")
    finally:
        exporter.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--long", action="store_true", help="more days, more kills, and targets that refuse")
    parser.add_argument(
        "--at", type=int, default=int(time.time()), help="Unix time: the rows and steps are those of its hour"
    )
    parser.add_argument("binary", type=pathlib.Path)
    options = parser.parse_args()
    options.days, options.rate, options.kills, options.steps = (20, 12, 8, 12) if options.long else (2, 10, 3, 4)
    parts = [live, bad_targets] if options.long else [live]
    print(f"# the same again: --at={options.at}", flush=True)
    for part in parts:
        with tempfile.TemporaryDirectory() as folder:
            part(options.binary.resolve(), pathlib.Path(folder), options)
    print(f"{len(held)} checks hold")


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"FAIL {failure}")
