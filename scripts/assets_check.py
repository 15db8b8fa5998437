"""The checks of scripts/assets-check that no tool makes by itself. Run by it, with the Python of scripts/tools."""

import dataclasses
import datetime
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import kubernetes_validate
import promql_parser
import yaml

import queries
from queries import ROOT, dashboards, panels, rules

# Metrics of Prometheus and of the process collector.
FOREIGN_METRICS = {
    "up",
    "ALERTS",
    "ALERTS_FOR_STATE",
    "process_start_time_seconds",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
}

# Labels that a scrape, the Prometheus operator or a relabelling may set.
TARGET_LABELS = {"job", "instance", "cluster", "namespace", "service", "pod", "node", "__replica"}


def compose(_):
    """Every mounted file is there, and whatever a program reads is mounted; images are pinned; ports stay on this machine."""
    provider = yaml.safe_load((ROOT / "grafana" / "provisioning" / "dashboards" / "cryptolens.yml").read_text())[
        "providers"
    ][0]
    for name, service in yaml.safe_load((ROOT / "compose.yaml").read_text())["services"].items():
        if "build" not in service and not re.search(r":v?[0-9]+\.[0-9]+\.[0-9]+$", service["image"]):
            yield f"{name}: the image is not pinned: {service['image']}"
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith(".") and not (ROOT / source).exists():
                yield f"{name}: {source} is missing"
        mounts = [volume.split(":")[1] for volume in service.get("volumes", [])]
        read = [argument.partition("=")[2] for argument in service.get("command", [])] + list(
            service.get("environment", {}).values()
        )
        if name == "grafana":
            read.append(provider["options"]["path"])
        for path in read:
            if path.startswith("/") and not any(path == mount or path.startswith(f"{mount}/") for mount in mounts):
                yield f"{name}: {path} is not mounted"
        for port in service.get("ports", []):
            if not port.startswith("127.0.0.1:"):
                yield f"{name}: port {port} is open to other machines"


