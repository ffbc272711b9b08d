//! One request to a sleeping sandbox, again and again: what a user waits, and where the time goes.

use hdrhistogram::Histogram;
use tokio::time::Instant;

use crate::client::{Client, Place, histogram};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// Times the sandbox is put to sleep and woken.
    #[arg(long, default_value_t = 20)]
    cycles: u32,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let mut total = histogram()?;
    let mut phases = [
        ("park", histogram()?),
        ("wake", histogram()?),
        ("connect", histogram()?),
    ];
    let mut failed = 0;
    for _ in 0..args.cycles {
        args.place.put_to_sleep().await?;
        let mut client = Client::connect(args.place.activator).await?;
        let begun = Instant::now();
        let answer = client.send(args.place.request()?).await?;
        total.saturating_record(u64::try_from(begun.elapsed().as_micros())?);
        if !answer.status.is_success() {
            failed += 1;
        }
        let timing = answer
            .headers
            .get("server-timing")
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        for (name, histogram) in &mut phases {
            if let Some(millis) = duration_of(timing, name) {
                histogram.saturating_record(micros(millis));
            }
        }
    }
    println!(
        "{} wakes of {}, {failed} failed; milliseconds",
        args.cycles, args.place.sandbox
    );
    println!("  {:<8} {:>9} {:>9} {:>9}", "", "p50", "p99", "max");
    print_row("total", &total);
    for (name, histogram) in &phases {
        print_row(name, histogram);
    }
    Ok(())
}

fn print_row(name: &str, histogram: &Histogram<u64>) {
    let [p50, p99, max] = [
        histogram.value_at_quantile(0.5),
        histogram.value_at_quantile(0.99),
        histogram.max(),
    ]
    .map(|micros| micros as f64 / 1e3);
    println!("  {name:<8} {p50:>9.2} {p99:>9.2} {max:>9.2}");
}

/// `dur` of one metric of a Server-Timing header, in milliseconds.
fn duration_of(timing: &str, name: &str) -> Option<f64> {
    timing.split(',').find_map(|metric| {
        let mut parts = metric.split(';').map(str::trim);
        (parts.next() == Some(name))
            .then(|| parts.find_map(|part| part.strip_prefix("dur=")?.parse().ok()))?
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a wait of some minutes at most, never negative"
)]
fn micros(millis: f64) -> u64 {
    (millis.max(0.0) * 1e3) as u64
}

#[cfg(test)]
mod tests {
    use super::duration_of;

    #[test]
    fn phases_are_read_from_server_timing() {
        let timing = "park;dur=212.5, wake;desc=\"joined\";dur=190, connect;dur=0.3";
        assert_eq!(duration_of(timing, "wake"), Some(190.0));
        assert_eq!(duration_of(timing, "connect"), Some(0.3));
        assert_eq!(duration_of(timing, "db"), None);
    }
}
