"""The checks of scripts/cluster-check, which brings its programs: helm, etcd, kube-apiserver, and the CRDs of the operator.

There is no controller and no node: nothing runs. What is proven is that the API server takes every object, as helm sends it,
as another manager applies it, and as the StatefulSet would make its pod.
"""

import json
import os
import pathlib
import re
import secrets
import ssl
import subprocess
import sys
import urllib.error
import urllib.request

import yaml

from chart_check import CHART, rendered
from running import Failure, Process, free_port, wait_for

GROUPS = {
    "v1": "api/v1",
    "apps/v1": "apis/apps/v1",
    "batch/v1": "apis/batch/v1",
    "networking.k8s.io/v1": "apis/networking.k8s.io/v1",
    "monitoring.coreos.com/v1": "apis/monitoring.coreos.com/v1",
    "monitoring.coreos.com/v1alpha1": "apis/monitoring.coreos.com/v1alpha1",
}
PLURALS = {"NetworkPolicy": "networkpolicies"}
RELEASE = "release"


class Cluster:
    """An API server, and helm that talks to it."""

    def __init__(self, helm, port, token, scratch):
        self.helm, self.url, self.token = helm, f"https://127.0.0.1:{port}", token
        # The server makes its own certificate, and is on this machine.
        self.tls = ssl._create_unverified_context()  # noqa: SLF001
        self.kubeconfig = scratch / "kubeconfig"
        self.kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "check",
                    "clusters": [{"name": "check", "cluster": {"server": self.url, "insecure-skip-tls-verify": True}}],
                    "users": [{"name": "check", "user": {"token": token}}],
                    "contexts": [{"name": "check", "context": {"cluster": "check", "user": "check"}}],
                }
            )
        )
        self.environment = {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig),
            "HOME": str(scratch),
            "HELM_CACHE_HOME": str(scratch),
            "NO_PROXY": "127.0.0.1",
        }

    def ask(self, path, method="GET", body=None, kind="application/json"):
        """Status and answer. `body` as a map or, where `kind` says so, as text."""
        data = None if body is None else (body if isinstance(body, str) else json.dumps(body)).encode()
        request = urllib.request.Request(
            f"{self.url}/{path}",
            method=method,
            data=data,
            headers={"authorization": f"Bearer {self.token}", "content-type": kind},
        )
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self.tls)
        )
        try:
            with opener.open(request, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def make(self, path, body, kind="application/json"):
        status, said = self.ask(path, "POST", body, kind)
        if status not in (201, 409):
            raise Failure(f"{path}: {said}")

    def namespace(self, name, **labels):
        self.make("api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})

    def run(self, *arguments):
        done = subprocess.run(
            [self.helm, *arguments], env=self.environment, capture_output=True, text=True, check=False
        )
        return None if done.returncode == 0 else f"helm {' '.join(arguments[:2])}: {done.stderr.strip()}"

    def apply(self, document, namespace):
        """As Argo CD does: server-side apply by a manager that is not helm, and no field that is unknown or there twice."""
        kind, metadata = document["kind"], document["metadata"]
        plural = PLURALS.get(kind, f"{kind.lower()}s")
        path = f"{GROUPS[document['apiVersion']]}/namespaces/{metadata.get('namespace', namespace)}/{plural}/{metadata['name']}"
        status, said = self.ask(
            f"{path}?fieldManager=another&force=true&dryRun=All&fieldValidation=Strict",
            "PATCH",
            document,
            "application/apply-patch+yaml",
        )
        if status not in (200, 201):
            yield f"server-side apply of {kind} {metadata['name']}: {json.loads(said)['message']}"

    def admit(self, pod, namespace):
        """The objections of Pod Security and of everything else that looks at a Pod; empty if it is let in."""
        status, said = self.ask(f"api/v1/namespaces/{namespace}/pods?dryRun=All&fieldValidation=Strict", "POST", pod)
        return None if status == 201 else json.loads(said)["message"]


def as_pod(document):
    """The pod that a StatefulSet makes."""
    if document["kind"] == "Pod":
        return document
    template, made = document["spec"]["template"], document["spec"].get("volumeClaimTemplates", [])
    claims = [
        {"name": claim["metadata"]["name"], "persistentVolumeClaim": {"claimName": f"{claim['metadata']['name']}-x-0"}}
        for claim in made
    ]
    spec = {**template["spec"], "volumes": [*template["spec"].get("volumes", []), *claims]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**template["metadata"], "name": f"{document['metadata']['name']}-0"},
        "spec": spec,
    }


def check(cluster, name, values, first):
    """One set of values. Yields what was done, as (what, problem or None)."""
    namespace = f"set-{name}"
    cluster.namespace(
        namespace,
        **{"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "latest"},
    )
    options = ["--namespace", namespace, "--values", str(values)]
    documents = rendered(cluster.helm, ["--values", str(values), "--namespace", namespace])

    problems = [problem for document in documents for problem in cluster.apply(document, namespace)]
    yield "server-side apply", "\n".join(problems)
    pods = [as_pod(document) for document in documents if document["kind"] in ("StatefulSet", "Pod")]
    for pod in pods:
        # With the security of another namespace it would be let in anywhere.
        refusal = cluster.admit({**pod, "metadata": {**pod["metadata"], "namespace": namespace}}, namespace)
        yield f"Pod Security restricted: {pod['metadata']['name']}", refusal
    for how in ("true", "false"):
        what = "server-side" if how == "true" else "client-side"
        yield f"install, {what}", cluster.run("install", RELEASE, str(CHART), *options, f"--server-side={how}")
        yield f"upgrade to the same, {what}", cluster.run("upgrade", RELEASE, str(CHART), *options)
        yield f"uninstall, {what}", cluster.run("uninstall", RELEASE, "--namespace", namespace)
    if first is None:
        return
    for how in ((), ("--reuse-values",)):
        what = "the first version"
        refusal = cluster.run("install", RELEASE, str(first), *options)
        if refusal and "not allowed" in refusal:
            # Its schema refuses what it does not know.
            yield f"upgrade from {what}: left out, newer values", None
            return
        yield f"install of {what}", refusal
        yield (
            f"upgrade from {what}{', --reuse-values' if how else ''}",
            cluster.run("upgrade", RELEASE, str(CHART), "--namespace", namespace, *(how or ["--values", str(values)])),
        )
        yield "what runs is what was rendered", stale(cluster, documents, namespace)
        yield f"uninstall after {what}", cluster.run("uninstall", RELEASE, "--namespace", namespace)


def stale(cluster, documents, namespace):
    """The fields of the pod template before that an upgrade left behind, of those that helm applied."""
    for document in documents:
        if document["kind"] == "StatefulSet":
            path = f"apis/apps/v1/namespaces/{document['metadata'].get('namespace', namespace)}/statefulsets"
            found = [
                made
                for made in json.loads(cluster.ask(path)[1])["items"]
                if made["metadata"]["labels"]["app.kubernetes.io/instance"] == RELEASE
            ]
            live, wanted = (made["spec"]["template"]["spec"]["containers"][0] for made in (found[0], document))
            for key in ("args", "env", "volumeMounts", "ports"):
                if live.get(key) != wanted.get(key):
                    return f"{key}: {live.get(key)}, not {wanted.get(key)}"
    return None


def examples(cluster):
    """The examples of the chart's README and of the reports' page: what the server knows is applied to it, and the pods that they
    make are let in."""
    namespace = "set-examples"
    cluster.namespace(namespace, **{"pod-security.kubernetes.io/enforce": "restricted"})
    pages = [CHART / "README.md", CHART.parents[1] / "docs" / "reports.md"]
    text = "\n".join(page.read_text() for page in pages)
    blocks = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    for document in map(yaml.safe_load, blocks):
        if document.get("apiVersion") in GROUPS:
            name = f"{document['kind']} {document['metadata']['name']}"
            yield f"the example's {name}", "\n".join(cluster.apply(document, namespace))
        if document.get("kind") == "CronJob":
            template = document["spec"]["jobTemplate"]["spec"]["template"]
            pod = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "report", "namespace": namespace},
                "spec": template["spec"],
            }
            yield "Pod Security restricted: its pod", cluster.admit(pod, namespace)


