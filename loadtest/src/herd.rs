//! Many requests at once to one sleeping sandbox: one wake, every answer.

use std::collections::BTreeMap;

use anyhow::Context;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::{Client, Place};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// Requests, each on a connection of its own.
    #[arg(long, default_value_t = 500)]
    requests: usize,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    args.place.put_to_sleep().await?;
    let mut clients = Vec::with_capacity(args.requests);
    for _ in 0..args.requests {
        clients.push(Client::connect(args.place.activator).await?);
    }
    let begun = Instant::now();
    let mut answers = JoinSet::new();
    for mut client in clients {
        let request = args.place.request()?;
        answers.spawn(async move {
            client
                .send(request)
                .await
                .map(|answer| (answer, begun.elapsed()))
        });
    }
    let mut outcomes = BTreeMap::<String, usize>::new();
    let mut times = Vec::with_capacity(args.requests);
    while let Some(answer) = answers.join_next().await {
        let outcome = match answer.context("a request's task")? {
            Ok((answer, took)) => {
                times.push(took);
                let wake = answer
                    .headers
                    .get("x-reveille-wake")
                    .and_then(|value| value.to_str().ok())
                    .unwrap_or("-");
                format!("{} wake={wake}", answer.status.as_u16())
            }
            Err(error) => format!("error: {error:#}"),
        };
        *outcomes.entry(outcome).or_default() += 1;
    }
    times.sort_unstable();
    println!(
        "{} requests to {} while it slept",
        args.requests, args.place.sandbox
    );
    for (outcome, count) in &outcomes {
        println!("  {count:>6}  {outcome}");
    }
    if let (Some(first), Some(last)) = (times.first(), times.last()) {
        println!("  first answer after {first:.1?}, last after {last:.1?}");
    }
    Ok(())
}
