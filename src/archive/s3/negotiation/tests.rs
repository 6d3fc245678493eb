use super::*;

fn refused(text: &str) -> Failure {
    Failure { may_be_refusal: true, ..StoreError::Setup { reason: "invalid", message: text.to_owned() }.into() }
}

/// Sends a request to a store that takes what is judged so; how often, and whether it was taken.
fn negotiated(mut attempt: Attempt<'_>, takes: impl Fn(Terms) -> bool) -> (u32, bool) {
    for sent in 1.. {
        if takes(attempt.terms()) {
            attempt.succeeded();
            return (sent, true);
        }
        if attempt.failed(refused("no")).is_err() {
            return (sent, false);
        }
    }
    unreachable!("there are only so many terms")
}

#[test]
fn what_succeeds_after_a_refusal_is_kept() {
    let puts = Negotiation::of_puts(ChecksumChoice::Auto);
    assert_eq!(negotiated(puts.attempt(), |terms| terms.proof != Proof::Crc64Nvme), (3, true));
    assert_eq!(puts.settled(), Terms { proof: Proof::Crc32, ..Terms::ALL });
    assert_eq!(negotiated(puts.attempt(), |terms| terms.proof != Proof::Crc64Nvme), (1, true));
}

#[test]
fn each_thing_that_a_store_does_not_take_is_learned_and_nothing_else() {
    let puts = [
        Terms { unconditional: true, ..Terms::ALL },
        Terms { proof: Proof::Crc32, ..Terms::ALL },
        Terms { proof: Proof::ReadBack, ..Terms::ALL },
        Terms { proof: Proof::ReadBack, unconditional: true, ..Terms::ALL },
    ];
    let completions = [
        Terms { unconditional: true, ..Terms::ALL },
        Terms { stated: Stated::Parts, ..Terms::ALL },
        Terms { stated: Stated::Nothing, ..Terms::ALL },
        Terms { sizeless: true, ..Terms::ALL },
        Terms { sizeless: true, stated: Stated::Nothing, unconditional: true, ..Terms::ALL },
    ];
    let all = [(Negotiation::of_puts as fn(_) -> _, &puts[..]), (Negotiation::of_completions, &completions)];
    for (kind, most) in all.iter().flat_map(|(kind, table)| table.iter().map(move |most| (kind, *most))) {
        let negotiation = kind(ChecksumChoice::Auto);
        let takes = |terms: Terms| terms == terms.and(most);
        assert!(negotiated(negotiation.attempt(), takes).1, "{most:?}");
        assert_eq!(negotiation.settled(), most);
    }
}

#[test]
fn a_request_that_nothing_helps_weakens_nothing_and_is_bounded() {
    let choice = ChecksumChoice::Auto;
    for (negotiation, sendings) in [
        (Negotiation::of_puts(choice), 2 + 5),
        (Negotiation::of_uploads(choice), 2 + 2),
        (Negotiation::of_completions(choice), 2 + 11),
    ] {
        assert_eq!(negotiated(negotiation.attempt(), |_| false), (sendings, false));
        assert_eq!(negotiation.settled(), Terms::ALL);
    }
}

#[test]
fn the_first_refusal_is_told_with_the_words_of_the_last() {
    let uploads = Negotiation::of_uploads(ChecksumChoice::Auto);
    let mut attempt = uploads.attempt();
    for text in ["first", "second", "third"] {
        attempt.failed(refused(text)).unwrap();
    }
    assert_eq!(
        attempt.failed(refused("fourth")).unwrap_err().to_string(),
        "first; and when less was asked for: fourth"
    );
    let mut attempt = uploads.attempt();
    while attempt.failed(refused("same")).is_ok() {}
    assert_eq!(attempt.failed(refused("same")).unwrap_err().to_string(), "same");
    let mut attempt = uploads.attempt();
    attempt.failed(refused("first")).unwrap();
    let other = StoreError::Exists("taken".to_owned());
    assert_eq!(attempt.failed(other.into()).unwrap_err().to_string(), "taken");
}

#[test]
fn what_is_refused_once_only_teaches_nothing() {
    let puts = Negotiation::of_puts(ChecksumChoice::Auto);
    let mut attempt = puts.attempt();
    attempt.failed(refused("once")).unwrap();
    assert_eq!(attempt.terms(), Terms::ALL);
    attempt.succeeded();
    assert_eq!(puts.settled(), Terms::ALL);
}

#[test]
fn a_checksum_that_the_settings_name_is_not_given_up() {
    for choice in [ChecksumChoice::Crc64Nvme, ChecksumChoice::Crc32] {
        assert!(Negotiation::of_uploads(choice).attempt().failed(refused("first")).is_err());
        let puts = Negotiation::of_puts(choice);
        assert!(negotiated(puts.attempt(), |terms| terms.unconditional).1);
        assert_eq!(puts.settled(), Terms { proof: strongest(choice), unconditional: true, ..Terms::ALL });
        let completions = Negotiation::of_completions(choice);
        assert!(!negotiated(completions.attempt(), |terms| terms.stated != Stated::Whole).1);
    }
}

#[test]
fn sums_that_nobody_else_has_checked_are_not_left_out() {
    let completions = Negotiation::of_completions(ChecksumChoice::Auto);
    let attempt = || {
        let mut attempt = completions.attempt();
        attempt.keep_sums();
        attempt
    };
    assert_eq!(negotiated(attempt(), |terms| terms.sizeless), (3, false));
    assert!(negotiated(attempt(), |terms| terms.unconditional).1);
}

#[test]
fn a_late_success_does_not_strengthen_what_was_settled() {
    let puts = Negotiation::of_puts(ChecksumChoice::Auto);
    let early = puts.attempt();
    negotiated(puts.attempt(), |terms| terms.proof != Proof::Crc64Nvme);
    early.succeeded();
    negotiated(puts.attempt(), |terms| terms.unconditional);
    assert_eq!(puts.settled(), Terms { proof: Proof::Crc32, unconditional: true, ..Terms::ALL });
}

#[test]
fn a_body_that_arrives_wrong_is_sent_three_times() {
    let puts = Negotiation::of_puts(ChecksumChoice::Auto);
    let mut attempt = puts.attempt();
    let corrupted = || StoreError::Corrupted(String::new()).into();
    let outcomes: Vec<bool> = (0..3).map(|_| attempt.failed(corrupted()).is_ok()).collect();
    assert_eq!(outcomes, [true, true, false]);
    assert_eq!(puts.settled(), Terms::ALL);
}

#[test]
fn what_may_have_been_applied_is_left_to_whoever_looks_first() {
    let puts = Negotiation::of_puts(ChecksumChoice::Auto);
    let throttled = || StoreError::Unavailable(String::new()).into();
    assert!(puts.attempt().failed(throttled()).is_err());
    negotiated(puts.attempt(), |terms| terms.unconditional);
    assert!(puts.attempt().needs_look() && puts.attempt().failed(throttled()).is_err());
}
