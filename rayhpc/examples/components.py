"""A heterogeneous job is one cluster: work is sent to a component by its label.

rayhpc template show ray_het > ray_het.sh && sbatch ray_het.sh
"""

import ray

ray.init(address="auto")


@ray.remote
def where():
    return ray.util.get_node_ip_address()


for component in ("0", "1"):
    selector = {"rayhpc.io/component": component}
    found = {ray.get(where.options(label_selector=selector).remote()) for _ in range(20)}
    nodes = [node for node in ray.nodes() if node["Labels"].get("rayhpc.io/component") == component]
    assert found <= {node["NodeManagerAddress"] for node in nodes}
    cpus = sum(node["Resources"].get("CPU", 0) for node in nodes)
    print(f"component {component}: {len(nodes)} nodes, {cpus:g} CPUs")
