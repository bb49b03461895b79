//! What reaches a user from a walk over all users: scheduled runs, and the arming of a campaign that has started.

use super::Run;
use super::Work;
use crate::engine::id::CampaignId;

impl Work<'_> {
    pub(super) fn run(&mut self, _campaign: CampaignId, _run: &Run) {
        self.skip();
    }

    pub(super) fn arm(&mut self, _campaign: CampaignId) {
        self.skip();
    }
}
