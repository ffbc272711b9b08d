//! Logs: one readable line a piece of news on a terminal, JSON elsewhere.

use std::io;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use self::human::Writer;
use crate::cli::BadConfiguration;

mod fold;
mod human;

/// Target of the NATS client's log.
const NATS_CLIENT: &str = "async_nats";
/// Target of the HTTP/2 library's log.
const HTTP2: &str = "h2";

/// How this process speaks.
#[derive(Debug, Args)]
pub(crate) struct TelemetryArgs {
    /// Form of the log on standard error.
    #[arg(long, env = "REVEILLE_LOG_FORMAT", value_enum, default_value_t = LogFormat::Auto, global = true)]
    log_format: LogFormat,
    /// What is logged: a level, or `target=level` pairs separated by commas. `debug` shows every request.
    #[arg(
        long,
        env = "REVEILLE_LOG",
        value_name = "FILTER",
        value_parser = filter,
        default_value = "info",
        global = true
    )]
    log: String,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// `human` on a terminal, else `json`.
    Auto,
    /// One sentence a line.
    Human,
    /// One JSON object a line.
    Json,
}

/// The log of this process; what a person is still to be told is written when it is dropped.
#[must_use]
pub(crate) struct Telemetry {
    /// If it speaks to a person.
    writer: Option<Writer>,
}

impl Telemetry {
    /// Whether a person reads it.
    pub(crate) fn is_for_a_person(&self) -> bool {
        self.writer.is_some()
    }
}

/// Sets the process's only subscriber.
///
/// # Errors
/// If the filter does not parse.
pub(crate) fn init(args: &TelemetryArgs) -> Result<Telemetry, BadConfiguration> {
    // The NATS client logs each of its steps as news, and the HTTP/2 library warns of each frame of a stranger
    // that it finds odd; what matters of them is logged where it matters.
    let log = [(NATS_CLIENT, "warn"), (HTTP2, "error")]
        .into_iter()
        .filter(|(target, _)| !args.log.contains(&format!("{target}=")))
        .fold(args.log.clone(), |log, (target, level)| {
            format!("{log},{target}={level}")
        });
    let filter = EnvFilter::try_new(log)
        .map_err(|error| BadConfiguration(format!("--log {:?}: {error}", args.log)))?;
    let registry = tracing_subscriber::registry().with(filter);
    let is_for_a_person = match args.log_format {
        LogFormat::Auto => human::is_terminal(),
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    if is_for_a_person {
        let (layer, writer) = human::open();
        registry.with(layer).init();
        return Ok(Telemetry {
            writer: Some(writer),
        });
    }
    let json = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        // It would panic on a terminal that was closed.
        .log_internal_errors(false)
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false);
    registry.with(json).init();
    Ok(Telemetry { writer: None })
}

/// A filter that hides nothing by mistake: `EnvFilter` takes an unknown word for the name of a target, and
/// then shows nothing else.
fn filter(text: &str) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let wrong = |part: &str| {
        format!(
            "{part:?} is no level; write one of {}, or target=level pairs, for example info,reveille_scaler=debug",
            LEVELS.join(", ")
        )
    };
    for part in text.split(',') {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        if !LEVELS.contains(&level.to_ascii_lowercase().as_str()) {
            return Err(wrong(part));
        }
    }
    EnvFilter::try_new(text).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_would_silence_everything_is_refused() {
        for good in [
            "info",
            "DEBUG",
            "off",
            "warn,reveille_scaler=debug",
            "a::b=trace",
        ] {
            assert_eq!(filter(good), Ok(good.to_owned()));
        }
        for bad in [
            "loud",
            "",
            "info,",
            "reveille_scaler=loud",
            "reveille_scaler",
            "info debug",
        ] {
            let told = filter(bad).unwrap_err();
            assert!(
                told.contains("write one of error, warn, info"),
                "{bad}: {told}"
            );
        }
    }
}
