from setuptools import setup

# All else stands in pyproject.toml. The licence does not: setuptools before 77, the newest for Python 3.8, refuses the
# form that later ones ask for.
setup(license="MIT")
