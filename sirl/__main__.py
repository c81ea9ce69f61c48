"""python -m sirl."""

import sys

from sirl import cli

if __name__ == '__main__':
  sys.exit(cli.main())
