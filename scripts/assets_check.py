"""The checks of scripts/assets-check that no tool makes by itself. Run by it, with the Python of scripts/tools."""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

import jsonschema
import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
CHART = ROOT / "helm" / "cryptolens-exporter"
RULES = ROOT / "prometheus" / "cryptolens.rules.yml"
OLDEST_KUBERNETES, NEWEST_KUBERNETES = "1.25", "1.37"
# What Prometheus and the process collector bring.
FOREIGN_METRICS = {"up", "ALERTS", "process_start_time_seconds", "process_resident_memory_bytes", "process_cpu_seconds_total"}


def rules():
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def dashboards():
    return [json.loads(path.read_text()) for path in sorted((ROOT / "grafana" / "dashboards").glob("*.json"))]


def compose(_):
    """Every mounted file is there, every image is pinned, every port stays on this machine."""
    for name, service in yaml.safe_load((ROOT / "compose.yaml").read_text())["services"].items():
        if "build" not in service and not re.search(r":v?[0-9]+\.[0-9]+\.[0-9]+$", service["image"]):
            yield f"{name}: the image is not pinned: {service['image']}"
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith(".") and not (ROOT / source).exists():
                yield f"{name}: {source} is missing"
        for port in service.get("ports", []):
            if not port.startswith("127.0.0.1:"):
                yield f"{name}: port {port} is open to other machines"


def runbooks(_):
    """Every alert has severity, texts, a section in the runbooks, and a test that expects it to fire; no section is left over."""
    sections = {heading.lower() for heading in re.findall(r"^### (\S+)$", (ROOT / "docs" / "runbooks.md").read_text(), re.M)}
    tests = "".join(path.read_text() for path in (ROOT / "prometheus" / "tests").glob("*.yml"))
    alerts = {rule["alert"]: rule for rule in rules() if "alert" in rule}
    for name, rule in alerts.items():
        if rule["labels"].get("severity") not in ("critical", "warning", "info"):
            yield f"{name}: no severity"
        for wanted in ("summary", "description", "runbook_url"):
            if not rule["annotations"].get(wanted):
                yield f"{name}: no {wanted}"
        if rule["annotations"].get("runbook_url", "").split("#")[-1] not in sections:
            yield f"{name}: no section in docs/runbooks.md"
        if f'alertname="{name}", alertstate="firing"' not in tests:
            yield f"{name}: no test shows it firing"
    for section in sections - {name.lower() for name in alerts}:
        yield f"docs/runbooks.md: section {section} belongs to no alert"


def panels(dashboard):
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


VARIABLES = {"$__rate_interval": "5m", "$__range": "1h", "$__interval": "1m"}


def filled(query):
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    return re.sub(r"\$\{?(\w+)\}?", ".+", query)


def selectors(query):
    """(metric, matchers) of every selector."""
    return re.findall(r"\b([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^}]*)\}", query)


def dashboard_rules(arguments):
    """The rules of Grafana's dashboard-linter (https://github.com/grafana/dashboard-linter), and some of our own."""
    queries = {}
    for dashboard in dashboards():
        name = dashboard["title"]
        yield from (f"{name}: {problem}" for problem in variable_problems(dashboard))
        if dashboard["editable"]:
            yield f"{name}: uneditable-dashboard"
        ids = [panel["id"] for panel in dashboard["panels"]]
        if len(ids) != len(set(ids)):
            yield f"{name}: panel ids are not unique"
        for panel in panels(dashboard):
            where = f"{name} / {panel.get('title')}"
            yield from (f"{where}: {problem}" for problem in panel_problems(panel))
            for target in panel.get("targets", []):
                queries[f"{where} / {target['refId']}"] = target["expr"]
                yield from (f"{where} / {target['refId']}: {problem}" for problem in query_problems(target["expr"]))
    yield from unparsable(arguments[0], queries)
    yield from unknown_names({**queries, **{rule.get("alert") or rule["record"]: rule["expr"] for rule in rules()}})


def variable_problems(dashboard):
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    source = variables.get("datasource", {})
    if (source.get("type"), source.get("query"), source.get("label")) != ("datasource", "prometheus", "Data source"):
        yield "template-datasource-rule"
    for name in ("job", "instance"):
        variable = variables.get(name, {})
        if not (variable.get("type") == "query" and variable.get("multi") and variable.get("allValue") == ".+"
                and variable.get("label", "").lower() == name):
            yield f"template-{name}-rule"
    for variable in variables.values():
        if variable["type"] == "query":
            if variable["refresh"] != 2:
                yield f"template-on-time-change-reload-rule: {variable['name']}"
            if not re.fullmatch(r"(label_values|label_names|metrics|query_result)\(.+\)", variable["query"]):
                yield f"template-label-promql-rule: {variable['name']}"


def panel_problems(panel):
    if not panel.get("title") or not panel.get("description"):
        yield "panel-title-description-rule"
    if panel.get("datasource", {}).get("uid") != "${datasource}":
        yield "panel-datasource-rule"
    if not panel.get("targets"):
        yield "panel-no-targets-rule"
    if not panel["fieldConfig"]["defaults"].get("unit"):
        yield "panel-units-rule"


def query_problems(query):
    for metric, matchers in selectors(query):
        if metric == "ALERTS":
            continue
        if 'job=~"$job"' not in matchers:
            yield f"target-job-rule: {metric}"
        if 'instance=~"$instance"' not in matchers:
            yield f"target-instance-rule: {metric}"
    if re.search(r"\bi?rate\s*\([^()]*\[(?!\$__rate_interval\])", query):
        yield "target-rate-interval-rule"
    for call in re.finditer(r"(\w*)\s*\(?\s*\b\w+_total\{[^}]*\}(\[)?", query):
        if not call[2] or call[1] not in ("rate", "irate", "increase"):
            yield f"target-counter-agg-rule: {call[0]}"
    if "histogram_quantile" in query and "rate(" not in query:
        yield "target-histogram-rule"


