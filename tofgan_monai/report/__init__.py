"""Self-contained HTML pages of what the other verbs wrote to disk.

`write_report(FOLDER)` writes FOLDER/report.html from these files; the page says which of them are missing:

    FOLDER/about.json             {"title": "...", "paragraphs": ["what was simulated, at which scale", ...],
                                   "captions": {"NAME": "what the page calls NAME", ...}}
    FOLDER/pairs/NAME.npy         stacks with their manifests
    FOLDER/train/NAME/losses.jsonl  one line per epoch, {"epoch": 1, "critic_loss": 0.2, ...}; every number is drawn
    FOLDER/results.jsonl          see `tofgan_monai.segmentation.results`
    FOLDER/figures/NAME.png       error maps and other pictures; the PNG's Title, if it has one, is the caption

The captions of about.json come first, in their order, and replace other captions. Real stacks come before synthetic
ones.

The folder of a study has a config.yaml and a results.jsonl that begins with the settings. It gets a page in the paper's
form: the same tables and figures, with the paper's in grey, and FOLDER/report.md and FOLDER/figures beside it.
`write_comparison(FOLDERS, FILE)` shows several runs side by side. `write_audit_report(FOLDER)` shows what
`tofgan audit` wrote; see `tofgan_monai.report.audit.page`.
"""

from tofgan_monai.report.audit.page import write_audit_report
from tofgan_monai.report.comparison import write_comparison
from tofgan_monai.report.page import write_report

__all__ = ["write_audit_report", "write_comparison", "write_report"]
