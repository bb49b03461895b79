#!/bin/sh
# The end-to-end benchmark: starts a Kafka broker and a redis-server, runs the release worker on them, prints CPU per unit, rates and
# memory, and stops everything. Needs what `make test` installs, 6 GB of disk for `memory`, and a machine with nothing else to do.
#
#   scripts/bench.sh                                           everything, about twenty minutes
#   scripts/bench.sh idle|deliver|kill|isolation|memory ...    only these; isolation draws docs/isolation.svg
#   scripts/bench.sh outage --minutes 60 --rate 1000           a destination is down for so long: an hour and a half, 8 GB of disk
#   scripts/bench.sh --help                                    the options (--runs, --scale, --max-in-flight, --secs, --rate, --minutes, --takes, --down, --svg)
#
# TMPDIR is where the servers keep their data while it runs.
set -eu
cd "$(dirname "$0")/.."

# Built before the servers start: a failing build leaves nothing behind, and asking for help needs none.
cargo build --quiet --locked --profile bench --bench end_to_end
case " $* " in
*" --help "* | *" -h "*) exec cargo bench --quiet --locked --bench end_to_end -- --help ;;
esac

dir=$(mktemp -d "${TMPDIR:-/tmp}/campanile-bench.XXXXXX")
kafka=
cleanup() {
    for pid in $kafka $(cat "$dir/redis/redis.pid" 2>/dev/null); do kill "$pid" 2>/dev/null || true; done
    for pid in $kafka; do while kill -0 "$pid" 2>/dev/null; do sleep 0.2; done; done
    rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 143' INT TERM HUP

started=$(KAFKA_HEAP=1g scripts/kafka.sh start "$dir/kafka")
kafka=${started##*kill }
brokers=$(echo "$started" | sed 's/.* answers at \([^ ]*\) .*/\1/')
# Kafka has this port's two lower neighbours.
port=$((${brokers##*:} + 2))
scripts/redis.sh "$dir/redis" "$port" >/dev/null

cargo bench --quiet --locked --bench end_to_end -- --brokers "$brokers" --redis "redis://127.0.0.1:$port" --svg "$PWD/docs/isolation.svg" "$@"
