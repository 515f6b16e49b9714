"""The ground floor: records, settings, models, the journal of one run. Imports nothing from the floors above."""

from importlib.metadata import version

__version__ = version("psyllm")
