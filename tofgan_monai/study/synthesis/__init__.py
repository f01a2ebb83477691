"""The way of one cohort from checked scans to synthetic pairs, a segmentation trained on them and a report.

`tofgan synthesise` runs it. Snakefile holds the rules, most of which are the study's; presets/paper.yaml explains every
setting.
"""
