"""Random walks on the graph of who read what, for requests in real time.

After Pixie (Eksombatchai et al., WWW 2018). A walk starts from posts that a reader has read, goes from
post to reader to post, and what it visits most is recommended. Importing it takes a second, for numba.
"""
