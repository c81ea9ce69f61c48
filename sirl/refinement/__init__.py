"""Refinement: better answers from the same weights."""

from sirl.refinement import voting

__all__ = ['voting']
