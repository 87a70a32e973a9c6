"""Packaging of compofa_tf. Settings of the tools are in pyproject.toml, tested versions in constraints.txt."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent


def read_version() -> str:
    """Returns the version written in compofa_tf/_version.py, without importing the package."""
    text = (HERE / "compofa_tf" / "_version.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if match is None:
        raise RuntimeError('compofa_tf/_version.py has no line of the form __version__ = "1.2.3".')
    return match.group(1)


setup(
    name="compofa_tf",
    version=read_version(),
    description="Train one weight-sharing supernet, give every device the TFLite model that fits its latency budget.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    keywords="neural architecture search, once-for-all, supernet, Keras, TensorFlow, TFLite, LiteRT, quantization",
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.10,<3.14",
    # tflite/ and launch/ are not packages: a top-level `tflite` would shadow the flatbuffer package of that name.
    packages=find_packages(include=["compofa_tf", "compofa_tf.*"]),
    package_data={
        "compofa_tf": ["py.typed", "data/*.npz", "*/*.txt", "published/*.npz", "published/*.json", "reports/*.j2"]
    },
    install_requires=[
        "absl-py>=1.4,<3",
        "ai-edge-litert>=2.3,<3",
        "flatbuffers>=24.3.25,<26",
        "importlib_resources>=5",  # tensorflow-datasets 4.9.10 imports it and forgets to require it
        "jinja2>=3.1,<4",
        "keras>=3.12,<4",
        "keras-tuner>=1.4.7,<2",
        "matplotlib>=3.8,<4",
        "numpy>=2.0,<3",
        "pillow>=11.3,<14",
        "pyyaml>=6,<7",
        "tensorboard>=2.19,<2.22",  # tf.summary needs it, tensorflow no longer requires it
        "tensorflow>=2.19,<2.22",
        "tensorflow-datasets>=4.9.9,<5",
        "tensorflow-model-optimization>=0.8,<0.9",
        "tf_keras>=2.19,<2.22",
        "tqdm>=4.66,<5",
    ],
    extras_require={
        "torch": ["torch>=2.6,<3"],  # before 2.6, torch.load(weights_only=True) could run code (CVE-2025-32434)
        "dev": [
            "build>=1.2",
            "mypy>=1.15",
            "pytest>=8.3",
            "pytest-cov>=6",
            "pytest-xdist>=3.6",
            "ruff>=0.12",
            "types-PyYAML>=6",
        ],
    },
    entry_points={"console_scripts": ["compofa = compofa_tf.cli.main:main"]},
)
