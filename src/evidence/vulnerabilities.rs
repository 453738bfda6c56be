use std::{collections::HashMap, fmt};

use jiff::{
    ToSpan as _,
    civil::{Date, date},
};

use super::{Severity, VexStatus, Vulnerability};

/// The vulnerabilities of one scan, packed: a cluster keeps millions. Every text is there once.
///
/// Days before 1970 are kept as 1 January 1970, and days after 5 June 2149 as that.
#[derive(Clone, Default)]
pub struct Vulnerabilities {
    rows: Box<[Row]>,
    packages: Box<[Package]>,
    /// The other names: for each row that has some how many, and then their texts.
    aliases: Box<[u32]>,
    /// One behind the other, each behind its length.
    texts: Box<str>,
}

/// One vulnerability of a scan, as [`Vulnerability`] has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct VulnerabilityRef<'a> {
    /// By which the scanner calls it.
    pub id: &'a str,
    /// Other names of it.
    pub aliases: Aliases<'a>,
    /// How bad it is; none where nobody says.
    pub severity: Option<Severity>,
    /// Its CVSS base score in tenths; none where nobody says.
    pub score: Option<u8>,
    /// The package's name.
    pub package: &'a str,
    /// What kind of package; empty where nobody says.
    pub package_type: &'a str,
    /// The version that is there; empty where nobody says.
    pub installed: &'a str,
    /// The version, or versions, that mend it: empty where there is one that nobody names. None where nobody says that
    /// there is a fix.
    pub fixed: Option<&'a str>,
    /// When it was published.
    pub published: Option<Date>,
    /// When it was first seen in the image.
    pub first_seen: Option<Date>,
    /// What the image's maker says of it.
    pub vex: Option<VexStatus>,
}

/// Other names of a vulnerability.
#[derive(Clone, Copy)]
pub struct Aliases<'a>(Names<'a>);

#[derive(Clone, Copy)]
enum Names<'a> {
    Owned(&'a [String]),
    Packed(&'a [u32], &'a str),
}

#[derive(Clone, Copy)]
struct Row {
    id: u32,
    fixed: u32,
    aliases: u32,
    package: u32,
    published: u16,
    first_seen: u16,
    severity: Option<Severity>,
    vex: Option<VexStatus>,
    score: Option<u8>,
}

#[derive(Clone, Copy, Eq, Hash, PartialEq)]
struct Package {
    name: u32,
    package_type: u32,
    installed: u32,
}

/// No text, or no other names.
const NONE: u32 = u32::MAX;
/// What days are counted from. 0 stands for no day.
const EPOCH: Date = date(1969, 12, 31);

impl Vulnerabilities {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = VulnerabilityRef<'_>> {
        self.rows.iter().map(|row| self.view(row))
    }

    /// All of them, each by itself.
    pub fn to_vec(&self) -> Vec<Vulnerability> {
        self.iter().map(|one| one.to_owned()).collect()
    }

    /// How many bytes they take.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.rows)
            + size_of_val(&*self.packages)
            + size_of_val(&*self.aliases)
            + self.texts.len()
    }

    fn view(&self, row: &Row) -> VulnerabilityRef<'_> {
        // OK because rows are made with the index of a package that is there, and so on
        let Package { name, package_type, installed } = self.packages[row.package as usize];
        let aliases = match row.aliases {
            NONE => &[][..],
            at => {
                let (count, from) = (self.aliases[at as usize] as usize, at as usize + 1);
                &self.aliases[from..from + count]
            }
        };
        VulnerabilityRef {
            id: text(&self.texts, row.id),
            aliases: Aliases(Names::Packed(aliases, &self.texts)),
            severity: row.severity,
            score: row.score,
            package: text(&self.texts, name),
            package_type: text(&self.texts, package_type),
            installed: text(&self.texts, installed),
            fixed: (row.fixed != NONE).then(|| text(&self.texts, row.fixed)),
            published: day(row.published),
            first_seen: day(row.first_seen),
            vex: row.vex,
        }
    }
}

