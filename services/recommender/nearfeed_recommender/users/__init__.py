"""Users: what a feed needs of one, kept in memory behind a revision in SQL, and what changes it.

Engagements, user vectors, memberships and controls; reset and erasure.
"""
