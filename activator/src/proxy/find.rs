//! The end of step 1: the sandbox that a client names, among those that are known.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::directory::{Directory, Found};
use crate::error::Error;
use crate::route::Target;
use crate::slot::Slot;

/// Whoever has made a sandbox and was told by a watch of its own that it is up comes before our watch has
/// shown it: so long a name may be on its way.
const ON_ITS_WAY: Duration = Duration::from_millis(500);

/// The slot of the sandbox that the client names, and the UID of the Sandbox that it means alone: a claim may
/// get another Sandbox while the request waits. Who names the claim means whichever that is; who names a UID,
/// or the Sandbox itself, means one life of that name. Of a name that is not known nothing is kept: it is
/// looked up again.
///
/// # Errors
/// If there is no such sandbox, still.
pub(crate) async fn find(
    directory: &Directory,
    target: &Target,
) -> Result<(Arc<Slot>, Option<Arc<str>>), Error> {
    let patience = target.wait.map_or(ON_ITS_WAY, |wait| wait.min(ON_ITS_WAY));
    let until = Instant::now() + patience;
    if let Ok(found) = look(directory, target) {
        return Ok(found);
    }
    loop {
        let news = directory.news(&target.key);
        tokio::pin!(news);
        // What comes after this look is heard.
        news.as_mut().enable();
        let found = look(directory, target);
        if found.is_ok() || timeout_at(until, news).await.is_err() {
            return found;
        }
    }
}

fn look(directory: &Directory, target: &Target) -> Result<(Arc<Slot>, Option<Arc<str>>), Error> {
    let not_found = || Error::NotFound(target.key.clone());
    let Found { slot, is_alias } = directory.find(&target.key).ok_or_else(not_found)?;
    if !is_alias && target.uid.is_none() {
        return Ok((slot, None));
    }
    let present = slot.sandbox_uid().ok_or_else(not_found)?;
    match &target.uid {
        Some(uid) if present.as_bytes() != uid.as_bytes() => Err(not_found()),
        _ => Ok((slot, Some(present))),
    }
}
