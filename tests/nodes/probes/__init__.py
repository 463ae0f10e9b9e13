"""A second pack, for the tests alone: nodes that make values and tell what they were given."""


async def comfy_entrypoint():
    from .probe_nodes import ProbeExtension

    return ProbeExtension()
