"""`podium`: without a subcommand, the app."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from tui.cli import podium

    podium()


if __name__ == "__main__":
    main()
