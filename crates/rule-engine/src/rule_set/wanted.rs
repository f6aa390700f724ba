//! The paths that rules name, as a tree of names.
//!
//! A path is its names joined by dots, and so a name with dots in it is several steps. A path's
//! number is that of its node. What the keys at a path are like ([`Asked`]) is kept here too,
//! because the reader has the node in hand when it meets a value.

use memchr::memmem::Finder;

use super::keys::Kind;
use super::pages::Row;
use crate::scan::Unwanted;

/// The node that all paths begin at; no path ends there.
pub(super) const ROOT: u32 = 0;

/// Which keys (see `keys`) wait at a path, and how many.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    /// Leaves that name the path.
    pub(super) leaves: u32,
    /// Alternatives that can match only if the path has one of a few plain values.
    pub(super) demanded: u32,
    /// Alternatives that wait for some key of the path.
    pub(super) waiting: u32,
    /// Keys of all kinds.
    pub(super) keys: u32,
    /// Keys of plain values: strings, numbers, literals.
    pub(super) plain: u32,
    /// Those of them that are a number's text; few paths have any.
    pub(super) number_texts: u32,
    /// All keys, while they are few.
    pub(super) few: Few,
    /// The key of those that wait for any value at all.
    pub(super) present: Option<u32>,
    /// Keys of other kinds; most paths have none.
    pub(super) rare: Option<Box<Rare>>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Rare {
    pub(super) prefixes: Lengths,
    pub(super) suffixes: Lengths,
    pub(super) folded: u32,
    pub(super) folded_prefixes: Lengths,
    pub(super) folded_suffixes: Lengths,
    /// Bits of a block, with 128 added for IPv6.
    pub(super) blocks: Lengths,
    pub(super) ranges: Ranges,
    pub(super) grams: Lengths,
    /// The key of all that wait for some gram.
    pub(super) grammed: Option<u32>,
}

/// Keys that are found faster by looking at each than by a hash.
#[derive(Debug, Clone, Default)]
pub(super) struct Few {
    /// Kind, first bytes of the text, its length, and the key.
    keys: Vec<(Kind, u64, u32, u32)>,
    /// There were too many at some time.
    are_many: bool,
}

impl Few {
    /// More than so many are not kept.
    const MOST: usize = 8;

    pub(super) fn change(&mut self, kind: Kind, text: &[u8], key: u32, more: bool) {
        if self.are_many {
            return;
        }
        if !more {
            self.keys.retain(|entry| entry.3 != key);
        } else if self.keys.len() < Self::MOST {
            self.keys.push((kind, head(text), length(text), key));
        } else {
            *self = Few {
                keys: Vec::new(),
                are_many: true,
            };
        }
    }

    /// Keys that may be the one looked for; one of up to eight bytes is. `None`: any may be.
    #[inline(always)]
    pub(super) fn like(&self, kind: Kind, text: &[u8]) -> Option<impl Iterator<Item = u32>> {
        if self.are_many {
            return None;
        }
        let wanted = (kind, head(text), length(text));
        let alike = move |entry: &&(Kind, u64, u32, u32)| (entry.0, entry.1, entry.2) == wanted;
        Some(self.keys.iter().filter(alike).map(|entry| entry.3))
    }
}

/// A number of first bits; and which bits those are, ascending, with their keys.
type Level = (usize, Vec<(u64, u32)>);

/// Keys of ranges.
#[derive(Debug, Clone, Default)]
pub(super) struct Ranges {
    /// How many first bits the bounds of a range have in common.
    pub(super) bits: Lengths,
    few: Vec<Level>,
    len: usize,
    /// There were too many at some time.
    are_many: bool,
}

impl Ranges {
    /// More than so many are looked up by hash: a change would copy them all.
    const MOST: usize = 2_000;

    pub(super) fn is_empty(&self) -> bool {
        self.bits.is_empty()
    }

    /// All of them, while they are not too many: faster searched than looked up.
    #[inline]
    pub(super) fn few(&self) -> Option<&[Level]> {
        (!self.are_many).then_some(&self.few)
    }

    pub(super) fn change(&mut self, bits: usize, first: u64, key: u32, more: bool) {
        self.bits.change(bits, more);
        if self.are_many {
            return;
        }
        if more && self.len == Self::MOST {
            (self.few, self.are_many) = (Vec::new(), true);
            return;
        }
        let level = self.few.binary_search_by_key(&bits, |level| level.0);
        let level = level.unwrap_or_else(|new| {
            self.few.insert(new, (bits, Vec::new()));
            new
        });
        let keys = &mut self.few[level].1;
        match keys.binary_search_by_key(&first, |entry| entry.0) {
            Err(new) if more => {
                keys.insert(new, (first, key));
                self.len += 1;
            }
            Ok(at) if !more => {
                keys.remove(at);
                self.len -= 1;
            }
            _ => unreachable!("a key comes and goes once"),
        }
        if keys.is_empty() {
            self.few.remove(level);
        }
    }
}

/// Lengths, each with how many keys have it.
#[derive(Debug, Clone, Default)]
pub(super) struct Lengths(Vec<(u32, u32)>);

