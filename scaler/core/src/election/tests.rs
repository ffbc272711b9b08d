#![allow(clippy::disallowed_methods, reason = "a case has to begin somewhere")]

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn timing() -> Timing {
    Timing::default()
}

fn election(now: Instant) -> Election {
    Election::new("a".into(), timing(), now)
}

fn held(by: &str, version: &str, transitions: u64) -> Record {
    Record {
        version: version.into(),
        holder: Some(by.into()),
        transitions,
        lease: timing().lease,
    }
}

/// Polls and expects this step.
fn step(election: &mut Election, now: Instant) -> Step {
    election.poll(now).step.expect("a step is due")
}

/// Polls, expects a read, and answers it.
fn read(election: &mut Election, record: Option<Record>, now: Instant) {
    assert_eq!(step(election, now), Step::Read);
    election.observed(record, now);
}

/// Polls, and has whatever is due written as this version.
fn write(election: &mut Election, version: &str, now: Instant) -> Step {
    let step = step(election, now);
    election.done(&step, &Outcome::Written(version.into()), now);
    step
}

/// One that leads since `now`.
fn leader(now: Instant) -> Election {
    let mut election = election(now);
    read(&mut election, None, now);
    write(&mut election, "1", now);
    assert!(election.leads(now));
    election
}

#[test]
fn where_there_is_no_lease_it_is_created_and_leads() {
    let now = Instant::now();
    let mut election = election(now);
    read(&mut election, None, now);
    assert_eq!(
        step(&mut election, now),
        Step::Create { transitions: 1 },
        "and until it is done nobody leads"
    );
    assert!(!election.leads(now));
    let create = Step::Create { transitions: 1 };
    election.done(&create, &Outcome::Written("1".into()), now + SECOND);
    assert_eq!(election.leads_until(), Some(now + timing().renew_deadline));
    assert_eq!(
        (election.term(), election.holder()),
        (Some(1), Some(&"a".into()))
    );
}

#[test]
fn leading_is_counted_from_the_start_of_the_renewal_and_ends_by_itself() {
    let now = Instant::now();
    let mut election = leader(now);
    let poll = election.poll(now + SECOND);
    assert_eq!((poll.step, poll.next), (None, Some(now + 2 * SECOND)));
    let began = now + 2 * SECOND;
    let renew = step(&mut election, began);
    assert_eq!(
        renew,
        Step::Renew {
            version: "1".into()
        }
    );
    election.done(&renew, &Outcome::Written("2".into()), began + 5 * SECOND);
    let until = began + timing().renew_deadline;
    assert!(election.leads(until - SECOND));
    assert!(!election.leads(until));
    assert!(
        !election.leads(until + 3600 * SECOND),
        "a process that was suspended does not lead"
    );
}

#[test]
fn a_renewal_without_an_answer_is_followed_by_a_read_and_lengthens_nothing() {
    let now = Instant::now();
    let mut election = leader(now);
    let renew = step(&mut election, now + 2 * SECOND);
    election.done(&renew, &Outcome::Unknown, now + 3 * SECOND);
    assert_eq!(election.leads_until(), Some(now + timing().renew_deadline));
    read(&mut election, Some(held("a", "2", 1)), now + 4 * SECOND);
    assert_eq!(
        step(&mut election, now + 4 * SECOND),
        Step::Renew {
            version: "2".into()
        }
    );
}

#[test]
fn who_sees_another_hold_the_lease_leads_no_more() {
    let now = Instant::now();
    let mut election = leader(now);
    let renew = step(&mut election, now + 2 * SECOND);
    election.done(&renew, &Outcome::Conflict, now + 2 * SECOND);
    read(&mut election, Some(held("b", "2", 2)), now + 3 * SECOND);
    assert!(!election.leads(now + 3 * SECOND));
    assert_eq!(election.term(), None);
}

#[test]
fn anothers_lease_is_taken_when_it_has_not_changed_for_a_whole_lease_before_our_eyes() {
    let start = Instant::now();
    let mut election = election(start);
    read(&mut election, Some(held("b", "7", 3)), start);
    let mut now = start;
    let mut reads = 0;
    let take = loop {
        now = election.poll(now).next.unwrap_or(now).max(now);
        match election.poll(now).step {
            Some(Step::Read) if reads == 0 => {
                election.observed(Some(held("b", "8", 3)), now);
                reads += 1;
            }
            Some(Step::Read) => {
                election.observed(Some(held("b", "8", 3)), now);
                reads += 1;
            }
            Some(step) => break step,
            None => {}
        }
    };
    let version = "8".into();
    assert_eq!(
        take,
        Step::Take {
            version,
            transitions: 4
        }
    );
    let changed = start + timing().retry;
    assert_eq!(
        now,
        changed + timing().lease,
        "counted from the last change"
    );
    assert!(reads > 5);
}

#[test]
fn a_longer_lease_in_the_record_is_respected() {
    let now = Instant::now();
    let mut election = election(now);
    let lease = 60 * SECOND;
    let record = Record {
        lease,
        ..held("b", "7", 3)
    };
    read(&mut election, Some(record.clone()), now);
    read(&mut election, Some(record.clone()), now + 59 * SECOND);
    assert!(matches!(
        step(&mut election, now + 60 * SECOND),
        Step::Take { .. }
    ));
}

