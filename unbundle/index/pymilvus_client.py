"""pymilvus, imported so that it does not read `MILVUS_URI` itself.

While it is imported it parses that variable, knows servers alone, and fails on a folder of Milvus
Lite; the address is given to every client anyway.
"""

import os

_address = os.environ.get("MILVUS_URI")
# Empty, not absent: pymilvus fills what is absent from a file `.env`.
os.environ["MILVUS_URI"] = ""
try:
    from pymilvus import DataType, MilvusClient
    from pymilvus.exceptions import ConnectionConfigException, MilvusException
finally:
    if _address is None:
        del os.environ["MILVUS_URI"]
    else:
        os.environ["MILVUS_URI"] = _address

__all__ = ["ConnectionConfigException", "DataType", "MilvusClient", "MilvusException"]
