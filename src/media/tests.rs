//! What holds for every container: what valid files show, that no cut passes, and that nothing hostile does harm.

use super::samples::{self, Sample};
use super::*;

#[test]
fn a_sound_file_is_known_by_its_bytes_and_not_suspect() {
    for sample in samples::all() {
        let found = inspect(&sample.bytes, Some(sample.bytes.len() as u64), Ending::Marked);
        let (seconds, channels, sample_rate) = sample.says;
        assert_eq!(found.doubt, None, "{}", sample.name);
        assert_eq!(found.container, Some(sample.container), "{}", sample.name);
        assert_eq!(found.content_type, sample.content_type, "{}", sample.name);
        assert_eq!((found.channels, found.sample_rate), (Some(channels), Some(sample_rate)), "{}", sample.name);
        let off = (found.duration_seconds.expect(sample.name) - seconds).abs();
        assert!(off < 1e-6, "{}: {:?}", sample.name, found.duration_seconds);
    }
}

#[test]
fn an_unmarked_end_is_accepted_only_where_the_container_proves_its_own() {
    for sample in samples::all() {
        let expected = if sample.ends { None } else { Some(Doubt::Unproven) };
        assert_eq!(Sample::doubt(&sample.bytes, Ending::Unmarked), expected, "{}", sample.name);
    }
}

#[test]
fn no_cut_passes_of_a_file_that_says_where_it_ends() {
    for sample in samples::all() {
        for length in 0..sample.bytes.len() {
            let cut = &sample.bytes[..length];
            assert_ne!(Sample::doubt(cut, Ending::Unmarked), None, "{} cut to {length}", sample.name);
            if sample.ends {
                assert_ne!(Sample::doubt(cut, Ending::Marked), None, "{} cut to {length}", sample.name);
            }
        }
    }
}
