"""The checks of scripts/assets-check on the chart. Run by it, with the Python of scripts/tools and the path of helm.

What is rendered is read as strictly as the strictest of its readers does: Flux refuses a key that is there twice, server-side
apply (Argo CD) a list with the same name twice. scripts/cluster-check asks a real API server.
"""

import base64
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import jsonschema
import kubernetes_validate
import yaml

from queries import ROOT, RULES, dashboards

CHART = ROOT / "helm" / "cryptolens-exporter"
OLDEST_KUBERNETES, NEWEST_KUBERNETES = "1.25", "1.37"
MONITORING = ("ServiceMonitor", "PodMonitor", "PrometheusRule")
TOKEN = {"token": {"existingSecret": "cryptolens"}}


class Strict(yaml.SafeLoader):
    """YAML in which no map has a key twice."""


def strict_map(loader, node):
    keys = [loader.construct_object(key) for key, _ in node.value]
    for key in keys:
        if keys.count(key) > 1:
            raise yaml.YAMLError(f"the key {key} is there twice{node.start_mark}")
    return {key: loader.construct_object(value, deep=True) for key, (_, value) in zip(keys, node.value, strict=True)}


Strict.add_constructor("tag:yaml.org,2002:map", strict_map)


def read(text):
    return [document for document in yaml.load_all(text, Strict) if document]


def template(helm, values, *more):
    """Runs helm and returns its exit code, and its output or its complaint. `values` as a map, or as options of helm."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        options = values
        if isinstance(values, dict):
            yaml.safe_dump(values, file)
            file.flush()
            options = ["--values", file.name]
        done = subprocess.run(
            [helm, "template", "x", str(CHART), "--namespace", "licensing", *options, *more],
            capture_output=True,
            text=True,
            check=False,
        )
    return done.returncode, done.stdout if done.returncode == 0 else done.stderr


def rendered(helm, values, *more):
    code, said = template(helm, values, *more)
    if code:
        raise RuntimeError(said)
    return read(said)


def of_kind(documents, kind):
    return [document for document in documents if document["kind"] == kind]


# Each rendered set of values


def manifests(arguments):
    """Kubernetes' own schemas, those of the monitoring kinds, and what the strictest readers refuse."""
    crds = {
        kind: json.loads((ROOT / "scripts" / "schemas" / f"{kind.lower()}.json").read_text()) for kind in MONITORING
    }
    folder = pathlib.Path(arguments[0])
    documents = [(path, document) for path in folder.rglob("*.yaml") for document in read(path.read_text())]
    if not documents and folder.name != "off":
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
        if document["kind"] in ("StatefulSet", "Pod"):
            pod = document["spec"] if document["kind"] == "Pod" else document["spec"]["template"]["spec"]
            yield from (f"{where}: {problem}" for problem in [*unrestricted(pod), *unmergeable(pod)])


def inhibitions(rules):
    """The rules as compose/alertmanager.yml writes them: each matcher is one text."""

    def texts(matchers):
        return [f'{one["name"]}{one["matchType"]}"{one["value"]}"' for one in matchers]

    return [(texts(rule["sourceMatch"]), texts(rule["targetMatch"]), rule["equal"]) for rule in rules]


def inhibitions_of_compose():
    rules = yaml.safe_load((ROOT / "compose" / "alertmanager.yml").read_text())["inhibit_rules"]
    return [(rule["source_matchers"], rule["target_matchers"], rule["equal"]) for rule in rules]


def examples(_):
    """The manifests in the chart's README satisfy the schemas of their kinds, its values those of the chart, and its alerts
    inhibit each other as those of the compose file do."""
    seen = set()
    values_schema = json.loads((CHART / "values.schema.json").read_text())
    for text in re.findall(r"^```yaml\n(.*?)^```", (CHART / "README.md").read_text(), re.MULTILINE | re.DOTALL):
        for document in read(text):
            kind = document.get("kind", "values")
            seen.add(kind)
            path = ROOT / "scripts" / "schemas" / f"{kind.lower()}.json"
            try:
                if kind == "values":
                    # The token that a release needs is not in them.
                    jsonschema.validate({**TOKEN, **document}, values_schema)
                elif path.exists():
                    jsonschema.validate(document, json.loads(path.read_text()))
                else:
                    for version in (OLDEST_KUBERNETES, NEWEST_KUBERNETES):
                        kubernetes_validate.validate(document, version, strict=True)
            except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
                yield f"README, {kind}: {error.message} at {list(error.path)}"
            if (
                kind == "AlertmanagerConfig"
                and inhibitions(document["spec"]["inhibitRules"]) != inhibitions_of_compose()
            ):
                yield "README, AlertmanagerConfig: inhibits otherwise than compose/alertmanager.yml"
            if kind == "CronJob":
                pod = document["spec"]["jobTemplate"]["spec"]["template"]["spec"]
                yield from (f"README, {kind}: {problem}" for problem in [*unrestricted(pod), *unmergeable(pod)])
    for kind in {"values", "AlertmanagerConfig", "ExternalSecret", "CronJob", "VolumeSnapshot"} - seen:
        yield f"README: no example of {kind}"


def unrestricted(pod):
    """Lists what the restricted Pod Security Standard would refuse."""
    security = pod["securityContext"]
    if not (security["runAsNonRoot"] and security["seccompProfile"]["type"] == "RuntimeDefault"):
        yield "the pod is not restricted"
    if ("runAsUser" in security) != ("fsGroup" in security):
        yield "user and group of the volume do not go together"
    for container in pod["containers"] + pod.get("initContainers", []):
        own = container["securityContext"]
        if (
            own["allowPrivilegeEscalation"]
            or own["capabilities"]["drop"] != ["ALL"]
            or not own["readOnlyRootFilesystem"]
        ):
            yield f"container {container['name']} is not restricted"
    if pod["automountServiceAccountToken"]:
        yield "an API token is mounted"


