#!/usr/bin/env bash
# Installs what is missing for `build` (compiler, librdkafka's needs), `test` (Redis, Java, Kafka's jars, Python's schemathesis, Chromium
# and what drives it) and `deploy` (helm, promtool and others, into .cache), and says what.
# usage: scripts/setup.sh build [test] [deploy]
set -euo pipefail
cd "$(dirname "$0")/.."

need=()
want() { # want PACKAGE test-command...: the package is needed unless the command succeeds
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || need+=("$package")
}

for part in "$@"; do
    case $part in
        build)
            want build-essential cc --version
            want pkg-config pkg-config --version
            want libssl-dev pkg-config --exists openssl
            want zlib1g-dev pkg-config --exists zlib
            ;;
        test)
            want redis-server redis-server --version
            want openjdk-17-jre-headless java -version
            want maven mvn --version
            # The console is clicked through in it.
            want chromium test -x /usr/bin/chromium
            want nodejs node --version
            want npm npm --version
            want python3-venv python3 -c 'import ensurepip'
            ;;
        deploy)
            want python3-venv python3 -c "import ensurepip, venv"
            ;;
        *)
            echo "setup: '$part' is not known; use build, test or deploy" >&2
            exit 2
            ;;
    esac
done

if [ ${#need[@]} -gt 0 ]; then
    echo "setup: installing ${need[*]} (Debian packages)"
    sudo=$([ "$(id -u)" = 0 ] || echo sudo)
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    # Nothing here wants the packaged server running: tests start their own.
    $sudo env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${need[@]}" >/dev/null
fi

wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
if ! command -v cargo >/dev/null; then
    echo "setup: Rust $wanted or newer is needed: install it with rustup (the package 'rustup' in Debian 13, or https://rustup.rs), then run this again" >&2
    exit 1
fi
have=$(cargo --version | cut -d' ' -f2)
if [ "$(printf '%s\n%s\n' "$wanted" "$have" | sort -V | head -n 1)" != "$wanted" ]; then
    echo "setup: Rust $wanted or newer is needed, this is $have: run 'rustup update'" >&2
    exit 1
fi

# What drives Chromium, as tests/console/package-lock.json has it: from npm, without running anything of it.
browser() {
    local kept=.cache/console
    if cmp -s tests/console/package-lock.json $kept/package-lock.json && [ -d $kept/node_modules ]; then return; fi
    echo "setup: fetching what drives Chromium (npm) into $kept"
    rm -rf $kept
    mkdir -p $kept
    cp tests/console/package.json $kept
    cp tests/console/package-lock.json $kept/package-lock.json
    if ! npm ci --prefix $kept --ignore-scripts --no-audit --no-fund --silent; then
        rm -rf $kept
        echo "setup: npm could not fetch it: is its registry reachable? then run this again" >&2
        exit 1
    fi
}

# Python's packages, in a directory of their own, when they or their versions are not what is wanted.
python_packages() {
    cmp -s scripts/python.txt .cache/python/installed.txt && return
    echo "setup: installing $(tr '\n' ' ' <scripts/python.txt)(PyPI, into .cache/python)"
    python3 -m venv .cache/python
    .cache/python/bin/pip install --quiet --disable-pip-version-check -r scripts/python.txt
    cp scripts/python.txt .cache/python/installed.txt
}

case " $* " in
    *" test "*)
        scripts/kafka.sh fetch
        browser
        python_packages
        ;;
esac
case " $* " in
    *" deploy "*) scripts/deploy-tools.sh ;;
esac
