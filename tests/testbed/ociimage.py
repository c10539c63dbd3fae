"""Write an OCI image archive from plain tar layers, without an engine or root.

`ctr -n k8s.io images import OUT.tar` and `docker load` name the image by its full reference.
"""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""The machine's name for itself: the name in images."""
PATHS = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class Image:
    """What an archive says: its layers from the bottom up, and how a container of it starts."""

    reference: str
    layers: tuple[Path, ...]
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    folder: str = "/"
    user: str = "65532:65532"
    env: Mapping[str, str] = field(default_factory=dict)


def write(out: Path, *images: Image) -> None:
    """Write an archive of one or more images; it appears whole or not at all. A layer that they share is there once."""
    draft = out.with_name(f"{out.name}.new")
    with tarfile.open(draft, "w") as archive:
        layers = {path: _add_layer(archive, path) for path in dict.fromkeys(sum((each.layers for each in images), ()))}
        manifests = [_add_image(archive, each, [layers[path] for path in each.layers]) for each in images]
        _add_file(archive, "index.json", json.dumps({"schemaVersion": 2, "manifests": manifests}).encode())
        _add_file(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    draft.replace(out)


def _add_image(archive: tarfile.TarFile, image: Image, layers: list[dict[str, object]]) -> dict[str, object]:
    config = _add(archive, "application/vnd.oci.image.config.v1+json", _config(image, layers))
    media = "application/vnd.oci.image.manifest.v1+json"
    manifest = _add(archive, media, {"schemaVersion": 2, "mediaType": media, "config": config, "layers": layers})
    manifest["annotations"] = {
        "io.containerd.image.name": image.reference,
        "org.opencontainers.image.ref.name": image.reference.rpartition(":")[2],
    }
    return manifest


def _config(image: Image, layers: list[dict[str, object]]) -> dict[str, object]:
    env = {"PATH": PATHS, **image.env}
    return {
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {
            "Env": [f"{name}={value}" for name, value in env.items()],
            "Entrypoint": list(image.entrypoint),
            "Cmd": list(image.command),
            "WorkingDir": image.folder,
            "User": image.user,
        },
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
    }


def _add_layer(archive: tarfile.TarFile, path: Path) -> dict[str, object]:
    """Add a tar file as a layer; it is not packed, so its digest is also that of its contents."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        entry = tarfile.TarInfo(f"blobs/sha256/{digest}")
        entry.size = path.stat().st_size
        archive.addfile(entry, file)
    return {
        "mediaType": "application/vnd.oci.image.layer.v1.tar",
        "digest": f"sha256:{digest}",
        "size": entry.size,
    }


def _add(archive: tarfile.TarFile, media: str, body: dict[str, object]) -> dict[str, object]:
    data = json.dumps(body).encode()
    digest = hashlib.sha256(data).hexdigest()
    _add_file(archive, f"blobs/sha256/{digest}", data)
    return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(data)}


def _add_file(archive: tarfile.TarFile, path: str, data: bytes) -> None:
    entry = tarfile.TarInfo(path)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))