def unmergeable(pod):
    """Lists that server-side apply merges by a key, with the same key twice or none, and lists that are null."""
    lists = [
        (pod, "volumes", "name"),
        (pod, "imagePullSecrets", "name"),
        (pod, "hostAliases", "ip"),
        (pod, "containers", "name"),
    ]
    for container in pod["containers"]:
        lists += [
            (container, "env", "name"),
            (container, "volumeMounts", "mountPath"),
            (container, "ports", "containerPort"),
        ]
        for port in container.get("ports", []):
            if "protocol" not in port:
                yield f"port {port['name']} has no protocol"
    for owner, name, key in lists:
        if name not in owner:
            continue
        if owner[name] is None:
            yield f"{name} is null"
            continue
        keys = [one[key] for one in owner[name]]
        if len(keys) != len(set(keys)):
            yield f"{name}: the same {key} twice in {keys}"


def equal(arguments):
    """By default the chart renders the files of prometheus/ and grafana/ as they are."""
    documents = [document for path in pathlib.Path(arguments[0]).rglob("*.yaml") for document in read(path.read_text())]
    if [document["spec"] for document in of_kind(documents, "PrometheusRule")] != [yaml.safe_load(RULES.read_text())]:
        yield "the rendered rules differ"
    maps = [
        json.loads(text)
        for document in of_kind(documents, "ConfigMap")
        for key, text in document["data"].items()
        if key.endswith(".json")
    ]
    if sorted(maps, key=lambda made: made["uid"]) != sorted(dashboards(), key=lambda made: made["uid"]):
        yield "the rendered dashboards differ"


# Values


def values(_):
    """Every value has a description, a default and a schema, and no schema is left over."""
    text = (CHART / "values.yaml").read_text()
    described = set(re.findall(r"^\| `([\w.]+)` \|", (CHART / "README.md").read_text(), re.MULTILINE))
    schema = json.loads((CHART / "values.schema.json").read_text())
    yield from unlike("", yaml.safe_load(text), schema, described)


# Maps of which the user decides the keys, or Kubernetes.
OPEN = {
    "dashboards.labels",
    "resources",
    "podSecurityContext",
    "securityContext",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
}


def unlike(path, default, schema, described):
    known = schema.get("properties", {})
    for key, value in default.items():
        name = f"{path}.{key}".strip(".")
        if key not in known:
            yield f"{name}: no schema"
        elif isinstance(value, dict) and value and name not in OPEN:
            if known[key].get("additionalProperties") is not False:
                yield f"{name}: the schema lets misspelled values pass"
            yield from unlike(name, value, known[key], described)
        elif name not in described:
            yield f"{name}: no description"
    for key in known.keys() - default.keys():
        yield f"{path}.{key}: a schema for a value that is not in values.yaml"


