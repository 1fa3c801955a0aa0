"""A workspace's gallery in Milvus: receipt, rows to write, refresh plan, catching up with changes.

Milvus itself is spoken to in `unbundle.index`.
"""
