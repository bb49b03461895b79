//! The control plane of real workers: three of them on Kafka and Redis that apply once and follow a change, and the commands against one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use campanile::engine::time::Timestamp;
use serde_json::{Value, json};

use crate::support::hostile::Hostile;
use crate::support::hostile::Step::{Hang, ReadHead};
use crate::support::kafka::shared;
use crate::support::redis::Redis;
use crate::support::wait::{eventually, runtime, until};
use crate::support::worker::{Deployment, Worker};

/// What is promised (issue 6): from the answer to a change until the last worker has it in force.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(2);

/// So many changes are timed. The promise is to a worker that gets its share of a core, and many tests run beside this one: their
/// median must keep it.
const CHANGES: usize = 7;

/// How long a worker may take to say what it did, on a busy machine.
const SAID_WITHIN: Duration = Duration::from_secs(40);

fn campaign(title: &str) -> String {
    format!(
        "{{kind: campaign, key: hello, title: {title}, status: running, trigger: {{api: {{}}}}, webhook: {{url: 'https://h.example/'}}}}\n"
    )
}

fn definitions(worker: &Worker) -> Value {
    let reply = worker.get("/v1/definitions");
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()
}

#[test]
fn three_workers_apply_a_changed_campaign_once_and_follow_a_change() {
    let redis = Redis::start();
    let deployment = Deployment::new(shared(), &redis.url());
    deployment.init();
    deployment.define(&campaign("first"));
    let before = deployment.start();
    assert_eq!(definitions(&before)["revision"], 1);
    before.stop();

    deployment.define(&campaign("second"));
    let workers = [(); 3].map(|()| deployment.launch(&[]));
    workers.iter().for_each(Worker::ready);
    for worker in &workers {
        let stored = definitions(worker);
        let campaign = &stored["definitions"][0];
        assert_eq!((&stored["revision"], &campaign["version"], &campaign["status"]), (&2.into(), &2.into(), &"running".into()), "{stored}");
    }
    let applied = |worker: &&Worker| worker.process.stderr().contains("campaign hello: changed to version 2, running");
    assert_eq!(workers.iter().filter(applied).count(), 1);

    let paused = workers[0].post("/v1/campaigns/hello/pause", "");
    assert_eq!((paused.status, &paused.json()["status"]), (200, &"paused".into()));
    until("every worker follows the pause", SAID_WITHIN, || {
        workers.iter().all(|worker| worker.metric("campanile_definitions_revision", "") == 3.0)
    });
    let refused = workers.iter().map(|worker| worker.post("/v1/campaigns/hello/send", "{\"user_id\": \"u1\"}").status);
    assert_eq!(refused.collect::<Vec<_>>(), [409, 409, 409]);
    let said = workers[0].process.stderr();
    let line = said.lines().find(|line| line.contains("running -> paused")).unwrap_or_default();
    assert!(["audit", "who=local", "from=2", "to=3"].iter().all(|part| line.contains(part)), "{said}");

    let mut took: Vec<Duration> = (0..CHANGES).map(|number| follows(&workers, number)).collect();
    took.sort();
    println!("the last of three workers followed after {took:?}");
    assert!(took[CHANGES / 2] <= FOLLOWED_WITHIN, "the last of three workers followed after {took:?}");
    workers.into_iter().for_each(Worker::stop);
}

/// Changes the campaign at one of the workers; answers how long after its answer the last of them had the change in force, by the
/// instants that their logs give.
fn follows(workers: &[Worker], number: usize) -> Duration {
    let act = if number.is_multiple_of(2) { "start" } else { "pause" };
    let changed = workers[number % workers.len()].post(&format!("/v1/campaigns/hello/{act}"), "");
    let answered = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that is set").as_millis();
    assert_eq!(changed.status, 200, "{}", changed.body);
    let revision = definitions(&workers[number % workers.len()])["revision"].as_u64().expect("a revision");
    let in_force = workers.iter().map(|worker| {
        eventually("the worker has the change in force", SAID_WITHIN, || {
            let said = worker.process.stderr();
            let taken = format!("definitions in force revision={revision} ");
            said.lines().find(|line| line.contains(&taken)).and_then(|line| Timestamp::parse(line.split_whitespace().next()?))
        })
    });
    let last = in_force.max().expect("there are workers");
    Duration::from_millis(
        u64::try_from(last.0).expect("after 1970").saturating_sub(u64::try_from(answered).expect("before the year 500000")),
    )
}

/// Requests that three workers have under way are seen at any of them.
#[test]
fn any_worker_tells_what_all_have_under_way() {
    const UNDER_WAY: usize = 30;
    let silent = runtime().block_on(Hostile::start(None, &[ReadHead, Hang]));
    let redis = Redis::start();
    let deployment = Deployment::new(shared(), &redis.url());
    deployment.init();
    let address = silent.address();
    let webhook = json!({"url": format!("http://{address}/")});
    let campaign = json!({"kind": "campaign", "key": "a", "status": "running", "trigger": {"action": {"event": "go"}}, "webhook": webhook});
    deployment.define(&format!("{campaign}\n---\n{{kind: destination, key: silent, match: '{address}', timeout: 10s}}\n"));
    let workers = [(); 3].map(|()| deployment.start());
    let batch: Vec<Value> = (0..UNDER_WAY).map(|user| json!({"type": "track", "event": "go", "userId": format!("u{user}")})).collect();
    assert_eq!(workers[0].post("/v1/batch", &json!({ "batch": batch }).to_string()).status, 202);
    // A worker that has come begins when what the others had begun before is over.
    until("several have some under way, and each tells of all", SAID_WITHIN * 2, || {
        let own = workers.each_ref().map(|worker| worker.metric("campanile_deliveries_in_flight", "silent"));
        let told = workers.each_ref().map(|worker| worker.get("/v1/destinations").json());
        let several = own.iter().filter(|own| **own > 0.0).count() > 1;
        several && told.iter().all(|told| told["workers"] == 3 && told["destinations"][0]["in_flight"] == own.iter().sum::<f64>() as u64)
    });
    // What is under way there takes its time.
    workers.into_iter().for_each(Worker::kill);
}

