"""Configuration, the graph of components, the runners and the command line."""
