import pytest

from headcount_images.pictures.score import Score, overlap, score, total

LEFT = (0, 0, 10, 10)
RIGHT = (100, 0, 110, 10)


def test_boxes_that_agree_are_found() -> None:
    assert score([LEFT, RIGHT], [RIGHT, LEFT]) == Score(2, 0, 0)


def test_nothing_to_find_and_nothing_found_is_perfect() -> None:
    empty = score([], [])
    assert (empty.recall, empty.precision) == (1.0, 1.0)


def test_finds_where_nothing_is_are_false() -> None:
    found = score([], [LEFT])
    assert found == Score(0, 1, 0)
    assert (found.recall, found.precision) == (1.0, 0.0)


def test_truth_without_finds_is_missed() -> None:
    missed = score([LEFT, RIGHT], [])
    assert missed == Score(0, 0, 2)
    assert (missed.recall, missed.precision) == (0.0, 1.0)


def test_a_second_box_on_one_insect_is_false() -> None:
    assert score([LEFT], [LEFT, (0, 0, 10, 9)]) == Score(1, 1, 0)


def test_one_box_over_two_insects_finds_one_at_most() -> None:
    assert score([(0, 0, 10, 10), (0, 0, 10, 9)], [LEFT]) == Score(1, 0, 1)


@pytest.mark.parametrize(("right", "pairs"), [(20, 1), (21, 0)])
def test_half_overlap_is_just_enough(right: int, pairs: int) -> None:
    assert score([LEFT], [(0, 0, right, 10)]).true_positives == pairs


def test_the_pairing_is_the_largest_there_is() -> None:
    # The first truth agrees with both finds, the second with the first find only.
    truth = [(0, 0, 10, 10), (0, 0, 10, 6)]
    found = [(0, 0, 10, 8), (0, 0, 10, 12)]
    assert score(truth, found, minimum_overlap=0.7).true_positives == 2
    assert score(truth, found[::-1], minimum_overlap=0.7).true_positives == 2


@pytest.mark.parametrize("minimum", [0, -1, 1.01])
def test_an_impossible_minimum_is_refused(minimum: float) -> None:
    with pytest.raises(ValueError, match="minimum overlap"):
        score([LEFT], [LEFT], minimum_overlap=minimum)


def test_overlap_of_touching_and_of_empty_boxes_is_none() -> None:
    assert overlap(LEFT, (10, 0, 20, 10)) == 0
    assert overlap((3, 3, 3, 3), (3, 3, 3, 3)) == 0


def test_scores_add_up() -> None:
    assert total([Score(1, 2, 3), Score(10, 20, 30)]) == Score(11, 22, 33)
    assert total([]) == Score(0, 0, 0)
