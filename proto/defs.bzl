"""C++ from .proto files with Debian's protoc and grpc_cpp_plugin."""

def diptych_proto_library(name, srcs, visibility, deps = [], grpc = False):
    """Generates and compiles C++ for protos of this package.

    Args:
      name: the cc_library's name.
      srcs: .proto files of this package.
      visibility: who may depend on it.
      deps: other diptych_proto_library targets that srcs import.
      grpc: whether the files define services.
    """
    outs = []
    for src in srcs:
        stem = src[:-len(".proto")]
        outs += [stem + ".pb.h", stem + ".pb.cc"]
        if grpc:
            outs += [stem + ".grpc.pb.h", stem + ".grpc.pb.cc"]
    command = "protoc -I. -I/usr/include --cpp_out=$(GENDIR)"
    if grpc:
        command += " --grpc_out=$(GENDIR) --plugin=protoc-gen-grpc=/usr/bin/grpc_cpp_plugin"
    native.filegroup(
        name = name + "_srcs",
        srcs = srcs,
        visibility = visibility,
    )
    native.genrule(
        name = name + "_gen",
        srcs = srcs + [dep + "_srcs" for dep in deps],
        outs = outs,
        cmd = command + " " + " ".join(["$(location %s)" % src for src in srcs]),
    )
    native.cc_library(
        name = name,
        srcs = [out for out in outs if out.endswith(".cc")],
        hdrs = [out for out in outs if out.endswith(".h")],
        # Generated code is not ours to lint.
        copts = ["-w"],
        visibility = visibility,
        deps = deps + ["//tools/deps:grpc" if grpc else "//tools/deps:protobuf"],
    )
