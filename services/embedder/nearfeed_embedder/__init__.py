"""nearfeed_embedder"""
