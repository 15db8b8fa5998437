"""Reads the simulator with the vendor's own Python SDK and compares with the simulator's truth.

An independent witness: neither our client nor our counting takes part. Needs the packages `licensing` and `prometheus_client`:

    python3 -m venv venv && venv/bin/pip install licensing prometheus_client
    cryptolens-exporter simulate --requests-per-minute=1 &
    venv/bin/python scripts/sdk_check.py http://127.0.0.1:10461

Stops the simulator's traffic while it reads, and lets it go on afterwards. Exit code 0 if everything agrees, 1 if not.
"""

import argparse
import collections
import json
import sys
import time
import urllib.error
import urllib.request

from licensing.internal import HelperMethods
from licensing.methods import AI, Key, Product
from prometheus_client.parser import text_string_to_metric_families

# Any RSA key: the SDK wants one, and only the vendor could sign.
UNUSED_KEY = "<RSAKeyValue><Modulus>AQAB</Modulus><Exponent>AQAB</Exponent></RSAKeyValue>"


class Disagreement(Exception):
    """The SDK saw other rows than the simulator knows."""


def control(url, method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + "/simulator/" + path, data=data, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def expect(what, seen, expected):
    if seen != expected:
        raise Disagreement(f"{what}: the SDK saw {seen!r}, the simulator says {expected!r}")
    print(f"ok   {what}: {seen}")


def paged(name, ask):
    """All rows, asked for by id until a page is empty."""
    rows, last = [], 0
    while True:
        page, message = ask(last)
        if page is None:
            raise Disagreement(f"{name} after {last}: {message}")
        if not page:
            return rows
        rows += page
        last = page[-1]["id"]


def outcomes(states):
    """Rows by third digit of the state, the way the vendor's own scripts tell success from failure."""
    counts = collections.Counter()
    for state, rows in states:
        counts[state % 100 // 10] += rows
    return dict(sorted(counts.items()))


def check_web_api_log(url, token):
    rows = paged("GetWebAPILog", lambda last: AI.get_web_api_log(token, limit=1000, starting_after=last))
    truth = control(url, "GET", "truth?log=web_api")["web_api"]
    expect("Web API Log, rows", len(rows), truth["rows"])
    expect("Web API Log, different ids", len({row["id"] for row in rows}), truth["rows"])
    expect("Web API Log, highest id", max((row["id"] for row in rows), default=None), truth["highest_id"])
    expected = outcomes((entry["state"], entry["rows"]) for entry in truth["states"])
    expect("Web API Log, outcomes", outcomes((row["state"], 1) for row in rows), expected)
    seen = collections.Counter((row["productId"], row["state"]) for row in rows)
    expected = {(entry["product_id"], entry["state"]): entry["rows"] for entry in truth["states"]}
    if dict(seen) != expected:
        raise Disagreement("Web API Log: counts by product and state differ")
    print(f"ok   Web API Log, counts by product and state: {len(seen)} pairs")

    newest, message = AI.get_web_api_log(token, limit=1, order_by="Id descending")
    if newest is None:
        raise Disagreement(message)
    expect("Web API Log, newest first", [row["id"] for row in newest], [row["id"] for row in rows[-1:]])
    before, _ = AI.get_web_api_log(token, limit=3, ending_before=rows[10]["id"])
    expect("Web API Log, ending before", [row["id"] for row in before], [row["id"] for row in rows[9:6:-1]])
    return rows


def check_events(url, token):
    rows = paged("GetEvents", lambda last: AI.get_events(token, limit=100, starting_after=last))
    truth = control(url, "GET", "truth?log=events")["events"]
    expect("Events Log, rows", len({row["id"] for row in rows}), truth["rows"])
    AI.register_event(token, product_id=3349, feature_name="sdk-check", event_name="start", value=30)
    rows, _ = AI.get_events(token, limit=100, starting_after=truth["highest_id"] or 0)
    expect("Events Log, registered", [(row["featureName"], row["value"]) for row in rows], [("sdk-check", 30)])


def check_key(token, rows):
    # The SDK refuses a license key without the vendor's signature, which no stand-in can have.
    HelperMethods.verify_signature = staticmethod(lambda *_: True)
    floating = next(row for row in reversed(rows) if row["state"] == 2014)
    key, message = Key.get_key(token, UNUSED_KEY, floating["productId"], floating["key"], metadata=True)
    if key is None:
        raise Disagreement(f"GetKey: {message}")
    expect("GetKey", (key.product_id, key.key), (floating["productId"], floating["key"]))
    if key.max_no_of_machines < 1:
        raise Disagreement(f"GetKey: {key.max_no_of_machines} machines")
    none, message = Key.get_key(token, UNUSED_KEY, floating["productId"], "NO-SUCH-KEY")
    expect("GetKey, unknown key", (none, message), (None, "Could not find the key."))


def check_metrics(address, rows):
    """The exporter shows the counts of the rows that the SDK read, by product and outcome."""
    outcome = {1: "success", 2: "failure"}
    expected = collections.Counter(
        (str(row["productId"]), outcome.get(row["state"] % 100 // 10, "unknown")) for row in rows
    )
    seen, end = None, time.monotonic() + 60
    while seen != expected and time.monotonic() < end:
        time.sleep(0.5)
        with urllib.request.urlopen(address, timeout=10) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        seen = collections.Counter()
        for family in families:
            for sample in family.samples:
                if sample.name == "cryptolens_web_api_log_entries_total" and sample.value > 0:
                    labels = sample.labels
                    seen[(labels["product_id"], labels["outcome"])] += int(sample.value)
    expect("/metrics, entries by product and outcome", sorted(seen.items()), sorted(expected.items()))


def check_products(token):
    products, message = Product.get_products(token)
    if products is None:
        raise Disagreement(f"GetProducts: {message}")
    expect("GetProducts", sorted(product["id"] for product in products), [3349, 3350, 4021, 5110, 6007, 7733])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="where the simulator listens, such as http://127.0.0.1:10461")
    parser.add_argument("--metrics", help="page of an exporter that reads this simulator, to be compared too")
    parser.add_argument("--token", default="sdk-check", help="access token (default: %(default)s)")
    arguments = parser.parse_args()
    url = arguments.url.rstrip("/")
    HelperMethods.server_address = url + "/api/"
    try:
        control(url, "PUT", "clock", {"frozen": True})
        try:
            rows = check_web_api_log(url, arguments.token)
            if arguments.metrics:
                check_metrics(arguments.metrics, rows)
            check_key(arguments.token, rows)
            check_events(url, arguments.token)
            if hasattr(Product, "get_products"):
                check_products(arguments.token)
        finally:
            control(url, "PUT", "clock", {"frozen": False})
    except Disagreement as disagreement:
        print(f"FAIL {disagreement}")
        return 1
    except urllib.error.URLError as error:
        print(f"FAIL the simulator does not answer: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
