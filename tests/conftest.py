"""Settings of every test."""

from pipeline.quiet import quiet

quiet()
