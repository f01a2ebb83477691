#!/bin/sh
# mlcroissant 1.1.1: the label of a joined record is its image, and a second data set gets the archive of the first
#
# Expected: a field with `fileProperty: content` holds the content of the files of its own file set, also where a record
#   set joins two file sets by their names (images and labels, as in the Croissant specification). A data set whose
#   checksum was compared gives the content of its own archive.
# Seen: after a join both fields read the files of the first file set: each label is a copy of its image. And an archive
#   is unpacked into a folder of the cache that is named by the contentUrl alone: of two local data sets with a
#   `data.zip` each, the second gives the files of the first, after its own checksum was found right. No warning.
# Versions: mlcroissant 1.1.1, pandas 2.3.3, pillow 13.0.0, numpy 2.4.6.
# Who is hurt: whoever trains a segmentation from a Croissant file: labels are images, or those of another version.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 CROISSANT_CACHE="$work/cache"
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q "mlcroissant==1.1.1" "pandas==2.3.3" "pillow==13.0.0" "numpy==2.4.6"
cd "$work"
env/bin/python - <<'EOF'
import hashlib, io, json, os, zipfile
import mlcroissant as mlc
import numpy as np
from PIL import Image

def archive(path, value):
    buffer = io.BytesIO()
    Image.fromarray(np.full((2, 2), value, np.uint8)).save(buffer, "PNG")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("case.png", buffer.getvalue())
    return mlc.FileObject(id=os.path.basename(path), name="a", content_url=os.path.basename(path),
                          encoding_formats=["application/zip"], sha256=hashlib.sha256(open(path, "rb").read()).hexdigest())

def files(name, archive):
    return mlc.FileSet(id=name, name=name, contained_in=[archive], encoding_formats=["image/png"], includes=["*.png"])

def source(name, what, **more):
    return mlc.Source(file_set=name, extract=mlc.Extract(file_property=mlc.FileProperty[what]), **more)

def named(name):
    return source(name, "filename", transforms=[mlc.Transform(regex=r"^(.+)\.png$")])

def content(name):
    return mlc.Field(id=f"pairs/{name}", name=name, data_types=[mlc.DataType.IMAGE_OBJECT], source=content_of(name))

def content_of(name):
    return source(name, "content")

def load(folder, distribution, fields):
    records = mlc.RecordSet(id="pairs", name="pairs", fields=fields)
    data = mlc.Metadata(name="a", description="a", distribution=distribution, record_sets=[records])
    with open(f"{folder}/croissant.json", "w") as file:
        json.dump(data.to_json(), file)
    (record,) = mlc.Dataset(jsonld=f"{folder}/croissant.json").records("pairs")
    return {key: int(np.asarray(value).max()) for key, value in record.items() if not isinstance(value, (str, bytes))}

for folder in ("joined", "first", "second"):
    os.mkdir(folder)
zips = [archive("joined/images.zip", 100), archive("joined/labels.zip", 1)]
key = mlc.Field(id="pairs/name", name="name", data_types=[mlc.DataType.TEXT], source=named("images"), references=named("labels"))
sets = [files("images", "images.zip"), files("labels", "labels.zip")]
joined = load("joined", [*zips, *sets], [key, content("images"), content("labels")])
print("image 100, label 1 are read as", joined)
versions = [load(folder, [archive(f"{folder}/data.zip", value), files("images", "data.zip")], [content("images")])
            for folder, value in (("first", 10), ("second", 20))]
print("images 10 and 20 of two data sets are read as", versions)
ok = joined == {"pairs/images": 100, "pairs/labels": 100} and [one["pairs/images"] for one in versions] == [10, 10]
raise SystemExit(None if ok else "changed: mlcroissant now gives each field the content of its own files")
EOF
echo "as described"
