"""The paper's experiments, all of them, as one workflow over the verbs: Snakefile, presets, and the steps between."""
