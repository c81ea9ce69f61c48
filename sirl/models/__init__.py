"""Policies as pure functions of a params tree. The only package that knows flax.nnx and transformers."""

from sirl.models.functional import build
from sirl.models.presets import preset
from sirl.models.transformer import Architecture

__all__ = ['Architecture', 'build', 'preset']
