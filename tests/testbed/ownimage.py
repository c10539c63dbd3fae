"""An image of one's own on top of the project's, as its Containerfile says, written without an engine.

Of the words of a Containerfile it knows FROM (the project's image), COPY of a folder, ENV, and ARG, which it skips: all
that an image of one's own tasks takes. Any other word is refused.
"""

import shlex
from dataclasses import replace
from pathlib import Path

from tests.testbed import layers
from tests.testbed.ociimage import Image
from tests.testbed.shell import SetupError


def read(folder: Path, base: Image, reference: str, scratch: Path) -> Image:
    """Return the image that a folder's Containerfile describes; its layers are written into `scratch`."""
    image = replace(base, reference=reference)
    for number, line in enumerate(_lines(folder / "Containerfile")):
        word, _, rest = line.partition(" ")
        match word:
            case "ARG" | "FROM":
                continue
            case "COPY":
                source, target = shlex.split(rest)
                out = scratch / f"{folder.name}-{number}.tar"
                layer = layers.folder(folder / source, target.strip("/"), out)
                image = replace(image, layers=(*image.layers, layer))
            case "ENV":
                image = replace(image, env={**image.env, **dict(pair.split("=", 1) for pair in shlex.split(rest))})
            case _:
                raise SetupError(f"{folder}/Containerfile: {word} is not written without an engine: use one")
    return image


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
