use proptest::prelude::*;

use super::*;

fn named(files: &[(String, Sha256)]) -> Vec<String> {
    let files: Vec<_> = files.iter().map(|(name, path)| Named { name, path }).collect();
    distinct_names(&files)
}

fn is_safe(name: &str) -> bool {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    plain && (1..=128).contains(&name.len()) && !name.starts_with('.') && !is_reserved(name)
}

/// Any text, and texts that are near what is special.
fn any_name() -> impl Strategy<Value = String> {
    let near = "(\\.{0,3}|session(-[0-9]{0,9})?|recording-|[a-c]{0,2})(\\.(json|wav|tar\\.gz|[a-z]{0,20}))?";
    prop_oneof![any::<String>(), near.prop_map(String::from), "[ -~]{0,300}".prop_map(String::from)]
}

/// Few paths and names, so that they meet.
fn any_files() -> impl Strategy<Value = Vec<(String, Sha256)>> {
    let file = (prop_oneof![any_name(), Just("a.wav".to_owned())], any::<u32>());
    proptest::collection::btree_map(any::<u32>(), file, 1..8)
        .prop_map(|files| files.into_iter().map(|(path, (name, _))| (name, Sha256::of(&path.to_be_bytes()))).collect())
}

#[test]
fn fuzz_names_that_are_kept() {
    let names = crate::corpus::kept_text("names");
    assert!(names.iter().all(|name| is_safe(&safe_name(name))), "{names:?}");
    // All of them in one list, and each twice, under paths of their own.
    let files: Vec<_> = (0_u32..).zip(names.iter().chain(&names)).collect();
    let files: Vec<_> = files.iter().map(|(path, name)| ((*name).clone(), Sha256::of(&path.to_be_bytes()))).collect();
    let different: std::collections::BTreeSet<_> = named(&files).into_iter().collect();
    assert_eq!(different.len(), files.len());
}

proptest! {
    #[test]
    fn fuzz_names(name in crate::corpus::bent_text("names")) {
        let safe = safe_name(&name);
        prop_assert!(is_safe(&safe), "{name:?} became {safe:?}");
        prop_assert_eq!(&safe_name(&safe), &safe, "and stays what it is");
    }

    #[test]
    fn a_name_is_safe_whatever_it_was(name in any_name()) {
        let safe = safe_name(&name);
        prop_assert!(is_safe(&safe), "{name:?} became {safe:?}");
        prop_assert_eq!(&safe_name(&safe), &safe, "and stays what it is");
    }

    #[test]
    fn names_of_a_session_are_safe_and_no_two_are_the_same(files in any_files()) {
        let names = named(&files);
        prop_assert!(names.iter().all(|name| is_safe(name)), "{names:?}");
        let different: std::collections::BTreeSet<_> = names.iter().collect();
        prop_assert_eq!(different.len(), names.len(), "{:?}", names);
    }

    #[test]
    fn a_name_does_not_depend_on_the_order_of_the_list(files in any_files(), turn in 0_usize..8) {
        let turn = turn % files.len();
        let turned = [&files[turn..], &files[..turn]].concat();
        let mut names = named(&files);
        names.rotate_left(turn);
        prop_assert_eq!(named(&turned), names);
    }

    #[test]
    fn an_alone_standing_name_is_not_lengthened(name in any_name()) {
        prop_assert_eq!(named(&[(name.clone(), Sha256::of(b""))]), [safe_name(&name)]);
    }
}

#[test]
fn the_digits_of_the_path_stand_before_the_extension() {
    let (one, other) = (Sha256::of(b"/one"), Sha256::of(b"/other"));
    let names = named(&[("a.wav".into(), one), ("a.wav".into(), other), ("b.wav".into(), one)]);
    assert_eq!(names, [format!("a-{}.wav", one.short()), format!("a-{}.wav", other.short()), "b.wav".into()]);
    assert_eq!(one.short().len(), 8);
    // A third that is called by chance what one of them became.
    let chance = format!("a-{}.wav", one.short());
    let third = Sha256::of(b"/third");
    let names = named(&[("a.wav".into(), one), ("a.wav".into(), other), (chance, third)]);
    assert_eq!(names[2], format!("a-{}-{}.wav", one.short(), third.short()));
}

#[test]
fn a_long_name_keeps_its_extension_and_its_digits() {
    let long = format!("{}.wav", "x".repeat(100_000));
    assert_eq!(safe_name(&long), format!("{}.wav", "x".repeat(124)));
    let (one, other) = (Sha256::of(b"/one"), Sha256::of(b"/other"));
    let names = named(&[(long.clone(), one), (long, other)]);
    assert_eq!(names[0], format!("{}-{}.wav", "x".repeat(115), one.short()));
}

#[test]
fn the_sidecars_names_are_reserved_and_nothing_near_them_is() {
    for name in ["session.json", "session-1.json", "session-0002.json"] {
        assert_eq!(safe_name(name), format!("recording-{name}"));
    }
    let digits = "1".repeat(115);
    let cut = safe_name(&format!("session-{digits}x.json"));
    assert!(cut.starts_with("recording-session-1") && cut.len() == 128, "{cut}");
    for name in ["session.jsonx", "Session.json", "session-.json", "session-x.json", "session.wav", "session-2"] {
        assert_eq!(safe_name(name), name);
    }
}

#[test]
fn strange_names_become_plain_ones() {
    let cases = [
        ("", "recording"),
        (".", "_"),
        ("..", "_."),
        (".hidden.wav", "_hidden.wav"),
        ("../../etc/passwd", "_._.._etc_passwd"),
        ("a\0\r\n\u{1b}\u{202e}b.wav", "a_____b.wav"),
        ("Grüße 1.wav", "Gr__e_1.wav"),
    ];
    for (name, safe) in cases {
        assert_eq!(safe_name(name), safe, "{name:?}");
    }
}

#[test]
fn a_key_is_made_of_the_sessions_day_and_never_leads_out_of_its_folder() {
    let template = KeyTemplate::parse("{bot}/year={yyyy}/month={mm}/day={dd}/{session_id}/{file_name}").unwrap();
    let date = Timestamp::parse("2024-03-05T23:59:59.999Z").unwrap();
    let key = |id: &str| {
        let session_id = SessionId::parse(id).unwrap();
        let parts = KeyParts { bot: "default", date, session_id: &session_id };
        template.key(parts, "a.wav").unwrap().as_str().to_owned()
    };
    assert_eq!(key("x"), "default/year=2024/month=03/day=05/x/a.wav");
    assert_eq!(key("."), "default/year=2024/month=03/day=05/(.)/a.wav");
    assert_eq!(key(".."), "default/year=2024/month=03/day=05/(..)/a.wav");
    assert_eq!(key("..."), "default/year=2024/month=03/day=05/.../a.wav");
}

#[test]
fn keys_beside_and_apart_are_lengthened_as_the_contract_says() {
    let key = ObjectKey::parse("a/b.wav").unwrap();
    let sha256 = Sha256::of(b"");
    assert_eq!(key.conflict(&sha256).unwrap().as_str(), "a/b.wav.conflict-e3b0c442");
    assert_eq!(key.under("suspect/").unwrap().as_str(), "suspect/a/b.wav");
    assert!(ObjectKey::parse("x".repeat(1020)).unwrap().conflict(&sha256).is_err());
}
