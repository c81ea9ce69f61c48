"""Counting compilations."""

import jax


def watched():
  """A list that grows by one with every program that is compiled or read from the cache."""
  compiled = []
  listen = lambda event, seconds, **_: (
    compiled.append(event) if 'backend_compile' in event else None
  )
  jax.monitoring.register_event_duration_secs_listener(listen)
  return compiled
