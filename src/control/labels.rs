//! `@LABEL` in place of a name: every pool that has the label.

/// A pool and its labels.
pub(crate) type Labelled<'a> = (&'a str, &'a [String]);

/// The names with each `@LABEL` replaced by the pools that have it, and `@LABEL:N` by that worker of
/// each. A label that no pool has stays as it is: a name that nothing has.
pub(crate) fn spelled_out(names: &[String], pools: &[Labelled<'_>]) -> Vec<String> {
    let mut spelled = Vec::new();
    for name in names {
        let before = spelled.len();
        if let Some(rest) = name.strip_prefix('@') {
            let (label, worker) = match rest.split_once(':') {
                Some((label, index)) => (label, format!(":{index}")),
                None => (rest, String::new()),
            };
            let has_it = |(_, labels): &Labelled<'_>| labels.iter().any(|other| other == label);
            let having = pools.iter().filter(|pool| has_it(pool));
            spelled.extend(having.map(|(pool, _)| format!("{pool}{worker}")));
        }
        if spelled.len() == before {
            spelled.push(name.clone());
        }
    }
    spelled
}

/// Whether a name is a label.
pub(crate) fn is_label(name: &str) -> bool {
    name.starts_with('@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_stands_for_the_pools_that_have_it() {
        let [media, both] = [vec!["media".to_owned()], vec!["web".to_owned(), "media".to_owned()]];
        let pools = [("crop", &media[..]), ("mail", &[]), ("resize", &both[..])];
        for (name, meant) in [
            ("@media", &["crop", "resize"][..]),
            ("@web", &["resize"]),
            ("@media:2", &["crop:2", "resize:2"]),
            ("@medai", &["@medai"]),
            ("media", &["media"]),
            ("mail:1", &["mail:1"]),
        ] {
            assert_eq!(spelled_out(&[name.to_owned()], &pools), meant, "{name}");
        }
    }
}
