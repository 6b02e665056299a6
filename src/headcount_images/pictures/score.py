"""How well found boxes agree with the true ones."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from headcount_images.pictures.boxes import Box

# The usual meaning of "found": the boxes share half of what they cover together.
USUAL_OVERLAP = 0.5


@dataclass(frozen=True, slots=True)
class Score:
    """How many boxes agree.

    ``recall`` is the share of the true boxes that was found, ``precision`` the share of the found boxes that is true.
    Both are 1.0 when there was nothing to be wrong about: no true box to find, no found box to doubt.
    """

    true_positives: int
    false_positives: int
    false_negatives: int

    @property
    def recall(self) -> float:
        """The share of the true boxes that was found."""
        return _share(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def precision(self) -> float:
        """The share of the found boxes that is true."""
        return _share(self.true_positives, self.true_positives + self.false_positives)


def score(truth: Sequence[Box], found: Sequence[Box], *, minimum_overlap: float = USUAL_OVERLAP) -> Score:
    """Compare the boxes found in one picture with the true ones.

    Each true box is paired with at most one found box and the other way round, so that as many pairs as possible
    overlap (intersection over union) by ``minimum_overlap`` or more; a second box on the same insect counts as false.
    Raises ValueError when ``minimum_overlap`` is not above 0 and at most 1.
    """
    if not 0 < minimum_overlap <= 1:
        raise ValueError(f"the minimum overlap must be above 0 and at most 1, not {minimum_overlap}")
    agreeing = [[n for n, box in enumerate(found) if overlap(true, box) >= minimum_overlap] for true in truth]
    pairs = _most_pairs(agreeing)
    return Score(pairs, len(found) - pairs, len(truth) - pairs)


def total(scores: Iterable[Score]) -> Score:
    """Add up the scores of many pictures."""
    listed = list(scores)
    return Score(
        sum(one.true_positives for one in listed),
        sum(one.false_positives for one in listed),
        sum(one.false_negatives for one in listed),
    )


def overlap(first: Box, second: Box) -> float:
    """Give the intersection over union of two boxes, from 0 to 1; 0 when neither covers anything."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(0.0, width) * max(0.0, height)
    together = _area(first) + _area(second) - shared
    return shared / together if together > 0 else 0.0


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _most_pairs(agreeing: Sequence[Sequence[int]]) -> int:
    """Count the pairs of a largest one-to-one matching; ``agreeing[t]`` lists the finds that agree with truth ``t``."""
    taken: dict[int, int] = {}
    return sum(_can_pair(true, agreeing, taken, set()) for true in range(len(agreeing)))


def _can_pair(true: int, agreeing: Sequence[Sequence[int]], taken: dict[int, int], tried: set[int]) -> bool:
    """Pair a true box, moving others to another find of theirs where that makes room (an augmenting path)."""
    for find in agreeing[true]:
        if find in tried:
            continue
        tried.add(find)
        if find not in taken or _can_pair(taken[find], agreeing, taken, tried):
            taken[find] = true
            return True
    return False
