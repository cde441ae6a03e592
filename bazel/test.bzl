"""Tests in C, through the GoogleTest shim."""

load("@rules_cc//cc:defs.bzl", "cc_test")

def c_test(name, srcs, deps = [], **kwargs):
    """A test program in C. Its cases are counted one by one by ./dev test."""
    cc_test(
        name = name,
        srcs = srcs,
        linkstatic = True,
        deps = deps + ["//tests/shim"],
        **kwargs
    )
