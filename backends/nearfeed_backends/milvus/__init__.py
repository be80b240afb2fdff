"""The vector store on Milvus, and on Milvus Lite in this process."""
