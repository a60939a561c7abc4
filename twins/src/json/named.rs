//! Things by member name, in the order they came, found quickly whether they are three or a hundred thousand.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::Raw;

/// Up to here a search from end to end is the quickest.
const FEW: usize = 16;

/// A small map from names (as escaped in JSON) to `T` that keeps its order.
///
/// Two objects that are compared mostly have the same names in the same order, so a search begins behind the last hit.
/// The index of a large one is a tree rather than a hash map, so that names from outside cannot choose its shape.
pub(super) struct Named<'a, T> {
    entries: Vec<(Cow<'a, str>, T)>,
    /// Of the first entries, as many as there were when it was last needed.
    index: BTreeMap<Cow<'a, str>, usize>,
    next: usize,
}

impl<'a, T> Named<'a, T> {
    /// One thing for each member of `object`.
    pub(super) fn of(object: Raw<'a>, thing: impl Fn(Raw<'a>) -> T) -> Named<'a, T> {
        let mut named = Named::default();
        for member in object.spans() {
            named.insert(Cow::Borrowed(member.name), thing(member.value));
        }
        named
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn clear(&mut self) {
        *self = Named::default();
    }

    pub(super) fn find(&mut self, name: &str) -> Option<&mut T> {
        let at = self.position(name)?;
        Some(&mut self.entries[at].1)
    }

    pub(super) fn find_or_insert(&mut self, name: Cow<'a, str>, new: impl FnOnce() -> T) -> &mut T {
        let at = self.position(&name).unwrap_or_else(|| self.insert(name, new()));
        &mut self.entries[at].1
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut T)> {
        self.entries.iter_mut().map(|(name, thing)| (&**name, thing))
    }

    fn position(&mut self, name: &str) -> Option<usize> {
        let is = |at: &usize| self.entries.get(*at).is_some_and(|(known, _)| known == name);
        let at = match Some(self.next).filter(is) {
            Some(at) => at,
            None if self.entries.len() <= FEW => (0..self.entries.len()).find(is)?,
            None => self.look_up(name)?,
        };
        self.next = at + 1;
        Some(at)
    }

    fn look_up(&mut self, name: &str) -> Option<usize> {
        for at in self.index.len()..self.entries.len() {
            self.index.insert(self.entries[at].0.clone(), at);
        }
        self.index.get(name).copied()
    }

    fn insert(&mut self, name: Cow<'a, str>, thing: T) -> usize {
        self.entries.push((name, thing));
        self.entries.len() - 1
    }
}

impl<T> Default for Named<'_, T> {
    fn default() -> Self {
        Named { entries: Vec::new(), index: BTreeMap::new(), next: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_or_many_are_found_in_any_order_and_stay_in_theirs() {
        for count in [0, 1, FEW, FEW + 1, 100] {
            let names: Vec<String> = (0..count).map(|n| format!("{:03}", n * 37 % 100)).collect();
            let mut named = Named::default();
            for (n, name) in names.iter().enumerate() {
                assert_eq!(*named.find_or_insert(Cow::Borrowed(name.as_str()), || n), n);
            }

            for (n, name) in names.iter().enumerate().rev() {
                assert_eq!(named.find(name), Some(&mut n.clone()));
                assert_eq!(*named.find_or_insert(Cow::Borrowed(name.as_str()), || unreachable!()), n);
            }
            assert_eq!(named.find("absent"), None);
            assert!(named.iter_mut().map(|(name, _)| name.to_owned()).eq(names.iter().cloned()));
        }
    }
}
