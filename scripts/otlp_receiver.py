"""A receiver of OTLP over HTTP in this process: it parses every push with OpenTelemetry's own message types, checks what must hold
for each of them, keeps it, and passes it on if there is somebody behind it."""

import gzip
import http.server
import threading
import urllib.error
import urllib.request

from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE, DataPointFlags

from running import Failure, free_port

NO_VALUE = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK


class Receiver:
    """Listens on a free port. `forward` is the URL that pushes are passed on to, without `/v1/metrics`."""

    def __init__(self, forward=None):
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.forward = forward
        self.pushes = []
        self.problems = []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                status = receiver.receive(self.path, self.headers, body)
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def receive(self, path, headers, body):
        try:
            plain = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
            push = ExportMetricsServiceRequest.FromString(plain)
            self.problems += wrong(path, headers, push)
            self.pushes.append(push)
        except Exception as error:  # whatever the parser finds is the result of the check
            self.problems.append(f"a push cannot be parsed: {error!r}")
        return self.passed_on(path, headers, body) if self.forward else 200

    def passed_on(self, path, headers, body):
        names = ("content-type", "content-encoding")
        kept = {name: headers[name] for name in names if name in headers}
        try:
            with urllib.request.urlopen(urllib.request.Request(self.forward + path, body, kept), timeout=30) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 503

    def parsed(self):
        """How many pushes were parsed, all of them as they must be."""
        if self.problems:
            raise Failure(f"{len(self.problems)} problems with pushes, such as {self.problems[:3]}")
        return len(self.pushes)


def points_of(metric):
    kind = metric.WhichOneof("data")
    return list(getattr(metric, kind).data_points) if kind else []


def metrics_of(push):
    return [
        metric for resource in push.resource_metrics for scope in resource.scope_metrics for metric in scope.metrics
    ]


def births(push):
    """The start of each counter and histogram, by name and labels."""
    found = {}
    for metric in metrics_of(push):
        if metric.WhichOneof("data") != "gauge":
            for point in points_of(metric):
                labels = frozenset((pair.key, pair.value.string_value) for pair in point.attributes)
                found[metric.name, labels] = point.start_time_unix_nano
    return found


def unknown_fields(message):
    """Fields that the protocol does not have, in the message or in one inside it."""
    found = len(UnknownFieldSet(message))
    for field, value in message.ListFields():
        if field.message_type:
            found += sum(map(unknown_fields, value)) if hasattr(value, "append") else unknown_fields(value)
    return found


def wrong(path, headers, push):
    """The faults of a push; empty if it has none."""
    problems = []

    def must(holds, what):
        if not holds:
            problems.append(what)

    must(path == "/v1/metrics", f"sent to {path}")
    must(headers["content-type"] == "application/x-protobuf", f"a body of {headers['content-type']}")
    must(unknown_fields(push) == 0, "unknown fields")
    must(len(push.resource_metrics) == 1, f"{len(push.resource_metrics)} resources")
    for resource in push.resource_metrics:
        attributes = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
        must(set(attributes) == {"service.name", "service.instance.id"}, f"resource {attributes}")
        must(attributes.get("service.instance.id"), "an empty service.instance.id")
        for scope in resource.scope_metrics:
            must((scope.scope.name, scope.scope.version) == ("cryptolens-exporter", ""), f"scope {scope.scope}")
    metrics = metrics_of(push)
    names = [metric.name for metric in metrics]
    must(len(set(names)) == len(names), "a family twice")
    times = {point.time_unix_nano for metric in metrics for point in points_of(metric)}
    must(len(times) == 1, f"{len(times)} times")
    for metric in metrics:
        must(metric.unit == ("s" if metric.name.endswith("_seconds") else ""), f"{metric.name} in {metric.unit}")
        problems += wrong_points(metric)
    return problems


def wrong_points(metric):
    kind = metric.WhichOneof("data")
    points = points_of(metric)
    problems = []
    if kind == "sum" and not metric.sum.is_monotonic:
        problems.append(f"{metric.name} is no counter")
    if kind != "gauge" and getattr(metric, kind).aggregation_temporality != AGGREGATION_TEMPORALITY_CUMULATIVE:
        problems.append(f"{metric.name} is not cumulative")
    series = {frozenset((pair.key, pair.value.string_value) for pair in point.attributes) for point in points}
    if len(series) != len(points):
        problems.append(f"{metric.name} has a series twice")
    for point in points:
        start, ended = point.start_time_unix_nano, bool(point.flags & NO_VALUE)
        counted = point.count if kind == "histogram" else point.as_int or point.as_double
        # A log whose first row is not read yet has counters at 0 whose birth is not known yet.
        has_no_start = kind == "gauge" or (start == 0 and counted == 0)
        if not (start == 0 if has_no_start else 0 < start <= point.time_unix_nano):
            problems.append(f"{metric.name} began at {start}")
        if kind == "histogram":
            counts = point.bucket_counts
            if sum(counts) != point.count or len(counts) != len(point.explicit_bounds) + 1:
                problems.append(f"{metric.name} counts {list(counts)} for {point.count}")
        elif ended == (point.WhichOneof("value") is not None):
            problems.append(f"{metric.name} has no value, or one after its end")
    return problems
