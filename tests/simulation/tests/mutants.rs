//! Each invariant's check can fail: with one rule switched off it does, and it is the right one.

use reveille_simulation::invariants::Invariant;
use reveille_simulation::mutant::Mutant;
use reveille_simulation::run;

/// Within so many schedules a mutant has to be caught. All but one are within the first 700; a claim that is
/// deleted while its Sandbox is awake is harmless but for the moment in which somebody begins to use it.
const WITHIN: u64 = 6000;

/// The first invariant that it breaks is its own.
fn is_caught(mutant: Mutant) {
    let caught = (0..WITHIN).find_map(|seed| run(seed, Some(mutant), 0).err());
    let caught = caught.map(|failure| failure.violation.invariant);
    assert_eq!(
        caught,
        Some(mutant.breaks()),
        "{mutant:?} within {WITHIN} schedules"
    );
}

/// For a mutant that goes wrong in several ways: some schedule shows its own.
fn is_caught_by_its_own(mutant: Mutant) {
    let caught = (0..WITHIN).any(|seed| {
        let failure = run(seed, Some(mutant), 0).err();
        failure.is_some_and(|failure| failure.violation.invariant == mutant.breaks())
    });
    assert!(caught, "{mutant:?} within {WITHIN} schedules");
}

#[test]
fn every_invariant_has_a_mutant_that_breaks_it() {
    for invariant in Invariant::ALL {
        let breaks = Mutant::ALL
            .iter()
            .any(|mutant| mutant.breaks() == invariant);
        assert!(
            breaks,
            "invariant {} ({invariant:?}) has no mutant",
            invariant.number()
        );
    }
}

#[test]
fn tickets_that_never_expire_are_noticed() {
    is_caught(Mutant::TicketsNeverExpire);
}

#[test]
fn wakes_that_are_not_repeated_are_noticed() {
    is_caught(Mutant::WakesNotRepeated);
}

#[test]
fn a_wake_for_every_ask_is_noticed() {
    is_caught(Mutant::WakePerAsk);
}

#[test]
fn a_forged_answer_to_a_drain_is_noticed() {
    is_caught(Mutant::DrainForged);
}

#[test]
fn requests_sent_again_without_regard_are_noticed() {
    is_caught(Mutant::EverythingResent);
}

#[test]
fn a_remembered_address_is_noticed() {
    is_caught(Mutant::AddressRemembered);
}

#[test]
fn a_terminating_pod_taken_for_the_present_one_is_noticed() {
    is_caught(Mutant::TerminatingAccepted);
}

#[test]
fn a_new_pod_beside_the_old_one_is_noticed() {
    is_caught(Mutant::OldPodForgotten);
}

#[test]
fn a_store_that_does_not_test_a_sleep_is_noticed() {
    is_caught(Mutant::FenceIgnored);
}

#[test]
fn a_lost_cooldown_timer_is_noticed() {
    is_caught(Mutant::CooldownTimerLost);
}

#[test]
fn slots_for_strangers_are_noticed() {
    is_caught(Mutant::StrangersRemembered);
}

#[test]
fn last_come_first_served_is_noticed() {
    is_caught(Mutant::LastComeFirst);
}

#[test]
fn a_hold_that_is_not_seen_is_noticed() {
    is_caught(Mutant::HoldStripped);
}

#[test]
fn a_mode_written_without_testing_the_hold_is_noticed() {
    is_caught(Mutant::HoldUnfenced);
}

#[test]
fn a_sleep_written_without_testing_the_lease_is_noticed() {
    is_caught(Mutant::LeaseUnfenced);
}

#[test]
fn a_deadline_that_begins_anew_after_a_pause_is_noticed() {
    is_caught(Mutant::DeadlineAnew);
}

#[test]
fn an_election_by_the_wall_clock_is_noticed() {
    is_caught(Mutant::ElectionByWallClock);
}

#[test]
fn an_election_that_leaves_the_last_write_no_time_is_noticed() {
    is_caught(Mutant::ElectionWithoutMargin);
}

