#!/bin/sh
# One real Kafka broker (KRaft) for tests, benchmarks and trying things, in a directory of its own, on loopback only.
#
#   scripts/kafka.sh fetch                    fetches the jars and verifies them, nothing else
#   scripts/kafka.sh start [DIR] [PORT]       starts a broker, waits until it answers, prints how to stop it
#   scripts/kafka.sh attached [DIR] [PORT]    the same in the foreground: the broker ends with its standard input, and a
#                                             temporary directory with it
#   scripts/kafka.sh record                   writes SHA256SUMS anew, after a change of pom.xml
#
# DIR is made when it is missing (default: a new temporary one); a directory that was used before keeps its topics.
# PORT and PORT+1 (the controller) must be free; without PORT two free ones are taken.
# Needs a Java 17 runtime, and Maven the first time (Debian: openjdk-17-jre-headless maven).
#
#   KAFKA_JARS   where the jars are kept (default: .cache/kafka-4.1.0 in the repository)
#   KAFKA_HEAP   heap of the broker (default: 512m)
#   KAFKA_MORE   a file with more properties of the broker; they win over ours (another listener, a quorum of several brokers, ...)
#   KAFKA_USER   name:password of a user who may log in by SCRAM-SHA-512, made with the directory
set -eu

version=4.1.0
here=$(cd "$(dirname "$0")" && pwd)
jars=${KAFKA_JARS:-$(dirname "$here")/.cache/kafka-$version}
heap=${KAFKA_HEAP:-512m}
sums=$here/kafka/SHA256SUMS
wait_s=60

main() {
  case ${1:-} in
  fetch) fetch ;;
  start)
    fetch
    launch "${2:-}" "${3:-}"
    report
    ;;
  attached)
    fetch
    trap 'end' EXIT
    trap 'exit 143' INT TERM HUP
    launch "${2:-}" "${3:-}"
    report
    # In the background and waited for: only a wait is interrupted by a signal, and ends the broker.
    exec 3<&0
    cat <&3 >/dev/null &
    reader=$!
    wait "$reader"
    ;;
  record) record ;;
  *)
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p;}' "$0" >&2
    exit 2
    ;;
  esac
}

fail() {
  echo "kafka.sh: $*" >&2
  exit 1
}

# ---------------------------------------------------------------- the jars

# Fetches into a directory beside the cache and moves it there whole: two callers at once do no harm.
fetch() {
  command -v java >/dev/null || fail "java is missing; on Debian: apt-get install openjdk-17-jre-headless"
  if [ -d "$jars" ]; then
    verify "$jars" || fail "the jars in $jars are not those of $sums; remove that directory and start again"
    return
  fi
  fresh=$jars.$$
  download "$fresh"
  verify "$fresh" || fail "what Maven fetched into $fresh is not what $sums lists; nothing was started"
  mv -T "$fresh" "$jars" 2>/dev/null || rm -rf "$fresh"
}

download() {
  command -v mvn >/dev/null || fail "maven is missing, it fetches Kafka $version; on Debian: apt-get install maven"
  echo "fetching Kafka $version (about 45 MB) into $jars" >&2
  mkdir -p "$1"
  mvn -q -B -ntp -f "$here/kafka/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
    -DoutputDirectory="$1" >&2 || fail "Maven could not fetch the jars of $here/kafka/pom.xml; can it reach Maven Central or a mirror of it?"
}

verify() {
  (cd "$1" && sha256sum --check --quiet --strict "$sums") >&2
}

record() {
  fresh=$(mktemp -d)
  download "$fresh"
  (cd "$fresh" && sha256sum -- *.jar) >"$sums"
  rm -rf "$fresh"
}

# Only what was verified is on the class path, whatever else lies in the directory.
class_path() {
  sed "s|^[0-9a-f]* [ *]|$jars/|" "$sums" | paste -sd: -
}

# ---------------------------------------------------------------- the broker

