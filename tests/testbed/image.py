#!/usr/bin/env python3
"""Build the image of workers and operator: by the Containerfile where an engine runs, else without one.

image.py                     docker, podman or buildah, whichever works first; else our own writer; says which
image.py --engine none       our own writer: build/image.tar, which `cluster.py load` and `docker load` read
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # the project, so that this runs from anywhere
    from tests.testbed import imagebuild

    sys.exit(imagebuild.main(__doc__))
