"""The Merkle tree: against its recursive definition, published roots, and every way to bend a proof."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.errors import VerificationError
from leasehold.ledger.tree import (
    EMPTY_ROOT,
    HASH_SIZE,
    MAX_SIZE,
    Frontier,
    NodeTable,
    Place,
    TreeBuilder,
    consistency_proof,
    frontier_at,
    inclusion_proof,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)

# The eight leaves and roots that Certificate Transparency implementations of RFC 6962 test each other with.
PUBLISHED_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
PUBLISHED_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
PUBLISHED_PATH_OF_FIRST_IN_8 = [
    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
]
PUBLISHED_GROWTH_6_TO_8 = [
    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
]

LEAVES = [leaf_hash(b"entry %d" % index) for index in range(70)]
NODES = NodeTable(LEAVES)
SIZES = st.integers(min_value=0, max_value=len(LEAVES))
HUGE = 2**40 + 2**33 + 12_345


def defined_root(leaves: Sequence[bytes]) -> bytes:
    """The root as RFC 6962 section 2.1 defines it, by recursion over the whole list."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + defined_root(leaves[:split]) + defined_root(leaves[split:])).digest()


ROOTS = [defined_root(LEAVES[:size]) for size in range(len(LEAVES) + 1)]


def grown(leaves: Sequence[bytes]) -> Frontier:
    builder = TreeBuilder(Frontier())
    for leaf in leaves:
        builder.append(leaf)
    return builder.frontier()


class EqualLeaves:
    """The nodes of a tree of any size whose leaves are all equal: a node depends on its level alone. Counts reads."""

    def __init__(self) -> None:
        self.reads = 0
        self.levels = [leaf_hash(b"the same")]
        for _ in range(63):
            self.levels.append(node_hash(self.levels[-1], self.levels[-1]))

    def nodes(self, places: Sequence[Place]) -> list[bytes]:
        self.reads += len(places)
        return [self.levels[level] for level, _ in places]


def flipped(value: bytes, bit: int) -> bytes:
    changed = bytearray(value)
    changed[bit // 8 % len(value)] ^= 1 << bit % 8
    return bytes(changed)


def bent(proof: Sequence[bytes], bit: int) -> list[tuple[bytes, ...]]:
    """Every proof that is one small change away: a flipped bit, one hash less, one more, two swapped."""
    whole = tuple(proof)
    variants = [(*whole, LEAVES[0]), (LEAVES[0], *whole)]
    for place in range(len(whole)):
        variants.append((*whole[:place], flipped(whole[place], bit), *whole[place + 1 :]))
        variants.append((*whole[:place], *whole[place + 1 :]))
        variants.append((*whole[:place], *reversed(whole[place : place + 2]), *whole[place + 2 :]))
    return [variant for variant in variants if variant != whole]


@pytest.mark.requirement("L12")
@pytest.mark.parametrize("size", range(9))
def test_roots_of_the_published_leaves_are_the_published_roots(size: int) -> None:
    assert grown([leaf_hash(body) for body in PUBLISHED_LEAVES[:size]]).root().hex() == PUBLISHED_ROOTS[size]


@pytest.mark.requirement("L12")
def test_proofs_over_the_published_leaves_are_the_published_proofs() -> None:
    nodes = NodeTable(leaf_hash(body) for body in PUBLISHED_LEAVES)
    assert [step.hex() for step in inclusion_proof(nodes, 0, 8)] == PUBLISHED_PATH_OF_FIRST_IN_8
    assert [step.hex() for step in consistency_proof(nodes, 1, 8)] == PUBLISHED_PATH_OF_FIRST_IN_8
    assert [step.hex() for step in consistency_proof(nodes, 6, 8)] == PUBLISHED_GROWTH_6_TO_8


@given(SIZES)
def test_root_of_any_size_is_the_one_that_the_recursive_definition_gives(size: int) -> None:
    frontier = grown(LEAVES[:size])
    assert frontier.root() == ROOTS[size]
    assert frontier_at(NODES, size) == frontier


def test_appending_one_by_one_gives_the_frontier_of_the_batch() -> None:
    frontier = Frontier()
    for size, leaf in enumerate(LEAVES, start=1):
        frontier = frontier.append(leaf)
        assert frontier == grown(LEAVES[:size])


def test_builder_answers_the_index_of_each_leaf_it_takes() -> None:
    builder = TreeBuilder(grown(LEAVES[:5]))
    assert [builder.append(leaf) for leaf in LEAVES[5:9]] == [5, 6, 7, 8]


@given(st.lists(st.integers(min_value=0, max_value=9), max_size=7))
def test_nodes_kept_from_batches_serve_every_proof_that_the_whole_tree_serves(batches: list[int]) -> None:
    kept: dict[tuple[int, int], bytes] = {}
    frontier = Frontier()
    for length in batches:
        builder = TreeBuilder(frontier)
        for leaf in LEAVES[frontier.size : frontier.size + length]:
            builder.append(leaf)
        frontier = builder.frontier()
        kept.update(((level, position), digest) for level, position, digest in builder.completed)
    assert frontier.root() == ROOTS[frontier.size]
    whole = NodeTable(LEAVES[: frontier.size])
    assert all(whole.nodes([place]) == [digest] for place, digest in kept.items())
    assert len(kept) == 2 * frontier.size - frontier.size.bit_count()


@given(SIZES)
def test_stored_frontier_reads_back_as_written(size: int) -> None:
    frontier = grown(LEAVES[:size])
    stored = frontier.to_bytes()
    assert len(stored) == 8 + HASH_SIZE * size.bit_count()
    assert Frontier.from_bytes(stored) == frontier


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        bytes(7),
        bytes(8) + bytes(32),
        (1).to_bytes(8, "big"),
        (1).to_bytes(8, "big") + bytes(31),
        (1).to_bytes(8, "big") + bytes(33),
        (3).to_bytes(8, "big") + bytes(32),
        (3).to_bytes(8, "big") + bytes(63),
        (2**63).to_bytes(8, "big") + bytes(32),
    ],
)
def test_stored_frontier_that_no_tree_has_is_refused(stored: bytes) -> None:
    with pytest.raises(VerificationError):
        Frontier.from_bytes(stored)


