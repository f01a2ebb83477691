"""`python -m tofgan_monai.label_app APP [BUNDLE]` makes APP a folder that a MONAI Label server can run."""

import sys

from tofgan_monai.errors import InputError
from tofgan_monai.label_app.working_copy import place_app

if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python -m tofgan_monai.label_app APP [BUNDLE]")
    try:
        place_app(*sys.argv[1:])
    except InputError as error:
        sys.exit(f"error: {error}")
