"""Tests of single modules, without network and mostly without a store."""
