"""The vector store on OpenSearch k-NN."""
