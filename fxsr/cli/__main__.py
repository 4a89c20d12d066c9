"""`python -m fxsr.cli`, for launchers that start modules: torchrun, accelerate."""

from fxsr.cli.app import main

if __name__ == "__main__":
    main()
