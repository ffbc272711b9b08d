//! What holds where no ScaledSandbox says anything. Activator and scaler must agree on it.

use clap::Args;

#[derive(Debug, Args)]
#[command(next_help_heading = "Policy")]
pub(crate) struct PolicyArgs {
    /// Whether a request wakes a sandbox that no ScaledSandbox governs.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, env = "REVEILLE_WAKE_UNMANAGED")]
    pub(crate) wake_unmanaged: bool,
}
