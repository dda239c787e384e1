"""A split into training and test images for data that come without one: seeded, and stable when images are added.

All anomalous images are tested. Normal images are ordered by a hash of seed, category and name, and the first of them
are tested, so a new image moves at most one other. A category without anomalous images gives all of them to training,
because nothing could be measured on the others.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from mintad.data.problems import Problem
from mintad.data.tree import Row

UNTRAINED_FIX = (
    "give it normal images to train on (label good, split train or empty, or a smaller data.options.test_share), "
    "or leave it out (data.categories)"
)
"""What helps a category of which all images are tested."""


def assign_split(rows: Sequence[Row], *, share: float, seed: int, roots: Sequence[Path]) -> Iterator[Problem]:
    """Set ``split`` of the rows where it is ""; yield a note for every category of which some are tested.

    Args:
        rows: of `mintad.data.tree.Scan`; their images lie below one of `roots`, where their names begin.
        share: of the normal images without a split that are tested, at least one.
        seed: another seed tests other images.
        roots: folders of the data.
    """
    undecided: dict[str, list[Row]] = defaultdict(list)
    tested = {row["category"] for row in rows if row["label"]}
    for row in rows:
        if row["split"] == "":
            row["split"] = "test" if row["label"] else "train"
            if not row["label"]:
                undecided[row["category"]].append(row)
    for category, normal in sorted(undecided.items()):
        total, count = len(normal), 0
        if category in tested and total > 1:
            count = max(1, round(share * total))
            normal.sort(key=lambda row: _rank(row, seed, roots))
            for row in normal[:count]:
                row["split"] = "test"
        problem = f"no split: {count} of {total} normal images are tested, the others train"
        how = f"chosen by their names with seed {seed} (options test_share and seed)"
        if count:
            where = next((root for root in roots if root.name == category), roots[0] / category)
            yield Problem("note", str(where), problem, how)


def _rank(row: Row, seed: int, roots: Sequence[Path]) -> bytes:
    image = Path(row["image"])
    names = [image.relative_to(root).as_posix() for root in roots if image.is_relative_to(root)]
    name = min(names, key=len, default=image.name)
    return hashlib.blake2b(f"{seed}/{row['category']}/{name}".encode(errors="surrogateescape")).digest()
