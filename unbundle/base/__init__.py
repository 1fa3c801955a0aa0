"""What everything in a shop rests on: errors, whole files, limits of a request.

Knows nothing of products, networks or Milvus.
"""
