//! The probes listener, as a kubelet and a Prometheus see it.

use std::net::SocketAddr;
use std::time::Duration;

use campanile::telemetry::metrics::{CampaignLabel, Metrics};
use campanile::telemetry::probes::{Health, router};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: probes\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.to_ascii_lowercase(), body.to_owned())
}

#[tokio::test]
async fn probes_say_what_is_wrong() {
    let metrics = Metrics::new(CampaignLabel::Auto).expect("metrics");
    let health = Health::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let serving = tokio::spawn(axum::serve(listener, router(health.clone(), metrics.registry.clone())).into_future());
    let check = async |path: &str, status: &str, expect: Value| {
        let (head, body) = get(address, path).await;
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{path}: {head}");
        assert_eq!(serde_json::from_str::<Value>(&body).expect("JSON"), expect, "{path}");
    };
    check("/readyz", "200", json!({"ready": true, "not_ready": []})).await;
    health.not_ready("definitions", "not read yet");
    check("/readyz", "503", json!({"ready": false, "not_ready": [{"part": "definitions", "reason": "not read yet"}]})).await;
    check("/livez", "200", json!({"live": true, "stalled": []})).await;
    let late = health.watch("lane 0", Duration::ZERO);
    while health.stalled().is_empty() {
        tokio::task::yield_now().await;
    }
    check("/livez", "503", json!({"live": false, "stalled": [{"loop": "lane 0", "idle_seconds": 0}]})).await;
    drop(late);
    check("/livez", "200", json!({"live": true, "stalled": []})).await;
    let (head, body) = get(address, "/metrics").await;
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert!(body.contains("campanile_build_info{"), "{body}");
    assert!(body.contains("\ncampanile_ready 0\n"), "{body}");
    health.ready("definitions");
    let (_, body) = get(address, "/metrics").await;
    assert!(body.contains("\ncampanile_ready 1\n"), "{body}");
    serving.abort();
}
