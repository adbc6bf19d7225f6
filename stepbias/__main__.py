"""``python -m stepbias``: the command line."""

from stepbias.verify.cli import main

if __name__ == "__main__":
    main()
