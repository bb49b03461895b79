//! Agendas by scripts: at an instant the campaign is as said, the agenda is looked at, and what comes of it is compared. A walk is
//! walked to its end unless the line says otherwise. Every look is made twice: the second time must change nothing.

use super::*;
use crate::engine::catalog::Policy;
use crate::engine::definition::{Method, Webhook, Workspace, ContentType, Condition, Crossing, TimeOfDay};
use crate::engine::delivery::Backoff;

fn policy() -> Policy {
    let hour = Duration::from_secs(3600);
    Policy {
        max_age: hour,
        max_lateness: hour,
        max_overdue: hour,
        timeout: hour,
        max_retries: 0,
        backoff: Backoff { base: hour, max: hour },
        expires: hour,
        id_key: Vec::new(),
        allow_http: false,
    }
}
