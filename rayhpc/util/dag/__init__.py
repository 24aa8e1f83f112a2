"""Graphs of tasks and actor calls: built with `bind()`, run any number of times with `execute()`.

Used by programs, also as `ray.dag`.  A graph's calls are ordinary ones, submitted together when it
runs; nothing is compiled (`experimental_compile` returns an object that runs the same graph).
"""

from __future__ import annotations

from rayhpc.util.dag.class_node import ClassMethodNode, ClassNode
from rayhpc.util.dag.compiled_dag_node import CompiledDAG
from rayhpc.util.dag.constants import (
    BIND_INDEX_KEY,
    IS_CLASS_METHOD_OUTPUT_KEY,
    PARENT_CLASS_NODE_KEY,
    PREV_CLASS_METHOD_CALL_KEY,
)
from rayhpc.util.dag.dag_node import DAGNode
from rayhpc.util.dag.function_node import FunctionNode
from rayhpc.util.dag.input_node import DAGInputData, InputAttributeNode, InputNode
from rayhpc.util.dag.output_node import MultiOutputNode

__all__ = [
    "BIND_INDEX_KEY",
    "IS_CLASS_METHOD_OUTPUT_KEY",
    "PARENT_CLASS_NODE_KEY",
    "PREV_CLASS_METHOD_CALL_KEY",
    "ClassMethodNode",
    "ClassNode",
    "CompiledDAG",
    "DAGInputData",
    "DAGNode",
    "FunctionNode",
    "InputAttributeNode",
    "InputNode",
    "MultiOutputNode",
]
