#!/usr/bin/env python3
"""Strict JSON schemas for kubeconform, one for each kind, out of Kubernetes' own OpenAPI description.

usage: make_schemas.py SWAGGER.json FOLDER

The description is api/openapi-spec/swagger.json of the Go module k8s.io/kubernetes. Strict: a field that Kubernetes does not
know is an error, as it is for `kubectl apply` on the server.
"""
import copy
import json
import os
import sys

# What the description calls a string, and the server takes in other forms too.
RELAXED = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "io.k8s.apimachinery.pkg.runtime.RawExtension": {"type": "object"},
}


def nullable(schema):
    kind = schema.get("type")
    return {**schema, "type": [kind, "null"]} if isinstance(kind, str) else schema


def strict(node):
    """The same schema without room for unknown fields; what is optional may be null."""
    if isinstance(node, list):
        return [strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {key: strict(value) for key, value in node.items()}
    properties = made.get("properties")
    is_open = "x-kubernetes-preserve-unknown-fields" in made or made.get("additionalProperties")
    if isinstance(properties, dict) and not is_open:
        required = set(made.get("required", []))
        made["additionalProperties"] = False
        made["properties"] = {key: value if key in required else nullable(value) for key, value in properties.items()}
    return made


def references(node, definitions, found):
    """Adds the names of all definitions that a schema leads to."""
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        references(value, definitions, found)
    reference = node.get("$ref") if isinstance(node, dict) else None
    if isinstance(reference, str):
        name = reference.rsplit("/", 1)[-1]
        if name not in found:
            found.add(name)
            references(definitions[name], definitions, found)


def schema_of(name, kind, definitions):
    schema = copy.deepcopy(definitions[name])
    version = (kind["group"] + "/" if kind["group"] else "") + kind["version"]
    for field, value in (("kind", kind["kind"]), ("apiVersion", version)):
        if field in schema.get("properties", {}):
            schema["properties"][field] = {"type": "string", "enum": [value]}
    found = set()
    references(schema, definitions, found)
    schema["definitions"] = {key: definitions[key] for key in sorted(found)}
    return schema


def main():
    with open(sys.argv[1]) as file:
        described = json.load(file)["definitions"]
    definitions = {name: RELAXED.get(name) or strict(schema) for name, schema in described.items()}
    os.makedirs(sys.argv[2], exist_ok=True)
    for name, schema in described.items():
        kinds = schema.get("x-kubernetes-group-version-kind", [])
        if len(kinds) != 1:
            continue
        kind = kinds[0]
        group = kind["group"].split(".")[0] + "-" if kind["group"] else ""
        path = os.path.join(sys.argv[2], f"{kind['kind'].lower()}-{group}{kind['version']}.json")
        with open(path, "w") as file:
            json.dump(schema_of(name, kind, definitions), file)


main()
