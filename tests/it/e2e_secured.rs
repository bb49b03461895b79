//! Kafka with SASL over TLS and Redis with TLS and a password: a worker that delivers over both, and what an operator is told who has
//! a password or an authority wrong.

use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::support::certificates::Authority;
use crate::support::endpoint::Endpoint;
use crate::support::kafka::Broker;
use crate::support::redis::{Redis, free_port};
use crate::support::wait::{runtime, until};
use crate::support::worker::Deployment;

const DELIVERED_WITHIN: Duration = Duration::from_secs(60);

/// Servers that nobody reaches without the authority and a password.
struct Servers {
    directory: TempDir,
    redis: Redis,
    /// Held for its life.
    _broker: Broker,
    brokers: String,
}

impl Servers {
    fn start() -> Servers {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).expect("a directory of our own");
            path.to_str().expect("a path in UTF-8").to_owned()
        };
        let authority = Authority::new();
        write("authority.pem", &authority.pem());
        write("another.pem", &Authority::new().pem());
        let [key, certificate] = authority.files("localhost");
        let (key_file, certificate_file) = (write("key.pem", &key), write("certificate.pem", &certificate));
        let both = write("both.pem", &format!("{key}{certificate}"));

        let tls = ["--port", "0", "--tls-port", "{port}", "--tls-auth-clients", "no", "--tls-key-file", &key_file];
        let files = ["--tls-cert-file", &certificate_file, "--tls-ca-cert-file", &certificate_file];
        let redis = Redis::with(&[&tls[..], &files, &["--save", "", "--requirepass", "hunter2"]].concat());

        let (plain, secure) = (format!("{}", 2 * (10_000 + free_port() % 3_000)), free_port());
        let controller = plain.parse::<u16>().expect("a number") + 1;
        let more = format!(
            "listeners=PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{controller},SECURE://localhost:{secure}
advertised.listeners=PLAINTEXT://127.0.0.1:{plain},SECURE://localhost:{secure}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL
ssl.keystore.type=PEM
ssl.keystore.location={both}
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.secure.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
"
        );
        let more = write("more.properties", &more);
        let variables = [("KAFKA_MORE", more.as_str()), ("KAFKA_USER", "campanile:hunter2")];
        let broker = Broker::starting_in(&directory.path().join("kafka"), Some(&plain), &variables).started();
        Servers { directory, redis, _broker: broker, brokers: format!("localhost:{secure}") }
    }

    fn file(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().expect("a path in UTF-8").to_owned()
    }

    /// A deployment whose passwords and authorities are these.
    fn deployment(&self, kafka: &str, kafka_authority: &str, redis: &str, redis_authority: &str) -> Deployment {
        let mut deployment = Deployment::new(&self.brokers, &format!("rediss://:{redis}@localhost:{}", self.redis.port()));
        let options = json!({
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": "campanile",
            "sasl.password": {"secret": "kafka_password"},
            "ssl.ca.location": self.file(kafka_authority),
        });
        deployment.set("KAFKA__OPTIONS", &options.to_string());
        deployment.set("SECRET_KAFKA_PASSWORD", kafka);
        deployment.variable("SSL_CERT_FILE", &self.file(redis_authority));
        deployment
    }
}

#[test]
fn kafka_and_redis_with_tls_and_passwords() {
    let servers = Servers::start();
    let endpoint = runtime().block_on(Endpoint::plain());
    let deployment = servers.deployment("hunter2", "authority.pem", "hunter2", "authority.pem");
    deployment.define(&format!(
        "kind: campaign\nkey: hello\nstatus: running\ntrigger: {{action: {{event: launched}}}}\nwebhook: {{url: \"{}\"}}\n",
        endpoint.url("/hello")
    ));
    deployment.init();
    let worker = deployment.start();
    let reply = worker.post("/v1/track", r#"{"userId":"u1","event":"launched"}"#);
    assert_eq!(reply.status, 202, "{}", reply.body);
    until("the event that came over Kafka is delivered", DELIVERED_WITHIN, || endpoint.count() > 0);
    worker.stop();

    let check = |kafka: &str, kafka_authority: &str, redis: &str, redis_authority: &str, code: i32, parts: &[&str]| {
        let deployment = servers.deployment(kafka, kafka_authority, redis, redis_authority);
        let ran = deployment.run(&["init", "--config", "campanile.yaml"]).expect(code, parts);
        assert!(!format!("{ran:?}").contains("hunter"), "{ran:?}");
    };
    check("hunter3", "authority.pem", "hunter2", "authority.pem", 3, &["sasl.*", "Authentication failed"]);
    check("hunter2", "another.pem", "hunter2", "authority.pem", 3, &["ssl.*", "certificate verify failed"]);
    check("hunter2", "authority.pem", "hunter3", "authority.pem", 1, &["user name and password in `state.url`"]);
    check("hunter2", "authority.pem", "hunter2", "another.pem", 1, &["SSL_CERT_FILE"]);
    let mut plain = servers.deployment("hunter2", "authority.pem", "hunter2", "authority.pem");
    plain.set("STATE__URL", &format!("rediss://{}", servers.brokers.replace("localhost", "127.0.0.1")));
    plain.run(&["init", "--config", "campanile.yaml"]).expect(1, &["SSL_CERT_FILE"]);
}
