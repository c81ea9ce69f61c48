"""Which tasks to train on: task scores, selectors that use them, selectors that learn."""

from sirl.selection import adaptive, scores, selectors

__all__ = ['adaptive', 'scores', 'selectors']
