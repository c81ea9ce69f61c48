"""Where tasks come from. An Acquire is `(params, pool, context) -> tasks`; the pool keeps what was acquired."""

from sirl.acquisition import curated, hygiene, pool, procedural, synthetic
from sirl.acquisition.pool import Pool, chain, once

__all__ = ['Pool', 'chain', 'curated', 'hygiene', 'once', 'pool', 'procedural', 'synthetic']
