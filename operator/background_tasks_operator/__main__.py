"""`python -m background_tasks_operator`: the environment in, an exit code out."""

import os
import sys

from background_tasks.errors import BackgroundTaskError
from background_tasks_operator.app import start


def main() -> int:
    """Run the operator; a fault of its settings is one line."""
    try:
        return start(os.environ)
    except BackgroundTaskError as error:
        print(error, file=sys.stderr)  # noqa: T201  (there may be no log yet)
        return 2


if __name__ == "__main__":
    sys.exit(main())
