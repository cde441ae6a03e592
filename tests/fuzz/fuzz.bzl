"""One decoder under hostile bytes: a program for libFuzzer, and a test that runs its corpus."""

load("@rules_cc//cc:defs.bzl", "cc_binary", "cc_library")
load("//bazel:test.bzl", "c_test")

def fuzz_target(name, deps):
    """NAME.c has the function, corpus/NAME/ has its inputs.

    NAME_fuzz is the program that ./dev fuzz builds with clang (--config=fuzz); NAME_test runs the corpus.
    """
    cc_library(
        name = name,
        testonly = True,
        srcs = [name + ".c"],
        deps = deps + [":fuzz_h"],
        alwayslink = True,
    )
    cc_binary(
        name = name + "_fuzz",
        testonly = True,
        linkopts = ["-fsanitize=fuzzer"],
        tags = ["manual"],
        deps = [":" + name],
    )
    c_test(
        name = name + "_test",
        size = "small",
        srcs = ["corpus_test.c"],
        data = native.glob(["corpus/" + name + "/*"]),
        local_defines = ['FUZZ_TARGET=\\"' + name + '\\"'],
        deps = [
            ":" + name,
            ":fuzz_h",
        ],
    )