def refusals(arguments):
    """Bad values end in a message that names them; good ones of the same kind do not."""
    good = ["--set", "token.existingSecret=t"]

    def given(*pairs):
        return [part for pair in pairs for part in ("--set", pair)]

    target = "history.remoteWrite[0]"
    bad = [
        (given("demo=false"), "token.existingSecret is missing"),
        (good + given("image.tga=1"), "'tga' not allowed"),
        (good + given("nonsense=1"), "'nonsense' not allowed"),
        (good + given("service.port=0"), "/service/port"),
        (good + given("logs={web}"), "/logs/0"),
        (good + given("since=sometimes"), "/since"),
        (good + given("api.url=api.example"), "/api/url"),
        (good + given("log.level=loud"), "/log/level"),
        (good + given("config.token=secret"), "/config"),
        (good + given("serviceMonitor.enabled=true", "podMonitor.enabled=true"), "set one of them"),
        (good + given("token.value=secret"), "are two tokens"),
        (good + given("service.nodePort=30000"), "service.nodePort needs"),
        (good + given("extraEnv[0].name=CRYPTOLENS_TOKEN", "extraEnv[0].value=secret"), "are two tokens"),
        (good + given("commonLabels.app\\.kubernetes\\.io/name=x"), "/commonLabels"),
        (good + given("podLabels.app\\.kubernetes\\.io/instance=x"), "/podLabels"),
        (good + given("extraVolumes[0].name=ledger"), "/extraVolumes/0"),
        (good + given("config.api=x"), "/config/api"),
        (good + given("config.storage.path=ledger"), "begins with a slash"),
        (good + given("storage.foreignLedger=steal"), "/storage/foreignLedger"),
        (good + given("usage.active=perhaps"), "/usage/active"),
        (good + given("usage.secretFile=/x"), "'secretFile' not allowed"),
        (
            good + given("prometheusRule.enabled=true", "prometheusRule.disabled={CryptolensNonsense}"),
            'no alert "CryptolensNonsense"',
        ),
        (
            good + given("prometheusRule.enabled=true", "prometheusRule.for.CryptolensNonsense=1m"),
            'no alert "CryptolensNonsense"',
        ),
        (
            good
            + given("serviceMonitor.enabled=true", "serviceMonitor.interval=1m", "serviceMonitor.scrapeTimeout=1m1s"),
            "longer than the interval",
        ),
        (good + given("prometheusRule.budget=0"), "/prometheusRule/budget"),
        (good + given("otlp.endpoint=collector:4318"), "/otlp/endpoint"),
        (good + given("otlp.interval=999ms"), "/otlp/interval"),
        (good + given("otlp.timeout=0s"), "/otlp/timeout"),
        (good + given("otlp.compression=zstd"), "/otlp/compression"),
        (good + given("otlp.headers=secret"), "'headers' not allowed"),
        (good + given("otlp.resourceAttributes=production"), "/otlp/resourceAttributes"),
        (given("demo=true", "config.otlp.interval=soon"), "such as 15s"),
        (good + given("replicas=0"), "/replicas"),
        (good + given("replicas=2"), 'since is "now"'),
        (good + given("replicas=2", "since=30d"), 'since is "30d"'),
        (good + given("replicas=2", "since=all"), 'since is "all"'),
        (good + given("replicas=2", "since=2026-01-31", "extraArgs={--since=7d}"), 'since is "7d"'),
        (
            given("replicas=2", "since=2026-01-31", "config.accounts[0].token_env=A", "config.accounts[0].since=7d"),
            'since is "7d"',
        ),
        (good + given("replicas=2", "since=2026-01-31", "persistence.existingClaim=old"), "is one claim"),
        (given("demo=true", "replicas=2"), "each demo invents"),
        (good + given("history.remoteWrite[0].url=prometheus:9090"), "/history/remoteWrite/0/url"),
        (good + given("history.remoteWrite[0].name=a"), "'url'"),
        (good + given(f"{target}.url=http://a", f"{target}.basicAuth.username=u"), f"{target}.secret"),
        (good + given(f"{target}.url=http://a", f"{target}.password=u"), "'password' not allowed"),
        (good + given("history.labels=region"), "/history/labels"),
        (good + given("history.window=month"), "/history/window"),
        (given("demo=true", f"{target}.url=http://a", f"{target}.headers.a=b"), "the demo takes one database"),
        (given("demo=true", f"{target}.url=http://a", "history.remoteWrite[1].url=http://b"), "takes one database"),
    ]
    for options, wanted in bad:
        code, said = template(arguments[0], options)
        if code == 0 or wanted not in said:
            yield f"{options}: wanted a message with {wanted!r}, got: {said if code else 'manifests'}"
    accepted = [
        good + given("global.a=1"),
        good + given("enabled=true"),
        given("enabled=false"),
        [*good, "--set-json", 'extraArgs=["--poll.overlap", "5m", "--seed", 42]'],
        given("config.api.token_file=/run/token"),
        given("extraArgs={--api.token-file=/run/token}"),
        given("extraEnv[0].name=CRYPTOLENS_TOKEN", "extraEnv[0].valueFrom.secretKeyRef.name=t"),
        given("extraEnvFrom[0].secretRef.name=t"),
        [*good, "--set-json", 'config={"api": null}'],
        [*good, "--set-json", "livenessProbe=null"],
        [*good, "--set-json", "podSecurityContext=null", "--set", "openshift.adapt=enabled"],
        good + given("serviceMonitor.enabled=true", "serviceMonitor.interval=5s"),
        good + given("replicas=2", "since=2026-01-31"),
        good + given("replicas=2", "since=2026-01-31T08:00:00Z", "persistence.enabled=false"),
        given("replicas=2", "since=now", "extraArgs={--since,2026-01-31,--api.token-file=/run/token}"),
        given("demo=true", f"{target}.url=http://a:9090/api/v1/write", f"{target}.name=a"),
        good + given("otlp.interval=1000ms", "otlp.endpoint=http://[::1]:4318/"),
    ]
    for options in accepted:
        code, said = template(arguments[0], options)
        if code:
            yield f"{options}: refused: {said}"
    if rendered(arguments[0], given("enabled=false", "serviceMonitor.enabled=true", "dashboards.enabled=true")):
        yield "enabled=false makes something"


def policies(arguments):
    """The network policy lets out DNS and the port of the API, or that of the proxy instead, and nothing at all for the demo."""
    proxy = {"name": "HTTPS_PROXY", "value": "http://proxy.example:8888"}
    cases = [
        ({}, [53, 443]),
        ({"api": {"url": "http://license-server.example:8080/api"}}, [53, 8080]),
        ({"config": {"api": {"url": "https://license-server.example:8443/api"}}}, [53, 8443]),
        ({"extraArgs": ["--api.url=http://a.example/api", "--api.url", "http://b.example:81/api"]}, [53, 81]),
        ({"proxy": {"url": "http://proxy.example:3128"}}, [53, 3128]),
        ({"extraEnv": [proxy]}, [53, 8888]),
        ({"openshift": {"adapt": "enabled"}}, [53, 443, 5353]),
        ({"demo": True}, [53]),
        ({"otlp": {"endpoint": "http://collector:4318"}}, [53, 443, 4318]),
        ({"otlp": {"endpoint": "https://collector"}, "proxy": {"url": "http://proxy:3128"}}, [53, 443, 3128]),
        ({"demo": True, "otlp": {"endpoint": "http://collector:4318"}}, [53, 4318]),
        ({"otlp": {"endpoint": "http://a:1"}, "config": {"otlp": {"endpoint": "http://b:2"}}}, [2, 53, 443]),
        (
            {
                "otlp": {"endpoint": "http://a:1"},
                "extraEnv": [
                    {"name": "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "value": "http://c:3/push"},
                    {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://b:2"},
                ],
            },
            [3, 53, 443],
        ),
        ({"otlp": {"endpoint": "http://a:1"}, "extraArgs": ["--otlp.endpoint=http://d:4"]}, [4, 53, 443]),
        ({"history": {"remoteWrite": [{"url": "http://a:1/w"}, {"url": "http://b:1/w"}]}}, [1, 53, 443]),
        ({"history": {"remoteWrite": [{"url": "http://a/w"}]}, "demo": True}, [53, 80]),
        ({"config": {"history": {"remote_write": [{"url": "http://b:2/w"}]}}}, [2, 53, 443]),
        (
            {
                "history": {"remoteWrite": [{"url": "http://a:1/w"}]},
                "extraArgs": ["--history.remote-write.url=http://c:3/w"],
            },
            [3, 53, 443],
        ),
    ]
    for given, wanted in cases:
        (policy,) = of_kind(rendered(arguments[0], {**TOKEN, **given}), "NetworkPolicy")
        out = sorted({port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]})
        if out != wanted:
            yield f"{given}: lets out {out}, not {wanted}"
        if [port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]] != ["http"]:
            yield f"{given}: lets in more than the scrape"
    peers = [{"ipBlock": {"cidr": "192.0.2.7/32"}}]
    given = {"otlp": {"endpoint": "http://collector:4318"}, "networkPolicy": {"otlpTo": peers}}
    (policy,) = of_kind(rendered(arguments[0], {**TOKEN, **given}), "NetworkPolicy")
    if [rule.get("to") for rule in policy["spec"]["egress"]] != [None, None, peers]:
        yield f"{given}: lets out to {policy['spec']['egress']}"


