"""Sizes of containers: memory, vcores, and other countable resources, mainly GPUs.

Used by clients and ApplicationMasters.
"""

from __future__ import annotations

from dataclasses import dataclass

from rayhpc.hadoop.messages.records import ResourceInformationProto, ResourceProto

GPU = "yarn.io/gpu"


@dataclass(frozen=True)
class Size:
    """Memory in MiB, processors as YARN counts them, GPUs."""

    memory_mib: int
    vcores: int = 1
    gpus: int = 0

    def to_message(self) -> ResourceProto:
        """In the form that requests carry."""
        extra = [ResourceInformationProto(key=GPU, value=self.gpus, units="", type=0)]
        return ResourceProto(
            memory=self.memory_mib,
            virtual_cores=self.vcores,
            resource_value_map=extra if self.gpus else [],
        )

    @classmethod
    def of(cls, message: ResourceProto | None) -> Size:
        """From an answer."""
        if message is None:
            return cls(0, 0, 0)
        entries = {each.key: each for each in message.resource_value_map}
        gpus = entries[GPU].value if GPU in entries else 0
        return cls(message.memory, message.virtual_cores, gpus)

    def beyond(self, most: Size) -> list[str]:
        """What exceeds `most`, in words; empty if everything fits."""
        pairs = [
            ("memory", self.memory_mib, most.memory_mib, " MiB"),
            ("vcores", self.vcores, most.vcores, ""),
            ("GPUs", self.gpus, most.gpus, ""),
        ]
        return [
            f"{name}: {wanted}{unit} asked, at most {limit}{unit} per container"
            for name, wanted, limit, unit in pairs
            if wanted > limit
        ]
