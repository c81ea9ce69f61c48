"""Where tasks come from. An Acquire is `(params, pool, context) -> tasks`; the pool keeps what was acquired."""

from sirl.acquisition import curated, hygiene, procedural, synthetic
from sirl.acquisition.sources import chain, once

__all__ = ['chain', 'curated', 'hygiene', 'once', 'procedural', 'synthetic']
