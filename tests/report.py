"""Holds reports against docs/report.schema.json.   report.py SCHEMA REPORT...

Only what that schema uses of JSON Schema is understood. At the top level every key must be
described, so that a verb cannot report what the documentation does not know.
"""
import json
import sys

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}


def is_type(value, name):
    if name in ("integer", "number"):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and (name == "number" or value == int(value))
    return isinstance(value, TYPES[name])


def check(value, schema, path, wrong):
    known = {"$schema", "title", "description", "type", "const", "enum", "required", "properties", "items",
             "minimum", "maximum", "additionalProperties"}
    if not set(schema) <= known:
        wrong.append(f"{path}: the schema uses {set(schema) - known}")
    types = schema.get("type", [])
    types = types if isinstance(types, list) else [types]
    if types and not any(is_type(value, t) for t in types):
        wrong.append(f"{path}: {value!r} is no {types}")
        return
    if "const" in schema and value != schema["const"]:
        wrong.append(f"{path}: {value!r} is not {schema['const']!r}")
    if "enum" in schema and value not in schema["enum"]:
        wrong.append(f"{path}: {value!r} is none of {schema['enum']}")
    if "minimum" in schema and value < schema["minimum"]:
        wrong.append(f"{path}: {value!r} is too small")
    if "maximum" in schema and value > schema["maximum"]:
        wrong.append(f"{path}: {value!r} is too large")
    if isinstance(value, dict):
        wrong += [f"{path}: {k} is missing" for k in schema.get("required", []) if k not in value]
        properties, other = schema.get("properties", {}), schema.get("additionalProperties")
        for k, v in value.items():
            if k in properties or other:
                check(v, properties.get(k, other), f"{path}.{k}", wrong)
            elif path == "$":
                wrong.append(f"$.{k} is not described")
    if isinstance(value, list):
        for i, v in enumerate(value):
            check(v, schema.get("items", {}), f"{path}[{i}]", wrong)


schema = json.load(open(sys.argv[1]))
failed = []
for file in sys.argv[2:]:
    wrong = []
    check(json.load(open(file)), schema, "$", wrong)
    failed += [f"{file}: {w}" for w in wrong]
print("\n".join(failed) or "valid")
sys.exit(bool(failed))
