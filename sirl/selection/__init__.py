"""Which tasks to train on: scores of tasks, selectors that use them, selectors that learn from outcomes."""

from sirl.selection import adaptive, scores, selectors

__all__ = ['adaptive', 'scores', 'selectors']
