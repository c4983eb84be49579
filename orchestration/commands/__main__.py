"""`python -m orchestration.commands` is `tract`, where no such program is on the path."""

from orchestration.commands.cli import main

if __name__ == "__main__":
    main()
