"""Whether a candidate may serve: measured, judged by the gate, approved, carried out.

The queries are asked in `evaluation`; aliases of Milvus are moved by `unbundle.index`.
"""
