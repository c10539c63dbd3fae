"""Wires to outside worlds, one file each; the only room that imports client libraries and sees their errors."""
