"""Networks opened on ONNX Runtime, as serving and the stages run them."""

import os
from pathlib import Path

import onnxruntime

MOST_THREADS = 8
"""Of a network that is not told how many: its layers are too small to share among more cores."""


def open_session(
    path: Path, threads: int | None = 0, *, spinning: bool = False, accelerated: bool = False
) -> onnxruntime.InferenceSession:
    """Open a network.

    Args:
        path: of the ONNX file.
        threads: that it computes on; 0 takes the cores that this process may use, `MOST_THREADS` at
            most; None leaves it to ONNX Runtime, which takes all cores.
        spinning: whether its threads wait for the next run at full speed. What computes beside it,
            another network or the drawing of its next input, is slowed by threads that spin.
        accelerated: whether it runs on any provider that is there, not on the CPU alone.
    """
    options = onnxruntime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads or min(_cores(), MOST_THREADS)
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if not spinning:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = onnxruntime.get_available_providers() if accelerated else ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(path, options, providers=providers)


def _cores() -> int:
    # A container may use fewer cores than the machine has; only Linux tells.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
