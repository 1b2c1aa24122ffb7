"""Marks for the cases of a test that `make test` leaves out."""

import pytest


def slow_but(quick, cases):
    """Return the cases of a test for ``parametrize``; those that are not in ``quick`` are marked slow."""
    return [case if case in quick else _slow(case) for case in cases]


def _slow(case):
    return pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow)
