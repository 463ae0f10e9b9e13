"""Settings of the tools that prepare a data set, one file each."""
