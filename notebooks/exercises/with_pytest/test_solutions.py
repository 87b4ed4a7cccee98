"""Checks solutions.py; a failure says what seems to be wrong with the function."""

import pytest
import solutions

from capsedu.exercises import check, tasks


@pytest.mark.parametrize(
    "task", [pytest.param(task, marks=getattr(pytest.mark, f"task_{task}")) for task in tasks()]
)
def test_solution(task):
    report = check(task, getattr(solutions, task))
    if not report.passed:
        pytest.fail(report.summary(), pytrace=False)
