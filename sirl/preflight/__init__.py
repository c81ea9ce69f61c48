"""Preflight: what is wrong with a run is said before anything is trained."""

from sirl.preflight.setting import check, check_reward
from sirl.preflight.trial import Choices, run

__all__ = ['Choices', 'check', 'check_reward', 'run']
