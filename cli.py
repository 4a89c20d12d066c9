"""The command line from a checkout, nothing installed: `python cli.py run photo.jpg`."""

from fxsr.cli import main

if __name__ == "__main__":
    main()