def settings(arguments):
    """Values reach the exporter: in the file where they differ from its defaults, unless `config` says otherwise."""
    mount = "/var/lib/cryptolens-exporter"
    file = {"api": {"token_file": "/etc/cryptolens-exporter/tokens/token"}, "storage": {"path": mount}}
    accounts = [{"name": "shop", "token_file": "/etc/cryptolens-exporter/tokens/shop"}]
    cases = [
        ({}, file),
        (
            {
                "since": "now",
                "logs": ["objects", "events", "web_api"],
                "log": {"level": "info"},
                "storage": {"foreignLedger": "refuse"},
            },
            file,
        ),
        ({"since": "30d", "logs": ["events"]}, {**file, "since": "30d", "logs": ["events"]}),
        (
            {"since": "30d", "logs": ["events"], "config": {"accounts": accounts}},
            {"storage": {"path": mount}, "accounts": accounts, "since": "30d", "logs": ["events"]},
        ),
        (
            {"since": "30d", "logs": ["events"], "config": {"since": "all", "logs": "web_api,objects"}},
            {**file, "since": "all", "logs": "web_api,objects"},
        ),
        (
            {
                "api": {"url": "http://a.example/api"},
                "config": {"api": {"url": "http://b.example/api", "timeout": "1m"}},
            },
            {**file, "api": {**file["api"], "url": "http://b.example/api", "timeout": "1m"}},
        ),
        (
            {"api": {"url": "http://a.example/api"}, "config": {"api": None}},
            {**file, "api": {**file["api"], "url": "http://a.example/api"}},
        ),
        (
            {"log": {"level": "debug", "format": "json"}, "config": {"log": {"format": "logfmt"}}},
            {**file, "log": {"level": "debug", "format": "logfmt"}},
        ),
        ({"usage": {"active": False, "seats": False}}, file),
        (
            {"usage": {"active": True, "seats": True, "secret": "hashes", "secretKey": "usage"}},
            {
                **file,
                "usage": {"active": True, "seats": True, "secret_file": "/etc/cryptolens-exporter/usage/usage"},
            },
        ),
        (
            {"usage": {"active": True}, "config": {"usage": {"active": False, "ignore_keys_file": "/keys"}}},
            {**file, "usage": {"active": False, "ignore_keys_file": "/keys"}},
        ),
        ({"storage": {"foreignLedger": "adopt"}}, {**file, "storage": {"path": mount, "foreign_ledger": "adopt"}}),
        (
            {
                "otlp": {
                    "endpoint": "",
                    "interval": "60s",
                    "timeout": "10s",
                    "pushTimeout": "30s",
                    "compression": "gzip",
                    "serviceName": "cryptolens-exporter",
                    "headersSecret": "collector",
                }
            },
            file,
        ),
        (
            {
                "otlp": {
                    "endpoint": "http://a:4318",
                    "interval": "15s",
                    "pushTimeout": "10s",
                    "compression": "none",
                    "caSecret": "ca",
                    "clientCertificateSecret": "client",
                    "resourceAttributes": "a=b",
                },
                "config": {"otlp": {"interval": "30s", "headers": "a=b"}},
            },
            {
                **file,
                "otlp": {
                    "endpoint": "http://a:4318",
                    "interval": "30s",
                    "push_timeout": "10s",
                    "compression": "none",
                    "ca_file": "/etc/cryptolens-exporter/otlp-ca/ca.crt",
                    "cert_file": "/etc/cryptolens-exporter/otlp-client/tls.crt",
                    "key_file": "/etc/cryptolens-exporter/otlp-client/tls.key",
                    "resource_attributes": "a=b",
                    "headers": "a=b",
                },
            },
        ),
        (
            {
                "history": {
                    "remoteWrite": [
                        {"url": "http://a/w"},
                        {
                            "url": "https://b/w",
                            "name": "b",
                            "timeout": "10s",
                            "headers": {"X-Scope-OrgID": "1"},
                            "secret": "b",
                            "basicAuth": {"username": "u"},
                            "tlsConfig": {"caKey": "ca.crt", "insecureSkipVerify": True},
                        },
                        {"url": "https://c/w", "secret": "c", "authorization": {"credentialsKey": "k"}},
                    ],
                    "window": "45d",
                    "labels": "job=mine,cluster=eu",
                    "outboxLimit": 20000000,
                }
            },
            {
                **file,
                "history": {
                    "remote_write": [
                        {"url": "http://a/w"},
                        {
                            "url": "https://b/w",
                            "name": "b",
                            "remote_timeout": "10s",
                            "headers": {"X-Scope-OrgID": "1"},
                            "basic_auth": {
                                "username": "u",
                                "password_file": "/etc/cryptolens-exporter/history-1/password",
                            },
                            "tls_config": {
                                "ca_file": "/etc/cryptolens-exporter/history-1/ca.crt",
                                "insecure_skip_verify": True,
                            },
                        },
                        {
                            "url": "https://c/w",
                            "authorization": {"credentials_file": "/etc/cryptolens-exporter/history-2/k"},
                        },
                    ],
                    "window": "45d",
                    "labels": "namespace=licensing,job=mine,cluster=eu",
                    "outbox_limit": 20000000,
                },
            },
        ),
        (
            {
                "history": {"remoteWrite": [{"url": "http://a/w"}]},
                "config": {"history": {"remote_write": [{"url": "http://b/w"}], "labels": "namespace=other"}},
            },
            {**file, "history": {"remote_write": [{"url": "http://b/w"}], "labels": "namespace=other"}},
        ),
        # A product's number is not 1.2345678e+07, and a date stays a text.
        (
            {
                "config": {
                    "accounts": [{**accounts[0], "products": [{"id": 12345678, "name": "Editor"}]}],
                    "since": "2026-01-31",
                }
            },
            {
                "storage": {"path": mount},
                "since": "2026-01-31",
                "accounts": [{**accounts[0], "products": [{"id": 12345678, "name": "Editor"}]}],
            },
        ),
    ]
    for given, wanted in cases:
        documents = rendered(arguments[0], {**TOKEN, **given})
        config = yaml.safe_load(of_kind(documents, "ConfigMap")[0]["data"]["config.yml"])
        if config != wanted:
            yield f"{given}: the file is {config}, not {wanted}"
        container = of_kind(documents, "StatefulSet")[0]["spec"]["template"]["spec"]["containers"][0]
        if container["args"] != ["serve", "--config.file=/etc/cryptolens-exporter/config.yml"]:
            yield f"{given}: the arguments are {container['args']}"
    yield from places(arguments[0], mount)
    yield from pushes(arguments[0])
    yield from histories(arguments[0])
    (demo,) = of_kind(
        rendered(
            arguments[0],
            {
                "demo": True,
                "log": {"level": "debug"},
                "extraArgs": ["--seed", 7],
                "config": {"poll": {"interval": "5s"}, "web": {"listen_address": ":9000"}, "since": "30d"},
            },
        ),
        "StatefulSet",
    )
    args = demo["spec"]["template"]["spec"]["containers"][0]["args"]
    wanted = [
        "demo",
        f"--storage.path={mount}",
        "--poll.interval=5s",
        "--web.listen-address=:9000",
        "--log.level=debug",
        "--seed",
        "7",
    ]
    if args != wanted:
        yield f"the demo's arguments are {args}, not {wanted}"
    (secret,) = of_kind(rendered(arguments[0], {"token": {"value": "invented", "key": "k"}}), "Secret")
    if base64.b64decode(secret["data"]["k"]) != b"invented":
        yield "token.value makes no Secret of it"


