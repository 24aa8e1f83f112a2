"""Tests of the submit side."""