@pytest.mark.requirement("L12")
@given(st.data())
def test_every_inclusion_proof_verifies_and_every_bent_one_fails(data: st.DataObject) -> None:
    size = data.draw(SIZES.filter(bool))
    index = data.draw(st.integers(min_value=0, max_value=size - 1))
    bit = data.draw(st.integers(min_value=0, max_value=255))
    proof = inclusion_proof(NODES, index, size)
    verify_inclusion(LEAVES[index], index, size, proof, ROOTS[size])
    for variant in bent(proof, bit):
        with pytest.raises(VerificationError) as caught:
            verify_inclusion(LEAVES[index], index, size, variant, ROOTS[size])
        assert caught.value.index == index
    with pytest.raises(VerificationError):
        verify_inclusion(flipped(LEAVES[index], bit), index, size, proof, ROOTS[size])
    with pytest.raises(VerificationError):
        verify_inclusion(LEAVES[index], index, size, proof, flipped(ROOTS[size], bit))


@pytest.mark.case(97)
def test_inclusion_proof_holds_for_one_entry_at_one_index_of_one_checkpoint() -> None:
    for size in range(1, 20):
        for index in range(size):
            proof = inclusion_proof(NODES, index, size)
            for other in range(size + 1):
                if other != index:
                    with pytest.raises(VerificationError):
                        verify_inclusion(LEAVES[index], other, size, proof, ROOTS[size])
            for other in range(20):
                if other != size:
                    with pytest.raises(VerificationError):
                        verify_inclusion(LEAVES[index], index, other, proof, ROOTS[other])


@pytest.mark.requirement("L12")
@pytest.mark.invariant("I9")
@given(SIZES, SIZES, st.integers(min_value=0, max_value=255))
def test_every_consistency_proof_verifies_and_every_bent_one_fails(one: int, other: int, bit: int) -> None:
    old, new = sorted((one, other))
    proof = consistency_proof(NODES, old, new)
    verify_consistency(old, ROOTS[old], new, ROOTS[new], proof)
    for variant in bent(proof, bit):
        with pytest.raises(VerificationError):
            verify_consistency(old, ROOTS[old], new, ROOTS[new], variant)
    with pytest.raises(VerificationError):
        verify_consistency(old, flipped(ROOTS[old], bit), new, ROOTS[new], proof)
    if old:
        with pytest.raises(VerificationError):
            verify_consistency(old, ROOTS[old], new, flipped(ROOTS[new], bit), proof)


