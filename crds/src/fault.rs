//! What a client is told of a [`Fault`]: our own sentence. The cluster's own words (API server, controllers,
//! kubelet) name accounts, nodes, registries and paths, which are for operators: log, Events and conditions.

use crate::change::Fault;

impl Fault {
    /// The sentence for the client.
    #[must_use]
    pub fn for_clients(&self) -> &'static str {
        for_clients(&self.reason)
    }
}

/// Whose fault it is, what to do, and whether asking again helps, by the reason alone.
#[must_use]
pub fn for_clients(reason: &str) -> &'static str {
    match reason {
        "ImagePullBackOff" | "ErrImagePull" | "InvalidImageName" => {
            "the image of the sandbox cannot be pulled; its operator reads why in the Events of its pod and has \
             to mend it"
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            "a container of the sandbox cannot be started; its operator reads why in the Events of its pod and \
             has to mend it"
        }
        "CrashLoopBackOff" => {
            "the program of the sandbox ends again and again; whoever made it reads why in the logs of its pod \
             and has to mend it"
        }
        "PodFailed" | "PodSucceeded" => {
            "the pod of the sandbox has ended; ask again to have it started anew, and if that does not help, its \
             operator reads why in the status of its pod"
        }
        "Unschedulable" => {
            "the cluster has no room for the sandbox now; ask again later, and if that does not help, its \
             operator has to make room"
        }
        "SandboxExpired" => "the sandbox has expired: its shutdownTime has passed",
        _ => {
            "the sandbox cannot be started as it is; its operator reads why in its conditions and has to mend it"
        }
    }
}

/// Whether what failed for this reason may go well after a pause, with nothing changed by anybody. Where it may
/// not, a client that is told when to ask again asks in vain.
#[must_use]
pub fn waiting_helps(reason: &str) -> bool {
    !matches!(
        reason,
        // A role, an admission policy; a name that is none.
        "WakeDenied" | "InvalidImageName"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_told_nothing_in_the_words_of_the_cluster() {
        let secret = r#"pods "alice" is forbidden: User "system:serviceaccount:agents:builder""#;
        for reason in [
            "ReconcilerError",
            "BindingFailed",
            "ImagePullBackOff",
            secret,
        ] {
            let fault = Fault {
                reason: reason.into(),
                message: secret.into(),
            };
            let told = fault.for_clients();
            assert!(!told.contains("forbidden"), "{told}");
            assert!(told.contains("operator"), "who is to mend it: {told}");
        }
    }
}
