"""The Model, the e-graph over it, and how a model is run, checked and compared."""
