"""Displacement fields in files, of every kind that is read or written."""

from framencc.fields.files import FIELD_SUFFIXES, FieldSequence, list_fields, read_field, write_field
from framencc.fields.formats import Note

__all__ = ["FIELD_SUFFIXES", "FieldSequence", "Note", "list_fields", "read_field", "write_field"]
