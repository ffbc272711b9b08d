//! Questions of scalers what is under way right now, which the next report answers.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Questions that wait: a scaler has 64 at most, and there are a few of them. Who asks on top of that is told
/// with the next report as everybody is, a second later.
const MOST: usize = 256;

/// Those that wait.
#[derive(Clone, Default)]
pub(crate) struct Looks(Arc<Waiting>);

#[derive(Default)]
struct Waiting {
    numbers: Mutex<Vec<u64>>,
    asked: Notify,
}

impl Looks {
    /// One more.
    pub(crate) fn ask(&self, number: u64) {
        let mut numbers = self.0.numbers.lock();
        if numbers.len() < MOST {
            numbers.push(number);
        }
        drop(numbers);
        self.0.asked.notify_one();
    }

    /// Completes when there are some.
    pub(crate) async fn asked(&self) {
        self.0.asked.notified().await;
    }

    /// All of them; what is looked at from here on answers them.
    pub(crate) fn take(&self) -> Vec<u64> {
        std::mem::take(&mut *self.0.numbers.lock())
    }
}
