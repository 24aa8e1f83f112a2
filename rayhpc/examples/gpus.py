"""Each task gets a GPU of its own, and sees no other.

rayhpc submit --nodes 2 --gpus-per-node 2 -- python -m rayhpc.examples.gpus
"""

import os
import time

import ray

ray.init(address="auto")


@ray.remote(num_gpus=1)
def look():
    time.sleep(0.5)  # so that all of them run at the same time
    return ray.util.get_node_ip_address(), os.environ["CUDA_VISIBLE_DEVICES"]


number = int(ray.cluster_resources()["GPU"])
for address, gpu in sorted(ray.get([look.remote() for _ in range(number)])):
    print(f"{address} gpu {gpu}")