impl From<Vec<Vulnerability>> for Vulnerabilities {
    fn from(all: Vec<Vulnerability>) -> Self {
        let mut packer = Packer::default();
        let mut packages: HashMap<Package, u32> = HashMap::new();
        let mut listed = Vec::new();
        let mut aliases = Vec::new();
        let rows = all.iter().map(|one| {
            let package = Package {
                name: packer.add(&one.package),
                package_type: packer.add(&one.package_type),
                installed: packer.add(&one.installed),
            };
            let package = *packages.entry(package).or_insert_with(|| {
                listed.push(package);
                index(listed.len() - 1)
            });
            Row {
                id: packer.add(&one.id),
                fixed: one.fixed.as_deref().map_or(NONE, |fixed| packer.add(fixed)),
                aliases: match one.aliases.as_slice() {
                    [] => NONE,
                    names => {
                        let at = index(aliases.len());
                        aliases.push(index(names.len()));
                        aliases.extend(names.iter().map(|name| packer.add(name)));
                        at
                    }
                },
                package,
                published: packed_day(one.published),
                first_seen: packed_day(one.first_seen),
                severity: one.severity,
                vex: one.vex,
                score: one.score,
            }
        });
        let rows = rows.collect();
        Self { rows, packages: listed.into(), aliases: aliases.into(), texts: packer.texts.into() }
    }
}

impl PartialEq for Vulnerabilities {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Vulnerabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl VulnerabilityRef<'_> {
    /// Whether a version that mends it exists.
    pub fn is_fixable(&self) -> bool {
        self.fixed.is_some()
    }

    /// The same by itself.
    pub fn to_owned(&self) -> Vulnerability {
        Vulnerability {
            id: self.id.to_owned(),
            aliases: self.aliases.iter().map(str::to_owned).collect(),
            severity: self.severity,
            score: self.score,
            package: self.package.to_owned(),
            package_type: self.package_type.to_owned(),
            installed: self.installed.to_owned(),
            fixed: self.fixed.map(str::to_owned),
            published: self.published,
            first_seen: self.first_seen,
            vex: self.vex,
        }
    }
}

impl<'a> From<&'a Vulnerability> for VulnerabilityRef<'a> {
    fn from(one: &'a Vulnerability) -> Self {
        Self {
            id: &one.id,
            aliases: Aliases(Names::Owned(&one.aliases)),
            severity: one.severity,
            score: one.score,
            package: &one.package,
            package_type: &one.package_type,
            installed: &one.installed,
            fixed: one.fixed.as_deref(),
            published: one.published,
            first_seen: one.first_seen,
            vex: one.vex,
        }
    }
}

impl<'a> Aliases<'a> {
    /// All of them.
    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        let (owned, packed, texts) = match self.0 {
            Names::Owned(names) => (names, &[][..], ""),
            Names::Packed(names, texts) => (&[][..], names, texts),
        };
        owned.iter().map(String::as_str).chain(packed.iter().map(move |at| text(texts, *at)))
    }
}

impl PartialEq for Aliases<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Aliases<'_> {}

impl fmt::Debug for Aliases<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Texts as they are packed, each once.
#[derive(Default)]
struct Packer<'a> {
    texts: String,
    known: HashMap<&'a str, u32>,
}

impl<'a> Packer<'a> {
    /// Where the text begins.
    fn add(&mut self, text: &'a str) -> u32 {
        if let Some(at) = self.known.get(text) {
            return *at;
        }
        let at = index(self.texts.len());
        let mut length = text.len();
        // Six bits in each byte, so that all of them are ASCII; a seventh where another one follows.
        while length >= 64 {
            self.texts.push(char::from(64 | u8::try_from(length % 64).unwrap_or_default()));
            length /= 64;
        }
        self.texts.push(char::from(u8::try_from(length).unwrap_or_default()));
        self.texts.push_str(text);
        self.known.insert(text, at);
        at
    }
}

/// The text that begins at `at`.
fn text(texts: &str, at: u32) -> &str {
    let (mut from, mut length, mut shift) = (at as usize, 0, 0);
    for byte in &texts.as_bytes()[from..] {
        from += 1;
        length |= usize::from(byte & 63) << shift;
        shift += 6;
        if byte & 64 == 0 {
            break;
        }
    }
    &texts[from..from + length]
}