def image(_):
    """The Dockerfile builds with the oldest Rust that Cargo.toml allows, and copies all that cargo asks for before it builds."""
    text = (ROOT / "Dockerfile").read_text()
    oldest = re.search(r'^rust-version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    if not text.split("\nFROM ")[1].startswith(f"rust:{oldest}-"):
        yield f"the image is not built with Rust {oldest}, the rust-version of Cargo.toml"
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")}
    with tempfile.TemporaryDirectory() as scratch:
        context = pathlib.Path(scratch)
        for line in text.split("\nFROM ")[1].splitlines():
            if not line.startswith("COPY "):
                continue
            *sources, target = line.split()[1:]
            for source in sources:
                if source not in let_in:
                    yield f".dockerignore keeps {source} out"
                elif (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, context / target)
                else:
                    shutil.copy(ROOT / source, context / target)
        # Stops at a target of a manifest whose file is missing, as a build would.
        read = subprocess.run(
            ["cargo", "fetch", "--locked", "--target=x86_64-unknown-linux-gnu"],
            cwd=context,
            capture_output=True,
            text=True,
            check=False,
        )
        if read.returncode != 0:
            yield f"cargo cannot read what is copied into the image:\n{read.stderr}"


def runbooks(_):
    """Every alert has severity, texts, a section in the runbooks, a place in the table of alerts, and a test that expects it to
    fire; no section and no name in the table is left over."""
    sections = {
        heading.lower()
        for heading in re.findall(r"^### (\S+)$", (ROOT / "docs" / "runbooks.md").read_text(), re.MULTILINE)
    }
    tests = "".join(path.read_text() for path in (ROOT / "prometheus" / "tests").glob("*.yml"))
    alerts = {rule["alert"]: rule for rule in rules() if "alert" in rule}
    for name, rule in alerts.items():
        if rule["labels"].get("severity") not in ("critical", "warning", "info"):
            yield f"{name}: no severity"
        for wanted in ("summary", "description", "runbook_url", "dashboard_url"):
            if not rule["annotations"].get(wanted):
                yield f"{name}: no {wanted}"
        if "$value" in rule["annotations"].get("summary", ""):
            yield f"{name}: the summary changes with every evaluation"
        if rule["annotations"].get("runbook_url", "").split("#")[-1] not in sections:
            yield f"{name}: no section in docs/runbooks.md"
        if f'alertname="{name}", alertstate="firing"' not in tests:
            yield f"{name}: no test shows it firing"
    for section in sections - {name.lower() for name in alerts}:
        yield f"docs/runbooks.md: section {section} belongs to no alert"
    page = (ROOT / "docs" / "dashboards.md").read_text()
    table = page.split("| alert | tells |")[1].split("\n\n")[0]
    cells = re.findall(r"^\| (`[^|]+`) \|", table, re.MULTILINE)
    listed = [name for cell in cells for name in re.findall(r"\w+", cell)]
    for name in sorted(alerts.keys() ^ set(listed)) + sorted({name for name in listed if listed.count(name) > 1}):
        yield f"docs/dashboards.md: the table of alerts has {name} {listed.count(name)} times"


# The command that explains an alert of customers, and what has to follow it.
EXPLAINS = re.compile(
    r"cryptolens-exporter (report incident|report summary|audit seats)((?: --[a-z]+=(?:\{\{.*?\}\}|[^\s`.{])+)+)"
)
MOMENT = '--at={{ with query "time()" }}{{ (. | first | value | toTime).Format "2006-01-02T15:04:05Z" }}{{ end }}'
# Of what the dashboards fill in.
FILLED_IN = {
    "Failure ratio by product": "${__field.labels.account} ${__field.labels.product_id} ${__value.time:date:iso}",
    "Failing products, and since when": "${__field.labels.account} ${__field.labels.product_id} ${__value.time:date:iso}",
    "What to run": "$1 $2 ${__to:date:iso}",
}


def commands(_):
    """Every alert of customers and its runbook name the command that explains it, with account, product and moment; so do the
    overview's graphs by product, for the moment of a click, and a table of it."""
    text = (ROOT / "docs" / "runbooks.md").read_text()
    sections = {part.split("\n", 1)[0].lower(): part for part in text.split("\n### ")[1:]}
    customers = [group for group in queries.groups() if group["name"].endswith(".customers")]
    for rule in (rule for group in customers for rule in group["rules"] if "alert" in rule):
        name, description = rule["alert"], rule["annotations"]["description"]
        found = EXPLAINS.search(description.replace("\n", " "))
        if not found:
            yield f"{name}: the description names no command"
            continue
        wanted = ["--account={{ $labels.account }}"]
        # Alerts over all products of an account have no such label.
        wanted += [] if re.search("(All|AllSlow)$", name) else ["--product={{ $labels.product_id }}"]
        wanted += [MOMENT] if found[1] == "report incident" else []
        yield from (f"{name}: its command lacks {one}" for one in wanted if one not in description)
        runbook = EXPLAINS.search(sections.get(name.lower(), ""))
        if not runbook or runbook[1] != found[1] or "--account=NAME" not in runbook[2]:
            yield f"{name}: its runbook does not name {found[1]} with --account=NAME"
    overview = next(one for one in dashboards() if one["uid"] == "cryptolens-overview")
    shown = {panel["title"]: panel for panel in panels(overview)}
    for title, parts in FILLED_IN.items():
        account, product, moment = parts.split()
        command = f"cryptolens-exporter report incident --account={account} --product={product} --at={moment}"
        panel = shown.get(title, {})
        links = [link["title"] for link in panel.get("fieldConfig", {}).get("defaults", {}).get("links", [])]
        if not any(command in text for text in [*links, *(target["expr"] for target in panel.get("targets", []))]):
            yield f"{overview['title']} / {title}: does not name {command}"


# The dashboards' own variables, filled with something that parses.
ANY = {name: f"any-{name}" for name in ("cluster", "namespace", "job", "instance", "account", "product")}
# Grafana's names for what our panels show, of the many that dashboard-linter knows.
UNITS = {
    "short",
    "none",
    "locale",
    "percentunit",
    "s",
    "bytes",
    "reqpm",
    "epm",
    "suffix: per h",
    "string",
    "dateTimeAsIso",
}
# Keys that Grafana has dropped or never read, and empty ones.
DEAD_KEYS = {
    "style",
    "liveNow",
    "timepicker",
    "weekStart",
    "fiscalYearStartMonth",
    "gnetId",
    "iteration",
    "id",
    "skipUrlSync",
}
CALCULATIONS = {"mean": "Mean", "max": "Max", "lastNotNull": "Last *", "sum": "Total"}


def dashboard_rules(arguments):
    """The rules of Grafana's dashboard-linter (https://github.com/grafana/dashboard-linter), on every kind of panel, and some of our own."""
    for dashboard in dashboards():
        name = dashboard["title"]
        yield from (f"{name}: {problem}" for problem in variable_problems(dashboard))
        yield from (f"{name}: {problem}" for problem in model_problems(dashboard))
        yield from (f"{name}: {problem}" for problem in alert_problems(dashboard))
        if not any(
            link["type"] == "dashboards" and link["tags"] == dashboard["tags"] and link["includeVars"]
            for link in dashboard["links"]
        ):
            yield f"{name}: no links to the other dashboards"
        ids = [panel["id"] for panel in panels(dashboard)] + [
            row["id"] for row in dashboard["panels"] if row["type"] == "row"
        ]
        if len(ids) != len(set(ids)):
            yield f"{name}: panel ids are not unique"
        for panel in panels(dashboard):
            yield from (f"{name} / {panel.get('title')}: {problem}" for problem in panel_problems(panel))
    uids = {dashboard["uid"] for dashboard in dashboards()}
    # Bookmarks and links point at them.
    if uids != {
        "cryptolens-overview",
        "cryptolens-events",
        "cryptolens-objects",
        "cryptolens-usage",
        "cryptolens-history",
        "cryptolens-exporter",
    }:
        yield f"the uids changed: {uids}"
    yield from stray_tests()
    of_dashboards, of_rules = list(queries.of_dashboards()), list(queries.of_rules(rules()))
    for query in of_dashboards:
        yield from (f"{query.where}: {problem}" for problem in query_problems(queries.filled(query, ANY)))
    yield from unparsable(arguments[0], of_dashboards)
    yield from unknown_names([*of_dashboards, *of_rules])
    yield from (f"{query.where}: does not leave out windows full of old rows" for query in of_rules if heedless(query))
    yield from (f"{query.where}: {problem}" for query in of_rules for problem in identity_problems(query.text))


def stray_tests():
    """The queries of the history that promtool tests are those of the dashboard, with bars of an hour in two hours."""
    filled_in = dict.fromkeys(("cluster", "namespace"), ".*") | dict.fromkeys(("instance", "product"), ".+")
    shown = {
        queries.filled(dataclasses.replace(query, step=3600, span=7200), {**filled_in, "job": "x", "account": "a"})
        for query in queries.of_dashboards()
    }
    for path in (ROOT / "prometheus" / "tests").glob("*.yml"):
        for test in yaml.safe_load(path.read_text())["tests"]:
            for tested in test.get("promql_expr_test", []):
                if "cryptolens_history_" in tested["expr"] and tested["expr"] not in shown:
                    yield f"{path.name}: {test['name']}: no panel asks {tested['expr']}"


def model_problems(dashboard):
    """A dashboard may be saved, says what it needs, and holds nothing that nobody reads."""
    if not dashboard["editable"]:
        yield "cannot be edited"
    needed = {panel["type"] for panel in panels(dashboard)} | {"grafana", "prometheus"}
    if {one["id"] for one in dashboard.get("__requires", [])} != needed:
        yield f"__requires is not {sorted(needed)}"
    # grafana.com wants these, and an id that says nothing.
    if lacking := [key for key in ("title", "description", "tags", "uid") if not dashboard.get(key)]:
        yield f"lacks {lacking}"
    if dashboard.get("id", 0) is not None or dashboard.get("__inputs") != []:
        yield "has an id, or inputs: its data source is a variable"
    if dead := {key for key in DEAD_KEYS & dashboard.keys() if key != "id" or dashboard[key] is not None}:
        yield f"dead keys: {dead}"
    for panel in panels(dashboard):
        if empty := [key for key in ("transformations", "links") if panel.get(key) == []]:
            yield f"{panel['title']}: empty keys: {empty}"


def alert_problems(dashboard):
    """Alerts of customers are marked where customers' requests are shown, those of the exporter on its own dashboard, and both
    follow the variables; the first row of either dashboard lists them."""
    customers = {
        rule["alert"]
        for group in queries.groups()
        if group["name"].endswith(".customers")
        for rule in group["rules"]
        if "alert" in rule
    }
    others = {rule["alert"] for rule in rules() if "alert" in rule} - customers
    wanted = others if dashboard["uid"] == "cryptolens-exporter" else customers
    marks = {one["name"]: one for one in dashboard["annotations"]["list"] if "expr" in one}
    if marks.keys() != {"Firing alerts", "Catching up", "Exporter restarts"}:
        yield f"annotations: {sorted(marks)}"
    matchers = re.findall(r'alertname(=~|!~)"([^"]+)"', marks["Firing alerts"]["expr"])
    marked = {
        name
        for name in customers | others
        if all(bool(re.fullmatch(pattern, name)) == (kind == "=~") for kind, pattern in matchers)
    }
    if marked != wanted:
        yield f"marks alerts {sorted(marked ^ wanted)} wrongly"
    listed = [panel for panel in panels(dashboard) if panel["title"].startswith("Firing alerts")]
    if dashboard["uid"] in ("cryptolens-overview", "cryptolens-exporter") and not (
        listed and listed[0]["gridPos"]["y"] < 6
    ):
        yield "no table of firing alerts at the top"


def variable_problems(dashboard):
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    source = variables.get("datasource", {})
    if (source.get("type"), source.get("query"), source.get("label")) != ("datasource", "prometheus", "Data source"):
        yield "template-datasource-rule"
    for name in ("job", "instance"):
        variable = variables.get(name, {})
        if not (
            variable.get("type") == "query"
            and variable.get("multi")
            and variable.get("allValue") == ".+"
            and variable.get("label", "").lower() == name
        ):
            yield f"template-{name}-rule"
    for name in ("cluster", "namespace"):
        if variables.get(name, {}).get("allValue") != ".*":
            yield f"variable {name}: All has to match targets without such a label"
    for variable in variables.values():
        if variable["type"] == "query":
            if variable["refresh"] != 2:
                yield f"template-on-time-change-reload-rule: {variable['name']}"
            if not re.fullmatch(r"(label_values|label_names|metrics|query_result)\(.+\)", variable["query"]):
                yield f"template-label-promql-rule: {variable['name']}"
    used = {name for target in every_target(dashboard) for name in re.findall(r"\$\{?([a-z]\w*)", target)}
    for name in variables.keys() - used - {"datasource"}:
        yield f"template-unused-rule: {name}"


def every_target(dashboard):
    return [target["expr"] for panel in panels(dashboard) for target in panel["targets"]]


def panel_problems(panel):
    if not panel.get("title") or not panel.get("description"):
        yield "panel-title-description-rule"
    if panel.get("datasource", {}).get("uid") != "${datasource}":
        yield "panel-datasource-rule"
    if not panel.get("targets"):
        yield "panel-no-targets-rule"
    units = {panel["fieldConfig"]["defaults"].get("unit")}
    units |= {
        one["value"]
        for override in panel["fieldConfig"]["overrides"]
        for one in override["properties"]
        if one["id"] == "unit"
    }
    if not units <= UNITS:
        yield f"panel-units-rule: {units - UNITS}"
    if not panel["fieldConfig"]["defaults"]["thresholds"]["steps"]:
        yield "no thresholds"
    legend = panel["options"].get("legend", {})
    if "sortBy" in legend and legend["sortBy"] not in [CALCULATIONS[name] for name in legend["calcs"]]:
        yield f"the legend is sorted by a column that it does not show: {legend['sortBy']}"
    if panel["type"] == "timeseries":
        if panel["fieldConfig"]["defaults"]["color"]["mode"] == "palette-classic":
            yield "colours follow the order of series, not their names"
        if not panel.get("interval"):
            yield "no least interval: polls and scrapes alias"
    if panel["type"] == "stat":
        mapped = [
            mapping for mapping in panel["fieldConfig"]["defaults"].get("mappings", []) if mapping["type"] == "special"
        ]
        if not mapped or mapped[0]["options"]["result"]["color"] != "#808080":
            yield "what is not known is not grey"
    for target in panel.get("targets", []):
        if not target.get("legendFormat") and panel["type"] != "table":
            yield f"no legend for {target['refId']}"


def query_problems(text):
    expression = queries.parsed(text)
    of_history = any(HISTORY.fullmatch(metric or "") for metric, _ in queries.selectors(expression))
    for node, parents in queries.nodes(expression):
        if isinstance(node, promql_parser.VectorSelector):
            matchers = [(matcher.name, matcher.op, matcher.value) for matcher in node.matchers.matchers]
            # A recorded series or an alert may lack some of them; the budget and its kind have none.
            partly = node.name.startswith("ALERTS") or ":" in node.name
            if ":" in node.name and node.name.startswith("cryptolens_"):
                continue
            for name in ("cluster", "namespace", "job", "instance"):
                if partly and name == "instance" and not node.name.startswith("ALERTS"):
                    continue
                if of_history and name == "instance" and node.name in OF_ANY_INSTANCE:
                    continue
                if not any(
                    (name, promql_parser.MatchOp.Re, value) in matchers
                    for value in (ANY[name], f"({ANY[name]})?")[: 1 + partly]
                ):
                    yield f"target-{name}-rule: {node.name}"
            if (
                (ROWS.fullmatch(node.name) or HISTORY.fullmatch(node.name))
                and "exporter" not in node.name
                and not any(merges_replicas(parent) for parent in parents)
            ):
                yield f"replicas are summed: {node.name}"
            if (
                HISTORY.fullmatch(node.name)
                and type(parents[-1]).__name__ != "MatrixSelector"
                and "timestamp" not in text
            ):
                yield f"one sample of the history in place of all: {node.name}"
            if node.name.endswith("_total"):
                around = [type(parent).__name__ for parent in parents[-2:]]
                if around != ["Call", "MatrixSelector"] or parents[-2].func.name not in ("rate", "irate", "increase"):
                    yield f"target-counter-agg-rule: {node.name}"
        if (
            isinstance(node, promql_parser.Call)
            and node.func.name in ("rate", "irate")
            and node.args[0].range not in RATE_INTERVALS
        ):
            yield f"target-rate-interval-rule: {node.prettify()}"
        if isinstance(node, promql_parser.Call) and node.func.name == "histogram_quantile":
            inner = [part for part, _ in queries.nodes(node)]
            calls = {part.func.name for part in inner if isinstance(part, promql_parser.Call)}
            sums = [part for part in inner if isinstance(part, promql_parser.AggregateExpr)]
            if not calls & {"rate", "increase"} or not sums or "le" not in sums[0].modifier.labels:
                yield "target-histogram-rule"


IDENTITY = {"cluster", "namespace", "job", "account"}


def merges_replicas(node):
    """Whether a part of a query takes one replica of several, or asks only whether something is there."""
    if isinstance(node, promql_parser.AggregateExpr):
        kind, labels = str(node.op), set(node.modifier.labels) if node.modifier else set()
        return kind == "group" or (kind in ("max", "min") and labels >= IDENTITY)
    # The share of old rows decides which replica to take.
    return isinstance(node, promql_parser.BinaryExpr) and str(node.op) in (">", "/") and "entry_age" in node.prettify()


# Values that $__rate_interval may take; no query has such a window written out.
RATE_INTERVALS = {datetime.timedelta(seconds=value) for value in (60, 75, 135, 315, 915)}
# Counters and histograms of rows: their rates say nothing while rows are read late.
ROWS = re.compile(r"cryptolens_(web_api|event|object)_log_(entries|states)_total|cryptolens_\w+_(bucket|sum|count)")
# Families of the history, which may be scraped under another instance.
HISTORY = re.compile(r"cryptolens_history_\w+")
OF_ANY_INSTANCE = {"cryptolens_product_info", "cryptolens_state_info"}


# Rules over a week: some old rows in it bend nothing.
USUAL = {
    "account_product_outcome:cryptolens_web_api_log_entries:increase1w",
    "account_product:cryptolens_web_api_log_entries:least_increase1h",
}


def heedless(query):
    """Whether a rule asks how many rows were counted in a window, and never how old they were. A recorded series has asked already."""
    counted = set()
    for node, _ in queries.nodes(queries.parsed(query.text)):
        if isinstance(node, promql_parser.Call) and node.func.name in ("rate", "increase"):
            counted |= {metric for metric, _ in queries.selectors(node)}
    rows = any(ROWS.fullmatch(metric) and "exporter" not in metric for metric in counted)
    return rows and "cryptolens_web_api_log_entry_age_seconds_count" not in counted and query.where not in USUAL


IDENTITY = {"cluster", "namespace", "job", "account"}


def identity_problems(text):
    """Matching and grouping go by the whole identity of an account: its name alone is another exporter's too."""
    for node, _ in queries.nodes(queries.parsed(text)):
        labels = set(queries.grouping_labels(node))
        if "account" in labels and not labels >= IDENTITY:
            yield f"matches or groups by {sorted(labels)}, which is not the whole identity"
        if (
            isinstance(node, promql_parser.BinaryExpr)
            and node.modifier
            and node.modifier.matching
            and labels == {"account"}
        ):
            yield "matches by account alone"


def unparsable(promtool, all_queries):
    """target-promql-rule, by promtool itself."""
    made = [
        {"record": f"query:{number}", "expr": queries.filled(query, ANY)} for number, query in enumerate(all_queries)
    ]
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        yaml.safe_dump({"groups": [{"name": "queries", "rules": made}]}, file)
        file.flush()
        done = subprocess.run([promtool, "check", "rules", file.name], capture_output=True, text=True, check=False)
        if done.returncode:
            yield f"target-promql-rule: {done.stdout}{done.stderr}"


def catalogue():
    """Families and labels, from the generated page."""
    families = {}
    for line in (ROOT / "docs" / "metrics.md").read_text().splitlines():
        # Families that are sent and not scraped: they are all gauges.
        sent = re.sub(r"^(\| `cryptolens_history_\w+` \|)", r"\1 gauge |", line)
        if row := re.match(r"\| `(\w+)` \| (\w+)[^|]* \| ([^|]*) \|", sent):
            labels = {label for label in row[3].strip().split(", ") if label} | TARGET_LABELS
            names = [row[1] + suffix for suffix in ("_bucket", "_count", "_sum")] if row[2] == "histogram" else [row[1]]
            for name in names:
                families[name] = labels | ({"le"} if name.endswith("_bucket") else set())
    return families


def unknown_names(all_queries):
    """Only families and labels of the catalogue, and series that our own rules record."""
    families = catalogue()
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    everywhere = set().union(*families.values())
    for query in all_queries:
        expression = queries.parsed(queries.filled(query, ANY))
        for metric, labels in queries.selectors(expression):
            if metric not in families and metric not in recorded and metric not in FOREIGN_METRICS:
                yield f"{query.where}: no such metric: {metric}"
            for label in set(labels) - families.get(metric, everywhere | {"alertname", "alertstate", "severity"}):
                yield f"{query.where}: {metric} has no label {label}"
        for label in (
            set(queries.grouping_labels(expression))
            - set(queries.made_labels(expression))
            - everywhere
            - {"alertstate"}
        ):
            yield f"{query.where}: no metric has the label {label}"


def schedules(_):
    """The timer, the service and the CronJob of the reports' page: systemd knows every setting, and so does Kubernetes."""
    page = (ROOT / "docs" / "reports.md").read_text()
    with tempfile.TemporaryDirectory() as scratch:
        units = []
        for name, text in re.findall(
            r"^```ini\n# /etc/systemd/system/(\S+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL
        ):
            units.append(pathlib.Path(scratch) / name)
            # The program need not be installed here.
            units[-1].write_text(
                text.replace("ExecStart=/usr/bin/cryptolens-exporter", f"ExecStart={shutil.which('true')}")
            )
        if {unit.suffix for unit in units} != {".service", ".timer"}:
            yield f"docs/reports.md has other units: {[unit.name for unit in units]}"
        if shutil.which("systemd-analyze"):
            done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
            # It warns of what it ignores, and ends well.
            if done.returncode or done.stderr:
                yield f"systemd-analyze: {done.stderr}"
    documents = [yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)]
    jobs = [document for document in documents if document.get("kind") == "CronJob"]
    if not jobs:
        yield "docs/reports.md has no CronJob"
    for job in jobs:
        try:
            kubernetes_validate.validate(job, "1.37", strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"docs/reports.md: {error.message}"


def main():
    checks = {
        "compose": compose,
        "image": image,
        "runbooks": runbooks,
        "commands": commands,
        "schedules": schedules,
        "dashboards": dashboard_rules,
    }
    problems = list(checks[sys.argv[1]](sys.argv[2:]))
    for problem in problems:
        print(problem)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
