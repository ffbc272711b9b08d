//! Plans in which a mutant shows soon.

use std::time::Duration;

use reveille_scaler_core::view::Strategy;

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
                // Only a release takes all of its time: what makes sure of other sleeps cuts theirs short.
                self.bind_all();
                (self.writes.late, self.storm) = (0.5, Duration::from_secs(120));
                self.trouble.offline = Some(Duration::from_secs(15));
                (self.trouble.scaler_crash, self.trouble.rollout) = (None, None);
                self.trouble.pause = None;
            }
            Mutant::BlindTrusted => self.trouble.offline = often,
            Mutant::BlindLeader => {
                (self.trouble.blind, self.trouble.operator) = (often, often);
                self.trouble.pause = None;
            }
            Mutant::HoldUnfenced | Mutant::LeaseUnfenced => {
                self.trouble.operator = Some(Duration::from_secs(2));
                self.watch.lag = Duration::from_millis(1500);
            }
            // An order is called off, or its scaler dies over it, and the next client is the one after the storm.
            Mutant::UndrainOnce | Mutant::OrderHeldLong | Mutant::GateByEpochAlone => {
                self.trouble.operator = Some(Duration::from_secs(2));
                (self.calm, self.grace) = (false, Duration::from_secs(30));
                if mutant == Mutant::UndrainOnce {
                    self.carrier.lose = 0.5;
                }
                if mutant == Mutant::OrderHeldLong {
                    self.trouble.scaler_crash = Some(Duration::from_secs(6));
                }
            }
            Mutant::Impatient => (self.pods.slow, self.calm) = (0.5, false),
            Mutant::LostSleepLeft => self.writes.hold = 0.5,
            // Harmless but to what begins between the drain and the delete: a lease, or an activator.
            Mutant::SandboxLeftAwake => {
                self.bind_all();
                (self.calm, self.writes.delay) = (false, Duration::from_millis(300));
                self.trouble.activator_crash = Some(Duration::from_secs(4));
            }
            Mutant::ReleaseUnfenced | Mutant::CollectUntouched if self.pool > 0 => {
                self.trouble.pause = often;
                self.trouble.operator = often;
                self.bind_all();
            }
            _ => {}
        }
    }

    fn bind_all(&mut self) {
        self.pool = self.pool.max(1);
        for target in &mut self.targets {
            (target.claim, target.volumes) = (true, false);
            target.policy.strategy = Strategy::Bind;
        }
    }
}
