"""Settings of every test."""

from pipeline.startup import prepare

prepare()
