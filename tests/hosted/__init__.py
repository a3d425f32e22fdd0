"""Tests of the hosted store, on a real PostgreSQL."""
