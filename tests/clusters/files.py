"""Clusters' files in the shapes that Ray's own examples have, in words of our own.

Ray's own ones are not ours to copy: where RAYHPC_RAY_EXAMPLES names a folder that has them, tests
take them, too, and compare.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_RAYS = "RAYHPC_RAY_EXAMPLES"
with_rays = pytest.mark.skipif(_RAYS not in os.environ, reason=f"{_RAYS}: a folder")

_BEFORE = """\
file_mounts: {
#    "/there": "/here",
}
cluster_synced_files: []
file_mounts_sync_continuously: False
rsync_exclude:
    - "**/.git"
    - "**/.git/**"
rsync_filter:
    - ".gitignore"
initialization_commands: []
setup_commands: []
    # - pip install something
"""
_SETUP = """\
head_setup_commands: []
worker_setup_commands: []
"""

AWS_FULL = (
    """\
# A cluster on EC2.
cluster_name: sky
max_workers: 2
upscaling_speed: 1.0
docker:
    image: "somebody/with-ray:1"   # a comment
    container_name: "box"
    pull_before_run: True
    run_options:
        - --ulimit nofile=4096:4096
idle_timeout_minutes: 5
provider:
    type: aws
    region: eu-north-1
    availability_zone: eu-north-1a,eu-north-1b
    cache_stopped_nodes: True
auth:
    ssh_user: ubuntu
available_node_types:
    ray.head.default:
        resources: {}
        node_config:
            InstanceType: m6i.large
            BlockDeviceMappings:
                - DeviceName: /dev/sda1
                  Ebs:
                      VolumeSize: 100
                      VolumeType: gp2
            ImageId: ami-0f0e0d0c0b0a09080
    ray.worker.default:
        min_workers: 1
        max_workers: 2
        resources: {"CPU": 2, "special": 1}
        node_config:
            InstanceType: c6i.large
            ImageId: ami-0f0e0d0c0b0a09080
            InstanceMarketOptions:
                MarketType: spot
head_node_type: ray.head.default
"""
    + _BEFORE
    + _SETUP
    + """\
head_start_ray_commands:
    - ray stop
    - >-
      ray start
      --head
      --port=6379
      --autoscaling-config=~/ray_bootstrap_config.yaml
worker_start_ray_commands:
    - ray stop
    - ray start --address=$RAY_HEAD_IP:6379 --object-manager-port=8076
"""
)

AWS_MINIMAL = """\
cluster_name: cloudlet
max_workers: 4
provider: {type: aws, region: us-west-2}
available_node_types:
    ray.head.default: {resources: {}, node_config: {InstanceType: m5.large}}
    ray.worker.default:
        min_workers: 1
        max_workers: 4
        resources: {}
        node_config: {InstanceType: m5.large}
"""

_GCP_DISKS = """\
            disks:
              - boot: true
                autoDelete: true
                type: PERSISTENT
                initializeParams:
                  diskSizeGb: 60
                  sourceImage: projects/somebody/global/images/family/common-cpu
"""

GCP_FULL = f"""\
cluster_name: peak
max_workers: 3
upscaling_speed: 1.0
docker:
    image: "somebody/with-ray:1"
    container_name: "box"
    pull_before_run: False
    run_options: ["--ulimit nofile=4096:4096"]
idle_timeout_minutes: 5
provider:
    type: gcp
    region: europe-north1
    availability_zone: europe-north1-a
    project_id: null # yours
auth:
    ssh_user: ubuntu
available_node_types:
    ray_head_default:
        resources: {{"CPU": 2}}
        node_config:
            machineType: n2-standard-2
{_GCP_DISKS}\
    ray_worker_small:
        min_workers: 2
        max_workers: 3
        resources: {{"CPU": 4}}
        node_config:
            machineType: n2-standard-4
{_GCP_DISKS}\
            scheduling:
              - preemptible: true
head_node_type: ray_head_default
{_BEFORE}\
head_setup_commands:
  - pip install something-of-google
worker_setup_commands: []
head_start_ray_commands:
    - ray stop
    - >-
      ray start
      --head
      --port=6379
      --object-manager-port=8076
      --autoscaling-config=~/ray_bootstrap_config.yaml
worker_start_ray_commands:
    - ray stop
    - >-
      ray start
      --address=$RAY_HEAD_IP:6379
      --object-manager-port=8076
