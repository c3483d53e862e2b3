"""The command ``fedjax-diffusion`` as ``python -m fedjax_diffusion``."""

import sys

from fedjax_diffusion.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
