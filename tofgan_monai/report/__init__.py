"""Self-contained HTML pages that show the files which the other verbs of `tofgan` wrote.

A pair is a patch of an image with the patch of its vessel label. A stack is a .npy file of such pairs; its manifest is
a .json file beside it.

`write_report(FOLDER)` writes FOLDER/report.html from these files; the page says which of them are missing:

    FOLDER/about.json             {"title": "...", "paragraphs": ["what was simulated, at which scale", ...],
                                   "captions": {"NAME": "what the page calls NAME", ...}}
    FOLDER/pairs/NAME.npy         stacks with their manifests
    FOLDER/train/NAME/losses.jsonl  one line per epoch, {"epoch": 1, "critic_loss": 0.2, ...}; every number is drawn
    FOLDER/results.jsonl          see `tofgan_monai.segmentation.results`
    FOLDER/figures/NAME.png       error maps and other pictures; the PNG's Title, if it has one, is the caption
    FOLDER/error_maps/NAME.png    as figures/NAME.png, where `tofgan evaluate` writes it
    FOLDER/error_maps/NAME.nii.gz  the same error map as a label (see `error_classes`), also in figures/; the page shows
                                  the first of them as surfaces that turn, with the extra `page`

The page shows the files that about.json names first, in the order of about.json, with the captions given there. Real
stacks come before synthetic stacks.

The folder of a study has a config.yaml and a results.jsonl that begins with the settings. For such a folder the page
has the tables and figures of the paper (Kossen et al. 2021); the paper's own numbers stand in grey beside them. The
same content is written as Markdown to FOLDER/report.md, and the figures are written to FOLDER/figures.
`write_comparison(FOLDERS, FILE)` shows several runs side by side. `write_audit_report(FOLDER)` shows the files of
`tofgan audit`; see `tofgan_monai.report.audit.page`. `write_scan_pages(ITEMS, FOLDER)` shows the labels of `tofgan
segment`, each on a page of its own.
"""
