"""Displacement fields in files, of every kind that is read or written."""

from framencc.fields.files import FIELD_SUFFIXES, FieldSequence, list_fields, read_field, write_field

__all__ = ["FIELD_SUFFIXES", "FieldSequence", "list_fields", "read_field", "write_field"]