def pushes(helm):
    """Headers of the push come from their Secret, files are mounted, and the demo, which has no file, gets variables."""
    push = {
        "endpoint": "http://collector:4318",
        "headersSecret": "collector",
        "interval": "1m30s",
        "timeout": "500ms",
        "caSecret": "ca",
        "serviceName": "licensing",
    }
    secret = {"secretKeyRef": {"name": "collector", "key": "headers"}}
    headers = {"name": "OTEL_EXPORTER_OTLP_HEADERS", "valueFrom": secret}
    of_demo = [
        {"name": "OTEL_EXPORTER_OTLP_TIMEOUT", "value": "500"},
        {"name": "OTEL_EXPORTER_OTLP_CERTIFICATE", "value": "/etc/cryptolens-exporter/otlp-ca/ca.crt"},
        {"name": "OTEL_METRIC_EXPORT_INTERVAL", "value": "90000"},
        {"name": "OTEL_SERVICE_NAME", "value": "licensing"},
    ]
    for given, wanted in ((TOKEN, [headers]), ({"demo": True}, [*of_demo, headers])):
        (made,) = of_kind(rendered(helm, {**given, "otlp": push}), "StatefulSet")
        pod = made["spec"]["template"]["spec"]
        container = pod["containers"][0]
        env = [one for one in container.get("env", []) if one["name"].startswith("OTEL_")]
        if env != wanted:
            yield f"{given}: variables of the push are {env}, not {wanted}"
        if given != TOKEN and "--otlp.endpoint=http://collector:4318" not in container["args"]:
            yield f"{given}: the arguments are {container['args']}"
        if "/etc/cryptolens-exporter/otlp-ca" not in [one["mountPath"] for one in container["volumeMounts"]]:
            yield f"{given}: otlp.caSecret is not mounted: {container['volumeMounts']}"
        if "ca" not in [volume.get("secret", {}).get("secretName") for volume in pod["volumes"]]:
            yield f"{given}: otlp.caSecret is no volume: {pod['volumes']}"


def histories(helm):
    """Secrets of the databases are mounted where the file looks for them; the demo has flags; replicas have a claim each."""
    target = {"url": "http://a/w", "secret": "mimir", "basicAuth": {"username": "u"}}
    given = {**TOKEN, "since": "2026-01-31", "replicas": 2, "history": {"remoteWrite": [{"url": "http://b/w"}, target]}}
    (made,) = of_kind(rendered(helm, given), "StatefulSet")
    pod = made["spec"]["template"]["spec"]
    secrets = {volume["name"]: volume.get("secret", {}).get("secretName") for volume in pod["volumes"]}
    mounts = {one["name"]: one["mountPath"] for one in pod["containers"][0]["volumeMounts"]}
    if secrets.get("history-1") != "mimir" or mounts.get("history-1") != "/etc/cryptolens-exporter/history-1":
        yield f"the Secret of a database is not mounted: {secrets}, {mounts}"
    if "history-0" in secrets:
        yield f"a volume without a Secret: {secrets}"
    if made["spec"]["replicas"] != 2 or len(made["spec"].get("volumeClaimTemplates", [])) != 1:
        yield f"two replicas: {made['spec']['replicas']}, claims {made['spec'].get('volumeClaimTemplates')}"
    history = {"remoteWrite": [{"url": "http://a/w", "name": "a"}], "window": "40d"}
    (made,) = of_kind(rendered(helm, {"demo": True, "history": history}), "StatefulSet")
    args = made["spec"]["template"]["spec"]["containers"][0]["args"]
    wanted = {
        "--history.remote-write.url=http://a/w",
        "--history.window=40d",
        "--history.labels=namespace=licensing,job=cryptolens-exporter",
    }
    if not wanted <= set(args):
        yield f"the demo's arguments are {args}"


