"""The node that turns videos and captions into what training reads."""

from comfy_api.latest import io

from ..ltxv_train_core.data.manifest import Columns, Manifest, read_manifest
from ..ltxv_train_core.errors import DataError
from ..ltxv_train_core.files import sha256_json
from .folders import input_path
from .progress import NodeProgress
from .run_job import make_room, run_job
from .sockets import CATEGORY


class LTXVTrainDatasetPreprocess(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LTXVTrainDatasetPreprocess",
            display_name="Preprocess LTXV Dataset",
            category=CATEGORY,
            description="Reads a data set of videos and captions and writes their latents and "
            "text embeddings for training. What is already there and unchanged is kept. A clip "
            "that can't be used is named and left out.",
            is_output_node=True,
            inputs=[
                io.String.Input(
                    "dataset_path",
                    default="",
                    tooltip="Metadata file (csv, json, jsonl) or folder of videos. A relative path "
                    "is looked for in ComfyUI's input folder.",
                ),
                io.String.Input(
                    "model_source",
                    default="LTXV_13B_097_DEV",
                    tooltip="The base model to preprocess for, the same as in Configure LTXV "
                    "Model. LTXV_MINIATURE is the small model that comes with this pack.",
                ),
                io.String.Input(
                    "resolution_buckets",
                    default="768x448x89",
                    tooltip="Sizes that clips are brought to, as WIDTHxHEIGHTxFRAMES separated by "
                    "semicolons. Width and height are multiples of 32, frames 8n + 1.",
                ),
                io.String.Input(
                    "output_dir",
                    default="",
                    tooltip="Folder to write to. Empty: a folder .precomputed beside the metadata "
                    "file.",
                ),
                io.String.Input(
                    "caption_column",
                    default="caption",
                    tooltip="Column of the metadata with the captions.",
                ),
                io.String.Input(
                    "video_column",
                    default="media_path",
                    tooltip="Column of the metadata with the videos' paths, relative to the "
                    "metadata file.",
                ),
                io.String.Input(
                    "reference_column",
                    default="reference_path",
                    tooltip="Column with the reference videos of an IC-LoRA data set. Ignored "
                    "where the metadata has no such column.",
                ),
                io.String.Input(
                    "id_token",
                    default="",
                    tooltip="Trigger word, put before every caption. Empty: none.",
                ),
                io.String.Input(
                    "mask_column",
                    default="mask_path",
                    tooltip="Column with the masks of an in-painting data set. Ignored where the "
                    "metadata has no such column.",
                ),
                io.Boolean.Input(
                    "remove_llm_prefixes",
                    default=False,
                    tooltip='Takes openings like "The video shows" or "In this clip," off the '
                    "captions.",
                ),
            ],
            outputs=[
                io.String.Output(
                    display_name="preprocessed_data_root",
                    tooltip="Folder of the preprocessed data set, for Configure LTXV Data.",
                )
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(
        cls,
        dataset_path: str | None,
        caption_column: str | None,
        video_column: str | None,
        reference_column: str | None,
        mask_column: str | None,
        **others: object,
    ) -> str:
        """Changed files are seen where the path is written on the node itself."""
        names = (caption_column, video_column, reference_column, mask_column)
        if None in (dataset_path, *names):
            return "linked"
        columns = Columns(*(name.strip() for name in names))
        try:
            return _state_of(read_manifest(input_path(dataset_path), columns))
        except DataError as error:
            return str(error)

    @classmethod
    def execute(
        cls,
        dataset_path: str,
        model_source: str,
        resolution_buckets: str,
        output_dir: str,
        caption_column: str,
        video_column: str,
        reference_column: str,
        id_token: str,
        mask_column: str,
        remove_llm_prefixes: bool,
    ) -> io.NodeOutput:
        from ..ltxv_train_core.data.preprocess import PreprocessSettings, preprocess

        settings = PreprocessSettings(
            source=input_path(dataset_path),
            model_source=model_source.strip(),
            resolution_buckets=resolution_buckets,
            output_dir=input_path(output_dir) if output_dir.strip() else None,
            caption_column=caption_column.strip(),
            video_column=video_column.strip(),
            reference_column=reference_column.strip(),
            id_token=id_token.strip(),
            mask_column=mask_column.strip(),
            remove_llm_prefixes=remove_llm_prefixes,
        )
        progress = NodeProgress(cls.hidden.unique_id)
        make_room()
        summary = run_job(
            lambda report, stop: preprocess(settings, report=report, stop=stop), progress
        )
        lines = [
            f"{summary.written} written, {summary.reused} kept, {len(summary.skipped)} skipped"
        ]
        lines += [f"skipped {name}: {reason}" for name, reason in summary.skipped]
        text = "\n".join(lines)
        progress.say(text)
        return io.NodeOutput(str(summary.root), ui={"text": [text]})


def _state_of(manifest: Manifest) -> str:
    """Changes with every caption, and with the size or time of every file."""
    files = [
        (clip, path) for clip in manifest.clips for path in (clip.media, clip.reference, clip.mask)
    ]
    states = [
        (clip.name, clip.captions, path.stat().st_size, path.stat().st_mtime_ns)
        for clip, path in files
        if path is not None
    ]
    skipped = [(skip.name, skip.reason) for skip in manifest.skipped]
    return sha256_json([states, skipped])
