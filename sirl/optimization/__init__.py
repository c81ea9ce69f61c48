"""Optimization: advantages, objectives, the compiled update, optimizers and reference rules."""

from sirl.optimization.optimize import make_optimize

__all__ = ['make_optimize']