def places(helm, mount):
    """Mount, port, path and variables follow whatever decides them in the end."""
    cases = [
        ({}, mount, 10460, "/metrics"),
        (
            {"config": {"storage": {"path": "/data"}, "web": {"listen_address": "[::]:9000", "telemetry_path": "/m"}}},
            "/data",
            9000,
            "/m",
        ),
        (
            {
                "extraArgs": ["--storage.path=/data", "--web.listen-address", ":9000", "--web.telemetry-path=/m"],
                "config": {"web": {"listen_address": ":1"}},
            },
            "/data",
            9000,
            "/m",
        ),
        (
            {
                "extraEnv": [{"name": "CRYPTOLENS_WEB_LISTEN_ADDRESS", "value": ":9000"}],
                "config": {"web": {"listen_address": ":1"}},
            },
            mount,
            9000,
            "/metrics",
        ),
    ]
    for given, path, port, metrics in cases:
        documents = rendered(helm, {**TOKEN, **given, "serviceMonitor": {"enabled": True}})
        container = of_kind(documents, "StatefulSet")[0]["spec"]["template"]["spec"]["containers"][0]
        endpoint = of_kind(documents, "ServiceMonitor")[0]["spec"]["endpoints"][0]
        found = (container["volumeMounts"][0]["mountPath"], container["ports"][0]["containerPort"], endpoint["path"])
        if found != (path, port, metrics):
            yield f"{given}: mounted, served and scraped at {found}, not {(path, port, metrics)}"
        env = {one["name"]: one["value"] for one in container["env"]}
        if (given.get("config", {}).get("storage") is not None) != (env.get("CRYPTOLENS_STORAGE_PATH") == ""):
            yield f"{given}: the variable of the image is {env.get('CRYPTOLENS_STORAGE_PATH')!r}"
    env = [{"name": "HTTPS_PROXY", "value": "http://mine:1"}, {"name": "A", "value": "1"}, {"name": "A", "value": "2"}]
    given = {**TOKEN, "proxy": {"url": "http://chart:1"}, "extraEnv": env}
    container = of_kind(rendered(helm, given), "StatefulSet")[0]["spec"]["template"]["spec"]["containers"][0]
    if container["env"][1:] != [env[0], env[2]]:
        yield f"the last of a variable does not win: {container['env']}"
    given = {**TOKEN, "proxy": {"url": "http://chart:1"}, "api": {"url": "http://plain.example/api"}}
    container = of_kind(rendered(helm, given), "StatefulSet")[0]["spec"]["template"]["spec"]["containers"][0]
    if container["env"][1:] != [{"name": "HTTP_PROXY", "value": "http://chart:1"}]:
        yield f"an API without TLS has no proxy: {container['env']}"
    images = [
        ({"image": {"repository": "mine.example/exporter"}}, "mine.example/exporter:0.1.0"),
        ({"image": {"registry": "mine.example"}}, "mine.example/cryptolens-exporter/cryptolens-exporter:0.1.0"),
        (
            {"image": {"registry": "mine.example"}, "global": {"imageRegistry": "all.example:5000/mirror/"}},
            "all.example:5000/mirror/cryptolens-exporter/cryptolens-exporter:0.1.0",
        ),
        ({"image": {"registry": "quay.io", "repository": "mine/exporter", "tag": "1"}}, "quay.io/mine/exporter:1"),
    ]
    for given, wanted in images:
        container = of_kind(rendered(helm, {**TOKEN, **given}), "StatefulSet")[0]["spec"]["template"]["spec"][
            "containers"
        ][0]
        if container["image"] != wanted:
            yield f"{given}: {container['image']}, not {wanted}"
    mine = {
        "extraVolumes": [{"name": "disk", "hostPath": {"path": "/disk"}}],
        "extraVolumeMounts": [{"name": "disk", "mountPath": f"{mount}/"}],
    }
    container = of_kind(rendered(helm, {**TOKEN, **mine}), "StatefulSet")[0]["spec"]["template"]["spec"]["containers"][
        0
    ]
    if [one["name"] for one in container["volumeMounts"]] != ["config", "tokens", "disk"]:
        yield f"a mount of the user at the ledger's place: {container['volumeMounts']}"
    for options, wanted in (([], True), (["--api-versions", "security.openshift.io/v1"], False)):
        pod = of_kind(rendered(helm, TOKEN, *options), "StatefulSet")[0]["spec"]["template"]["spec"]
        if any(name in pod["securityContext"] for name in ("runAsUser", "runAsGroup", "fsGroup")) != wanted:
            yield f"{options}: ids that OpenShift refuses, or none elsewhere: {pod['securityContext']}"


def dependency(arguments):
    """As a dependency of another chart: switched by its condition, and with what is global there."""
    with tempfile.TemporaryDirectory() as folder:
        parent = pathlib.Path(folder)
        (parent / "charts").mkdir()
        (parent / "charts" / CHART.name).symlink_to(CHART)
        (parent / "Chart.yaml").write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v2",
                    "name": "parent",
                    "version": "1.0.0",
                    "dependencies": [{"name": CHART.name, "version": "*", "condition": f"{CHART.name}.enabled"}],
                }
            )
        )
        for own, count in (({"enabled": False}, 0), ({"enabled": True, **TOKEN}, 1), (TOKEN, 1)):
            (parent / "values.yaml").write_text(
                yaml.safe_dump(
                    {
                        "global": {"imageRegistry": "all.example", "imagePullSecrets": ["shared"], "other": 1},
                        CHART.name: own,
                    }
                )
            )
            done = subprocess.run([arguments[0], "template", "x", folder], capture_output=True, text=True, check=False)
            if done.returncode:
                yield f"{own}: {done.stderr}"
                continue
            made = of_kind(read(done.stdout), "StatefulSet")
            if len(made) != count:
                yield f"{own}: {len(made)} StatefulSets"
            for document in made:
                pod = document["spec"]["template"]["spec"]
                if not pod["containers"][0]["image"].startswith("all.example/") or pod["imagePullSecrets"] != [
                    {"name": "shared"}
                ]:
                    yield f"{own}: global values are not used"


