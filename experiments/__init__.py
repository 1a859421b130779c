"""Runnable studies: claims, and the numbers measured for them. They use public names of jaxgen."""
