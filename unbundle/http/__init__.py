"""The REST service and its page: routes, admission, workers, the champion in service."""