def monitors(arguments):
    """Targets are named by pod and job, and selected by the labels that were asked for."""
    for kind, key, endpoints in (
        ("ServiceMonitor", "serviceMonitor", "endpoints"),
        ("PodMonitor", "podMonitor", "podMetricsEndpoints"),
    ):
        given = {
            "enabled": True,
            "labels": {"release": "a"},
            "additionalLabels": {"release": "b"},
            "relabelings": [{"targetLabel": "job", "replacement": "c"}],
        }
        (monitor,) = of_kind(rendered(arguments[0], {**TOKEN, "commonLabels": {"release": "z"}, key: given}), kind)
        relabelings = monitor["spec"][endpoints][0]["relabelings"]
        wanted = [
            {"targetLabel": "job", "replacement": "cryptolens-exporter"},
            {"targetLabel": "instance", "sourceLabels": ["__meta_kubernetes_pod_name"]},
            given["relabelings"][0],
        ]
        if relabelings != wanted:
            yield f"{kind}: relabelled by {relabelings}"
        if monitor["metadata"]["labels"]["release"] != "b":
            yield f"{kind}: {monitor['metadata']['labels']}"
        (monitor,) = of_kind(rendered(arguments[0], {**TOKEN, key: {"enabled": True, "job": ""}}), kind)
        if any(one["targetLabel"] == "job" for one in monitor["spec"][endpoints][0]["relabelings"]):
            yield f"{kind}: job is hard-wired"


def rules(arguments):
    """prometheusRule's values and scripts/rules change the same, and the outcome is good for promtool, where there is one."""
    known = yaml.safe_load((CHART / "tunables.yaml").read_text())
    whole = yaml.safe_load(RULES.read_text())
    made = [rule for group in whole["groups"] for rule in group["rules"]]
    alerts = sorted({rule["alert"] for rule in made if "alert" in rule})
    # Each number that is tunable has a record of its own in this group, and the group has nothing else.
    numbers = {
        rule["record"]: rule["expr"]
        for group in whole["groups"]
        if group["name"].endswith(".budget")
        for rule in group["rules"]
    }
    tunables = {tunable["record"]: tunable for tunable in known["tunables"]}
    for record, expression in numbers.items():
        tunable = tunables.get(record, {"text": "?", "default": "?"})
        if expression.count(tunable["text"]) != 1 or tunable["default"] not in tunable["text"]:
            yield f"tunables.yaml: {tunable['text']!r} is not once in {record}"
    has_floors = len(numbers) > 1
    if has_floors:
        yield from (f"tunables.yaml: no such record: {record}" for record in tunables.keys() - numbers.keys())
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())["prometheusRule"]
    for tunable in known["tunables"]:
        value = defaults
        for part in tunable["value"].split("."):
            value = value[part]
        if float(tunable["default"]) != value:
            yield f"{tunable['value']}: the chart's default is {value}, that of the rules {tunable['default']}"
    has_links = any(
        rule.get("annotations", {}).get("dashboard_url", "").startswith(known["dashboards"]) for rule in made
    )
    changes = {
        "budget": 0.02,
        "floors": {"failures": 7, "share": 0.1, "refusals": 70, "silence": 17},
        "for": {alerts[0]: "42m"},
        "severities": {alerts[1]: "page"},
        "disabled": alerts[2:4],
        "alertLabels": {"team": "licensing"},
        "extraRules": [{"alert": "Mine", "expr": "up == 0"}],
        "runbookUrl": "https://wiki.example/r",
        "dashboardUrl": "https://g.example/x/",
    }
    flags = [
        "--budget=0.02",
        "--floor=failures=7",
        "--floor=share=0.1",
        "--floor=refusals=70",
        "--floor=silence=17",
        f"--for={alerts[0]}=42m",
        f"--severity={alerts[1]}=page",
        f"--disable={alerts[2]}",
        f"--disable={alerts[3]}",
        "--label=team=licensing",
        "--runbook-url=https://wiki.example/r",
        "--dashboard-url=https://g.example/x/",
    ]
    cases = [
        ({}, []),
        *(({key: value}, None) for key, value in changes.items()),
        ({key: value for key, value in changes.items() if key != "extraRules"}, flags),
        (changes, None),
    ]
    for number, (given, options) in enumerate(cases):
        (release,) = of_kind(
            rendered(arguments[0], {**TOKEN, "prometheusRule": {"enabled": True, **given}}), "PrometheusRule"
        )
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump({"prometheusRule": given}, file)
            file.flush()
            command = [
                sys.executable,
                str(ROOT / "scripts" / "rules"),
                *([f"--values={file.name}"] if options is None else options),
            ]
            written = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        if yaml.safe_load(written) != release["spec"]:
            yield f"{given}: the chart and scripts/rules differ"
        idle = (
            not number
            or (list(given) == ["floors"] and not has_floors)
            or (list(given) == ["dashboardUrl"] and not has_links)
        )
        if idle != (release["spec"] == whole):
            yield f"{given}: {'something' if idle else 'nothing'} is changed"
        if len(arguments) > 1:
            with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
                file.write(written)
                file.flush()
                done = subprocess.run(
                    [arguments[1], "check", "rules", file.name], capture_output=True, text=True, check=False
                )
                if done.returncode:
                    yield f"{given}: {done.stdout}{done.stderr}"
        if given == changes:
            wanted = [
                "0.02",
                "for: 42m",
                "severity: page",
                "team: licensing",
                "alert: Mine",
                "https://wiki.example/r#",
                *(["vector(7)", "vector(0.1)", "vector(70)", "vector(17)"] if has_floors else []),
                *(["https://g.example/x/d/"] if has_links else []),
            ]
            yield from (f"{given}: {text} is missing" for text in wanted if text not in written)
            yield from (f"{alert} is still there" for alert in changes["disabled"] if f"alert: {alert}\n" in written)


