//! The API against its own OpenAPI document: schemathesis asks a real worker with what the document allows and with what it does not,
//! and checks that every answer is one that the document knows, and none a fault.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::support::process::Process;
use crate::support::worker::Deployment;

/// The whole run: it asks until this is over.
const ASKED_FOR_SECONDS: &str = "45";
/// Starting Python, reading the document, telling what was found.
const ENDS_WITHIN: Duration = Duration::from_secs(240);

const DEFINITIONS: &str = "
{kind: workspace, frequency_caps: [{limit: 3, per: 1d}]}
---
{kind: cohort, key: vip, where: {user: {plan: gold}}}
---
{kind: campaign, key: cart, status: running, trigger: {action: {event: cart_added}}, audience: {cohort: vip}, webhook: {url: 'https://h.example/'}}
---
{kind: campaign, key: points, status: running, trigger: {api: {}}, webhook: {url: 'https://h.example/'}}
";

#[test]
fn every_answer_is_one_that_the_openapi_document_knows() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let tool = root.join(".cache/python/bin/schemathesis");
    assert!(tool.exists(), "{} is missing: `scripts/setup.sh test` installs it", tool.display());
    let mut deployment = Deployment::new("embedded", "embedded");
    deployment.variable("CAMPANILE_HTTP__TOKENS__ADMIN", "a-token");
    deployment.define(DEFINITIONS);
    let worker = deployment.start();

    let mut asking = Command::new(tool);
    asking.current_dir(deployment.path()).arg("--config-file").arg(root.join("tests/schemathesis.toml"));
    asking.args(["--no-color", "run", &format!("http://{}/v1/openapi.json", worker.listen), "--header", "Authorization: Bearer a-token"]);
    // The tail never ends.
    asking.args(["--exclude-path", "/v1/tail", "--phases", "examples,coverage,fuzzing", "--max-examples", "25"]);
    asking.args(["--max-time", ASKED_FOR_SECONDS, "--seed", "1", "--request-timeout", "30", "--warnings", "off"]);
    Process::start(asking, b"").ended(ENDS_WITHIN).expect(0, &["No issues found"]);
    assert!(!worker.process.stderr().contains("panicked"), "{}", worker.process.stderr());
    worker.stop();
}
