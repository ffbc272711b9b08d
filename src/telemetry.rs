//! Logs: one readable line a piece of news on a terminal, JSON elsewhere.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal};

use clap::{Args, ValueEnum};
use jiff::Zoned;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::cli::BadConfiguration;

/// Target of the NATS client's log.
const NATS_CLIENT: &str = "async_nats";

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

/// Sets the process's only subscriber; answers whether it speaks to a person.
///
/// # Errors
/// If the filter does not parse.
pub(crate) fn init(args: &TelemetryArgs) -> Result<bool, BadConfiguration> {
    // The NATS client tells of each of its steps as news; what matters of them is told by whoever has one.
    let log = if args.log.contains(NATS_CLIENT) {
        args.log.clone()
    } else {
        format!("{},{NATS_CLIENT}=warn", args.log)
    };
    let filter = EnvFilter::try_new(log)
        .map_err(|error| BadConfiguration(format!("--log {:?}: {error}", args.log)))?;
    let human = match args.log_format {
        LogFormat::Auto => io::stderr().is_terminal(),
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // It would panic on a terminal that was closed.
        .log_internal_errors(false)
        .with_writer(io::stderr);
    if human {
        builder.event_format(Human).init();
    } else {
        builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .init();
    }
    Ok(human)
}

/// `14:03:22 woke agents/alice in 212 ms: …`. News (INFO) is a sentence that says it all, its fields are
/// for machines; every other level shows itself and its fields.
struct Human;

impl<S, N> FormatEvent<S, N> for Human
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut sentence = Sentence::default();
        event.record(&mut sentence);
        write!(writer, "{} ", Zoned::now().strftime("%H:%M:%S"))?;
        match *event.metadata().level() {
            Level::INFO => writeln!(writer, "{}", sentence.message),
            level => writeln!(
                writer,
                "{}: {}{}",
                level.as_str().to_lowercase(),
                sentence.message,
                sentence.fields
            ),
        }
    }
}

/// The fields of one event, as they are read out.
#[derive(Default)]
struct Sentence {
    message: String,
    fields: String,
}

impl Sentence {
    fn put(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => Escaped(&mut self.message).write_fmt(value),
            name => write!(Escaped(&mut self.fields), " {name}={value}"),
        };
    }
}

impl Visit for Sentence {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, format_args!("{value}"));
    }
}

/// A line may hold the words of strangers, as what an agent left as its last: none of them begins a line
/// of its own, or reaches a terminal as a command.
struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for each in text.chars() {
            match each {
                '"' | '\'' | '\\' => self.0.push(each),
                _ => self.0.extend(each.escape_debug()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_stranger_stay_on_their_line_and_command_no_terminal() {
        let mut line = String::new();
        let words = "\"it's ü\"\n\u{1b}[2J\u{202e}";
        write!(Escaped(&mut line), "says {words}").unwrap();
        assert_eq!(line, r#"says "it's ü"\n\u{1b}[2J\u{202e}"#);
    }
}
