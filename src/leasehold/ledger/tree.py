"""The Merkle tree of the ledger (RFC 6962 section 2.1, RFC 9162 section 2.1): growing it, proving from it, checking.

The store grows a `Frontier` by each batch and keeps what `TreeBuilder` completed; receipts and exports take proofs from
any reader of those nodes; offline verification needs only the two `verify_` functions. A node is a complete subtree:
`(level, position)` covers the `2**level` leaves from `position * 2**level` on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import chain, islice
from typing import NamedTuple, Protocol, TypeAlias

import msgspec

from leasehold.errors import VerificationError

__all__ = [
    "EMPTY_ROOT",
    "HASH_SIZE",
    "MAX_SIZE",
    "Frontier",
    "Node",
    "NodeTable",
    "Nodes",
    "Place",
    "TreeBuilder",
    "consistency_proof",
    "frontier_at",
    "inclusion_proof",
    "leaf_hash",
    "node_hash",
    "verify_consistency",
    "verify_inclusion",
]

HASH_SIZE = 32
MAX_SIZE = 2**63 - 1
EMPTY_ROOT = sha256(b"").digest()

_SIZE_BYTES = 8


def leaf_hash(body: bytes) -> bytes:
    """Return the hash of one entry: SHA-256 of 0x00 and its bytes."""
    return sha256(b"\x00" + body).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of two neighbours: SHA-256 of 0x01, the left and the right hash."""
    return sha256(b"\x01" + left + right).digest()


Place: TypeAlias = tuple[int, int]
"""Where a complete subtree stands: its level and its position."""


class Node(NamedTuple):
    """One complete subtree: its height, its place among those of that height, and its hash."""

    level: int
    position: int
    digest: bytes


class Frontier(msgspec.Struct, frozen=True, kw_only=True):
    """The least that a tree must remember in order to grow: how many leaves, and the hashes of its right edge.

    Attributes:
        size: number of leaves.
        edge: the root of each complete subtree that the leaves fill up, the largest first: one for each set bit of
            `size`, 32 bytes each.

    Raises:
        VerificationError: size and edge do not belong together.
    """

    size: int = 0
    edge: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MAX_SIZE or len(self.edge) != self.size.bit_count():
            raise VerificationError(f"a tree of {self.size} leaves does not have an edge of {len(self.edge)} hashes")
        _check_hashes(self.edge)

    def append(self, leaf: bytes) -> Frontier:
        """Return the frontier with one more leaf hash. For a whole batch, take a `TreeBuilder`."""
        builder = TreeBuilder(self)
        builder.append(leaf)
        return builder.frontier()

    def root(self) -> bytes:
        """Return the root hash of the tree; of an empty tree, SHA-256 of nothing."""
        return _fold(self.edge) if self.edge else EMPTY_ROOT

    def to_bytes(self) -> bytes:
        """Return the size as 8 bytes, most significant first, followed by the hashes of the edge."""
        return self.size.to_bytes(_SIZE_BYTES, "big") + b"".join(self.edge)

    @classmethod
    def from_bytes(cls, data: bytes) -> Frontier:
        """Return the frontier that `to_bytes` wrote.

        Raises:
            VerificationError: no frontier is written like this.
        """
        if len(data) < _SIZE_BYTES:
            raise VerificationError(f"a stored frontier has at least {_SIZE_BYTES} bytes, this one has {len(data)}")
        edge = tuple(data[start : start + HASH_SIZE] for start in range(_SIZE_BYTES, len(data), HASH_SIZE))
        return cls(size=int.from_bytes(data[:_SIZE_BYTES], "big"), edge=edge)


