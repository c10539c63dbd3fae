"""The commands of the README's section "On Kubernetes", as they stand there."""

import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def commands() -> list[str]:
    """Return the four commands: install, apply, get, see logs."""
    section = README.read_text().partition("\n## On Kubernetes\n")[2].partition("\n## ")[0]
    block = re.search(r"```sh\n(.*?)```", section, flags=re.DOTALL)
    assert block, 'README.md has no commands below "On Kubernetes"'
    return block[1].strip().splitlines()
