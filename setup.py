"""Four folders at the top of the tree, one import package: a top-level `reports` would shadow a user's own."""

from setuptools import find_packages, setup

FOLDERS = {"advisor": "advisor", "estimators": "advisor.estimators", "profilers": "advisor.profilers",
           "reports": "advisor.reports"}  # fmt: skip

homes = {package: folder for folder, package in FOLDERS.items()}
for folder, package in FOLDERS.items():
    for inner in find_packages(folder):
        homes[f"{package}.{inner}"] = f"{folder}/{inner.replace('.', '/')}"

setup(packages=sorted(homes), package_dir=homes)