class TreeBuilder:
    """A tree while one batch grows it; mutable, owned by the thread that made it.

    Attributes:
        completed: every subtree completed since the start, leaves included, in the order of completion. A store that
            keeps them can answer `Nodes.nodes` for each size the tree ever had.
    """

    __slots__ = ("_edge", "_size", "completed")

    def __init__(self, frontier: Frontier) -> None:
        self._size = frontier.size
        self._edge = list(frontier.edge)
        self.completed: list[Node] = []

    def append(self, leaf: bytes) -> int:
        """Add one leaf hash and return its index.

        Raises:
            VerificationError: it is not 32 bytes long, or the tree is full.
        """
        if len(leaf) != HASH_SIZE or self._size >= MAX_SIZE:
            raise VerificationError(f"a tree of {self._size} leaves cannot take a leaf hash of {len(leaf)} bytes")
        node = Node(0, self._size, leaf)
        self.completed.append(node)
        while node.position & 1:
            node = Node(node.level + 1, node.position >> 1, node_hash(self._edge.pop(), node.digest))
            self.completed.append(node)
        self._edge.append(node.digest)
        self._size += 1
        return self._size - 1

    def frontier(self) -> Frontier:
        """Return the frontier as it stands now."""
        return Frontier(size=self._size, edge=tuple(self._edge))


class Nodes(Protocol):
    """Where proofs read complete subtrees from: a table of the store, an export, memory."""

    def nodes(self, places: Sequence[Place]) -> Sequence[bytes]:
        """Return the 32-byte hash of each of these complete subtrees, in the same order.

        Raises:
            VerificationError: this tree has no such subtree.
        """
        ...


class NodeTable:
    """All subtrees over a list of leaf hashes, in memory. Building it takes one hash a leaf."""

    __slots__ = ("_levels", "size")

    def __init__(self, leaves: Iterable[bytes]) -> None:
        row = list(leaves)
        _check_hashes(row)
        self.size = len(row)
        self._levels: list[list[bytes]] = []
        while row:
            self._levels.append(row)
            row = [node_hash(left, right) for left, right in zip(row[::2], row[1::2], strict=False)]

    def nodes(self, places: Sequence[Place]) -> list[bytes]:
        """Return the hashes of complete subtrees. See `Nodes.nodes`."""
        return [self._node(level, position) for level, position in places]

    def _node(self, level: int, position: int) -> bytes:
        if 0 <= level < len(self._levels) and 0 <= position < len(self._levels[level]):
            return self._levels[level][position]
        raise VerificationError(f"a tree of {self.size} leaves has no complete subtree {position} of height {level}")


def frontier_at(nodes: Nodes, size: int) -> Frontier:
    """Return the frontier, and with it the root, that the tree had at `size` leaves. Reads at most log2(size) nodes."""
    _check_size(size)
    return Frontier(size=size, edge=tuple(nodes.nodes(_complete(0, size))))


def inclusion_proof(nodes: Nodes, index: int, size: int) -> tuple[bytes, ...]:
    """Return the audit path of leaf `index` in the tree of the first `size` leaves, lowest first (RFC 9162 2.1.3.1).

    Reads about twice log2(size) nodes, all at once.

    Raises:
        VerificationError: that tree has no such leaf.
    """
    _check_size(size)
    _check_index(index, size)
    beside = []
    begin, end = 0, size
    while end - begin > 1:
        split = _split(begin, end)
        if index < split:
            beside.append((split, end))
            end = split
        else:
            beside.append((begin, split))
            begin = split
    return _roots(nodes, beside[::-1])


