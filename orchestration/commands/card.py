"""`python -m orchestration.commands.card <file.html> [exposure]`: save the champion's model card."""

import sys
from collections.abc import Sequence

from ml.errors import TractError
from ml.reports import card
from orchestration import project


def main(arguments: Sequence[str]) -> int:
    """Save the card of the exposure named, or of the only one; 1 with one sentence when there is none."""
    if len(arguments) not in (1, 2):
        sys.stderr.write("Say where to: python -m orchestration.commands.card <file.html> [exposure]\n")
        return 2
    try:
        exposure = project.exposure(arguments[1] if len(arguments) == 2 else "")
    except TractError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return card.main([exposure.name, arguments[0]])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