"""

AZURE_MINIMAL = """\
cluster_name: azul
max_workers: 1
provider:
    type: azure
    location: northeurope
    resource_group: mine
auth:
    ssh_user: ubuntu
    ssh_private_key: ~/.ssh/id_ed25519
    ssh_public_key: ~/.ssh/id_ed25519.pub
"""

_AZURE_IMAGE = """\
                vmSize: Standard_D2s_v3
                imagePublisher: microsoft-dsvm
                imageOffer: ubuntu-2204
                imageSku: 2204-gen2
                imageVersion: latest
"""

AZURE_FULL = f"""\
cluster_name: azul
max_workers: 2
upscaling_speed: 1.0
docker:
    image: "somebody/with-ray:1"
    container_name: "box"
    pull_before_run: False
    run_options: ["--ulimit nofile=4096:4096"]
idle_timeout_minutes: 5
provider:
    type: azure
    location: northeurope
    resource_group: a-cluster
auth:
    ssh_user: ubuntu
    ssh_private_key: ~/.ssh/id_rsa
    ssh_public_key: ~/.ssh/id_rsa.pub
available_node_types:
    ray.head.default:
        resources: {{"CPU": 2}}
        node_config:
            azure_arm_parameters:
{_AZURE_IMAGE}\
    ray.worker.default:
        min_workers: 1
        max_workers: 2
        resources: {{"CPU": 2}}
        node_config:
            azure_arm_parameters:
{_AZURE_IMAGE}\
                priority: Spot
head_node_type: ray.head.default
file_mounts: {{
    "~/.ssh/id_rsa.pub": "~/.ssh/id_rsa.pub"
}}
cluster_synced_files: []
file_mounts_sync_continuously: False
rsync_exclude: ["**/.git"]
rsync_filter: [".gitignore"]
initialization_commands:
    - sudo true || true
    - touch ~/.no_advice
setup_commands: []
head_setup_commands:
    - pip install -U something-of-azure==2.29.1
worker_setup_commands: []
head_start_ray_commands:
    - ray stop
    - ray start --head --port=6379 --autoscaling-config=~/ray_bootstrap_config.yaml
worker_start_ray_commands:
    - ray stop
    - ray start --address=$RAY_HEAD_IP:6379
"""

GCP_MINIMAL = """\
cluster_name: small
provider:
    {type: gcp, region: europe-north1, availability_zone: europe-north1-a, project_id: null}
auth: {ssh_user: ubuntu}
"""

LOCAL_MINIMAL = """\
cluster_name: shelf
provider:
    type: local
    head_ip: 192.0.2.1
    worker_ips: [192.0.2.2, 192.0.2.3]
auth:
    ssh_user: me
"""

LOCAL_FULL = (
    """\
cluster_name: rack
docker:
    image: "somebody/with-ray:1"
    container_name: "box"
    pull_before_run: True
    run_options: ["--ulimit nofile=4096:4096"]
provider:
    type: local
    head_ip: 192.0.2.1
    worker_ips: [192.0.2.2, 192.0.2.3]
auth:
    ssh_user: me
min_workers: 2
max_workers: 2
upscaling_speed: 1.0
idle_timeout_minutes: 5
"""
    + _BEFORE
    + _SETUP
    + """\
head_start_ray_commands:
    - ray stop
    - ulimit -c unlimited && ray start --head --port=6379 --autoscaling-config=~/x.yaml
worker_start_ray_commands:
    - ray stop
    - ray start --address=$RAY_HEAD_IP:6379
"""
)

#: By the part of the name that Ray's own example has after `example-`, and its provider.
EXAMPLES = {
    ("aws", "minimal"): AWS_MINIMAL,
    ("aws", "full"): AWS_FULL,
    ("gcp", "minimal"): GCP_MINIMAL,
    ("gcp", "full"): GCP_FULL,
    ("azure", "minimal"): AZURE_MINIMAL,
    ("azure", "full"): AZURE_FULL,
    ("local", "minimal-manual"): LOCAL_MINIMAL,
    ("local", "full"): LOCAL_FULL,
}


def rays_own(provider: str, which: str) -> Path:
    """Ray's own example: its folders may be as in Ray's repository, or parts of the name."""
    folder, name = Path(os.environ[_RAYS]), f"example-{which}.yaml"
    found = [*folder.rglob(f"{provider}/{name}"), *folder.rglob(f"{provider}-{name}")]
    return found[0]
