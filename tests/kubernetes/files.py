"""A cluster's file in the shape that Ray's own example for Kubernetes has, in words of our own."""

from __future__ import annotations

FULL = """\
# A cluster of pods.
cluster_name: demo
max_workers: 4
upscaling_speed: 1.0
idle_timeout_minutes: {idle}
provider:
    type: kubernetes
    use_internal_ips: true
    namespace: default
    autoscaler_service_account:
        apiVersion: v1
        kind: ServiceAccount
        metadata: {{name: autoscaler}}
    autoscaler_role:
        kind: Role
        apiVersion: rbac.authorization.k8s.io/v1
        metadata: {{name: autoscaler}}
        rules:
            - {{apiGroups: [""], resources: [pods, pods/exec], verbs: [get, list, create, delete]}}
available_node_types:
    head_node:
        resources: {{"CPU": 0}}
        node_config:
            apiVersion: v1
            kind: Pod
            metadata:
                generateName: head-
            spec:
                serviceAccountName: autoscaler
                restartPolicy: Never
                volumes:
                    - name: dshm
                      emptyDir:
                          medium: Memory
                containers:
                    - name: ray-node
                      imagePullPolicy: Always
                      image: {image}
                      command: ["/bin/bash", "-c", "--"]
                      args: ["trap : TERM INT; sleep infinity & wait;"]
                      ports:
                          - containerPort: 6379
                      volumeMounts:
                          - mountPath: /dev/shm
                            name: dshm
                      resources:
                          requests:
                              cpu: 1000m
                              memory: 512Mi
                          limits:
                              memory: 512Mi
    worker_node:
        min_workers: {least}
        max_workers: {most}
        node_config:
            apiVersion: v1
            kind: Pod
            metadata:
                generateName: worker-
            spec:
                restartPolicy: Never
                containers:
                    - name: ray-node
                      image: {image}
                      command: ["/bin/bash", "-c", "--"]
                      args: ["trap : TERM INT; sleep infinity & wait;"]
                      resources:
                          requests:
                              cpu: {cpu}
                              memory: 512Mi
                          limits:
                              cpu: {cpu}
                              memory: 512Mi
head_node_type: head_node
"""


def cluster_yaml(
    least: int = 2,
    most: int = 4,
    idle: float = 5,
    cpu: str = "1",
    image: str = "anything/with-rayhpc:1",
) -> str:
    """The file: least and most workers, minutes of idleness, CPUs of a worker."""
    return FULL.format(least=least, most=most, idle=idle, cpu=cpu, image=image)
