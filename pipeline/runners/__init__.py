"""What runs the graph of components: a module a runner."""
