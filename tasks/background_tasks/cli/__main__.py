"""`python -m background_tasks.cli` is `bgtasks`."""

from background_tasks.cli import main

main()