@pytest.mark.case(97)
@pytest.mark.invariant("I9")
@given(st.data())
def test_tree_with_a_changed_past_cannot_be_shown_to_extend_the_old_one(data: st.DataObject) -> None:
    new = data.draw(SIZES.filter(lambda size: size > 1))
    old = data.draw(st.integers(min_value=1, max_value=new))
    changed = list(LEAVES[:new])
    changed[data.draw(st.integers(min_value=0, max_value=old - 1))] = leaf_hash(b"another entry")
    nodes = NodeTable(changed)
    with pytest.raises(VerificationError):
        verify_consistency(old, ROOTS[old], new, frontier_at(nodes, new).root(), consistency_proof(nodes, old, new))


@pytest.mark.invariant("I9")
def test_growth_is_only_shown_between_the_two_checkpoints_of_its_proof() -> None:
    for new in range(1, 14):
        for old in range(1, new):
            proof = consistency_proof(NODES, old, new)
            for other in range(1, 14):
                if other not in {old, new}:
                    with pytest.raises(VerificationError):
                        verify_consistency(other, ROOTS[other], new, ROOTS[new], proof)
                    with pytest.raises(VerificationError):
                        verify_consistency(old, ROOTS[old], other, ROOTS[other], proof)


@pytest.mark.case(97)
@given(st.data())
def test_editing_reordering_duplicating_or_deleting_entries_changes_the_root(data: st.DataObject) -> None:
    size = data.draw(SIZES.filter(lambda size: size > 1))
    place = data.draw(st.integers(min_value=0, max_value=size - 2))
    leaves = LEAVES[:size]
    edited = [*leaves[:place], leaf_hash(b"edited"), *leaves[place + 1 :]]
    swapped = [*leaves[:place], leaves[place + 1], leaves[place], *leaves[place + 2 :]]
    doubled = [*leaves[:place], leaves[place], *leaves[place:]]
    deleted = [*leaves[:place], *leaves[place + 1 :]]
    for changed in (edited, swapped, doubled, deleted, [*leaves, leaves[-1]]):
        assert grown(changed).root() != ROOTS[size]


def test_entry_that_spells_two_hashes_is_not_taken_for_the_node_above_them() -> None:
    assert leaf_hash(LEAVES[0] + LEAVES[1]) != ROOTS[2]


@pytest.mark.case(97)
def test_proof_is_as_long_as_its_tree_is_high_though_its_hashes_lead_to_the_root() -> None:
    """Both roots of each are those that the hashes make: only their number says that the sizes are not true."""
    zero, one, two, three = (leaf_hash(leaf) for leaf in PUBLISHED_LEAVES[:4])
    left, right = node_hash(zero, one), node_hash(two, three)
    verify_inclusion(three, 3, 4, [two, left], node_hash(left, right))
    for leaf, index, size, proof in ((three, 1, 2, [two, left]), (left, 0, 4, [right])):
        with pytest.raises(VerificationError):
            verify_inclusion(leaf, index, size, proof, node_hash(left, right))
    verify_consistency(3, node_hash(left, two), 4, node_hash(left, right), [two, three, left])
    above = node_hash(zero, node_hash(left, two)), node_hash(zero, node_hash(left, right))
    for roots, growth in ((above, [two, three, left, zero]), ((two, right), [two, three])):
        with pytest.raises(VerificationError):
            verify_consistency(3, roots[0], 4, roots[1], growth)


