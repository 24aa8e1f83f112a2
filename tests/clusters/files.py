"""Clusters' files in the shapes that Ray's own examples have, in words of our own."""

from __future__ import annotations

COMMON = """\
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
    ray.worker.default:
        min_workers: 1
        max_workers: 2
        resources: {"CPU": 2, "special": 1}
        node_config:
            InstanceType: c6i.large
            InstanceMarketOptions:
                MarketType: spot
head_node_type: ray.head.default
"""
    + COMMON
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

GCP_FULL = """\
cluster_name: peak
max_workers: 3
provider:
    type: gcp
    region: europe-north1
    availability_zone: europe-north1-a
    project_id: null # yours
auth:
    ssh_user: ubuntu
available_node_types:
    ray_head_default:
        resources: {"CPU": 2}
        node_config:
            machineType: n2-standard-2
            disks:
              - boot: true
                initializeParams:
                  diskSizeGb: 50
                  sourceImage: projects/somebody/global/images/family/common-cpu
    ray_worker_small:
        min_workers: 2
        resources: {"CPU": 4}
        node_config:
            machineType: n2-standard-4
            scheduling:
              - preemptible: true
head_node_type: ray_head_default
head_setup_commands:
  - pip install something-of-google
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

GCP_MINIMAL = """\
cluster_name: small
provider: {type: gcp, region: europe-north1, availability_zone: europe-north1-a}
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
