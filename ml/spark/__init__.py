"""An engine that others run, by Spark Connect: it reads the lake's files at a snapshot and writes files to be adopted.

It never sees the catalog. pyspark is imported where it is needed alone: it is no part of the default installation.
"""