#[test]
fn a_leader_that_is_not_checked_before_it_writes_is_noticed() {
    is_caught(Mutant::LeadUnchecked);
}

#[test]
fn deletions_lost_while_a_watch_was_broken_are_noticed() {
    is_caught(Mutant::DeletesLost);
}

#[test]
fn an_activator_that_trusts_what_it_cannot_see_is_noticed() {
    is_caught(Mutant::BlindTrusted);
}

#[test]
fn an_activator_that_takes_clients_at_once_is_noticed() {
    is_caught(Mutant::Unsettled);
}

#[test]
fn a_list_of_activators_that_never_changes_is_noticed() {
    is_caught(Mutant::MembersFixed);
}

#[test]
fn a_release_without_preconditions_is_noticed() {
    is_caught(Mutant::ReleaseUnfenced);
}

#[test]
fn a_memory_collected_without_stopping_older_deletes_is_noticed() {
    is_caught(Mutant::CollectUntouched);
}

#[test]
fn a_release_taken_back_without_knowing_is_noticed() {
    is_caught(Mutant::MemoryTakenBack);
}

#[test]
fn a_claim_taken_for_gone_by_one_of_two_watches_is_noticed() {
    is_caught(Mutant::ClaimsNotHeld);
}

#[test]
fn a_scaler_that_puts_to_sleep_what_it_cannot_see_is_noticed() {
    is_caught(Mutant::BlindLeader);
}

#[test]
fn a_wake_taken_back_within_its_time_is_noticed() {
    is_caught(Mutant::Impatient);
}

#[test]
fn a_sleep_without_an_answer_that_is_left_to_itself_is_noticed() {
    is_caught(Mutant::LostSleepLeft);
}

#[test]
fn a_claim_deleted_under_a_sandbox_that_is_awake_is_noticed() {
    is_caught(Mutant::SandboxLeftAwake);
}

#[test]
fn a_wake_that_leaves_a_release_on_its_way_is_noticed() {
    is_caught(Mutant::MarkIgnored);
}

#[test]
fn a_machine_that_is_not_told_of_a_replaced_object_is_noticed() {
    // Who takes it for asleep does not put it to sleep either, which shows sooner.
    is_caught_by_its_own(Mutant::EpochOverObject);
}

#[test]
fn a_write_that_leaves_the_epoch_is_noticed() {
    is_caught(Mutant::EpochKept);
}

#[test]
fn a_wake_told_by_who_did_not_write_it_is_noticed() {
    is_caught(Mutant::OthersWakeTold);
}

#[test]
fn marks_that_go_before_wakes_are_noticed() {
    is_caught(Mutant::MarksAsWakes);
}

#[test]
fn a_request_that_waits_for_a_dead_pod_for_ever_is_noticed() {
    is_caught_by_its_own(Mutant::DeadPodsAwaited);
}

#[test]
fn heartbeats_that_count_are_noticed() {
    is_caught(Mutant::HeartbeatsCount);
}

#[test]
fn a_stream_that_was_silent_once_and_never_counts_again_is_noticed() {
    is_caught(Mutant::SilentForEver);
}

#[test]
fn a_silent_stream_that_stays_open_to_nothing_is_noticed() {
    is_caught(Mutant::SilentKept);
}

#[test]
fn an_order_that_is_called_off_once_is_noticed() {
    is_caught_by_its_own(Mutant::UndrainOnce);
}

#[test]
fn an_order_whose_gates_outlive_its_scaler_for_long_is_noticed() {
    is_caught_by_its_own(Mutant::OrderHeldLong);
}

#[test]
fn a_gate_that_goes_by_the_epoch_alone_is_noticed() {
    is_caught_by_its_own(Mutant::GateByEpochAlone);
}

#[test]
fn an_order_that_gives_what_is_in_flight_no_time_is_noticed() {
    is_caught(Mutant::GraceSkipped);
}
