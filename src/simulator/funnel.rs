//! The funnel: what became of everybody whom a campaign's trigger concerned, counted from outcome lines.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::engine::statistics::BEFORE_AUDIENCE;

/// The counts of one campaign. `matched` = the decisions that came to an end; of these `in_audience` got past the audience.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Funnel {
    pub matched: u64,
    pub in_audience: u64,
    /// Held out as control group.
    pub control: u64,
    /// Held back because this campaign had reached the user: `already_sent`, `resend_wait`.
    pub duplicate: u64,
    /// Held back by a frequency cap.
    pub capped: u64,
    /// Decisions that were put off; each comes to an end later.
    pub deferred: u64,
    pub sent: u64,
    pub delivered: u64,
    pub failed: u64,
    /// Everything that was held back, by reason.
    pub held: BTreeMap<String, u64>,
    /// Of a campaign with a goal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub converted: Option<Converted>,
}

/// Users whose goal came in time: of those who were sent to, and of those held out to compare them with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Converted {
    pub treatment: u64,
    pub control: u64,
}

/// The funnels of all campaigns, by key.
#[derive(Clone, Debug, Default)]
pub struct Funnels(BTreeMap<Box<str>, Funnel>);

/// What is counted of an outcome line (contract, section 6).
#[derive(Debug, Deserialize)]
pub struct Counted<'a> {
    #[serde(borrow)]
    r#type: &'a str,
    #[serde(borrow)]
    campaign: &'a str,
    #[serde(borrow, default)]
    outcome: Option<&'a str>,
    #[serde(borrow, default)]
    reason: Option<&'a str>,
    #[serde(borrow, default)]
    result: Option<&'a str>,
    #[serde(borrow, default)]
    arm: Option<&'a str>,
    #[serde(borrow, default)]
    pub delivery_id: Option<&'a str>,
    #[serde(borrow, default)]
    pub request_id: Option<&'a str>,
}

impl Counted<'_> {
    pub fn is_sent(&self) -> bool {
        self.r#type == "decision" && self.outcome == Some("sent")
    }

    pub fn is_attempt(&self) -> bool {
        self.r#type == "attempt"
    }
}

impl Funnels {
    /// Lists a campaign although nothing may happen to it; one with a goal has conversions, be it none.
    pub fn list(&mut self, campaign: &str, has_goal: bool) {
        let funnel = self.of(campaign);
        if has_goal {
            funnel.converted.get_or_insert_default();
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Funnel)> {
        self.0.iter().map(|(key, funnel)| (&**key, funnel))
    }

    pub fn note(&mut self, line: &Counted<'_>) {
        let funnel = self.of(line.campaign);
        match (line.r#type, line.outcome, line.result) {
            ("decision", Some("sent"), _) => {
                funnel.matched += 1;
                funnel.in_audience += 1;
                funnel.sent += 1;
            }
            ("decision", Some("deferred"), _) => funnel.deferred += 1,
            ("decision", Some("suppressed"), _) => funnel.held_back(line.reason.unwrap_or_default(), line.delivery_id.is_some()),
            ("attempt", _, Some("delivered")) => funnel.delivered += 1,
            ("attempt", _, Some("failed")) => funnel.failed += 1,
            ("conversion", ..) => {
                let converted = funnel.converted.get_or_insert_default();
                match line.arm {
                    Some("control") => converted.control += 1,
                    _ => converted.treatment += 1,
                }
            }
            _ => {}
        }
    }

    fn of(&mut self, campaign: &str) -> &mut Funnel {
        if !self.0.contains_key(campaign) {
            self.0.insert(campaign.into(), Funnel::default());
        }
        self.0.entry(campaign.into()).or_default()
    }
}

impl Funnel {
    /// `decided`: it had been sent off before, so it is counted as matched already.
    fn held_back(&mut self, reason: &str, decided: bool) {
        match self.held.get_mut(reason) {
            Some(count) => *count += 1,
            None => drop(self.held.insert(reason.to_owned(), 1)),
        }
        if decided {
            return;
        }
        self.matched += 1;
        if BEFORE_AUDIENCE.iter().any(|before| before.as_str() == reason) {
            return;
        }
        match reason {
            "control_group" => self.control += 1,
            "already_sent" | "resend_wait" => self.duplicate += 1,
            "frequency_cap" => self.capped += 1,
            _ => {}
        }
        self.in_audience += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[&str], expect: &str) {
        let mut funnels = Funnels::default();
        for line in lines {
            funnels.note(&serde_json::from_str(line).expect("a line"));
        }
        funnels.list("a", false);
        let shown: Vec<String> =
            funnels.iter().map(|(key, funnel)| format!("{key} {}", serde_json::to_string(funnel).expect("json"))).collect();
        assert_eq!(shown.join("\n"), expect, "{lines:?}");
    }

    #[test]
    fn conversions_are_counted_by_arm() {
        let conversion = |arm: &str| format!(r#"{{"type":"conversion","campaign":"a","arm":"{arm}","delivery_id":null}}"#);
        check(
            &[&conversion("treatment"), &conversion("control"), &conversion("treatment")],
            r#"a {"matched":0,"in_audience":0,"control":0,"duplicate":0,"capped":0,"deferred":0,"sent":0,"delivered":0,"failed":0,"held":{},"converted":{"treatment":2,"control":1}}"#,
        );
        let mut funnels = Funnels::default();
        funnels.list("a", true);
        assert_eq!(funnels.iter().map(|(_, funnel)| funnel.converted).collect::<Vec<_>>(), [Some(Converted::default())]);
    }

    #[test]
    fn decisions_and_attempts_are_counted() {
        let suppressed = |reason: &str| format!(r#"{{"type":"decision","campaign":"a","outcome":"suppressed","reason":"{reason}"}}"#);
        check(
            &[r#"{"type":"decision","campaign":"a","outcome":"sent"}"#, r#"{"type":"attempt","campaign":"a","result":"delivered"}"#],
            r#"a {"matched":1,"in_audience":1,"control":0,"duplicate":0,"capped":0,"deferred":0,"sent":1,"delivered":1,"failed":0,"held":{}}"#,
        );
        check(
            &[&suppressed("not_in_audience"), &suppressed("control_group"), &suppressed("resend_wait"), &suppressed("stale")],
            r#"a {"matched":4,"in_audience":3,"control":1,"duplicate":1,"capped":0,"deferred":0,"sent":0,"delivered":0,"failed":0,"held":{"control_group":1,"not_in_audience":1,"resend_wait":1,"stale":1}}"#,
        );
        check(
            &[
                r#"{"type":"decision","campaign":"a","outcome":"sent"}"#,
                r#"{"type":"decision","campaign":"a","outcome":"suppressed","reason":"user_deleted","delivery_id":"msg_1"}"#,
                r#"{"type":"attempt","campaign":"b","result":"failed"}"#,
            ],
            "a {\"matched\":1,\"in_audience\":1,\"control\":0,\"duplicate\":0,\"capped\":0,\"deferred\":0,\"sent\":1,\"delivered\":0,\"failed\":0,\"held\":{\"user_deleted\":1}}\n\
             b {\"matched\":0,\"in_audience\":0,\"control\":0,\"duplicate\":0,\"capped\":0,\"deferred\":0,\"sent\":0,\"delivered\":0,\"failed\":1,\"held\":{}}",
        );
    }
}
