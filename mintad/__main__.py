"""Entry point of ``python -m mintad``."""

from mintad.cli import main

if __name__ == "__main__":
    main()
