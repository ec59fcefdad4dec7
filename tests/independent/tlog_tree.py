"""Trees of RFC 6962, section 2.1: roots and proofs.

Proofs of inclusion and consistency are checked as RFC 9162 puts it (2.1.3.2,
2.1.4.2): the same trees, with the algorithms spelled out.
"""

import hashlib

from untrue import Untrue, require

EMPTY_ROOT = hashlib.sha256(b"").digest()
# No tree of ours is deeper.
_MAX_PROOF = 64


def leaf_hash(data):
    return hashlib.sha256(b"\0" + data).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def root_of_hashes(hashes):
    """The root over leaf hashes that are there already."""
    if not hashes:
        return EMPTY_ROOT
    level = list(hashes)
    while len(level) > 1:
        above = [node_hash(level[i], level[i + 1])
                 for i in range(0, len(level) - 1, 2)]
        # The last one without a neighbour goes up as it is, which gives the
        # same shape as cutting at the largest power of two.
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return level[0]


def root(leaves):
    return root_of_hashes([leaf_hash(data) for data in leaves])


def _split(size):
    """The largest power of two below `size`, which is above 1."""
    return 1 << ((size - 1).bit_length() - 1)


def root_with_others(size, first, hashes, others, what):
    """The root of a tree of which a range's leaf hashes are known.

    Args:
      size: leaves of the tree.
      first: number of the first known leaf.
      hashes: leaf hashes from there on, at least one.
      others: the hashes of the rest (FORMAT.md, "Ranges of a tree"), all used.
      what: names the tree in errors.
    """
    end = first + len(hashes)
    require(hashes and 0 <= first and end <= size,
            f"{what}: leaves {first} to {end} of {size}")
    rest = iter(others)

    def subtree(low, high):
        if high <= first or end <= low:
            taken = next(rest, None)
            require(taken is not None,
                    f"{what}: hashes of the rest are missing")
            return taken
        if high == low + 1:
            return hashes[low - first]
        middle = low + _split(high - low)
        left = subtree(low, middle)
        return node_hash(left, subtree(middle, high))

    found = subtree(0, size)
    require(next(rest, None) is None,
            f"{what}: there are more hashes of the rest than the tree has")
    return found


def _check_hashes(proof, one, other, what):
    require(len(proof) <= _MAX_PROOF, f"{what}: the proof is too long")
    require(all(len(h) == 32 for h in (*proof, one, other)),
            f"{what}: a hash has not 32 bytes")


def check_inclusion(leaf, index, size, proof, wanted_root, what):
    """Raises unless the leaf hash is number `index` of the tree."""
    require(0 <= index < size, f"{what}: leaf {index} of {size}")
    _check_hashes(proof, leaf, wanted_root, what)
    number, last, found = index, size - 1, leaf
    for sibling in proof:
        require(last > 0, f"{what}: the proof is too long")
        if number & 1 or number == last:
            found = node_hash(sibling, found)
            while number and not number & 1:
                number, last = number >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        number, last = number >> 1, last >> 1
    require(last == 0, f"{what}: the proof is too short")
    require(found == wanted_root,
            f"{what}: is not in the tree at {index}")


def check_consistency(size1, root1, size2, root2, proof, what):
    """Raises unless the first tree is a beginning of the second."""
    require(0 < size1 <= size2, f"{what}: sizes {size1} and {size2}")
    if size1 == size2:
        require(not proof, f"{what}: equal sizes need no hashes")
        require(root1 == root2, f"{what}: two roots of the same size")
        return
    _check_hashes(proof, root1, root2, what)
    path = list(proof)
    if size1 & (size1 - 1) == 0:
        path.insert(0, root1)
    require(path, f"{what}: the proof is too short")
    number, last = size1 - 1, size2 - 1
    while number & 1:
        number, last = number >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        require(last > 0, f"{what}: the proof is too long")
        if number & 1 or number == last:
            first = node_hash(sibling, first)
            second = node_hash(sibling, second)
            while number and not number & 1:
                number, last = number >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        number, last = number >> 1, last >> 1
    require(last == 0, f"{what}: the proof is too short")
    if first != root1 or second != root2:
        raise Untrue(f"{what}: the trees are not consistent")
