//! Random histories of claims and memories: what is told in the end is what is there.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const NAMES: [&str; 2] = ["a", "b"];
const HOLD: Duration = Duration::from_secs(1);

/// What one of the two watches tells, or time that passes.
#[derive(Clone, Debug)]
enum Event {
    Lives(usize, u8),
    Died(usize),
    Remembered(usize, u8),
    Forgotten(usize),
    Settled,
    Behind,
    /// Tenths of [`HOLD`].
    Passes(u32),
}

fn event() -> impl Strategy<Value = Event> {
    let name = || 0..NAMES.len();
    prop_oneof![
        (name(), 0..3_u8).prop_map(|(name, uid)| Event::Lives(name, uid)),
        name().prop_map(Event::Died),
        (name(), 0..3_u8).prop_map(|(name, uid)| Event::Remembered(name, uid)),
        name().prop_map(Event::Forgotten),
        Just(Event::Settled),
        Just(Event::Behind),
        (1..15_u32).prop_map(Event::Passes),
    ]
}

fn key(name: usize) -> SandboxKey {
    SandboxKey::new("agents", NAMES[name]).unwrap()
}

fn facts(uid: u8, released: bool) -> Arc<ClaimFacts> {
    Arc::new(ClaimFacts {
        uid: uid.to_string().into(),
        released,
        ..ClaimFacts::default()
    })
}

/// The claims under test, what the two watches have told, and what was made of it.
struct Model {
    claims: Claims,
    living: BTreeMap<SandboxKey, u8>,
    remembered: BTreeMap<SandboxKey, u8>,
    told: BTreeMap<SandboxKey, Arc<ClaimFacts>>,
    now: Instant,
}

impl Model {
    fn new(leftovers: bool) -> Self {
        Self {
            claims: Claims::new(leftovers),
            living: BTreeMap::new(),
            remembered: BTreeMap::new(),
            told: BTreeMap::new(),
            now: Instant::now(),
        }
    }

    fn happens(&mut self, event: &Event) {
        let hold = self.now + HOLD;
        let changes = match *event {
            Event::Lives(name, uid) => {
                self.living.insert(key(name), uid);
                self.claims
                    .lives(key(name), facts(uid, false))
                    .into_iter()
                    .collect()
            }
            Event::Remembered(name, uid) => {
                self.remembered.insert(key(name), uid);
                let memory = format!("memory {uid}").into();
                let told = self
                    .claims
                    .is_remembered(key(name), memory, facts(uid, true));
                told.into_iter().collect()
            }
            // A watch tells gone only what it told.
            Event::Died(name) if self.living.remove(&key(name)).is_some() => {
                self.claims.died(key(name), hold).into_iter().collect()
            }
            Event::Forgotten(name) if self.remembered.remove(&key(name)).is_some() => self
                .claims
                .is_forgotten(key(name), hold)
                .into_iter()
                .collect(),
            Event::Settled => self.claims.settle(),
            Event::Passes(tenths) => {
                self.now += HOLD * tenths / 10;
                let gone = self.claims.let_go(self.now).into_iter();
                gone.map(|key| Change::Claim(key, None)).collect()
            }
            Event::Behind => {
                self.claims.hold_on(hold);
                Vec::new()
            }
            Event::Died(_) | Event::Forgotten(_) => Vec::new(),
        };
        for change in changes {
            match change {
                Change::Claim(key, Some(facts)) => drop(self.told.insert(key, facts)),
                Change::Claim(key, None) => drop(self.told.remove(&key)),
                other => panic!("{other:?}"),
            }
        }
    }

    /// What is to be told of a name once nothing is held back.
    fn expected(&self, key: &SandboxKey, leftovers: bool) -> Option<Arc<ClaimFacts>> {
        let memory = self.remembered.get(key);
        let Some(uid) = self.living.get(key) else {
            return memory.map(|uid| facts(*uid, true));
        };
        let leftover = memory.filter(|_| leftovers);
        Some(Arc::new(ClaimFacts {
            leftover: leftover.map(|uid| format!("memory {uid}").into()),
            ..ClaimFacts::clone(&facts(*uid, false))
        }))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn what_is_told_in_the_end_is_what_is_there(
        history in prop::collection::vec(event(), 1..40), leftovers in any::<bool>(),
    ) {
        let mut model = Model::new(leftovers);
        for event in &history {
            let before = model.told.clone();
            let settled = model.claims.settled;
            model.happens(event);
            for name in 0..NAMES.len() {
                let (key, expected) = (key(name), model.expected(&key(name), leftovers));
                // What is there is told at once; a memory only once every living claim is known.
                if settled && expected.is_some() {
                    prop_assert_eq!(model.told.get(&key), expected.as_ref(), "{:?}", event);
                }
                // Only time takes a name away, and a living one never.
                let vanished = before.contains_key(&key) && !model.told.contains_key(&key);
                prop_assert!(!vanished || matches!(event, Event::Passes(_)) && expected.is_none());
            }
        }
        model.happens(&Event::Settled);
        model.happens(&Event::Passes(20));
        for name in 0..NAMES.len() {
            let expected = model.expected(&key(name), leftovers);
            prop_assert_eq!(model.told.get(&key(name)), expected.as_ref());
        }
        prop_assert_eq!(model.claims.due(), None);
    }
}
