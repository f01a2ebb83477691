"""`python -m tofgan_monai VERB ...` is `tofgan VERB ...`."""

from tofgan_monai.cli import main

main()
