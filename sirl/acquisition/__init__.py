"""Sources of tasks. An Acquire is `(weights, pool, context) -> tasks`; the pool stores them."""

from sirl.acquisition import curated, hygiene, procedural, synthetic
from sirl.acquisition.sources import acquirer, chain, once

__all__ = ['acquirer', 'chain', 'curated', 'hygiene', 'once', 'procedural', 'synthetic']
