"""sirl: a language model improves itself, in a loop that is watched and can be stopped."""

__version__ = '0.1.0'
