//! What an operator may have meant by a name that nothing has.

/// Least likeness of two names for one to be offered for the other.
const LIKENESS_MIN: f64 = 0.75;

/// The candidate that is most like `name`, when one is like it at all.
#[must_use]
pub fn nearest(name: &str, candidates: impl IntoIterator<Item = String>) -> Option<String> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, &candidate), candidate))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_name_and_a_strange_word_finds_none() {
        let pools = || ["thumbnails", "wordcount", "slow"].map(str::to_owned);
        for (typed, meant) in [
            ("thumbnail", Some("thumbnails")),
            ("wordcoutn", Some("wordcount")),
            ("slwo", Some("slow")),
            ("mail", None),
        ] {
            assert_eq!(nearest(typed, pools()).as_deref(), meant, "{typed}");
        }
    }
}