impl Lengths {
    /// Ascending, each once.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().map(|(length, _)| *length as usize)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn change(&mut self, length: usize, more: bool) {
        let length = u32::try_from(length).expect("a pattern has fewer than 2^32 bytes");
        match self.0.binary_search_by_key(&length, |entry| entry.0) {
            Ok(at) if more => self.0[at].1 += 1,
            Ok(at) if self.0[at].1 == 1 => {
                self.0.remove(at);
            }
            Ok(at) => self.0[at].1 -= 1,
            Err(at) => self.0.insert(at, (length, 1)),
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    parent: u32,
    /// Leaves that name this path or one below.
    uses: u32,
    name: Box<[u8]>,
    children: Vec<Child>,
    /// Which lengths the names of the children have, as bits; 63 stands for all above.
    lengths: u64,
    /// Children that have children.
    deeper: u32,
    /// First bytes of the names of those (and of others, after removals), modulo 64, as bits.
    deeper_begin: u64,
    pub(super) asked: Asked,
    /// `"NAME.`, which begins every name that leads through this node's name to one below it:
    /// only such a name can still add to a path when this node has been seen.
    pub(super) dotted: Option<Box<Finder<'static>>>,
}

#[derive(Debug, Clone)]
struct Child {
    /// The first eight bytes of the name, and all of its length: most names differ there.
    head: u64,
    length: u32,
    node: u32,
}

impl Unwanted for &Node {
    #[inline(always)]
    fn is_unwanted(&self, length: usize, first: u8) -> bool {
        (self.lengths >> length.min(63) | self.deeper_begin >> (first & 63)) & 1 == 0
    }
}

impl Node {
    pub(super) fn is_path(&self) -> bool {
        0 < self.asked.leaves
    }

    /// True for a path of one name. (The root itself is no path.)
    pub(super) fn is_member_of_root(&self) -> bool {
        self.parent == ROOT
    }

    pub(super) fn has_children(&self) -> bool {
        !self.children.is_empty()
    }

    /// True when a member with this name may lead through one of the node's members to a path
    /// below it in one go. It is of any length, but begins as that member's.
    #[inline(always)]
    pub(super) fn may_wind(&self, name: &[u8]) -> bool {
        let first = name.first().copied().unwrap_or_default();
        self.deeper_begin >> (first & 63) & 1 != 0
    }

    /// True when a path goes on below a child.
    pub(super) fn leads_deeper(&self) -> bool {
        0 < self.deeper
    }

    pub(super) fn children(&self) -> usize {
        self.children.len()
    }

    /// The node of each child, in the order of [`Wanted::child`].
    pub(super) fn nodes(&self) -> impl Iterator<Item = u32> {
        self.children.iter().map(|child| child.node)
    }
}

/// All wanted paths.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    nodes: Row<Node>,
    /// Paths where alternatives wait.
    pub(super) waited: u32,
}

impl Wanted {
    pub(super) fn new() -> Self {
        let mut nodes = Row::new();
        nodes.add(Node::default());
        Wanted { nodes, waited: 0 }
    }

    /// Path numbers are below this.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    #[inline(always)]
    pub(super) fn node(&self, node: u32) -> &Node {
        self.nodes.get(node)
    }

    pub(super) fn asked_mut(&mut self, path: u32) -> &mut Asked {
        &mut self.nodes.get_mut(path).asked
    }

    /// One alternative more, or less, waits at a path.
    pub(super) fn wait(&mut self, path: u32, more: bool) {
        let waiting = &mut self.nodes.get_mut(path).asked.waiting;
        if more {
            self.waited += u32::from(*waiting == 0);
            *waiting += 1;
        } else {
            *waiting -= 1;
            self.waited -= u32::from(*waiting == 0);
        }
    }

    /// The number of `path`, which has one more leaf.
    pub(super) fn take(&mut self, path: &str) -> u32 {
        let mut at = ROOT;
        for name in path.split('.') {
            let name = name.as_bytes();
            at = match self.place(at, name) {
                Ok(place) => self.nodes.get(at).children[place].node,
                Err(place) => self.grow(at, place, name),
            };
            self.nodes.get_mut(at).uses += 1;
        }
        self.nodes.get_mut(at).asked.leaves += 1;
        at
    }

    /// Gives one leaf of a path back.
    pub(super) fn give_back(&mut self, path: u32) {
        self.nodes.get_mut(path).asked.leaves -= 1;
        let mut at = path;
        while at != ROOT {
            let node = self.nodes.get_mut(at);
            node.uses -= 1;
            let (parent, uses) = (node.parent, node.uses);
            if uses == 0 {
                let name = node.name.clone();
                let place = self.place(parent, &name).expect("it was grown there");
                let above = self.nodes.get_mut(parent);
                above.children.remove(place);
                let lengths = above.children.iter().map(|child| 1 << child.length.min(63));
                above.lengths = lengths.fold(0, |all, one| all | one);
                if above.children.is_empty() {
                    above.dotted = None;
                    let further = above.parent;
                    if parent != ROOT {
                        let further = self.nodes.get_mut(further);
                        further.deeper -= 1;
                        if further.deeper == 0 {
                            further.deeper_begin = 0;
                        }
                    }
                }
                self.nodes.give_back(at);
            }
            at = parent;
        }
    }

