//! Arbitrary bytes at the doors: the files of the corpus, and bytes made from them at random.
//!
//! cargo-fuzz finds such bytes by coverage (see Cargo.toml here); what it finds goes into `corpus`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::indexing_slicing, reason = "a wrong index fails the test")]
#![allow(clippy::expect_used, reason = "a test that cannot go on fails")]

mod inputs;

use std::fs;
use std::path::Path;

#[test]
fn packets_mean_the_same_however_they_are_cut() {
    check("decoder", 500, inputs::decoder);
}

#[test]
fn every_line_of_text_is_understood_or_refused() {
    check("text", 500, inputs::text);
}

#[test]
fn records_are_read_back_as_they_were() {
    check("records", 5, inputs::records);
}

/// Runs a check over the files of its corpus, and over `mutants` made from each.
fn check(name: &str, mutants: u64, holds: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for (nth, file) in (1..).zip(&files) {
        let bytes = fs::read(file).unwrap();
        holds(&bytes);
        for mutant in 0..mutants {
            let mut random = Random(nth << 32 | (mutant + 1));
            eprintln!("{} mutated by {:#x}", file.display(), random.0);
            holds(&random.mutate(bytes.clone()));
        }
    }
}

/// Xorshift (Marsaglia 2003): the same bytes from the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound.max(1)
    }

    fn mutate(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            match self.below(5) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, u8::try_from(self.below(256)).unwrap()),
                2 if at < bytes.len() => drop(bytes.remove(at)),
                3 => bytes.extend_from_within(at..),
                _ if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                _ => {}
            }
        }
        bytes
    }
}
