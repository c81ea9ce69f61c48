"""Application domains: task generators and checks of answers."""

from sirl.domains import answers, mathematics

__all__ = ['answers', 'mathematics']
