"""Stages and commands, one a module, and below them the wings of what they are made of.

Networks are in `models`, what a shop runs in `unbundle`, who runs the stages when in `flows`.
"""

import os

OFF = {
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}
"""Telemetry, network look-ups and progress bars of the packages that stages import."""

# Here, because transformers looks at them when it is imported.
for _name, _value in OFF.items():
    os.environ.setdefault(_name, _value)
