"""nearfeed_indexer"""
