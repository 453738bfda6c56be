use std::{collections::HashMap, mem};

use crate::{
    files::{Filed, FiledSpec, Place},
    verdicts::VerdictIndex,
};

/// Puts what files tell of scans in the place of all that `index` holds, and takes it out of `filed`. Returns what of it
/// cannot be read: with its place, its name and why.
pub fn hold_scans(index: &VerdictIndex, filed: &mut Filed) -> Vec<String> {
    let mut places: HashMap<Box<str>, Place> = HashMap::new();
    let mut verdicts = Vec::with_capacity(filed.verdicts.len());
    for FiledSpec { place, name, spec } in mem::take(&mut filed.verdicts) {
        places.insert(name.clone(), place);
        verdicts.push((name, spec));
    }
    let sources =
        mem::take(&mut filed.sources).into_iter().map(|source| (source.name, source.spec)).collect();
    let troubles = index.hold(verdicts, sources).into_iter();
    let told = troubles.map(|(name, why)| match places.get(&name) {
        Some(place) => format!("{place}: ImageScanVerdict/{name}: {why}"),
        None => format!("ImageScanVerdict/{name}: {why}"),
    });
    told.collect()
}
