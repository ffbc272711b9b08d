//! `reveille scaler`.

use std::num::NonZeroU32;

use clap::Args;

use super::{CarrierArgs, ClusterArgs, PolicyArgs, value};

/// `reveille scaler`.
#[derive(Debug, Args)]
pub(crate) struct ScalerCommand {
    /// Names of the activators that must be heard before anything is put to sleep, separated by commas,
    /// where they run in no pods of this cluster.
    #[arg(
        long,
        value_name = "NAME",
        value_parser = value::activator,
        env = "REVEILLE_ACTIVATORS",
        value_delimiter = ',',
        conflicts_with_all = ["activator_selector", "activator_namespace"]
    )]
    activators: Vec<String>,
    /// Labels of the activators' pods. Each that runs must be heard before anything is put to sleep.
    #[arg(
        long,
        value_name = "SELECTOR",
        value_parser = value::text,
        env = "REVEILLE_ACTIVATOR_SELECTOR",
        default_value = "app.kubernetes.io/name=reveille-activator"
    )]
    activator_selector: String,
    /// Namespace of the activators' pods [default: the scaler's own].
    #[arg(long, value_name = "NAMESPACE", value_parser = value::label, env = "REVEILLE_ACTIVATOR_NAMESPACE")]
    activator_namespace: Option<String>,
    /// Name of the Lease whose holder puts sandboxes to sleep.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "reveille-scaler",
        value_parser = value::label,
        env = "REVEILLE_LEASE_NAME"
    )]
    pub(crate) lease_name: String,
    /// Namespace of that Lease [default: the scaler's own].
    #[arg(long, value_name = "NAMESPACE", value_parser = value::label, env = "REVEILLE_LEASE_NAMESPACE")]
    pub(crate) lease_namespace: Option<String>,
    /// Writes per second in the long run: wakes go before sleeps, sleeps before status.
    #[arg(
        long,
        value_name = "N",
        default_value = "50",
        env = "REVEILLE_WRITES_PER_SECOND"
    )]
    pub(crate) writes_per_second: NonZeroU32,
    /// Writes that may go at once after a pause.
    #[arg(
        long,
        value_name = "N",
        default_value = "100",
        env = "REVEILLE_WRITE_BURST"
    )]
    pub(crate) write_burst: NonZeroU32,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    #[command(flatten)]
    pub(crate) carrier: CarrierArgs,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
}

/// Where the names of the activators come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Members {
    /// These, whether they run or not.
    Named(Vec<String>),
    /// The running pods with these labels.
    Pods {
        /// `None` is the scaler's own.
        namespace: Option<String>,
        selector: String,
    },
}

impl ScalerCommand {
    /// Whose silence blocks every sleep.
    pub(crate) fn members(&self) -> Members {
        if self.activators.is_empty() {
            return Members::Pods {
                namespace: self.activator_namespace.clone(),
                selector: self.activator_selector.clone(),
            };
        }
        Members::Named(self.activators.clone())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn members(flags: &[&str]) -> Result<Members, String> {
        let all = ["reveille", "scaler"].iter().chain(flags);
        let cli = Cli::try_parse_from(all).map_err(|error| error.to_string())?;
        let Command::Scaler(command) = cli.command else {
            unreachable!("it was asked for")
        };
        Ok(command.members())
    }

    #[test]
    fn activators_are_those_with_the_usual_label_unless_they_are_named() {
        let pods = |namespace: Option<&str>| Members::Pods {
            namespace: namespace.map(str::to_owned),
            selector: "app.kubernetes.io/name=reveille-activator".to_owned(),
        };
        assert_eq!(members(&[]), Ok(pods(None)));
        let elsewhere = ["--activator-namespace", "edge"];
        assert_eq!(members(&elsewhere), Ok(pods(Some("edge"))));
        let named = Members::Named(vec!["one".to_owned(), "two".to_owned()]);
        assert_eq!(members(&["--activators", "one,two"]), Ok(named));
    }

    #[test]
    fn a_name_that_no_activator_reports_is_refused() {
        let error = members(&["--activators", "one.example"]).unwrap_err();
        assert!(error.contains("one.example"), "{error}");
        let both = ["--activators", "one", "--activator-selector", "a=b"];
        assert!(members(&both).is_err());
    }
}
