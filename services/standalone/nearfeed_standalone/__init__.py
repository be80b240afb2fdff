"""nearfeed_standalone"""
