//! Claims and the warm pool.

use std::sync::Arc;
use std::time::Duration;

use super::{Cluster, cold};
use crate::api::Api;
use crate::objects::{Claim, Name, Sandbox};
use crate::sim::{Event, Sim};

/// Time from a claim's creation in which only the warm pool is tried.
const POOL_GRACE: Duration = Duration::from_secs(2);
/// Time after which the pool looks again.
const POOL_RETRY: Duration = Duration::from_millis(500);

impl Cluster {
    /// Gives a claim its Sandbox: a warm one, or after the grace a cold one.
    pub(super) fn bind(&mut self, claim: &Name, api: &mut Api, sim: &mut Sim) {
        let now = sim.now();
        let Some(present) = api.objects().claims.get(claim).cloned() else {
            return;
        };
        let bound = present
            .sandbox
            .as_ref()
            .and_then(|name| api.objects().sandboxes.get(name));
        if bound.is_some() {
            return;
        }
        let warm = api
            .objects()
            .sandboxes
            .iter()
            .find(|(_, sandbox)| sandbox.pool_member);
        let name = match warm {
            Some((name, _)) => Arc::clone(name),
            None if now < present.created + POOL_GRACE => {
                sim.after(POOL_RETRY, Event::Reconcile(Arc::clone(claim)));
                return;
            }
            None => Arc::clone(claim),
        };
        sim.trace(|| format!("claim {claim} gets sandbox {name}"));
        if api.objects().sandboxes.contains_key(&name) {
            api.edit_sandbox(&name, |sandbox| {
                sandbox.pool_member = false;
                sandbox.claim = Some(Arc::clone(claim));
            });
        } else {
            let uid = api.uid(&name);
            api.put_sandbox(&name, cold(uid, Some(claim), false, now));
        }
        api.put_claim(
            claim,
            Claim {
                sandbox: Some(name),
                ..Claim::clone(&present)
            },
        );
    }

    /// Keeps the warm pool at its size.
    pub(crate) fn fill_pool(&mut self, api: &mut Api, sim: &mut Sim) {
        let warm = api
            .objects()
            .sandboxes
            .values()
            .filter(|sandbox| sandbox.pool_member)
            .count();
        for _ in warm..sim.plan.pool {
            self.members += 1;
            let name: Name = format!("pool-{}", self.members).into();
            let uid = api.uid(&name);
            let member = Sandbox {
                pool_member: true,
                ..cold(uid, None, false, sim.now())
            };
            api.put_sandbox(&name, member);
        }
    }
}