    fn grow(&mut self, parent: u32, place: usize, name: &[u8]) -> u32 {
        let node = self.nodes.add(Node {
            parent,
            name: name.into(),
            ..Node::default()
        });
        let child = Child {
            head: head(name),
            length: length(name),
            node,
        };
        let above = self.nodes.get_mut(parent);
        above.lengths |= 1 << child.length.min(63);
        above.children.insert(place, child);
        if above.dotted.is_none() {
            let text = [b"\"", &*above.name, b"."].concat();
            above.dotted = Some(Box::new(Finder::new(&text).into_owned()));
            let first = above.name.first().copied().unwrap_or(b'.');
            let further = above.parent;
            if parent != ROOT {
                let further = self.nodes.get_mut(further);
                further.deeper += 1;
                further.deeper_begin |= 1 << (first & 63);
            }
        }
        node
    }

    /// The place among a node's children, and the node, of the child with this name. `name` is
    /// unescaped; `head` is its [`head`].
    #[inline(always)]
    pub(super) fn child(&self, node: &Node, head: u64, name: &[u8]) -> Option<(u32, u32)> {
        let length = length(name);
        if node.lengths >> length.min(63) & 1 == 0 {
            return None;
        }
        if node.children.len() <= 8 {
            for (place, child) in node.children.iter().enumerate() {
                if child.head == head
                    && child.length == length
                    && (length <= 8 || *self.nodes.get(child.node).name == *name)
                {
                    return Some((place as u32, child.node));
                }
            }
            return None;
        }
        let place = self.find(node, head, name).ok()?;
        Some((place as u32, node.children[place].node))
    }

    fn place(&self, parent: u32, name: &[u8]) -> Result<usize, usize> {
        self.find(self.nodes.get(parent), head(name), name)
    }

    fn find(&self, node: &Node, head: u64, name: &[u8]) -> Result<usize, usize> {
        let length = length(name);
        node.children.binary_search_by(|child| {
            (child.head, child.length)
                .cmp(&(head, length))
                .then_with(|| (*self.nodes.get(child.node).name).cmp(name))
        })
    }
}

/// The first eight bytes of a name.
#[inline]
pub(super) fn head(name: &[u8]) -> u64 {
    if let Some(head) = name.first_chunk::<8>() {
        return u64::from_le_bytes(*head);
    }
    let bytes = name.iter().rev();
    bytes.fold(0, |head, byte| head << 8 | u64::from(*byte))
}

/// The same of the name of `length` bytes at `at`, read in one go.
#[inline(always)]
pub(super) fn head_at(text: &[u8], at: usize, length: usize) -> u64 {
    let Some(chunk) = text.get(at..).and_then(|rest| rest.first_chunk::<8>()) else {
        return head(text.get(at..at + length).unwrap_or_default());
    };
    let unwanted = 8_usize.saturating_sub(length) as u32 * 8;
    let kept = u64::MAX.checked_shr(unwanted).unwrap_or(0);
    u64::from_le_bytes(*chunk) & kept
}

#[inline]
fn length(name: &[u8]) -> u32 {
    u32::try_from(name.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn child(wanted: &Wanted, node: &Node, name: &[u8]) -> Option<(u32, u32)> {
        wanted.child(node, head(name), name)
    }

    #[test]
    fn paths_come_and_go() {
        let mut wanted = Wanted::new();
        let long = "detail.a-name-of-more-than-eight-bytes";
        let a = wanted.take(long);
        let b = wanted.take("detail.a-name-of-more-than-eight-bits.");
        let c = wanted.take("");
        assert_eq!(wanted.take(long), a);
        let root = wanted.node(ROOT);
        assert_eq!(child(&wanted, root, b""), Some((0, c)));
        assert_eq!(child(&wanted, root, b"detai"), None);
        let (_, detail) = child(&wanted, root, b"detail").unwrap();
        let detail = wanted.node(detail);
        let found = child(&wanted, detail, b"a-name-of-more-than-eight-bytes");
        assert_eq!(found.map(|(_, node)| node), Some(a));
        for path in [a, a, b, c] {
            assert!(wanted.node(path).is_path());
            wanted.give_back(path);
        }
        assert!(!wanted.node(ROOT).has_children());
    }

    #[test]
    fn many_children_are_found_too() {
        let mut wanted = Wanted::new();
        let names: Vec<String> = (0..300).map(|n| format!("name-number-{n}")).collect();
        let paths: Vec<u32> = names.iter().map(|name| wanted.take(name)).collect();
        let root = wanted.node(ROOT);
        for (name, path) in names.iter().zip(&paths) {
            let found = child(&wanted, root, name.as_bytes());
            assert_eq!(found.map(|(_, node)| node), Some(*path));
        }
        assert_eq!(child(&wanted, root, b"name-number-"), None);
    }
}
