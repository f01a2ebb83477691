"""The paper's experiments as one Snakemake workflow over the verbs: rules, presets, and the steps between the verbs."""
