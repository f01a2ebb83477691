"""Vessel segmentation of whole volumes: inference and evaluation."""
