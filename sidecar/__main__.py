"""`python -m sidecar` is the command `marketplace-sidecar`."""

import gc
import sys


def main() -> int:
    """Run the command of this process and return its exit code.

    The garbage collector is off until the command's modules are loaded: they are never freed, and each look at their
    hundred thousand objects delays the start. `sidecar.cli` turns it on.
    """
    gc.disable()
    from sidecar import cli  # noqa: PLC0415 - after the collector is off

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
