"""The incident's tests as they are, with the fixtures of this folder."""

from examples.incident.test_transfers import *  # noqa: F403