def notes(arguments):
    """NOTES say what is so: since when, by which label, and which values do nothing."""
    cases = [
        (
            {
                "since": "30d",
                "config": {
                    "accounts": [{"name": "shop", "token_env": "A"}, {"name": "club", "token_env": "B", "since": "7d"}]
                },
            },
            ["counts from 30d on", "club from 7d on"],
            [],
        ),
        ({**TOKEN, "since": "30d", "config": {"since": "all"}}, ["counts from all on", "since: config.since wins"], []),
        ({**TOKEN, "extraArgs": ["--since=3d"]}, ["counts from 3d on", "'--since=3d'"], ["do nothing"]),
        (
            {
                **TOKEN,
                "serviceMonitor": {"enabled": True},
                "prometheusRule": {"enabled": True, "labels": {"release": "stack"}},
            },
            ["serviceMonitor: has no label", "prometheusRule: has the label release=stack", "one release brings them"],
            ["does not know of it yet"],
        ),
        ({**TOKEN, "podMonitor": {"enabled": True}}, ["podMonitor: has no label"], ["does not know of it yet"]),
        ({**TOKEN, "prometheusRule": {"enabled": True, "budget": 0.02}}, ["WARNING: with two budgets"], []),
        (
            {**TOKEN, "demo": True, "since": "30d", "config": {"states": {"2021": "x"}}},
            ["shows simulated traffic", "since: the demo", "config.states: the demo", "token: the demo"],
            [" check "],
        ),
        (
            {**TOKEN, "persistence": {"enabled": False, "existingClaim": "old"}},
            ["persistence.existingClaim: persistence.enabled is false"],
            [],
        ),
        ({**TOKEN, "config": {"web": {"listen_address": "localhost:9000"}}}, ["neither Kubernetes' probes"], []),
        (
            {**TOKEN, "service": {"port": 80}, "namespaceOverride": "other"},
            ["--namespace other port-forward service/x-cryptolens-exporter 10460:80"],
            [],
        ),
        (
            {**TOKEN, "otlp": {"endpoint": "http://collector:4318"}},
            ["also pushed to http://collector:4318"],
            ["do nothing"],
        ),
        (
            {**TOKEN, "otlp": {"interval": "15s", "headersSecret": "collector"}, "networkPolicy": {"otlpTo": [{}]}},
            [
                "otlp.interval: nothing is pushed",
                "otlp.headersSecret: nothing is pushed",
                "networkPolicy.otlpTo: nothing is pushed",
            ],
            ["also pushed"],
        ),
        (
            {
                **TOKEN,
                "otlp": {"endpoint": "http://a:1", "pushTimeout": "5s", "headersSecret": "collector"},
                "config": {"otlp": {"push_timeout": "6s", "endpoint": "http://b:2", "headers": "a=b"}},
            },
            [
                "also pushed to http://b:2",
                "otlp.endpoint: config.otlp.endpoint wins",
                "otlp.pushTimeout: config.otlp.push_timeout wins",
                "config.otlp.headers: otlp.headersSecret wins",
            ],
            [],
        ),
        (
            {
                **TOKEN,
                "since": "2026-01-31",
                "replicas": 2,
                "history": {"remoteWrite": [{"url": "http://a/w"}, {"url": "http://b/w"}]},
            },
            ["written to http://a/w and http://b/w", "2 replicas count the same rows"],
            ["do nothing"],
        ),
        (
            {**TOKEN, "history": {"window": "40d", "otlp": True}, "networkPolicy": {"historyTo": [{}]}},
            ["history.otlp: nothing is pushed", "networkPolicy.historyTo: no history is written"],
            ["is written to", "replicas count"],
        ),
        (
            {**TOKEN, "history": {"labels": "a=b"}},
            ["history.labels: no history is written"],
            ["is written to"],
        ),
        (
            {
                **TOKEN,
                "history": {"remoteWrite": [{"url": "http://a/w"}], "window": "40d"},
                "config": {"history": {"remote_write": [{"url": "http://b/w"}], "window": "50d"}},
            },
            ["written to http://b/w", "history.remoteWrite: config", "history.window: config.history.window wins"],
            [],
        ),
        ({"enabled": False}, ["Nothing was made"], ["port-forward"]),
    ]
    for given, wanted, unwanted in cases:
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump(given, file)
            file.flush()
            done = subprocess.run(
                [arguments[0], "install", "x", str(CHART), "--dry-run=client", "--values", file.name],
                capture_output=True,
                text=True,
                check=False,
            )
        said = done.stdout.partition("NOTES:")[2] or done.stderr
        yield from (f"{given}: NOTES do not say {text!r}: {said}" for text in wanted if text not in said)
        yield from (f"{given}: NOTES say {text!r}" for text in unwanted if text in said)


def main():
    checks = {
        "manifests": manifests,
        "examples": examples,
        "refusals": refusals,
        "policies": policies,
        "equal": equal,
        "values": values,
        "settings": settings,
        "dependency": dependency,
        "monitors": monitors,
        "rules": rules,
        "notes": notes,
    }
    problems = list(checks[sys.argv[1]](sys.argv[2:]))
    for problem in problems:
        print(problem)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
