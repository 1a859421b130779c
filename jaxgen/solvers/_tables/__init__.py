"""What all tables are made of: frames, moments, noise, rows and the step that reads them.

Shared by the doors `exponential`, `sde`, `splitting`, `adjoint` and `search`; no door itself.
"""
