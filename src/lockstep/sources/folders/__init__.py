"""Folders and archives of images merged into one numbered set, without copies and rubbish."""
