"""Programs that tests run on a cluster at EC2."""

# Two actors, each of which takes a node; prints their addresses.
TWO_NODES = """
import ray

ray.init()

@ray.remote(num_cpus=1)
class Here:
    def address(self):
        return ray.util.get_node_ip_address()

two = [Here.remote() for _ in range(2)]
print(sorted(ray.get([each.address.remote() for each in two])))
"""
