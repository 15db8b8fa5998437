"""Every query of the dashboards and of the rules, with variables filled in as Grafana fills them, and what each one names."""

import dataclasses
import datetime
import json
import pathlib
import re

import promql_parser
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
RULES = ROOT / "prometheus" / "cryptolens.rules.yml"
# As in grafana/provisioning and compose/prometheus.yml.
SCRAPE_INTERVAL = 15
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclasses.dataclass(frozen=True)
class Query:
    where: str
    text: str
    # An instant query, or the least step of a range query in seconds.
    instant: bool = True
    step: int = SCRAPE_INTERVAL
    # The selected time of the dashboard, in seconds, and its end; far away if it is not known.
    span: int = 3600
    end: int = 9_999_999_999


def seconds(duration):
    return sum(int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+)([smhdw])", duration))


def dashboards():
    return [json.loads(path.read_text()) for path in sorted((ROOT / "grafana" / "dashboards").glob("*.json"))]


def panels(dashboard):
    """Those folded below a row, too."""
    return [panel for one in dashboard["panels"] for panel in (one, *one.get("panels", [])) if panel["type"] != "row"]


def groups():
    return yaml.safe_load(RULES.read_text())["groups"]


def rules():
    return [rule for group in groups() for rule in group["rules"]]


def of_dashboards():
    for dashboard in dashboards():
        title = dashboard["title"].removeprefix("Cryptolens / ")
        span = seconds(dashboard["time"]["from"].removeprefix("now-"))
        for panel in panels(dashboard):
            for target in panel["targets"]:
                step = seconds(target.get("interval") or panel.get("interval") or f"{SCRAPE_INTERVAL}s")
                letter = f" {target['refId']}" if len(panel["targets"]) > 1 else ""
                yield Query(f"{title} / {panel['title']}{letter}", target["expr"], target["instant"], step, span)
        for annotation in dashboard["annotations"]["list"]:
            if "expr" in annotation:
                yield Query(
                    f"annotation / {title} / {annotation['name']}",
                    annotation["expr"],
                    False,
                    seconds(annotation["step"]),
                )


def of_rules(all_rules):
    """Recording rules by their name; alerts by theirs, with the window where several share one."""
    for rule in all_rules:
        window = rule.get("labels", {}).get("window")
        name = rule.get("record") or " ".join(filter(None, ("alert", rule["alert"], window)))
        yield Query(name, rule["expr"])


def filled(query, variables):
    """With Grafana's own variables, and those of the dashboard: its values as a regular expression, or what stands for all."""
    text = query.text
    # Grafana: at least four scrapes, or one scrape more than the step.
    interval = max(4 * SCRAPE_INTERVAL, query.step + SCRAPE_INTERVAL)
    end = datetime.datetime.fromtimestamp(query.end, datetime.UTC)
    text = text.replace("${__to:date:iso}", end.strftime("%Y-%m-%dT%H:%M:%S.000Z"))
    for name, value in (
        ("__interval_ms", query.step * 1000),
        ("__range_s", query.span),
        ("__to", query.end * 1000),
    ):
        text = text.replace(f"${name}", str(value))
    for name, value in (("__rate_interval", interval), ("__range", query.span), ("__interval", query.step)):
        text = text.replace(f"${name}", f"{value}s")
    for name, values in {"utc_offset": "0", **variables}.items():
        text = text.replace(f"${name}", values)
    if "$" in re.sub(r'"(\\.|[^"])*"', '""', text) or re.search(r"\$[A-Za-z_{]", text):
        raise ValueError(f"{query.where}: a variable is left over in {text}")
    return text


def alternation(values):
    """As Grafana writes the selected values of a variable within =~"..."."""
    escaped = [re.sub(r"([\\^$.*+?()[\]{}|])", r"\\\\\1", value) for value in values]
    return escaped[0] if len(escaped) == 1 else "(" + "|".join(escaped) + ")"


def nodes(expression):
    """(node, its parents) of everything in a parsed expression."""
    pending = [(expression, ())]
    while pending:
        node, parents = pending.pop()
        yield node, parents
        children = [getattr(node, name, None) for name in ("expr", "lhs", "rhs", "vector_selector", "param")]
        children += getattr(node, "args", None) or []
        pending += [(child, (*parents, node)) for child in children if child is not None]


def parsed(text):
    return promql_parser.parse(text)


def selectors(expression):
    """(metric, labels of its matchers) of every selector; the metric may stand in a matcher of __name__."""
    for node, _ in nodes(expression):
        if isinstance(node, promql_parser.VectorSelector):
            yield node.name, [matcher.name for matcher in node.matchers.matchers if matcher.name != "__name__"]


def grouping_labels(expression):
    """Labels in by, without, on, ignoring, group_left and group_right."""
    for node, _ in nodes(expression):
        modifier = getattr(node, "modifier", None)
        if isinstance(node, promql_parser.AggregateExpr) and modifier:
            yield from modifier.labels
        elif isinstance(node, promql_parser.BinaryExpr) and modifier:
            yield from modifier.matching.labels if modifier.matching else ()
            yield from modifier.group_labels or ()


def made_labels(expression):
    """Labels that label_replace and label_join make."""
    for node, _ in nodes(expression):
        if isinstance(node, promql_parser.Call) and node.func.name in ("label_replace", "label_join"):
            yield node.args[1].val


FACTOR = 60


def shortened_duration(text):
    value = seconds(text)
    if value % FACTOR:
        raise ValueError(f"{text} cannot be shortened")
    return f"{value // FACTOR}s"


def shortened(all_groups):
    """The rules with every window, offset, `for` and number of seconds divided by FACTOR: a minute becomes a second.

    Numbers of requests in a window stay as they are: the test's traffic is as much thicker.
    """
    window = re.compile(r"(\[|:|offset )(\d+[smhdw])(?=[\]: )]|$)", re.MULTILINE)
    # A rate times the seconds of its window, or an age in seconds.
    number = re.compile(r"([*<>/(] )([1-9][0-9]*00)\b")
    # The seconds of a window times a rate.
    factor = re.compile(r"\b([1-9][0-9]*00)( \* )")

    def expression(text):
        text = window.sub(lambda found: found[1] + shortened_duration(found[2]), text)
        text = factor.sub(lambda found: str(int(found[1]) // FACTOR) + found[2], text)
        text = number.sub(lambda found: found[1] + str(int(found[2]) // FACTOR), text)
        # The buckets of ages stay: a row that is older than a window is, here, older than sixty
        # times the window.
        return text.replace("36 * account_product:", "0.6 * account_product:")

    made = json.loads(json.dumps(all_groups))
    for group in made:
        group.pop("interval", None)
        for rule in group["rules"]:
            rule["expr"] = expression(rule["expr"])
            for key in ("for", "keep_firing_for"):
                if key in rule:
                    rule[key] = shortened_duration(rule[key])
    return made
