//! Lines that are written again for the same delivery.

use super::*;

/// Else a mass send of which much has to wait for its destination would be counted twice.
#[test]
fn a_sent_line_after_the_first_says_so() {
    let check = |script: &[&str]| {
        let refunds = action("a", "buy").with(|campaign| campaign.fatigue.refund_on_failure = true);
        let mut bench = Bench::new(&[refunds], Workspace::default());
        let mut lines = Vec::new();
        for line in script {
            let words: Vec<&str> = line.split_whitespace().collect();
            bench.now = at(words[0]);
            let input = bench.input(&words, line);
            let effects = bench.step(&input).effects;
            let sent = |effect: &Effect| if let Effect::Decided(line) = effect { Some(line.again) } else { None };
            lines.extend(effects.iter().filter_map(sent));
            bench.give(&input);
        }
        assert_eq!(lines, [false, true], "{script:?}");
    };
    // Taken over; claimed anew; sent again by hand, after the cap was given back.
    check(&["0s track buy", "15s wake"]);
    check(&["0s track buy", "1s parked a 0", "61s retry a 0"]);
    check(&["0s track buy", "1s failed a 1", "2m redrive a 1 died=1s"]);
}
