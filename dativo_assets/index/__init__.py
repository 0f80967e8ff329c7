"""Indexes of plugins: a folder or a web server that holds an index.json and what it names."""
