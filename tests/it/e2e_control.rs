//! The control plane of real workers: three of them on Kafka and Redis that apply once and follow a change, and the commands against one.

use std::time::Duration;

use serde_json::Value;

use crate::support::kafka::shared;
use crate::support::redis::Redis;
use crate::support::wait::until;
use crate::support::worker::{Deployment, Worker};

/// Two seconds are promised to a worker that gets its share of a core; here many tests run beside it.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(6);

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
    until("every worker follows the pause", FOLLOWED_WITHIN, || {
        workers.iter().all(|worker| worker.metric("campanile_definitions_revision", "") == 3.0)
    });
    let refused = workers.iter().map(|worker| worker.post("/v1/campaigns/hello/send", "{\"user_id\": \"u1\"}").status);
    assert_eq!(refused.collect::<Vec<_>>(), [409, 409, 409]);
    let said = workers[0].process.stderr();
    let line = said.lines().find(|line| line.contains("running -> paused")).unwrap_or_default();
    assert!(["audit", "who=local", "from=2", "to=3"].iter().all(|part| line.contains(part)), "{said}");
    workers.into_iter().for_each(Worker::stop);
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
    deployment.run(&["get"]).expect(0, &["revision 1", "campaign/hello", "version 1    running"]);

    // Mistakes that only the worker can see have their place in the file; what it does not know of is left alone.
    std::fs::create_dir(deployment.path().join("more")).expect("a directory of our own");
    deployment.write("more/a.yaml", "# the first\n---\nkind: cohort\nkey: vip\nusers_file: vip.txt\n");
    deployment.write("more/vip.txt", "u2\nu1\n");
    deployment.write("more/b.yaml", &format!("# two\n{}---\n{{kind: cohort, key: x, where: {{cohort: nobody}}}}\n", campaign("second")));
    deployment.run(&["apply", "more", "--dry-run"]).expect(1, &["more/b.yaml:4:40: error: there is no cohort `nobody`", "more/b.yaml:2:"]);
    deployment.write("more/b.yaml", &format!("# two\n{}", campaign("second")));
    deployment.run(&["apply", "more"]).expect(1, &["more/b.yaml:2:18: error: campaign `hello` is running", "--cycle"]);
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
