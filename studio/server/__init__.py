"""The web service: pictures in, meshes out, over HTTP, for a page and for programs.

It computes nothing itself. A request becomes a folder (`studio.jobs`), an executor carries it out,
and what is asked for is read back from the folder. Needs the extra `ui`.
"""