#[test]
fn the_commands_speak_to_a_worker() {
    let mut deployment = Deployment::new("embedded", "embedded");
    deployment.variable("CAMPANILE_HTTP__TOKENS__ADMIN", "a-token");
    deployment.define(&campaign("first"));
    let worker = deployment.start();
    deployment.variable("CAMPANILE_SERVER", &format!("http://{}", worker.listen));
    deployment.run(&["get"]).expect(1, &["send a token of `http.tokens`", "CAMPANILE_TOKEN"]);
    deployment.variable("CAMPANILE_TOKEN", "a-token");
    deployment.write("now.ndjson", r#"{"type":"track","userId":"u1","event":"seen"}"#);
    deployment.run(&["ingest", "now.ndjson"]).expect(0, &["1 events sent, 0 refused"]);
    deployment.run(&["get"]).expect(0, &["revision 1", "campaign/hello", "version 1    running"]);

    // Mistakes that only the worker can see have their place in the file; what it does not know of is left alone.
    std::fs::create_dir(deployment.path().join("more")).expect("a directory of our own");
    deployment.write("more/a.yaml", "# the first\n---\nkind: cohort\nkey: vip\nusers_file: vip.txt\n");
    deployment.write("more/vip.txt", "u2\nu1\n");
    deployment.write("more/b.yaml", &format!("# two\n{}---\n{{kind: cohort, key: x, where: {{cohort: nobody}}}}\n", campaign("second")));
    deployment.run(&["apply", "more", "--dry-run"]).expect(1, &["more/b.yaml:4:40: error: there is no cohort `nobody`", "more/b.yaml:2:"]);
    deployment.write("more/b.yaml", &format!("# two\n{}", campaign("second")));
    deployment.run(&["apply", "more"]).expect(1, &["more/b.yaml:2:18: error: campaign `hello` is running", "`campanile apply --cycle`"]);
    deployment
        .run(&["apply", "more", "--cycle"])
        .expect(0, &["cohort vip: added", "campaign hello: changed, version 2, running", "revision 2"]);
    deployment.run(&["get", "cohort/vip"]).expect(0, &["kind: cohort", "- u1\n", "- u2\n"]);
    deployment.write("more/broken.yaml", "kind: cohrt\n");
    deployment.run(&["apply", "more"]).expect(1, &["more/broken.yaml:1:7: error: unknown kind `cohrt`", "did you mean `cohort`?"]);
    std::fs::remove_file(deployment.path().join("more/broken.yaml")).expect("it is there");

    let yaml = deployment.run(&["get", "hello", "--format", "yaml"]).expect(0, &["title: second", "status: running"]).stdout;
    deployment.write("again.yaml", &yaml);
    deployment.run(&["apply", "again.yaml"]).expect(0, &["campaign hello: unchanged"]);
    deployment.write("all.yaml", &deployment.run(&["get", "--format", "yaml"]).expect(0, &[]).stdout);
    deployment.run(&["apply", "all.yaml", "--prune"]).expect(0, &["campaign hello: unchanged", "cohort vip: unchanged", "revision 2"]);

    deployment.run(&["start", "hello"]).expect(1, &["campaign hello is running and cannot be started: possible is pause and end"]);
    deployment.run(&["pause", "hello"]).expect(0, &["campaign hello is paused"]);
    deployment
        .run(&["start", "hello", "--dry-run"])
        .expect(0, &["campaign hello, version 2, paused", "audience", "{\"resend\":\"never\"} (campaign)"]);
    deployment.run(&["start", "hello"]).expect(0, &["title        second", "campaign hello is running"]);
    deployment.run(&["end", "hello"]).expect(0, &["campaign hello is ended"]);
    deployment.run(&["start", "hello"]).expect(1, &["campaign hello has ended and cannot be started: that is final"]);
    deployment.run(&["delete", "campaign/hello"]).expect(1, &["its key is never used again"]);
    deployment.run(&["delete", "cohort/vip"]).expect(0, &["cohort vip: removed"]);
    deployment.run(&["delete", "vip"]).expect(1, &["`vip` is not KIND/KEY"]);
    deployment.run(&["pause", "nobody"]).expect(1, &["there is no campaign nobody"]);
    let audited = worker.process.stderr();
    assert!(audited.contains("campaign hello: paused -> running") && audited.contains("who=admin "), "{audited}");
    assert!(!audited.contains("a-token"), "a token is never written");
    worker.stop();
    deployment.run(&["get"]).expect(3, &["no worker answers at http://127.0.0.1:"]);
}
