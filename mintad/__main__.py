"""Entry point of ``mintad`` and ``python -m mintad``; Ctrl-C is answered while the commands are still imported, too."""

import sys


def start() -> None:
    """Run the command line."""
    try:
        from mintad.cli import main

        main()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    start()
