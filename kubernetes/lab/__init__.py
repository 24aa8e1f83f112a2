"""A real Kubernetes control plane on one machine, with a kubelet that runs pods as processes.

Needs root and Linux; adds nothing to the machine's own network.  See README.md.
"""
