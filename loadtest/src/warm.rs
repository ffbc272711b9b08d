//! An awake sandbox, through the activator and directly, in turns: what the hop costs.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::{Client, Place, histogram};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// Address of the agent itself, to compare with.
    #[arg(long)]
    direct: SocketAddr,
    /// Connections, each with one request at a time.
    #[arg(long, default_value_t = 50)]
    connections: usize,
    /// Seconds of each turn.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Turns of each way.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// One turn.
struct Turn {
    per_second: f64,
    latency: Histogram<u64>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    Client::connect(args.place.activator)
        .await?
        .send(args.place.request()?)
        .await
        .context("waking the sandbox first")?;
    println!(
        "  {:<10} {:>10} {:>9} {:>9} {:>9}",
        "way", "requests/s", "p50 ms", "p99 ms", "max ms"
    );
    let mut ratios = Vec::with_capacity(args.rounds);
    for _ in 0..args.rounds {
        let through = turn(&args, args.place.activator).await?;
        print_turn("activator", &through);
        let direct = turn(&args, args.direct).await?;
        print_turn("direct", &direct);
        ratios.push(direct.per_second / through.per_second);
    }
    ratios.sort_by(f64::total_cmp);
    if let Some(median) = ratios.get(ratios.len() / 2) {
        println!(
            "  direct / activator, requests per second: median {median:.2} of {} rounds",
            args.rounds
        );
    }
    Ok(())
}

async fn turn(args: &Args, address: SocketAddr) -> anyhow::Result<Turn> {
    let end = Instant::now() + Duration::from_secs(args.seconds);
    let mut connections = JoinSet::new();
    for _ in 0..args.connections {
        let place = args.place.clone();
        connections.spawn(async move {
            let mut latency = histogram()?;
            let mut client = Client::connect(address).await?;
            while Instant::now() < end {
                let begun = Instant::now();
                let answer = client.send(place.request()?).await?;
                anyhow::ensure!(
                    answer.status.is_success(),
                    "{address} answered {}",
                    answer.status
                );
                latency.saturating_record(u64::try_from(begun.elapsed().as_micros())?);
            }
            Ok::<_, anyhow::Error>(latency)
        });
    }
    let mut latency = histogram()?;
    while let Some(one) = connections.join_next().await {
        latency.add(one.context("a connection's task")??)?;
    }
    Ok(Turn {
        per_second: latency.len() as f64 / args.seconds as f64,
        latency,
    })
}

fn print_turn(way: &str, turn: &Turn) {
    let [p50, p99, max] = [
        turn.latency.value_at_quantile(0.5),
        turn.latency.value_at_quantile(0.99),
        turn.latency.max(),
    ]
    .map(|micros| micros as f64 / 1e3);
    println!(
        "  {way:<10} {:>10.0} {p50:>9.2} {p99:>9.2} {max:>9.2}",
        turn.per_second
    );
}
