"""Tests of one group share what is dear to start, which holds only where one process is given all of them."""

import pytest


@pytest.mark.xdist_group("as installed")
def test_a_test_of_a_group_is_known_as_one_wherever_processes_are_given_groups(request: pytest.FixtureRequest) -> None:
    is_by_groups = bool(request.config.getoption("loadgroup", False))
    assert request.node.nodeid.endswith("@as installed") == is_by_groups
