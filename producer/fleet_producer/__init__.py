"""Looks at plates on acquisition hosts and publishes import requests; runs without OMERO."""
