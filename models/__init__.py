"""The attention zoo: plain Keras 3, usable without the rest of Fovea."""
