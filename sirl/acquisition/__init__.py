"""Where tasks come from. An Acquire is `(weights, pool, context) -> tasks`; the pool keeps what was acquired."""

from sirl.acquisition import curated, hygiene, procedural, synthetic
from sirl.acquisition.sources import acquirer, chain, once

__all__ = ['acquirer', 'chain', 'curated', 'hygiene', 'once', 'procedural', 'synthetic']
