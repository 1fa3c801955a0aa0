"""Product vectors in Milvus: collections, columns, filters, and the journal of live changes."""
