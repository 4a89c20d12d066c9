"""The command line from a checkout, nothing installed: `python cli.py run photo.jpg`."""

from fxsr.cli.app import main

if __name__ == "__main__":
    main()
