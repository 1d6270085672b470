"""The steps of the pipeline: pure cores, and the TFX components around them."""