def growing(cluster):
    """The steps of the README for a volume that grows."""
    namespace = "set-growing"
    cluster.namespace(namespace)
    options = ["--namespace", namespace, "--set", "token.existingSecret=t"]
    yield "install", cluster.run("install", RELEASE, str(CHART), *options)
    more = ["upgrade", RELEASE, str(CHART), "--namespace", namespace, "--reuse-values", "--set", "persistence.size=2Gi"]
    yield "another size is refused", None if cluster.run(*more) else "it is not"
    path = f"apis/apps/v1/namespaces/{namespace}/statefulsets/{RELEASE}-cryptolens-exporter"
    status, said = cluster.ask(f"{path}?propagationPolicy=Orphan", "DELETE")
    yield "the StatefulSet is deleted without its pod", None if status == 200 else said
    # Nobody collects garbage here.
    status, said = cluster.ask(path, "PATCH", {"metadata": {"finalizers": None}}, "application/merge-patch+json")
    yield "another size is taken", cluster.run(*more)


def negative(cluster):
    """That Pod Security and server-side apply refuse anything at all here."""
    namespace = "set-negative"
    cluster.namespace(namespace, **{"pod-security.kubernetes.io/enforce": "restricted"})
    (document,) = (
        made for made in rendered(cluster.helm, ["--set", "token.existingSecret=t"]) if made["kind"] == "StatefulSet"
    )
    container = document["spec"]["template"]["spec"]["containers"][0]
    document["metadata"]["namespace"] = namespace
    container["env"] = container["env"] * 2
    yield "server-side apply refuses a name twice", None if list(cluster.apply(document, namespace)) else "it does not"
    container["env"] = []
    container["securityContext"] = {"privileged": True}
    yield "Pod Security refuses a privileged pod", None if cluster.admit(as_pod(document), namespace) else "it does not"


