"""One self-contained HTML page from what the other verbs left on disk.

`write_report(FOLDER)` reads whatever it finds of this and writes FOLDER/report.html:

    FOLDER/about.json             {"title": "...", "paragraphs": ["what was simulated, at which scale", ...],
                                   "captions": {"NAME": "how NAME is called on the page", ...}}
    FOLDER/pairs/NAME.npy         stacks with their manifests
    FOLDER/train/NAME/losses.jsonl  a line an epoch, {"epoch": 1, "critic_loss": 0.2, ...}; every number becomes a curve
    FOLDER/results.jsonl          see `tofgan_monai.segmentation.results`
    FOLDER/figures/NAME.png       error maps and other pictures; the caption is the PNG's Title, if it has one

Captions in about.json overrule, and what they name comes in their order; real stacks come before synthetic ones.

A study's folder, with its config.yaml and a results.jsonl that begins with the settings, gets a page in the paper's
form instead: the same tables and figures with the paper's in grey, and FOLDER/report.md and FOLDER/figures beside it.
`write_comparison(FOLDERS, FILE)` puts several runs side by side. `write_audit_report(FOLDER)` is for what
`tofgan audit` left, see `tofgan_monai.report.audit.page`.
"""

from tofgan_monai.report.audit.page import write_audit_report
from tofgan_monai.report.comparison import write_comparison
from tofgan_monai.report.inputs import ReportInputs, inputs_from_folder
from tofgan_monai.report.page import write_report

__all__ = ["ReportInputs", "inputs_from_folder", "write_audit_report", "write_comparison", "write_report"]