def test_proofs_from_a_tree_of_a_million_million_entries_read_few_nodes_and_verify() -> None:
    nodes = EqualLeaves()
    root = frontier_at(nodes, HUGE).root()
    for index in (0, 1, 2**33, 2**40, HUGE - 1):
        nodes.reads = 0
        proof = inclusion_proof(nodes, index, HUGE)
        assert nodes.reads <= 2 * HUGE.bit_length()
        verify_inclusion(nodes.levels[0], index, HUGE, proof, root)
    for old in (1, 1000, 2**40, HUGE - 1):
        nodes.reads = 0
        growth = consistency_proof(nodes, old, HUGE)
        assert nodes.reads <= 2 * HUGE.bit_length()
        verify_consistency(old, frontier_at(nodes, old).root(), HUGE, root, growth)


def test_full_tree_takes_no_further_leaf() -> None:
    full = frontier_at(EqualLeaves(), MAX_SIZE)
    with pytest.raises(VerificationError, match="cannot take"):
        full.append(LEAVES[0])


@pytest.mark.parametrize("leaf", [b"", bytes(31), bytes(33)])
def test_hash_of_another_length_is_refused_everywhere(leaf: bytes) -> None:
    with pytest.raises(VerificationError):
        TreeBuilder(Frontier()).append(leaf)
    with pytest.raises(VerificationError):
        Frontier().append(leaf)
    with pytest.raises(VerificationError):
        NodeTable([LEAVES[0], leaf])
    with pytest.raises(VerificationError):
        Frontier(size=1, edge=(leaf,))
    with pytest.raises(VerificationError):
        verify_inclusion(leaf, 0, 1, (), leaf)
    with pytest.raises(VerificationError):
        verify_consistency(1, leaf, 1, leaf, ())


@pytest.mark.parametrize("size", [-1, MAX_SIZE + 1])
def test_size_that_no_tree_has_is_refused(size: int) -> None:
    with pytest.raises(VerificationError):
        frontier_at(NODES, size)
    with pytest.raises(VerificationError):
        Frontier(size=size)
    with pytest.raises(VerificationError):
        inclusion_proof(NODES, 0, size)
    with pytest.raises(VerificationError):
        verify_inclusion(LEAVES[0], 0, size, (), LEAVES[0])
    with pytest.raises(VerificationError):
        consistency_proof(NODES, 0, size)
    with pytest.raises(VerificationError):
        verify_consistency(0, EMPTY_ROOT, size, ROOTS[1], ())


@pytest.mark.parametrize("index", [-1, 5, 6])
def test_entry_outside_the_tree_has_no_proof(index: int) -> None:
    with pytest.raises(VerificationError, match="no entry"):
        inclusion_proof(NODES, index, 5)
    with pytest.raises(VerificationError, match="no entry"):
        verify_inclusion(LEAVES[0], index, 5, (), ROOTS[5])


def test_proof_for_more_leaves_than_the_reader_has_is_refused() -> None:
    with pytest.raises(VerificationError, match="no complete subtree"):
        inclusion_proof(NODES, 0, len(LEAVES) + 1)
    with pytest.raises(VerificationError, match="no complete subtree"):
        NODES.nodes([(-1, 0)])
    with pytest.raises(VerificationError, match="no complete subtree"):
        NODES.nodes([(99, 0)])


@pytest.mark.case(96)
def test_tree_cannot_shrink() -> None:
    with pytest.raises(VerificationError, match="cannot have grown"):
        consistency_proof(NODES, 5, 4)
    with pytest.raises(VerificationError, match="cannot have grown"):
        verify_consistency(5, ROOTS[5], 4, ROOTS[4], ())
    with pytest.raises(VerificationError, match="cannot have grown"):
        verify_consistency(-1, ROOTS[5], 4, ROOTS[4], ())


@pytest.mark.case(99)
def test_two_roots_of_one_size_are_not_consistent() -> None:
    with pytest.raises(VerificationError):
        verify_consistency(5, ROOTS[5], 5, ROOTS[6], ())


def test_every_tree_extends_the_empty_one_but_not_under_a_false_root() -> None:
    verify_consistency(0, EMPTY_ROOT, 7, ROOTS[7], ())
    with pytest.raises(VerificationError, match="empty tree"):
        verify_consistency(0, ROOTS[1], 7, ROOTS[7], ())


def test_growth_without_any_proof_is_refused() -> None:
    with pytest.raises(VerificationError, match="is empty"):
        verify_consistency(4, ROOTS[4], 7, ROOTS[7], ())
