"""Policies as pure functions of a params tree. Only this package uses flax.nnx and transformers."""

from sirl.models.functional import build
from sirl.models.presets import preset
from sirl.models.transformer import Architecture

__all__ = ['Architecture', 'build', 'preset']
