"""Run notebooks in order from a terminal, showing what they print: `python notebooks/run.py 01 02 03`.

The executed copies go to `logs/notebooks/`. With `--store` they take the place of the notebooks themselves, stripped of
progress bars, times and everything else that differs from run to run or tells of the machine; such a run works in a
temporary folder, so that nothing of earlier ones is in it.
"""

import argparse
import asyncio
import base64
import contextlib
import io
import os
import re
import signal
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from PIL import Image

from recognizer import settings

HERE = Path(__file__).resolve().parent
PROGRESS_BAR = re.compile(r"\[\d+:\d\d[<,]")


class TalkativeClient(NotebookClient):
    """Shows the notebook's text output while it runs; nbclient alone would be silent for minutes."""

    def output(self, outs, msg, display_id, cell_index):
        if msg["header"]["msg_type"] == "stream":
            stream = sys.stderr if msg["content"]["name"] == "stderr" else sys.stdout
            stream.write(msg["content"]["text"])
            stream.flush()
        return super().output(outs, msg, display_id, cell_index)

    def listen(self, cell, cell_index):
        """Before each cell, because nbclient has a handler of its own, which ends all at once."""
        with contextlib.suppress(NotImplementedError):  # Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self.interrupt)

    def interrupt(self):
        """Ctrl-C is what Jupyter's stop button is: training ends with its best epoch. A second one ends all."""
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
        asyncio.ensure_future(self.km.interrupt_kernel())


def run(path: Path, store: bool) -> None:
    """Execute one notebook from its own folder and write the result. Raises CellExecutionError where a cell fails."""
    print(f"\n=== {path.stem} ===", flush=True)
    started = time.perf_counter()
    notebook = nbformat.read(path, as_version=4)
    client = TalkativeClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        extra_arguments=["--IPKernelApp.log_level=40"],  # errors; its warnings are not about this notebook
        resources={"metadata": {"path": str(HERE)}},
    )
    client.on_cell_start = client.listen
    client.execute()
    if store:
        write_pictures(notebook)
        shrink_pictures(notebook)
    target = path if store else settings.LOGS / "notebooks" / path.name
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(cleaned(notebook), target)
    print(f"=== {path.stem}: {time.perf_counter() - started:.0f} s ===", flush=True)


def cleaned(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Without progress bars and run times, so that two runs that show the same are the same file."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        for output in cell.outputs:
            if output.output_type == "stream":
                lines = re.split(r"[\r\n]", output.text)
                output.text = "\n".join(line for line in lines if line.strip() and not PROGRESS_BAR.search(line)) + "\n"
        cell.outputs = [o for o in cell.outputs if o.output_type != "stream" or o.text.strip()]
    return notebook


def write_pictures(notebook: nbformat.NotebookNode) -> None:
    """A cell tagged with the name of a picture in the README gives the README that picture."""
    for cell in notebook.cells:
        for tag in cell.metadata.get("tags", []):
            if tag.endswith((".png", ".jpg")):
                (picture,) = (o.data for o in cell.outputs if "data" in o)
                encoded = picture.get("image/jpeg") or picture["image/png"]
                (HERE.parent / tag).write_bytes(base64.b64decode(encoded))


def shrink_pictures(notebook: nbformat.NotebookNode) -> None:
    """Stored pictures have 256 colours: no eye tells the difference, and a notebook stays small enough to be shown."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                stored = base64.b64decode(data["image/png"])
                smaller = io.BytesIO()
                with Image.open(io.BytesIO(stored)) as picture:
                    picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(smaller, "PNG", optimize=True)
                if smaller.tell() < len(stored):
                    data["image/png"] = base64.b64encode(smaller.getvalue()).decode()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("numbers", nargs="*", default=["01", "02", "03"], help="which notebooks, for example: 01 02 03")
    parser.add_argument("--store", action="store_true", help="keep the outputs in the notebooks themselves")
    arguments = parser.parse_args()
    os.environ.setdefault("TENSORBOARD", "0")  # there is no browser here to show it in
    if not arguments.store:
        return run_all(arguments.numbers, store=False)
    with tempfile.TemporaryDirectory() as workspace:
        os.environ["RECOGNIZER_WORKSPACE"] = workspace
        return run_all(arguments.numbers, store=True)


def run_all(numbers: list[str], store: bool) -> int:
    """The exit status: 0, or why it went no further (1, a cell failed; 2, no such notebook)."""
    for number in numbers:
        found = sorted(HERE.glob(f"{number}_*.ipynb"))
        if not found:
            print(f"There is no notebook {number}_….ipynb in {HERE.name}.", file=sys.stderr)
            return 2
        try:
            run(found[0], store)
        except CellExecutionError as error:
            print(f"\n{found[0].name} stopped: {error.ename}: {error.evalue}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print(f"\n{found[0].name} was stopped.", file=sys.stderr, flush=True)
            os._exit(130)  # the kernel ends with this process; nbclient's own clean-up would stumble over that
    return 0


if __name__ == "__main__":
    sys.exit(main())
