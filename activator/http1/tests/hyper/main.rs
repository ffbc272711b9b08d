//! The same bytes by this crate and by hyper, in both roles: what each takes them for, message by message.
//!
//! `REVEILLE_WIRE_INPUTS` says how many inputs each role gets (100,000), `REVEILLE_WIRE_SEED` where they begin.

use crate::message::{Outcome, Verdict};

mod client;
mod differences;
mod input;
mod memory;
mod message;
mod server;

#[test]
fn requests_are_what_hyper_takes_them_for() {
    compare(input::requests, |bytes| {
        (server::ours(bytes), server::hypers(bytes))
    });
}

#[test]
fn responses_are_what_hyper_takes_them_for() {
    compare(input::responses, |bytes| {
        (client::ours(bytes), client::hypers(bytes))
    });
}

fn compare(generate: fn(&mut fastrand::Rng) -> Vec<u8>, run: fn(&[u8]) -> (Outcome, Outcome)) {
    let (inputs, first) = (
        number("REVEILLE_WIRE_INPUTS", 100_000),
        number("REVEILLE_WIRE_SEED", 1),
    );
    let (mut alike, mut whole, mut explained) = (0, 0, std::collections::BTreeMap::new());
    for number in first..first + inputs {
        let bytes = generate(&mut fastrand::Rng::with_seed(number));
        let (ours, hypers) = run(&bytes);
        match differences::judge(&bytes, &ours, &hypers) {
            Verdict::Alike => {
                alike += 1;
                whole += ours
                    .messages
                    .iter()
                    .filter(|message| message.is_whole)
                    .count();
            }
            Verdict::Explained(why) => *explained.entry(why).or_insert(0) += 1,
            Verdict::Different => {
                let text = String::from_utf8_lossy(&bytes);
                unreachable!("input {number}: {text:?}\n  ours: {ours:?}\nhyper's: {hypers:?}");
            }
        }
    }
    println!("{inputs} inputs, {alike} alike with {whole} whole messages; {explained:#?}");
    assert!(
        whole as u64 > inputs / 10,
        "only {whole} whole messages in {inputs} inputs"
    );
}

#[expect(clippy::disallowed_methods, reason = "a test's size has no flag")]
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}
