"""Each actor gets a GPU of its own, and sees no other.

rayhpc submit --nodes 2 --gpus-per-node 2 -- python -m rayhpc.examples.gpus
"""

import os

import ray

ray.init(address="auto")


class Holder:
    def look(self):
        return ray.util.get_node_ip_address(), os.environ["CUDA_VISIBLE_DEVICES"]


number = int(ray.cluster_resources()["GPU"])
# An actor keeps its GPU as long as it lives, so no two of them have the same.
actor = ray.remote(num_gpus=1)(Holder)
holders = [actor.remote() for _ in range(number)]
for address, gpu in sorted(ray.get([x.look.remote() for x in holders])):
    print(f"{address} gpu {gpu}")
