"""The experiments of Kossen et al. 2021 as one Snakemake workflow.

Most rules run verbs of `tofgan`. `steps.py` holds the steps that are no verbs; `presets` holds settings for three
scales.
"""
