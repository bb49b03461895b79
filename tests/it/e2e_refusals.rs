//! What an operator gets wrong: the command ends with the right code and one sentence that says what and the way out.

use std::io::Read;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use crate::support::kafka::{append_on, shared, wait};
use crate::support::process::{campanile, run};
use crate::support::redis::Redis;
use crate::support::wait::until;
use crate::support::worker::{Deployment, free_address};
use campanile::worker::ports::{Append, Line};

/// From a start, or an event, to the end that it leads to.
const ENDED_WITHIN: Duration = Duration::from_secs(60);

const SOUND: &str = "kind: campaign
key: hello
status: running
trigger: {action: {event: launched}}
webhook: {url: \"https://api.example.com/hello\"}
";

/// With its topics and a sound campaign.
fn deployment(redis: &Redis) -> Deployment {
    let deployment = Deployment::new(shared(), &redis.url());
    deployment.define(SOUND);
    deployment.init();
    deployment
}

/// A start that must end by itself.
fn refused(deployment: &Deployment, code: i32, parts: &[&str]) {
    deployment.launch(&[]).process.ended(ENDED_WITHIN).expect(code, parts);
}

#[test]
fn broken_definitions_stop_the_start_with_every_problem() {
    let redis = Redis::start();
    let deployment = deployment(&redis);
    let cases: [(&str, &[&str]); 4] = [
        ("kind: campaign\nkey: hello\ntriger: {}\n", &["definitions/all.yaml:3:1", "did you mean `trigger`"]),
        ("kind: campain\nkey: hello\n", &["definitions/all.yaml:1:7", "did you mean `campaign`"]),
        ("kind: campaign\n  key: [\n", &["definitions/all.yaml:2:"]),
        (
            "kind: campaign\nkey: hello\ntrigger: {action: {event: e, where: {n: {gtee: 4}}}}\nwebhook: {url: \"ftp://x\", body: \"{{ user.name\"}\n",
            &["definitions/all.yaml:3:42", "did you mean `gte`", "definitions/all.yaml:4:16", "https://"],
        ),
    ];
    for (definitions, parts) in cases {
        deployment.define(definitions);
        refused(&deployment, 1, parts);
        deployment.run(&["validate", "--allow-http", "definitions"]).expect(1, parts);
    }
    // All or nothing: a sound file beside a broken one changes nothing.
    deployment.define(SOUND);
    deployment.write("definitions/broken.yaml", "kind: campaign\n");
    refused(&deployment, 1, &["definitions/broken.yaml:1:1"]);
    assert_eq!(redis.command::<i64>(&["EXISTS", &format!("{{{}}}:doc", deployment.prefix)]), 0);
}

#[test]
fn a_wrong_setting_names_the_nearest_one() {
    let redis = Redis::start();
    /// Settings, variables of the environment, parts of the message.
    type Case = (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);
    const CASES: [Case; 6] = [
        ("delivery: {timout: 3s}", &[], &["campanile.yaml:1:12", "did you mean `timeout`"]),
        ("kafak: {}", &[], &["campanile.yaml:1:1", "did you mean `kafka`"]),
        ("delivery: {timeout: 3}", &[], &["campanile.yaml:1:21", "3s"]),
        ("", &[("CAMPANILE_DELIVERY__TIMOUT", "3s")], &["CAMPANILE_DELIVERY__TIMOUT", "did you mean `timeout`"]),
        ("http: {listen: '0.0.0.0:8080'}", &[], &["tokens"]),
        ("kafka: {brokers: '127.0.0.1:1', options: {acks: '1'}}", &[], &["acks"]),
    ];
    for (settings, variables, parts) in CASES {
        let mut deployment = Deployment::new(shared(), &redis.url());
        deployment.write("campanile.yaml", settings);
        variables.iter().for_each(|(name, value)| deployment.variable(name, value));
        // Not as a worker: its ports are settings, too.
        deployment.run(&["run", "--config", "campanile.yaml"]).expect(1, parts);
    }
    let deployment = Deployment::new(shared(), &redis.url());
    deployment.run(&["run", "--config", "absent.yaml"]).expect(1, &["absent.yaml"]);
    deployment.run(&["run", "--nonsense"]).expect(2, &["--nonsense"]);
}

#[test]
fn a_redis_that_would_forget_is_refused() {
    let redis = Redis::with(&["--save", "", "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"]);
    let deployment = Deployment::new(shared(), &redis.url());
    deployment.define(SOUND);
    deployment.run(&["init"]).expect(1, &["allkeys-lru", "noeviction"]);
    refused(&deployment, 1, &["allkeys-lru", "noeviction"]);
}

#[test]
fn missing_topics_name_the_command_that_makes_them() {
    let redis = Redis::start();
    let deployment = Deployment::new(shared(), &redis.url());
    deployment.define(SOUND);
    deployment.run(&["init", "--check"]).expect(1, &[&format!("topic {}: missing", deployment.events), "campanile init"]);
    refused(&deployment, 1, &["does not exist", "campanile init"]);
    deployment.run(&["init"]).expect(0, &["created"]);
    deployment.run(&["init", "--check"]).expect(0, &[&format!("topic {}: fits", deployment.topic("retry"))]);
    deployment.run(&["init"]).expect(0, &["fits"]);
    deployment.start().stop();
}

#[test]
fn a_port_in_use_is_named_with_its_setting() {
    let redis = Redis::start();
    for (setting, name) in [("HTTP__LISTEN", "http.listen"), ("HTTP__PROBES", "http.probes")] {
        let mut deployment = deployment(&redis);
        let address = free_address();
        let _taken = TcpListener::bind(&address).expect("it was free a moment ago");
        deployment.set(setting, &address);
        refused(&deployment, 1, &[&address, name]);
    }
}

#[test]
fn servers_that_do_not_answer() {
    let redis = Redis::start();
    let nobody = free_address();
    let without_redis = Deployment::new(shared(), &format!("redis://{nobody}"));
    without_redis.define(SOUND);
    without_redis.run(&["init"]).expect(3, &[&nobody]);
    refused(&without_redis, 3, &[&nobody]);
    let without_kafka = Deployment::new(&nobody, &redis.url());
    without_kafka.define(SOUND);
    without_kafka.run(&["init"]).expect(3, &[&nobody]);
    without_kafka.write("events.ndjson", "{\"type\":\"track\",\"userId\":\"u1\",\"event\":\"launched\"}\n");
    without_kafka.run(&["ingest", "--server", &format!("http://{nobody}"), "events.ndjson"]).expect(3, &[&nobody]);
    without_kafka.run(&["ingest", "events.ndjson"]).expect(3, &["no broker of kafka.brokers", &nobody]);
}

#[test]
fn a_worker_waits_for_kafka_and_leaves_when_asked() {
    let redis = Redis::start();
    let nobody = free_address();
    let deployment = Deployment::new(&nobody, &redis.url());
    deployment.define(SOUND);
    let worker = deployment.launch(&[]);
    until("the worker says whom it cannot reach", ENDED_WITHIN, || {
        worker.probe("/livez").is_ok_and(|reply| reply.status == 200) && worker.process.stderr().contains(&nobody)
    });
    worker.stop();
}

#[test]
fn a_record_of_a_newer_version_stops_the_worker_before_it_is_harmed() {
    // The store's own format, and the record's inside it.
    let cases = [
        ("string.char(200)", ["storage format 200", "a newer version wrote it"]),
        ("string.char(1) .. string.rep('t', 16) .. string.char(200)", ["stored in format 200", "upgrade this worker"]),
    ];
    for (head, told) in cases {
        let redis = Redis::start();
        let deployment = deployment(&redis);
        let key = format!("{{{}:0}}:u:u1", deployment.prefix);
        let script = format!("redis.call('SET', KEYS[1], {head} .. string.rep('x', 40)); return redis.call('GET', KEYS[1])");
        let stored = redis.command::<Vec<u8>>(&["EVAL", &script, "1", &key]);
        let worker = deployment.launch(&[]);
        let event = br#"{"type":"track","messageId":"m1","userId":"u1","event":"launched"}"#;
        let line = Line { topic: deployment.events.as_str().into(), key: None, value: event.to_vec() };
        wait(append_on(shared()).append(&[line])).expect("an event");
        worker.process.ended(ENDED_WITHIN).expect(1, &told);
        assert_eq!(redis.command::<Vec<u8>>(&["GET", &key]), stored, "the record was overwritten");
    }
}

#[test]
fn validate_says_how_much_is_sound() {
    let redis = Redis::start();
    let deployment = Deployment::new(shared(), &redis.url());
    deployment.define(SOUND);
    deployment.run(&["validate", "definitions"]).expect(0, &["1 definition"]);
    deployment.run(&["validate", "definitions/all.yaml", "--format", "json"]).expect(0, &["\"problems\":[]"]);
    deployment.run(&["validate", "nowhere"]).expect(1, &["nowhere"]);
    deployment.run(&["validate"]).expect(2, &["PATH"]);
    let samples = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config/campaigns");
    deployment.run(&["validate", samples.to_str().expect("a path in UTF-8")]).expect(0, &["sound"]);
}

#[test]
fn validate_takes_each_definition_once_and_nothing_that_lies_beside() {
    let desk = tempfile::tempdir().expect("a temporary directory");
    let write = |name: &str, text: &[u8]| std::fs::write(desk.path().join(name), text).expect("a directory of our own");
    let validate = |paths: &[&str]| run(campanile(desk.path(), &[&["validate"], paths].concat()));
    std::fs::create_dir(desk.path().join("inner")).expect("a directory of our own");
    write("inner/a.yaml", SOUND.as_bytes());
    write("inner/try.yaml", b"name: n\nfrom: 2026-11-01T00:00:00Z\nto: 2026-11-02T00:00:00Z\ndefinitions: []\n");
    // A link that leads back up, and a file that is named beside its directory.
    std::os::unix::fs::symlink("..", desk.path().join("inner/loop")).expect("a directory of our own");
    validate(&[".", "inner/a.yaml"]).expect(0, &["1 definition, sound"]);
    validate(&["inner/try.yaml"]).expect(1, &["inner/try.yaml is a scenario, not definitions: `campanile test inner/try.yaml` runs it"]);
    write("latin.yaml", b"kind: campaign\nkey: caf\xe9\n");
    validate(&["."]).expect(1, &["latin.yaml:2:9: error: this is not UTF-8"]);
}

#[test]
fn validate_names_the_way_to_http() {
    let desk = tempfile::tempdir().expect("a temporary directory");
    let check = |from: &str, to: &str, named: bool| {
        std::fs::write(desk.path().join("a.yaml"), SOUND.replace(from, to)).expect("a directory of our own");
        let ran = run(campanile(desk.path(), &["validate", "a.yaml"])).expect(1, &["1 error"]);
        assert_eq!(ran.stdout.contains("--allow-http"), named, "{to}: {}", ran.stdout);
        assert_eq!(ran.stdout.contains("by a worker with `delivery.allow_http: true`"), named, "{to}: {}", ran.stdout);
    };
    check("https://", "http://", true);
    check("https://", "ftp://", false);
    check("kind: campaign", "kind: campain", false);
}

#[test]
fn one_run_tells_every_fault_of_all_files() {
    let desk = tempfile::tempdir().expect("a temporary directory");
    let files = [
        (
            "a.yaml",
            "kind: campaign\nkey: a\ntitel: x\naudience: {cohort: vip}\ntrigger: {api: {}}\nwebhook: {url: 'https://h.example/{{ user.id | upcas }}', destination: kakoa}\n",
        ),
        ("b.yaml", "kind: cohort\nkey: vip\nwhere: {user: {plan: {matches: '('}}}\n---\nkind: cohort\nkey: kr\nwhere: {cohort: ko}\n"),
        ("c.json", "{\"kind\": \"destination\", \"key\": \"kakao\", \"match\": \"h.example\", \"ca\": \"x\"}\n"),
        ("d.yaml", "kind: campaign\nkey: d\ntrigger: [\n---\nkind: campaign\nkey: e\naudience: {cohort: kr}\ntrigger: {api: {}}\n"),
    ];
    for (name, text) in files {
        std::fs::write(desk.path().join(name), text).expect("a directory of our own");
    }
    let ran = run(campanile(desk.path(), &["validate", "."])).expect(1, &["8 errors, 0 warnings"]);
    let told: Vec<&str> = ran.stdout.lines().filter(|line| line.contains(" error: ")).collect();
    let expect = [
        "./a.yaml:3:1: error: unknown key `titel` in a campaign",
        "./a.yaml:6:16: error: `webhook.url` does not compile: there is no filter `upcas`; did you mean `upcase`?",
        "./a.yaml:6:72: error: there is no destination `kakoa`",
        "./b.yaml:3:32: error: not a regular expression: unclosed group",
        "./b.yaml:7:17: error: there is no cohort `ko`",
        "./c.json:1:69: error: `ca` is no PEM certificate",
        "./d.yaml:4:1: error: not valid YAML: while parsing a node, did not find expected node content",
        "./d.yaml:5:1: error: a campaign needs `webhook`",
    ];
    assert_eq!(told, expect);
}

#[test]
fn validate_looks_for_the_secrets_that_are_named() {
    let desk = tempfile::tempdir().expect("a temporary directory");
    let write = |name: &str, text: &str| std::fs::write(desk.path().join(name), text).expect("a directory of our own");
    write(
        "a.yaml",
        "kind: destination\nkey: d\nmatch: h.example\nauth: {bearer: {secret: kakao_token}}\nheaders: {X-Key: 'Key {{ secret.second }}'}\n",
    );
    write("sound.yaml", "kakao_token: t\nsecond: s\n");
    write("near.yaml", "kakao_tokn: t\nsecond: s\n");
    std::fs::create_dir(desk.path().join("mounted")).expect("a directory of our own");
    write("mounted/kakao_token", "t\n");
    let check = |secrets: &str, environment: &[(&str, &str)], code: i32, expect: &[&str]| {
        let mut command = campanile(desk.path(), &["validate", "a.yaml", "--secrets", secrets]);
        command.envs(environment.iter().copied());
        run(command).expect(code, expect);
    };
    check("sound.yaml", &[], 0, &["1 definition, sound"]);
    let holder = "the worker looks for a file `kakao_token` in `secrets.dir`, then for CAMPANILE_SECRET_KAKAO_TOKEN";
    check(
        "near.yaml",
        &[],
        1,
        &[&format!(
            "a.yaml:4:16: error: secret `kakao_token` is not in near.yaml\n  help: did you mean `kakao_tokn`? {holder}\n1 error, 0 warnings"
        )],
    );
    let second = "a.yaml:5:18: error: secret `second` is not in mounted, nor in the environment";
    check("mounted", &[], 1, &[second, "1 error, 0 warnings"]);
    check("mounted", &[("CAMPANILE_SECRET_SECOND", "s")], 0, &["1 definition, sound"]);
    check("mounted", &[("CAMPANILE_SECRET_SECOND", "")], 1, &["secret `second` is empty"]);
    check("nowhere", &[], 1, &["nowhere cannot be read"]);
}

#[test]
fn a_command_whose_output_nobody_reads_ends_as_it_would() {
    let desk = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(desk.path().join("wrong.yaml"), "kind: campain\n").expect("a directory of our own");
    // The reading end is closed before the command begins.
    for (arguments, code) in [(&["schema"][..], 0), (&["validate", "wrong.yaml"], 1), (&["schema", "--reference"], 0)] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut child = campanile(desk.path(), arguments).stdout(writer).stderr(Stdio::piped()).spawn().expect("the binary can be started");
        let mut said = String::new();
        child.stderr.take().expect("it is piped").read_to_string(&mut said).expect("text");
        assert_eq!((child.wait().expect("it ends").code(), &*said), (Some(code), ""), "{arguments:?}");
    }
}
