"""Optimization: advantages, objectives, the compiled update, optimizers and reference rules."""

from sirl.optimization.credit import by_group
from sirl.optimization.optimize import make_optimize
from sirl.optimization.passes import Pieces

__all__ = ['Pieces', 'by_group', 'make_optimize']
