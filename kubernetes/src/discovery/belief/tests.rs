use super::*;

const ALL: Served = EVERYTHING;

/// What is published after each of a row of looks.
fn after(before: Option<Served>, looks: &[Served]) -> Vec<Option<Served>> {
    let mut published = before;
    let mut missed = 0;
    let mut told = Vec::new();
    for seen in looks {
        let belief = believe(published, *seen, missed);
        missed = if belief.certain { 0 } else { missed + 1 };
        published = belief.served.or(published);
        told.push(published);
    }
    told
}

#[test]
fn what_is_there_is_believed_at_once() {
    assert_eq!(after(None, &[ALL]), [Some(ALL)]);
    let old = Served {
        sandboxes: Some(Version::V1Alpha1),
        ..ALL
    };
    assert_eq!(after(Some(ALL), &[old, ALL]), [Some(old), Some(ALL)]);
}

#[test]
fn at_the_start_a_second_look_makes_sure_of_what_is_missing() {
    let none = Served::default();
    assert_eq!(after(None, &[none, none]), [None, Some(none)]);
    assert_eq!(after(None, &[none, ALL]), [None, Some(ALL)]);
}

#[test]
fn what_was_there_is_gone_only_after_many_looks_in_a_row() {
    let without = Served {
        claims: None,
        ..ALL
    };
    let almost = vec![without; VANISHED as usize - 1];
    let mut looks = almost.clone();
    assert!(after(Some(ALL), &looks).iter().all(|it| *it == Some(ALL)));
    looks.push(without);
    assert_eq!(after(Some(ALL), &looks).last(), Some(&Some(without)));
    // One that sees it again starts the count anew.
    let looks = [almost.clone(), vec![ALL], almost].concat();
    assert!(after(Some(ALL), &looks).iter().all(|it| *it == Some(ALL)));
}

#[test]
fn what_is_new_is_not_kept_back_by_what_is_missing() {
    let before = Served {
        released_claims: false,
        ..ALL
    };
    let seen = Served {
        claims: None,
        ..ALL
    };
    assert_eq!(after(Some(before), &[seen]), [Some(ALL)]);
}

#[test]
fn only_a_server_that_has_all_in_the_newest_version_is_left_alone() {
    assert!(!ALL.may_improve());
    for worse in [
        Served {
            sandboxes: Some(Version::V1Alpha1),
            ..ALL
        },
        Served {
            claims: None,
            ..ALL
        },
        Served {
            policies: false,
            ..ALL
        },
        Served {
            released_claims: false,
            ..ALL
        },
    ] {
        assert!(worse.may_improve(), "{worse:?}");
    }
}
