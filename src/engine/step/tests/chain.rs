//! Campaigns that wait for what becomes of others' sends.

use super::*;

fn of(campaign: &str) -> Test {
    Test::Eq(Operand::Value(Value::text(campaign)))
}

#[test]
fn sent_delivered_and_failed_are_events() {
    check(
        &[
            action("a", "buy").always(),
            action("on-sent", "$sent").given("campaign", of("a")).always(),
            action("on-delivered", "$delivered").given("campaign", of("a")).always(),
            action("on-failed", "$failed").given("campaign", of("a")).always(),
        ],
        "
        0s track buy => sent a, a#1, sent on-sent, on-sent#1
        1s delivered a 1 => sent on-delivered, on-delivered#1
        2s track buy => sent a, a#1, sent on-sent, on-sent#1
        3s failed a 1 => sent on-failed, on-failed#1
        4s delivered on-failed 1
    ",
    );
}

#[test]
fn the_properties_of_the_contract() {
    let body = |names: &str| {
        let pairs: Vec<String> = names.split_whitespace().map(|name| format!("{{{{ event.{name} | json }}}}")).collect();
        format!("[{}]", pairs.join(","))
    };
    let names = "campaign version channel tags attempts status error trigger.n message_id";
    let mut bench = Bench::new(
        &[
            action("a", "buy").channel("sms").tags(&["t"]).always(),
            action("sent", "$sent").given("campaign", of("a")).body(&body(names)).always(),
            action("failed", "$failed").given("campaign", of("a")).body(&body(names)).always(),
            action("delivered", "$delivered").given("campaign", of("a")).body(&body(names)).always(),
        ],
        Workspace::default(),
    );
    let text = |bench: &Bench, campaign: &str| match &bench.deliveries[campaign].1.body.as_ref().unwrap().0[0] {
        crate::engine::record::Piece::Text(text) => text.to_string(),
        secret => panic!("{secret:?}"),
    };
    bench.line(r#"0s track buy {"n":7} id=m1"#);
    assert_eq!(text(&bench, "sent"), r#"["a",1,"sms",["t"],0,null,null,7,"m1"]"#);
    bench.line("1s failed a 1");
    assert_eq!(text(&bench, "failed"), r#"["a",1,"sms",["t"],1,400,"Webhook Dispatch Failed: http 400",7,"m1"]"#);
    bench.line(r#"2s track buy {"n":8} id=m2"#);
    bench.line("3s delivered a 1");
    assert_eq!(text(&bench, "delivered"), r#"["a",1,"sms",["t"],1,200,null,8,"m2"]"#);
}

/// However long the chain: by its claim, by what became of it, and over a clock.
#[test]
fn the_original_event_is_found_at_every_step() {
    for (second, third) in [("$sent", "$sent"), ("$failed", "$sent"), ("$sent", "$failed"), ("$failed", "$failed")] {
        let mut bench = Bench::new(
            &[
                action("a", "buy").always(),
                action("b", second).given("campaign", of("a")).always(),
                inaction("c", third, "open").given("campaign", of("b")).body("{{ event.trigger | json }}").always(),
            ],
            Workspace::default(),
        );
        bench.line(r#"0s track buy {"n":7} id=m1"#);
        for line in ["1s failed a 1", "1s failed b 1"] {
            bench.line(line);
        }
        assert_eq!(bench.line("31m wake"), "sent c, c#1", "{second} {third}");
        let body = &bench.deliveries["c"].1.body.as_ref().unwrap().0[0];
        assert_eq!(*body, crate::engine::record::Piece::Text(r#"{"n":7}"#.into()), "{second} {third}");
    }
}

#[test]
fn what_a_send_makes_comes_after_what_made_it() {
    check(
        &[action("a", "buy"), action("c", "$sent").given("campaign", of("a")).priority(9), action("b", "buy")],
        "
        0s track buy => sent a, a#1, sent b, b#1, sent c, c#1
    ",
    );
}

#[test]
fn a_send_can_start_and_stop_clocks() {
    check(
        &[action("a", "buy"), inaction("later", "$sent", "open").given("campaign", of("a")), inaction("not", "add", "$sent")],
        "
        0s track add
        0s track buy => sent a, a#1
        0s timers => 30m
        1s delivered a 1
        30m wake => sent later, later#1
    ",
    );
}

#[test]
fn a_chain_ends() {
    let expect: Vec<String> = (0..=MAX_CHAIN).map(|_| "sent a, a#1".to_owned()).collect();
    check(
        &[action("a", "$sent").always(), action("z", "buy").uncapped()],
        &format!("0s track buy => sent z, z#1, {}, a: chain_too_long", expect[1..].join(", ")),
    );
    // A clock in between counts on.
    let mut script = String::from("0s track buy => sent z, z#1\n1s delivered z 1\n");
    for round in 1..=MAX_CHAIN {
        let (minute, end) = (u64::from(round) * 30, if round == MAX_CHAIN { ", a: chain_too_long" } else { "" });
        script += &format!("{minute}m wake => sent a, a#1{end}\n{minute}m delivered a 1\n");
    }
    check(&[inaction("a", "$sent", "stop").always(), action("z", "buy")], &script);
}

#[test]
fn what_a_late_definition_asks_of_is_not_known() {
    let mut bench = Bench::new(&[action("a", "buy")], Workspace::default());
    bench.line(r#"0s track buy {"n":7}"#);
    let body = "[{{ event.campaign | json }},{{ event.trigger | json }}]";
    bench.in_force = in_force(2, &[action("a", "buy"), action("b", "$delivered").body(body)], &Workspace::default());
    assert_eq!(bench.line("1s delivered a 1"), "sent b, b#1");
    let crate::engine::record::Piece::Text(text) = &bench.deliveries["b"].1.body.as_ref().unwrap().0[0] else { panic!("no text") };
    assert_eq!(&**text, r#"["a",{}]"#);
}

/// Who waits for what becomes of it may come later than the send.
#[test]
fn the_depth_of_a_send_is_known_whoever_waits_for_it() {
    let campaigns = [action("a", "$sent").always(), action("z", "buy").uncapped()];
    let mut bench = Bench::new(&campaigns, Workspace::default());
    assert!(bench.line("0s track buy").ends_with("sent a, a#1, a: chain_too_long"));
    bench.in_force = in_force(2, &[action("a", "$sent").always(), action("b", "$delivered")], &Workspace::default());
    assert_eq!(bench.line("1s delivered a 1"), "b: chain_too_long");
}

/// The webhook-id of what it starts must not be that of what it started the first time: a receiver would pass it over.
#[test]
fn a_second_failure_is_another_event() {
    let mut bench =
        Bench::new(&[action("a", "buy"), action("on-failed", "$failed").given("campaign", of("a")).always()], Workspace::default());
    bench.line("0s track buy");
    let mut started = Vec::new();
    for (failed, settled) in [("1s failed a 1", "2s delivered on-failed 1"), ("4s failed a 2", "5s delivered on-failed 1")] {
        assert_eq!(bench.line(failed), "sent on-failed, on-failed#1");
        started.push(bench.deliveries["on-failed"].0);
        bench.line(settled);
        if started.len() == 1 {
            assert_eq!(bench.line("3s redrive a 1 died=1s"), "a#2");
        }
    }
    assert_ne!(started[0], started[1]);
}