#[test]
fn the_loser_of_a_race_reads_again_and_waits() {
    let now = Instant::now();
    let mut election = election(now);
    let free = Record {
        holder: None,
        ..held("", "5", 2)
    };
    read(&mut election, Some(free), now);
    let take = step(&mut election, now);
    let version = "5".into();
    assert_eq!(
        take,
        Step::Take {
            version,
            transitions: 3
        }
    );
    election.done(&take, &Outcome::Conflict, now);
    assert_eq!(election.poll(now).step, None, "not at once");
    read(&mut election, Some(held("b", "6", 3)), now + SECOND);
    assert_eq!(step(&mut election, now + 4 * SECOND), Step::Read);
}

#[test]
fn a_record_of_an_earlier_life_under_the_same_name_is_anothers() {
    let now = Instant::now();
    let mut election = election(now);
    read(&mut election, Some(held("a", "5", 2)), now);
    assert!(!election.leads(now));
    assert_eq!(step(&mut election, now + 2 * SECOND), Step::Read);
    election.observed(Some(held("a", "5", 2)), now + 2 * SECOND);
    assert!(matches!(
        step(&mut election, now + timing().lease),
        Step::Take { transitions: 3, .. }
    ));
}

#[test]
fn a_lease_whose_taking_got_no_answer_is_not_believed_to_be_ours() {
    let now = Instant::now();
    let mut election = election(now);
    let free = Record {
        holder: None,
        ..held("", "5", 2)
    };
    read(&mut election, Some(free), now);
    let take = step(&mut election, now);
    election.done(&take, &Outcome::Unknown, now);
    read(&mut election, Some(held("a", "6", 3)), now + SECOND);
    assert!(!election.leads(now + SECOND));
    assert_eq!(step(&mut election, now + 3 * SECOND), Step::Read);
}

#[test]
fn a_lease_that_was_deleted_is_made_again_at_once_only_by_its_holder() {
    let now = Instant::now();
    let mut holder = leader(now);
    let renew = step(&mut holder, now + 2 * SECOND);
    holder.done(&renew, &Outcome::Conflict, now + 2 * SECOND);
    read(&mut holder, None, now + 3 * SECOND);
    assert_eq!(
        step(&mut holder, now + 3 * SECOND),
        Step::Create { transitions: 2 }
    );

    let mut other = Election::new("b".into(), timing(), now);
    read(&mut other, Some(held("a", "1", 1)), now);
    read(&mut other, None, now + 2 * SECOND);
    assert_eq!(other.poll(now + 2 * SECOND).step, None);
    read(&mut other, None, now + 4 * SECOND);
    let expired = now + timing().lease;
    assert_eq!(step(&mut other, expired), Step::Create { transitions: 2 });
}

#[test]
fn who_resigns_leads_no_more_and_gives_the_lease_up_only_when_its_writes_have_ended() {
    let now = Instant::now();
    let mut election = leader(now);
    election.resign(now + 4 * SECOND);
    assert!(!election.leads(now));
    let poll = election.poll(now + SECOND);
    assert_eq!((poll.step, poll.next), (None, Some(now + 4 * SECOND)));
    election.resign(now + 2 * SECOND);
    election.resign(now + 3 * SECOND);
    let give_up = write(&mut election, "2", now + 2 * SECOND);
    assert_eq!(
        give_up,
        Step::GiveUp {
            version: "1".into()
        }
    );
    assert!(election.is_over());
    let poll = election.poll(now + 60 * SECOND);
    assert_eq!((poll.step, poll.next), (None, None));
}

#[test]
fn who_resigns_while_taking_gives_up_what_it_took_and_otherwise_has_nothing_to_give_up() {
    let now = Instant::now();
    let mut election = election(now);
    read(&mut election, None, now);
    let create = step(&mut election, now);
    election.resign(now);
    assert!(!election.is_over());
    election.done(&create, &Outcome::Written("1".into()), now);
    assert!(!election.leads(now));
    assert!(matches!(step(&mut election, now), Step::GiveUp { .. }));

    let mut other = Election::new("b".into(), timing(), now);
    read(&mut other, Some(held("a", "1", 1)), now);
    other.resign(now);
    assert!(other.is_over());
    assert_eq!(other.poll(now + 60 * SECOND).step, None);
}

#[test]
fn a_lease_that_was_given_up_is_taken_at_once() {
    let now = Instant::now();
    let mut election = election(now);
    read(&mut election, Some(held("b", "5", 2)), now);
    let free = Record {
        holder: Some("".into()),
        ..held("", "6", 2)
    };
    read(&mut election, Some(free), now + 2 * SECOND);
    assert!(matches!(
        write(&mut election, "7", now + 2 * SECOND),
        Step::Take { transitions: 3, .. }
    ));
    assert!(election.leads(now + 2 * SECOND));
}

#[test]
fn an_answer_to_no_question_changes_nothing() {
    let now = Instant::now();
    let mut election = election(now);
    election.observed(None, now);
    let create = Step::Create { transitions: 1 };
    election.done(&create, &Outcome::Written("1".into()), now);
    assert!(!election.leads(now));
    assert_eq!(step(&mut election, now), Step::Read);
}

#[test]
fn intervals_leave_time_for_the_last_write_to_end() {
    let write_timeout = 4 * SECOND;
    assert!(Timing::default().is_safe(write_timeout));
    assert!(!Timing::default().is_safe(5 * SECOND));
    let renew_deadline = 14 * SECOND;
    let late = Timing {
        renew_deadline,
        ..timing()
    };
    assert!(!late.is_safe(write_timeout));
    let retry = 6 * SECOND;
    assert!(!Timing { retry, ..timing() }.is_safe(write_timeout));
}