fn packed_day(day: Option<Date>) -> u16 {
    let Some(day) = day else { return 0 };
    let days = EPOCH.until(day).map_or(i32::MIN, |span| span.get_days());
    u16::try_from(days.clamp(1, i32::from(u16::MAX))).unwrap_or(1)
}

fn day(packed: u16) -> Option<Date> {
    // OK because the last day that fits lies in 2149
    (packed > 0).then(|| EPOCH.checked_add(i32::from(packed).days()).unwrap())
}

/// A place in a list.
///
/// # Panics
///
/// If the list has 4 Gi entries: reports have 64 MiB at most.
fn index(at: usize) -> u32 {
    u32::try_from(at).ok().filter(|at| *at != NONE).unwrap_or_else(|| panic!("a scan has {at} entries"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_day_that_does_not_fit_is_kept_as_the_nearest_that_does() {
        for (written, kept) in [
            ("1970-01-01", "1970-01-01"),
            ("0001-01-01", "1970-01-01"),
            ("2024-02-29", "2024-02-29"),
            ("2149-06-05", "2149-06-05"),
            ("9999-12-31", "2149-06-05"),
        ] {
            let kept: Date = kept.parse().unwrap();
            assert_eq!(day(packed_day(Some(written.parse().unwrap()))), Some(kept), "{written}");
        }
        assert_eq!(day(packed_day(None)), None);
    }

    #[test]
    fn a_vulnerability_takes_24_bytes_and_its_texts() {
        assert_eq!(size_of::<Row>(), 24);
        let one = Vulnerability { id: "CVE-2021-44228".to_owned(), ..Vulnerability::default() };
        let packed = |count| Vulnerabilities::from(vec![one.clone(); count]).bytes();
        assert_eq!(packed(11) - packed(1), 240, "a text that is there twice is there once");
    }

    #[test]
    fn nothing_takes_nothing() {
        let none = Vulnerabilities::from(Vec::new());
        assert!(none.is_empty() && none.iter().next().is_none());
        assert_eq!((none.len(), none.bytes()), (0, 0));
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_out_as_it_was(all in prop::collection::vec(any_vulnerability(), 0..20)) {
            let packed = Vulnerabilities::from(all.clone());
            prop_assert_eq!(packed.len(), all.len());
            for (one, packed) in all.iter().zip(packed.iter()) {
                prop_assert_eq!(VulnerabilityRef::from(one), packed);
                prop_assert_eq!(one.is_fixable(), packed.is_fixable());
            }
            prop_assert_eq!(&packed, &Vulnerabilities::from(packed.to_vec()));
            prop_assert_eq!(packed.to_vec(), all);
        }
    }

    fn any_vulnerability() -> impl Strategy<Value = Vulnerability> {
        // Of lengths about those at which another byte is needed.
        let text = || {
            let long = (60..70usize, prop::sample::select(vec![1, 64]))
                .prop_map(|(length, times)| "é-".repeat(length * times / 3 + 1));
            prop_oneof![4 => "[a-b\u{0}é]{0,3}".boxed(), 1 => long.boxed()]
        };
        let day = || {
            prop::option::of(
                (0..65_000i32).prop_map(|days| date(1970, 1, 1).checked_add(days.days()).unwrap()),
            )
        };
        let severity = prop::option::of(prop::sample::select(Severity::ALL.to_vec()));
        let vex = prop::option::of(prop::sample::select(vec![VexStatus::Affected, VexStatus::NotAffected]));
        let texts = [text(), text(), text(), text()];
        let dates = (day(), day());
        (texts, prop::option::of(text()), prop::collection::vec(text(), 0..3), dates, severity, vex)
            .prop_flat_map(|rest| (Just(rest), prop::option::of(any::<u8>())))
            .prop_map(|((texts, fixed, aliases, (published, first_seen), severity, vex), score)| {
                let [id, package, package_type, installed] = texts;
                Vulnerability {
                    id,
                    aliases,
                    severity,
                    score,
                    package,
                    package_type,
                    installed,
                    fixed,
                    published,
                    first_seen,
                    vex,
                }
            })
    }
}
