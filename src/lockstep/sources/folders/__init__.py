"""Folders and archives of pictures merged into one numbered set, without copies and rubbish."""
