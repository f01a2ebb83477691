"""Adds to setup.cfg what it cannot say: the packages are those found, and the bundles as one more."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["tofgan_monai*"]), "tofgan_monai.bundles"])
