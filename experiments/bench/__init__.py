"""What jaxgen costs: `python -m experiments.bench`."""
