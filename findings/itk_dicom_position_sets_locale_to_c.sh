#!/bin/sh
# itk 5.4.7: writing a DICOM file with a position turns the process's text encoding to ASCII
#
# Expected: itk.imwrite writes a file and leaves the locale of the process as it is.
# Seen: if the image's metadata hold ImagePositionPatient (0020|0032) or ImageOrientationPatient (0020|0037), as slices
#   of a series need them, the locale of the process is "C" after itk.imwrite with GDCMImageIO. From then on Python's
#   open() without an encoding and the text of subprocesses are ASCII: what was read and written before as UTF-8 raises
#   UnicodeDecodeError and UnicodeEncodeError, in any library of the process. With other tags, such as the patient's
#   name, the locale stays.
# Versions: itk-io 5.4.7, numpy 2.4.6, Python 3.11, locale C.UTF-8.
# Who is hurt: who writes a series by ITK and then a table or a log with a name that is not ASCII.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q "itk-io==5.4.7" "numpy==2.4.6"
cd "$work"
cat >write.py <<'EOF'
import locale, sys
import itk, numpy as np

def write(tag, value):
    image = itk.image_from_array(np.zeros((1, 5, 6), np.int16))
    image.GetMetaDataDictionary()[tag] = value
    itk.imwrite(image, "slice.dcm", imageio=itk.GDCMImageIO.New())
    return locale.getencoding()

open("text.txt", "w").write("Schädel")
seen = [locale.getencoding(), write("0010|0010", "Muster^Anna"), write("0020|0032", "1\\2\\3")]
print("encoding at first, after a name, after a position:", *seen)
try:
    print(open("text.txt").read())
    told = ""
except UnicodeDecodeError as error:
    told = str(error)
print("the text that was written before:", told)
if seen[:2] != ["UTF-8", "UTF-8"] or seen[2] == "UTF-8" or "ascii" not in told:
    raise SystemExit("the behaviour has changed")
print("as described")
EOF
LC_ALL=C.UTF-8 PYTHONUTF8=0 env/bin/python write.py