# Sets dir, port and pid; temporary, when the directory is ours.
launch() {
  temporary=
  dir=${1:-}
  if [ -z "$dir" ]; then
    dir=$(mktemp -d "${TMPDIR:-/tmp}/kafka.XXXXXX")
    temporary=$dir
  fi
  mkdir -p "$dir"
  dir=$(cd "$dir" && pwd)
  cp=$(class_path)
  if [ -n "${2:-}" ]; then
    port=$2
    attempt || fail "Kafka did not start on port $port within $wait_s s; see $dir/kafka.log"
    return
  fi
  # Between looking for a free port and taking it another process may be faster.
  for _ in 1 2 3 4 5; do
    port=$(free_port)
    if attempt; then return; fi
    grep -q "Address already in use" "$dir/kafka.log" || break
  done
  fail "Kafka did not start within $wait_s s; see $dir/kafka.log"
}

attempt() {
  properties >"$dir/server.properties"
  if [ ! -f "$dir/data/meta.properties" ]; then
    set -- --cluster-id campanile-loopback-one --config "$dir/server.properties"
    if [ -n "${KAFKA_USER:-}" ]; then
      set -- "$@" --add-scram "SCRAM-SHA-512=[name=${KAFKA_USER%%:*},password=${KAFKA_USER#*:}]"
    fi
    java -Xmx128m -XX:TieredStopAtLevel=1 -cp "$cp" kafka.tools.StorageTool format "$@" >"$dir/format.log" 2>&1 || fail "the directory could not be formatted; see $dir/format.log"
  fi
  # In a process group of its own: an interrupt at the terminal reaches this script, which ends the broker in order.
  : >"$dir/kafka.log"
  setsid java -Xms128m "-Xmx$heap" -Djava.awt.headless=true "-Dlog4j2.configurationFile=$here/kafka/log4j2.properties" \
    -cp "$cp" kafka.Kafka "$dir/server.properties" </dev/null >>"$dir/kafka.log" 2>&1 &
  pid=$!
  tries=$((wait_s * 10))
  while [ "$tries" -gt 0 ]; do
    if grep -q "Kafka Server started" "$dir/kafka.log"; then return 0; fi
    kill -0 "$pid" 2>/dev/null || return 1
    sleep 0.1
    tries=$((tries - 1))
  done
  stop
  return 1
}

stop() {
  if [ -n "${pid:-}" ]; then kill "$pid" 2>/dev/null || true; fi
}

# What an attached broker leaves behind: nothing of ours.
end() {
  trap '' INT TERM HUP
  if [ -n "${reader:-}" ]; then kill "$reader" 2>/dev/null || true; fi
  stop
  if [ -n "${pid:-}" ]; then wait "$pid" 2>/dev/null || true; fi
  if [ -n "${temporary:-}" ]; then rm -rf "$temporary"; fi
}

properties() {
  cat <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 1))
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
log.dirs=$dir/data
# as in production: reading a topic must not bring it into being
auto.create.topics.enable=false
num.partitions=12
# one broker holds every replica there is
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
# tests start many groups: do not wait for more members, and let them choose a short session
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.segment.delete.delay.ms=1000
PROPERTIES
  if [ -n "${KAFKA_MORE:-}" ]; then cat "$KAFKA_MORE"; fi
}

# A port that nobody listens on, nor on the next one, below the range that outgoing connections take theirs from.
free_port() {
  candidate=$((20000 + ($(od -An -N2 -tu2 /dev/urandom) % 6000) * 2))
  while taken "$candidate" || taken $((candidate + 1)); do candidate=$((candidate + 2)); done
  echo "$candidate"
}

taken() {
  cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -qi ":$(printf '%04X' "$1") [0-9A-F]*:[0-9A-F]* 0A "
}

report() {
  echo "kafka $version answers at 127.0.0.1:$port (files in $dir); stop it with: kill $pid"
}

main "$@"
