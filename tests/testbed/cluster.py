#!/usr/bin/env python3
"""Run a real Kubernetes cluster from plain binaries: no container engine, no registry, no kubeadm, no Python package.

cluster.py up                  etcd + kube-apiserver on the loopback; any user, any Linux; ready in seconds
cluster.py up --audit          with a line in DIR/logs/audit.log for each request: who asked what
cluster.py up --controllers    and kube-controller-manager + kube-scheduler: Deployments, garbage collection, HPA
cluster.py up --node           and a real node: containerd + kubelet + kube-proxy + DNS in a network namespace (root)
cluster.py up --node --metrics and metrics-server, so that a HorizontalPodAutoscaler has CPU and memory
cluster.py up ... --keda       and KEDA's operator and adapter, with either --controllers or --node
cluster.py load IMAGE.tar      import an OCI archive into the node
cluster.py dns                 serve the names of Services that were added since
cluster.py run COMMAND ...     run a command inside the cluster's network, with KUBECONFIG set
cluster.py down                stop all of it and remove its files

One cluster a folder (--dir, default .cluster). Everything that it starts logs to DIR/logs.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # the project, so that this runs from anywhere
    from tests.testbed import command

    sys.exit(command.main(__doc__))
