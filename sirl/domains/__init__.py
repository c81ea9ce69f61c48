"""Fields of application: their task generators and their verifiable checks."""

from sirl.domains import answers, mathematics

__all__ = ['answers', 'mathematics']
