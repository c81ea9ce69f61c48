"""Evaluation: benchmarks of the policy, monitors of risks, and rules that steer the run."""

from sirl.evaluation import benchmarks, monitors, steering
from sirl.evaluation.benchmarks import evaluator, merge

__all__ = ['benchmarks', 'evaluator', 'merge', 'monitors', 'steering']
