"""nearfeed_recommender"""
