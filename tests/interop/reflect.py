"""Lists and describes every service of a process over one version of reflection: reflect.py v1|v1alpha ADDRESS.

The reflection messages are the same in both versions; only the package differs."""

import importlib
import subprocess
import sys
import tempfile

import grpc
from google.protobuf import descriptor_pb2

version, address = sys.argv[1:]
with tempfile.TemporaryDirectory() as out:
    source = f"grpc/reflection/{version}/reflection.proto"
    # Generated below a package of another name: "grpc" is the library's own.
    text = open(f"protos/{source}").read()
    open(f"{out}/reflection_{version}.proto", "w").write(text)
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", f"-I{out}", f"--python_out={out}",
                    f"--grpc_python_out={out}", f"reflection_{version}.proto"], check=True)
    sys.path.insert(0, out)
    messages = importlib.import_module(f"reflection_{version}_pb2")
    stubs = importlib.import_module(f"reflection_{version}_pb2_grpc")

with grpc.insecure_channel(address) as channel:
    reflection = stubs.ServerReflectionStub(channel)

    def ask(**question):
        [answer] = reflection.ServerReflectionInfo(iter([messages.ServerReflectionRequest(**question)]), timeout=20)
        assert not answer.HasField("error_response"), answer.error_response
        return answer

    names = [s.name for s in ask(list_services="").list_services_response.service]
    assert "grpc.health.v1.Health" in names, names
    assert f"grpc.reflection.{version}.ServerReflection" in names, names
    for name in names:
        files = ask(file_containing_symbol=name).file_descriptor_response.file_descriptor_proto
        found = [descriptor_pb2.FileDescriptorProto.FromString(f) for f in files]
        services = {f"{f.package}.{s.name}": s for f in found for s in f.service}
        assert services[name].method, name
    unknown = messages.ServerReflectionRequest(file_containing_symbol="no.such.Symbol")
    [answer] = reflection.ServerReflectionInfo(iter([unknown]), timeout=20)
    assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0], answer
    print(f"{len(names)} services over {version}")
