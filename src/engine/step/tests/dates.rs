//! Dates of events and of users. Scripts begin on 2026-11-20T10:00:00Z.

use super::*;

#[test]
fn after_the_events_own_time() {
    check(
        &[event_date("later", "buy", None, "3d").always()],
        "
        0s track buy
        1m timers => 4320m
        4319m wake
        72h wake read=0s => sent later, later#1
        72h timers
    ",
    );
}

#[test]
fn around_a_property() {
    check(
        &[event_date("before", "order", Some("at"), "-1h").always()],
        r#"
        0s track order {"at":"2026-11-20T13:00:00Z"}
        0s timers => 120m
        1s track order
        2s track order {"at":"soon"}
        3s track order {"at":"2026-11-20T12:30:00Z"}
        4s timers => 120m
        2h wake => sent before, before#1
        121m delivered before 1
        3h track order {"at":"2026-11-20T12:30:00Z"}
        3h wake => before: stale
        4h track order {"at":"2026-11-20T14:30:00Z"}
        4h wake => sent before, before#1
    "#,
    );
}

#[test]
fn at_a_time_of_day_in_the_users_zone() {
    check(
        &[event_date("next", "buy", None, "1d").at(9).always()],
        r#"
        0s identify {"timezone":"Asia/Seoul"}
        1s track buy
        1s timers => 840m
        14h wake => sent next, next#1
    "#,
    );
}

#[test]
fn a_second_event_is_ignored_or_restarts() {
    for (again, timers) in [(Again::Ignore, "60m"), (Again::Restart, "70m")] {
        check(
            &[event_date("later", "buy", None, "1h").again(again).always()],
            &format!(
                "
                0s track buy
                10m track buy
                10m timers => {timers}
                11m track buy @5m
                11m timers => {timers}
            "
            ),
        );
    }
    check(
        &[event_date("later", "buy", None, "1h").same("id", "id").always()],
        r#"
        0s track buy {"id":1}
        10m track buy {"id":2}
        11m track buy {"id":1}
        11m timers => 60m, 70m
        70m wake => sent later, later#1, sent later, later#1
    "#,
    );
}

#[test]
fn a_paused_or_ended_campaigns_date() {
    check(
        &[event_date("later", "buy", None, "1h").always()],
        "
        0s track buy
        1m set later paused
        2m track buy => later: campaign_paused
        60m wake
        90m set later running
        90m wake => sent later, later#1
        91m delivered later 1
        91m track buy
        92m set later paused
        300m wake
        300m set later running
        300m wake => later: stale
        301m track buy
        302m set later ended
        361m wake => later: campaign_ended
    ",
    );
}

#[test]
fn a_users_date_follows_the_profile() {
    check(
        &[user_date("trial", "ends", false, "-1h")],
        r#"
        0s identify {"ends":"2026-11-20T13:00:00Z"}
        0s timers => 120m
        1s identify {"ends":"2026-11-20T14:00:00Z"}
        1s timers => 180m
        2s track look traits=ends:2026-11-20T15:00:00Z
        2s timers => 240m
        3s identify {"ends":null}
        3s timers
        4s identify {"ends":"never"}
        4s timers
        5s identify {"ends":"2026-11-20T13:00:00Z"}
        2h wake read=0s => sent trial, trial#1
        2h timers
        121m identify {"ends":"2026-11-20T13:00:00Z"}
        122m identify {"name":"Kim"}
        122m timers
        123m identify {"ends":"2026-11-20T13:10:00Z"}
        123m timers => 130m
    "#,
    );
}

#[test]
fn a_date_that_has_passed_is_overdue() {
    check(
        &[user_date("trial", "ends", false, "-1h")],
        r#"
        0s identify {"ends":"2026-11-20T10:30:00Z"}
        0s wake => sent trial, trial#1
        1s identify {"ends":"2026-11-20T09:59:00Z"}
        1s wake => trial: stale
        2s identify {"name":"Kim"}
        2s timers
    "#,
    );
}

#[test]
fn a_local_date_follows_the_zone_until_it_is_decided() {
    check(
        &[user_date("trial", "ends", false, "0s").at(9)],
        r#"
        0s identify {"ends":"2026-11-21"}
        0s timers => 1380m
        1s identify {"timezone":"Asia/Seoul"}
        1s timers => 840m
        14h wake => sent trial, trial#1
        15h identify {"timezone":"UTC"}
        15h timers
    "#,
    );
}

#[test]
fn yearly_once_per_user_and_year() {
    check(
        &[user_date("birthday", "born", true, "0s").at(9)],
        r#"
        0s identify {"born":"1990-11-21"}
        0s timers => 1380m
        23h wake => sent birthday, birthday#1
        23h timers => 526980m
        24h identify {"born":"1990-12-21"}
        24h timers => 570180m
        25h identify {"born":"1990-11-01"}
        25h timers => 498180m
        26h identify {"born":null}
        26h timers
        27h identify {"born":"1990-12-21"}
        27h timers => 570180m
    "#,
    );
}

#[test]
fn a_leap_day_falls_on_the_28th() {
    check(
        &[user_date("birthday", "born", true, "-1d").at(9)],
        r#"
        0s identify {"born":"1992-02-29"}
        0s timers => 142500m
        142500m wake => sent birthday, birthday#1
        142501m delivered birthday 1
        142501m timers => 669540m
        669540m wake => sent birthday, birthday#1
    "#,
    );
}

#[test]
fn a_yearly_date_that_is_due_is_not_put_off_by_the_profile() {
    check(
        &[user_date("birthday", "born", true, "0s").at(9)],
        r#"
        0s identify {"born":"1990-11-21"}
        1381m identify {"name":"Kim"}
        1382m timers => 1380m
        1382m wake => sent birthday, birthday#1
    "#,
    );
}

#[test]
fn arming_sets_what_the_profile_said_before_the_start() {
    check(
        &[user_date("trial", "ends", false, "-1h"), action("other", "buy")],
        r#"
        0s set trial ready
        1s identify {"ends":"2026-11-20T13:00:00Z"}
        1s timers
        2s arm trial
        2s timers
        3s set trial running
        4s arm trial
        4s timers => 120m
        5s arm trial
        5s timers => 120m
        6s arm other
        2h wake => sent trial, trial#1
        121m delivered trial 1
        121m arm trial
        121m timers
        122m delete
        123m arm trial => skipped
    "#,
    );
}

#[test]
fn a_paused_campaigns_clock_follows_the_profile_and_waits() {
    check(
        &[user_date("trial", "ends", false, "-1h")],
        r#"
        0s identify {"ends":"2026-11-20T12:00:00Z"}
        1s set trial paused
        2s identify {"ends":"2026-11-20T12:10:00Z"}
        2s timers => 70m
        80m wake
        90m set trial running
        90m wake => sent trial, trial#1
        90m delivered trial 1
        91m identify {"ends":"2026-11-20T13:00:00Z"}
        91m set trial gone
        125m wake
        125m timers
    "#,
    );
}

#[test]
fn a_forgotten_users_clocks_end_and_only_what_happened_has_a_line() {
    check(
        &[user_date("trial", "ends", false, "-1h"), event_date("later", "buy", None, "1h")],
        r#"
        0s identify {"ends":"2026-11-20T12:00:00Z"}
        1s track buy
        2s delete => later: user_deleted
        2s timers
    "#,
    );
}
