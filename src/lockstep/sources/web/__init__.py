"""Asking web servers for things: politely, within limits, and never of a private address."""