def unparsable(promtool, queries):
    """target-promql-rule, by promtool itself."""
    made = [{"record": f"query:{number}", "expr": filled(query)} for number, query in enumerate(queries.values())]
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
        if row := re.match(r"\| `(\w+)` \| (\w+)[^|]* \| ([^|]*) \|", line):
            labels = {label for label in row[3].strip().split(", ") if label} | {"job", "instance"}
            names = [row[1] + suffix for suffix in ("_bucket", "_count", "_sum")] if row[2] == "histogram" else [row[1]]
            for name in names:
                families[name] = labels | ({"le"} if name.endswith("_bucket") else set())
    return families


def unknown_names(queries):
    """Only families and labels of the catalogue, and series that our own rules record."""
    families = catalogue()
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for where, query in queries.items():
        bare = re.sub(r'"(\\.|[^"])*"', '""', query)
        for name in re.findall(r"\b(?:cryptolens_\w+|\w+:\w+:\w+|process_\w+)", bare):
            if name not in families and name not in recorded and name not in FOREIGN_METRICS and f"{name}" not in \
                    {record.split(":")[0] for record in recorded}:
                yield f"{where}: no such metric: {name}"
        for metric, matchers in selectors(query):
            for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", re.sub(r'"(\\.|[^"])*"', '""', matchers)):
                if metric in families and label not in families[metric]:
                    yield f"{where}: {metric} has no label {label}"


def manifests(arguments):
    """Kubernetes' own schemas, and those of the monitoring kinds."""
    crds = {kind: json.loads((ROOT / "scripts" / "schemas" / f"{kind.lower()}.json").read_text())
            for kind in ("ServiceMonitor", "PrometheusRule")}
    documents = [(path, document) for path in pathlib.Path(arguments[0]).rglob("*.yaml")
                 for document in yaml.safe_load_all(path.read_text()) if document]
    if not documents:
        yield "nothing was rendered"
    for path, document in documents:
        where = f"{path.name}: {document['kind']} {document['metadata']['name']}"
        try:
            if document["kind"] in crds:
                jsonschema.validate(document, crds[document["kind"]])
            else:
                for version in (OLDEST_KUBERNETES, NEWEST_KUBERNETES):
                    kubernetes_validate.validate(document, version, strict=True)
        except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
            yield f"{where}: {error.message} at {list(error.path)}"
        if document["kind"] == "StatefulSet":
            yield from (f"{where}: {problem}" for problem in unrestricted(document["spec"]["template"]["spec"]))


def unrestricted(pod):
    """What the restricted Pod Security Standard would refuse."""
    security = pod["securityContext"]
    if not (security["runAsNonRoot"] and security["seccompProfile"]["type"] == "RuntimeDefault" and security["fsGroup"]):
        yield "the pod is not restricted"
    for container in pod["containers"]:
        own = container["securityContext"]
        if own["allowPrivilegeEscalation"] or own["capabilities"]["drop"] != ["ALL"] or not own["readOnlyRootFilesystem"]:
            yield f"container {container['name']} is not restricted"
    if pod["automountServiceAccountToken"]:
        yield "an API token is mounted"


def refusals(arguments):
    """Bad values end in a message that names them."""
    good = ["--set", "token.existingSecret=t"]
    cases = [(["--set", "demo=false"], "token.existingSecret is missing"),
             (good + ["--set", "image.tga=1"], "'tga' not allowed"), (good + ["--set", "nonsense=1"], "'nonsense' not allowed"),
             (good + ["--set", "service.port=0"], "/service/port"), (good + ["--set", "logs={web}"], "/logs/0"),
             (good + ["--set", "since=sometimes"], "/since"), (good + ["--set", "api.url=api.example"], "/api/url"),
             (good + ["--set", "log.level=loud"], "/log/level"), (good + ["--set", "config.token=secret"], "/config")]
    for values, wanted in cases:
        done = subprocess.run([arguments[0], "template", "x", str(CHART), *values], capture_output=True, text=True, check=False)
        if done.returncode == 0 or wanted not in done.stderr:
            yield f"{values}: wanted a message with {wanted!r}, got: {done.stderr or 'manifests'}"
    done = subprocess.run([arguments[0], "template", "x", str(CHART), *good, "--set", "global.a=1"], capture_output=True, check=False)
    if done.returncode:
        yield "global is refused"


def equal(arguments):
    """What the chart renders is what stands in prometheus/ and grafana/."""
    folder = pathlib.Path(arguments[0])
    documents = [document for path in folder.rglob("*.yaml") for document in yaml.safe_load_all(path.read_text()) if document]
    rendered = [document["spec"] for document in documents if document["kind"] == "PrometheusRule"]
    if rendered != [yaml.safe_load(RULES.read_text())]:
        yield "the rendered rules differ"
    maps = [json.loads(text) for document in documents if document["kind"] == "ConfigMap"
            for key, text in document["data"].items() if key.endswith(".json")]
    if sorted(maps, key=lambda made: made["uid"]) != sorted(dashboards(), key=lambda made: made["uid"]):
        yield "the rendered dashboards differ"


def main():
    checks = {"compose": compose, "runbooks": runbooks, "dashboards": dashboard_rules, "manifests": manifests,
              "refusals": refusals, "equal": equal}
    problems = list(checks[sys.argv[1]](sys.argv[2:]))
    for problem in problems:
        print(problem)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
