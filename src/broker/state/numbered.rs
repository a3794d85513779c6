//! Sets and tables of jobs by number.
//!
//! Numbers are given out one after the other, so the jobs of one time are neighbours. A page of
//! neighbours is one entry of a tree, which is then a fraction as large and as deep as with an entry
//! for each job. A job whose neighbours have all gone costs at most a page.

use std::collections::BTreeMap;

use crate::model::JobId;

/// Jobs of one page of a set: the bits of a word.
const SET_PAGE: u64 = 64;
/// Jobs of one page of a table; a page with one job left takes 256 bytes.
const TABLE_PAGE: usize = 32;

/// A set of jobs, in the order of their numbers.
#[derive(Debug, Default)]
pub(super) struct JobSet {
    /// The bits of each page that has any.
    pages: BTreeMap<u64, u64>,
    /// The page behind all those, to which most is added; it may be empty.
    newest: (u64, u64),
    len: usize,
}

impl JobSet {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn insert(&mut self, id: JobId) {
        let (page, bit) = place(id);
        if page > self.newest.0 {
            let (before, bits) = std::mem::replace(&mut self.newest, (page, 0));
            if bits != 0 {
                self.pages.insert(before, bits);
            }
        }
        let is_newest = page == self.newest.0;
        let bits = if is_newest { &mut self.newest.1 } else { self.pages.entry(page).or_default() };
        self.len += usize::from(*bits & bit == 0);
        *bits |= bit;
    }

    pub(super) fn remove(&mut self, id: JobId) {
        let (page, bit) = place(id);
        let is_newest = page == self.newest.0;
        let bits = if is_newest { Some(&mut self.newest.1) } else { self.pages.get_mut(&page) };
        let Some(bits) = bits else { return };
        self.len -= usize::from(*bits & bit != 0);
        *bits &= !bit;
        if *bits == 0 && !is_newest {
            self.pages.remove(&page);
        }
    }

    pub(super) fn contains(&self, id: JobId) -> bool {
        let (page, bit) = place(id);
        let is_newest = page == self.newest.0;
        let bits = if is_newest { Some(&self.newest.1) } else { self.pages.get(&page) };
        bits.is_some_and(|bits| bits & bit != 0)
    }

    pub(super) fn first(&self) -> Option<JobId> {
        if self.is_empty() {
            return None;
        }
        let (page, bits) = self.pages.first_key_value().unwrap_or((&self.newest.0, &self.newest.1));
        Some(JobId(page * SET_PAGE + u64::from(bits.trailing_zeros())))
    }

    /// The oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = JobId> {
        let pages = self.pages.iter().chain([(&self.newest.0, &self.newest.1)]);
        pages.flat_map(|(page, bits)| {
            let present = (0..SET_PAGE).filter(move |bit| bits >> bit & 1 == 1);
            present.map(move |bit| JobId(page * SET_PAGE + bit))
        })
    }
}

fn place(id: JobId) -> (u64, u64) {
    (id.0 / SET_PAGE, 1 << (id.0 % SET_PAGE))
}

/// A value for each of many jobs, in the order of their numbers.
#[derive(Debug)]
pub(super) struct JobTable<T> {
    /// Each has a job.
    pages: BTreeMap<u64, Box<Page<T>>>,
    /// The page behind all those, of which most is asked; it may be empty.
    newest: (u64, Page<T>),
    len: usize,
}

#[derive(Debug)]
struct Page<T> {
    slots: [Option<Box<T>>; TABLE_PAGE],
    used: usize,
}

impl<T> Page<T> {
    const EMPTY: Self = Self { slots: [const { None }; TABLE_PAGE], used: 0 };

    /// What is there, with its place in the page.
    fn iter(&self) -> impl DoubleEndedIterator<Item = (usize, &T)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(slot, value)| Some((slot, value.as_deref()?)))
    }
}

