//! Every metric of the contract and of the manual is there, and counts what it says.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

fn text(metrics: &Metrics) -> String {
    prometheus::TextEncoder::new().encode_to_string(&metrics.registry.gather()).unwrap()
}

/// Each metric has a value.
fn touched() -> (Metrics, Counted) {
    let metrics = Metrics::new(CampaignLabel::Auto).unwrap();
    metrics.reading.lag("events", 3, Duration::from_millis(1500));
    metrics.reader().read("events", "applied", 2);
    metrics.ingest.counted("accepted", 7);
    metrics.outcomes.dead("not_json");
    let mut lane = metrics.lane();
    lane.decided("cart", "suppressed", "frequency_cap");
    lane.template_missing("cart", 2);
    lane.attempted("kakao", "delivered", Duration::from_millis(3));
    lane.linked("cart", "fetched", Duration::from_millis(3));
    metrics.delivery.waiting("kakao", 1);
    metrics.delivery.breaker("kakao", false);
    let flying = lane.in_flight("kakao");
    (metrics, flying)
}

/// Contract, section 8.
#[test]
fn every_name_of_the_contract_is_there() {
    let (metrics, _flying) = touched();
    let printed = text(&metrics);
    for expect in [
        r#"campanile_events_total{result="applied",topic="events"} 2"#,
        r#"campanile_event_lag_seconds{partition="3",topic="events"} 1.5"#,
        r#"campanile_ingest_total{result="accepted"} 7"#,
        r#"campanile_decisions_total{campaign="cart",outcome="suppressed",reason="frequency_cap"} 1"#,
        r#"campanile_attempts_total{destination="kakao",result="delivered"} 1"#,
        r#"campanile_attempt_seconds_bucket{destination="kakao",le="0.005"} 1"#,
        r#"campanile_link_seconds_bucket{campaign="cart",result="fetched",le="0.005"} 1"#,
        "campanile_event_to_request_seconds_count 0",
        r#"campanile_deliveries_in_flight{destination="kakao"} 1"#,
        r#"campanile_deliveries_waiting{destination="kakao"} 1"#,
        r#"campanile_breaker_open{destination="kakao"} 0"#,
        "campanile_retry_scheduled_total 0",
        r#"campanile_dead_total{reason="not_json"} 1"#,
        "campanile_timers_due_lag_seconds 0",
        r#"campanile_template_missing_total{campaign="cart"} 2"#,
        "campanile_state_commit_seconds_count 0",
        "campanile_state_conflicts_total 0",
        "campanile_state_rollbacks_total 0",
        "campanile_record_bytes_count 0",
        "campanile_definitions_revision 0",
        concat!(r#"campanile_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""} 1"#),
        "process_resident_memory_bytes ",
    ] {
        assert!(printed.lines().any(|line| line.starts_with(expect)), "{expect} in\n{printed}");
    }
}

/// Of a table of the manual the metrics that it lists, each with its labels.
fn listed(manual: &str) -> BTreeMap<String, Vec<String>> {
    let rows = manual.lines().filter_map(|line| line.strip_prefix("| `campanile_"));
    let words = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    rows.map(|row| (row.split('`').next().unwrap().to_owned(), words(row.split('|').nth(1).unwrap()))).collect()
}

#[test]
fn the_manual_lists_every_metric_with_its_labels() {
    let (metrics, _flying) = touched();
    let families = metrics.registry.gather();
    let own = families.iter().filter_map(|family| Some((family.name().strip_prefix("campanile_")?, family)));
    let labels = |family: &prometheus::proto::MetricFamily| {
        family.get_metric()[0].get_label().iter().map(|label| label.name().to_owned()).collect::<BTreeSet<_>>()
    };
    let mut there: BTreeMap<String, BTreeSet<String>> = own.map(|(name, family)| (name.to_owned(), labels(family))).collect();
    // Made by the probes.
    there.insert("ready".into(), BTreeSet::new());
    let manual = include_str!("../../../docs/operating.md");
    let listed: BTreeMap<String, BTreeSet<String>> =
        listed(manual).into_iter().map(|(name, labels)| (name, labels.into_iter().collect())).collect();
    assert_eq!(listed, there);
}

#[test]
fn guards_count_down() {
    let metrics = Metrics::new(CampaignLabel::Auto).unwrap();
    drop(metrics.lane().in_flight("kakao"));
    let printed = text(&metrics);
    assert!(printed.contains(r#"campanile_deliveries_in_flight{destination="kakao"} 0"#), "{printed}");
}

#[test]
fn partitions_of_topics_with_similar_names_are_apart() {
    let metrics = Metrics::new(CampaignLabel::Auto).unwrap();
    metrics.reading.lag("events", 12, Duration::from_secs(1));
    metrics.reading.lag("events1", 2, Duration::from_secs(9));
    let printed = text(&metrics);
    assert!(printed.contains(r#"campanile_event_lag_seconds{partition="12",topic="events"} 1"#), "{printed}");
    assert!(printed.contains(r#"campanile_event_lag_seconds{partition="2",topic="events1"} 9"#), "{printed}");
}

#[test]
fn a_partition_that_went_away_has_no_lag() {
    let metrics = Metrics::new(CampaignLabel::Auto).unwrap();
    metrics.reading.lag("events", 3, Duration::from_secs(9));
    metrics.reading.forget("events", 3);
    metrics.reading.forget("events", 4);
    assert!(!text(&metrics).contains("event_lag_seconds{"));
}

#[test]
fn many_campaigns_are_no_label() {
    let check = |setting, campaigns, expect: &str| {
        let metrics = Metrics::new(setting).unwrap();
        metrics.outcomes.campaigns_in_force(campaigns);
        metrics.lane().decided("cart", "sent", "");
        let line = format!(r#"campanile_decisions_total{{campaign="{expect}",outcome="sent",reason=""}} 1"#);
        assert!(text(&metrics).contains(&line), "{setting:?} with {campaigns}");
    };
    check(CampaignLabel::Auto, MAX_LABELLED_CAMPAIGNS, "cart");
    check(CampaignLabel::Auto, MAX_LABELLED_CAMPAIGNS + 1, "");
    check(CampaignLabel::On, MAX_LABELLED_CAMPAIGNS + 1, "cart");
    check(CampaignLabel::Off, 1, "");
}
