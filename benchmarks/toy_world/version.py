"""The version of the world: to be raised with every change that changes a file, so that old files are not taken for new."""

VERSION = "1"
