//! What the runs met: an invariant that never had anything to check proves nothing.

macro_rules! coverage {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// Counts of one run, or of many.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Coverage {
            $($(#[doc = $doc])* pub $name: u64,)*
        }

        impl Coverage {
            /// Every count with its name.
            #[must_use]
            pub fn each(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }

            /// Adds those of another run.
            pub const fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

coverage! {
    /// Events handled, and so times that every invariant was checked.
    steps,
    /// Requests of clients.
    requests,
    /// Requests answered by the agent.
    answered,
    /// Requests told 502: nothing listened, or the connection broke.
    broken,
    /// Requests told 503 without a ticket.
    turned_away,
    /// Tickets given.
    parked,
    /// Tickets that ended so.
    released,
    /// Tickets that ended so.
    expired,
    /// Tickets that ended so.
    refused,
    /// Tickets that ended so.
    failed,
    /// Tickets that ended so.
    abandoned,
    /// Requests that parked again after their endpoint was gone.
    parked_again,
    /// Requests sent a second time, as they may be.
    resent,
    /// Streams opened.
    streams,
    /// Streams that stopped counting.
    fell_silent,
    /// Streams ended since their pod was the target's no more.
    streams_let_go,
    /// Nodes that died under a pod.
    nodes_lost,
    /// Requests ended since their pod had left for long, on a node that was dead.
    dead_pods_left,
    /// Busy leases set by a response.
    leases,
    /// Busy leases written on a Sandbox.
    leases_written,
    /// Agents asked whether they are busy.
    agents_asked,
    /// Wakes sent by activators.
    wakes_asked,
    /// Wakes written: restored.
    restored,
    /// Wakes written: bound.
    bound,
    /// Sleeps written: suspended.
    suspended,
    /// Sleeps written: released.
    given_back,
    /// Objects that operators replaced, and so took our annotations from.
    replaced,
    /// Holds and leases asked for in bulk.
    marks,
    /// Those of them that too many waited for already.
    marks_refused,
    /// Orders called off that were told of once more.
    undrains_repeated,
    /// Wakes told to users.
    woke,
    /// Wakes of what a release had put to sleep, before its claim was deleted.
    woken_while_released,
    /// Wakes that found the sandbox awake or on its way.
    wakes_fenced,
    /// Sleeps that came too late.
    sleeps_fenced,
    /// Wakes that a scaler gave up.
    wakes_failed,
    /// Wakes that a scaler refused.
    wakes_refused,
    /// Drains asked for.
    drains,
    /// Answers to drains: Busy.
    drains_refused,
    /// Drains called off.
    drains_called_off,
    /// Requests that parked behind a gate.
    parked_behind_gate,
    /// Writes that arrived after newer events.
    writes_late,
    /// Writes that never arrived.
    writes_lost,
    /// Writes done whose answer never came.
    results_lost,
    /// Sleeps held back on their way beyond their time.
    writes_held,
    /// Sleeps without an answer that were made sure not to be done.
    sleeps_made_sure,
    /// Messages that never arrived.
    messages_lost,
    /// Messages that arrived twice.
    messages_doubled,
    /// Activators killed and started again.
    activator_crashes,
    /// Scalers killed and started again.
    scaler_crashes,
    /// Times that a scaler came to lead.
    leader_changes,
    /// Times that a scaler ceased to lead.
    leads_lost,
    /// Leaders told to end.
    rollouts,
    /// Processes suspended for a while.
    pauses,
    /// Requests of suspended scalers that came after all.
    writes_stuck,
    /// Processes that lost the API server for a while.
    offline,
    /// Scalers whose watches did not run for a while.
    blinded,
    /// Scalers for which the API server was too slow to renew a lease.
    leases_cut,
    /// Watches that broke.
    watch_gaps,
    /// Objects that vanished while a watch was broken.
    vanished_in_gaps,
    /// Memories of claims written.
    remembered,
    /// Memories beside live claims removed.
    collected,
    /// Carriers cut for a while.
    partitions,
    /// Addresses given to another pod than before.
    addresses_reused,
    /// Containers that died under their requests.
    pods_crashed,
    /// Pods deleted from outside.
    pods_evicted,
    /// Pods that listen later than anybody waits.
    pods_slow,
    /// Pods that never came up.
    pods_never_up,
    /// Wakes written while the old pod was still being deleted.
    woken_while_terminating,
    /// Operator's pins.
    holds,
    /// Modes set by hand.
    hand_flips,
    /// Sandboxes whose shutdownTime came.
    expiries,
    /// Sandboxes deleted and made again.
    deletions,
    /// Requests for names that nobody knows.
    strangers,
    /// Messages that no activator of the run has sent.
    forged,
    /// Quiet sandboxes whose sleep was awaited.
    quiet_awaited,
    /// Waiters whose release or reason was awaited after the faults.
    waiters_awaited,
}
