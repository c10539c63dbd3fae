"""What the house promises about itself: names, files and papers agree."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_no_folder_shadows_the_standard_library() -> None:
    """`operator/__init__.py` would break Python itself; `__init__.py` under tests breaks collection."""
    stray = [p for p in (ROOT / "operator/__init__.py", ROOT / "tasks/__init__.py") if p.exists()]
    stray += list((ROOT / "tests").rglob("__init__.py"))
    assert not stray


def test_the_lock_names_versions_and_hashes_and_no_host() -> None:
    """A lock can be installed from any index: it holds no URL and a hash for every package."""
    lock = (ROOT / "requirements.lock").read_text()
    pinned = re.findall(r"^[a-z0-9][a-z0-9._-]*==", lock, flags=re.MULTILINE)
    assert "://" not in lock
    assert len(pinned) > 20
    assert all("--hash=sha256:" in block for block in re.split(r"^(?=[a-z0-9][a-z0-9._-]*==)", lock, flags=re.M)[1:])


def test_every_make_target_is_phony_and_explained() -> None:
    """A target named like a folder would answer "up to date"; one without a sentence is not in the help."""
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z][a-z0-9-]*):", makefile, flags=re.MULTILINE)
    assert targets
    assert [t for t in targets if f".PHONY: {t}\n" not in makefile] == []
    assert [t for t in targets if not re.search(rf"^{t}:.*## \w", makefile, flags=re.MULTILINE)] == []


def test_commands_of_the_readme_exist() -> None:
    """Every `make` target that the README names is one."""
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"`?make ([a-z]+)", (ROOT / "README.md").read_text()))
    assert {"demo", "test"} <= named
    assert [t for t in named if f"\n{t}:" not in makefile] == []


def test_every_link_between_pages_leads_somewhere() -> None:
    """Relative links of README and docs point at files that exist."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    broken = [
        f"{page.relative_to(ROOT)}: {link}"
        for page in pages
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / link).exists()
    ]
    assert broken == []


def test_decisions_are_dated() -> None:
    """A decision is a file `YYYYMMDD-title.md`."""
    names = [page.name for page in (ROOT / "docs/decisions").glob("*.md") if page.name != "README.md"]
    assert [n for n in names if not re.fullmatch(r"20\d{6}-[a-z0-9-]+\.md", n)] == []


def test_one_version_is_named_everywhere() -> None:
    """What `make image` builds is what the chart, the samples and the example image start from."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    folders = ("manifests/samples", "examples", "charts/background-tasks")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    named = {found for path in files for found in re.findall(r"background-tasks:(\d[\w.]*)", path.read_text("latin-1"))}
    assert named == {version}
    assert f"\nappVersion: {version}\n" in (ROOT / "charts/background-tasks/Chart.yaml").read_text()
