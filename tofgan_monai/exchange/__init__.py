"""Exchanges MONAI bundles between clinics: `pack` writes a bundle into one archive, `install` unpacks an archive.

`verify` checks an archive from another clinic before `install` does so; no code or configuration of the archive runs.
"""
