"""pymilvus, imported so that it does not read `MILVUS_URI` itself.

While it is imported it parses that variable, knows servers alone, and fails on a folder of Milvus
Lite; the address is given to every client anyway.
"""

import os

_address = os.environ.pop("MILVUS_URI", None)
try:
    from pymilvus import DataType, MilvusClient
    from pymilvus.exceptions import ConnectionConfigException, MilvusException
finally:
    if _address is not None:
        os.environ["MILVUS_URI"] = _address

__all__ = ["ConnectionConfigException", "DataType", "MilvusClient", "MilvusException"]
