//! `kore-archiver.toml(5)`, read off the sample settings.
//!
//! The sample's own form is the grammar: comments before the first section describe the file, those before a key
//! belong to it, and so does the one at the end of its line. A comment that ends in a comma goes on at the next key.

use clap_mangen::roff::{Roff, bold, italic, roman};

/// A key, or several that share a sentence, with the values of the sample.
#[derive(Default)]
struct Entry {
    keys: Vec<(String, String)>,
    text: String,
}

/// The page for these settings, without its title.
pub(crate) fn of(settings: &str) -> String {
    let mut roff = Roff::new();
    roff.control("SH", ["NAME"]).text([roman("kore-archiver.toml - settings of kore-archiver")]);
    roff.control("SH", ["SYNOPSIS"]).text([roman("/etc/kore-archiver/config.toml")]);
    roff.control("SH", ["DESCRIPTION"]);
    let (mut comment, mut entry) = (Vec::new(), Entry::default());
    for line in settings.lines() {
        if let Some(text) = line.strip_prefix('#') {
            comment.push(text.trim().to_owned());
        } else if line.starts_with('[') {
            finish(&mut roff, &mut entry);
            roff.control("SH", [line]);
            paragraphs(&mut roff, &std::mem::take(&mut comment));
        } else if let Some((key, rest)) = line.split_once('=') {
            let (value, inline) = rest.split_once(" # ").unwrap_or((rest, ""));
            if !entry.text.ends_with(',') {
                finish(&mut roff, &mut entry);
            }
            entry.keys.push((key.trim().to_owned(), value.trim().to_owned()));
            for text in [std::mem::take(&mut comment).join(" ").as_str(), inline.trim()] {
                add(&mut entry.text, text);
            }
        } else {
            // A blank line: what stood there was about the whole.
            paragraphs(&mut roff, &std::mem::take(&mut comment));
        }
    }
    finish(&mut roff, &mut entry);
    roff.control("SH", ["SEE ALSO"]).text([roman("kore-archiver(1)")]);
    roff.to_roff()
}

fn add(text: &mut String, more: &str) {
    if !text.is_empty() && !more.is_empty() {
        text.push(' ');
    }
    text.push_str(more);
}

/// Lines of a comment; an empty one parts paragraphs.
fn paragraphs(roff: &mut Roff, comment: &[String]) {
    for paragraph in comment.split(String::is_empty).filter(|lines| !lines.is_empty()) {
        roff.control("PP", []).text([roman(paragraph.join(" "))]);
    }
}

fn finish(roff: &mut Roff, entry: &mut Entry) {
    let Entry { keys, text } = std::mem::take(entry);
    for (number, (key, value)) in keys.iter().enumerate() {
        roff.control(if number == 0 { "TP" } else { "TQ" }, []);
        roff.text([bold(key), roman(" = "), italic(value)]);
    }
    if !keys.is_empty() {
        roff.text([roman(text)]);
    }
}
