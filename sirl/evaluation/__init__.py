"""Evaluation: how good the policy is, what goes wrong, and what to do about it."""

from sirl.evaluation import benchmarks, monitors, steering
from sirl.evaluation.benchmarks import evaluator, merge

__all__ = ['benchmarks', 'evaluator', 'merge', 'monitors', 'steering']
