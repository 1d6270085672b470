"""Export of SavedModels, the server that speaks TensorFlow Serving's APIs, and its client."""
