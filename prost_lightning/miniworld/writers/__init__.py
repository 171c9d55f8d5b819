"""Writes the apps' contents into AppWorld's databases. Imports ``appworld``: for the build's subprocess only."""
