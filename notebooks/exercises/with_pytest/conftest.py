"""A marker for each task: `pytest -m task_squash_vjp` checks one function alone."""

from capsedu.exercises import tasks


def pytest_configure(config):
    for task in tasks():
        config.addinivalue_line("markers", f"task_{task}: the function {task} of solutions.py")
