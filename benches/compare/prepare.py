#!/usr/bin/env python3
"""Turns a neutral campaign list into what Campanile reads, and makes its topics. See README.md.

  prepare.py CAMPAIGNS.json RUNDIR

Reads BROKERS TOPIC GROUP REDIS HTTP_PORT and the knobs MAX_IN_FLIGHT CAP_PER CAMPANILE from the environment. Writes
RUNDIR/campanile.yaml (settings) and RUNDIR/definitions/*.yaml, then runs `campanile init`.
"""
import json
import os
import pathlib
import subprocess
import sys
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
CAMPANILE = os.environ.get("CAMPANILE", str(HERE.parents[1] / "target/release/campanile"))
MAX_IN_FLIGHT = int(os.environ.get("MAX_IN_FLIGHT", "64"))  # per destination; Campanile's own default
CAP_PER = os.environ.get("CAP_PER", "1s")  # window of the cap that is counted and not reached
MAX_CAP_LIMIT = 1000  # the highest that Campanile takes

OPERATORS = {"eq": lambda value: value, "gte": lambda value: {"gte": value}}

BODY = {
    "type": "campaign.message",
    "campaign": "{{ campaign.key }}",
    "user": "{{ user.id }}",
    "event": "{{ trigger.event }}",
    "event_id": "{{ trigger.message_id }}",
    "sent_ms": "{{ event.sent_ms }}",
    "data": {
        "text": "Hello {{ user.id | upcase }}, your {{ event.title | default: 'order' }} for {{ event.amount }} "
                "{{ event.currency | default: 'EUR' }} is waiting.",
        "amount": "{{ event.amount }}",
        "plan": "{{ event.plan | default: 'none' }}",
    },
}


def settings(environment):
    port = int(environment["HTTP_PORT"])
    return {
        "kafka": {"brokers": environment["BROKERS"], "group": environment["GROUP"], "events": [environment["TOPIC"]], "prefix": environment["GROUP"]},
        "state": {"url": environment["REDIS"]},
        "http": {"listen": f"127.0.0.1:{port}", "probes": f"127.0.0.1:{port + 1}"},
        "delivery": {"allow_http": True, "allow_networks": ["127.0.0.0/8"]},
        # Topics are filled once and read by every worker in turn: the last one must not find its events too old.
        "triggers": {"max_age": "1d"},
    }


def is_marker(entry):
    return not entry["conditions"]


def campaign(entry):
    """One campaign. A cap of 1 per user and campaign is the default `resend: never`; a higher one is the workspace's."""
    where = {condition["field"]: OPERATORS[condition["op"]](condition["value"]) for condition in entry["conditions"]}
    if is_marker(entry):
        fatigue = {"resend": "always", "frequency_cap": False}
    elif entry["cap"] == 1:
        fatigue = {"resend": "never"}
    else:
        fatigue = {"resend": "always"}
    return {
        "kind": "campaign", "key": entry["key"], "status": "running",
        "trigger": {"action": {"event": entry["event"], **({"where": where} if where else {})}},
        "fatigue": fatigue, "webhook": {"url": entry["url"], "body": BODY},
    }


def destinations(entries):
    hosts = sorted({urllib.parse.urlsplit(entry["url"]).netloc for entry in entries})
    return [{"kind": "destination", "key": "d-" + host.rsplit(":", 1)[-1], "match": host, "max_in_flight": MAX_IN_FLIGHT, "timeout": "3s"} for host in hosts]


def workspace(entries):
    """The cap script is on for every send: one cap for all campaigns, which nobody reaches (`resend: never` is its own rule)."""
    caps = {entry["cap"] for entry in entries if not is_marker(entry)}
    if any(1 < cap < MAX_CAP_LIMIT for cap in caps):
        sys.exit("prepare.py: a cap per campaign between 2 and 999 is not translated")
    return {"kind": "workspace", "frequency_caps": [{"limit": MAX_CAP_LIMIT, "per": CAP_PER}]}


def write(path, documents):
    """A JSON document a line is YAML too."""
    path.write_text("".join(f"---\n{json.dumps(document, ensure_ascii=False)}\n" for document in documents), encoding="utf-8")


def main():
    entries = json.loads(pathlib.Path(sys.argv[1]).read_text())
    rundir = pathlib.Path(sys.argv[2])
    definitions = rundir / "definitions"
    definitions.mkdir(exist_ok=True)
    write(definitions / "campaigns.yaml", map(campaign, entries))
    write(definitions / "destinations.yaml", destinations(entries))
    write(definitions / "workspace.yaml", [workspace(entries)])
    config = rundir / "campanile.yaml"
    write(config, [settings(os.environ)])
    with open(rundir / "init.log", "wb") as log:
        # It fails on what it finds about the harness's own topic, too; a missing topic stops `run`.
        subprocess.run([CAMPANILE, "init", "--config", str(config)], check=False, stdout=log, stderr=log)


if __name__ == "__main__":
    main()
