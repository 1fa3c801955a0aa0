"""Product vectors in Milvus: collections, columns, filters, and the journal of live changes.

Filling an index from a manifest is in `tasks.index`, what is made of its hits in `query`.
"""
