//! What fuzzing begins with: our own samples, and a dictionary of their words.

use std::{collections::BTreeSet, fs, path::Path};

use tidewaiter::reports::Format;

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/it/reports/samples.rs"]
mod samples;

/// Writes a directory of seeds for `format`, named after it, and a dictionary beside it.
pub fn write(format: Format, directory: &Path) -> std::io::Result<()> {
    let ours = samples::SAMPLES.iter().filter(|(of, _)| *of == format || format == Format::Auto);
    let texts: Vec<&str> = ours.map(|(_, sample)| *sample).collect();
    let corpus = directory.join(format.as_str());
    fs::create_dir_all(&corpus)?;
    for (nth, text) in texts.iter().enumerate() {
        fs::write(corpus.join(format!("sample-{nth}")), text)?;
    }
    fs::write(directory.join(format!("{format}.dict")), words(&texts))
}

/// The strings of all samples as entries of a libFuzzer dictionary, and what JSON has besides.
fn words(texts: &[&str]) -> String {
    let mut words: BTreeSet<String> =
        ["null", "true", "[]", "{}", "\"\"", "\\\\u0000", "1e308", "-1"].map(str::to_owned).into();
    for text in texts {
        let strings = text.split('"').skip(1).step_by(2).filter(|one| one.is_ascii() && !one.contains('\\'));
        words.extend(strings.filter(|one| !one.is_empty() && one.len() < 64).map(|one| format!("\"{one}\"")));
    }
    let escape = |word: &String| format!("\"{}\"\n", word.replace('"', "\\\""));
    words.iter().map(escape).collect()
}