def consistency_proof(nodes: Nodes, old: int, new: int) -> tuple[bytes, ...]:
    """Return the proof that the tree of `new` leaves begins with the one of `old` leaves (RFC 9162 2.1.4.1).

    Empty when `old` is 0 or `new`: there is nothing to prove. Reads about twice log2(new) nodes, all
    at once.

    Raises:
        VerificationError: `old` is larger than `new`, or either is not a size.
    """
    _check_sizes(old, new)
    if old in {0, new}:
        return ()
    beside = []
    begin, end = 0, new
    while end != old:
        split = _split(begin, end)
        if old <= split:
            beside.append((split, end))
            end = split
        else:
            beside.append((begin, split))
            begin = split
    if begin:
        beside.append((begin, end))
    return _roots(nodes, beside[::-1])


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that `leaf` is the hash of entry `index` in the tree of `size` leaves with this root (RFC 9162 2.1.3.2).

    Raises:
        VerificationError: it is not, or the proof does not show it; its `index` names the entry.
    """
    _check_size(size)
    _check_index(index, size)
    _check_hashes((leaf, root, *proof))
    place, last, computed = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise VerificationError(
                f"the inclusion proof of entry {index} is longer than the tree is high", index=index
            )
        if place & 1 or place == last:
            computed = node_hash(sibling, computed)
            place, last = _climb(place, last)
        else:
            computed = node_hash(computed, sibling)
        place, last = place >> 1, last >> 1
    if last != 0 or computed != root:
        raise VerificationError(f"entry {index} is not shown to be in the tree of {size} entries", index=index)


def verify_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree of `new` leaves begins with exactly the `old` leaves of the other (RFC 9162 2.1.4.2).

    Every tree extends the empty tree and itself; both take an empty proof.

    Raises:
        VerificationError: it does not, or the proof does not show it.
    """
    _check_sizes(old, new)
    _check_hashes((old_root, new_root, *proof))
    if old == 0 and old_root != EMPTY_ROOT:
        raise VerificationError("an empty tree does not have this root")
    if old in {0, new}:
        if proof or (old == new and old_root != new_root):
            raise VerificationError(f"two trees of {old} and {new} entries are not shown to be consistent")
        return
    if not proof:
        raise VerificationError(f"the proof that the tree grew from {old} to {new} entries is empty")
    if _replay_growth(old, new, old_root, proof) != (old_root, new_root):
        raise VerificationError(f"the tree of {new} entries is not shown to extend the tree of {old} entries")


def _replay_growth(old: int, new: int, old_root: bytes, proof: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Return the two roots that a consistency proof leads to."""
    path = (old_root, *proof) if old.bit_count() == 1 else tuple(proof)
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old_computed = new_computed = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise VerificationError(f"the proof of growth from {old} to {new} entries is longer than the tree is high")
        if place & 1 or place == last:
            old_computed = node_hash(sibling, old_computed)
            new_computed = node_hash(sibling, new_computed)
            place, last = _climb(place, last)
        else:
            new_computed = node_hash(new_computed, sibling)
        place, last = place >> 1, last >> 1
    if last != 0:
        raise VerificationError(f"the proof of growth from {old} to {new} entries ends below the root")
    return old_computed, new_computed


def _climb(place: int, last: int) -> tuple[int, int]:
    """Skip the levels on which the rightmost node has no sibling and is passed up unchanged."""
    while place and not place & 1:
        place, last = place >> 1, last >> 1
    return place, last


def _split(begin: int, end: int) -> int:
    """Where RFC 6962 cuts a range of two or more leaves: behind the largest power of two that leaves something over."""
    return begin + (1 << ((end - begin - 1).bit_length() - 1))


def _complete(begin: int, end: int) -> list[Place]:
    """The complete subtrees that fill a range, the largest first; `begin` is a multiple of the largest."""
    places = []
    while begin < end:
        level = (end - begin).bit_length() - 1
        places.append((level, begin >> level))
        begin += 1 << level
    return places


def _roots(nodes: Nodes, ranges: Sequence[tuple[int, int]]) -> tuple[bytes, ...]:
    """The root over the leaves of each range. A database is asked once for all of them: most of its cost is to ask."""
    places = [_complete(begin, end) for begin, end in ranges]
    found = iter(nodes.nodes(list(chain.from_iterable(places))))
    return tuple(_fold(islice(found, len(one))) for one in places)


def _fold(hashes: Iterable[bytes]) -> bytes:
    """The root over neighbouring complete subtrees of falling size, of which there is at least one."""
    *larger, root = hashes
    for left in reversed(larger):
        root = node_hash(left, root)
    return root


def _check_hashes(hashes: Iterable[bytes]) -> None:
    for value in hashes:
        if len(value) != HASH_SIZE:
            raise VerificationError(f"a hash of this tree has {HASH_SIZE} bytes, not {len(value)}")


def _check_size(size: int) -> None:
    if not 0 <= size <= MAX_SIZE:
        raise VerificationError(f"a tree cannot have {size} leaves")


def _check_sizes(old: int, new: int) -> None:
    _check_size(new)
    if not 0 <= old <= new:
        raise VerificationError(f"a tree of {new} entries cannot have grown from one of {old}")


def _check_index(index: int, size: int) -> None:
    if not 0 <= index < size:
        raise VerificationError(f"a tree of {size} entries has no entry {index}", index=index)
