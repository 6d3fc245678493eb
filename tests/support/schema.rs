//! The JSON Schema that ships with the package, as a judge.

use jsonschema::Validator;
use serde_json::Value;

/// The schema's text.
pub const TEXT: &str = include_str!("../../config/session-1.schema.json");

/// A validator that was itself judged by the draft that it names.
pub fn validator() -> Validator {
    let schema = document();
    assert!(jsonschema::meta::is_valid(&schema), "the schema is one of draft 2020-12");
    jsonschema::draft202012::new(&schema).expect("the schema is one of draft 2020-12")
}

pub fn document() -> Value {
    serde_json::from_str(TEXT).expect("the schema is JSON")
}
