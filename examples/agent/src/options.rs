//! Command line of the agent. Every flag can come from the environment, as pods set it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Parser;

/// A small agent that remembers its conversation across sleeps.
#[derive(Clone, Debug, Parser)]
#[command(name = "example-agent", version)]
pub(crate) struct Options {
    /// Address to listen on.
    #[arg(long, env = "HOST", default_value = "0.0.0.0")]
    pub(crate) host: IpAddr,
    /// Port to listen on.
    #[arg(long, env = "PORT", default_value_t = 8888)]
    pub(crate) port: u16,
    /// Name the agent gives itself.
    #[arg(long, env = "AGENT_NAME", default_value = "agent")]
    pub(crate) name: String,
    /// Host name to show; the machine's where none is set.
    #[arg(long, env = "HOSTNAME")]
    pub(crate) hostname: Option<String>,
    /// Folder of the conversation; without it the agent forgets when it sleeps.
    #[arg(long, env = "DATA_DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Milliseconds before the port opens: a model to load, an interpreter to start.
    #[arg(long, env = "START_DELAY_MS", default_value_t = 0)]
    pub(crate) start_delay_ms: u64,
    /// Milliseconds from the open port to the first positive answer of /readyz.
    #[arg(long, env = "READY_DELAY_MS", default_value_t = 0)]
    pub(crate) ready_delay_ms: u64,
    /// Exit with code 3 on start: `always`, or as often as the number says (counted in --data).
    #[arg(long, env = "CRASH_ON_START")]
    pub(crate) crash_on_start: Option<CrashOnStart>,
    /// Answer /readyz with 503 for ever.
    #[arg(long, env = "NEVER_READY")]
    pub(crate) never_ready: bool,
    /// Run without ever opening the port.
    #[arg(long, env = "REFUSE_PORT")]
    pub(crate) refuse_port: bool,
    /// Ignore SIGTERM, so that only SIGKILL ends the agent.
    #[arg(long, env = "IGNORE_TERM")]
    pub(crate) ignore_term: bool,
    /// Serve POST /execute, which runs any command given to it.
    #[arg(long, env = "ALLOW_EXECUTE")]
    pub(crate) allow_execute: bool,
    /// Folder of the files that sandbox SDKs upload, list and download; /execute runs there.
    #[arg(long, env = "WORKSPACE")]
    pub(crate) workspace: Option<PathBuf>,
}

/// How often a start fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CrashOnStart {
    /// Every time.
    Always,
    /// So many times, then never again.
    Times(u32),
}

impl FromStr for CrashOnStart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "always" => Ok(Self::Always),
            number => number
                .parse()
                .map(Self::Times)
                .map_err(|_| format!("expected `always` or a number, found `{number}`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_or_always_says_how_often_a_start_fails() {
        assert_eq!("always".parse(), Ok(CrashOnStart::Always));
        assert_eq!("2".parse(), Ok(CrashOnStart::Times(2)));
        assert!("twice".parse::<CrashOnStart>().is_err());
    }

    #[test]
    fn the_command_line_alone_is_enough() {
        let options =
            Options::try_parse_from(["example-agent", "--port", "7", "--never-ready"]).unwrap();
        assert_eq!(options.port, 7);
        assert!(options.never_ready);
    }
}
