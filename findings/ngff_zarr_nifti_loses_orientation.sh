#!/bin/sh
# ngff-zarr 0.50.0: OME-Zarr made of NIfTI says neither which way its axes run nor where the volume is
#
# Expected: `ngff-zarr -i scan.nii.gz -o scan.ome.zarr` keeps the geometry: nibabel_image_to_ngff_image promises to
#   preserve spatial metadata, the help of --orientation that the orientation is written where the input has one.
# Seen, for one volume stored in three orders of its voxels; the same voxel is at (-28.5, -38, 52.5) mm in RAS:
#                                              RAS                   LAS                   LPS
#   default backend (nibabel), orientation     none                  none                  none
#   the voxel by scale and translation         (-28.5, -38, 52.5)    (-20.5, -38, 52.5)    (-20.5, -33, 52.5)
#   by ngff_image_to_itk_image, in RAS         (28.5, 38, 52.5)      (20.5, 38, 52.5)      (20.5, 33, 52.5)
#   --input-backend itk: orientations are written, and ngff_image_to_itk_image gives (-28.5, -38, 52.5) for all three.
#   Neither way reports anything. nibabel_image_to_ngff_image does give orientations; they are gone as soon as the axes
#   are turned from x, y, z to z, y, x. The scale is positive where the voxels run to the left, and the translation is
#   in RAS, while the itk backend and ngff_image_to_itk_image have it in LPS: with --orientation RAS, the volume of RAS
#   voxels is turned the right way round and lies elsewhere, the voxel at (31.5, 42, 52.5).
# Versions: ngff-zarr 0.50.0, nibabel 5.4.2, itk-io 5.4.7, numpy 2.2.6.
# Who is hurt: whoever converts angiographies for a viewer or an archive: an aneurysm changes sides, and the stores that
#   two backends make of one scan do not match.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONWARNINGS=ignore
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q --no-compile "ngff-zarr==0.50.0" "nibabel==5.4.2" "itk-io==5.4.7" "numpy==2.2.6"
cd "$work"
PATH="$work/env/bin:$PATH" python - <<'EOF'
import subprocess
from importlib.metadata import version

import itk
import nibabel as nib
import ngff_zarr as nz
import numpy as np
from nibabel.orientations import axcodes2ornt, ornt_transform

print("ngff-zarr", version("ngff-zarr"), "nibabel", version("nibabel"), "itk-io", version("itk-io"))
voxels = np.zeros((12, 10, 8), np.int16)
voxels[3, 4, 5] = 100
affine = np.array([[0.5, 0, 0, -30], [0, 0.5, 0, -40], [0, 0, 0.5, 50], [0, 0, 0, 1]])
in_ras = nib.Nifti1Image(voxels, affine)
position = affine @ [3, 4, 5, 1]
print("the voxel in RAS:", position[:3])


def converted(code, name, *options):
    subprocess.run(["ngff-zarr", "-q", "-i", f"{code}.nii.gz", "-o", f"{name}.ome.zarr", *options], check=True)
    image = nz.from_ngff_zarr(f"{name}.ome.zarr").images[0]
    as_itk = nz.ngff_image_to_itk_image(image, wasm=False)
    index = [int(i) for i in np.argwhere(itk.array_from_image(as_itk) == 100)[0][::-1]]
    by_scale = [image.translation[axis] + image.scale[axis] * i for axis, i in zip("xyz", index)]
    by_itk = np.array(as_itk.TransformIndexToPhysicalPoint(index)) * [-1, -1, 1]
    orientations = {axis: str(value.value) for axis, value in (image.axes_orientations or {}).items()}
    print(code, *options, "orientations:", orientations, "by scale:", by_scale, "by itk:", by_itk)
    return len(orientations), by_scale, by_itk


ok = True
for code, x, y in [("RAS", -28.5, -38), ("LAS", -20.5, -38), ("LPS", -20.5, -33)]:
    image = in_ras.as_reoriented(ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(code)))
    image.header.set_xyzt_units("mm")
    image.set_qform(image.affine, 1)
    image.set_sform(image.affine, 1)
    nib.save(image, f"{code}.nii.gz")
    loaded = nib.load(f"{code}.nii.gz")
    index = np.argwhere(np.asarray(loaded.dataobj) == 100)[0]
    ok = ok and np.allclose(loaded.affine @ [*index, 1], position)
    ok = ok and len(nz.nibabel_image_to_ngff_image(loaded).axes_orientations) == 3
    n, by_scale, by_itk = converted(code, code)
    ok = ok and n == 0 and np.allclose(by_scale, [x, y, 52.5]) and np.allclose(by_itk, [-x, -y, 52.5])
    n, _, by_itk = converted(code, f"{code}-itk", "--input-backend", "itk")
    ok = ok and n == 3 and np.allclose(by_itk, position[:3])
n, _, by_itk = converted("RAS", "labelled", "--orientation", "RAS")
ok = ok and n == 3 and np.allclose(by_itk, [31.5, 42, 52.5])
raise SystemExit(None if ok else "changed: orientations or positions are others")
EOF
echo "as described"
