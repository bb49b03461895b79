#!/bin/sh
# Starts a redis-server for benchmarks and for use by hand, as Campanile wants it: nothing evicted, every write in the append-only
# file, synced once a second. It runs on after this script; its data, log and pid file lie in DIR.
#
#   scripts/redis.sh DIR PORT
set -eu

if [ $# -ne 2 ]; then
    echo "usage: scripts/redis.sh DIR PORT" >&2
    exit 2
fi
if ! command -v redis-server >/dev/null; then
    echo "redis-server is missing: apt-get install redis-server" >&2
    exit 1
fi

mkdir -p "$1"
dir=$(cd "$1" && pwd)
port=$2
pidfile=$dir/redis.pid

if redis-cli -p "$port" ping >/dev/null 2>&1; then
    echo "something answers on port $port already: take another port" >&2
    exit 1
fi

redis-server --port "$port" --bind 127.0.0.1 --dir "$dir" --pidfile "$pidfile" --logfile "$dir/redis.log" --daemonize yes \
    --maxmemory-policy noeviction --appendonly yes --appendfsync everysec --save "" >/dev/null

tries=0
until [ "$(redis-cli -p "$port" ping 2>/dev/null)" = PONG ]; do
    tries=$((tries + 1))
    if [ "$tries" -gt 100 ]; then
        echo "redis-server does not answer on port $port: see $dir/redis.log" >&2
        exit 1
    fi
    sleep 0.1
done

echo "redis-server answers on redis://127.0.0.1:$port, data in $dir"
echo "stop it:   kill \$(cat $pidfile)"
