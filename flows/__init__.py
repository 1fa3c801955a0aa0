"""Prefect flows: the order of the stages, the artifacts of each run, and the promotion.

What a stage does is in `tasks`; flows decide when it runs. The defaults below are set here because
Prefect reads them when it is imported, which no module of this package does before this one.
"""

import os

# Nothing that Prefect offers to report about its users is reported.
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")
# Without PREFECT_API_URL it starts a temporary server: about 10 s, more on a busy machine.
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
