//! Plans in which a mutant shows soon.

use std::time::Duration;

use super::Plan;
use crate::mutant::Mutant;

impl Plan {
    /// What a mutant changes in the plan itself; and for those whose chance comes once in a thousand runs,
    /// the weather in which it comes.
    pub(crate) fn suit(&mut self, mutant: Mutant) {
        let often = Some(Duration::from_secs(8));
        match mutant {
            Mutant::ElectionWithoutMargin => {
                self.lease.renew_deadline = self.lease.lease;
                self.scalers = 2;
                self.writes.late = 0.5;
                self.trouble.offline = often;
                (self.trouble.scaler_crash, self.trouble.rollout) = (None, None);
                self.trouble.pause = None;
            }
            Mutant::BlindTrusted => self.trouble.offline = often,
            Mutant::ReleaseUnfenced | Mutant::CollectUntouched if self.pool > 0 => {
                self.trouble.pause = often;
                self.trouble.operator = often;
                for target in &mut self.targets {
                    (target.claim, target.volumes) = (true, false);
                }
            }
            _ => {}
        }
    }
}