impl<T> JobTable<T> {
    pub(super) const fn new() -> Self {
        Self { pages: BTreeMap::new(), newest: (0, Page::EMPTY), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, id: JobId) -> Option<&T> {
        let (number, slot) = slot_of(id);
        let is_newest = number == self.newest.0;
        let page = if is_newest { &self.newest.1 } else { self.pages.get(&number)? };
        page.slots.get(slot)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, id: JobId) -> Option<&mut T> {
        let (number, slot) = slot_of(id);
        self.page_mut(number)?.slots.get_mut(slot)?.as_deref_mut()
    }

    /// Takes a value in, in the place of the one that the job had.
    pub(super) fn insert(&mut self, id: JobId, value: T) {
        let (number, slot) = slot_of(id);
        let page = if number < self.newest.0 {
            self.pages.entry(number).or_insert_with(|| Box::new(Page::EMPTY))
        } else {
            self.turn_to(number);
            &mut self.newest.1
        };
        let Some(place) = page.slots.get_mut(slot) else { return };
        if place.replace(Box::new(value)).is_none() {
            page.used += 1;
            self.len += 1;
        }
    }

    pub(super) fn remove(&mut self, id: JobId) -> Option<T> {
        let (number, slot) = slot_of(id);
        let page = self.page_mut(number)?;
        let value = page.slots.get_mut(slot)?.take()?;
        page.used -= 1;
        if page.used == 0 {
            self.pages.remove(&number);
        }
        self.len -= 1;
        Some(*value)
    }

    /// All of them, the oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (JobId, &T)> {
        self.pages_from(0)
    }

    /// Those behind this job.
    pub(super) fn after(&self, id: JobId) -> impl Iterator<Item = (JobId, &T)> {
        self.pages_from(slot_of(id).0).skip_while(move |(other, _)| *other <= id)
    }

    fn pages_from(&self, first: u64) -> impl DoubleEndedIterator<Item = (JobId, &T)> {
        let pages = self.pages.range(first..).map(|(number, page)| (*number, &**page));
        let newest = Some((self.newest.0, &self.newest.1)).filter(|(number, _)| *number >= first);
        pages.chain(newest).flat_map(|(number, page)| {
            let first = number * TABLE_PAGE as u64;
            page.iter().map(move |(slot, value)| (JobId(first + slot as u64), value))
        })
    }

    fn page_mut(&mut self, number: u64) -> Option<&mut Page<T>> {
        if number == self.newest.0 {
            return Some(&mut self.newest.1);
        }
        self.pages.get_mut(&number).map(|page| &mut **page)
    }

    /// Makes this page the newest, if it is behind the one that is.
    fn turn_to(&mut self, number: u64) {
        if number > self.newest.0 {
            let (before, page) = std::mem::replace(&mut self.newest, (number, Page::EMPTY));
            if page.used > 0 {
                self.pages.insert(before, Box::new(page));
            }
        }
    }
}

fn slot_of(id: JobId) -> (u64, usize) {
    let page_len = TABLE_PAGE as u64;
    // The rest is below the length of a page.
    (id.0 / page_len, usize::try_from(id.0 % page_len).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sets_and_tables_hold_what_was_put_in_and_not_taken_out(
            steps in prop::collection::vec((0_u64..300, any::<bool>()), 0..400),
            from in 0_u64..310,
        ) {
            let (mut set, mut table, mut model) =
                (JobSet::default(), JobTable::new(), BTreeSet::new());
            for (id, add) in steps {
                // The last numbers there are, among the first ones.
                let id = JobId(if id < 280 { id } else { u64::MAX - id });
                if add {
                    set.insert(id);
                    table.insert(id, id.0);
                    model.insert(id);
                } else {
                    set.remove(id);
                    prop_assert_eq!(table.remove(id).is_some(), model.remove(&id));
                }
                prop_assert_eq!((set.len(), table.len()), (model.len(), model.len()));
                prop_assert_eq!(set.first(), model.first().copied());
                prop_assert_eq!(set.contains(id), model.contains(&id));
                prop_assert_eq!(table.get(id).is_some(), model.contains(&id));
                prop_assert_eq!(table.get_mut(id).is_some(), model.contains(&id));
            }
            let all: Vec<JobId> = model.iter().copied().collect();
            prop_assert_eq!(set.is_empty(), all.is_empty());
            prop_assert!(set.iter().eq(all.iter().copied()));
            prop_assert!(set.iter().rev().eq(all.iter().rev().copied()));
            prop_assert!(table.iter().map(|(id, _)| id).eq(all.iter().copied()));
            prop_assert!(table.iter().rev().map(|(id, _)| id).eq(all.iter().rev().copied()));
            let behind = all.iter().copied().filter(|id| id.0 > from);
            prop_assert!(table.after(JobId(from)).map(|(id, _)| id).eq(behind));
            prop_assert!(set.pages.values().all(|bits| *bits != 0));
            prop_assert!(table.pages.values().all(|page| page.used > 0));
            let (set_newest, newest) = (set.newest.0, table.newest.0);
            prop_assert!(set.pages.last_key_value().is_none_or(|(page, _)| *page < set_newest));
            prop_assert!(table.pages.last_key_value().is_none_or(|(page, _)| *page < newest));
        }
    }
}