def main():
    helm, etcd, server, crds, scratch = sys.argv[1:6]
    scratch = pathlib.Path(scratch)
    first = scratch / "first" / "helm" / "cryptolens-exporter"
    token, port, client, peer = secrets.token_hex(16), free_port(), free_port(), free_port()
    key, tokens = scratch / "service-accounts.key", scratch / "tokens.csv"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], capture_output=True, check=True)
    tokens.touch(mode=0o600)
    tokens.write_text(f"{token},check,check,system:masters\n")
    failed = 0

    def say(name, what, problem):
        nonlocal failed
        print(f"{name:24} {what:48} {'FAILED' if problem else 'ok'}", flush=True)
        if problem:
            failed += 1
            print(problem, flush=True)

    with (
        Process(
            etcd,
            "--data-dir",
            scratch / "etcd",
            "--listen-client-urls",
            f"http://127.0.0.1:{client}",
            "--advertise-client-urls",
            f"http://127.0.0.1:{client}",
            "--listen-peer-urls",
            f"http://127.0.0.1:{peer}",
            "--initial-advertise-peer-urls",
            f"http://127.0.0.1:{peer}",
            "--initial-cluster",
            f"default=http://127.0.0.1:{peer}",
        ),
        Process(
            server,
            "--etcd-servers",
            f"http://127.0.0.1:{client}",
            "--cert-dir",
            scratch / "certificates",
            "--bind-address",
            "127.0.0.1",
            "--advertise-address",
            "127.0.0.1",
            "--endpoint-reconciler-type",
            "none",
            "--secure-port",
            port,
            "--token-auth-file",
            tokens,
            "--authorization-mode",
            "RBAC",
            "--service-account-issuer",
            "https://kubernetes.default.svc",
            "--service-account-signing-key-file",
            key,
            "--service-account-key-file",
            key,
            "--service-cluster-ip-range",
            "10.96.0.0/16",
            # Nobody makes the default ServiceAccount of a namespace.
            "--disable-admission-plugins",
            "ServiceAccount",
        ),
    ):
        cluster = Cluster(helm, port, token, scratch)
        wait_for("the API server", lambda: cluster.ask("readyz")[0] == 200)
        print(f"kube-apiserver {json.loads(cluster.ask('version')[1])['gitVersion']}", flush=True)
        for path in sorted(pathlib.Path(crds).glob("*.yaml")):
            cluster.make("apis/apiextensions.k8s.io/v1/customresourcedefinitions", path.read_text(), "application/yaml")
        for served in ("v1/servicemonitors", "v1/podmonitors", "v1/prometheusrules", "v1alpha1/alertmanagerconfigs"):
            wait_for(served, lambda served=served: cluster.ask(f"apis/monitoring.coreos.com/{served}")[0] == 200)
        for name in ("monitoring", "licences"):
            cluster.namespace(name)
        cluster.make("apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": "high"}, "value": 1000})
        wait_for(
            "the service ranges", lambda: cluster.ask("apis/networking.k8s.io/v1/servicecidrs/kubernetes")[0] == 200
        )
        for what, problem in negative(cluster):
            say("(none)", what, problem)
        for what, problem in examples(cluster):
            say("(README)", what, problem)
        for what, problem in growing(cluster):
            say("(README: growing)", what, problem)
        for values in sorted((CHART / "ci").glob("*-values.yaml")):
            name = values.name.removesuffix("-values.yaml")
            if not sys.argv[6:] or name in sys.argv[6:]:
                for what, problem in check(cluster, name, values, first if first.exists() else None):
                    say(name, what, problem)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(str(failure))
